//! Functions over snapshots of managed databases: CreateRDSSnapshot, RestoreRDSSnapshot, DeleteRDSSnapshot;
//! ExportRDSSnapshotToLocation and restores from its dumps are in `rds/dump.rs`.
//!
//! # If it crashes here
//! Each function looks how far things are and does the next step, again and again. Identifiers follow from
//! ActionSet, action, phase and attempt; a database that is made in place of another carries the call's trace as a
//! tag. So whoever makes the call again finds what was done, and nothing is done twice.

mod access;
mod dump;
mod remembered;

pub(crate) use dump::{export_rds_snapshot, undo_export};

use crate::databases::{Account, Database, Form, Member, Restored, Snapshot};
use crate::patience::{Looks, ask, ask_at_most};
use crate::ports::{Cluster, Refusal, Why};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, PhaseProgress, args, yaml};
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::Instant;

/// Engines whose databases are clusters.
const AURORA: [&str; 3] = ["aurora", "aurora-mysql", "aurora-postgresql"];
/// The class of an instance in a restored cluster, where nobody knows of another; Kanister's.
const CLASS: &str = "db.r5.large";
/// Statuses in which a database that is being made does not become available by itself.
const HOPELESS: [&str; 7] = [
    "deleting",
    "failed",
    "restore-error",
    "incompatible-restore",
    "incompatible-network",
    "incompatible-parameters",
    "insufficient-capacity",
];
/// Between two looks; Amazon counts requests.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A database may be so long in a state in which it does not do what it is asked: backing up, being changed.
const STATE_PASSES: Duration = Duration::from_secs(60 * 60);
/// So often is an account asked at first; half a minute.
const FIRST_ASKS: u32 = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RdsArgs {
    #[serde(default, rename = "instanceID")]
    instance: String,
    #[serde(default, rename = "snapshotID")]
    snapshot: String,
    #[serde(default)]
    db_engine: String,
    #[serde(default)]
    db_subnet_group: String,
}

impl RdsArgs {
    /// Those of a call that is about `needed`, which must not be empty: nobody's database is meant then.
    fn of(call: &Call, needed: &str) -> Result<RdsArgs, String> {
        let args: RdsArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
        let given = if needed == "snapshotID" { &args.snapshot } else { &args.instance };
        if given.is_empty() { Err(format!("it has no {needed}")) } else { Ok(args) }
    }

    fn form(&self) -> Form {
        if AURORA.contains(&self.db_engine.as_str()) { Form::Cluster } else { Form::Instance }
    }
}

/// Ten characters that stand for a call, or for this attempt at it.
fn mark(trace: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letters = Sha256::digest(trace.as_bytes());
    letters.iter().take(10).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// The databases in words.
fn words(form: Form, id: &str) -> String {
    match form {
        Form::Instance => format!("RDS instance {id}"),
        Form::Cluster => format!("RDS cluster {id}"),
    }
}

fn refused(what: &str, refusal: &Refusal) -> String {
    match refusal.why {
        Why::Absent => format!("there is no {what}"),
        _ => format!("{what}: {refusal}"),
    }
}

/// The database, if it is there.
async fn seen(account: &dyn Account, form: Form, id: &str) -> Result<Option<Database>, String> {
    match ask(|| account.database(form, id)).await {
        Ok(database) => Ok(Some(database)),
        Err(refusal) if refusal.why == Why::Absent => Ok(None),
        Err(refusal) => Err(refused(&words(form, id), &refusal)),
    }
}

/// The database, which must be there. An account that does not answer at the beginning of a call is not waited for:
/// its region may be misspelt.
async fn there(account: &dyn Account, form: Form, id: &str) -> Result<Database, String> {
    let found = ask_at_most(FIRST_ASKS, || account.database(form, id)).await;
    found.map_err(|refusal| refused(&words(form, id), &refusal))
}

/// The snapshot, if it is there; at the beginning of a call.
async fn look(account: &dyn Account, form: Form, id: &str) -> Result<Option<Snapshot>, String> {
    match ask_at_most(FIRST_ASKS, || account.snapshot(form, id)).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(refusal) if refusal.why == Why::Absent => Ok(None),
        Err(refusal) => Err(refused(&format!("RDS snapshot {id}"), &refusal)),
    }
}

