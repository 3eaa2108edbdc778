//! What a function may ask of a cluster, and how the cluster refuses.

use async_trait::async_trait;
use cistern_api::ObjectReference;
use serde_json::Value as Json;

/// A Kubernetes API, reduced to what functions and the controller ask of it.
///
/// An object is addressed by a reference that says `apiVersion`, `group`, `resource`, `namespace` and
/// `name`; see [`crate::reference`] for references that say less. An empty namespace addresses objects that
/// have none, and in [`Cluster::list`] all namespaces.
///
/// # Contract
/// * Every verb ends: an implementation puts a timeout on each request. [`Cluster::follow_log`] and
///   [`Cluster::exec`] last as long as what they watch; their callers bound them.
/// * A refusal of [`Why::Busy`] says nothing about whether a write landed. All others say that it did not.
/// * [`Cluster::replace`] takes the object only if its `resourceVersion` is still the present one.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Completes a reference that names its kind, or its resource, by what the cluster serves.
    async fn resolve(&self, reference: &ObjectReference) -> Result<Resource, Refusal>;
    /// The object.
    async fn get(&self, at: &ObjectReference) -> Result<Json, Refusal>;
    /// All objects of the resource with these labels, in the syntax of `kubectl -l`; empty is all.
    async fn list(&self, of: &ObjectReference, selector: &str) -> Result<Vec<Json>, Refusal>;
    /// The same, handed over page by page, so that not all of them have to be held. An object may come twice: a list
    /// that the cluster has lost track of is begun anew.
    async fn list_in_pages(
        &self,
        of: &ObjectReference,
        selector: &str,
        _age: Age,
        page: Page<'_>,
    ) -> Result<(), Refusal> {
        page(self.list(of, selector).await?);
        Ok(())
    }
    /// Makes an object that is not there; [`Why::Exists`] if it is.
    async fn create(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal>;
    /// Puts the whole object in the place of the one it was read as; [`Why::Conflict`] if that has changed.
    async fn replace(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal>;
    /// Lays a patch over the object.
    async fn patch(&self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal>;
    /// Asks for the object to be deleted; it may still be there for a while.
    async fn delete(&self, at: &ObjectReference) -> Result<(), Refusal>;
    /// Hands on the log of a container from its first line until the container has ended. `Ok` promises
    /// nothing about completeness: whoever needs that looks at the pod as well.
    async fn follow_log(&self, of: &Inside<'_>, sink: Sink<'_>) -> Result<(), Refusal>;
    /// Runs a command and hands on its standard output. `None` is a connection that was cut: how the command
    /// ended is not known.
    ///
    /// `input` is written to its standard input, which may stay open after that (API servers up to 1.29
    /// cannot close it): a command must know how much there is to read. Empty is no standard input.
    async fn exec(
        &self,
        of: &Inside<'_>,
        command: &[String],
        input: &[u8],
        sink: Sink<'_>,
    ) -> Result<Option<Exit>, Refusal>;
}

/// Takes bytes as they come.
pub type Sink<'s> = &'s mut (dyn FnMut(&[u8]) + Send);

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As it is now.
    Now,
    /// As the API server remembers it, perhaps from a moment ago. That costs it far less, and comes in one page.
    Remembered,
}

/// Takes objects as they come.
pub type Page<'p> = &'p mut (dyn FnMut(Vec<Json>) + Send);

/// A container of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'n> {
    /// Namespace of the pod.
    pub namespace: &'n str,
    /// Name of the pod.
    pub pod: &'n str,
    /// The container; empty lets the API server choose the default one.
    pub container: &'n str,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status; `None` where it never began, or the runtime could not say.
    pub code: Option<i32>,
    /// What the runtime said about it.
    pub message: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// A resource that the cluster serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Its plural, as it stands in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// The object of this resource by that name.
    pub fn object(&self, namespace: &str, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: self.version.clone(),
            group: self.group.clone(),
            resource: self.plural.clone(),
            kind: String::new(),
            name: name.to_owned(),
            namespace: if self.namespaced { namespace.to_owned() } else { String::new() },
        }
    }
}

/// How a patch is laid over an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// JSON merge patch (RFC 7396).
    Merge,
    /// Kubernetes' strategic merge patch; for built-in resources only.
    Strategic,
}

/// The cluster did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct Refusal {
    /// What the caller can do about it.
    pub why: Why,
    /// In words, with the object.
    pub said: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no such object.
    Absent,
    /// There is one already.
    Exists,
    /// It has changed since it was read.
    Conflict,
    /// Not allowed to.
    Denied,
    /// What was asked makes no sense to the cluster.
    Invalid,
    /// Not now, or no answer came: ask again.
    Busy,
}

impl Refusal {
    /// A refusal in words.
    pub fn new(why: Why, said: impl Into<String>) -> Refusal {
        Refusal { why, said: said.into() }
    }
}
