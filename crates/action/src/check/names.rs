//! Names of phases: each its own within an action, and never a template.

use std::collections::BTreeSet;

use super::{Action, DUPLICATE_NAME, EMPTY, Sheet};

/// Every phase has a name that no other phase of the action has; the deferred one may go without.
pub(super) fn unique(sheet: &mut Sheet<'_>, action: &Action<'_>) {
    let mut names = BTreeSet::new();
    for phase in action.phases() {
        let pointer = format!("{}/name", phase.pointer);
        if phase.name.is_empty() {
            if !phase.deferred {
                sheet.value(EMPTY, &phase.pointer, "the phase has no name; templates refer to it by name");
            }
        } else if phase.name.contains("{{") {
            sheet.value(DUPLICATE_NAME, &pointer, "the name of a phase is not rendered: write it out");
        } else if !names.insert(phase.name) {
            let message = format!(
                "action {:?} has another phase named {:?}; both would run with the arguments of the last",
                action.name, phase.name
            );
            sheet.value(DUPLICATE_NAME, &pointer, message);
        }
    }
}
