//! Managed databases of paper: instances, clusters and snapshots that come about and go by tokio's clock.
//!
//! It refuses as the service does: what is being made cannot be deleted, a cluster with members neither. A [`Fate`]
//! strikes at a write, as in [`PaperCluster`](crate::cluster::PaperCluster).

use crate::cluster::Fate;
use async_trait::async_trait;
use cistern_functions::databases::{
    Access, Account, Database, Databases, Endpoint, Form, Member, Restored, Snapshot,
};
use cistern_functions::ports::{Refusal, Why};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// From the wish for a database until it is available.
const MAKING: Duration = Duration::from_secs(600);
/// From the wish that it goes until it is gone.
const GOING: Duration = Duration::from_secs(300);
/// From the wish for a snapshot until it is available.
const TAKING: Duration = Duration::from_secs(240);

/// The service. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct PaperRds(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    death: Notify,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Kept>,
    clusters: BTreeMap<String, Kept>,
    snapshots: BTreeMap<String, Taken>,
    asked: Vec<String>,
    reached: Vec<Access>,
    requests: usize,
    throttled_each: Option<usize>,
    writes: usize,
    fate: Option<Fate>,
    dead: bool,
    ends_as: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Kept {
    database: Database,
    cluster: String,
    made: Instant,
    going: Option<Instant>,
    ends_as: &'static str,
}

#[derive(Clone, Debug)]
struct Taken {
    snapshot: Snapshot,
    taken: Instant,
    ends_as: &'static str,
}

impl Kept {
    fn status(&self) -> Option<&'static str> {
        match self.going {
            Some(going) if going.elapsed() >= GOING => None,
            Some(_) => Some("deleting"),
            None if self.made.elapsed() < MAKING => Some("creating"),
            None => Some(self.ends_as),
        }
    }
}

impl PaperRds {
    /// A database that has been there for long.
    pub fn add(&self, form: Form, id: &str, database: Database) {
        let kept = Kept {
            database,
            cluster: String::new(),
            made: Instant::now() - MAKING,
            going: None,
            ends_as: "available",
        };
        self.state().of(form).insert(id.to_owned(), kept);
    }

    /// A snapshot that has been there for long.
    pub fn add_snapshot(&self, id: &str, snapshot: Snapshot) {
        let taken = Taken { snapshot, taken: Instant::now() - TAKING, ends_as: "available" };
        self.state().snapshots.insert(id.to_owned(), taken);
    }

    /// An instance becomes a member of a cluster.
    pub fn join(&self, cluster: &str, instance: &str) {
        let mut state = self.state();
        let kept = state.instances.get_mut(instance).expect("it was added");
        cluster.clone_into(&mut kept.cluster);
    }

    /// What was asked for in writing and was carried out, in order: `restore db from s`.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// The accesses by which it was reached.
    pub fn reached(&self) -> Vec<Access> {
        self.state().reached.clone()
    }

    /// Identifiers of what is there and not on its way out: databases, then snapshots.
    pub fn there(&self) -> Vec<String> {
        let state = self.state();
        let databases = state.clusters.iter().chain(&state.instances);
        let databases =
            databases.filter(|(_, kept)| kept.status().is_some_and(|status| status != "deleting"));
        databases.map(|(id, _)| id.clone()).chain(state.snapshots.keys().cloned()).collect()
    }

    /// What is going to happen.
    pub fn decree(&self, fate: Fate) {
        self.state().fate = Some(fate);
    }

    /// Each request of that number, and of its multiples, is refused for now.
    pub fn throttle(&self, each: usize) {
        self.state().throttled_each = Some(each);
    }

    /// What is made or taken from now on ends in this status instead of `available`.
    pub fn ends_as(&self, status: &'static str) {
        self.state().ends_as = Some(status);
    }

    /// Waits for the asker to die.
    pub async fn death(&self) {
        while !self.state().dead {
            self.0.death.notified().await;
        }
    }

    /// Answers again; the fate has been fulfilled. Whether the asker was dead.
    pub fn revive(&self) -> bool {
        let mut state = self.state();
        state.fate = None;
        std::mem::take(&mut state.dead)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of the lock panics")
    }

    async fn live(&self) -> Result<(), Refusal> {
        if self.state().dead {
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        state.requests += 1;
        let throttled = state.throttled_each.is_some_and(|each| state.requests.is_multiple_of(each));
        if throttled { Err(Refusal::new(Why::Busy, "rate exceeded")) } else { Ok(()) }
    }

    /// Carries out a write as fate will have it.
    async fn write(
        &self,
        said: String,
        effect: impl FnOnce(&mut State) -> Result<(), Refusal> + Send,
    ) -> Result<(), Refusal> {
        self.live().await?;
        let answer = {
            let mut state = self.state();
            state.writes += 1;
            let number = state.writes;
            let carried = |state: &mut State| {
                let answer = effect(state);
                if answer.is_ok() {
                    state.asked.push(said);
                }
                answer
            };
            match state.fate {
                Some(Fate::DiesBefore(at)) if at == number => {
                    state.dead = true;
                    None
                }
                Some(Fate::DiesAfter(at)) if at == number => {
                    let _ = carried(&mut state);
                    state.dead = true;
                    None
                }
                Some(Fate::LosesReply(at)) if at == number => {
                    let _ = carried(&mut state);
                    Some(Err(Refusal::new(Why::Busy, "the answer was lost")))
                }
                _ => Some(carried(&mut state)),
            }
        };
        match answer {
            Some(answer) => answer,
            None => {
                self.0.death.notify_waiters();
                std::future::pending().await
            }
        }
    }
}

fn absent() -> Refusal {
    Refusal::new(Why::Absent, "is not there")
}

fn conflict(status: &str) -> Refusal {
    Refusal::new(Why::Conflict, format!("it is {status}"))
}

impl State {
    fn of(&mut self, form: Form) -> &mut BTreeMap<String, Kept> {
        match form {
            Form::Instance => &mut self.instances,
            Form::Cluster => &mut self.clusters,
        }
    }

