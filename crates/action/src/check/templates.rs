//! Templates: do they parse, and do they name what is there when they run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cistern_template::{Functions, JsonPath, Kind, ReadStep, Template, Type};
use serde_json::Value as Json;

use super::{
    ARTIFACT_KEY, Action, BYTES, OLD_FORM, PHASE_ORDER, PhaseRef, SYNTAX, Sheet, UNDECLARED, UNKNOWN_NAME,
    UNKNOWN_OUTPUT, UNREAD_OUTPUT, escaped, old, shell, strings,
};
use crate::catalog::{self, Outputs, nearest};
use crate::render::{TEMPLATE_NAME, functions, spelled};
use crate::types::types;

/// Where a template runs: what it can see of the phases.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// `objects` of a phase: before any phase ran.
    Launch,
    /// Arguments of the phase at this place.
    Phase(usize),
    /// After all phases: the deferred one, and output artifacts.
    End,
}

/// A template of an action.
struct Text<'b> {
    pointer: String,
    text: &'b str,
    moment: Moment,
}

/// All templates of an action.
pub(super) fn check(sheet: &mut Sheet<'_>, action: &Action<'_>) {
    let phases = action.phases();
    let outputs = phases.iter().map(Produced::of).collect::<Vec<_>>();
    check_conditions(sheet, &phases);
    let mut read: BTreeSet<(String, String)> = BTreeSet::new();
    for text in texts(action, &phases) {
        let Some(template) = parse(sheet, &text.pointer, text.text, functions()) else { continue };
        for found in template.reads() {
            let mut reader =
                Reader { sheet, action, phases: &phases, outputs: &outputs, text: &text, read: &mut read };
            reader.check(found.offset_bytes, &found.path);
        }
    }
    for (phase, produced) in phases.iter().zip(&outputs) {
        for (key, place) in &produced.keys {
            if phase.deferred || read.contains(&(phase.name.to_owned(), key.clone())) {
                continue;
            }
            let Some((pointer, offset)) = place else { continue };
            let message = format!(
                "output {key:?} of phase {:?} is read by no later phase and no artifact of this action",
                phase.name
            );
            sheet.inside(UNREAD_OUTPUT, pointer, *offset, message);
        }
    }
}

fn texts<'b>(action: &Action<'b>, phases: &[PhaseRef<'b>]) -> Vec<Text<'b>> {
    let mut all = Vec::new();
    let mut add = |pointer: String, json: &'b Json, moment| {
        let mut found = Vec::new();
        strings(&pointer, json, &mut found);
        all.extend(found.into_iter().map(|(pointer, text)| Text { pointer, text, moment }));
    };
    for (i, phase) in phases.iter().enumerate() {
        add(format!("{}/objects", phase.pointer), &phase.json["objects"], Moment::Launch);
        let moment = if phase.deferred { Moment::End } else { Moment::Phase(i) };
        for (name, value) in phase.json["args"].as_object().into_iter().flatten() {
            let waits = matches!(phase.func, "Wait" | "WaitV2");
            if !(waits && name == "conditions" || phase.func == "WaitV2") {
                add(format!("{}/args/{}", phase.pointer, escaped(name)), value, moment);
            }
        }
        for (pointer, condition) in conditions(phase) {
            add(format!("{pointer}/objectReference"), &condition["objectReference"], moment);
        }
    }
    let pointer = format!("{}/outputArtifacts", action.pointer);
    add(pointer, &action.json["outputArtifacts"], Moment::End);
    all
}

/// What `Wait` and `WaitV2` wait for, with its pointers.
fn conditions<'b>(phase: &PhaseRef<'b>) -> Vec<(String, &'b Json)> {
    let waits = matches!(phase.func, "Wait" | "WaitV2");
    let lists = ["anyOf", "allOf"].into_iter().filter(|_| waits);
    let items = lists.flat_map(|list| {
        let items = phase.json["args"]["conditions"][list].as_array().into_iter().flatten().enumerate();
        items.map(move |(i, item)| (list, i, item))
    });
    items.map(|(list, i, item)| (format!("{}/args/conditions/{list}/{i}", phase.pointer), item)).collect()
}

/// Conditions see the object they wait for, so only their syntax is looked at. Those of `WaitV2` are templates in
/// a dialect of their own; those of `Wait` are templates after the values of their paths were pasted into them.
fn check_conditions(sheet: &mut Sheet<'_>, phases: &[PhaseRef<'_>]) {
    static DIALECT: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(Functions::kubectl()));
    for phase in phases {
        for (pointer, condition) in conditions(phase) {
            let Some(text) = condition["condition"].as_str() else { continue };
            let pointer = format!("{pointer}/condition");
            if phase.func == "WaitV2" {
                parse(sheet, &pointer, text, &DIALECT);
            } else {
                let pasted = paste(sheet, &pointer, text);
                parse(sheet, &pointer, &pasted, functions());
            }
        }
    }
}

