//! Kubernetes' strategic merge patch over a pod's spec: lists with a key are merged item by item.
//!
//! Source of the keys: `patchMergeKey` and `patchStrategy` of `k8s.io/api/core/v1`. A list that is not named
//! here is replaced as a whole. New items come after those that were there; `$setElementOrder` is passed
//! over, because the order of what is merged means nothing to Kubernetes.

use serde_json::{Map, Value as Json};

/// Lists of a pod's spec that are merged, by field name, with the field that tells their items apart.
/// No name stands for two lists with different keys.
const MERGED: [(&str, &str); 13] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("schedulingGates", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("env", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
];
/// Nested deeper than any pod's spec.
const DEPTH_MAX: usize = 32;

/// Lays `patch` over `object`.
///
/// # Errors
/// An item of a merged list lacks its key, a directive is unknown, or the patch is nested too deep.
pub fn merge(object: &mut Json, patch: &Json) -> Result<(), String> {
    value(object, patch, "", 0)
}

fn value(object: &mut Json, patch: &Json, field: &str, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX} levels"));
    }
    let key = MERGED.iter().find(|(list, _)| *list == field).map(|(_, key)| *key);
    match (patch, key) {
        (Json::Object(patch), _) => mapping(object, patch, depth),
        (Json::Array(items), Some(key)) => list(object, items, field, key, depth),
        _ => {
            object.clone_from(patch);
            Ok(())
        }
    }
}

fn mapping(object: &mut Json, patch: &Map<String, Json>, depth: usize) -> Result<(), String> {
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            let plain = patch.iter().filter(|(key, _)| *key != "$patch");
            *object = Json::Object(plain.map(|(k, v)| (k.clone(), v.clone())).collect());
            return Ok(());
        }
        Some("delete") => {
            *object = Json::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(format!("$patch: {other:?} is none of merge, replace, delete")),
    }
    if !object.is_object() {
        *object = Json::Object(Map::new());
    }
    let fields = object.as_object_mut().expect("it was made one");
    for (key, patch) in patch.iter().filter(|(key, _)| *key != "$patch") {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = patch.as_array().cloned().unwrap_or_default();
            if let Some(Json::Array(items)) = fields.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key == "$retainKeys" {
            let kept = patch.as_array().cloned().unwrap_or_default();
            fields.retain(|name, _| kept.iter().any(|k| k == name));
        } else if key.starts_with("$setElementOrder/") {
        } else if patch.is_null() {
            fields.remove(key);
        } else {
            value(fields.entry(key.clone()).or_insert(Json::Null), patch, key, depth + 1)?;
        }
    }
    Ok(())
}

fn list(object: &mut Json, patch: &[Json], field: &str, key: &str, depth: usize) -> Result<(), String> {
    let directive = |item: &Json, word: &str| item.get("$patch").is_some_and(|d| d == word);
    if patch.iter().any(|item| directive(item, "replace")) {
        let kept = patch.iter().filter(|item| !directive(item, "replace"));
        *object = Json::Array(kept.cloned().collect());
        return Ok(());
    }
    if !object.is_array() {
        *object = Json::Array(Vec::new());
    }
    let items = object.as_array_mut().expect("it was made one");
    for item in patch {
        let Some(name) = item.get(key) else {
            return Err(format!("an item of {field} lacks {key:?}, which tells these items apart"));
        };
        let place = items.iter().position(|there| there.get(key) == Some(name));
        match place {
            Some(at) if directive(item, "delete") => {
                items.remove(at);
            }
            Some(at) => value(&mut items[at], item, "", depth + 1)?,
            None if directive(item, "delete") => {}
            None => {
                let mut new = Json::Object(Map::new());
                value(&mut new, item, "", depth + 1)?;
                items.push(new);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(mut object: Json, patch: Json) -> Json {
        merge(&mut object, &patch).unwrap();
        object
    }

    #[test]
    fn containers_are_merged_by_name_and_their_commands_replaced() {
        let spec = json!({ "containers": [
            { "name": "container", "image": "a", "command": ["x", "y"], "env": [{ "name": "A", "value": "1" }] },
        ] });
        let patch = json!({ "containers": [
            { "name": "side", "image": "s" },
            { "name": "container", "command": ["z"], "env": [{ "name": "B", "value": "2" }, { "name": "A", "value": "3" }] },
        ] });
        assert_eq!(
            merged(spec, patch),
            json!({ "containers": [
                { "name": "container", "image": "a", "command": ["z"],
                  "env": [{ "name": "A", "value": "3" }, { "name": "B", "value": "2" }] },
                { "name": "side", "image": "s" },
            ] })
        );
    }

    #[test]
    fn directives_delete_and_replace() {
        let spec =
            || json!({ "volumes": [{ "name": "a", "emptyDir": {} }, { "name": "b" }], "nodeName": "n" });
        let delete = json!({ "volumes": [{ "name": "a", "$patch": "delete" }], "nodeName": null });
        assert_eq!(merged(spec(), delete), json!({ "volumes": [{ "name": "b" }] }));
        let replace = json!({ "volumes": [{ "$patch": "replace" }, { "name": "c" }] });
        assert_eq!(merged(spec(), replace)["volumes"], json!([{ "name": "c" }]));
        let retain =
            json!({ "volumes": [{ "name": "a", "$retainKeys": ["name", "hostPath"], "hostPath": {} }] });
        assert_eq!(merged(spec(), retain)["volumes"][0], json!({ "name": "a", "hostPath": {} }));
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        let spec = json!({ "tolerations": [{ "key": "a" }] });
        let patch = json!({ "tolerations": [{ "key": "b" }] });
        assert_eq!(merged(spec, patch), json!({ "tolerations": [{ "key": "b" }] }));
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let error = merge(&mut json!({}), &json!({ "containers": [{ "image": "x" }] })).unwrap_err();
        assert_eq!(error, "an item of containers lacks \"name\", which tells these items apart");
        assert!(merge(&mut json!({}), &json!({ "$patch": "what" })).is_err());
    }
}
