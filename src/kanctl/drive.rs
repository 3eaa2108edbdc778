//! The loop around the action runner: look, decide, write down, do.

use super::order::Order;
use cistern_action::machine::{Call, CallId, Seen, Step, decide};
use cistern_api::{ActionSet, ActionSetStatus, Object, Time};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

/// What carries out calls.
pub trait Runner {
    /// Runs a function; its outputs, or why it failed.
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Object, String>>;

    /// Is told each status as it is recorded.
    fn recorded(&self, status: &ActionSetStatus);
}

/// Carries an ActionSet to its end. Dropped earlier, it stops what is under way.
pub async fn drive(order: &Order, runner: &impl Runner) -> ActionSet {
    let mut seen = Seen::new(order.action_set.clone(), Time(order.time));
    let mut calls: FuturesUnordered<BoxFuture<'_, (CallId, Result<Object, String>)>> =
        FuturesUnordered::new();
    loop {
        seen.now = Time(jiff::Timestamp::now());
        match decide(&seen) {
            Some(Step::Fetch(needs)) => {
                for need in needs {
                    let found = order.find(&need);
                    seen.found.insert(need, found);
                }
            }
            Some(Step::Record(status)) => {
                runner.recorded(&status);
                seen.action_set.status = Some(status);
            }
            Some(Step::Start(call, claimed)) => {
                runner.recorded(&claimed);
                seen.action_set.status = Some(claimed);
                let id = call.id;
                seen.running.insert(id);
                let running = runner.run(*call);
                calls.push(Box::pin(async move { (id, running.await) }));
            }
            None => match calls.next().await {
                Some((id, outcome)) => {
                    seen.running.remove(&id);
                    seen.ended.insert(id, outcome);
                }
                None => return seen.action_set,
            },
        }
    }
}
