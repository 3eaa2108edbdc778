//! Kanister's functions: each from arguments to outputs, through the port [`ports::Cluster`].
//!
//! | functions | file |
//! |---|---|
//! | KubeTask, PrepareData, MultiContainerRun | `task.rs`, over `pod.rs` (manifests) and [`run`] (their life) |
//! | KubeExec, KubeExecAll | `exec.rs` |
//! | Wait, WaitV2 | `wait.rs` |
//! | ScaleWorkload | `scale.rs` |
//! | KubeOps | `kube_ops.rs` |
//! | BackupData, BackupDataAll, CopyVolumeData, RestoreData, RestoreDataAll | `data.rs`, over `volume.rs` |
//! | DeleteData, DeleteDataAll, BackupDataStats, CheckRepository, LocationDelete | `upkeep.rs` |
//! | the five of CSI snapshots | `csi.rs`, over `own.rs` |
//! | the four of RDS | `rds.rs`, over the port [`databases`] |
//!
//! A call can be made again after the one who made it has died ([`survives`]): it finds what was done by a
//! trace that follows from ActionSet, action and phase, and goes on from there.
//!
//! **What is absent on purpose:** a concrete client, the status of an ActionSet, the system's clock.

#![allow(
    clippy::disallowed_methods,
    reason = "json! unwraps what cannot fail; tests/tidy.rs holds this crate to the same words"
)]

mod csi;
mod data;
pub mod databases;
mod exec;
mod kube_ops;
pub mod mover;
pub mod outputs;
mod own;
pub mod patience;
pub mod pod;
pub mod ports;
pub mod profile;
mod rds;
pub mod reference;
pub mod run;
mod scale;
pub mod setting;
pub mod strategic;
mod task;
mod upkeep;
mod volume;
mod wait;

use cistern_action::machine::Call;
use cistern_api::Object;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use ports::Cluster;
use setting::Setting;

/// Functions that this crate carries out, and whether a call of them can be made again after the one who
/// made it has died.
const HERE: [(&str, bool); 28] = [
    ("BackupData", false),
    ("BackupDataAll", false),
    ("BackupDataStats", true),
    ("CheckRepository", true),
    ("CopyVolumeData", true),
    ("CreateCSISnapshot", true),
    ("CreateCSISnapshotStatic", true),
    ("CreateRDSSnapshot", true),
    ("DeleteCSISnapshot", true),
    ("DeleteCSISnapshotContent", true),
    ("DeleteData", true),
    ("DeleteDataAll", true),
    ("DeleteRDSSnapshot", true),
    ("ExportRDSSnapshotToLocation", true),
    ("KubeExec", false),
    ("KubeExecAll", false),
    ("KubeOps", true),
    ("KubeTask", true),
    ("LocationDelete", true),
    ("MultiContainerRun", true),
    ("PrepareData", true),
    ("RestoreCSISnapshot", true),
    ("RestoreData", true),
    ("RestoreDataAll", true),
    ("RestoreRDSSnapshot", true),
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
            let late = format!("it took longer than {hours} hours, the longest a phase may take");
            Err(ended_by_force(call, setting, late).await)
        }
    }
}

/// Whether a call of the function that is ended by force leaves something behind besides pods. Who ends it then waits
/// for [`ended_by_force`].
pub fn leaves(name: &str) -> bool {
    name == "ExportRDSSnapshotToLocation"
}

/// Takes away what a call that was ended by force has left behind besides pods. Can be repeated. The reason for
/// which the call was ended, and what could not be taken away.
pub async fn ended_by_force(call: &Call, setting: &Setting, reason: String) -> String {
    if !leaves(call.function.name) {
        return reason;
    }
    let left = match tokio::time::timeout(setting.limits.undo, rds::undo_export(call, setting)).await {
        Ok(Ok(())) => return reason,
        Ok(Err(left)) => left,
        Err(_) => "what it made could not be taken away in time".to_owned(),
    };
    format!("{reason}; and {left}")
}

fn dispatch<'c>(
    call: &'c Call,
    setting: &'c Setting,
    cluster: &'c dyn Cluster,
) -> BoxFuture<'c, Result<Object, String>> {
    match call.function.name {
        "BackupData" => data::backup_data(call, setting, cluster).boxed(),
        "BackupDataAll" => data::backup_data_all(call, setting, cluster).boxed(),
        "BackupDataStats" => upkeep::backup_data_stats(call, setting, cluster).boxed(),
        "CheckRepository" => upkeep::check_repository(call, setting, cluster).boxed(),
        "CopyVolumeData" => data::copy_volume_data(call, setting, cluster).boxed(),
        "CreateCSISnapshot" => csi::create_csi_snapshot(call, setting, cluster).boxed(),
        "CreateCSISnapshotStatic" => csi::create_csi_snapshot_static(call, setting, cluster).boxed(),
        "CreateRDSSnapshot" => rds::create_rds_snapshot(call, setting).boxed(),
        "DeleteCSISnapshot" => csi::delete_csi_snapshot(call, setting, cluster).boxed(),
        "DeleteCSISnapshotContent" => csi::delete_csi_snapshot_content(call, cluster).boxed(),
        "DeleteData" => upkeep::delete_data(call, setting, cluster).boxed(),
        "DeleteDataAll" => upkeep::delete_data_all(call, setting, cluster).boxed(),
        "DeleteRDSSnapshot" => rds::delete_rds_snapshot(call, setting).boxed(),
        "ExportRDSSnapshotToLocation" => rds::export_rds_snapshot(call, setting, cluster).boxed(),
        "KubeExec" => exec::kube_exec(call, setting, cluster).boxed(),
        "KubeExecAll" => exec::kube_exec_all(call, setting, cluster).boxed(),
        "KubeOps" => kube_ops::kube_ops(call, setting, cluster).boxed(),
        "KubeTask" => task::kube_task(call, setting, cluster).boxed(),
        "LocationDelete" => upkeep::location_delete(call, setting, cluster).boxed(),
        "MultiContainerRun" => task::multi_container_run(call, setting, cluster).boxed(),
        "PrepareData" => task::prepare_data(call, setting, cluster).boxed(),
        "RestoreCSISnapshot" => csi::restore_csi_snapshot(call, setting, cluster).boxed(),
        "RestoreData" => data::restore_data(call, setting, cluster).boxed(),
        "RestoreDataAll" => data::restore_data_all(call, setting, cluster).boxed(),
        "RestoreRDSSnapshot" => rds::restore_rds_snapshot(call, setting, cluster).boxed(),
        "ScaleWorkload" => scale::scale_workload(call, setting, cluster).boxed(),
        "Wait" => wait::wait(call, setting, cluster).boxed(),
        "WaitV2" => wait::wait_v2(call, setting, cluster).boxed(),
        other => ready(Err(format!("there is no function {other}"))).boxed(),
    }
}

/// Whether a call of the function can be made again after the one who made it has died.
pub fn survives(name: &str) -> bool {
    HERE.iter().any(|(here, survives)| *here == name && *survives)
}
