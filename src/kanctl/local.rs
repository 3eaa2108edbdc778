//! The functions that run commands, as processes of this machine; all others need a cluster.

use super::drive::Runner;
use super::process::{self, Surroundings};
use crate::failure::Failure;
use crate::show;
use cistern_action::catalog::{self, FUNCTIONS};
use cistern_action::machine::Call;
use cistern_api::args::argument;
use cistern_api::{ActionSetStatus, Blueprint, Object, State};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Mutex;

/// Directory that the containers of MultiContainerRun share, where a blueprint names none.
const SHARED_DIR: &str = "/tmp/";

/// Runs calls as processes and says on standard error how they go.
pub struct Local {
    around: Surroundings,
    said: Mutex<Vec<String>>,
}

/// Refuses an action that calls functions only a cluster can run, before anything is run.
///
/// # Errors
/// A sentence that names every such phase.
pub fn refuse_what_needs_a_cluster(blueprint: &Blueprint, action: &str) -> Result<(), Failure> {
    let Some(found) = blueprint.action(action) else { return Ok(()) };
    let phases = found.phases.iter().chain(&found.defer_phase);
    let refused: Vec<String> = phases
        .filter(|phase| catalog::function(&phase.func).is_some_and(|function| !function.runs_command))
        .map(|phase| format!("{} (phase {:?})", phase.func, phase.name))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let local: Vec<&str> = FUNCTIONS.iter().filter(|f| f.runs_command).map(|f| f.name).collect();
    Err(Failure::usage(format!("action {action:?} needs a cluster for {}", refused.join(", "))).hint(
        format!(
            "run --local runs commands only: {}; `kanctl render` shows what the others would be given",
            local.join(", ")
        ),
    ))
}

impl Local {
    /// A runner whose processes have these surroundings.
    pub fn new(around: Surroundings) -> Local {
        Local { around, said: Mutex::new(Vec::new()) }
    }

    async fn call(&self, call: Call) -> Result<Object, String> {
        let title = if call.phase.is_empty() { "deferPhase" } else { &call.phase };
        let command = |name: &str| required::<Vec<String>>(&call.args, name);
        match call.function.name {
            "KubeTask" | "KubeExec" => self.run(title, command("command")?).await,
            "KubeExecAll" => self.run_in_all(title, &call).await,
            "PrepareData" => {
                let outcome = self.run(title, command("command")?).await;
                match outcome {
                    Err(reason) if !optional::<bool>(&call.args, "failOnError")?.unwrap_or(false) => {
                        show::complain(&format!("{title}: {reason}; failOnError is not set, so it goes on"));
                        Ok(Object::new())
                    }
                    outcome => outcome,
                }
            }
            "MultiContainerRun" => self.containers(title, &call).await,
            other => Err(format!("{other} needs a cluster")),
        }
    }

    async fn run(&self, title: &str, command: Vec<String>) -> Result<Object, String> {
        process::run(title, &command, &self.around).await
    }

    /// Once per pod and container, side by side.
    async fn run_in_all(&self, title: &str, call: &Call) -> Result<Object, String> {
        let words = |name: &str| {
            required::<String>(&call.args, name)
                .map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let (pods, containers) = (words("pods")?, words("containers")?);
        let command: Vec<String> = required(&call.args, "command")?;
        let places = pods.iter().flat_map(|pod| containers.iter().map(move |c| format!("{title} {pod}/{c}")));
        let command = &command;
        let runs = places.map(|place| async move {
            let outcome = process::run(&place, command, &self.around).await;
            outcome.map_err(|reason| format!("{place}: {reason}"))
        });
        let mut outputs = Object::new();
        let mut reasons = Vec::new();
        for outcome in futures::future::join_all(runs).await {
            match outcome {
                Ok(output) => outputs.extend(output),
                Err(reason) => reasons.push(reason),
            }
        }
        if reasons.is_empty() { Ok(outputs) } else { Err(reasons.join("\n")) }
    }

    /// The init command first, then both others side by side; outputs are those of the output container.
    async fn containers(&self, title: &str, call: &Call) -> Result<Object, String> {
        let shared = optional::<String>(&call.args, "sharedVolumeDir")?;
        let shared = shared.unwrap_or_else(|| SHARED_DIR.to_owned());
        if !Path::new(&shared).is_dir() {
            return Err(format!(
                "its containers share {shared}, which is no directory here; create it first"
            ));
        }
        if optional::<String>(&call.args, "initImage")?.is_some_and(|image| !image.is_empty()) {
            let init = required(&call.args, "initCommand")?;
            self.run(&format!("{title} init"), init).await?;
        }
        let background = required(&call.args, "backgroundCommand")?;
        let (background_title, output_title) = (format!("{title} background"), format!("{title} output"));
        let (_, output) = futures::future::try_join(
            self.run(&background_title, background),
            self.run(&output_title, required(&call.args, "outputCommand")?),
        )
        .await?;
        Ok(output)
    }
}

fn required<T: DeserializeOwned>(args: &Object, name: &str) -> Result<T, String> {
    optional(args, name)?.ok_or_else(|| format!("the argument {name:?} is missing"))
}

fn optional<T: DeserializeOwned>(args: &Object, name: &str) -> Result<Option<T>, String> {
    argument(args, name).map_err(|e| e.to_string())
}

impl Runner for Local {
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Object, String>> {
        Box::pin(self.call(call))
    }

    /// One line per phase that changed.
    fn recorded(&self, status: &ActionSetStatus) {
        let mut lines = Vec::new();
        for action in &status.actions {
            let deferred = Some(&action.defer_phase).filter(|phase| phase.state != State::Unset);
            for phase in action.phases.iter().chain(deferred).filter(|phase| phase.state != State::Pending) {
                let name = if phase.name.is_empty() { "deferPhase" } else { &phase.name };
                lines.push(format!("{}: phase {name}: {}", action.name, phase.state));
            }
        }
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for line in lines.iter().filter(|line| !said.contains(line)) {
            show::complain(line);
        }
        *said = lines;
    }
}
