//! What leader election tells, handed on to readiness and to the log.

use super::health::Health;
use cistern_controller::leader::Audience;
use cistern_functions::ports::Refusal;
use std::sync::{Mutex, PoisonError};

/// Remembers who led last, so that only a change is logged.
pub struct Told {
    health: Health,
    leader: Mutex<String>,
}

impl Told {
    /// Tells this handle.
    pub fn to(health: Health) -> Told {
        Told { health, leader: Mutex::default() }
    }
}

impl Audience for Told {
    fn led_by(&self, leader: &str, ours: bool) {
        self.health.led_by(leader, ours);
        // Nothing panics while it holds the lock.
        let mut before = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != leader {
            leader.clone_into(&mut before);
            tracing::info!(leader, ours, "the leader has changed");
        }
    }

    fn refused(&self, refusal: &Refusal) {
        tracing::warn!(reason = %refusal, "the Lease cannot be looked at or written; it is tried again");
    }
}
