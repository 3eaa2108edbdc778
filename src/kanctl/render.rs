//! `kanctl render`: what each phase of an action would run, without running it.

use super::drive::{Runner, drive};
use super::order::{Order, OrderArgs};
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_action::catalog::Outputs;
use cistern_action::machine::{Call, PhaseId};
use cistern_action::outputs::{OutputsRead, outputs_read};
use cistern_api::{ActionSet, ActionSetStatus, Object, State, yaml};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Show what each phase of an action would run
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    order: OrderArgs,
    /// What a phase is taken to have put out
    #[arg(long, value_name = "PHASE.KEY=VALUE")]
    output: Vec<String>,
    /// Show secrets instead of [secret NAME.KEY]
    #[arg(long)]
    show_secrets: bool,
}

const AFTER_HELP: &str = "\
What a phase will put out is not known before it runs: it is shown as [output PHASE.KEY], or as --output says.
Each phase is a YAML document of its function's arguments; the artifacts come last.";

/// Runs the command.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut order = Order::read(&args.order)?;
    if !args.show_secrets {
        order.shelf = std::mem::take(&mut order.shelf).masked();
    }
    let paper = Paper { given: given(&args.output)?, read: reads(&order), written: Mutex::default() };
    let ended = drive(&order, &paper).await;
    let mut text = paper.written.into_inner().unwrap_or_else(PoisonError::into_inner);
    text.push_str(&artifacts(&ended)?);
    show::raw(text.as_bytes())?;
    match ended.status {
        Some(status) if status.state == State::Complete => Ok(()),
        Some(status) => Err(Failure::new(Exit::Other, status.error.message)),
        None => Err(Failure::other("the ActionSet was not begun")),
    }
}

/// Writes calls down instead of running them.
struct Paper {
    /// Outputs that were given, by phase.
    given: BTreeMap<String, Object>,
    /// Outputs that templates read, by action.
    read: Vec<OutputsRead>,
    written: Mutex<String>,
}

impl Paper {
    fn write(&self, call: &Call) -> Result<Object, String> {
        let phase = match call.id.phase {
            PhaseId::Deferred if call.phase.is_empty() => "deferPhase".to_owned(),
            PhaseId::Deferred => format!("deferPhase {}", call.phase),
            PhaseId::Index(_) => format!("phase {}", call.phase),
        };
        let args = yaml::print(&call.args)?;
        let document = format!("---\n# action {}, {phase}: {}\n{args}", call.action, call.function.name);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push_str(&document);
        Ok(self.outputs(call))
    }

    /// Every output that is read of the phase, and those its function always has.
    fn outputs(&self, call: &Call) -> Object {
        let key = (call.id.phase != PhaseId::Deferred).then(|| call.phase.clone());
        let read = self.read.get(call.id.action).and_then(|read| read.get(&key));
        let named = match call.function.outputs {
            Outputs::Named(keys) => keys,
            Outputs::Printed => &[],
        };
        let keys = read.into_iter().flatten().map(String::as_str).chain(named.iter().copied());
        let mut outputs: Object =
            keys.map(|key| (key.to_owned(), format!("[output {}.{key}]", call.phase).into())).collect();
        outputs.extend(self.given.get(&call.phase).cloned().unwrap_or_default());
        outputs
    }
}

impl Runner for Paper {
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Object, String>> {
        Box::pin(std::future::ready(self.write(&call)))
    }

    fn recorded(&self, _: &ActionSetStatus) {}
}

fn given(texts: &[String]) -> Result<BTreeMap<String, Object>, Failure> {
    let mut given: BTreeMap<String, Object> = BTreeMap::new();
    for text in texts {
        let parts = text.split_once('=').and_then(|(place, value)| Some((place.rsplit_once('.')?, value)));
        let ((phase, key), value) =
            parts.ok_or_else(|| Failure::usage(format!("--output {text}: expected PHASE.KEY=VALUE")))?;
        given.entry(phase.to_owned()).or_default().insert(key.to_owned(), value.into());
    }
    Ok(given)
}

fn reads(order: &Order) -> Vec<OutputsRead> {
    let actions = order.action_set.spec.iter().flat_map(|spec| &spec.actions);
    let of = |action: &cistern_api::ActionSpec| {
        let blueprint = order.blueprint(&action.blueprint)?;
        blueprint.action(&action.name).map(outputs_read)
    };
    actions.map(|action| of(action).unwrap_or_default()).collect()
}

fn artifacts(action_set: &ActionSet) -> Result<String, Failure> {
    let Some(status) = action_set.status.as_ref().filter(|status| status.state == State::Complete) else {
        return Ok(String::new());
    };
    let mut text = String::new();
    for action in status.actions.iter().filter(|action| !action.artifacts.is_empty()) {
        let printed = yaml::print(&action.artifacts)
            .map_err(|e| Failure::other(format!("cannot print the artifacts: {e}")))?;
        text.push_str(&format!("---\n# action {}, artifacts\n{printed}", action.name));
    }
    Ok(text)
}
