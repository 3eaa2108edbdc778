//! The `Cluster` port over a real Kubernetes API.
//!
//! | file | subject |
//! |---|---|
//! | `connect.rs` | from a kubeconfig, or the pod's own account, to a client |
//! | `path.rs` | where an object is in the API |
//! | `discovery.rs` | which resources the API server serves |
//! | `refusal.rs` | what an answer that is no success means |
//! | `stream.rs` | logs and commands |
//!
//! # Guarantees
//! * Every request has a limit of time. An answer that does not come is [`Why::Busy`].
//! * A request is sent once. Asking again is for the caller, who knows what a write means that may have landed;
//!   only a refusal that an API server gives while it is starting is looked at twice, because it says that
//!   nothing was done.
//! * No name of an object can lead a request to another place than where such objects are.

mod connect;
mod discovery;
mod path;
mod refusal;
mod stream;

pub use connect::{Proxies, connect};
pub(crate) use refusal::chain;

use async_trait::async_trait;
use cistern_api::ObjectReference;
use cistern_functions::ports::{Age, Cluster, Exit, Inside, Page, Patch, Refusal, Resource, Sink, Why};
use discovery::Discovery;
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::core::Request as Verbs;
use kube::core::params::{DeleteParams, GetParams, ListParams, PatchParams, PostParams};
use kube::{Api, Client};
use refusal::Failure;
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How long an answer may take; the API server's own limit is a minute.
const ANSWER: Duration = Duration::from_secs(65);
/// How long the API server may take to say whether it is ready.
const READINESS: Duration = Duration::from_secs(5);
/// Objects in one page of a list.
const PAGE: u32 = 500;
/// A list that took so long that the API server forgot where it was is begun anew this often.
const LISTS_MAX: usize = 3;
/// Who wrote a field, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "cistern";

/// A Kubernetes API, reached with a client; shared behind an `Arc`.
pub struct KubeCluster {
    client: Client,
    discovery: Discovery,
    /// `/readyz` has said yes, so this client may read it.
    seen_ready: AtomicBool,
}

impl KubeCluster {
    /// The cluster behind this client.
    pub fn new(client: Client) -> KubeCluster {
        KubeCluster { client, discovery: Discovery::default(), seen_ready: AtomicBool::new(false) }
    }

    /// The namespace of the kubeconfig's context, or of the pod this runs in.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether the API server answers and knows us.
    ///
    /// # Errors
    /// It does not, or does not accept the credentials.
    pub async fn reachable(&self) -> Result<(), Refusal> {
        let version = Request::get("/version").body(Vec::new()).expect("the request is fixed");
        self.answer(version).await?;
        self.ready().await;
        Ok(())
    }

    /// Sends a request; once more, if the answer may come from an API server that has not loaded its rules and
    /// resources yet, and that is ready now.
    async fn answer(&self, request: Request<Vec<u8>>) -> Result<Json, Failure> {
        let first = self.once(request.clone()).await;
        match first {
            Err(failure) if failure.may_be_early() => {
                if self.ready().await {
                    self.once(request).await
                } else {
                    Err(failure.early())
                }
            }
            answer => answer,
        }
    }

    async fn once(&self, request: Request<Vec<u8>>) -> Result<Json, Failure> {
        let text = timeout(ANSWER, self.client.request_text(request)).await;
        let text = text.map_err(|_| Failure::silence(ANSWER))??;
        // Not with the client's own decoding, which logs what it cannot decode: it may be a Secret.
        serde_json::from_str(&text).map_err(|_| Failure::gibberish())
    }

    /// Whether the API server has loaded all it needs; also yes where it never said so and may not be asked.
    async fn ready(&self) -> bool {
        let readyz = Request::get("/readyz").body(Vec::new()).expect("the request is fixed");
        match timeout(READINESS, self.client.request_text(readyz)).await {
            Ok(Ok(_)) => {
                self.seen_ready.store(true, Ordering::Relaxed);
                true
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403 | 404) => {
                !self.seen_ready.load(Ordering::Relaxed)
            }
            _ => false,
        }
    }

    async fn page(&self, verbs: &Verbs, selector: &str, age: Age, token: &str) -> Result<Json, Failure> {
        let mut params = match age {
            Age::Now => ListParams::default().limit(PAGE),
            Age::Remembered => ListParams::default().match_any(),
        };
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        if !token.is_empty() {
            params = params.continue_token(token);
        }
        self.answer(verbs.list(&params).map_err(Failure::unfit)?).await
    }

