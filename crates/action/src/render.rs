//! Templates of a blueprint into what they come to: arguments, references, artifacts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cistern_api::{Artifact, Object, ObjectReference};
use cistern_template::{
    ErrorKind, Functions, Kind, MissingKey, Options, ReadStep, Template, Time, Value, World,
};
use serde_json::Value as Json;

/// The name Kanister gives its templates; it stands in positions such as `config:1:13`.
pub const TEMPLATE_NAME: &str = "config";

/// Arguments nested deeper are not arguments a person wrote.
const DEPTH_MAX: usize = 64;
/// As many existing keys are listed where a key is missing.
const LISTED_MAX: usize = 12;

/// A template that did not render, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct RenderError {
    /// Where the template stands, such as `args.command[3]`.
    pub place: String,
    /// Why it did not render.
    pub reason: String,
}

/// Renders with one root value.
pub struct Renderer<'v> {
    root: &'v Value,
    options: Options,
}

/// The functions that Kanister's templates can call.
pub fn functions() -> &'static Arc<Functions> {
    static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(Functions::sprig()));
    &FUNCTIONS
}

impl<'v> Renderer<'v> {
    /// A renderer; `now` is what the template function of that name returns.
    pub fn new(root: &'v Value, now: Time) -> Renderer<'v> {
        Renderer { root, options: Options::new(World::at(now)).missing_key(MissingKey::Error) }
    }

    /// One text. `place` says in errors where it stands.
    ///
    /// # Errors
    /// The template cannot be read, or names what is not there.
    pub fn text(&self, place: &str, text: &str) -> Result<String, RenderError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let fail = |reason| RenderError { place: place.to_owned(), reason };
        let template = Template::parse(TEMPLATE_NAME, text, functions()).map_err(|e| fail(e.to_string()))?;
        match template.render(self.root, &self.options) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(fail(self.explain(&template, &error))),
        }
    }

    /// The arguments of a phase: every string, and the keys of maps. Strings stay strings, numbers and
    /// booleans are passed on, an argument that is null is left out.
    ///
    /// # Errors
    /// A template in them does not render.
    pub fn args(&self, args: &Object) -> Result<Object, RenderError> {
        let mut rendered = Object::new();
        for (key, value) in args.iter().filter(|(_, value)| !value.is_null()) {
            let place = format!("args.{key}");
            rendered.insert(self.text("args", key)?, self.json(&place, value, 0)?);
        }
        Ok(rendered)
    }

    fn json(&self, place: &str, value: &Json, depth: usize) -> Result<Json, RenderError> {
        if depth > DEPTH_MAX {
            let reason = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(RenderError { place: place.to_owned(), reason });
        }
        Ok(match value {
            Json::String(text) => Json::String(self.text(place, text)?),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(i, item)| self.json(&format!("{place}[{i}]"), item, depth + 1));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Json::Object(map) => {
                let entries = map.iter().map(|(key, value)| {
                    let inner = format!("{place}.{key}");
                    Ok((self.text(place, key)?, self.json(&inner, value, depth + 1)?))
                });
                Json::Object(entries.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    /// A reference to an object, all fields.
    ///
    /// # Errors
    /// A template in it does not render.
    pub fn reference(&self, place: &str, of: &ObjectReference) -> Result<ObjectReference, RenderError> {
        let text = |field: &str, value: &str| self.text(&format!("{place}.{field}"), value);
        Ok(ObjectReference {
            api_version: text("apiVersion", &of.api_version)?,
            group: text("group", &of.group)?,
            resource: text("resource", &of.resource)?,
            kind: text("kind", &of.kind)?,
            name: text("name", &of.name)?,
            namespace: text("namespace", &of.namespace)?,
        })
    }

    /// Artifacts: the values of `keyValue`, and `kopiaSnapshot`. Names and keys are taken as they stand.
    ///
    /// # Errors
    /// A template in them does not render.
    pub fn artifacts(
        &self,
        artifacts: &BTreeMap<String, Artifact>,
    ) -> Result<BTreeMap<String, Artifact>, RenderError> {
        let one = |(name, artifact): (&String, &Artifact)| {
            let place = format!("outputArtifacts.{name}");
            let values = artifact
                .key_value
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.text(&format!("{place}.keyValue.{key}"), value)?)));
            let key_value = values.collect::<Result<_, _>>()?;
            let snapshot = self.text(&format!("{place}.kopiaSnapshot"), &artifact.kopia_snapshot)?;
            Ok((name.clone(), Artifact { key_value, kopia_snapshot: snapshot }))
        };
        artifacts.iter().map(one).collect()
    }

    /// The engine's words; for a missing key, what there is instead; for nil, why it is nil.
    fn explain(&self, template: &Template, error: &cistern_template::Error) -> String {
        if let Some(key) = error.missing_key() {
            let there = self.siblings(template, key);
            return match there {
                Some((place, keys)) => format!("\"{key}\" not found in {place}; {keys}"),
                None => format!("\"{key}\" not found"),
            };
        }
        let text = error.to_string();
        let hint = match error.kind() {
            ErrorKind::Exec if text.contains("nil pointer evaluating *param.Profile") => {
                "; the ActionSet names no profile"
            }
            ErrorKind::Exec if text.contains("nil pointer evaluating *param.KeyPair") => {
                "; the profile's credential is no key pair"
            }
            ErrorKind::Exec if text.contains("nil pointer evaluating *param.") => {
                "; the ActionSet's object is of another kind"
            }
            _ => "",
        };
        format!("{text}{hint}")
    }

    /// Where the template looks for `key`, and the keys that are there.
    fn siblings(&self, template: &Template, key: &str) -> Option<(String, String)> {
        for read in template.reads() {
            for (i, step) in read.path.iter().enumerate() {
                if *step != ReadStep::Field(key.to_owned()) {
                    continue;
                }
                let Some(holder) = walk(self.root, &read.path[..i]) else { continue };
                if holder.kind() != Kind::Map || holder.entry(&Value::str(key)).is_some() {
                    continue;
                }
                return Some((spelled(&read.path[..i]), listed(&holder)));
            }
        }
        None
    }
}

/// The value at the end of a way, as far as it can be walked without rendering.
fn walk(root: &Value, path: &[ReadStep]) -> Option<Value> {
    let mut at = root.clone();
    for step in path {
        while let Some(to) = at.pointee().cloned() {
            at = to;
        }
        at = match step {
            ReadStep::Field(name) => at.field(name).or_else(|| at.entry(&Value::str(name)))?,
            ReadStep::Key(name) => at.entry(&Value::str(name))?,
            ReadStep::Element => at.item(0)?,
        };
    }
    while let Some(to) = at.pointee().cloned() {
        at = to;
    }
    Some(at)
}

/// A way as it is written in templates.
pub(crate) fn spelled(path: &[ReadStep]) -> String {
    let step = |step: &ReadStep| match step {
        ReadStep::Field(name) => format!(".{name}"),
        ReadStep::Key(name) => format!("[{name:?}]"),
        ReadStep::Element => "[…]".to_owned(),
    };
    path.iter().map(step).collect()
}

fn listed(map: &Value) -> String {
    let entries = map.entries();
    if entries.is_empty() {
        return "it is empty".to_owned();
    }
    let key =
        |(key, _): &(Value, Value)| String::from_utf8_lossy(key.as_str().map_or(&[][..], |k| k)).into_owned();
    let names: Vec<String> = entries.iter().take(LISTED_MAX).map(key).collect();
    let more = if entries.len() > LISTED_MAX { ", …" } else { "" };
    format!("there is {}{more}", names.join(", "))
}
