//! The linter: every complaint about a blueprint at once, each with its place in the text.
//!
//! Pure: text in, complaints out. What a cluster would say (does the secret exist, is the pod there) is no
//! concern of it.

mod calls;
mod names;
mod old;
mod places;
mod shape;
mod shell;
mod templates;

use cistern_api::yaml::{self, Document, Place};
use serde_json::Value as Json;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The blueprint does not work, or loses data.
    Error,
    /// It works, and probably not as meant.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A kind of complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A stable name, such as `shell/pipefail`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What the rule wants, in one sentence.
    pub summary: &'static str,
}

/// Something wrong with a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which rule it breaks.
    pub rule: &'static Rule,
    /// Where, as lines and columns from 1; `None` where the text as a whole is meant.
    pub place: Option<Place>,
    /// Where, as a path such as `actions.backup.phases[0].args.command[2]`.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal $summary:literal;)*) => {
        $(pub(crate) const $name: &Rule = &Rule { id: $id, severity: Severity::$severity, summary: $summary };)*

        /// Every rule, for those who list them.
        pub const RULES: &[&Rule] = &[$($name),*];
    };
}

rules! {
    YAML Error "yaml/syntax" "A file is YAML as Kubernetes reads it, without duplicate keys.";
    UNKNOWN_FIELD Error "schema/field" "A blueprint has only the fields Kanister knows.";
    WRONG_TYPE Error "schema/type" "A field holds the type of value it is meant for.";
    EMPTY Error "schema/empty" "Actions have phases, phases have functions.";
    OLD_FORM Error "schema/old-form" "Forms of early releases are replaced by their successors.";
    OBJECT_KIND Warning "schema/object-kind" "Phases name only Secrets and ConfigMaps in objects; others are ignored.";
    DUPLICATE_NAME Error "phase/name" "Phases of an action have names of their own.";
    UNKNOWN_FUNCTION Error "function/unknown" "Functions exist in the current release.";
    REMOVED_FUNCTION Error "function/removed" "Functions that are gone are replaced.";
    UNKNOWN_ARGUMENT Error "argument/unknown" "Functions are given only arguments they take.";
    MISSING_ARGUMENT Error "argument/missing" "Functions are given the arguments they need.";
    ARGUMENT_TYPE Error "argument/type" "Arguments hold what the function can take.";
    SYNTAX Error "template/syntax" "Templates are Go templates with the functions of sprig 2.22.";
    UNKNOWN_NAME Error "template/field" "Templates name only what an action can see.";
    BYTES Error "template/bytes" "Values of Secrets are bytes, and become text with toString.";
    PHASE_ORDER Error "template/phase" "Templates refer to phases of the same action that ran before.";
    UNKNOWN_OUTPUT Warning "output/unknown" "Outputs that are read are produced.";
    UNREAD_OUTPUT Warning "output/unread" "Outputs that are produced are read.";
    UNDECLARED Warning "declare/missing" "What an action expects is declared: configMapNames, secretNames, inputArtifactNames.";
    ARTIFACT_KEY Warning "artifact/key" "Artifacts are read by the keys they are written with.";
    PIPEFAIL Error "shell/pipefail" "A pipe with kando fails when any part of it fails.";
    COMPRESSED Warning "shell/compressed" "What goes into kando is not compressed: compressed dumps cannot be deduplicated.";
    SECRET_ARGUMENT Warning "shell/secret" "Secrets are not passed as arguments, which every process of the machine can read.";
}

/// Every complaint about a text, in the order of the text. It may hold several documents; those of other
/// kinds are passed over.
pub fn check(text: &str) -> Vec<Complaint> {
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let complaint =
                Complaint { rule: YAML, place: error.place, path: error.path, message: error.problem };
            return vec![complaint];
        }
    };
    let mut complaints = Vec::new();
    for document in &documents {
        let mut sheet = Sheet { text, document, complaints: Vec::new() };
        check_document(&mut sheet);
        complaints.append(&mut sheet.complaints);
    }
    if documents.is_empty() {
        let message = "there is nothing here; expected a Blueprint".to_owned();
        complaints.push(Complaint { rule: EMPTY, place: None, path: String::new(), message });
    }
    complaints.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.rule.id.cmp(b.rule.id)));
    complaints.dedup();
    complaints
}

