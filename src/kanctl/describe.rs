//! `kanctl describe`: all there is to know of one ActionSet, for people.

use super::cluster::{Session, refused};
use super::list::age;
use super::wait::{far, harmless_lines};
use crate::failure::Failure;
use crate::show;
use cistern_api::{ActionSet, ActionSpec, ActionStatus, ObjectReference, Phase, State, Time};
use cistern_functions::ports::Why;
use jiff::Timestamp;
use serde_json::Value as Json;
use std::fmt::Write as _;

/// Longest value of an output or artifact that is shown whole, in letters.
const VALUE_LETTERS_MAX: usize = 200;
/// So many outputs, artifacts or options of one thing are shown.
const VALUES_MAX: usize = 50;
/// So many events are shown, the last ones.
const EVENTS_MAX: usize = 30;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// The ActionSet
    name: String,
}

/// Describes.
pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let set = session.action_set(&args.name).await?;
    let events = match events(session, &set).await {
        Ok(events) => events,
        Err(failure) => {
            show::complain(&failure.to_string());
            Vec::new()
        }
    };
    show::raw(text(&set, &events, Timestamp::now()).as_bytes())
}

/// Events about the ActionSet, the oldest first.
async fn events(session: &Session, set: &ActionSet) -> Result<Vec<Json>, Failure> {
    let of = ObjectReference {
        api_version: "v1".to_owned(),
        resource: "events".to_owned(),
        ..ObjectReference::named(&session.namespace, "")
    };
    let found = match session.cluster.list(&of, "").await {
        Ok(found) => found,
        Err(refusal) if refusal.why == Why::Absent => Vec::new(),
        Err(refusal) => return Err(refused("list", &of, &refusal)),
    };
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut about: Vec<Json> = found.into_iter().filter(|e| e["involvedObject"]["uid"] == uid).collect();
    about.sort_by_key(last_seen);
    Ok(about)
}

/// When an event was seen last. The time zone is always UTC: texts can be compared.
fn last_seen(event: &Json) -> String {
    let fields = ["lastTimestamp", "eventTime", "firstTimestamp"];
    let times = fields.iter().find_map(|field| event[field].as_str());
    times.or(event["metadata"]["creationTimestamp"].as_str()).unwrap_or_default().to_owned()
}

fn text(set: &ActionSet, events: &[Json], now: Timestamp) -> String {
    let mut out = String::new();
    head(&mut out, set, now);
    let done = set.status.iter().flat_map(|status| &status.actions).map(Some).chain(std::iter::repeat(None));
    let ordered = set.spec.iter().flat_map(|spec| &spec.actions);
    let complete = set.status.as_ref().is_some_and(|status| status.state == State::Complete);
    for (ordered, done) in ordered.zip(done) {
        action(&mut out, ordered, done, complete);
    }
    if let Some(status) = set.status.as_ref().filter(|status| !status.error.message.is_empty()) {
        line(&mut out, 0, "Error", "");
        for text in harmless_lines(&status.error.message).lines() {
            put(&mut out, &format!("  {text}"));
        }
    }
    if !events.is_empty() {
        line(&mut out, 0, "Events", "");
        for event in &events[events.len().saturating_sub(EVENTS_MAX)..] {
            put(&mut out, &format!("  {}", event_line(event, now)));
        }
    }
    out
}

fn head(out: &mut String, set: &ActionSet, now: Timestamp) {
    let meta = &set.metadata;
    line(out, 0, "Name", meta.name.as_deref().unwrap_or_default());
    line(out, 0, "Namespace", meta.namespace.as_deref().unwrap_or_default());
    if let Some(labels) = meta.labels.as_ref().filter(|labels| !labels.is_empty()) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        line(out, 0, "Labels", &labels.join(", "));
    }
    if let Some(Time(created)) = &meta.creation_timestamp {
        line(out, 0, "Created", &ago(*created, now));
    }
    if meta.deletion_timestamp.is_some() {
        line(out, 0, "Deletion", "asked for; it goes when its deferred phases have run");
    }
    line(out, 0, "State", &far(&set.status.clone().unwrap_or_default()));
    let changed = set.status.as_ref().and_then(|status| status.progress.last_transition_time.as_ref());
    if let Some(Time(changed)) = changed {
        line(out, 0, "Last progress", &ago(*changed, now));
    }
}

