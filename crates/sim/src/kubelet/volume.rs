//! Volumes of a pod as directories of the machine.

use super::Inner;
use super::environment::field_of;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, PersistentVolumeClaim, Pod, ProjectedVolumeSource, Secret,
    Volume,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Something that a pod waits for, in Kubernetes' words.
#[derive(Debug)]
pub(super) struct Missing(pub String);

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Missing {
        Missing(format!("a volume's directory: {error}"))
    }
}

/// Content of a Secret or a ConfigMap.
type Entries = BTreeMap<String, Vec<u8>>;

/// What a Secret (`secret`) or ConfigMap (`configmap`) holds; nothing if it is optional and not there.
pub(super) async fn entries(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
    optional: bool,
) -> Result<Entries, Missing> {
    let found = if kind == "secret" {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        secrets.get_opt(name).await.map(|secret| {
            secret
                .map(|s| s.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
        })
    } else {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        maps.get_opt(name).await.map(|map| {
            map.map(|m| {
                let texts = m.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes()));
                texts.chain(m.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0))).collect()
            })
        })
    };
    match found {
        Ok(Some(entries)) => Ok(entries),
        Ok(None) if optional => Ok(Entries::new()),
        Ok(None) => Err(Missing(format!("{kind} \"{name}\" not found"))),
        Err(error) => Err(Missing(format!("{kind} \"{name}\": {error}"))),
    }
}

/// One entry of a Secret or ConfigMap; `None` if it is optional and not there.
pub(super) async fn entry(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
    key: &str,
    optional: bool,
) -> Result<Option<Vec<u8>>, Missing> {
    let mut entries = entries(client, namespace, kind, name, optional).await?;
    match entries.remove(key) {
        None if !optional => Err(Missing(format!("couldn't find key {key} in {kind} {namespace}/{name}"))),
        found => Ok(found),
    }
}