fn check_document(sheet: &mut Sheet<'_>) {
    let root = sheet.document.value();
    old::annotations(sheet, root);
    match &root["kind"] {
        Json::String(kind) if kind == "Blueprint" => {}
        Json::String(_) => return,
        _ => {}
    }
    shape::blueprint(sheet, root);
    let Some(actions) = root["actions"].as_object() else { return };
    for (name, action) in actions.iter().filter(|(_, action)| action.is_object()) {
        let action = Action::new(name, action, actions);
        names::unique(sheet, &action);
        for phase in action.phases() {
            calls::check(sheet, &phase);
        }
        templates::check(sheet, &action);
        shell::check(sheet, &action);
    }
}

/// The text under the linter, and what was found in it.
pub(crate) struct Sheet<'t> {
    text: &'t str,
    document: &'t Document,
    complaints: Vec<Complaint>,
}

impl Sheet<'_> {
    /// A complaint about the value at a pointer.
    fn value(&mut self, rule: &'static Rule, pointer: &str, message: impl Into<String>) {
        let place = self.nearest(pointer);
        self.push(rule, place, pointer, message.into());
    }

    /// A complaint about the key of the value at a pointer.
    fn key(&mut self, rule: &'static Rule, pointer: &str, message: impl Into<String>) {
        let place = self.document.key_place(pointer).or_else(|| self.nearest(pointer));
        self.push(rule, place, pointer, message.into());
    }

    /// A complaint about a byte inside the string at a pointer.
    fn inside(
        &mut self,
        rule: &'static Rule,
        pointer: &str,
        offset_bytes: usize,
        message: impl Into<String>,
    ) {
        let value = self.document.value().pointer(pointer).and_then(Json::as_str);
        let place = match (self.document.place(pointer), value) {
            (Some(start), Some(value)) => Some(places::inside(self.text, start, value, offset_bytes)),
            _ => self.nearest(pointer),
        };
        self.push(rule, place, pointer, message.into());
    }

    fn push(&mut self, rule: &'static Rule, place: Option<Place>, pointer: &str, message: String) {
        self.complaints.push(Complaint { rule, place, path: dotted(pointer), message });
    }

    /// The place of a value, or of the innermost one around it that has a place.
    fn nearest(&self, pointer: &str) -> Option<Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.document.place(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// One action of the blueprint under the linter.
pub(crate) struct Action<'b> {
    name: &'b str,
    pointer: String,
    json: &'b Json,
    all: &'b cistern_api::Object,
}

/// One phase of it, in the order of running; the deferred one comes last.
#[derive(Clone)]
pub(crate) struct PhaseRef<'b> {
    pointer: String,
    name: &'b str,
    func: &'b str,
    json: &'b Json,
    deferred: bool,
}

impl<'b> Action<'b> {
    fn new(name: &'b str, json: &'b Json, all: &'b cistern_api::Object) -> Action<'b> {
        Action { name, pointer: format!("/actions/{}", escaped(name)), json, all }
    }

    fn phases(&self) -> Vec<PhaseRef<'b>> {
        let text = |value: &'b Json| value.as_str().unwrap_or_default();
        let phase = |pointer: String, json: &'b Json, deferred| PhaseRef {
            pointer,
            name: text(&json["name"]),
            func: text(&json["func"]),
            json,
            deferred,
        };
        let listed = self.json["phases"].as_array().into_iter().flatten().enumerate();
        let listed = listed.map(|(i, json)| phase(format!("{}/phases/{i}", self.pointer), json, false));
        let deferred = Some(&self.json["deferPhase"]).filter(|json| json.is_object());
        let deferred = deferred.map(|json| phase(format!("{}/deferPhase", self.pointer), json, true));
        listed.chain(deferred).filter(|phase| phase.json.is_object()).collect()
    }

    /// The strings of a list such as `secretNames`.
    fn declared(&self, field: &str) -> Vec<&'b str> {
        self.json[field].as_array().into_iter().flatten().filter_map(Json::as_str).collect()
    }
}

/// A step of a JSON pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer in the way people write paths.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step.bytes().all(|b| b.is_ascii_digit()) && !path.is_empty() {
            path.push_str(&format!("[{step}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&step);
        }
    }
    path
}

/// All strings below a value, with their pointers.
pub(crate) fn strings<'j>(pointer: &str, json: &'j Json, found: &mut Vec<(String, &'j str)>) {
    match json {
        Json::String(text) => found.push((pointer.to_owned(), text)),
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                strings(&format!("{pointer}/{i}"), item, found);
            }
        }
        Json::Object(map) => {
            for (key, value) in map {
                strings(&format!("{pointer}/{}", escaped(key)), value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may unwrap")]
mod tests;