fn action(out: &mut String, ordered: &ActionSpec, done: Option<&ActionStatus>, complete: bool) {
    line(out, 0, "Action", &ordered.name);
    line(out, 1, "Blueprint", &ordered.blueprint);
    line(out, 1, "Object", &reference(&ordered.object));
    if let Some(profile) = &ordered.profile {
        line(out, 1, "Profile", &format!("{}/{}", profile.namespace, profile.name));
    }
    pairs(out, 1, "Options", ordered.options.iter().map(|(key, value)| (key, value.clone())));
    let Some(done) = done else { return };
    for phase in &done.phases {
        self::phase(out, "Phase", phase);
    }
    if !done.defer_phase.name.is_empty() {
        phase(out, "Deferred phase", &done.defer_phase);
    }
    // Until it is complete they are templates.
    for (name, artifact) in done.artifacts.iter().filter(|_| complete) {
        line(out, 1, "Artifact", name);
        let snapshot = Some(&artifact.kopia_snapshot).filter(|text| !text.is_empty());
        let snapshot = snapshot.map(|text| ("snapshot".to_owned(), text.clone()));
        let pairs = artifact.key_value.clone().into_iter().chain(snapshot);
        self::values(out, 2, pairs);
    }
}

fn phase(out: &mut String, what: &str, phase: &Phase) {
    let mut state = phase.state.to_string();
    let progress = &phase.progress;
    if !progress.progress_percent.is_empty() && phase.state == State::Running {
        let _ = write!(state, "  {}%", progress.progress_percent);
    }
    for (bytes, way) in [(progress.uploaded_bytes, "up"), (progress.downloaded_bytes, "down")] {
        if let Some(bytes) = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0) {
            let _ = write!(state, "  {} {way}", show::size(bytes));
        }
    }
    if let Some(secs) =
        Some(progress.estimated_secs).filter(|secs| *secs > 0 && phase.state == State::Running)
    {
        let _ = write!(state, "  about {} left", show::duration(secs as f64));
    }
    if let Some(Time(when)) = &progress.last_transition_time {
        let _ = write!(state, "  since {when}");
    }
    line(out, 1, what, &format!("{}  {state}", phase.name));
    values(out, 2, phase.output.iter().map(|(key, value)| (key.clone(), plain(value))));
}

/// Named pairs one step further in; nothing where there are none.
fn pairs<'k>(out: &mut String, depth: usize, name: &str, pairs: impl Iterator<Item = (&'k String, String)>) {
    let mut pairs = pairs.map(|(key, value)| (key.clone(), value)).peekable();
    if pairs.peek().is_some() {
        line(out, depth, name, "");
        values(out, depth + 1, pairs);
    }
}

fn values(out: &mut String, depth: usize, pairs: impl Iterator<Item = (String, String)>) {
    let mut left = 0;
    for (number, (key, value)) in pairs.enumerate() {
        if number < VALUES_MAX {
            line(out, depth, &key, &short(&value));
        } else {
            left += 1;
        }
    }
    if left > 0 {
        put(out, &format!("{}… and {left} more", "  ".repeat(depth)));
    }
}

/// A value as it is, or its beginning and how long it is.
fn short(value: &str) -> String {
    let letters = value.chars().count();
    if letters <= VALUE_LETTERS_MAX {
        return value.to_owned();
    }
    let beginning: String = value.chars().take(VALUE_LETTERS_MAX).collect();
    format!("{beginning}… ({letters} letters)")
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn reference(object: &ObjectReference) -> String {
    let what = match object.kind.as_str() {
        "" => format!("{}/{}/{}", object.group_name(), object.api_version, object.resource),
        kind => kind.to_owned(),
    };
    format!("{} {}/{}", what.trim_start_matches('/'), object.namespace, object.name)
}

fn event_line(event: &Json, now: Timestamp) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let when = last_seen(event).parse::<Timestamp>();
    let when = when.map_or_else(|_| "-".to_owned(), |when| age(now.duration_since(when).as_secs()));
    let count = event["count"].as_u64().filter(|count| *count > 1);
    let count = count.map(|count| format!(" ({count} times)")).unwrap_or_default();
    let said =
        format!("{when:>5}  {:<7}  {}: {}{count}", text("type"), text("reason"), short(text("message")));
    show::harmless(&said)
}

fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{time}  ({} ago)", age(now.duration_since(time).as_secs()))
}

/// `  Name: value`, with what somebody else chose made harmless.
fn line(out: &mut String, depth: usize, name: &str, value: &str) {
    let indent = "  ".repeat(depth);
    let (name, value) = (show::harmless(name), show::harmless(value));
    put(out, format!("{indent}{name}: {value}").trim_end());
}

fn put(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use crate::kanctl::cluster::tests::paper;
    use serde_json::json;

    fn set() -> ActionSet {
        serde_json::from_value(json!({
            "metadata": {"name": "b1", "namespace": "kanister", "uid": "u1", "labels": {"team": "a"},
                "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"actions": [{"name": "backup", "blueprint": "bp", "options": {"k": "v"},
                "profile": {"namespace": "kanister", "name": "p"},
                "object": {"kind": "statefulset", "namespace": "app", "name": "db"}}]},
            "status": {"state": "failed", "error": {"message": "first\n\u{1b}[31mlast line"},
                "progress": {"percentCompleted": "50", "lastTransitionTime": "2026-01-02T03:05:05Z"},
                "actions": [{"name": "backup", "artifacts": {"dump": {"keyValue": {"p": "{{ .Phases.x }}"}}},
                    "phases": [
                        {"name": "dump", "state": "complete", "output": {"size": "12", "long": "x".repeat(500)},
                            "progress": {"sizeUploadedB": 2048, "lastTransitionTime": "2026-01-02T03:04:30Z"}},
                        {"name": "check", "state": "failed"}],
                    "deferPhase": {"name": "clean", "state": "complete"}}]},
        }))
        .unwrap()
    }

    fn event(uid: &str, reason: &str, last: &str, count: u64) -> Json {
        json!({"apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": reason, "count": count,
            "message": format!("about {reason}"), "lastTimestamp": last, "involvedObject": {"uid": uid}})
    }

    #[test]
    fn all_there_is_to_know_is_told() {
        let events = [event("u1", "Started", "2026-01-02T03:04:05Z", 3)];
        let now = "2026-01-02T05:04:05Z".parse().unwrap();
        let told = text(&set(), &events, now);
        let expected = format!(
            "\
Name: b1
Namespace: kanister
Labels: team=a
Created: 2026-01-02T03:04:05Z  (2h ago)
State: failed  50%
Last progress: 2026-01-02T03:05:05Z  (119m ago)
Action: backup
  Blueprint: bp
  Object: statefulset app/db
  Profile: kanister/p
  Options:
    k: v
  Phase: dump  complete  2.00 KiB up  since 2026-01-02T03:04:30Z
    long: {}… (500 letters)
    size: 12
  Phase: check  failed
  Deferred phase: clean  complete
Error:
  first
  \\u{{1b}}[31mlast line
Events:
     2h  Normal   Started: about Started (3 times)
",
            "x".repeat(200)
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn artifacts_are_told_when_they_are_no_templates_any_more() {
        let mut set = set();
        let status = set.status.as_mut().unwrap();
        status.state = State::Complete;
        status.actions[0].artifacts.get_mut("dump").unwrap().key_value["p"].clone_into(&mut String::new());
        let told = text(&set, &[], Timestamp::UNIX_EPOCH);
        assert!(told.contains("  Artifact: dump\n    p: {{ .Phases.x }}\n"), "{told}");
    }

    #[tokio::test]
    async fn events_of_others_are_left_out_and_the_oldest_comes_first() {
        let (cluster, session) = paper();
        for (name, event) in [
            ("e1", event("u1", "Late", "2026-01-02T03:09:05Z", 1)),
            ("e2", event("u2", "Other", "2026-01-02T03:05:05Z", 1)),
            ("e3", event("u1", "Early", "2026-01-02T03:04:05Z", 1)),
        ] {
            let at = ObjectReference {
                api_version: "v1".to_owned(),
                resource: "events".to_owned(),
                ..ObjectReference::named("kanister", name)
            };
            session.cluster.create(&at, &event).await.unwrap();
        }
        assert_eq!(cluster.writes(), 3);
        let told = events(&session, &set()).await.unwrap();
        let reasons: Vec<&str> = told.iter().map(|e| e["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["Early", "Late"]);
    }
}
