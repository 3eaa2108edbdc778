//! `cistern doctor`: what the store, the credential and the repository are really like.
//!
//! Works before there is a repository, and without a key as far as that goes.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_repo::{Repository, Role, SnapshotId, World};
use cistern_store::doctor::{Finding, Verdict, probe};
use cistern_store::{Entry, Location, Store};
use futures::TryStreamExt as _;
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A session older than this was left by a push that died: a prune has given it up long before.
const SESSION_AGE: Duration = Duration::from_secs(24 * 3600);

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Report {
    location: String,
    verdict: Verdict,
    findings: Vec<Finding>,
}

/// Tries everything and says what it means.
///
/// # Errors
/// Exit code 1 if something is limited, 2 if something that backups rely on does not work.
pub async fn run(_: Args, context: &Context) -> Result<(), Failure> {
    let now = UNIX_EPOCH + Duration::from_millis(World::real().now_ms());
    let mut findings = Vec::new();
    let (place, _removed_when_dropped) = place_to_probe(&context.location, &mut findings)?;
    findings.extend(probe(&place, context.store_options(), now).await?.findings);
    if place == context.location {
        repository(context, now, &mut findings).await?;
    }
    let verdict = findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Good);
    let report = Report { location: context.location.to_string(), verdict, findings };
    if context.json {
        show::json(&report)?;
    } else {
        show::raw(text(&report).as_bytes())?;
    }
    conclude(&report)
}

/// A directory that is not there yet is not made: its neighbourhood is tried instead.
fn place_to_probe(
    location: &Location,
    findings: &mut Vec<Finding>,
) -> Result<(Location, Option<tempfile::TempDir>), Failure> {
    let Location::Directory(path) = location else { return Ok((location.clone(), None)) };
    if path.is_dir() {
        return Ok((location.clone(), None));
    }
    let above = path.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".cistern-doctor-").tempdir_in(above).map_err(|e| {
        let message = format!("cannot try {}, where the repository would be: {e}", above.display());
        Failure::new(Exit::Denied, message)
    })?;
    findings.push(Finding {
        check: "repository",
        verdict: Verdict::Good,
        measured: format!("none yet; tried in {}", above.display()),
        meaning: "`cistern init` makes one",
    });
    Ok((Location::Directory(made.path().to_owned()), Some(made)))
}

/// What can be said once the store answers.
async fn repository(context: &Context, now: SystemTime, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let mut say = |check, verdict, measured: String, meaning| {
        findings.push(Finding { check, verdict, measured, meaning });
    };
    let store = context.store().await?;
    match Repository::marker(&*store).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            say("repository", Verdict::Good, "none yet".to_owned(), "`cistern init` makes one");
            return Ok(());
        }
        Err(e) => {
            say("repository", Verdict::Bad, e.to_string(), "nothing can be stored or read here");
            return Ok(());
        }
    }
    match context.repository().await {
        Ok(opened) => {
            let keys = opened.keys();
            say("repository", Verdict::Good, format!("{} opens", keys.repo()), "the key is the right one");
            say("credential", Verdict::Good, format!("role {}", keys.role()), what_it_may(keys.role()));
        }
        Err(failure) => {
            let meaning = "it is there, and cannot be used with what was given";
            say("repository", Verdict::Bad, failure.message, meaning);
        }
    }
    findings.extend(leftovers(&*store, now).await?);
    Ok(())
}

fn what_it_may(role: Role) -> &'static str {
    match role {
        Role::Maintain => "it forgets, prunes and checks; it cannot read what was stored",
        Role::Push => "it stores; it cannot read what was stored, not even by itself",
        Role::Pull => "it stores and reads",
        Role::Owner => "it may do everything; machines that only store are better off with a push key",
    }
}

/// Pushes that neither ended nor were given up, and packs that wait to be deleted.
async fn leftovers(store: &dyn Store, now: SystemTime) -> Result<Vec<Finding>, Failure> {
    let sessions = list(store, "sessions/").await?;
    let decided: HashSet<SnapshotId> = ids(&list(store, "snapshots/").await?);
    let open: Vec<&Entry> =
        sessions.iter().filter(|e| session_of(e).is_some_and(|id| !decided.contains(&id))).collect();
    let old =
        open.iter().filter(|e| now.duration_since(e.modified).is_ok_and(|age| age > SESSION_AGE)).count();
    let trash = list(store, "trash/").await?.iter().filter(|e| !e.key.as_str().ends_with(".queue")).count();
    Ok(vec![
        Finding {
            check: "sessions",
            verdict: if old == 0 { Verdict::Good } else { Verdict::Limited },
            measured: format!("{} under way, {old} of them for more than a day", open.len()),
            meaning: "old ones were left by pushes that died; `cistern prune` gives them up",
        },
        Finding {
            check: "trash",
            verdict: Verdict::Good,
            measured: format!("{trash} lists of packs"),
            meaning: "packs that no snapshot uses; a `cistern prune` after the time of grace deletes them",
        },
    ])
}

async fn list(store: &dyn Store, prefix: &str) -> Result<Vec<Entry>, Failure> {
    Ok(store.list(prefix).try_collect().await?)
}

fn ids(entries: &[Entry]) -> HashSet<SnapshotId> {
    entries.iter().filter_map(session_of).collect()
}

/// A session's notes are called by its id, its signs of life by more than that.
fn session_of(entry: &Entry) -> Option<SnapshotId> {
    entry.key.name().split('.').next()?.parse().ok()
}

fn text(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .findings
        .iter()
        .map(|f| {
            let verdict = match f.verdict {
                Verdict::Good => "good",
                Verdict::Limited => "limited",
                Verdict::Bad => "BAD",
            };
            vec![verdict.to_owned(), f.check.to_owned(), f.measured.clone(), f.meaning.to_owned()]
        })
        .collect();
    format!("{}\n{}", report.location, show::table(&["", "CHECK", "SEEN", "WHAT IT MEANS"], &rows))
}

fn conclude(report: &Report) -> Result<(), Failure> {
    let these = |verdict| {
        let names: Vec<&str> =
            report.findings.iter().filter(|f| f.verdict == verdict).map(|f| f.check).collect();
        names.join(", ")
    };
    match report.verdict {
        Verdict::Good => Ok(()),
        Verdict::Limited => {
            Err(Failure::other(format!("it works, with limits: {}", these(Verdict::Limited))))
        }
        Verdict::Bad => Err(Failure::usage(format!("backups cannot rely on this: {}", these(Verdict::Bad)))),
    }
}