/// A condition with a number in place of each path, which is sound within quotes and without, at the same offsets.
fn paste(sheet: &mut Sheet<'_>, pointer: &str, text: &str) -> String {
    let mut pasted = text.to_owned();
    for (place, path) in JsonPath::places(text) {
        if let Err(error) = path {
            let said = error.to_string();
            let problem = said.rsplit_once("\": ").map_or(said.as_str(), |(_, problem)| problem);
            let message = format!(
                "the path {} cannot be read: {problem}; nothing would stand for it",
                &text[place.clone()]
            );
            sheet.inside(SYNTAX, pointer, place.start, message);
        }
        pasted.replace_range(place.clone(), &format!("{:<1$}", 0, place.len()));
    }
    pasted
}

fn parse(sheet: &mut Sheet<'_>, pointer: &str, text: &str, functions: &Arc<Functions>) -> Option<Template> {
    if !text.contains("{{") {
        return None;
    }
    match Template::parse(TEMPLATE_NAME, text, functions) {
        Ok(template) => Some(template),
        Err(error) => {
            let (offset, problem) = locate(text, &error.to_string(), functions);
            sheet.inside(SYNTAX, pointer, offset, problem);
            None
        }
    }
}

/// The place a parser's message speaks of, and the message without it. Go names the line only; what it
/// quotes is looked for there.
fn locate(text: &str, said: &str, functions: &Functions) -> (usize, String) {
    let said = said.strip_prefix("template: ").unwrap_or(said);
    let said = said.strip_prefix(TEMPLATE_NAME).and_then(|s| s.strip_prefix(':')).unwrap_or(said);
    let (line, problem) = said.split_once(':').unwrap_or(("1", said));
    // Where an action is left open, the line that matters is the one it began in.
    let (problem, line) = match problem.split_once(" started at config:") {
        Some((problem, began)) => (problem, began),
        None => (problem, line),
    };
    let line: usize = line.trim().parse().unwrap_or(1);
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[before.min(text.len())..];
    let this_line = rest.split('\n').next().unwrap_or_default();
    let quoted = problem.split('"').nth(1).filter(|q| !q.is_empty());
    let at = quoted.and_then(|q| this_line.find(q)).or_else(|| this_line.find("{{")).unwrap_or(0);
    let mut problem = problem.trim().to_owned();
    if problem.contains("bad character U+002D") {
        problem.push_str("; a name with a dash is read with index: {{ index .Phases \"my-phase\" }}");
    }
    if let Some(name) = problem.strip_prefix("function \"").and_then(|p| p.split('"').next())
        && let Some(near) = nearest(name, functions.names().into_iter())
    {
        problem.push_str(&format!("; did you mean {near}?"));
    }
    (before + at, problem)
}

/// What a phase puts out, as far as its text tells.
struct Produced {
    /// Keys, with the place of the command that puts them out.
    keys: BTreeMap<String, Option<(String, usize)>>,
    /// There may be others: keys made by the shell, or printed by a program of the image.
    more: bool,
}

impl Produced {
    fn of(phase: &PhaseRef<'_>) -> Produced {
        let mut produced = Produced { keys: BTreeMap::new(), more: false };
        match catalog::function(phase.func).map(|function| function.outputs) {
            Some(Outputs::Named(keys)) => {
                produced.keys = keys.iter().map(|key| ((*key).to_owned(), None)).collect();
            }
            Some(Outputs::Printed) => {
                let mut said = false;
                for script in shell::scripts(phase) {
                    for output in shell::outputs(&script) {
                        said = true;
                        match output.key {
                            Some(key) => {
                                let place = Some((script.pointer.clone(), output.offset_bytes));
                                produced.keys.entry(key).or_insert(place);
                            }
                            None => produced.more = true,
                        }
                    }
                    produced.more |= shell::runs_a_script(&script);
                }
                produced.more |= !said;
                // A text without any command that could print is all there is to know.
                produced.more &= !(shell::scripts(phase).is_empty());
            }
            None => produced.more = true,
        }
        produced
    }
}

struct Reader<'r, 's, 't, 'b> {
    sheet: &'r mut Sheet<'s>,
    action: &'r Action<'b>,
    phases: &'r [PhaseRef<'b>],
    outputs: &'r [Produced],
    text: &'t Text<'b>,
    read: &'r mut BTreeSet<(String, String)>,
}

