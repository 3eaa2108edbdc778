//! `kanctl list`: ActionSets in a table, or as JSON.

use super::cluster::{Session, refused, typed};
use crate::failure::Failure;
use crate::show;
use cistern_api::{ActionSet, State};
use cistern_functions::reference::of_kind;
use jiff::Timestamp;
use serde::Serialize;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Those of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Those with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// One JSON array, for programs
    #[arg(long)]
    json: bool,
}

/// An ActionSet as it is listed; the names of the fields in JSON are an interface.
#[derive(Debug, PartialEq, Serialize)]
struct Listed {
    namespace: String,
    name: String,
    actions: Vec<String>,
    blueprints: Vec<String>,
    objects: Vec<String>,
    /// Empty until a controller has taken it up.
    state: State,
    /// A whole number from 0 to 100, as text; empty until there is one.
    progress_percent: String,
    running_phase: String,
    /// RFC 3339.
    created: String,
    age_secs: i64,
    artifacts: Vec<String>,
    error: String,
}

/// Lists.
pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let namespace = if args.all_namespaces { "" } else { &session.namespace };
    let of = of_kind("actionset", namespace, "");
    let found = session.cluster.list(&of, &args.selector).await.map_err(|e| refused("list", &of, &e))?;
    let mut unreadable = 0;
    let mut listed = Vec::new();
    for raw in found {
        match typed::<ActionSet>(raw) {
            Ok(set) => listed.push(Listed::of(&set, Timestamp::now())),
            Err(_) => unreadable += 1,
        }
    }
    listed.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
    if unreadable > 0 {
        show::complain(&format!("{unreadable} ActionSets are left out: they cannot be read"));
    }
    if args.json {
        return show::json(&listed);
    }
    if listed.is_empty() {
        show::complain(&match namespace {
            "" => "there are no ActionSets".to_owned(),
            _ => format!("there are no ActionSets in the namespace {namespace}; -A lists those of all"),
        });
        return Ok(());
    }
    show::raw(table(&listed, args.all_namespaces).as_bytes())
}

impl Listed {
    fn of(set: &ActionSet, now: Timestamp) -> Listed {
        let ordered = || set.spec.iter().flat_map(|spec| &spec.actions);
        let status = set.status.clone().unwrap_or_default();
        let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        // Until it is complete they are templates.
        let artifacts = status.actions.iter().filter(|_| status.state == State::Complete);
        Listed {
            namespace: set.metadata.namespace.clone().unwrap_or_default(),
            name: set.metadata.name.clone().unwrap_or_default(),
            actions: each_once(ordered().map(|action| action.name.clone())),
            blueprints: each_once(ordered().map(|action| action.blueprint.clone())),
            objects: each_once(ordered().map(|action| {
                let at = &action.object;
                let what = if at.kind.is_empty() { &at.resource } else { &at.kind };
                format!("{what} {}/{}", at.namespace, at.name)
            })),
            state: status.state,
            progress_percent: status.progress.percent_completed,
            running_phase: status.progress.running_phase,
            created: created.map(|time| time.to_string()).unwrap_or_default(),
            age_secs: created.map_or(0, |time| now.duration_since(time).as_secs()),
            artifacts: each_once(artifacts.flat_map(|action| action.artifacts.keys().cloned())),
            error: status.error.message,
        }
    }
}

/// Each text once, in the order in which they come first.
fn each_once(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn table(listed: &[Listed], with_namespace: bool) -> String {
    let heads = ["NAMESPACE", "NAME", "ACTION", "BLUEPRINT", "STATE", ">PROGRESS", ">AGE", "ARTIFACTS"];
    let skip = usize::from(!with_namespace);
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|set| {
            let percent = match set.progress_percent.as_str() {
                "" => "-".to_owned(),
                percent => format!("{}%", show::harmless(percent)),
            };
            let state = if set.state == State::Unset { "-" } else { set.state.as_str() };
            let cells = [
                set.namespace.clone(),
                set.name.clone(),
                show::harmless(&set.actions.join(",")),
                show::harmless(&set.blueprints.join(",")),
                state.to_owned(),
                percent,
                age(set.age_secs),
                show::harmless(&set.artifacts.join(",")),
            ];
            cells.into_iter().skip(skip).collect()
        })
        .collect();
    show::table(&heads[skip..], &rows)
}

/// `45s`, `12m`, `5h`, `3d`, as `kubectl get` shows it.
pub fn age(secs: i64) -> String {
    match secs.max(0) {
        secs @ 0..120 => format!("{secs}s"),
        secs @ 120..7200 => format!("{}m", secs / 60),
        secs @ 7200..172_800 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use serde_json::json;

    fn set(state: &str) -> ActionSet {
        let action = json!({"name": "backup", "blueprint": "bp",
            "object": {"kind": "statefulset", "namespace": "app", "name": "db"}});
        serde_json::from_value(json!({
            "metadata": {"name": "b1", "namespace": "kanister", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"actions": [action, action]},
            "status": {"state": state, "progress": {"percentCompleted": "50", "runningPhase": "dump"},
                "actions": [{"artifacts": {"dump": {}}}, {"artifacts": {"dump": {}, "list": {}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_row_says_what_state_how_far_how_old_and_what_it_left() {
        let now: Timestamp = "2026-01-02T05:04:05Z".parse().unwrap();
        let complete = Listed::of(&set("complete"), now);
        assert_eq!(complete.artifacts, ["dump", "list"]);
        assert_eq!(
            (complete.actions.len(), complete.objects.as_slice()),
            (1, &["statefulset app/db".to_owned()][..])
        );
        let running = Listed::of(&set("running"), now);
        assert_eq!(running.artifacts, [""; 0], "templates are no artifacts");
        let shown = table(&[complete, running], false);
        let expected = "\
NAME  ACTION  BLUEPRINT  STATE     PROGRESS  AGE  ARTIFACTS
b1    backup  bp         complete       50%   2h  dump,list
b1    backup  bp         running        50%   2h
";
        assert_eq!(shown, expected);
        let bare = Listed::of(&ActionSet::default(), now);
        assert!(table(&[bare], true).starts_with("NAMESPACE  NAME"));
    }

    #[test]
    fn ages_are_short() {
        let shown: Vec<String> = [-5, 119, 120, 7199, 7200, 172_799, 172_800].into_iter().map(age).collect();
        assert_eq!(shown, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
