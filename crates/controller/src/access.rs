//! What leads to a location or a repository and opens it: a profile, the Secrets it names, the Secret of the
//! repository.

use cistern_action::params::ResolvedProfile;
use cistern_action::profile;
use cistern_api::wire::REPOSITORY;
use cistern_api::{ObjectReference, Profile, Repository};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::reference::{completed, of_kind, words};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Annotation of a profile: the Secret in its namespace that leads to a repository and opens it, with the
/// fields below.
const REPOSITORY_SECRET: &str = "cistern.dev/repository-secret";
/// Fields of such a Secret, and what they are called beside a profile ([`RepositoryJson`]).
///
/// [`RepositoryJson`]: cistern_api::wire::RepositoryJson
const REPOSITORY_FIELDS: [(&str, &str); 3] =
    [("cistern-repository", "location"), ("cistern-key", "key"), ("cistern-passphrase", "passphrase")];

/// Why something was not found: for now, or for good.
#[derive(Debug)]
pub enum Missing {
    /// The cluster does not answer; ask later.
    Later(Refusal),
    /// A sentence for whoever asked.
    Final(String),
}

impl From<String> for Missing {
    fn from(reason: String) -> Missing {
        Missing::Final(reason)
    }
}

/// An object of the cluster.
pub(crate) async fn get(cluster: &dyn Cluster, reference: &ObjectReference) -> Result<Json, Missing> {
    let at = completed(reference).ok_or_else(|| {
        let kind = &reference.kind;
        format!("an object of kind {kind:?} needs apiVersion and resource to be found")
    })?;
    ask(|| cluster.get(&at)).await.map_err(|refusal| match refusal.why {
        Why::Busy => Missing::Later(refusal),
        Why::Absent => Missing::Final(format!("there is no {}", words(&at))),
        _ => Missing::Final(format!("{} cannot be read: {refusal}", words(&at))),
    })
}

/// A profile with its credential, and what it has of a repository.
pub(crate) async fn profile(
    cluster: &dyn Cluster,
    reference: &ObjectReference,
) -> Result<ResolvedProfile, Missing> {
    let name = &reference.name;
    let raw = get(cluster, &of_kind("profile", &reference.namespace, name)).await?;
    let profile: Profile =
        serde_json::from_value(raw.clone()).map_err(|e| format!("profile {name:?} cannot be read: {e}"))?;
    let mut secrets = BTreeMap::new();
    for secret in profile::secrets(&profile) {
        let found = get(cluster, &of_kind("secret", &secret.namespace, &secret.name)).await?;
        secrets.insert((secret.namespace.clone(), secret.name.clone()), found);
    }
    let resolved = profile::resolve(&profile, |secret| {
        let found = secrets.get(&(secret.namespace.clone(), secret.name.clone()));
        found.cloned().ok_or_else(|| format!("secret {:?} was not looked up", secret.name))
    });
    let mut resolved = resolved.map_err(|e| format!("profile {name:?}: {e}"))?;
    if let Some(secret) = raw["metadata"]["annotations"][REPOSITORY_SECRET].as_str() {
        let who = format!("profile {name:?}");
        let fields = repository_secret(cluster, &reference.namespace, secret, &who).await?;
        resolved.repository = Some(fields.into());
    }
    Ok(resolved)
}

/// What a Secret has that leads to a repository and opens it. `who` names it.
async fn repository_secret(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &str,
    who: &str,
) -> Result<Map<String, Json>, Missing> {
    let secret = get(cluster, &of_kind("secret", namespace, name)).await?;
    let mut repository = Map::new();
    for (field, called) in REPOSITORY_FIELDS {
        if let Some(value) = profile::text(&secret, name, field, who)? {
            repository.insert(called.to_owned(), value.trim_end_matches('\n').into());
        }
    }
    if repository.is_empty() {
        let fields = REPOSITORY_FIELDS.map(|(field, _)| field).join(", ");
        return Err(format!("secret {name:?}, which {who} names, has none of {fields}").into());
    }
    Ok(repository)
}

/// What leads to a [`Repository`] and opens it, as `kando --profile` takes it from a file. It holds the secrets
/// themselves.
///
/// # Errors
/// [`Missing::Final`] says what is not there or says too little.
pub async fn to_repository(cluster: &dyn Cluster, repository: &Repository) -> Result<String, Missing> {
    let spec = &repository.spec;
    let namespace = repository.metadata.namespace.as_deref().unwrap_or_default();
    if spec.profile.is_none() && spec.location.is_empty() && spec.key_secret_ref.is_none() {
        return Err("spec says neither profile nor location".to_owned().into());
    }
    let (mut whole, mut fields) = (json!({}), Map::new());
    if let Some(reference) = &spec.profile {
        let mut reference = reference.clone();
        if reference.namespace.is_empty() {
            namespace.clone_into(&mut reference.namespace);
        }
        let resolved = profile(cluster, &reference).await?;
        whole = resolved.json;
        if let Some(Json::Object(own)) = resolved.repository {
            fields = own;
        }
    }
    if let Some(secret) = &spec.key_secret_ref {
        let own = repository_secret(cluster, namespace, &secret.name, "spec.keySecretRef").await?;
        // Its key or passphrase stands for both.
        if own.contains_key("key") || own.contains_key("passphrase") {
            fields.remove("key");
            fields.remove("passphrase");
        }
        fields.extend(own);
    }
    if !spec.location.is_empty() {
        fields.insert("location".to_owned(), spec.location.clone().into());
    }
    if !fields.contains_key("key") && !fields.contains_key("passphrase") && !is_kopia(&whole) {
        let reason = "nothing opens it: spec.keySecretRef, or the annotation cistern.dev/repository-secret of its \
                      profile, names a Secret with cistern-key or cistern-passphrase";
        return Err(reason.to_owned().into());
    }
    if spec.profile.is_none() && !fields.contains_key("location") {
        return Err("spec says neither profile nor location, and the Secret has no cistern-repository"
            .to_owned()
            .into());
    }
    whole[REPOSITORY] = fields.into();
    Ok(whole.to_string())
}

/// A profile of that type brings its own passphrase.
fn is_kopia(profile: &Json) -> bool {
    profile["Location"]["type"] == "kopia"
}
