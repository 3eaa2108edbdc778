//! Waiting for an ActionSet to end: a line that moves on a terminal, one line per phase elsewhere.

use super::cluster::{Session, refused};
use crate::failure::{Exit, Failure};
use crate::show::{self, Moving};
use crate::terminal::Terminal;
use cistern_api::{ActionSet, ActionSetStatus, Phase, State};
use cistern_functions::ports::Why;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the ActionSet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long the cluster may give no answer before waiting is given up.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Whether to wait, and how long.
#[derive(clap::Args)]
pub struct WaitFlags {
    /// Wait until it has ended, and tell how far it is; fail if it fails
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this: 90s, 10m, 2h
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        requires = "wait",
        value_parser = humantime::parse_duration
    )]
    pub timeout: Duration,
}

/// What `kanctl wait` understands.
#[derive(clap::Args)]
pub struct Args {
    /// The ActionSet
    name: String,
    /// Wait no longer than this: 90s, 10m, 2h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Waits.
pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    until_complete(session, &args.name, args.timeout).await
}

/// Waits for an ActionSet to be complete, and tells how far it is.
///
/// # Errors
/// It failed, is gone, or did not end in time. The ActionSet itself goes on whatever happens here.
pub async fn until_complete(session: &Session, name: &str, timeout: Duration) -> Result<(), Failure> {
    let status = until_ended(session, name, timeout).await?;
    if status.state == State::Complete {
        return show::line(&format!("actionset {name} complete"));
    }
    let reason = harmless_lines(&status.error.message);
    Err(Failure::other(format!("the ActionSet {name} failed: {reason}"))
        .hint(format!("`kanctl describe {name} -n {}` tells how far it came", session.namespace)))
}

/// Waits for an ActionSet to end, well or badly, and gives its last status.
///
/// # Errors
/// It is gone, or did not end in time.
pub async fn until_ended(
    session: &Session,
    name: &str,
    timeout: Duration,
) -> Result<ActionSetStatus, Failure> {
    let moving = Terminal::look().stderr.then(Moving::start);
    let end = Instant::now() + timeout;
    let mut heard = Instant::now();
    let mut before = ActionSetStatus::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Some(status) = look(session, name, &mut heard).await? {
            for line in news(&before, &status) {
                show::line(&format!("{name}: {line}"))?;
            }
            if matches!(status.state, State::Complete | State::Failed) {
                return Ok(status);
            }
            if let Some(moving) = &moving {
                moving.draw(&format!("{name}: {}", far(&status)));
            }
            before = status;
        }
        if Instant::now() >= end {
            let text =
                format!("the ActionSet {name} did not end within {}", show::duration(timeout.as_secs_f64()));
            return Err(Failure::new(Exit::Temporary, text)
                .hint("it goes on: wait again with `kanctl wait`, or end it with `kanctl cancel`"));
        }
    }
}

/// The status now; `None` where the cluster gave no answer for now.
async fn look(
    session: &Session,
    name: &str,
    heard: &mut Instant,
) -> Result<Option<ActionSetStatus>, Failure> {
    let at = session.action_set_at(name);
    match session.cluster.get(&at).await {
        Ok(raw) => {
            *heard = Instant::now();
            let set: ActionSet = super::cluster::typed(raw)
                .map_err(|e| Failure::other(format!("cannot read the ActionSet {name}: {e}")))?;
            Ok(Some(set.status.unwrap_or_default()))
        }
        Err(refusal) if refusal.why == Why::Busy && heard.elapsed() < SILENCE_MAX => Ok(None),
        Err(refusal) => Err(refused("read", &at, &refusal)),
    }
}

/// Phases in the order in which they run, the deferred ones last, each with its action.
pub fn phases(status: &ActionSetStatus) -> impl Iterator<Item = (&str, &Phase)> {
    status.actions.iter().flat_map(|action| {
        let deferred = std::iter::once(&action.defer_phase).filter(|phase| !phase.name.is_empty());
        action.phases.iter().chain(deferred).map(|phase| (action.name.as_str(), phase))
    })
}

/// What has happened between two looks, a line for each phase that began or ended.
fn news(before: &ActionSetStatus, after: &ActionSetStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let mut earlier = phases(before).map(|(_, phase)| phase.state);
    for (action, phase) in phases(after) {
        let earlier = earlier.next().unwrap_or(State::Pending);
        if phase.state != earlier && matches!(phase.state, State::Running | State::Complete | State::Failed) {
            lines.push(format!("{action}: phase {} {}", show::harmless(&phase.name), phase.state));
        }
    }
    lines
}

