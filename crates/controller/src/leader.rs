//! Leader election: of several controllers one carries out ActionSets, the others stand by.
//!
//! It is the protocol of Kubernetes' own controllers, over a Lease (`coordination.k8s.io/v1`).
//!
//! # Why there are never two
//! * Whoever leads writes the Lease anew every [`Pace::every`]. From the moment it *began* the last write that
//!   landed, it leads for [`Pace::renew_within`] and no longer. Another one takes the Lease only after it has seen
//!   it unchanged for [`Pace::lease`], counted from when it *saw* that write; so the first has stopped before.
//!   Each counts by its own monotonic clock: what the clocks on the walls say does not matter.
//! * Stopping is dying, as far as the cluster can tell: the work is dropped, and the cluster that it was given
//!   ([`Cluster`], fenced) does not take anything more, not even from a task that has not noticed yet. What the next
//!   controller finds is what it finds after a crash.
//! * A controller that was frozen (`SIGSTOP`, a paused machine) and thaws asks its clock before each request, and
//!   sends none. What is left is a request that was frozen between that look and the kernel, microseconds apart. If
//!   it writes an ActionSet, it names a `resourceVersion` that the other controller's first write has made old, and
//!   is refused. If it creates a pod, the API server most often has one of that name. If it has none any more,
//!   because the phase is over, the pod may begin before it is swept away: Kubernetes has no create that asks
//!   whether another object is still the same.
//!
//! # If it crashes here
//! The Lease runs out, and another one takes it. [`Election::release`] spares it the wait.

mod fence;

use async_trait::async_trait;
use cistern_api::{ObjectReference, Time};
use cistern_functions::ports::{Cluster, Refusal, Why};
use fence::{Fenced, Term};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How fast an election goes. All candidates should go at the same pace.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A Lease that has not changed for so long is free.
    pub lease: Duration,
    /// Who cannot renew it for so long stops leading. Must be shorter than `lease`.
    pub renew_within: Duration,
    /// Between two writes of the leader, and two looks of the others.
    pub every: Duration,
}

impl Default for Pace {
    /// The pace of Kubernetes' own controllers.
    fn default() -> Pace {
        Pace {
            lease: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            every: Duration::from_secs(2),
        }
    }
}

/// Learns who leads.
#[async_trait]
pub trait Audience: Send + Sync {
    /// This one leads; `ours` says whether that is the one whose election it is.
    fn led_by(&self, leader: &str, ours: bool);
    /// The API server does not let it look at the Lease, or write it; said once for each reason.
    fn refused(&self, refusal: &Refusal);
}

/// A candidate.
pub struct Election {
    cluster: Arc<dyn Cluster>,
    at: ObjectReference,
    identity: String,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
    pace: Pace,
    /// The Lease as it was written by us last.
    ours: Mutex<Option<Json>>,
}

/// What a candidate that does not lead has seen of the Lease.
struct Seen {
    spec: Json,
    since: Instant,
}