/// A list of texts, or YAML of one, as CreateRDSSnapshot puts it out; nothing where it is not there.
fn texts(call: &Call, name: &str) -> Result<Option<Vec<String>>, String> {
    let wrong = || format!("argument `{name}`: it is neither a list nor YAML of one");
    match call.args.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Json::String(text)) => yaml::decode(text).map(Some).map_err(|_| wrong()),
        Some(Json::Array(_)) => args::argument(&call.args, name).map_err(|e| e.to_string()),
        Some(_) => Err(wrong()),
    }
}

/// The same as YAML, as Kanister puts it out.
fn yaml_text(texts: &[String]) -> Result<String, String> {
    yaml::print(&texts)
}

/// Steps of a call on the way to what it wants, with pauses in between; and how long they may take.
struct Steps {
    looks: Looks,
    /// What refused, and since when, if the last step was refused.
    stands: Option<(String, Instant)>,
}

impl Steps {
    fn new(setting: &Setting) -> Steps {
        Steps {
            looks: Looks::new(setting.limits.call, LOOK_EVERY.min(setting.limits.look_every * 3)),
            stands: None,
        }
    }

    /// What came of asking for a step. What was done before, is there already or is gone is as good as done: the next
    /// look tells.
    fn asked(&mut self, what: &str, answer: Result<(), Refusal>) -> Result<(), String> {
        match answer {
            Err(refusal) if refusal.why == Why::Conflict => {
                let since = self.stands.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                if since.elapsed() >= STATE_PASSES {
                    let minutes = STATE_PASSES.as_secs() / 60;
                    return Err(format!("{what}: {refusal}; that has been so for {minutes} minutes"));
                }
                self.stands = Some((refused(what, &refusal), since));
                Ok(())
            }
            Err(refusal) if refusal.why != Why::Exists => Err(refused(what, &refusal)),
            _ => {
                self.stands = None;
                Ok(())
            }
        }
    }

    /// Pauses before the next look.
    async fn pause(&mut self, what: &str, setting: &Setting) -> Result<(), String> {
        if self.looks.again().await {
            return Ok(());
        }
        let hours = setting.limits.call.as_secs() / 3600;
        let last = self.stands.take().map_or(String::new(), |(said, _)| format!("; {said}"));
        Err(format!("{what} took longer than {hours} hours{last}"))
    }
}

/// CreateRDSSnapshot: of an instance, or of an Aurora cluster; waits until it can be used.
pub(crate) async fn create_rds_snapshot(call: &Call, setting: &Setting) -> Result<Object, String> {
    let args = RdsArgs::of(call, "instanceID")?;
    let (account, form) = (access::account(call, setting)?, args.form());
    let account = &*account;
    let database = there(account, form, &args.instance).await?;
    let id = format!("{}-{}", args.instance, mark(&setting.attempt_trace(call.id)));
    let snapshot = taken(account, setting, form, &args.instance, &id).await?;
    Ok(Object::from_iter([
        ("snapshotID".to_owned(), id.into()),
        ("instanceID".to_owned(), args.instance.into()),
        ("securityGroupID".to_owned(), yaml_text(&database.security_groups)?.into()),
        ("allocatedStorage".to_owned(), format!("{}GiB", snapshot.allocated_gib).into()),
        ("dbSubnetGroup".to_owned(), database.subnet_group.into()),
    ]))
}