    async fn pages(&self, verbs: &Verbs, selector: &str, age: Age, found: Page<'_>) -> Result<(), Failure> {
        let mut token = String::new();
        loop {
            let mut page = self.page(verbs, selector, age, &token).await?;
            // Items of a list do not say what they are.
            let version = page["apiVersion"].take();
            let kind = page["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
            let Json::Array(mut items) = page["items"].take() else { return Ok(()) };
            for item in &mut items {
                if item["kind"].is_null() {
                    item["kind"] = json!(kind);
                    item["apiVersion"] = version.clone();
                }
            }
            found(items);
            match page["metadata"]["continue"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => return Ok(()),
            }
        }
    }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn resolve(&self, reference: &ObjectReference) -> Result<Resource, Refusal> {
        self.discovery.find(self, reference).await
    }

    async fn get(&self, at: &ObjectReference) -> Result<Json, Refusal> {
        let request = path::verbs(at)?.get(path::name(at)?, &GetParams::default());
        Ok(self.answer(request.map_err(Failure::unfit)?).await?)
    }

    async fn list(&self, of: &ObjectReference, selector: &str) -> Result<Vec<Json>, Refusal> {
        let verbs = path::verbs(of)?;
        let mut tries = LISTS_MAX;
        loop {
            let mut found = Vec::new();
            tries -= 1;
            match self.pages(&verbs, selector, Age::Now, &mut |page| found.extend(page)).await {
                Err(failure) if failure.expired() && tries > 0 => {}
                listed => return Ok(listed.map(|()| found)?),
            }
        }
    }

    async fn list_in_pages(
        &self,
        of: &ObjectReference,
        selector: &str,
        age: Age,
        page: Page<'_>,
    ) -> Result<(), Refusal> {
        let verbs = path::verbs(of)?;
        let mut listed = self.pages(&verbs, selector, age, page).await;
        for _ in 1..LISTS_MAX {
            match &listed {
                Err(failure) if failure.expired() => listed = self.pages(&verbs, selector, age, page).await,
                _ => break,
            }
        }
        Ok(listed?)
    }

    async fn create(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        let mut object = object.clone();
        path::put_name(at, &mut object)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = path::verbs(at)?.create(&params, object.to_string().into_bytes());
        Ok(self.answer(request.map_err(Failure::unfit)?).await?)
    }

    async fn replace(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        if object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
            // The API server would take it for built-in resources, and overwrite what it may.
            return Err(Refusal::new(Why::Invalid, "does not say the resourceVersion it was read with"));
        }
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = path::verbs(at)?.replace(path::name(at)?, &params, object.to_string().into_bytes());
        Ok(self.answer(request.map_err(Failure::unfit)?).await?)
    }

    async fn patch(&self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = match kind {
            Patch::Merge => kube::core::params::Patch::Merge(patch),
            Patch::Strategic => kube::core::params::Patch::Strategic(patch),
        };
        let request = path::verbs(at)?.patch(path::name(at)?, &params, &patch);
        Ok(self.answer(request.map_err(Failure::unfit)?).await?)
    }

    async fn delete(&self, at: &ObjectReference) -> Result<(), Refusal> {
        let request = path::verbs(at)?.delete(path::name(at)?, &DeleteParams::background());
        self.answer(request.map_err(Failure::unfit)?).await?;
        Ok(())
    }

    async fn follow_log(&self, of: &Inside<'_>, sink: Sink<'_>) -> Result<(), Refusal> {
        let pod = path::pod(of)?;
        let pods: Api<Pod> = Api::namespaced(self.client(), of.namespace);
        stream::follow_log(&pods, pod, of.container, sink).await
    }

    async fn exec(
        &self,
        of: &Inside<'_>,
        command: &[String],
        input: &[u8],
        sink: Sink<'_>,
    ) -> Result<Option<Exit>, Refusal> {
        let pod = path::pod(of)?;
        let pods: Api<Pod> = Api::namespaced(self.client(), of.namespace);
        let attach = stream::attach(of.container, !input.is_empty());
        let began = timeout(ANSWER, pods.exec(pod, command.iter().cloned(), &attach)).await;
        let process = began.map_err(|_| Failure::silence(ANSWER))?.map_err(Failure::from)?;
        Ok(stream::carry(process, input, sink).await)
    }
}

#[cfg(test)]
mod tests;
