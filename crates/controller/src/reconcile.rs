//! Which ActionSets are under way: one task for each, not more at once than allowed; names of the others wait.

use crate::events::{self, Recorded, Recorder};
use crate::metrics::{Metrics, Trouble};
use crate::objects::{Glance, Lost, NOT_ENDED, Objects};
use crate::order::{Left, Order, Shared};
use crate::queue::{Place, Queue};
use crate::wishes::Wishes;
use crate::{Rules, World, finished, leftovers};
use cistern_api::{State, Time};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinSet};

/// An ActionSet that could not be carried on is looked at again after this.
const PAUSE: Duration = Duration::from_secs(10);
/// What has ended, too, is looked at in one round out of so many: it may have to be deleted, or have been ended
/// by another program.
const ROUNDS_PER_FULL_LOOK: u32 = 10;

/// Carries out ActionSets. Dropped while it runs, it stops in the middle of whatever it does; another one
/// goes on from there.
pub struct Controller {
    shared: Arc<Shared>,
    queue: Queue,
    /// How a task is told that its ActionSet has changed.
    news: HashMap<Place, Arc<Notify>>,
    /// Each says whether its ActionSet must be looked at once more.
    tasks: JoinSet<bool>,
    places: HashMap<Id, Place>,
    /// What runs beside: events are written, what is left over is swept away.
    beside: JoinSet<()>,
    sweeping: Option<Id>,
    /// The look at all ActionSets, while it goes on.
    looks: JoinSet<All>,
    recorded: Option<Recorded>,
}

/// All ActionSets at a glance.
#[derive(Default)]
struct All {
    found: Vec<Glance>,
    /// None could not be listed.
    whole: bool,
}

impl Controller {
    /// A controller that has not begun.
    pub fn new(cluster: Arc<dyn Cluster>, rules: Rules, world: World) -> Controller {
        let objects = Objects {
            cluster,
            identity: world.identity.clone(),
            namespaces: rules.namespaces(),
            confined: AtomicBool::new(false),
        };
        let queue = Queue::new(rules.under_way_max, rules.under_way_max_per_namespace);
        let (recorder, recorded) = Recorder::new();
        let metrics = Arc::new(Metrics::new());
        Controller {
            shared: Arc::new(Shared { objects, rules, world, metrics, recorder }),
            queue,
            news: HashMap::new(),
            tasks: JoinSet::new(),
            places: HashMap::new(),
            beside: JoinSet::new(),
            sweeping: None,
            looks: JoinSet::new(),
            recorded: Some(recorded),
        }
    }

    /// The same, counting there instead of for itself.
    #[must_use]
    pub fn counting(mut self, metrics: Arc<Metrics>) -> Controller {
        let shared = Arc::get_mut(&mut self.shared).expect("nothing runs yet that could share it");
        shared.metrics = metrics;
        self
    }

    /// Runs until it is dropped. `changed` names ActionSets that have changed, so that they are looked at at
    /// once; all of them are looked at from time to time anyway.
    ///
    /// Only one controller may run for a namespace at a time: a second one takes over what the first holds.
    ///
    /// # Errors
    /// The ActionSets cannot be listed at the start: no permission, or the resource is not defined.
    pub async fn run(mut self, mut changed: mpsc::Receiver<Place>) -> Result<(), Refusal> {
        if let Some(recorded) = self.recorded.take() {
            self.beside.spawn(events::write_all(Arc::clone(&self.shared.objects.cluster), recorded));
        }
        for namespace in self.watched() {
            let found = ask(|| self.shared.objects.glance(&namespace, NOT_ENDED)).await?;
            self.line_up(found);
        }
        self.look_at_all_beside();
        let mut rounds = tokio::time::interval(self.shared.rules.look_every);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rounds.tick().await;
        let mut round = 0;
        loop {
            self.begin();
            tokio::select! {
                Some(joined) = self.tasks.join_next_with_id() => {
                    let (id, again) = joined.unwrap_or_else(|error| (error.id(), false));
                    if let Some(place) = self.places.remove(&id) {
                        self.news.remove(&place);
                        self.queue.done(&place);
                        if again {
                            self.look_at_one(place).await;
                        }
                    }
                }
                Some(joined) = self.beside.join_next_with_id() => {
                    let id = joined.map_or_else(|error| error.id(), |(id, ())| id);
                    self.sweeping = self.sweeping.filter(|sweeping| *sweeping != id);
                }
                Some(looked) = self.looks.join_next() => self.note_look(looked.unwrap_or_default()),
                Some(place) = changed.recv() => self.look_at_one(place).await,
                _ = rounds.tick() => {
                    round += 1;
                    if round % ROUNDS_PER_FULL_LOOK == 0 {
                        self.look_at_all_beside();
                    } else {
                        self.look_around().await;
                    }
                }
            }
        }
    }

