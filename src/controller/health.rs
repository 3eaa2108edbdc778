//! How the controller is: what `/readyz` answers from, told by those who talk to the cluster.
//!
//! The door makes one [`Health`], gives a clone to leader election and to the watch, and one to `serve`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So long after the API server last answered is the controller still ready: a few renewals of the lease.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is known of the cluster. Clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    answered: Option<Instant>,
    leader: Option<String>,
    leads: bool,
}

impl Health {
    /// The API server has answered something.
    pub fn answered(&self) {
        self.known(|known| known.answered = Some(Instant::now()));
    }

    /// Who holds the lease, and whether that is this controller. An answer of the API server, too.
    pub fn led_by(&self, leader: &str, ours: bool) {
        self.known(|known| {
            known.answered = Some(Instant::now());
            known.leader = Some(leader.to_owned());
            known.leads = ours;
        });
    }

    /// Why the controller is not ready to serve; a sentence for whoever asks.
    ///
    /// # Errors
    /// The API server has not answered lately, or nobody is known to hold the lease.
    pub fn ready(&self) -> Result<String, String> {
        self.known(|known| {
            let silence = known.answered.map(|at| at.elapsed());
            match (silence, &known.leader) {
                (None, _) => Err("the API server has not answered yet".to_owned()),
                (Some(silence), _) if silence > SILENCE_MAX => {
                    Err(format!("the API server has not answered for {} s", silence.as_secs()))
                }
                (_, None) => Err("it is not known yet who leads".to_owned()),
                (_, Some(_)) if known.leads => Ok("leads".to_owned()),
                (_, Some(leader)) => Ok(format!("stands by; {leader} leads")),
            }
        })
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        // Nothing panics while it holds the lock; were it so, what is known would still be true.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_is_who_reaches_the_cluster_and_knows_the_leader() {
        let health = Health::default();
        assert_eq!(health.ready(), Err("the API server has not answered yet".to_owned()));
        health.answered();
        assert_eq!(health.ready(), Err("it is not known yet who leads".to_owned()));
        health.led_by("pod-b", false);
        assert_eq!(health.ready(), Ok("stands by; pod-b leads".to_owned()));
        health.led_by("pod-a", true);
        assert_eq!(health.ready(), Ok("leads".to_owned()));
        tokio::time::advance(SILENCE_MAX + Duration::from_secs(1)).await;
        assert_eq!(health.ready(), Err("the API server has not answered for 61 s".to_owned()));
        health.answered();
        assert!(health.ready().is_ok());
    }
}
