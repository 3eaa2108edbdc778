//! The controller: looks at ActionSets, decides with `cistern-action`, writes down, and does with
//! `cistern-functions`.
//!
//! | file | subject |
//! |---|---|
//! | `reconcile.rs` | which ActionSets are under way; a task for each, and a bound on how many |
//! | `queue.rs` | whose turn it is |
//! | `order.rs` | one ActionSet, from being taken up to its end |
//! | `wishes.rs` | what users say by annotations about how it is carried out |
//! | `changes.rs` | what has come about between two statuses |
//! | `events.rs`, `metrics.rs` | the same, told to people and to Prometheus |
//! | `objects.rs` | the only writer of ActionSets |
//! | `surroundings.rs` | what an action needs to know of the cluster |
//! | `cluster.rs` | the Kubernetes API behind the port `Cluster` |
//! | `watch.rs` | news of ActionSets |
//! | `leader.rs` | which of several controllers does anything |
//! | `leftovers.rs`, `finished.rs` | pods whose outcome has been recorded, ActionSets that ended long ago |
//! | `schedules.rs`, `rhythm.rs` | BackupSchedules: what is due, and runs of it |
//! | `expiry.rs`, `keep.rs` | runs that are not kept any longer |
//! | `repositories.rs` | Repositories: Jobs that keep them in shape, and how they are |
//! | `access.rs` | what leads to a location or a repository and opens it |
//! | `discover.rs` | which blueprint belongs to which object |
//! | `certificate.rs` | the certificate of the webhook |
//! | `webhook.rs` | which blueprints are let in |
//!
//! # Guarantees
//! * Each phase runs once, or as often as its blueprint allows. It is claimed in the status before it starts;
//!   what it does is found again by names that follow from ActionSet, action, phase and attempt. A controller may
//!   die at any point: the next one goes on with what is there. Only a command in a container that is not ours
//!   (KubeExec) cannot be found again: it fails with a sentence that says so, unless it may run twice.
//! * A deferred phase runs, also when the ActionSet is deleted while it is under way.
//! * No ActionSet stays running for ever: every call and every request has a limit.
//!
//! **What is absent on purpose:** a concrete client, the system's clock and dice ([`World`]), argv, logs.

#![allow(
    clippy::disallowed_methods,
    reason = "json! unwraps what cannot fail; tests/tidy.rs holds this crate to the same words"
)]

pub mod access;
pub mod certificate;
mod changes;
mod cluster;
pub mod discover;
mod events;
mod expiry;
mod finished;
mod keep;
pub mod leader;
mod leftovers;
mod metrics;
mod objects;
mod order;
mod queue;
mod reconcile;
pub mod repositories;
mod rhythm;
pub mod schedules;
mod surroundings;
mod watch;
pub mod webhook;
pub mod wishes;

pub use cluster::{KubeCluster, Proxies, connect};
pub use metrics::Metrics;
pub use queue::Place;
pub use reconcile::Controller;
pub use watch::watch;

use cistern_api::Time;
use cistern_functions::databases::Databases;
use cistern_functions::setting::{Limits, POSTGRES_IMAGE, TOOLS_IMAGE};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What comes from outside and differs with every start.
#[derive(Clone)]
pub struct World {
    /// Tells this controller from every other one, also from itself before a restart.
    pub identity: String,
    /// The present moment.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
}

/// How the controller is set up.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Its own namespace, where pods go for which a blueprint names none.
    pub namespace: String,
    /// The service account of such pods.
    pub service_account: Option<String>,
    /// An image with this program, from which pods get our `kando`; without one they have what their images
    /// have.
    pub mover_image: Option<String>,
    /// The image of functions that move data where a blueprint names none.
    pub tools_image: String,
    /// The image of functions that dump databases of RDS.
    pub postgres_image: String,
    /// The way to managed databases; without one, functions over them fail.
    pub databases: Option<Arc<dyn Databases>>,
    /// Whether `toJson .Profile` yields the profile itself, credential included, in every blueprint; Kanister's
    /// own `kando` knows nothing else.
    pub profile_in_commands: bool,
    /// Whether pods keep to Kubernetes' restricted profile unless an override says otherwise.
    pub restricted: bool,
    /// The namespaces whose ActionSets it carries out; none is all.
    pub watched: Vec<String>,
    /// More namespaces in which functions act. Only a controller that may not list the pods of all namespaces
    /// needs to be told.
    pub applications: Vec<String>,
    /// As many ActionSets are under way at the same time; more wait.
    pub under_way_max: usize,
    /// And as many of one namespace.
    pub under_way_max_per_namespace: usize,
    /// How long after its end an ActionSet is deleted that says nothing itself; without it, never.
    pub ttl_after_finished: Option<Duration>,
    /// All ActionSets are looked at this often, whatever a watch reports.
    pub look_every: Duration,
    /// How long calls may take.
    pub limits: Limits,
}

impl Rules {
    /// The defaults of a controller in this namespace, which watches that one.
    pub fn within(namespace: &str) -> Rules {
        Rules {
            namespace: namespace.to_owned(),
            service_account: None,
            mover_image: None,
            tools_image: TOOLS_IMAGE.to_owned(),
            postgres_image: POSTGRES_IMAGE.to_owned(),
            databases: None,
            profile_in_commands: false,
            restricted: true,
            watched: vec![namespace.to_owned()],
            applications: Vec::new(),
            under_way_max: 50,
            under_way_max_per_namespace: 50,
            ttl_after_finished: None,
            look_every: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }

    /// The namespaces in which it works, as far as it knows them.
    fn namespaces(&self) -> BTreeSet<String> {
        let home = std::iter::once(&self.namespace);
        home.chain(&self.watched).chain(&self.applications).cloned().collect()
    }
}
