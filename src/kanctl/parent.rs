//! The finished ActionSet a new one follows: what it ordered, with what it left.

use super::input::Input;
use crate::failure::Failure;
use cistern_api::{ActionSet, ActionSpec, State};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads it.
///
/// # Errors
/// One that is not complete left nothing that can be used.
pub fn read(path: &Path) -> Result<ActionSet, Failure> {
    let parent: ActionSet = Input::read(path)?.decode()?;
    let name = parent.metadata.name.clone().unwrap_or_default();
    let cannot = |why: String| Failure::usage(format!("cannot follow the ActionSet `{name}`: {why}"));
    let state = parent.status.as_ref().map(|status| status.state).unwrap_or_default();
    if state != State::Complete {
        let word = if state == State::Unset { "without a status" } else { state.as_str() };
        return Err(cannot(format!("it is {word}, and only what a complete one left can be used")));
    }
    let done = parent.status.as_ref().map_or(0, |status| status.actions.len());
    let ordered = parent.spec.as_ref().map_or(0, |spec| spec.actions.len());
    if done != ordered {
        return Err(cannot(format!("its spec holds {ordered} actions, its status {done}")));
    }
    Ok(parent)
}

/// Its actions as they would be ordered again, with the artifacts they left.
///
/// As upstream: the child's pods, their labels and overrides, are its own affair.
pub fn actions(parent: &ActionSet) -> impl Iterator<Item = ActionSpec> {
    let ordered = parent.spec.iter().flat_map(|spec| &spec.actions);
    let done = parent.status.iter().flat_map(|status| &status.actions);
    ordered.zip(done).map(|(ordered, done)| ActionSpec {
        object: done.object.clone(),
        blueprint: done.blueprint.clone(),
        artifacts: done.artifacts.clone(),
        pod_override: None,
        preferred_version: String::new(),
        pod_labels: BTreeMap::new(),
        pod_annotations: BTreeMap::new(),
        ..ordered.clone()
    })
}