/// The snapshot once it can be used. One that fails is taken away.
async fn taken(
    account: &dyn Account,
    setting: &Setting,
    form: Form,
    database: &str,
    id: &str,
) -> Result<Snapshot, String> {
    let what = format!("snapshot {id} of {}", words(form, database));
    let mut steps = Steps::new(setting);
    loop {
        match ask(|| account.snapshot(form, id)).await {
            Ok(snapshot) if snapshot.status == "available" => {
                return Ok(Snapshot { allocated_gib: sized(form, &snapshot), ..snapshot });
            }
            Ok(snapshot) if snapshot.status == "failed" => {
                let _ = ask(|| account.delete_snapshot(form, id)).await;
                return Err(format!("{what} failed; the events of the database in AWS say why"));
            }
            Ok(snapshot) => tell(setting, &snapshot),
            Err(refusal) if refusal.why == Why::Absent => {
                let asked = ask(|| account.create_snapshot(form, database, id)).await;
                steps.asked(&what, asked)?;
            }
            Err(refusal) => return Err(refused(&what, &refusal)),
        }
        steps.pause(&what, setting).await?;
    }
}

/// A cluster has no size of its own; Kanister puts out 0.
fn sized(form: Form, snapshot: &Snapshot) -> i64 {
    if form == Form::Cluster { 0 } else { snapshot.allocated_gib }
}

fn tell(setting: &Setting, snapshot: &Snapshot) {
    if let Some(watch) = setting.progress.as_ref().filter(|_| (1..=100).contains(&snapshot.percent)) {
        let progress_percent = snapshot.percent.to_string();
        watch.tell(PhaseProgress { progress_percent, ..PhaseProgress::default() });
    }
}

/// DeleteRDSSnapshot: and waits until it is gone. One that is not there is fine.
pub(crate) async fn delete_rds_snapshot(call: &Call, setting: &Setting) -> Result<Object, String> {
    let args = RdsArgs::of(call, "snapshotID")?;
    let (account, form) = (access::account(call, setting)?, args.form());
    let what = format!("RDS snapshot {}", args.snapshot);
    if look(&*account, form, &args.snapshot).await?.is_none() {
        return Ok(Object::new());
    }
    let mut steps = Steps::new(setting);
    loop {
        match ask(|| account.snapshot(form, &args.snapshot)).await {
            Err(refusal) if refusal.why == Why::Absent => return Ok(Object::new()),
            Err(refusal) => return Err(refused(&what, &refusal)),
            Ok(snapshot) if snapshot.status == "deleting" => {}
            Ok(_) => match ask(|| account.delete_snapshot(form, &args.snapshot)).await {
                Err(refusal) if refusal.why == Why::Absent => return Ok(Object::new()),
                asked => steps.asked(&what, asked)?,
            },
        }
        steps.pause(&what, setting).await?;
    }
}

/// RestoreRDSSnapshot: a database out of its snapshot, in the place of the one of that name; or out of a dump, into
/// the one of that name.
pub(crate) async fn restore_rds_snapshot(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args = RdsArgs::of(call, "instanceID")?;
    if args.snapshot.is_empty() {
        return dump::restore(call, setting, cluster).await;
    }
    let (account, form) = (access::account(call, setting)?, args.form());
    let account = &*account;
    let snapshot = usable(account, form, &args.snapshot).await?;
    let was = remembered::recall(call, setting, cluster, account, form, &args.instance).await?;
    let wish = Restored {
        id: args.instance,
        snapshot: args.snapshot,
        engine: (snapshot.engine, snapshot.engine_version),
        subnet_group: if args.db_subnet_group.is_empty() { was.subnet_group } else { args.db_subnet_group },
        security_groups: was.security_groups,
        made_by: setting.attempt_trace(call.id),
    };
    restored(account, setting, form, &wish, true).await?;
    if form == Form::Cluster {
        member(account, setting, &wish, &was.class).await?;
    }
    Ok(Object::new())
}

