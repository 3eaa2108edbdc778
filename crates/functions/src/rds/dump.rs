//! Dumps of managed PostgreSQL: ExportRDSSnapshotToLocation, and RestoreRDSSnapshot from what it has stored.
//!
//! An export restores the snapshot into a database for this purpose, dumps that from a pod, and deletes it whatever
//! happened; `undo_export` does so after an export that was ended by force. The login of the database reaches the
//! pod as files, as the profile does.
//!
//! # If it crashes here
//! The pod is there until its outcome is recorded. Where there is one, it is listened to, and nothing is restored
//! for it again.

use super::Steps;
use super::{AURORA, access, mark, remove, restored, seen, texts, there, usable, words, yaml_text};
use crate::databases::{Account, Database, Endpoint, Form, Restored};
use crate::patience::ask;
use crate::pod::{self, CONTAINER, Wish};
use crate::ports::{Cluster, Why};
use crate::reference::of_kind;
use crate::run::run;
use crate::setting::Setting;
use crate::{own, profile};
use cistern_action::machine::Call;
use cistern_api::{Object, args};
use serde::Deserialize;
use serde_json::json;

/// The only engine whose dumps are known.
const POSTGRESQL: &str = "PostgreSQL";
/// Longest identifier of an instance.
const ID_CHARS_MAX: usize = 63;
/// Where a pod has room for dumps.
const ROOM: &str = "/backup";

/// What the pod of an export runs: `bash -c SCRIPT NAME PROFILE PATH [DATABASE]...`
const EXPORT: &str = include_str!("export.sh");
/// What the pod of a restore runs: `bash -c SCRIPT NAME PROFILE PATH`
const RESTORE: &str = include_str!("restore.sh");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DumpArgs {
    #[serde(default)]
    namespace: String,
    #[serde(rename = "instanceID")]
    instance: String,
    #[serde(default, rename = "snapshotID")]
    snapshot: String,
    #[serde(default)]
    db_engine: String,
    #[serde(default)]
    backup_artifact_prefix: String,
    #[serde(default, rename = "backupID")]
    backup: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    db_subnet_group: String,
}

impl DumpArgs {
    fn of(call: &Call) -> Result<DumpArgs, String> {
        let args: DumpArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
        match args.db_engine.as_str() {
            _ if args.instance.is_empty() => Err("it has no instanceID".to_owned()),
            POSTGRESQL => Ok(args),
            "" => Err(format!("it needs dbEngine, which can only be {POSTGRESQL}")),
            other if AURORA.contains(&other) => {
                Err(format!("dbEngine {other:?}: dumps are made of instances of {POSTGRESQL} only"))
            }
            other => Err(format!("dbEngine {other:?}: dumps are made of {POSTGRESQL} only")),
        }
    }

    fn path(&self, backup: &str) -> String {
        let prefix = if self.backup_artifact_prefix.is_empty() {
            &self.instance
        } else {
            &self.backup_artifact_prefix
        };
        format!("{}/{backup}", prefix.trim_end_matches('/'))
    }
}

/// ExportRDSSnapshotToLocation: dumps of the databases in a snapshot, as one object.
pub(crate) async fn export_rds_snapshot(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args = DumpArgs::of(call)?;
    if args.snapshot.is_empty() {
        return Err("it has no snapshotID".to_owned());
    }
    let account = access::account(call, setting)?;
    let outcome = export(call, setting, cluster, &*account, &args).await;
    match (outcome, undone(call, setting, &*account, &args.instance).await) {
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(left)) => Err(format!("the dump is stored, but {left}")),
        (Err(reason), Err(left)) => Err(format!("{reason}; and {left}")),
    }
}

async fn export(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    account: &dyn Account,
    args: &DumpArgs,
) -> Result<Object, String> {
    let (databases, groups) = (texts(call, "databases")?, texts(call, "securityGroupID")?);
    let former = match (&groups, args.db_subnet_group.as_str()) {
        (Some(_), group) if !group.is_empty() => Database::default(),
        (Some(_), _) => seen(account, Form::Instance, &args.instance).await?.unwrap_or_default(),
        (None, _) => there(account, Form::Instance, &args.instance).await?,
    };
    let groups = groups.unwrap_or(former.security_groups);
    let backup = format!("backup-{}.tar.gz", mark(&setting.attempt_trace(call.id)));
    let subnet_group =
        if args.db_subnet_group.is_empty() { former.subnet_group } else { args.db_subnet_group.clone() };
    let wish = Restored {
        id: temporary(call, setting, &args.instance),
        snapshot: args.snapshot.clone(),
        engine: Default::default(),
        subnet_group,
        security_groups: groups.clone(),
        made_by: setting.attempt_trace(call.id),
    };
    let mut words = vec![args.path(&backup)];
    words.extend(databases.unwrap_or_default());
    let endpoint = async || {
        usable(account, Form::Instance, &args.snapshot).await?;
        listening(&restored(account, setting, Form::Instance, &wish, false).await?, &wish.id)
    };
    in_pod(call, setting, cluster, args, (EXPORT, words), endpoint).await?;
    Ok(Object::from_iter([
        ("backupID".to_owned(), backup.into()),
        ("snapshotID".to_owned(), args.snapshot.clone().into()),
        ("instanceID".to_owned(), args.instance.clone().into()),
        ("securityGroupID".to_owned(), yaml_text(&groups)?.into()),
    ]))
}