    fn watched(&self) -> Vec<String> {
        let watched = &self.shared.rules.watched;
        if watched.is_empty() { vec![String::new()] } else { watched.clone() }
    }

    /// One round. One that fails is made up for by the next.
    async fn look_around(&mut self) {
        for namespace in self.watched() {
            if let Some(found) = look(&self.shared, &namespace, NOT_ENDED).await {
                self.line_up(found);
            }
        }
        self.sweep(Vec::new());
    }

    /// Begins to look at what has ended, too, unless that is still going on. There may be thousands, and what is to be
    /// done need not wait for them.
    fn look_at_all_beside(&mut self) {
        if !self.looks.is_empty() {
            return;
        }
        let (shared, watched) = (Arc::clone(&self.shared), self.watched());
        self.looks.spawn(async move {
            let mut all = All { found: Vec::new(), whole: true };
            for namespace in watched {
                match look(&shared, &namespace, "").await {
                    Some(found) => all.found.extend(found),
                    None => all.whole = false,
                }
            }
            all
        });
    }

    /// Lines up what is to be done, and deletes those whose time has come.
    fn note_look(&mut self, all: All) {
        let now = (self.shared.world.now)();
        let counted = |state: State| all.found.iter().filter(|glance| glance.state == state).count();
        if all.whole {
            self.shared.metrics.count_ended(counted(State::Complete), counted(State::Failed));
        }
        let default = self.shared.rules.ttl_after_finished;
        let (expired, others): (Vec<_>, Vec<_>) =
            all.found.into_iter().partition(|glance| finished::expired(glance, default, &now));
        self.line_up(others);
        self.sweep(expired);
    }

    /// Those that have begun before all others, then the oldest.
    fn line_up(&mut self, mut found: Vec<Glance>) {
        found.retain(|glance| glance.work);
        found.sort_by(|a, b| (&a.created, &a.place).cmp(&(&b.created, &b.place)));
        let (begun, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|glance| glance.state == State::Running);
        begun.into_iter().rev().for_each(|glance| self.look_at(glance, true));
        new.into_iter().for_each(|glance| self.look_at(glance, false));
    }

    async fn look_at_one(&mut self, place: Place) {
        if let Some(news) = self.news.get(&place) {
            news.notify_one();
            return;
        }
        // What cannot be read now is looked at in the next round.
        if let Ok(Some(glance)) = self.shared.objects.glance_at(&place).await {
            let begun = glance.state == State::Running;
            self.look_at(glance, begun);
        }
    }

    /// Lines the ActionSet up, or tells the task that carries it out.
    fn look_at(&mut self, glance: Glance, first: bool) {
        if let Some(news) = self.news.get(&glance.place) {
            news.notify_one();
            return;
        }
        let now = (self.shared.world.now)();
        if only_ends(&glance, &now) {
            self.queue.push_to_end(glance.place);
        } else if glance.work && !waits_for_a_user(&glance, &now) {
            self.queue.push(glance.place, first);
        }
    }

    /// Begins with those whose turn it is, and ends those that never began.
    fn begin(&mut self) {
        while let Some(place) = self.queue.next_to_end() {
            self.start(place, true);
        }
        while let Some(place) = self.queue.next() {
            self.start(place, false);
        }
        self.shared.metrics.count_states(self.queue.waiting(), self.queue.under_way());
    }

