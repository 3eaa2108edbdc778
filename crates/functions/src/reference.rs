//! References to the kinds that Kanister knows by name, completed; and references in words.

use cistern_api::ObjectReference;
use serde_json::Value as Json;

/// Kind in lower case, API group, version, resource.
const KNOWN: [(&str, &str, &str, &str); 14] = [
    ("statefulset", "apps", "v1", "statefulsets"),
    ("deployment", "apps", "v1", "deployments"),
    ("deploymentconfig", "apps.openshift.io", "v1", "deploymentconfigs"),
    ("namespace", "", "v1", "namespaces"),
    ("pvc", "", "v1", "persistentvolumeclaims"),
    ("secret", "", "v1", "secrets"),
    ("configmap", "", "v1", "configmaps"),
    ("pod", "", "v1", "pods"),
    ("volumesnapshot", "snapshot.storage.k8s.io", "v1", "volumesnapshots"),
    ("volumesnapshotcontent", "snapshot.storage.k8s.io", "v1", "volumesnapshotcontents"),
    ("volumesnapshotclass", "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses"),
    ("actionset", "cr.kanister.io", "v1alpha1", "actionsets"),
    ("blueprint", "cr.kanister.io", "v1alpha1", "blueprints"),
    ("profile", "cr.kanister.io", "v1alpha1", "profiles"),
];

/// An object of a kind that is known by name, such as `secret`.
///
/// # Panics
/// For any other kind.
pub fn of_kind(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    let reference = ObjectReference { kind: kind.to_owned(), ..ObjectReference::named(namespace, name) };
    completed(&reference).expect("the kind is one of the known ones")
}

/// The reference with `apiVersion`, `group` and `resource`, if it says them or its kind is known. A namespace
/// as an object has none of its own; its name may stand in `namespace` alone.
pub fn completed(reference: &ObjectReference) -> Option<ObjectReference> {
    let mut full = reference.clone();
    full.group = reference.group_name().to_owned();
    if !full.api_version.is_empty() && !full.resource.is_empty() {
        return Some(full);
    }
    let kind = reference.kind.to_lowercase();
    let (_, group, version, resource) = KNOWN.iter().find(|(known, ..)| *known == kind)?;
    full.group = (*group).to_owned();
    full.api_version = (*version).to_owned();
    full.resource = (*resource).to_owned();
    if kind == "namespace" {
        if full.name.is_empty() {
            full.name = std::mem::take(&mut full.namespace);
        }
        full.namespace.clear();
    }
    Some(full)
}

/// The reference for messages: `secrets app/pw`.
pub fn words(reference: &ObjectReference) -> String {
    let what = if reference.resource.is_empty() { &reference.kind } else { &reference.resource };
    match reference.namespace.as_str() {
        "" => format!("{what} {}", reference.name),
        namespace => format!("{what} {namespace}/{}", reference.name),
    }
}

/// A label selector object in the syntax of `kubectl -l`; `None` where it says what that cannot.
pub fn selector(selector: &Json) -> Option<String> {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let mut terms = Vec::new();
    // A DeploymentConfig's selector is the labels themselves.
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if plain { Some(selector) } else { selector.get("matchLabels") };
    for (key, value) in labels.and_then(Json::as_object).into_iter().flatten() {
        terms.push(format!("{key}={}", text(value)?));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(&expression["key"])?;
        let values = expression["values"].as_array().into_iter().flatten().map(text);
        let values = values.collect::<Option<Vec<_>>>()?.join(",");
        terms.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key,
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_kinds_say_where_they_are_found() {
        let sts = of_kind("StatefulSet", "app", "db");
        assert_eq!((sts.group.as_str(), sts.resource.as_str()), ("apps", "statefulsets"));
        let named = ObjectReference { kind: "Namespace".to_owned(), ..ObjectReference::named("app", "") };
        let namespace = completed(&named).unwrap();
        assert_eq!((namespace.name.as_str(), namespace.namespace.as_str()), ("app", ""));
        let unknown = ObjectReference { kind: "Cluster".to_owned(), ..ObjectReference::named("app", "c") };
        assert_eq!(completed(&unknown), None);
        let full = ObjectReference {
            group: "db.example.com/".to_owned(),
            api_version: "v1".to_owned(),
            resource: "clusters".to_owned(),
            ..unknown
        };
        assert_eq!(completed(&full).unwrap().group, "db.example.com");
    }

    #[test]
    fn selectors_are_written_as_kubectl_reads_them() {
        let both = json!({
            "matchLabels": { "app": "db", "tier": "1" },
            "matchExpressions": [
                { "key": "env", "operator": "In", "values": ["a", "b"] },
                { "key": "old", "operator": "DoesNotExist" },
            ],
        });
        assert_eq!(selector(&both).unwrap(), "app=db,tier=1,env in (a,b),!old");
        assert_eq!(selector(&json!({ "app": "db" })).unwrap(), "app=db");
        assert_eq!(selector(&json!({})), None, "an empty selector would match every pod");
        assert_eq!(selector(&json!({ "matchExpressions": [{ "key": "k", "operator": "Gt" }] })), None);
    }
}