/// `running backupToStore  40%  1.20 GiB of 3.00 GiB up  about 2 min 5 s left`
pub fn far(status: &ActionSetStatus) -> String {
    let progress = &status.progress;
    let state = if status.state == State::Unset { "waiting to be taken up" } else { status.state.as_str() };
    let mut parts = vec![match progress.running_phase.as_str() {
        "" => state.to_owned(),
        phase => format!("{state} {}", show::harmless(phase)),
    }];
    if !progress.percent_completed.is_empty() {
        parts.push(format!("{}%", show::harmless(&progress.percent_completed)));
    }
    let moved = |bytes: i64, of: i64, way: &str| {
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
        let of = u64::try_from(of).ok().filter(|of| *of >= bytes);
        let of = of.map(|of| format!(" of {}", show::size(of))).unwrap_or_default();
        Some(format!("{}{of} {way}", show::size(bytes)))
    };
    parts.extend(moved(progress.uploaded_bytes, progress.estimated_upload_bytes, "up"));
    parts.extend(moved(progress.downloaded_bytes, progress.estimated_download_bytes, "down"));
    let running = phases(status).filter(|(_, phase)| phase.state == State::Running);
    let left_secs = running.map(|(_, phase)| phase.progress.estimated_secs).max().filter(|secs| *secs > 0);
    parts.extend(left_secs.map(|secs| format!("about {} left", show::duration(secs as f64))));
    parts.join("  ")
}

/// A text of several lines that somebody else chose, without what could play tricks with a terminal.
pub fn harmless_lines(text: &str) -> String {
    text.lines().map(show::harmless).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use crate::kanctl::cluster::tests::{paper, place};
    use serde_json::{Value as Json, json};

    fn status(state: &str, phases: &[(&str, &str)], deferred: Option<(&str, &str)>) -> Json {
        let phase = |(name, state): &(&str, &str)| json!({"name": name, "state": state});
        json!({"state": state, "actions": [{
            "name": "backup",
            "phases": phases.iter().map(phase).collect::<Vec<_>>(),
            "deferPhase": deferred.as_ref().map_or(json!({}), phase),
        }]})
    }

    fn typed(status: &Json) -> ActionSetStatus {
        serde_json::from_value(status.clone()).unwrap()
    }

    #[test]
    fn each_phase_is_told_when_it_begins_and_when_it_ends() {
        let none = ActionSetStatus::default();
        let first = typed(&status(
            "running",
            &[("dump", "running"), ("check", "pending")],
            Some(("clean", "pending")),
        ));
        let second = typed(&status(
            "running",
            &[("dump", "complete"), ("check", "failed")],
            Some(("clean", "running")),
        ));
        assert_eq!(news(&none, &first), ["backup: phase dump running"]);
        assert_eq!(news(&first, &first), [""; 0]);
        assert_eq!(
            news(&first, &second),
            ["backup: phase dump complete", "backup: phase check failed", "backup: phase clean running"]
        );
    }

    #[test]
    fn how_far_it_is_in_one_line() {
        let mut status = typed(&status("running", &[], None));
        assert_eq!(far(&ActionSetStatus::default()), "waiting to be taken up");
        status.progress.running_phase = "dump\u{1b}[2J".to_owned();
        status.progress.percent_completed = "40".to_owned();
        status.progress.uploaded_bytes = 1 << 20;
        status.progress.estimated_upload_bytes = 3 << 20;
        status.progress.downloaded_bytes = 5;
        let line = "running dump\\u{1b}[2J  40%  1.00 MiB of 3.00 MiB up  5 B down";
        assert_eq!(far(&status), line);
        let phase = |state: &str, secs: i64| json!({"name": "dump", "state": state, "progress": {"estimatedTimeSeconds": secs}});
        let phases = [phase("complete", 900), phase("running", 125), phase("running", 30)];
        status.actions = serde_json::from_value(json!([{"name": "backup", "phases": phases}])).unwrap();
        assert_eq!(far(&status), format!("{line}  about 2 min 5 s left"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_one_is_a_failure_with_its_reason() {
        let (cluster, session) = paper();
        let mut failed = status("failed", &[("dump", "failed")], None);
        failed["error"]["message"] = "no route to the database".into();
        place(&cluster, "bad", &failed);
        place(&cluster, "good", &status("complete", &[("dump", "complete")], None));
        place(&cluster, "long", &status("running", &[("dump", "running")], None));
        let hour = Duration::from_secs(3600);
        let wait = async |name: &'static str| until_complete(&session, name, hour).await;
        assert!(wait("good").await.is_ok());
        let bad = wait("bad").await.unwrap_err();
        assert_eq!((bad.exit, bad.message.contains("no route to the database")), (Exit::Other, true));
        let long = wait("long").await.unwrap_err();
        assert_eq!(
            (long.exit, long.message.as_str()),
            (Exit::Temporary, "the ActionSet long did not end within 1 h 0 min")
        );
        assert_eq!(wait("none").await.unwrap_err().exit, Exit::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_away_for_a_while_is_waited_for() {
        let (cluster, session) = paper();
        place(&cluster, "good", &status("complete", &[("dump", "complete")], None));
        cluster.go_away(Duration::from_secs(200));
        assert!(until_complete(&session, "good", Duration::from_secs(3600)).await.is_ok());
        cluster.go_away(Duration::from_secs(400));
        let failure = until_complete(&session, "good", Duration::from_secs(3600)).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Temporary);
        assert!(failure.message.contains("no answer came"), "{}", failure.message);
    }
}