    fn status(&mut self, form: Form, id: &str) -> Result<&'static str, Refusal> {
        self.of(form).get(id).and_then(Kept::status).ok_or_else(absent)
    }

    fn members(&self, cluster: &str) -> Vec<String> {
        let own =
            self.instances.iter().filter(|(_, kept)| kept.cluster == cluster && kept.status().is_some());
        own.map(|(id, _)| id.clone()).collect()
    }

    fn make(&mut self, form: Form, id: &str, cluster: &str, database: Database) -> Result<(), Refusal> {
        if self.status(form, id).is_ok() {
            return Err(Refusal::new(Why::Exists, "is there"));
        }
        let endpoint = Endpoint { host: format!("{id}.rds"), port: 5432 };
        let kept = Kept {
            database: Database { endpoint: Some(endpoint), ..database },
            cluster: cluster.to_owned(),
            made: Instant::now(),
            going: None,
            ends_as: self.ends_as.unwrap_or("available"),
        };
        self.of(form).insert(id.to_owned(), kept);
        Ok(())
    }
}

impl Databases for PaperRds {
    fn reach(&self, access: &Access) -> Result<Box<dyn Account>, String> {
        self.state().reached.push(access.clone());
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Account for PaperRds {
    async fn database(&self, form: Form, id: &str) -> Result<Database, Refusal> {
        self.live().await?;
        let mut state = self.state();
        let status = state.status(form, id)?.to_owned();
        let members = if form == Form::Cluster { state.members(id) } else { Vec::new() };
        let kept = &state.of(form)[id];
        let endpoint = kept.database.endpoint.clone().filter(|_| status == "available");
        Ok(Database { status, members, endpoint, ..kept.database.clone() })
    }

    async fn snapshot(&self, _: Form, id: &str) -> Result<Snapshot, Refusal> {
        self.live().await?;
        let state = self.state();
        let taken = state.snapshots.get(id).ok_or_else(absent)?;
        let (done, all) = (taken.taken.elapsed().as_secs(), TAKING.as_secs());
        let status = if done < all { "creating" } else { taken.ends_as };
        let percent = i64::try_from(done.min(all) * 100 / all).expect("at most 100");
        Ok(Snapshot { status: status.to_owned(), percent, ..taken.snapshot.clone() })
    }

    async fn create_snapshot(&self, form: Form, database: &str, id: &str) -> Result<(), Refusal> {
        self.write(format!("snapshot {database}"), |state| {
            if state.snapshots.contains_key(id) {
                return Err(Refusal::new(Why::Exists, "is there"));
            }
            match state.status(form, database)? {
                "available" => {}
                status => return Err(conflict(status)),
            }
            let allocated_gib = state.of(form)[database].database.allocated_gib;
            let snapshot = Snapshot { allocated_gib, ..Snapshot::default() };
            let ends_as = state.ends_as.unwrap_or("available");
            state.snapshots.insert(id.to_owned(), Taken { snapshot, taken: Instant::now(), ends_as });
            Ok(())
        })
        .await
    }

    async fn delete_snapshot(&self, _: Form, id: &str) -> Result<(), Refusal> {
        self.write(format!("delete snapshot {id}"), |state| {
            state.snapshots.remove(id).map(drop).ok_or_else(absent)
        })
        .await
    }

    async fn restore(&self, form: Form, wish: &Restored) -> Result<(), Refusal> {
        let groups = wish.security_groups.join(",");
        let said =
            format!("restore {} from {} in {} with {groups}", wish.id, wish.snapshot, wish.subnet_group);
        self.write(said, |state| {
            if !state.snapshots.contains_key(&wish.snapshot) {
                return Err(absent());
            }
            let database = Database {
                security_groups: wish.security_groups.clone(),
                subnet_group: wish.subnet_group.clone(),
                made_by: Some(wish.made_by.clone()),
                ..Database::default()
            };
            state.make(form, &wish.id, "", database)
        })
        .await
    }

    async fn create_member(&self, wish: &Member) -> Result<(), Refusal> {
        self.write(format!("member {} {} of {}", wish.id, wish.class, wish.cluster), |state| {
            match state.status(Form::Cluster, &wish.cluster)? {
                "available" => {}
                status => return Err(conflict(status)),
            }
            let made_by = Some(wish.made_by.clone());
            let database = Database { class: wish.class.clone(), made_by, ..Database::default() };
            state.make(Form::Instance, &wish.id, &wish.cluster, database)
        })
        .await
    }

    async fn delete_database(&self, form: Form, id: &str) -> Result<(), Refusal> {
        self.write(format!("delete {id}"), |state| {
            match state.status(form, id)? {
                status @ ("creating" | "deleting") => return Err(conflict(status)),
                _ if form == Form::Cluster && !state.members(id).is_empty() => {
                    return Err(conflict("not without members"));
                }
                _ => {}
            }
            let kept = state.of(form).get_mut(id).ok_or_else(absent)?;
            kept.going = Some(Instant::now());
            Ok(())
        })
        .await
    }
}
