//! Variables and arguments of a container, put together as Kubernetes does.

use super::volume::{Missing, entry};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use kube::{Client, ResourceExt as _};
use std::collections::BTreeMap;

/// The container's own variables. Later ones may refer to earlier ones as `$(NAME)`.
pub(super) async fn variables(
    client: &Client,
    pod: &Pod,
    container: &Container,
) -> Result<BTreeMap<String, String>, Missing> {
    let mut variables = BTreeMap::new();
    let namespace = pod.namespace().unwrap_or_default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let (kind, name, optional) = match (&source.secret_ref, &source.config_map_ref) {
            (Some(secret), _) => ("secret", &secret.name, secret.optional),
            (None, Some(map)) => ("configmap", &map.name, map.optional),
            (None, None) => continue,
        };
        let entries = super::volume::entries(client, &namespace, kind, name, optional == Some(true)).await?;
        for (key, value) in entries {
            variables.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(client, pod, variable, &variables).await? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

async fn value(
    client: &Client,
    pod: &Pod,
    variable: &EnvVar,
    so_far: &BTreeMap<String, String>,
) -> Result<Option<String>, Missing> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expanded(variable.value.as_deref().unwrap_or_default(), so_far)));
    };
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return Ok(Some(field_of(pod, &field.field_path)));
    }
    let (kind, name, key, optional) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(secret), _) => ("secret", &secret.name, &secret.key, secret.optional),
        (None, Some(map)) => ("configmap", &map.name, &map.key, map.optional),
        (None, None) => return Ok(None),
    };
    let found = entry(client, &namespace, kind, name, key, optional == Some(true)).await?;
    Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A field of the pod by its path, as the downward API names it.
pub(super) fn field_of(pod: &Pod, path: &str) -> String {
    let quoted = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    let of = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
    if let Some(key) = quoted("metadata.labels") {
        return of(pod.labels(), key);
    }
    if let Some(key) = quoted("metadata.annotations") {
        return of(pod.annotations(), key);
    }
    match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "status.podIP" | "status.hostIP" => "127.0.0.1".to_owned(),
        "spec.nodeName" => pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Replaces `$(NAME)` by the variable; `$$` stands for one dollar, and what is not known stays as it is.
pub(super) fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match named.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_escapes_are_not() {
        let variables = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, wanted) in
            [("$(A)/$(A)", "x/x"), ("$$(A)", "$(A)"), ("$(B) $A $", "$(B) $A $"), ("$(A", "$(A")]
        {
            assert_eq!(expanded(text, &variables), wanted, "{text}");
        }
    }
}
