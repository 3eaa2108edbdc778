//! An ActionSet that follows a finished one: what that ordered, with what it left.

use cistern_api::{ActionSet, ActionSpec, State};
use std::collections::BTreeMap;

/// Whether an ActionSet left something that another one can use.
///
/// # Errors
/// A reason: it is not complete, or its status does not belong to its spec.
pub fn usable(parent: &ActionSet) -> Result<(), String> {
    let state = parent.status.as_ref().map(|status| status.state).unwrap_or_default();
    if state != State::Complete {
        let word = if state == State::Unset { "without a status" } else { state.as_str() };
        return Err(format!("it is {word}, and only what a complete one left can be used"));
    }
    let done = parent.status.as_ref().map_or(0, |status| status.actions.len());
    let ordered = parent.spec.as_ref().map_or(0, |spec| spec.actions.len());
    if done != ordered {
        return Err(format!("its spec holds {ordered} actions, its status {done}"));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_api::{ActionSetSpec, ActionSetStatus, ActionStatus, Artifact};

    fn parent(state: State, done: usize) -> ActionSet {
        let ordered = ActionSpec {
            name: "backup".to_owned(),
            preferred_version: "v0.0.0".to_owned(),
            pod_labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..ActionSpec::default()
        };
        let artifacts = BTreeMap::from([("dump".to_owned(), Artifact::default())]);
        let status = ActionStatus { blueprint: "bp".to_owned(), artifacts, ..ActionStatus::default() };
        ActionSet {
            spec: Some(ActionSetSpec { actions: vec![ordered] }),
            status: Some(ActionSetStatus {
                state,
                actions: vec![status; done],
                ..ActionSetStatus::default()
            }),
            ..ActionSet::default()
        }
    }

    #[test]
    fn only_a_complete_one_is_followed() {
        assert_eq!(usable(&parent(State::Complete, 1)), Ok(()));
        for (set, word) in [
            (parent(State::Failed, 1), "failed"),
            (parent(State::Running, 1), "running"),
            (ActionSet::default(), "without a status"),
            (parent(State::Complete, 2), "its spec holds 1 actions, its status 2"),
        ] {
            assert!(usable(&set).unwrap_err().contains(word), "{word}");
        }
    }

    #[test]
    fn what_it_left_is_handed_on_and_its_pods_are_not() {
        let again: Vec<ActionSpec> = actions(&parent(State::Complete, 1)).collect();
        let [action] = again.as_slice() else { panic!("one action") };
        assert_eq!((action.name.as_str(), action.blueprint.as_str()), ("backup", "bp"));
        assert!(action.artifacts.contains_key("dump"));
        assert!(action.pod_labels.is_empty() && action.preferred_version.is_empty());
    }
}
