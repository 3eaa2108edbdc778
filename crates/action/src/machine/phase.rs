//! One action on its way: what has ended, what comes next, and the call it becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cistern_api::{ActionSetStatus, BlueprintAction, BlueprintPhase, Object, ObjectReference, Phase, State};
use cistern_template::{Time, Value};

use super::{Act, Call, CallId, Need, PhaseId, Seen, Step, conduct, launch, status};
use crate::catalog::{self, Function};
use crate::params::{PhaseView, PhaseViews, root};
use crate::render::Renderer;

/// What an action does next.
pub(super) enum Next {
    Step(Step),
    /// Something must be looked up first.
    Need(Vec<Need>),
    /// A call is under way.
    Wait,
    /// Every phase has ended, or will never run.
    Done,
}

/// Phases in order, the deferred one last.
pub(super) fn all(action: &BlueprintAction) -> impl Iterator<Item = (PhaseId, &BlueprintPhase)> {
    let phases = action.phases.iter().enumerate().map(|(i, phase)| (PhaseId::Index(i), phase));
    phases.chain(action.defer_phase.as_ref().map(|phase| (PhaseId::Deferred, phase)))
}

/// A phase in words.
pub(super) fn title(act: &Act<'_>, id: PhaseId, name: &str) -> String {
    words(&act.spec.name, id, name)
}

fn words(action: &str, id: PhaseId, name: &str) -> String {
    match id {
        PhaseId::Index(_) => format!("action {action:?}, phase {name:?}"),
        PhaseId::Deferred if name.is_empty() => format!("action {action:?}, deferPhase"),
        PhaseId::Deferred => format!("action {action:?}, deferPhase {name:?}"),
    }
}

/// The present moment for templates.
pub(super) fn template_time(seen: &Seen) -> Time {
    let now = seen.now.0;
    Time::unix(now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap_or_default())
}

/// The status with every call settled that has ended or was lost; `None` when there is none.
pub(super) fn settle(seen: &Seen, status: &ActionSetStatus) -> Option<ActionSetStatus> {
    let mut settled = status.clone();
    let mut changed = false;
    for (action, entry) in status.actions.iter().enumerate() {
        for (id, phase) in status::phases(entry).filter(|(_, phase)| phase.state == State::Running) {
            let call = CallId { action, phase: id };
            let title = words(&entry.name, id, &phase.name);
            let lost = !seen.ended.contains_key(&call);
            let outcome = match seen.ended.get(&call) {
                Some(outcome) => outcome.as_ref().map_err(|reason| format!("{title} failed: {reason}")),
                None if seen.running.contains(&call) => continue,
                None => Err(format!(
                    "{title} was running when the one who ran it stopped; how it ended is not known. \
                     Look at what it did, then create the ActionSet again"
                )),
            };
            match (outcome, conduct::next_attempt(seen, call, phase, lost)) {
                (Err(reason), Some(time)) => status::retry(&mut settled, call, &reason, time, &seen.now),
                (outcome, _) => status::end(&mut settled, call, outcome, &seen.now),
            }
            changed = true;
        }
    }
    changed.then_some(settled)
}

/// What an action does next.
pub(super) fn next(seen: &Seen, act: &Act<'_>, status: &ActionSetStatus) -> Next {
    let Some(entry) = status.actions.get(act.index) else { return Next::Done };
    if status::phases(entry).any(|(_, phase)| phase.state == State::Running) {
        return Next::Wait;
    }
    let Some((id, phase)) = upcoming(act, &entry.phases, &entry.defer_phase) else { return Next::Done };
    if let Some(reason) = conduct::stopped(seen, id) {
        return Next::Step(fail(seen, act, id, phase, status, reason));
    }
    let waits = status::phases(entry).any(|(i, phase)| i == id && conduct::held_back(seen, id, phase));
    if waits { Next::Wait } else { start(seen, act, status) }
}