/// The database that an export makes for itself.
fn temporary(call: &Call, setting: &Setting, instance: &str) -> String {
    let mark = mark(&setting.attempt_trace(call.id));
    let room = ID_CHARS_MAX - mark.len() - 1;
    let head: String = instance.chars().take(room).collect();
    format!("{}-{mark}", head.trim_end_matches('-'))
}

/// Takes away what an export that was ended by force has left.
///
/// # Errors
/// In words, with the name of what is left.
pub(crate) async fn undo_export(call: &Call, setting: &Setting) -> Result<(), String> {
    let args = DumpArgs::of(call)?;
    undone(call, setting, &*access::account(call, setting)?, &args.instance).await
}

/// Deletes the database of an export; done as soon as it is going.
async fn undone(call: &Call, setting: &Setting, account: &dyn Account, instance: &str) -> Result<(), String> {
    let id = temporary(call, setting, instance);
    let left = |why: String| format!("the database of this export, {id}, is still there: {why}");
    let mut steps = Steps::new(setting);
    loop {
        match seen(account, Form::Instance, &id).await.map_err(left)? {
            None => return Ok(()),
            Some(found) if found.status == "deleting" => return Ok(()),
            Some(found) => {
                remove(account, &mut steps, Form::Instance, &id, &found).await.map_err(left)?;
            }
        }
        steps.pause("its deletion", setting).await.map_err(left)?;
    }
}

fn listening(database: &Database, id: &str) -> Result<Endpoint, String> {
    let endpoint = database.endpoint.clone();
    endpoint.ok_or_else(|| format!("{} has no endpoint", words(Form::Instance, id)))
}

/// RestoreRDSSnapshot without a snapshot: the databases of a dump, into the instance that is there.
pub(super) async fn restore(call: &Call, setting: &Setting, cluster: &dyn Cluster) -> Result<Object, String> {
    let args: DumpArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let needed = [
        ("namespace", &args.namespace),
        ("backupArtifactPrefix", &args.backup_artifact_prefix),
        ("backupID", &args.backup),
        ("username", &args.username),
        ("password", &args.password),
    ];
    let missing: Vec<&str> =
        needed.iter().filter(|(_, given)| given.is_empty()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        return Err(format!("it needs snapshotID, or else {}", missing.join(", ")));
    }
    let args = DumpArgs::of(call)?;
    let account = access::account(call, setting)?;
    let database = there(&*account, Form::Instance, &args.instance).await?;
    let endpoint = listening(&database, &args.instance)?;
    let host = endpoint.host.clone();
    let words = vec![args.path(&args.backup)];
    in_pod(call, setting, cluster, &args, (RESTORE, words), async || Ok(endpoint.clone())).await?;
    Ok(Object::from_iter([("endpoint".to_owned(), host.into())]))
}

/// Runs a script beside the database, in the pod that is there already or in a new one.
async fn in_pod(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    args: &DumpArgs,
    (script, words): (&str, Vec<String>),
    endpoint: impl AsyncFnOnce() -> Result<Endpoint, String>,
) -> Result<(), String> {
    // Before a database is restored for a pod that waits for a Secret that cannot be made.
    profile::content(call)?;
    let mut command: Vec<String> =
        ["bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c", script, "kanister"]
            .map(str::to_owned)
            .to_vec();
    command.push(profile::reference());
    command.extend(words);
    let mut wish = Wish {
        prefix: "kanister-job-",
        namespace: args.namespace.clone(),
        containers: vec![pod::container(CONTAINER, &setting.postgres_image, &command)],
        volumes: vec![json!({ "name": "backup", "emptyDir": {} })],
        mounts: vec![json!({ "name": "backup", "mountPath": ROOM })],
        ..Wish::default()
    };
    let at = of_kind("pod", &args.namespace, &wish.name(call, setting));
    let made = match ask(|| cluster.get(&at)).await {
        Ok(_) => true,
        Err(refusal) if refusal.why == Why::Absent => false,
        Err(refusal) => return Err(own::refused(&at, &refusal)),
    };
    if !made {
        let Endpoint { host, port } = endpoint().await?;
        wish.containers[0]["env"] =
            json!([{ "name": "PGHOST", "value": host }, { "name": "PGPORT", "value": port.to_string() }]);
    }
    run(cluster, setting, call, &pod::manifest(call, setting, wish)?).await?.outputs()?;
    Ok(())
}
