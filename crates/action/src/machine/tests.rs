//! Stories: a blueprint and what happens to its phases in, what was asked for and how it ended out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cistern_api::{ActionSet, Object, State, Time};
use serde_json::{Value as Json, json};

use super::*;
use crate::params::{ResolvedProfile, Workload, WorkloadKind};

/// How a call ends: its outputs, or why it failed.
type End<'s> = (&'s str, Result<Json, &'s str>);

/// A blueprint, an order, and a world that answers from a list.
struct Story {
    seen: Seen,
    blueprints: BTreeMap<String, Json>,
    ends: BTreeMap<String, Result<Object, String>>,
    objects: Json,
    asked: Vec<String>,
    statuses: Vec<String>,
}

fn story(actions: Json, blueprint: Json, ends: &[End<'_>]) -> Story {
    let action_set: ActionSet = serde_json::from_value(json!({ "spec": { "actions": actions } })).unwrap();
    let end = |outcome: &Result<Json, &str>| match outcome {
        Ok(output) => Ok(output.as_object().unwrap().clone()),
        Err(reason) => Err((*reason).to_owned()),
    };
    let now = Time("2026-01-02T03:04:05Z".parse().unwrap());
    let mut story = Story {
        seen: Seen::new(action_set, now),
        blueprints: BTreeMap::from([("bp".to_owned(), json!({ "actions": blueprint }))]),
        ends: ends.iter().map(|(phase, outcome)| ((*phase).to_owned(), end(outcome))).collect(),
        objects: json!({ "db": { "data": { "pw": "aHVudGVyMg==" } } }),
        asked: Vec::new(),
        statuses: Vec::new(),
    };
    story.run();
    story
}

impl Story {
    /// One call at a time, the oldest first, until nothing is left to do.
    fn run(&mut self) {
        let mut calls: VecDeque<Call> = VecDeque::new();
        for _ in 0..200 {
            match decide(&self.seen) {
                Some(Step::Fetch(needs)) => needs.into_iter().for_each(|need| self.fetch(need)),
                Some(Step::Record(status)) => self.store(status),
                Some(Step::Start(call, claimed)) => {
                    self.store(claimed);
                    let command = call.args.get("command").cloned().unwrap_or_default();
                    self.asked.push(format!("{} {} {command}", call.phase, call.function.name));
                    self.seen.running.insert(call.id);
                    calls.push_back(*call);
                }
                None => {
                    let Some(call) = calls.pop_front() else { return };
                    let end = self.ends.get(&call.phase).cloned().unwrap_or_else(|| Ok(Object::new()));
                    self.seen.running.remove(&call.id);
                    self.seen.ended.insert(call.id, end);
                }
            }
        }
        panic!("the story does not end: {:?}", self.statuses);
    }

    fn fetch(&mut self, need: Need) {
        let found = match &need {
            Need::Blueprint(name) => match self.blueprints.get(name) {
                Some(json) => Ok(Found::Blueprint(Arc::new(serde_json::from_value(json.clone()).unwrap()))),
                None => Err(format!("there is no blueprint {name:?}")),
            },
            Need::Material(i) => self.material(*i),
            Need::Objects(_, references) => {
                self.asked.push(format!("objects {:?}", references.keys().collect::<Vec<_>>()));
                let one = |(name, r): (&String, &ObjectReference)| {
                    let json = self.objects.get(&r.name).cloned();
                    json.map(|j| (name.clone(), j)).ok_or(format!("there is no secret {:?}", r.name))
                };
                references.iter().map(one).collect::<Result<_, _>>().map(Found::Objects)
            }
        };
        self.seen.found.insert(need, found);
    }

    fn material(&self, i: usize) -> Result<Found, String> {
        let object = &self.seen.action_set.spec.as_ref().unwrap().actions[i].object;
        if object.name == "gone" {
            return Err("there is no StatefulSet \"gone\" in namespace \"app\"".to_owned());
        }
        Ok(Found::Material(Arc::new(Material {
            object: json!({ "metadata": { "name": object.name } }),
            workload: Some(Workload {
                kind: WorkloadKind::StatefulSet,
                name: object.name.clone(),
                namespace: object.namespace.clone(),
                pods: vec![format!("{}-0", object.name)],
                ..Workload::default()
            }),
            profile: Some(ResolvedProfile {
                json: json!({ "Location": { "bucket": "b" }, "Credential": { "KeyPair": { "Secret": "s3cr3t" } } }),
                file: Some("/run/profile.json".to_owned()),
                repository: None,
            }),
            time: "2026-01-02T03:04:05.12Z".to_owned(),
            ..Material::default()
        })))
    }

    fn store(&mut self, status: ActionSetStatus) {
        let phase = |p: &cistern_api::Phase| format!("{}={}", p.name, p.state);
        let phases = status.actions.iter().flat_map(|a| {
            let deferred = Some(&a.defer_phase).filter(|p| p.state != State::Unset);
            a.phases.iter().chain(deferred).map(phase).collect::<Vec<_>>()
        });
        let phases: Vec<String> = phases.collect();
        let progress = &status.progress;
        self.statuses.push(format!(
            "{} {}% [{}] {}",
            status.state,
            progress.percent_completed,
            progress.running_phase,
            phases.join(" ")
        ));
        self.seen.action_set.status = Some(status);
    }

    fn end(&self) -> &str {
        self.statuses.last().unwrap()
    }

    fn error(&self) -> &str {
        &self.seen.action_set.status.as_ref().unwrap().error.message
    }

    fn artifacts(&self, action: usize) -> Json {
        serde_json::to_value(&self.seen.action_set.status.as_ref().unwrap().actions[action].artifacts)
            .unwrap()
    }
}

fn on(action: &str, name: &str) -> Json {
    let object = json!({ "kind": "StatefulSet", "name": name, "namespace": "app" });
    json!({ "name": action, "blueprint": "bp", "object": object })
}

fn task(name: &str, command: &str) -> Json {
    json!({ "func": "KubeTask", "name": name, "args": { "image": "i", "command": [command] } })
}

/// Two phases; the second and the artifact name what the first put out.
fn backup() -> Json {
    json!({ "backup": {
        "phases": [
            task("dump", "dump {{ .StatefulSet.Name }} {{ .Time }}"),
            task("check", "check {{ .Phases.dump.Output.id }} {{ toJson .Profile }}"),
        ],
        "outputArtifacts": { "copy": { "keyValue": { "id": "{{ .Phases.dump.Output.id }}" } } },
    } })
}

#[test]
fn phases_run_in_order_and_pass_on_what_they_put_out() {
    let story = story(json!([on("backup", "db")]), backup(), &[("dump", Ok(json!({ "id": "7" })))]);
    assert_eq!(
        story.asked,
        [
            "dump KubeTask [\"dump db 2026-01-02T03:04:05.12Z\"]",
            "check KubeTask [\"check 7 {\\\"cistern.dev/profile-file\\\":\\\"/run/profile.json\\\"}\"]",
        ]
    );
    assert_eq!(
        story.statuses,
        [
            "pending 0% [] dump=pending check=pending",
            "running 0% [dump] dump=running check=pending",
            "running 50% [] dump=complete check=pending",
            "running 50% [check] dump=complete check=running",
            "running 100% [] dump=complete check=complete",
            "complete 100% [] dump=complete check=complete",
        ]
    );
    assert_eq!(story.artifacts(0), json!({ "copy": { "keyValue": { "id": "7" } } }));
}

#[test]
fn a_failed_phase_keeps_the_later_ones_from_running() {
    let story = story(json!([on("backup", "db")]), backup(), &[("dump", Err("exit code 1"))]);
    assert_eq!(story.end(), "failed 0% [] dump=failed check=pending");
    assert_eq!(story.error(), "action \"backup\", phase \"dump\" failed: exit code 1");
    // The templates stay as they are: whoever reads artifacts looks at the state first.
    assert_eq!(
        story.artifacts(0),
        json!({ "copy": { "keyValue": { "id": "{{ .Phases.dump.Output.id }}" } } })
    );
}

#[test]
fn a_missing_output_names_the_key_and_what_there_is() {
    let ends = [("dump", Ok(json!({ "ident": "7", "size": "1" })))];
    let story = story(json!([on("backup", "db")]), backup(), &ends);
    assert_eq!(story.end(), "failed 50% [] dump=complete check=failed");
    let want = "action \"backup\", phase \"check\": args.command[0]: \"id\" not found in .Phases.dump.Output; \
                there is ident, size";
    assert_eq!(story.error(), want);
}

#[test]
fn the_deferred_phase_runs_whatever_happened() {
    let mut blueprint = backup();
    blueprint["backup"]["deferPhase"] = task("unlock", "unlock");
    let ok = [("dump", Ok(json!({ "id": "7" })))];
    let told = story(json!([on("backup", "db")]), blueprint.clone(), &ok);
    assert_eq!(told.end(), "complete 100% [] dump=complete check=complete unlock=complete");
    let failed = [("dump", Err("no disk"))];
    let told = story(json!([on("backup", "db")]), blueprint.clone(), &failed);
    assert_eq!(told.asked.last().unwrap(), "unlock KubeTask [\"unlock\"]");
    assert_eq!(told.end(), "failed 0% [] dump=failed check=pending unlock=complete");
    // Until the deferred phase has ended, so has nothing.
    assert!(told.statuses[..told.statuses.len() - 1].iter().all(|s| !s.starts_with("failed")));
    let both = [("dump", Err("no disk")), ("unlock", Err("still locked"))];
    let told = story(json!([on("backup", "db")]), blueprint, &both);
    assert_eq!(told.end(), "failed 0% [] dump=failed check=pending unlock=failed");
    assert_eq!(
        told.error(),
        "action \"backup\", phase \"dump\" failed: no disk\n\
         action \"backup\", deferPhase \"unlock\" failed: still locked"
    );
}

#[test]
fn a_failed_deferred_phase_fails_the_action() {
    let mut blueprint = backup();
    blueprint["backup"]["deferPhase"] = task("", "unlock");
    let ends = [("dump", Ok(json!({ "id": "7" }))), ("", Err("still locked"))];
    let told = story(json!([on("backup", "db")]), blueprint, &ends);
    assert_eq!(told.end(), "failed 100% [] dump=complete check=complete =failed");
    assert_eq!(told.error(), "action \"backup\", deferPhase failed: still locked");
}

#[test]
fn actions_run_side_by_side_and_one_failure_stops_no_other() {
    let blueprint = json!({
        "good": { "phases": [task("g1", "a"), task("g2", "b")],
                  "outputArtifacts": { "x": { "keyValue": { "k": "{{ .StatefulSet.Name }}" } } } },
        "bad": { "phases": [task("b1", "a"), task("b2", "b")] },
    });
    let told = story(json!([on("good", "one"), on("bad", "two")]), blueprint, &[("b1", Err("boom"))]);
    assert_eq!(told.statuses[2], "running 0% [g1, b1] g1=running g2=pending b1=running b2=pending");
    assert_eq!(told.end(), "failed 50% [] g1=complete g2=complete b1=failed b2=pending");
    assert_eq!(told.artifacts(0), json!({ "x": { "keyValue": { "k": "one" } } }));
}

#[test]
fn nothing_starts_unless_everything_can() {
    let good = json!({ "a": { "phases": [task("p", "x")] } });
    for (actions, blueprint, want) in [
        (json!([on("a", "db"), on("a", "gone")]), good.clone(), "there is no StatefulSet \"gone\""),
        (json!([on("b", "db")]), good.clone(), "blueprint \"bp\" has no action \"b\"; it has a"),
        (
            json!([{ "name": "a", "blueprint": "other", "object": { "kind": "PVC" } }]),
            good.clone(),
            "there is no blueprint \"other\"",
        ),
        (json!([{ "name": "a", "blueprint": "bp", "object": {} }]), good, "needs apiVersion and resource"),
        (json!([on("a", "db")]), json!({ "a": { "phases": [] } }), "has no phases"),
        (
            json!([on("a", "db")]),
            json!({ "a": { "phases": [task("p", "x"), { "func": "KubeTsk", "name": "q" }] } }),
            "did you mean KubeTask?",
        ),
        (
            json!([on("a", "db")]),
            json!({ "a": { "phases": [{ "func": "KubeTask", "name": "p", "args": { "img": "i" } }] } }),
            "KubeTask needs the argument \"image\"",
        ),
        (json!([on("a", "db")]), json!({ "a": { "phases": [task("p", "x"), task("p", "y")] } }), "same name"),
    ] {
        let told = story(actions, blueprint, &[]);
        assert!(told.asked.is_empty(), "{want}: {:?}", told.asked);
        assert!(told.end().starts_with("failed"), "{want}: {}", told.end());
        assert!(told.error().contains(want), "{want}: {}", told.error());
    }
}

#[test]
fn objects_of_a_phase_are_fetched_when_it_starts() {
    let secret = json!({ "kind": "Secret", "name": "db", "namespace": "{{ .StatefulSet.Namespace }}" });
    let mut second = task("use", "{{ index .Phases.use.Secrets.pw.Data \"pw\" | toString }}");
    second["objects"] = json!({ "pw": secret, "other": { "kind": "Pod", "name": "x" } });
    let blueprint = json!({ "a": { "phases": [task("first", "x"), second] } });
    let told = story(json!([on("a", "db")]), blueprint.clone(), &[]);
    assert_eq!(told.asked, ["first KubeTask [\"x\"]", "objects [\"pw\"]", "use KubeTask [\"hunter2\"]"]);
    let mut missing = blueprint;
    missing["a"]["phases"][1]["objects"]["pw"]["name"] = json!("nope");
    let told = story(json!([on("a", "db")]), missing, &[]);
    assert_eq!(told.end(), "failed 50% [] first=complete use=failed");
    assert_eq!(told.error(), "action \"a\", phase \"use\": there is no secret \"nope\"");
}

#[test]
fn a_phase_that_nobody_runs_is_lost_and_the_deferred_one_still_runs() {
    let mut blueprint = backup();
    blueprint["backup"]["deferPhase"] = task("unlock", "unlock");
    let mut told = story(json!([on("backup", "db")]), blueprint, &[]);
    let status = told.seen.action_set.status.as_mut().unwrap();
    status.state = State::Running;
    status.error.message.clear();
    for (phase, state) in status.actions[0].phases.iter_mut().zip([State::Running, State::Pending]) {
        *phase = cistern_api::Phase { name: phase.name.clone(), state, ..Default::default() };
    }
    status.actions[0].defer_phase.state = State::Pending;
    told.seen.ended.clear();
    told.seen.running.clear();
    told.asked.clear();
    told.run();
    assert_eq!(told.asked, ["unlock KubeTask [\"unlock\"]"]);
    assert_eq!(told.end(), "failed 0% [] dump=failed check=pending unlock=complete");
    assert!(told.error().contains("how it ended is not known"), "{}", told.error());
}

#[test]
fn a_lost_call_is_made_again_as_it_was() {
    let mut told = story(json!([on("backup", "db")]), backup(), &[("dump", Ok(json!({ "id": "7" })))]);
    let check = CallId { action: 0, phase: PhaseId::Index(1) };
    let status = told.seen.action_set.status.as_mut().unwrap();
    status.state = State::Running;
    status.actions[0].phases[1].state = State::Running;
    let mut seen = Seen::new(told.seen.action_set.clone(), told.seen.now.clone());
    assert_eq!(orphans(&seen), [check]);
    let mut fetched = 0;
    let call = loop {
        match again(&seen, check) {
            Again::Fetch(needs) => {
                fetched += needs.len();
                needs.into_iter().for_each(|need| told.fetch(need));
                seen.found = told.seen.found.clone();
            }
            Again::Call(call) => break call,
            Again::Refused(reason) => panic!("{reason}"),
        }
    };
    assert_eq!(fetched, 2, "the blueprint and the material");
    assert!(call.args["command"][0].as_str().unwrap().starts_with("check 7 "), "{:?}", call.args);
    // Known to be under way, or to have ended, it is nobody's orphan.
    seen.running.insert(check);
    assert_eq!(orphans(&seen), []);
    seen.running.clear();
    seen.ended.insert(check, Err("x".to_owned()));
    assert_eq!(orphans(&seen), []);
    // What its arguments name must still be there.
    seen.action_set.status.as_mut().unwrap().actions[0].phases[0].output.clear();
    assert!(matches!(again(&seen, check), Again::Refused(reason) if reason.contains("not found")));
}

#[test]
fn artifacts_that_do_not_render_fail_the_action_after_its_phases() {
    let blueprint = json!({ "a": {
        "phases": [task("p", "x")],
        "outputArtifacts": { "c": { "keyValue": { "k": "{{ .Phases.p.Output.id }}" } } },
    } });
    let told = story(json!([on("a", "db")]), blueprint, &[]);
    assert_eq!(told.end(), "failed 100% [] p=complete");
    assert!(told.error().contains("outputArtifacts.c.keyValue.k: \"id\" not found"), "{}", told.error());
}

#[test]
fn an_action_set_without_actions_is_complete_at_once() {
    assert_eq!(story(json!([]), json!({}), &[]).end(), "complete 100% [] ");
}

#[test]
fn an_action_set_without_spec_says_so() {
    let mut told = story(json!([]), json!({}), &[]);
    told.seen.action_set = ActionSet::default();
    told.run();
    assert!(told.error().contains("no spec"));
}
