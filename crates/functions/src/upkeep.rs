//! Functions that look after what was stored: DeleteData, DeleteDataAll, BackupDataStats, CheckRepository,
//! LocationDelete. Each is a command of our mover in a pod of its own.

use crate::data::backup_info;
use crate::pod::Wish;
use crate::ports::Cluster;
use crate::profile;
use crate::setting::Setting;
use crate::volume::{command, either, in_pod, path, snapshot, versioned};
use cistern_action::machine::Call;
use cistern_api::{Object, args};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpkeepArgs {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    image: String,
    backup_artifact_prefix: String,
    #[serde(default, rename = "backupID")]
    backup_id: String,
    #[serde(default)]
    backup_tag: String,
    #[serde(default)]
    backup_info: String,
    #[serde(default)]
    stats_mode: String,
}

/// The image that is named, or else the program's own: nothing but the program is needed here.
fn image<'i>(named: &'i str, setting: &'i Setting) -> &'i str {
    let own = setting.mover_image.as_deref().unwrap_or_default();
    if named.is_empty() { own } else { named }
}

/// DeleteData: forgets snapshots. Several prefixes and ids may stand there, with spaces in between.
pub(crate) async fn delete_data(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: UpkeepArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let ids = either(("backupID", &args.backup_id), ("backupTag", &args.backup_tag))?;
    let ids: Vec<&str> = ids.split_whitespace().collect();
    let first = args.backup_artifact_prefix.split_whitespace().next().unwrap_or_default();
    delete(call, setting, cluster, &args, first, &ids, "delete-data-").await
}

/// DeleteDataAll: forgets the snapshots of a BackupDataAll.
pub(crate) async fn delete_data_all(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: UpkeepArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let info = backup_info(&args.backup_info)?;
    let ids: Vec<&str> = info.values().map(|pod| pod.backup_id.as_str()).collect();
    delete(call, setting, cluster, &args, &args.backup_artifact_prefix, &ids, "delete-data-all-").await
}

/// Snapshots are found by their ids alone. Space comes back with the repository's next prune, which waits out
/// a margin whoever asks; so `reclaimSpace` frees nothing at once, and nothing is what is put out.
async fn delete(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    args: &UpkeepArgs,
    prefix: &str,
    ids: &[&str],
    name: &'static str,
) -> Result<Object, String> {
    let mut more = Vec::new();
    for id in ids {
        more.extend(["--snapshot", snapshot(id)?]);
    }
    let words = command("delete", &path(call, prefix)?, &more);
    let wish = Wish { prefix: name, namespace: args.namespace.clone(), ..Wish::default() };
    in_pod(call, setting, cluster, image(&args.image, setting), &words, wish).await?;
    Ok(Object::from_iter([("spaceFreed".to_owned(), "0 B".into())]))
}

/// BackupDataStats: how large a snapshot is.
pub(crate) async fn backup_data_stats(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: UpkeepArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let mode = if args.stats_mode.is_empty() { "restore-size" } else { &args.stats_mode };
    let size = match mode {
        "restore-size" => "size",
        "raw-data" => "phySize",
        other => {
            return Err(format!("statsMode {other:?} is none of restore-size and raw-data"));
        }
    };
    let more = ["--snapshot", snapshot(&args.backup_id)?];
    let words = command("stats", &path(call, &args.backup_artifact_prefix)?, &more);
    let wish = Wish { prefix: "backup-data-stats-", namespace: args.namespace.clone(), ..Wish::default() };
    let said = in_pod(call, setting, cluster, image(&args.image, setting), &words, wish).await?;
    let said = |key: &str| said.get(key).cloned().unwrap_or_default();
    Ok(versioned(Object::from_iter([
        ("mode".to_owned(), mode.into()),
        ("fileCount".to_owned(), said("fileCount")),
        ("size".to_owned(), said(size)),
    ])))
}

/// CheckRepository: whether the repository is there and the passphrase opens it.
pub(crate) async fn check_repository(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: UpkeepArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let words = command("check", &path(call, &args.backup_artifact_prefix)?, &[]);
    let wish = Wish { prefix: "check-repository-", ..Wish::default() };
    in_pod(call, setting, cluster, image(&args.image, setting), &words, wish).await.map(versioned)
}

/// LocationDelete: removes what lies under a path of the location. In a pod: the controller itself opens no
/// location.
pub(crate) async fn location_delete(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let artifact: String =
        args::argument(&call.args, "artifact").map_err(|e| e.to_string())?.ok_or("it has no artifact")?;
    let path = path(call, &artifact)?;
    let reference = profile::reference();
    let words = ["kando", "location", "delete", "--profile", &reference, "--path", &path].map(str::to_owned);
    let wish = Wish { prefix: "location-delete-", ..Wish::default() };
    in_pod(call, setting, cluster, image("", setting), &words, wish).await?;
    Ok(Object::new())
}