/// The snapshot, which must be there and whole before anything is deleted for it.
async fn usable(account: &dyn Account, form: Form, id: &str) -> Result<Snapshot, String> {
    match look(account, form, id).await? {
        None => Err(format!("there is no RDS snapshot {id}")),
        Some(snapshot) if snapshot.status == "available" => Ok(snapshot),
        Some(snapshot) => Err(format!("RDS snapshot {id} cannot be restored: it is {}", snapshot.status)),
    }
}

/// The database once it is there, made out of the snapshot by this call. Another one of that name goes first, if
/// it may.
async fn restored(
    account: &dyn Account,
    setting: &Setting,
    form: Form,
    wish: &Restored,
    replaces: bool,
) -> Result<Database, String> {
    let what = words(form, &wish.id);
    let mut steps = Steps::new(setting);
    let mut was_absent = false;
    loop {
        match seen(account, form, &wish.id).await? {
            None => {
                was_absent = true;
                let asked = ask(|| account.restore(form, wish)).await;
                steps.asked(&format!("{what} from snapshot {}", wish.snapshot), asked)?;
            }
            Some(found) if found.made_by.as_deref() == Some(&*wish.made_by) => match found.status.as_str() {
                "available" => return Ok(found),
                status if HOPELESS.contains(&status) => return Err(hopeless(&what, status)),
                _ => {}
            },
            // Nor is one deleted that came into the place of the one that had to go.
            Some(_) if !replaces || was_absent => {
                return Err(format!("a {what} is there that is not its own"));
            }
            Some(found) if found.status == "deleting" => {}
            Some(found) => remove(account, &mut steps, form, &wish.id, &found).await?,
        }
        steps.pause(&what, setting).await?;
    }
}

fn hopeless(what: &str, status: &str) -> String {
    format!("{what} is {status} and does not become available; its events in AWS say why")
}

/// The next step on the way of a database out of the world: a cluster goes after its members.
async fn remove(
    account: &dyn Account,
    steps: &mut Steps,
    form: Form,
    id: &str,
    found: &Database,
) -> Result<(), String> {
    if found.members.is_empty() {
        return gone(steps, &words(form, id), ask(|| account.delete_database(form, id)).await);
    }
    for member in &found.members {
        let going = seen(account, Form::Instance, member).await?.is_none_or(|m| m.status == "deleting");
        if !going {
            let asked = ask(|| account.delete_database(Form::Instance, member)).await;
            gone(steps, &words(Form::Instance, member), asked)?;
        }
    }
    Ok(())
}

fn gone(steps: &mut Steps, what: &str, asked: Result<(), Refusal>) -> Result<(), String> {
    match asked {
        Err(refusal) if refusal.why == Why::Absent => Ok(()),
        asked => steps.asked(what, asked),
    }
}

/// The one instance of a restored cluster, once it is there.
async fn member(
    account: &dyn Account,
    setting: &Setting,
    cluster: &Restored,
    class: &str,
) -> Result<(), String> {
    let wish = Member {
        id: format!("{}-instance-1", cluster.id),
        cluster: cluster.id.clone(),
        engine: cluster.engine.0.clone(),
        class: if class.is_empty() { CLASS.to_owned() } else { class.to_owned() },
        made_by: cluster.made_by.clone(),
    };
    let what = words(Form::Instance, &wish.id);
    let mut steps = Steps::new(setting);
    loop {
        match seen(account, Form::Instance, &wish.id).await? {
            None => {
                let asked = ask(|| account.create_member(&wish)).await;
                steps.asked(&what, asked)?;
            }
            Some(found) if found.made_by.as_deref() != Some(&*wish.made_by) => {
                // One of the former cluster may still be on its way out.
                if found.status != "deleting" {
                    return Err(format!("a {what} is there that is not its own"));
                }
            }
            Some(found) if HOPELESS.contains(&found.status.as_str()) => {
                return Err(hopeless(&what, &found.status));
            }
            Some(found) if found.status == "available" => return Ok(()),
            Some(_) => {}
        }
        steps.pause(&what, setting).await?;
    }
}