    fn start(&mut self, place: Place, only_to_end: bool) {
        let news = Arc::new(Notify::new());
        self.news.insert(place.clone(), Arc::clone(&news));
        let task = carry_out(Arc::clone(&self.shared), place.clone(), news, only_to_end);
        self.places.insert(self.tasks.spawn(task).id(), place);
    }

    /// Takes away beside what is left over, unless that is still going on.
    fn sweep(&mut self, expired: Vec<Glance>) {
        if self.sweeping.is_some() {
            return;
        }
        let (shared, watched) = (Arc::clone(&self.shared), self.watched());
        let task = async move {
            for namespace in watched {
                let now = (shared.world.now)();
                // What stays is swept in the next round.
                if leftovers::sweep(&shared.objects, &namespace, &now).await.is_err() {
                    shared.metrics.trouble(Trouble::Sweep);
                }
            }
            if finished::delete(&shared.objects, &expired).await.is_err() {
                shared.metrics.trouble(Trouble::Sweep);
            }
        };
        self.sweeping = Some(self.beside.spawn(task).id());
    }
}

/// ActionSets of a namespace, if they can be listed now.
async fn look(shared: &Shared, namespace: &str, selector: &str) -> Option<Vec<Glance>> {
    match shared.objects.glance_with(namespace, selector, |raw| shared.metrics.remember(raw)).await {
        Ok(found) => Some(found),
        Err(refusal) => {
            let said = "the ActionSets cannot be listed; it is tried again";
            tracing::warn!(namespace, reason = %refusal, "{said}");
            shared.metrics.trouble(Trouble::List);
            None
        }
    }
}

/// Whether nothing can be done for the ActionSet until a user says something else.
fn waits_for_a_user(glance: &Glance, now: &Time) -> bool {
    let (wishes, _) = Wishes::of(&glance.annotations);
    glance.held_back && wishes.suspend && !stops(glance, &wishes, now)
}

/// Whether nothing of the ActionSet has begun, nor ever will.
fn only_ends(glance: &Glance, now: &Time) -> bool {
    let (wishes, _) = Wishes::of(&glance.annotations);
    glance.work && !glance.begun() && stops(glance, &wishes, now)
}

/// Whether no further phase of it begins, except deferred ones.
fn stops(glance: &Glance, wishes: &Wishes, now: &Time) -> bool {
    let began = glance.started.parse().map(Time);
    let overdue = match (wishes.timeout, began) {
        (Some(timeout), Ok(began)) => {
            Duration::try_from(now.0.duration_since(began.0)).is_ok_and(|passed| passed >= timeout)
        }
        _ => false,
    };
    wishes.cancel || glance.deleted || overdue
}

/// One ActionSet whose turn it is, or that is `only_to_end`, to its end; whether it must be looked at once more.
async fn carry_out(shared: Arc<Shared>, place: Place, news: Arc<Notify>, only_to_end: bool) -> bool {
    // It may have waited for long.
    let Ok(Some(held)) = shared.objects.read(&place.namespace, &place.name).await else { return false };
    if !held.needs_work() {
        return false;
    }
    // Whoever lifted the cancellation meanwhile has it wait for its turn again.
    if only_to_end && !only_ends(&held.glance(), &(shared.world.now)()) {
        return true;
    }
    let trouble = match Order::new(Arc::clone(&shared), held).carry_out(&news).await {
        Ok(Left::Ended) => return false,
        // What a user said meanwhile may have been told to nobody; or there is another one of that name.
        Ok(Left::HeldBack) | Err(Lost::Gone) => return true,
        Err(lost) => {
            let Place { namespace, name } = &place;
            let said = "the ActionSet cannot be carried on; it is tried again";
            tracing::warn!(namespace, name, reason = %lost, "{said}");
            if matches!(lost, Lost::Taken) { Trouble::Taken } else { Trouble::Refused }
        }
    };
    shared.metrics.trouble(trouble);
    // Not again at once: the next round takes it up, if it is still ours.
    tokio::time::sleep(PAUSE).await;
    false
}