/// The next phase as a call, whatever holds it back or stops it.
pub(super) fn start(seen: &Seen, act: &Act<'_>, status: &ActionSetStatus) -> Next {
    let Some(entry) = status.actions.get(act.index) else { return Next::Done };
    let Some((id, phase)) = upcoming(act, &entry.phases, &entry.defer_phase) else { return Next::Done };
    let mut needs = Vec::new();
    for (earlier, phase) in all(act.blueprint) {
        if earlier <= id && (earlier == id || began(&entry.phases, earlier)) {
            match need(seen, act, earlier, phase) {
                Ok(Some(need)) if !seen.found.contains_key(&need) => needs.push(need),
                Ok(_) => {}
                Err(reason) if earlier == id => {
                    return Next::Step(fail(seen, act, id, phase, status, &reason));
                }
                Err(_) => {}
            }
        }
    }
    if !needs.is_empty() {
        return Next::Need(needs);
    }
    match call(seen, act, id, phase, status) {
        Ok(call) => {
            let claimed = status::begin(status, call.id, &seen.now);
            Next::Step(Step::Start(Box::new(call), claimed))
        }
        Err(reason) => Next::Step(fail(seen, act, id, phase, status, &reason)),
    }
}

/// The phase to run: the first pending one, or the deferred one when the others have come to an end.
fn upcoming<'s>(act: &Act<'s>, phases: &[Phase], deferred: &Phase) -> Option<(PhaseId, &'s BlueprintPhase)> {
    if phases.iter().all(|p| p.state != State::Failed)
        && let Some(i) = phases.iter().position(|p| p.state == State::Pending)
    {
        return act.blueprint.phases.get(i).map(|phase| (PhaseId::Index(i), phase));
    }
    let phase = act.blueprint.defer_phase.as_ref()?;
    (deferred.state == State::Pending).then_some((PhaseId::Deferred, phase))
}

fn began(phases: &[Phase], id: PhaseId) -> bool {
    match id {
        PhaseId::Index(i) => phases.get(i).is_some_and(|p| p.state != State::Pending),
        PhaseId::Deferred => false,
    }
}

fn fail(
    seen: &Seen,
    act: &Act<'_>,
    id: PhaseId,
    phase: &BlueprintPhase,
    status: &ActionSetStatus,
    reason: &str,
) -> Step {
    let mut failed = status.clone();
    failed.state = State::Running;
    let call = CallId { action: act.index, phase: id };
    status::end(&mut failed, call, Err(format!("{}: {reason}", title(act, id, &phase.name))), &seen.now);
    Step::Record(failed)
}

/// The Secrets and ConfigMaps a phase names; other kinds are passed over, as Kanister does.
fn need(seen: &Seen, act: &Act<'_>, id: PhaseId, phase: &BlueprintPhase) -> Result<Option<Need>, String> {
    let root = root(act.spec, act.material, &PhaseViews::default());
    let renderer = Renderer::new(&root, template_time(seen));
    let mut references = BTreeMap::new();
    for (name, reference) in &phase.objects {
        let rendered =
            renderer.reference(&format!("objects.{name}"), reference).map_err(|e| e.to_string())?;
        if object_kind(&rendered).is_some() {
            references.insert(name.clone(), rendered);
        }
    }
    let call = CallId { action: act.index, phase: id };
    Ok((!references.is_empty()).then_some(Need::Objects(call, references)))
}

/// The kinds of objects that phases can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectKind {
    Secret,
    ConfigMap,
}

fn object_kind(reference: &ObjectReference) -> Option<ObjectKind> {
    match reference.kind.to_lowercase().as_str() {
        "secret" => Some(ObjectKind::Secret),
        "configmap" => Some(ObjectKind::ConfigMap),
        _ => None,
    }
}