impl Reader<'_, '_, '_, '_> {
    fn complain(&mut self, rule: &'static super::Rule, offset: usize, message: String) {
        self.sheet.inside(rule, &self.text.pointer, offset, message);
    }

    fn check(&mut self, offset: usize, path: &[ReadStep]) {
        let root = match path.first() {
            Some(ReadStep::Field(root)) => root.as_str(),
            _ => return,
        };
        if let Some(instead) = old::root_name(root) {
            return self.complain(OLD_FORM, offset, instead.to_owned());
        }
        match walk_types(path) {
            Err(problem) => return self.complain(UNKNOWN_NAME, offset, problem),
            Ok(Some(ty)) if is_bytes(&ty) && is_printed_bare(self.text.text, offset) => {
                let message = format!(
                    "{} is bytes and prints as a list of numbers; write `| toString` behind it",
                    spelled(path)
                );
                self.complain(BYTES, offset, message);
            }
            Ok(_) => {}
        }
        let name = path.get(1).and_then(step_name);
        match (root, name) {
            ("Phases", Some(name)) => self.phase(offset, name, &path[2..]),
            ("Phases", None) if self.text.moment == Moment::Launch => {
                let message = "objects are looked up before any phase runs: .Phases is empty".to_owned();
                self.complain(PHASE_ORDER, offset, message);
            }
            ("ArtifactsIn", Some(name)) => {
                self.declared(offset, "inputArtifactNames", name);
                self.artifact_key(offset, name, &path[2..]);
            }
            ("Secrets", Some(name)) => self.declared(offset, "secretNames", name),
            ("ConfigMaps", Some(name)) => self.declared(offset, "configMapNames", name),
            _ => {}
        }
    }

    fn declared(&mut self, offset: usize, list: &str, name: &str) {
        let declared = self.action.declared(list);
        if declared.contains(&name) {
            return;
        }
        let there = if declared.is_empty() { "it is missing".to_owned() } else { declared.join(", ") };
        let message = format!("{name:?} is not in {list} of action {:?} ({there})", self.action.name);
        self.complain(UNDECLARED, offset, message);
    }

    /// A key of an artifact that some action of this blueprint writes, but not under this key.
    fn artifact_key(&mut self, offset: usize, artifact: &str, rest: &[ReadStep]) {
        let [kind, key, ..] = rest else { return };
        let (Some("KeyValue"), Some(key)) = (step_name(kind), step_name(key)) else { return };
        let written = self.action.all.values().map(|action| &action["outputArtifacts"][artifact]["keyValue"]);
        let keys: BTreeSet<&str> =
            written.filter_map(Json::as_object).flat_map(|map| map.keys()).map(String::as_str).collect();
        if keys.is_empty() || keys.contains(key) {
            return;
        }
        let there: Vec<&str> = keys.into_iter().collect();
        let message =
            format!("artifact {artifact:?} is written without a key {key:?}; it has {}", there.join(", "));
        self.complain(ARTIFACT_KEY, offset, message);
    }

    fn phase(&mut self, offset: usize, name: &str, rest: &[ReadStep]) {
        let part = rest.first().and_then(step_name);
        let Some(index) = self.phases.iter().position(|phase| phase.name == name && !phase.deferred) else {
            let message = self.no_phase(name);
            return self.complain(PHASE_ORDER, offset, message);
        };
        let own = self.text.moment == Moment::Phase(index);
        let seen = match self.text.moment {
            Moment::Launch => false,
            Moment::Phase(at) => index < at || (own && part != Some("Output")),
            Moment::End => true,
        };
        if !seen {
            let message = match self.text.moment {
                Moment::Launch => "objects are looked up before any phase runs: .Phases is empty".to_owned(),
                _ if own => format!("phase {name:?} reads its own output before it has run"),
                _ => format!("phase {name:?} has not run yet here; phases run in the order they are listed"),
            };
            return self.complain(PHASE_ORDER, offset, message);
        }
        let Some(key) = rest.get(1).and_then(step_name) else { return self.reads_all(name, part) };
        match part {
            Some("Output") => self.output(offset, index, key),
            Some("Secrets") => self.object(offset, index, key, "secret"),
            Some("ConfigMaps") => self.object(offset, index, key, "configmap"),
            _ => {}
        }
    }

