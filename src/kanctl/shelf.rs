//! Objects from files, standing in for a cluster: what `--object`, `--profile` and `--with` were given.

use super::input::Input;
use crate::failure::Failure;
use base64::Engine as _;
use cistern_api::ObjectReference;
use cistern_api::yaml::YamlError;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Namespace of an object whose file names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Objects by kind, namespace and name.
#[derive(Clone, Default)]
pub struct Shelf {
    objects: Vec<Json>,
}

impl Shelf {
    /// Reads all documents of a file and keeps them; returns those of this file.
    ///
    /// # Errors
    /// The file cannot be read, is no YAML, or holds something that is no object.
    pub fn add(&mut self, path: &Path) -> Result<Vec<Json>, Failure> {
        let input = Input::read(path)?;
        let mut read = Vec::new();
        for document in input.documents()? {
            let items = match document.value() {
                list if list["kind"] == "List" => list["items"].as_array().cloned().unwrap_or_default(),
                object => vec![object.clone()],
            };
            for mut object in items {
                if object["kind"].as_str().is_none() || !is_named(&object["metadata"]) {
                    let place = document.place("");
                    let problem = "expected an object with kind and metadata.name".to_owned();
                    return Err(input.wrong(&YamlError { place, path: String::new(), problem }));
                }
                encode_string_data(&mut object);
                make_up_name(&mut object);
                read.push(object);
            }
        }
        self.objects.extend(read.iter().cloned());
        Ok(read)
    }

    /// Keeps one object more, as a cluster would.
    pub fn put(&mut self, mut object: Json) {
        encode_string_data(&mut object);
        self.objects.push(object);
    }

    /// The object of this kind and name. A file that names no namespace fits every one.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Json> {
        self.objects.iter().find(|object| {
            let there = object["metadata"]["namespace"].as_str();
            kind_of(object).eq_ignore_ascii_case(kind)
                && object["metadata"]["name"] == name
                && (namespace.is_empty() || there.is_none_or(|there| there == namespace))
        })
    }

    /// The object of this kind that a reference names, or a sentence about how to hand it in.
    pub fn get(&self, kind: &str, reference: &ObjectReference) -> Result<Json, String> {
        let (namespace, name) = (&reference.namespace, &reference.name);
        self.find(kind, namespace, name).cloned().ok_or_else(|| {
            let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
            format!("there is no {kind} {namespace}/{name} in the files given; add its YAML with --with")
        })
    }

    /// All objects of a kind.
    pub fn all<'s>(&'s self, kind: &str) -> impl Iterator<Item = &'s Json> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The same shelf with every value of a Secret replaced by `[secret NAME.KEY]`.
    #[must_use]
    pub fn masked(mut self) -> Shelf {
        for object in self.objects.iter_mut().filter(|object| object["kind"] == "Secret") {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            for (key, value) in object["data"].as_object_mut().into_iter().flatten() {
                *value = base64(&format!("[secret {name}.{key}]")).into();
            }
        }
        self
    }
}

/// Adds several files.
pub fn shelf(paths: &[PathBuf]) -> Result<Shelf, Failure> {
    let mut shelf = Shelf::default();
    for path in paths {
        shelf.add(path)?;
    }
    Ok(shelf)
}

/// A reference to an object as ActionSets refer to what they run on.
pub fn reference(object: &Json) -> ObjectReference {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let kind = kind_of(object);
    let name = text(&object["metadata"]["name"]);
    let namespace = match kind {
        "namespace" => name.clone(),
        _ => object["metadata"]["namespace"].as_str().unwrap_or(DEFAULT_NAMESPACE).to_owned(),
    };
    let mut reference = ObjectReference { name, namespace, kind: kind.to_lowercase(), ..Default::default() };
    if !KNOWN.contains(&reference.kind.as_str()) {
        let version = text(&object["apiVersion"]);
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        reference.group = group.to_owned();
        reference.api_version = version.to_owned();
        reference.resource = plural(&reference.kind);
    }
    reference
}

/// A name, or the beginning of one that the cluster will make up.
fn is_named(metadata: &Json) -> bool {
    metadata["name"].is_string() || metadata["generateName"].is_string()
}

/// What the API server does with `generateName`, but for the letters at the end: files are few.
fn make_up_name(object: &mut Json) {
    let beginning =
        object["metadata"]["generateName"].as_str().map(|text| text.trim_end_matches('-').to_owned());
    if let (Some(name), false) = (beginning, object["metadata"]["name"].is_string()) {
        object["metadata"]["name"] = name.into();
    }
}

/// Kinds that ActionSets name without version and resource.
const KNOWN: [&str; 5] = ["statefulset", "deployment", "deploymentconfig", "pvc", "namespace"];

/// The kind as ActionSets spell it.
fn kind_of(object: &Json) -> &str {
    match object["kind"].as_str().unwrap_or_default() {
        "PersistentVolumeClaim" => "pvc",
        "Namespace" => "namespace",
        kind => kind,
    }
}

/// The resource of a kind, by the rules of English that `kubectl` uses where it has no server to ask.
fn plural(kind: &str) -> String {
    match kind {
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{kind}s"),
        },
    }
}

/// What the API server does with `stringData` when it stores a Secret.
fn encode_string_data(object: &mut Json) {
    if object["kind"] != "Secret" {
        return;
    }
    let plain = object.as_object_mut().and_then(|object| object.remove("stringData"));
    for (key, value) in plain.as_ref().and_then(Json::as_object).into_iter().flatten() {
        object["data"][key] = base64(value.as_str().unwrap_or_default()).into();
    }
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