impl Election {
    /// A candidate for the Lease of this name. `identity` must be another for every start of a program.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        lease: &str,
        identity: &str,
        now: Arc<dyn Fn() -> Time + Send + Sync>,
        pace: Pace,
    ) -> Election {
        let at = ObjectReference {
            api_version: "v1".to_owned(),
            group: "coordination.k8s.io".to_owned(),
            resource: "leases".to_owned(),
            ..ObjectReference::named(namespace, lease)
        };
        Election { cluster, at, identity: identity.to_owned(), now, pace, ours: Mutex::new(None) }
    }

    /// Stands by, leads, stands by again, until the work ends by itself. The work is begun whenever the Lease has
    /// been won, with a cluster that takes nothing any more when it is lost; then it is dropped.
    pub async fn lead<T, F: Future<Output = T>>(
        &self,
        audience: &dyn Audience,
        mut work: impl FnMut(Arc<dyn Cluster>) -> F,
    ) -> T {
        loop {
            let term = self.win(audience).await;
            audience.led_by(&self.identity, true);
            // However this is left, also by being dropped.
            let ending = term.end_on_drop();
            let fenced = Arc::new(Fenced::new(Arc::clone(&self.cluster), term.clone()));
            let ended = tokio::select! {
                biased;
                () = self.keep(&term, audience) => None,
                outcome = work(fenced) => Some(outcome),
            };
            drop(ending);
            match ended {
                Some(outcome) => return outcome,
                None => audience.led_by("nobody", false),
            }
        }
    }

    /// Gives the Lease back, if it is ours, so that another one can take it at once. To be called when nothing of
    /// the work goes on.
    pub async fn release(&self) {
        let Some(mut lease) = self.ours.lock().await.take() else { return };
        lease["spec"]["holderIdentity"] = "".into();
        lease["spec"]["leaseDurationSeconds"] = 1.into();
        lease["spec"]["renewTime"] = self.moment().into();
        // Not given back, it runs out.
        let _ = timeout(self.pace.every, self.cluster.replace(&self.at, &lease)).await;
    }

    /// Waits until the Lease is ours.
    async fn win(&self, audience: &dyn Audience) -> Term {
        let mut seen: Option<Seen> = None;
        let mut complaint = None;
        loop {
            let began = Instant::now();
            match timeout(self.pace.renew_within, self.attempt(&mut seen, audience)).await {
                Ok(Ok(true)) => return Term::until(began + self.pace.renew_within),
                Ok(Ok(false)) => complaint = None,
                Ok(Err(refusal)) => complain(audience, &mut complaint, refusal),
                Err(_) => complain(audience, &mut complaint, silent()),
            }
            sleep(self.pace.every).await;
        }
    }

    /// Looks at the Lease and takes it, if it is free; whether it is ours now.
    async fn attempt(&self, seen: &mut Option<Seen>, audience: &dyn Audience) -> Result<bool, Refusal> {
        let mut lease = match self.cluster.get(&self.at).await {
            Ok(lease) => lease,
            Err(refusal) if refusal.why == Why::Absent => {
                return self.taken(self.cluster.create(&self.at, &self.first()).await).await;
            }
            Err(refusal) => return Err(refusal),
        };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        // Ours already: the answer to an earlier write was lost.
        if !holder.is_empty() && holder != self.identity && !self.expired(seen, &lease["spec"]) {
            audience.led_by(&holder, false);
            return Ok(false);
        }
        let moment = self.moment();
        let spec = &mut lease["spec"];
        if holder != self.identity {
            spec["acquireTime"] = moment.clone().into();
            spec["leaseTransitions"] = (spec["leaseTransitions"].as_u64().unwrap_or(0) + 1).into();
        }
        spec["holderIdentity"] = self.identity.clone().into();
        spec["leaseDurationSeconds"] = self.pace.lease.as_secs().into();
        spec["renewTime"] = moment.into();
        self.taken(self.cluster.replace(&self.at, &lease).await).await
    }

    async fn taken(&self, written: Result<Json, Refusal>) -> Result<bool, Refusal> {
        match written {
            Ok(lease) => {
                *self.ours.lock().await = Some(lease);
                Ok(true)
            }
            // Somebody was quicker.
            Err(refusal) if matches!(refusal.why, Why::Conflict | Why::Exists) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether somebody else's Lease has been the same for as long as it holds.
    fn expired(&self, seen: &mut Option<Seen>, spec: &Json) -> bool {
        let holds = spec["leaseDurationSeconds"].as_u64().map_or(self.pace.lease, Duration::from_secs);
        match seen {
            Some(seen) if seen.spec == *spec => seen.since.elapsed() >= holds,
            _ => {
                *seen = Some(Seen { spec: spec.clone(), since: Instant::now() });
                false
            }
        }
    }

    /// Renews the Lease for as long as that succeeds in time.
    async fn keep(&self, term: &Term, audience: &dyn Audience) {
        let mut complaint = None;
        loop {
            tokio::time::sleep_until((Instant::now() + self.pace.every).min(term.end_at())).await;
            let began = Instant::now();
            match timeout_at(term.end_at(), self.renew()).await {
                Ok(Ok(true)) => {
                    // Thawed or slow, it may have been written when it was somebody else's to be taken.
                    if !term.renew(began + self.pace.renew_within) {
                        break;
                    }
                    audience.led_by(&self.identity, true);
                    complaint = None;
                }
                Ok(Ok(false)) => break,
                Ok(Err(refusal)) => complain(audience, &mut complaint, refusal),
                Err(_) => break,
            }
        }
        *self.ours.lock().await = None;
    }

    /// Writes the Lease anew; whether it is still ours.
    async fn renew(&self) -> Result<bool, Refusal> {
        let mut ours = self.ours.lock().await;
        let Some(lease) = ours.as_mut() else { return Ok(false) };
        lease["spec"]["renewTime"] = self.moment().into();
        match self.cluster.replace(&self.at, lease).await {
            Ok(written) => {
                *lease = written;
                Ok(true)
            }
            Err(refusal) if refusal.why == Why::Conflict => {
                // Taken by another, or written by us with the answer lost, or touched by a user.
                let there = self.cluster.get(&self.at).await?;
                if there["spec"]["holderIdentity"] != self.identity.as_str() {
                    return Ok(false);
                }
                *lease = there;
                Err(Refusal::new(Why::Busy, refusal.said))
            }
            Err(refusal) if refusal.why == Why::Absent => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    fn first(&self) -> Json {
        let moment = self.moment();
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.at.name, "namespace": self.at.namespace },
            "spec": {
                "holderIdentity": self.identity, "leaseDurationSeconds": self.pace.lease.as_secs(),
                "acquireTime": moment, "renewTime": moment, "leaseTransitions": 0,
            },
        })
    }

    /// The present moment as a Lease says it: exactly six digits after the second.
    fn moment(&self) -> String {
        format!("{:.6}", (self.now)().0)
    }
}

fn silent() -> Refusal {
    Refusal::new(Why::Busy, "got no answer in time")
}

fn complain(audience: &dyn Audience, before: &mut Option<Refusal>, refusal: Refusal) {
    if before.as_ref().is_none_or(|before| before.why != refusal.why) {
        audience.refused(&refusal);
    }
    *before = Some(refusal);
}

#[cfg(test)]
mod tests;
