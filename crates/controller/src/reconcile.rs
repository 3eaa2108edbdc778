//! Which ActionSets are under way: one task for each, not more at once than allowed.

use crate::leftovers;
use crate::objects::{Held, Objects};
use crate::order::{Order, Shared};
use crate::{Rules, World};
use cistern_functions::ports::{Cluster, Refusal};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{Id, JoinSet};

/// An ActionSet that could not be carried on is looked at again after this.
const PAUSE: Duration = Duration::from_secs(10);

/// Where an ActionSet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Carries out ActionSets. Dropped while it runs, it stops in the middle of whatever it does; another one
/// goes on from there.
pub struct Controller {
    shared: Arc<Shared>,
    seats: Arc<Semaphore>,
    /// By uid: how a task is told that its ActionSet has changed.
    news: HashMap<String, Arc<Notify>>,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Controller {
    /// A controller that has not begun.
    pub fn new(cluster: Arc<dyn Cluster>, rules: Rules, world: World) -> Controller {
        let objects = Objects { cluster, identity: world.identity.clone() };
        let seats = Arc::new(Semaphore::new(rules.under_way_max));
        let shared = Arc::new(Shared { objects, rules, world });
        Controller { shared, seats, news: HashMap::new(), tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Runs until it is dropped. `changed` names ActionSets that have changed, so that they are looked at at
    /// once; all of them are looked at from time to time anyway.
    ///
    /// Only one controller may run for a namespace at a time: a second one takes over what the first holds.
    ///
    /// # Errors
    /// The ActionSets cannot be listed at the start: no permission, or the resource is not defined.
    pub async fn run(mut self, mut changed: mpsc::Receiver<Place>) -> Result<(), Refusal> {
        self.look_at_all().await?;
        self.sweep().await;
        let mut rounds = tokio::time::interval(self.shared.rules.look_every);
        rounds.tick().await;
        loop {
            tokio::select! {
                Some(joined) = self.tasks.join_next_with_id() => {
                    let id = joined.map_or_else(|error| error.id(), |(id, ())| id);
                    if let Some(uid) = self.names.remove(&id) {
                        self.news.remove(&uid);
                    }
                }
                Some(place) = changed.recv() => {
                    let found = self.shared.objects.read(&place.namespace, &place.name).await;
                    // What cannot be read now is looked at in the next round.
                    if let Ok(Some(held)) = found {
                        self.look_at(held);
                    }
                }
                _ = rounds.tick() => {
                    // A round that fails is made up for by the next one.
                    let _ = self.look_at_all().await;
                    self.sweep().await;
                }
            }
        }
    }

    fn watched(&self) -> Vec<String> {
        let watched = &self.shared.rules.watched;
        if watched.is_empty() { vec![String::new()] } else { watched.clone() }
    }

    async fn look_at_all(&mut self) -> Result<(), Refusal> {
        for namespace in self.watched() {
            for held in self.shared.objects.list(&namespace).await? {
                self.look_at(held);
            }
        }
        Ok(())
    }

    async fn sweep(&self) {
        for namespace in self.watched() {
            // What stays is swept in the next round.
            let _ = leftovers::sweep(&self.shared.objects, &namespace).await;
        }
    }

    /// Takes the ActionSet up, or tells the task that carries it out.
    fn look_at(&mut self, held: Held) {
        if !held.needs_work() {
            return;
        }
        if let Some(news) = self.news.get(held.uid()) {
            news.notify_one();
            return;
        }
        let news = Arc::new(Notify::new());
        self.news.insert(held.uid().to_owned(), Arc::clone(&news));
        let uid = held.uid().to_owned();
        let task = carry_out(Arc::clone(&self.shared), Arc::clone(&self.seats), held, news);
        self.names.insert(self.tasks.spawn(task).id(), uid);
    }
}

/// One ActionSet, from when there is a seat to its end.
async fn carry_out(shared: Arc<Shared>, seats: Arc<Semaphore>, held: Held, news: Arc<Notify>) {
    let Ok(_seat) = seats.acquire().await else { return };
    // It may have waited for long.
    let fresh = shared.objects.read(held.namespace(), held.name()).await;
    let Ok(Some(fresh)) = fresh else { return };
    if !fresh.needs_work() || fresh.uid() != held.uid() {
        return;
    }
    if Order::new(Arc::clone(&shared), fresh).carry_out(&news).await.is_err() {
        // Not again at once: the next round takes it up, if it is still ours.
        tokio::time::sleep(PAUSE).await;
    }
}