    fn no_phase(&self, name: &str) -> String {
        if self.phases.iter().any(|phase| phase.name == name) {
            return format!("{name:?} is the deferPhase: its output is .DeferPhase.Output");
        }
        let names = || self.phases.iter().filter(|phase| !phase.deferred).map(|phase| phase.name);
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there is {}", names().collect::<Vec<_>>().join(", ")),
        };
        format!("action {:?} has no phase {name:?}; {hint}", self.action.name)
    }

    /// The output as a whole: every key of it counts as read.
    fn reads_all(&mut self, name: &str, part: Option<&str>) {
        if !matches!(part, None | Some("Output")) {
            return;
        }
        for (phase, produced) in self.phases.iter().zip(self.outputs).filter(|(phase, _)| phase.name == name)
        {
            self.read.extend(produced.keys.keys().map(|key| (phase.name.to_owned(), key.clone())));
        }
    }

    fn output(&mut self, offset: usize, index: usize, key: &str) {
        let (phase, produced) = (&self.phases[index], &self.outputs[index]);
        self.read.insert((phase.name.to_owned(), key.to_owned()));
        if produced.more || produced.keys.contains_key(key) {
            return;
        }
        let keys: Vec<&str> = produced.keys.keys().map(String::as_str).collect();
        let there =
            if keys.is_empty() { "it has none".to_owned() } else { format!("it has {}", keys.join(", ")) };
        let message = format!("phase {:?} ({}) puts out no {key:?}; {there}", phase.name, phase.func);
        self.complain(UNKNOWN_OUTPUT, offset, message);
    }

    fn object(&mut self, offset: usize, index: usize, key: &str, kind: &str) {
        let phase = &self.phases[index];
        let object = &phase.json["objects"][key];
        let found = object["kind"].as_str().is_some_and(|k| k.contains("{{") || k.eq_ignore_ascii_case(kind));
        if found {
            return;
        }
        let message = if object.is_object() {
            format!("object {key:?} of phase {:?} is no {kind}", phase.name)
        } else {
            format!("phase {:?} names no {kind} {key:?} in its objects", phase.name)
        };
        self.complain(UNKNOWN_NAME, offset, message);
    }
}

fn step_name(step: &ReadStep) -> Option<&str> {
    match step {
        ReadStep::Field(name) | ReadStep::Key(name) => Some(name),
        ReadStep::Element => None,
    }
}

/// Follows a way through Go's types, as far as they are known without rendering; `None` where they are not.
fn walk_types(path: &[ReadStep]) -> Result<Option<Type>, String> {
    let mut ty = types().root.clone();
    for (i, step) in path.iter().enumerate() {
        while ty.kind() == Kind::Pointer {
            let Some(elem) = ty.elem().cloned() else { return Ok(None) };
            ty = elem;
        }
        let next = match (ty.kind(), step) {
            (Kind::Struct, ReadStep::Field(name)) => field(&ty, name, &path[..i])?,
            (Kind::Map, ReadStep::Field(_) | ReadStep::Key(_) | ReadStep::Element)
            | (Kind::Slice | Kind::Array, ReadStep::Element) => ty.elem().cloned(),
            (Kind::Interface, _) => None,
            (Kind::String | Kind::Bool | Kind::Slice, ReadStep::Field(name)) => {
                return Err(format!("{} is {} and has no field {name:?}", spelled(&path[..i]), words(&ty)));
            }
            _ => None,
        };
        match next {
            Some(next) => ty = next,
            None => return Ok(None),
        }
    }
    Ok(Some(ty))
}

fn is_bytes(ty: &Type) -> bool {
    ty.kind() == Kind::Slice && ty.elem().is_some_and(|elem| elem.kind() == Kind::Uint8)
}

/// Whether the action around this place prints what is read there and does nothing else with it.
fn is_printed_bare(text: &str, offset_bytes: usize) -> bool {
    let Some(start) = text[..offset_bytes].rfind("{{") else { return false };
    let action = text[start + 2..].split("}}").next().unwrap_or_default();
    let action = action.trim_matches('-').trim();
    let alone = action.starts_with('.') || action.starts_with("index ") || action.starts_with("$.");
    alone && !action.contains(['|', '('])
}

fn field(ty: &Type, name: &str, before: &[ReadStep]) -> Result<Option<Type>, String> {
    if let Some(way) = ty.find_field(name) {
        let mut at = ty.clone();
        for i in way {
            at = at.fields()[i].ty.clone();
        }
        return Ok(Some(at));
    }
    // Kubernetes' own types have methods, such as GetName.
    if ty.name().starts_with("v1.") && (name.starts_with("Get") || name == "String") {
        return Ok(None);
    }
    let names = || ty.fields().iter().filter(|f| !f.embedded).map(|f| f.name.as_str());
    let place =
        if before.is_empty() { "templates see".to_owned() } else { format!("{} has", spelled(before)) };
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there is {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(format!("{place} no {name:?}; {hint}"))
}

fn words(ty: &Type) -> &'static str {
    match ty.kind() {
        Kind::String => "a string",
        Kind::Bool => "true or false",
        _ => "a list",
    }
}