/// What templates of phase `upto` see of the phases that began before it, and of its own objects.
pub(super) fn views(
    seen: &Seen,
    act: &Act<'_>,
    status: &ActionSetStatus,
    upto: PhaseId,
) -> Result<PhaseViews, String> {
    let mut views = PhaseViews::default();
    let Some(entry) = status.actions.get(act.index) else { return Ok(views) };
    for (id, phase) in all(act.blueprint) {
        if id != upto && !status::phases(entry).any(|(i, p)| i == id && p.state != State::Pending) {
            continue;
        }
        let mut view = PhaseView::default();
        if let Some(need) = need(seen, act, id, phase)? {
            match launch::objects(seen, &need) {
                Some(Ok(objects)) => sort_objects(&need, objects, &mut view),
                Some(Err(reason)) if id == upto => return Err(reason.to_owned()),
                _ => {}
            }
        }
        let done = status::phases(entry).find(|(i, p)| *i == id && p.state == State::Complete);
        view.output = done.map(|(_, phase)| phase.output.clone());
        match id {
            PhaseId::Index(_) => {
                views.phases.insert(phase.name.clone(), view);
            }
            PhaseId::Deferred => views.deferred = view,
        }
    }
    Ok(views)
}

fn sort_objects(need: &Need, objects: &BTreeMap<String, serde_json::Value>, view: &mut PhaseView) {
    let Need::Objects(_, references) = need else { return };
    for (name, json) in objects {
        let place = match references.get(name).and_then(object_kind) {
            Some(ObjectKind::Secret) => &mut view.secrets,
            Some(ObjectKind::ConfigMap) => &mut view.config_maps,
            None => continue,
        };
        place.insert(name.clone(), json.clone());
    }
}

fn call(
    seen: &Seen,
    act: &Act<'_>,
    id: PhaseId,
    phase: &BlueprintPhase,
    status: &ActionSetStatus,
) -> Result<Call, String> {
    let function = catalog::function(&phase.func).ok_or_else(|| launch::unknown_function(&phase.func))?;
    let mut views = views(seen, act, status, id)?;
    let root = root(act.spec, act.material, &views);
    let own = match id {
        PhaseId::Index(_) => views.phases.remove(&phase.name),
        PhaseId::Deferred => Some(views.deferred),
    };
    let args = arguments(function, &phase.args, &root, seen).map_err(|e| e.to_string())?;
    if let Some(reason) = wrong_arguments(function, &args) {
        return Err(reason);
    }
    Ok(Call {
        id: CallId { action: act.index, phase: id },
        action: act.spec.name.clone(),
        phase: phase.name.clone(),
        function,
        args,
        root,
        secrets: own.unwrap_or_default().secrets,
        material: Arc::clone(act.material),
        spec: Arc::new(act.spec.clone()),
    })
}

/// Rendered, except for those two functions that render against live objects.
fn arguments(
    function: &Function,
    args: &Object,
    root: &Value,
    seen: &Seen,
) -> Result<Object, crate::render::RenderError> {
    let renderer = Renderer::new(root, template_time(seen));
    match function.name {
        "WaitV2" => Ok(args.clone()),
        "Wait" => {
            let mut args = args.clone();
            if let Some(serde_json::Value::String(timeout)) = args.get("timeout") {
                let timeout = renderer.text("args.timeout", timeout)?;
                args.insert("timeout".to_owned(), timeout.into());
            }
            Ok(args)
        }
        _ => renderer.args(args),
    }
}

/// Arguments the function does not take, or lacks. Keys that are templates are left to rendering.
pub(super) fn wrong_arguments(function: &Function, args: &Object) -> Option<String> {
    let mut wrong = Vec::new();
    let templated = args.keys().any(|key| key.contains("{{"));
    for key in args.keys().filter(|key| !key.contains("{{")) {
        if function.argument(key).is_none() {
            let near = catalog::nearest(key, function.argument_names());
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            wrong.push(format!("{} takes no argument {key:?}{hint}", function.name));
        }
    }
    for argument in function.arguments.iter().filter(|a| a.required && !templated) {
        if args.get(argument.name).is_none_or(serde_json::Value::is_null) {
            let shape = argument.shape.name();
            wrong.push(format!("{} needs the argument {:?}, {shape}", function.name, argument.name));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
