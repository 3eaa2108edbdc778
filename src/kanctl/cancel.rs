//! `kanctl cancel`: an ActionSet asked to stop. Its deferred phase still runs.

use super::cluster::{Session, refused};
use super::wait::{self, WaitFlags};
use crate::failure::Failure;
use crate::show;
use cistern_api::State;
use cistern_controller::wishes::CANCEL;
use cistern_functions::ports::Patch;
use serde_json::Value as Json;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// The ActionSet
    name: String,
    #[command(flatten)]
    wait: WaitFlags,
}

/// Asks, and waits for the end where that is wanted.
pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let name = &args.name;
    let set = session.action_set(name).await?;
    let state = set.status.map(|status| status.state).unwrap_or_default();
    if matches!(state, State::Complete | State::Failed) {
        show::complain(&format!("actionset {name} has ended already: {state}"));
        return Ok(());
    }
    let at = session.action_set_at(name);
    let mut patch = Json::Null;
    patch["metadata"]["annotations"][CANCEL] = "true".into();
    session.cluster.patch(&at, Patch::Merge, &patch).await.map_err(|e| refused("cancel", &at, &e))?;
    show::line(&format!("actionset {name} asked to stop"))?;
    if args.wait.wait {
        let status = wait::until_ended(session, name, args.wait.timeout).await?;
        show::line(&format!("actionset {name} {}", status.state))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use crate::kanctl::cluster::tests::{paper, place};
    use serde_json::json;
    use std::time::Duration;

    fn args(name: &str, wait: bool) -> Args {
        Args { name: name.to_owned(), wait: WaitFlags { wait, timeout: Duration::from_secs(60) } }
    }

    #[tokio::test(start_paused = true)]
    async fn one_under_way_is_annotated_and_one_that_ended_is_left_alone() {
        let (cluster, session) = paper();
        place(&cluster, "busy", &json!({"state": "running"}));
        place(&cluster, "done", &json!({"state": "complete"}));
        run(&args("busy", false), &session).await.unwrap();
        run(&args("done", true), &session).await.unwrap();
        assert_eq!(cluster.asked(), ["patch actionsets kanister/busy"]);
        let busy = cluster.object(&session.action_set_at("busy")).unwrap();
        assert_eq!(busy["metadata"]["annotations"]["cistern.dev/cancel"], "true");
        assert!(run(&args("none", false), &session).await.is_err());
        let waited = run(&args("busy", true), &session).await.unwrap_err();
        assert!(waited.message.contains("did not end within"), "{}", waited.message);
    }
}
