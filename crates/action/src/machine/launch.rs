//! Before the first phase: the first status, and all that keeps an ActionSet from starting, at once.

use std::collections::BTreeSet;

use cistern_api::{
    ActionSetSpec, ActionSetStatus, ActionSpec, ActionStatus, BlueprintAction, BlueprintPhase, Phase, State,
};

use super::{Act, Found, Need, PhaseId, Seen, Step, actions, blueprint, material, missing, phase, status};
use crate::catalog;
use crate::params::{PhaseViews, root};
use crate::render::Renderer;

/// Kinds that say by themselves where the object is found.
const KNOWN_KINDS: [&str; 6] =
    ["statefulset", "deployment", "pvc", "deploymentconfig", "namespace", "unstructured"];

/// An ActionSet nobody has taken up: fetch its blueprints, then record it as pending, or as failed.
pub(super) fn begin(seen: &Seen, spec: Option<&ActionSetSpec>) -> Step {
    let blueprints: BTreeSet<&str> = actions(spec).iter().map(|a| a.blueprint.as_str()).collect();
    let needs = blueprints.into_iter().filter(|name| !name.is_empty());
    let needs = missing(seen, needs.map(|name| Need::Blueprint(name.to_owned())).collect());
    if !needs.is_empty() {
        return Step::Fetch(needs);
    }
    let mut complaints: Vec<String> = Vec::new();
    if spec.is_none() {
        complaints.push("the ActionSet has no spec: nothing says what to do".to_owned());
    }
    let mut status = ActionSetStatus { state: State::Pending, ..ActionSetStatus::default() };
    for action in actions(spec) {
        complaints.extend(wrong_object(action));
        complaints.extend(wrong_version(action));
        let found = blueprint(seen, action).map_err(|reason| complaints.push(reason)).ok();
        status.actions.push(first_status(action, found));
    }
    status.progress.percent_completed = "0".to_owned();
    Step::Record(if complaints.is_empty() { status } else { refused(&status, &complaints) })
}

/// All phases pending; artifacts as the templates they are.
fn first_status(action: &ActionSpec, blueprint: Option<&BlueprintAction>) -> ActionStatus {
    let pending =
        |p: &BlueprintPhase| Phase { name: p.name.clone(), state: State::Pending, ..Phase::default() };
    ActionStatus {
        name: action.name.clone(),
        object: action.object.clone(),
        blueprint: action.blueprint.clone(),
        phases: blueprint.map(|b| b.phases.iter().map(pending).collect()).unwrap_or_default(),
        artifacts: blueprint.map(|b| b.output_artifacts.clone()).unwrap_or_default(),
        defer_phase: blueprint.and_then(|b| b.defer_phase.as_ref()).map(pending).unwrap_or_default(),
    }
}

fn wrong_object(action: &ActionSpec) -> Option<String> {
    let object = &action.object;
    let known = KNOWN_KINDS.contains(&object.kind.to_lowercase().as_str());
    if known || (!object.api_version.is_empty() && !object.resource.is_empty()) {
        return None;
    }
    let name = &action.name;
    Some(format!(
        "action {name:?}: object kind {:?} is none of StatefulSet, Deployment, DeploymentConfig, PVC, Namespace; \
         any other object needs apiVersion and resource",
        object.kind
    ))
}

/// There is one version of every function; what is asked for must at least be a version.
fn wrong_version(action: &ActionSpec) -> Option<String> {
    let version = action.preferred_version.as_str();
    let core = version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let number = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    if version.is_empty() || (parts.len() <= 3 && parts.iter().all(number)) {
        return None;
    }
    let name = &action.name;
    Some(format!("action {name:?}: preferredVersion {version:?} is no version such as v0.0.0"))
}

/// What every action needs.
pub(super) fn needs(spec: &ActionSetSpec) -> Vec<Need> {
    let blueprints: BTreeSet<&str> = spec.actions.iter().map(|a| a.blueprint.as_str()).collect();
    let blueprints = blueprints.into_iter().map(|name| Need::Blueprint(name.to_owned()));
    blueprints.chain((0..spec.actions.len()).map(Need::Material)).collect()
}

/// Every action with what was found for it, or everything that was not found.
pub(super) fn acts<'s>(seen: &'s Seen, spec: &'s ActionSetSpec) -> Result<Vec<Act<'s>>, Vec<String>> {
    let mut acts = Vec::new();
    let mut complaints = Vec::new();
    for (index, spec) in spec.actions.iter().enumerate() {
        match (blueprint(seen, spec), material(seen, index, spec)) {
            (Ok(blueprint), Ok(material)) => acts.push(Act { index, spec, blueprint, material }),
            (a, b) => complaints.extend([a.err(), b.err()].into_iter().flatten()),
        }
    }
    if complaints.is_empty() { Ok(acts) } else { Err(complaints) }
}

/// What would stop a phase later, found before the first one runs.
pub(super) fn complaints(seen: &Seen, acts: &[Act<'_>]) -> Vec<String> {
    let mut complaints = Vec::new();
    for act in acts {
        if act.blueprint.phases.is_empty() {
            complaints.push(format!("action {:?} has no phases: nothing would be done", act.spec.name));
        }
        let mut names = BTreeSet::new();
        for (id, phase) in phase::all(act.blueprint) {
            let title = phase::title(act, id, &phase.name);
            complaints.extend(wrong_call(phase).map(|reason| format!("{title}: {reason}")));
            let repeated = id != PhaseId::Deferred && !names.insert(phase.name.as_str());
            if repeated {
                complaints.push(format!("{title}: another phase of this action has the same name"));
            }
            // Before any phase ran: references cannot name outputs.
            let root = root(act.spec, act.material, &PhaseViews::default());
            let renderer = Renderer::new(&root, phase::template_time(seen));
            for (name, reference) in &phase.objects {
                if let Err(error) = renderer.reference(&format!("objects.{name}"), reference) {
                    complaints.push(format!("{title}: {error}"));
                }
            }
        }
    }
    complaints
}

/// A function that does not exist, arguments it does not take, arguments it lacks.
fn wrong_call(phase: &BlueprintPhase) -> Option<String> {
    let Some(function) = catalog::function(&phase.func) else {
        return Some(unknown_function(&phase.func));
    };
    phase::wrong_arguments(function, &phase.args)
}

/// A sentence about a function name that is in no catalog.
pub(crate) fn unknown_function(name: &str) -> String {
    if let Some(removed) = catalog::removed(name) {
        return format!("function {name:?} is no more: {}", removed.instead);
    }
    match catalog::nearest(name, catalog::FUNCTIONS.iter().map(|f| f.name)) {
        Some(near) => format!("there is no function {name:?}; did you mean {near}?"),
        None => format!("there is no function {name:?}"),
    }
}

/// Failed before anything ran; the first phase of each action shows it, as in Kanister.
pub(super) fn refused(status: &ActionSetStatus, complaints: &[String]) -> ActionSetStatus {
    let mut status = status::failed(status, &complaints.join("\n"));
    for action in &mut status.actions {
        if let Some(first) = action.phases.iter_mut().find(|p| p.state != State::Complete) {
            first.state = State::Failed;
        }
    }
    status
}

/// The objects a phase named, as far as they were found.
pub(super) fn objects<'s>(
    seen: &'s Seen,
    need: &Need,
) -> Option<Result<&'s std::collections::BTreeMap<String, serde_json::Value>, &'s str>> {
    match seen.found.get(need)? {
        Ok(Found::Objects(objects)) => Some(Ok(objects)),
        Ok(_) => Some(Err("something else was looked up")),
        Err(reason) => Some(Err(reason)),
    }
}