/// A directory for each volume, by the volume's name.
pub(super) async fn furnish(
    node: &Inner,
    pod: &Pod,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>, Missing> {
    let mut directories = BTreeMap::new();
    let spec = pod.spec.as_ref();
    let group = spec.and_then(|s| s.security_context.as_ref()).and_then(|c| c.fs_group);
    for volume in spec.and_then(|s| s.volumes.as_ref()).into_iter().flatten() {
        let own = folder.join(&volume.name);
        let directory = one(node, pod, volume, &own).await?;
        if directory == own
            && let Some(group) = group.and_then(|g| u32::try_from(g).ok())
        {
            give(&own, group)?;
        }
        directories.insert(volume.name.clone(), directory);
    }
    Ok(directories)
}

async fn one(node: &Inner, pod: &Pod, volume: &Volume, own: &Path) -> Result<PathBuf, Missing> {
    let namespace = pod.namespace().unwrap_or_default();
    let optional = |flag: Option<bool>| flag == Some(true);
    if let Some(host) = &volume.host_path {
        std::fs::create_dir_all(&host.path)
            .or_else(|e| if Path::new(&host.path).exists() { Ok(()) } else { Err(e) })?;
        return Ok(PathBuf::from(&host.path));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return bound(node, &namespace, &claim.claim_name).await;
    }
    make(own)?;
    if volume.empty_dir.is_some() {
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let entries = entries(&node.client, &namespace, "secret", &name, optional(secret.optional)).await?;
        write_all(own, &entries, secret.items.as_deref(), secret.default_mode)?;
    } else if let Some(map) = &volume.config_map {
        let entries =
            entries(&node.client, &namespace, "configmap", &map.name, optional(map.optional)).await?;
        write_all(own, &entries, map.items.as_deref(), map.default_mode)?;
    } else if let Some(projected) = &volume.projected {
        project(node, pod, projected, own).await?;
    } else if let Some(downward) = &volume.downward_api {
        write_fields(own, pod, downward.items.iter().flatten(), downward.default_mode)?;
    } else {
        return Err(Missing(format!("volume \"{}\": this node knows no such kind of volume", volume.name)));
    }
    Ok(own.to_owned())
}

async fn project(
    node: &Inner,
    pod: &Pod,
    projected: &ProjectedVolumeSource,
    own: &Path,
) -> Result<(), Missing> {
    let namespace = pod.namespace().unwrap_or_default();
    let mode = projected.default_mode;
    for source in projected.sources.iter().flatten() {
        if let Some(secret) = &source.secret {
            let optional = secret.optional == Some(true);
            let entries = entries(&node.client, &namespace, "secret", &secret.name, optional).await?;
            write_all(own, &entries, secret.items.as_deref(), mode)?;
        }
        if let Some(map) = &source.config_map {
            let optional = map.optional == Some(true);
            let entries = entries(&node.client, &namespace, "configmap", &map.name, optional).await?;
            write_all(own, &entries, map.items.as_deref(), mode)?;
        }
        if let Some(downward) = &source.downward_api {
            write_fields(own, pod, downward.items.iter().flatten(), mode)?;
        }
        if let Some(token) = &source.service_account_token {
            let made = account_token(&node.client, pod).await?;
            write(&own.join(&token.path), made.as_bytes(), mode)?;
        }
    }
    Ok(())
}

/// A token of the pod's service account.
async fn account_token(client: &Client, pod: &Pod) -> Result<String, Missing> {
    let account = pod.spec.as_ref().and_then(|s| s.service_account_name.clone());
    let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let request = serde_json::from_value(json!({ "spec": { "audiences": [], "expirationSeconds": 3600 } }))
        .expect("the shape of a TokenRequest");
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await;
    let answer = answer.map_err(|e| Missing(format!("token of serviceaccount \"{account}\": {e}")))?;
    Ok(answer.status.map(|s| s.token).unwrap_or_default())
}

/// A claim is a directory of the node, which outlives pods; it is bound when a pod wants it. One with a source is filled
/// by whoever plays the storage, and waited for.
async fn bound(node: &Inner, namespace: &str, claim: &str) -> Result<PathBuf, Missing> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(node.client.clone(), namespace);
    let absent = |_| Missing(format!("persistentvolumeclaim \"{claim}\" not found"));
    let found = claims.get(claim).await.map_err(absent)?;
    let directory = node.setup.folder.join("claims").join(namespace).join(claim);
    if found.spec.is_some_and(|spec| spec.data_source.is_some()) && !directory.exists() {
        return Err(Missing(format!("persistentvolumeclaim \"{claim}\" waits for a volume from its source")));
    }
    let status = json!({ "status": { "phase": "Bound" } });
    claims.patch_status(claim, &PatchParams::default(), &Patch::Merge(&status)).await.map_err(absent)?;
    if !directory.exists() {
        make(&directory)?;
    }
    Ok(directory)
}

/// A directory that every user may write to.
fn make(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777))
}

/// Hands a directory and what is in it to a group.
fn give(directory: &Path, group: u32) -> io::Result<()> {
    chown(directory, None, Some(group))?;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            give(&path, group)?;
        } else {
            chown(&path, None, Some(group))?;
        }
    }
    Ok(())
}

fn write_all(
    directory: &Path,
    entries: &Entries,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> Result<(), Missing> {
    let Some(items) = items else {
        for (key, value) in entries {
            write(&directory.join(key), value, mode)?;
        }
        return Ok(());
    };
    for item in items {
        let value = entries.get(&item.key);
        let value =
            value.ok_or_else(|| Missing(format!("references non-existent secret key: {}", item.key)))?;
        write(&directory.join(&item.path), value, item.mode.or(mode))?;
    }
    Ok(())
}

fn write_fields<'i>(
    directory: &Path,
    pod: &Pod,
    items: impl Iterator<Item = &'i DownwardAPIVolumeFile>,
    mode: Option<i32>,
) -> Result<(), Missing> {
    for item in items {
        let value = item.field_ref.as_ref().map(|f| field_of(pod, &f.field_path)).unwrap_or_default();
        write(&directory.join(&item.path), value.as_bytes(), mode)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mode: Option<i32>) -> Result<(), Missing> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    let mode = mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(0o644);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}
