//! Objects as the API server keeps them: versions, conflicts, finalizers, labels, owners.

use cistern_api::ObjectReference;
use cistern_functions::ports::{Patch, Refusal, Resource, Why};
use cistern_functions::reference::completed;
use cistern_functions::strategic;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Resource with its group, namespace, name.
type Place = (String, String, String);

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    objects: BTreeMap<Place, (ObjectReference, Json)>,
    version: u64,
}

fn key(at: &ObjectReference) -> Place {
    (format!("{}.{}", at.resource, at.group), at.namespace.clone(), at.name.clone())
}

fn absent(at: &ObjectReference) -> Refusal {
    Refusal::new(Why::Absent, format!("is not there: {}", at.name))
}

/// Where an object belongs, by its kind.
pub(super) fn place(object: &Json) -> Option<ObjectReference> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut kind = text(&object["kind"]);
    if kind == "PersistentVolumeClaim" {
        "pvc".clone_into(&mut kind);
    }
    let meta = &object["metadata"];
    let reference =
        ObjectReference { kind, ..ObjectReference::named(&text(&meta["namespace"]), &text(&meta["name"])) };
    completed(&reference)
}

/// What the cluster serves under a kind or a resource: the kinds known by name, and `widgets.example.com`.
pub(super) fn resource(reference: &ObjectReference) -> Result<Resource, Refusal> {
    let widget = reference.kind == "Widget" || reference.resource == "widgets";
    let full = if widget {
        ObjectReference {
            api_version: "v1".to_owned(),
            group: "example.com".to_owned(),
            resource: "widgets".to_owned(),
            ..reference.clone()
        }
    } else {
        completed(reference)
            .ok_or_else(|| Refusal::new(Why::Invalid, format!("the cluster serves no {}", reference.kind)))?
    };
    let namespaced = full.resource != "namespaces";
    Ok(Resource { group: full.group, version: full.api_version, plural: full.resource, namespaced })
}

impl Shelf {
    pub(super) fn get(&self, at: &ObjectReference) -> Result<Json, Refusal> {
        self.objects.get(&key(at)).map(|(_, object)| object.clone()).ok_or_else(|| absent(at))
    }

    pub(super) fn matching(&self, of: &ObjectReference, selector: &str) -> Vec<ObjectReference> {
        let resource = key(of).0;
        let here = self.objects.iter().filter(|((kind, namespace, _), _)| {
            *kind == resource && (of.namespace.is_empty() || *namespace == of.namespace)
        });
        here.filter(|(_, (_, object))| matches(&object["metadata"]["labels"], selector))
            .map(|(_, (at, _))| at.clone())
            .collect()
    }

    pub(super) fn create(&mut self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        if self.objects.contains_key(&key(at)) {
            return Err(Refusal::new(Why::Exists, format!("is there already: {}", at.name)));
        }
        let mut object = object.clone();
        let meta = &mut object["metadata"];
        meta["name"] = at.name.clone().into();
        meta["namespace"] = at.namespace.clone().into();
        if meta["uid"].is_null() {
            meta["uid"] = format!("uid-{}", self.version + 1).into();
        }
        meta["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
        Ok(self.keep(at, object))
    }

    pub(super) fn replace(&mut self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        let there = self.get(at)?;
        if object["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"] {
            return Err(Refusal::new(Why::Conflict, "has changed since it was read"));
        }
        Ok(self.keep_or_drop(at, object.clone()))
    }

    pub(super) fn patch(&mut self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal> {
        let mut object = self.get(at)?;
        let version = &patch["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return Err(Refusal::new(Why::Conflict, "has changed since it was read"));
        }
        match kind {
            Patch::Merge => merge(&mut object, patch),
            Patch::Strategic if at.group.contains("example.com") => {
                return Err(Refusal::new(Why::Invalid, "does not know this kind of patch"));
            }
            Patch::Strategic => {
                strategic::merge(&mut object, patch).map_err(|e| Refusal::new(Why::Invalid, e))?;
            }
        }
        Ok(self.keep_or_drop(at, object))
    }

    pub(super) fn delete(&mut self, at: &ObjectReference) -> Result<(), Refusal> {
        let mut object = self.get(at)?;
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:05:00Z");
        }
        self.keep_or_drop(at, object);
        Ok(())
    }

    fn keep_or_drop(&mut self, at: &ObjectReference, object: Json) -> Json {
        let meta = &object["metadata"];
        let held = meta["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if meta["deletionTimestamp"].is_null() || held {
            return self.keep(at, object);
        }
        self.objects.remove(&key(at));
        self.collect(&object["metadata"]["uid"]);
        object
    }

    /// What belonged to an object that is gone goes too, as the garbage collector of a cluster has it.
    fn collect(&mut self, owner: &Json) {
        let owned = |object: &Json| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.into_iter().flatten().any(|reference| reference["uid"] == *owner)
        };
        let orphans = self.objects.values().filter(|(_, object)| owned(object));
        let orphans: Vec<ObjectReference> = orphans.map(|(at, _)| at.clone()).collect();
        for at in orphans {
            let _ = self.delete(&at);
        }
    }

    fn keep(&mut self, at: &ObjectReference, mut object: Json) -> Json {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key(at), (at.clone(), object.clone()));
        object
    }
}

/// Labels against a selector of equalities, existences and absences.
fn matches(labels: &Json, selector: &str) -> bool {
    let terms = selector.split(',').filter(|term| !term.is_empty());
    terms.into_iter().all(|term| match (term.split_once('='), term.strip_prefix('!')) {
        (Some((key, value)), _) => labels[key] == value,
        (None, Some(key)) => labels[key].is_null(),
        (None, None) => !labels[term].is_null(),
    })
}

/// JSON merge patch.
fn merge(object: &mut Json, patch: &Json) {
    let Json::Object(fields) = patch else {
        object.clone_from(patch);
        return;
    };
    if !object.is_object() {
        *object = Json::Object(Map::new());
    }
    let own = object.as_object_mut().expect("it was made one");
    for (key, value) in fields {
        if value.is_null() {
            own.remove(key);
        } else {
            merge(own.entry(key.clone()).or_insert(Json::Null), value);
        }
    }
}
