//! Which resources the API server serves. What has been learned is kept; what is not among it is asked for anew,
//! because resources are defined while a cluster runs.

use super::KubeCluster;
use super::refusal::Failure;
use cistern_api::ObjectReference;
use cistern_functions::ports::{Refusal, Resource, Why};
use futures::{StreamExt as _, stream};
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Group versions that are asked for at the same time.
const AT_ONCE: usize = 8;

/// What has been learned so far.
#[derive(Default)]
pub(super) struct Discovery {
    known: Mutex<Arc<Vec<Served>>>,
}

/// A resource with all its names.
#[derive(Debug)]
struct Served {
    resource: Resource,
    kind: String,
    /// Its plural, singular and short names.
    names: Vec<String>,
}

/// All resources, and the group versions that could not be asked for.
struct Survey {
    served: Vec<Served>,
    silent: Vec<String>,
}

impl Discovery {
    /// The resource the reference means. Of several with the same name the core group's is meant, or that of the
    /// group the API server lists first, in the group's preferred version.
    pub(super) async fn find(
        &self,
        cluster: &KubeCluster,
        wanted: &ObjectReference,
    ) -> Result<Resource, Refusal> {
        // Held while asking: many who miss the same resource ask once.
        let mut known = self.known.lock().await;
        if let Some(found) = choose(&known, wanted) {
            return Ok(found);
        }
        let survey = survey(cluster).await?;
        *known = Arc::new(survey.served);
        if let Some(found) = choose(&known, wanted) {
            return Ok(found);
        }
        let what = if wanted.resource.is_empty() { &wanted.kind } else { &wanted.resource };
        let group = wanted.group_name();
        let of = if group.is_empty() { String::new() } else { format!(" of group {group}") };
        let which = format!("{what:?}{of} {}", wanted.api_version);
        let silent: Vec<_> = survey.silent.iter().filter(|g| g.starts_with(group)).cloned().collect();
        if silent.is_empty() {
            let said = format!("the cluster serves no {}; is its CRD installed?", which.trim_end());
            return Err(Refusal::new(Why::Invalid, said));
        }
        let said = format!("the API server does not say what {} serves", silent.join(", "));
        Err(Refusal::new(Why::Busy, format!("cannot find {}: {said}", which.trim_end())))
    }
}

fn choose(known: &[Served], wanted: &ObjectReference) -> Option<Resource> {
    let group = wanted.group_name();
    let fits = |served: &&Served| {
        // A version without a group is a version of the core group.
        let any_group = group.is_empty() && wanted.api_version.is_empty();
        let version = wanted.api_version.is_empty() || served.resource.version == wanted.api_version;
        let named = if wanted.resource.is_empty() {
            let kind = wanted.kind.to_lowercase();
            served.kind.to_lowercase() == kind || served.names.contains(&kind)
        } else {
            served.names.contains(&wanted.resource.to_lowercase())
        };
        (any_group || served.resource.group == group) && version && named
    };
    known.iter().find(fits).map(|served| served.resource.clone())
}

/// Asks for everything. A group that does not answer, such as that of an extension server that is away, does not
/// hide the others.
async fn survey(cluster: &KubeCluster) -> Result<Survey, Failure> {
    let groups: APIGroupList = fetch(cluster, "/apis").await?;
    let mut versions = vec![(String::new(), "v1".to_owned())];
    for group in groups.groups {
        let preferred = group.preferred_version.map(|preferred| preferred.version).unwrap_or_default();
        let mut of_group: Vec<String> = group.versions.into_iter().map(|version| version.version).collect();
        of_group.sort_by_key(|version| *version != preferred);
        versions.extend(of_group.into_iter().map(|version| (group.name.clone(), version)));
    }
    let asked = versions.into_iter().map(|(group, version)| async move {
        let path = match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let listed: Result<APIResourceList, Failure> = fetch(cluster, &path).await;
        (group, version, listed)
    });
    let mut survey = Survey { served: Vec::new(), silent: Vec::new() };
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    while let Some((group, version, listed)) = answers.next().await {
        match listed {
            Ok(listed) => survey.served.extend(served(&group, &version, listed)),
            Err(_) => survey.silent.push(format!("{group}/{version}")),
        }
    }
    Ok(survey)
}

async fn fetch<T: DeserializeOwned>(cluster: &KubeCluster, path: &str) -> Result<T, Failure> {
    let request = Request::get(path).body(Vec::new()).map_err(|_| Failure::gibberish())?;
    let answer = cluster.answer(request).await?;
    serde_json::from_value(answer).map_err(|_| Failure::gibberish())
}

fn served(group: &str, version: &str, listed: APIResourceList) -> Vec<Served> {
    let whole = listed.resources.into_iter().filter(|resource| !resource.name.contains('/'));
    whole
        .map(|resource| {
            let names = [resource.name.clone(), resource.singular_name].into_iter();
            let names = names.chain(resource.short_names.unwrap_or_default()).filter(|n| !n.is_empty());
            Served {
                names: names.collect(),
                kind: resource.kind,
                resource: Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    plural: resource.name,
                    namespaced: resource.namespaced,
                },
            }
        })
        .collect()
}
