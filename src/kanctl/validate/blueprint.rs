//! `kanctl validate blueprint`: functions and arguments of every phase. `kanctl lint` sees a lot more.

use super::{Args, failed, passed};
use crate::failure::Failure;
use crate::kanctl::Globals;
use crate::kanctl::cluster::Session;
use crate::kanctl::input::Input;
use cistern_action::catalog;
use cistern_api::{Blueprint, BlueprintAction, BlueprintPhase};
use cistern_functions::reference::of_kind;
use std::collections::BTreeSet;

/// The one version functions have.
const FUNCTION_VERSION: &str = "v0.0.0";

/// Runs all checks and fails if one has.
pub async fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if args.function_version != FUNCTION_VERSION {
        let version = &args.function_version;
        return Err(Failure::usage(format!(
            "cannot take --functionVersion {version}: there is {FUNCTION_VERSION} alone"
        )));
    }
    let blueprint: Blueprint = match (&args.name, &args.filename) {
        (Some(name), _) => {
            let session = Session::open(globals).await?;
            session.read(&of_kind("blueprint", &args.resource_namespace, name)).await?
        }
        (None, Some(path)) => Input::read(path)?.decode()?,
        (None, None) => {
            return Err(Failure::usage("cannot check a Blueprint without --name or --filename"));
        }
    };
    let mut complaints = Vec::new();
    for (name, action) in &blueprint.actions {
        if let Some(action) = action {
            check_action(name, action, &mut complaints)?;
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(Failure::other(complaints.join("\n"))) }
}

fn check_action(name: &str, action: &BlueprintAction, complaints: &mut Vec<String>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for phase in action.phases.iter().chain(&action.defer_phase) {
        let stage = format!("validation of phase {} in action {name}", phase.name);
        let mut problems = check_phase(phase);
        // Kanister wants names to differ across the whole blueprint, and refuses blueprints that run well.
        if !seen.insert(&phase.name) {
            problems.push("the action has another phase of this name".to_owned());
        }
        if problems.is_empty() {
            passed(&stage)?;
        } else {
            let text = format!("action {name}, phase {}: {}", phase.name, problems.join("; "));
            complaints.push(failed(&stage, Failure::other(text)).message);
        }
    }
    Ok(())
}

fn check_phase(phase: &BlueprintPhase) -> Vec<String> {
    let Some(function) = catalog::function(&phase.func) else {
        let near = catalog::nearest(&phase.func, catalog::FUNCTIONS.iter().map(|f| f.name));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return vec![format!("there is no function `{}`{near}", phase.func)];
    };
    let mut problems = Vec::new();
    for name in phase.args.keys().filter(|name| function.argument(name).is_none()) {
        let near = catalog::nearest(name, function.argument_names());
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        problems.push(format!("argument {name} is not supported by {}{near}", function.name));
    }
    for argument in function
        .arguments
        .iter()
        .filter(|argument| argument.required && !phase.args.contains_key(argument.name))
    {
        problems.push(format!("Required arg missing: {}", argument.name));
    }
    problems
}
