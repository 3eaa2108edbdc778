//! On whose behalf a function is called, by which house rules, and within which limits.

use crate::databases::Databases;
use crate::outputs::Watch;
use cistern_action::machine::{CallId, PhaseId};
use std::sync::Arc;
use std::time::Duration;

/// What a call is given besides its arguments.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The ActionSet the call belongs to.
    pub order: Origin,
    /// Where pods go for which a blueprint names no namespace: the controller's own.
    pub namespace: String,
    /// The service account of such pods; others get their namespace's default.
    pub service_account: Option<String>,
    /// An image with this program, from which pods get our `kando`; without one they have what their images
    /// have.
    pub mover_image: Option<String>,
    /// The image of functions that move data where a blueprint names none: it needs `tar`.
    pub tools_image: String,
    /// The image of functions that dump databases of RDS: it needs `bash`, `tar` and PostgreSQL's tools.
    pub postgres_image: String,
    /// The way to managed databases; without one, functions over them fail.
    pub databases: Option<Arc<dyn Databases>>,
    /// Whether pods keep to Kubernetes' restricted profile unless an override says otherwise.
    pub restricted: bool,
    /// The call was begun by somebody who has stopped since. What that one did must be found, not repeated.
    pub resumed: bool,
    /// Takes what the phase says of its progress.
    pub progress: Option<Watch>,
    /// Which attempt at the phase this is, from 1.
    pub attempt: u32,
    /// How long things may take.
    pub limits: Limits,
}

/// The tools image of Kanister's own functions at the release whose behaviour is followed.
pub const TOOLS_IMAGE: &str = "ghcr.io/kanisterio/kanister-tools:0.119.0";

/// The image of Kanister's own functions over dumps of RDS, at the same release.
pub const POSTGRES_IMAGE: &str = "ghcr.io/kanisterio/postgres-kanister-tools:0.119.0";

/// The ActionSet a call belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Namespace of the ActionSet.
    pub namespace: String,
    /// Name of the ActionSet.
    pub name: String,
    /// Its `metadata.uid`: names of pods are made of it.
    pub uid: String,
    /// Its label [`crate::pod::JOB_ID`], handed on to its pods.
    pub job_id: Option<String>,
}

/// How long things may take, and how much may be kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A whole call; a dump of a large database takes many hours.
    pub call: Duration,
    /// From the pod's creation until its containers run. Kanister's own limit.
    pub pod_start: Duration,
    /// How long a pod may be seen unable to start, for a reason that sometimes passes (an image that is not
    /// there, a Secret that is missing), before the call fails.
    pub pod_stuck: Duration,
    /// A workload that was scaled must be ready within.
    pub scale: Duration,
    /// An object that was deleted must be gone within.
    pub gone: Duration,
    /// What a call has left behind that was ended by force must be taken away within; a database that is being made
    /// can be deleted only then.
    pub undo: Duration,
    /// Between two looks at the same object.
    pub look_every: Duration,
    /// How long a log or an output may go on after its container has ended.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        const MINUTE: Duration = Duration::from_secs(60);
        Limits {
            call: 24 * 60 * MINUTE,
            pod_start: 15 * MINUTE,
            pod_stuck: Duration::from_secs(20),
            scale: 30 * MINUTE,
            gone: 15 * MINUTE,
            undo: 90 * MINUTE,
            look_every: Duration::from_secs(5),
            drain: Duration::from_secs(10),
        }
    }
}

impl Setting {
    /// The name by which a call's traces are found again: the same for every controller that makes the call,
    /// and for no other call.
    pub fn trace(&self, call: CallId) -> String {
        format!("{}-{}-{}", self.order.uid, call.action, phase_mark(call.phase))
    }

    /// The same for this attempt alone: each attempt has a pod of its own. What is to be found again by a later
    /// attempt, such as a count before scaling, goes by [`Setting::trace`].
    pub fn attempt_trace(&self, call: CallId) -> String {
        let trace = self.trace(call);
        if self.attempt <= 1 { trace } else { format!("{trace}-r{}", self.attempt) }
    }
}

/// A phase as it stands in names and labels: its place, or `d` for the deferred one.
pub fn phase_mark(phase: PhaseId) -> String {
    match phase {
        PhaseId::Index(i) => i.to_string(),
        PhaseId::Deferred => "d".to_owned(),
    }
}
