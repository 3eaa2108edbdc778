//! What is reported of a pod: the states of its containers, and what they amount to.

use super::container::Ended;
use serde_json::{Value as Json, json};

/// Kubernetes keeps no more of the termination messages of a pod together, in bytes.
const MESSAGES_BYTES_MAX: usize = 12 << 10;

/// A container as the API shows it.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It does not run yet.
    Waiting {
        /// A word, such as `ImagePullBackOff`.
        reason: &'static str,
        /// In words.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when, as the API writes times.
        since: String,
    },
    /// It ran.
    Over {
        /// When it began.
        since: String,
        /// When it ended.
        until: String,
        /// How.
        ended: Ended,
    },
}

/// A container and how often it was started again.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub name: String,
    pub image: String,
    pub init: bool,
    pub state: State,
    pub restarts: u32,
    /// Whether its end is not the end: it is started again.
    pub again: bool,
}

impl Slot {
    pub(super) fn new(name: &str, image: &str, init: bool) -> Slot {
        let reason = if init { "PodInitializing" } else { "ContainerCreating" };
        Slot {
            name: name.to_owned(),
            image: image.to_owned(),
            init,
            state: State::Waiting { reason, message: String::new() },
            restarts: 0,
            again: false,
        }
    }

    fn code(&self) -> Option<i32> {
        match &self.state {
            State::Over { ended, .. } if !self.again => Some(ended.code),
            _ => None,
        }
    }

    fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// With at most so many bytes of its termination message.
    fn json(&self, message_bytes_max: usize) -> Json {
        let state = match &self.state {
            State::Waiting { reason, message } => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            State::Running { since } => json!({ "running": { "startedAt": since } }),
            State::Over { since, until, ended } => json!({ "terminated": {
                "exitCode": ended.code, "message": cut(&ended.message, message_bytes_max), "startedAt": since, "finishedAt": until,
                "reason": if ended.code == 0 { "Completed" } else { "Error" },
            }}),
        };
        let done = self.init && self.code() == Some(0);
        json!({
            "name": self.name, "image": self.image, "imageID": "", "state": state, "lastState": {},
            "ready": self.runs() || done, "started": self.runs(), "restartCount": self.restarts,
        })
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The phase of a pod with these containers.
pub(super) fn phase(slots: &[Slot]) -> &'static str {
    if slots.iter().any(|slot| slot.init && slot.code().is_some_and(|code| code != 0)) {
        return "Failed";
    }
    let own: Vec<&Slot> = slots.iter().filter(|slot| !slot.init).collect();
    if own.iter().all(|slot| slot.code().is_some()) {
        let failed = own.iter().any(|slot| slot.code() != Some(0));
        return if failed { "Failed" } else { "Succeeded" };
    }
    let begun = |slot: &&Slot| !matches!(slot.state, State::Waiting { .. });
    if own.iter().any(begun) { "Running" } else { "Pending" }
}

/// The status of a pod that began at `since`, as a patch.
pub(super) fn patch(slots: &[Slot], since: &str) -> Json {
    // The messages of a pod share what Kubernetes keeps of them.
    let share = MESSAGES_BYTES_MAX / slots.len().max(1);
    let of = |init: bool| slots.iter().filter(|s| s.init == init).map(|s| s.json(share)).collect::<Vec<_>>();
    let ready = slots.iter().filter(|s| !s.init).all(Slot::runs);
    let initialized = slots.iter().filter(|s| s.init).all(|s| s.code() == Some(0));
    let condition = |kind: &str, holds: bool| json!({ "type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": since });
    json!({ "status": {
        "phase": phase(slots), "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "startTime": since,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", initialized),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "initContainerStatuses": of(true), "containerStatuses": of(false),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(init: bool, code: Option<i32>) -> Slot {
        let mut slot = Slot::new("c", "i", init);
        let time = String::new;
        slot.state = match code {
            Some(code) => {
                State::Over { since: time(), until: time(), ended: Ended { code, message: time() } }
            }
            None => State::Running { since: time() },
        };
        slot
    }

    #[test]
    fn the_phase_follows_from_the_containers() {
        let waiting = Slot::new("c", "i", false);
        for (slots, wanted) in [
            (vec![waiting.clone()], "Pending"),
            (vec![slot(true, None), waiting.clone()], "Pending"),
            (vec![slot(true, Some(1)), waiting], "Failed"),
            (vec![slot(true, Some(0)), slot(false, None)], "Running"),
            (vec![slot(false, Some(0)), slot(false, None)], "Running"),
            (vec![slot(false, Some(0)), slot(false, Some(3))], "Failed"),
            (vec![slot(false, Some(0))], "Succeeded"),
            (vec![Slot { again: true, ..slot(false, Some(1)) }], "Running"),
        ] {
            assert_eq!(phase(&slots), wanted, "{slots:?}");
        }
    }
}
