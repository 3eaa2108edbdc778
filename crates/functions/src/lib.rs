//! Kanister's functions: each from arguments to outputs, through the port [`ports::Cluster`].
//!
//! | functions | file |
//! |---|---|
//! | KubeTask, PrepareData, MultiContainerRun | `task.rs`, over `pod.rs` (manifests) and [`run`] (their life) |
//! | KubeExec, KubeExecAll | `exec.rs` |
//! | Wait, WaitV2 | `wait.rs` |
//! | ScaleWorkload | `scale.rs` |
//! | KubeOps | `kube_ops.rs` |
//!
//! A call can be made again after the one who made it has died ([`survives`]): it finds what was done by a
//! trace that follows from ActionSet, action and phase, and goes on from there.
//!
//! **What is absent on purpose:** a concrete client, the status of an ActionSet, the system's clock.

#![allow(
    clippy::disallowed_methods,
    reason = "json! unwraps what cannot fail; tests/tidy.rs holds this crate to the same words"
)]

mod exec;
mod kube_ops;
pub mod outputs;
pub mod patience;
pub mod pod;
pub mod ports;
pub mod reference;
pub mod run;
mod scale;
pub mod setting;
pub mod strategic;
mod task;
mod wait;

use cistern_action::catalog;
use cistern_action::machine::Call;
use cistern_api::Object;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use ports::Cluster;
use setting::Setting;

/// Functions that this crate carries out, and whether a call of them can be made again after the one who
/// made it has died.
const HERE: [(&str, bool); 9] = [
    ("KubeExec", false),
    ("KubeExecAll", false),
    ("KubeOps", true),
    ("KubeTask", true),
    ("MultiContainerRun", true),
    ("PrepareData", true),
    ("ScaleWorkload", true),
    ("Wait", true),
    ("WaitV2", true),
];

/// Carries out one call.
///
/// # Errors
/// A sentence that says what failed and why, with the last lines of what the command said.
pub async fn call(call: &Call, setting: &Setting, cluster: &dyn Cluster) -> Result<Object, String> {
    match tokio::time::timeout(setting.limits.call, dispatch(call, setting, cluster)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let hours = setting.limits.call.as_secs() / 3600;
            Err(format!("it took longer than {hours} hours, the longest a phase may take"))
        }
    }
}

fn dispatch<'c>(
    call: &'c Call,
    setting: &'c Setting,
    cluster: &'c dyn Cluster,
) -> BoxFuture<'c, Result<Object, String>> {
    match call.function.name {
        "KubeExec" => exec::kube_exec(call, setting, cluster).boxed(),
        "KubeExecAll" => exec::kube_exec_all(call, setting, cluster).boxed(),
        "KubeOps" => kube_ops::kube_ops(call, setting, cluster).boxed(),
        "KubeTask" => task::kube_task(call, setting, cluster).boxed(),
        "MultiContainerRun" => task::multi_container_run(call, setting, cluster).boxed(),
        "PrepareData" => task::prepare_data(call, setting, cluster).boxed(),
        "ScaleWorkload" => scale::scale_workload(call, setting, cluster).boxed(),
        "Wait" => wait::wait(call, setting, cluster).boxed(),
        "WaitV2" => wait::wait_v2(call, setting, cluster).boxed(),
        other => {
            let reason = lacking(other).unwrap_or_else(|| format!("there is no function {other}"));
            ready(Err(reason)).boxed()
        }
    }
}

/// Why a function of the catalog cannot be called, if it cannot.
pub fn lacking(name: &str) -> Option<String> {
    let lacks = catalog::function(name).is_some() && !HERE.iter().any(|(here, _)| *here == name);
    lacks.then(|| {
        let here: Vec<&str> = HERE.iter().map(|(name, _)| *name).collect();
        format!("this controller does not carry out the function {name}; it has {}", here.join(", "))
    })
}

/// Whether a call of the function can be made again after the one who made it has died.
pub fn survives(name: &str) -> bool {
    HERE.iter().any(|(here, survives)| *here == name && *survives)
}
