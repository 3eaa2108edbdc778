//! One ActionSet under way: look, decide, write down, do.
//!
//! # If it crashes here
//! Whoever takes the ActionSet up next finds the calls that were claimed ([`orphans`]) and makes those again
//! that find their own traces. The others fail, and their deferred phase runs.

use crate::changes::{self, Change};
use crate::events::{self, Event, Recorder, Subject};
use crate::metrics::Metrics;
use crate::objects::{Held, Lost, Objects, ended};
use crate::surroundings::Surroundings;
use crate::wishes::{self, Annotations, PhaseWish, Wishes};
use crate::{Rules, World, leftovers};
use cistern_action::machine::{
    Again, Call, CallId, Found, Need, PhaseId, Seen, Step, again, decide, orphans, progressed, wake,
};
use cistern_api::{ActionSetStatus, Blueprint, Object, PhaseProgress, State, Time};
use cistern_functions::outputs::Watch;
use cistern_functions::setting::{Origin, Setting};
use cistern_functions::{ended_by_force, leaves, pod, survives};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Why calls end, and others never begin, when their ActionSet is deleted.
const DELETED: &str = "the ActionSet was deleted";
/// The same when a user cancels it.
const CANCELLED: &str = "the ActionSet was cancelled (annotation cistern.dev/cancel)";
/// An ActionSet under way is looked at this often, should the news of a change get lost.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What phases say of their progress is stored no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// What calls under way have said of their progress since it was stored last.
type Said = Arc<Mutex<BTreeMap<CallId, PhaseProgress>>>;

/// What all ActionSets under way have in common.
pub(crate) struct Shared {
    pub(crate) objects: Objects,
    pub(crate) rules: Rules,
    pub(crate) world: World,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recorder: Recorder,
}

/// How an ActionSet is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It has come to its end.
    Ended,
    /// Nothing of it runs, and a user holds back what comes next.
    HeldBack,
}

/// An ActionSet under way. Dropped, it stops its calls; their pods go on.
pub(crate) struct Order {
    shared: Arc<Shared>,
    held: Held,
    seen: Seen,
    calls: JoinSet<(CallId, Result<Object, String>)>,
    handles: BTreeMap<CallId, AbortHandle>,
    /// Calls under way that leave something behind when they are ended by force.
    leaving: BTreeMap<CallId, Call>,
    /// Its annotations as they were seen last; what is held may be older.
    said: Annotations,
    deleted: bool,
    wishes: Wishes,
    phases: BTreeMap<CallId, PhaseWish>,
    progress: Said,
    /// When progress was stored last.
    progressed: Instant,
    /// When the ActionSet was looked at last.
    looked: Instant,
}

impl Order {
    pub(crate) fn new(shared: Arc<Shared>, held: Held) -> Order {
        let seen = Seen::new(held.action_set.clone(), (shared.world.now)());
        let (said, deleted) = (held.annotations(), held.deleted());
        Order {
            shared,
            held,
            seen,
            calls: JoinSet::new(),
            handles: BTreeMap::new(),
            leaving: BTreeMap::new(),
            said,
            deleted,
            wishes: Wishes::default(),
            phases: BTreeMap::new(),
            progress: Said::default(),
            progressed: Instant::now(),
            looked: Instant::now(),
        }
    }

    /// Carries the ActionSet to its end. `news` says that it has changed.
    pub(crate) async fn carry_out(mut self, news: &Notify) -> Result<Left, Lost> {
        self.heed();
        self.take_up().await?;
        loop {
            self.advance().await?;
            if self.held.action_set.status.as_ref().is_some_and(ended) {
                return Ok(Left::Ended);
            }
            let idle = self.seen.running.is_empty() && wake(&self.seen).is_none();
            if idle && self.seen.conduct.suspended {
                return Ok(Left::HeldBack);
            }
            let pause = self.pause();
            tokio::select! {
                Some(joined) = self.calls.join_next() => self.note_end(joined),
                () = news.notified() => self.look().await?,
                () = sleep_until(self.looked + LOOK_EVERY) => self.look().await?,
                () = sleep_until(self.progressed + PROGRESS_EVERY) => self.progress().await?,
                () = sleep(pause) => self.heed(),
            }
        }
    }

    /// Goes on with the calls that somebody else began. Whoever stores the next status has the ActionSet.
    async fn take_up(&mut self) -> Result<(), Lost> {
        let Some(status) = self.held.action_set.status.clone() else { return Ok(()) };
        if ended(&status) {
            // Ended by somebody's hand, and still kept by us.
            return self.store(&status).await;
        }
        for id in orphans(&self.seen) {
            let stop = self.seen.conduct.stop.clone().filter(|_| id.phase != PhaseId::Deferred);
            match (self.call_again(id).await?, stop) {
                (Ok(call), Some(reason)) if leaves(call.function.name) => self.clear_away(call, reason),
                (_, Some(reason)) => {
                    self.seen.ended.insert(id, Err(reason));
                }
                (Ok(call), None) if survives(call.function.name) => self.begin(call, true),
                // Deciding finds that nobody runs it.
                (Ok(_), None) => {}
                (Err(reason), None) => {
                    let lost = "it was under way when the controller stopped, and cannot be taken up";
                    self.seen.ended.insert(id, Err(format!("{lost}: {reason}")));
                }
            }
        }
        Ok(())
    }

    async fn call_again(&mut self, id: CallId) -> Result<Result<Call, String>, Lost> {
        loop {
            match again(&self.seen, id) {
                Again::Fetch(needs) => self.fetch(needs).await?,
                Again::Call(call) => return Ok(Ok(*call)),
                Again::Refused(reason) => return Ok(Err(reason)),
            }
        }
    }

    /// Goes as far as it goes without waiting for a call.
    async fn advance(&mut self) -> Result<(), Lost> {
        loop {
            self.seen.now = (self.shared.world.now)();
            match decide(&self.seen) {
                None => return Ok(()),
                Some(Step::Fetch(needs)) => self.fetch(needs).await?,
                Some(Step::Record(status)) => self.record(&status).await?,
                Some(Step::Start(call, claimed)) => {
                    self.store(&claimed).await?;
                    // The claim may have come back with a user's wish to stop.
                    let stop = self.seen.conduct.stop.clone();
                    match stop.filter(|_| call.id.phase != PhaseId::Deferred) {
                        Some(reason) => {
                            self.seen.ended.insert(call.id, Err(reason));
                        }
                        None => self.begin(*call, false),
                    }
                }
            }
        }
    }

    async fn fetch(&mut self, needs: Vec<Need>) -> Result<(), Lost> {
        for need in needs {
            let surroundings = Surroundings {
                cluster: &*self.shared.objects.cluster,
                action_set: &self.seen.action_set,
                started: self.held.started(),
                profile_in_commands: self.shared.rules.profile_in_commands,
            };
            let found = surroundings.find(&need).await?;
            self.seen.found.insert(need, found);
        }
        // Blueprints say how their phases are to be carried out.
        self.heed();
        Ok(())
    }

    /// Stores a status, then takes away the pods of the calls that have ended by it.
    async fn record(&mut self, status: &ActionSetStatus) -> Result<(), Lost> {
        // Storing may end other calls, if a user wants it to stop: those are not in this status.
        let ended: Vec<CallId> = self.seen.ended.keys().copied().collect();
        self.store(status).await?;
        for call in ended {
            let failed = self.seen.ended.remove(&call).is_some_and(|outcome| outcome.is_err());
            let keep = self.wishes.keep_failed.filter(|_| failed);
            let until = keep.map(|keep| leftovers::until(&self.seen.now, keep));
            // What stays because of a refusal is swept later.
            let _ = leftovers::remove(&self.shared.objects, self.held.uid(), call, until.as_ref()).await;
        }
        Ok(())
    }

    async fn store(&mut self, status: &ActionSetStatus) -> Result<(), Lost> {
        let before = self.held.action_set.status.clone();
        self.shared.objects.store(&mut self.held, status, &self.seen.now).await?;
        // The order itself stays as it was taken up, whatever a user makes of it meanwhile.
        self.seen.action_set.status.clone_from(&self.held.action_set.status);
        self.tell(&changes::between(before.as_ref(), status), status);
        self.said = self.held.annotations();
        self.deleted = self.held.deleted();
        self.heed();
        Ok(())
    }

    /// Tells what came about in events and numbers.
    fn tell(&self, changes: &[Change], status: &ActionSetStatus) {
        let subject = Subject {
            api_version: cistern_api::resource::API_VERSION,
            kind: "ActionSet",
            namespace: self.held.namespace().to_owned(),
            name: self.held.name().to_owned(),
            uid: self.held.uid().to_owned(),
        };
        let mut told = events::told(&subject, status, changes);
        for change in changes {
            match change {
                Change::PhaseEnded(id) => self.count_phase(*id, status, true),
                Change::PhaseFailed(id) => self.count_phase(*id, status, false),
                Change::PhaseRetried(id) => {
                    self.count_phase(*id, status, false);
                    self.shared.metrics.phase_retried(self.function(*id));
                }
                Change::Complete | Change::Failed => {
                    self.shared.metrics.action_set_ended(status.state, &status.actions, &self.seen.now);
                }
                Change::ActionStarted(_) | Change::PhaseStarted(_) | Change::Suspended => {}
            }
            if *change == Change::Failed {
                told.extend(self.blueprints().map(|blueprint| failure(&subject, blueprint, status)));
            }
        }
        for event in told {
            if !self.shared.recorder.tell(event, &self.seen.now) {
                self.shared.metrics.event_dropped();
            }
        }
    }

    fn blueprints(&self) -> impl Iterator<Item = &Blueprint> {
        self.seen.found.values().filter_map(|found| match found {
            Ok(Found::Blueprint(blueprint)) => Some(&**blueprint),
            _ => None,
        })
    }

    fn blueprint(&self, name: &str) -> Option<&Blueprint> {
        match self.seen.found.get(&Need::Blueprint(name.to_owned())) {
            Some(Ok(Found::Blueprint(blueprint))) => Some(blueprint),
            _ => None,
        }
    }

    /// The function of a phase; nothing if its blueprint is not known.
    fn function(&self, id: CallId) -> &str {
        let spec = self.seen.action_set.spec.as_ref().and_then(|spec| spec.actions.get(id.action));
        let action = spec.and_then(|spec| self.blueprint(&spec.blueprint)?.action(&spec.name));
        let phase = action.and_then(|action| match id.phase {
            PhaseId::Index(i) => action.phases.get(i),
            PhaseId::Deferred => action.defer_phase.as_ref(),
        });
        phase.map_or("", |phase| phase.func.as_str())
    }

    fn count_phase(&self, id: CallId, status: &ActionSetStatus, well: bool) {
        let began = changes::phase(status, id).and_then(|phase| phase.start_time.as_ref());
        // What never began took no time.
        if let Some(began) = began {
            self.shared.metrics.phase_ended(self.function(id), well, passed(began, &self.seen.now));
        }
    }

    /// Takes to heart what users say by annotations, and whether the time is up.
    fn heed(&mut self) {
        self.seen.now = (self.shared.world.now)();
        let (wishes, mut wrong) = Wishes::of(&self.said);
        self.phases.clear();
        let actions = self.seen.action_set.spec.iter().flat_map(|spec| spec.actions.iter().enumerate());
        let mut phases = BTreeMap::new();
        for (index, action) in actions {
            let Some(blueprint) = self.blueprint(&action.blueprint) else { continue };
            let (said, senseless) = wishes::phases(index, action, blueprint, &self.said);
            phases.extend(said);
            wrong.extend(senseless);
        }
        self.phases = phases;
        self.wishes = wishes;
        self.seen.conduct.suspended = self.wishes.suspend;
        self.seen.conduct.attempts = self.phases.iter().map(|(id, wish)| (*id, wish.attempts)).collect();
        let status = self.seen.action_set.status.as_ref();
        let begun = status.is_some_and(|status| status.state != State::Pending);
        let reason = match (self.deleted, self.wishes.cancel, self.time_left()) {
            (true, ..) => DELETED.to_owned(),
            (_, true, _) => CANCELLED.to_owned(),
            (.., Some(Duration::ZERO)) => too_long(self.wishes.timeout.unwrap_or_default()),
            // Once it has begun, what makes no sense is passed over.
            _ if !wrong.is_empty() && !begun => wrong.join("\n"),
            _ => return,
        };
        if self.seen.conduct.stop.is_none() {
            self.stop(&reason);
        }
    }

    /// How much of its time the ActionSet has left, if there is a limit.
    fn time_left(&self) -> Option<Duration> {
        let began: Time = Time(self.held.started().parse().ok()?);
        Some(self.wishes.timeout?.saturating_sub(passed(&began, &self.seen.now)))
    }

    /// Until the clock gives something to do.
    fn pause(&self) -> Duration {
        let wake = wake(&self.seen).map(|time| passed(&self.seen.now, &time));
        let left = self.time_left().filter(|_| self.seen.conduct.stop.is_none());
        let next = wake.into_iter().chain(left).min();
        next.unwrap_or(Duration::MAX).max(Duration::from_millis(1))
    }

    /// How long the attempt at the phase may still take, and how long it might in all.
    fn limit(&self, id: CallId) -> Option<(Duration, Duration)> {
        let limit = self.phases.get(&id)?.timeout?;
        let status = self.seen.action_set.status.as_ref()?;
        let began = changes::phase(status, id)?.start_time.as_ref()?;
        Some((limit.saturating_sub(passed(began, &self.seen.now)), limit))
    }

    fn attempt(&self, id: CallId) -> u32 {
        let status = self.seen.action_set.status.as_ref();
        status.and_then(|status| changes::phase(status, id)).map_or(1, |phase| phase.attempt.max(1))
    }

    /// Where a call's progress goes until it is stored.
    fn watch(&self, id: CallId) -> Watch {
        let said = Arc::clone(&self.progress);
        Watch::new(move |progress| {
            said.lock().unwrap_or_else(PoisonError::into_inner).insert(id, progress);
        })
    }

    /// Stores what calls have said of their progress, if that is anything new.
    async fn progress(&mut self) -> Result<(), Lost> {
        self.progressed = Instant::now();
        let said = std::mem::take(&mut *self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.seen.now = (self.shared.world.now)();
        let status = self.seen.action_set.status.as_ref();
        match status.and_then(|status| progressed(status, &said, &self.seen.now)) {
            Some(status) => self.store(&status).await,
            None => Ok(()),
        }
    }

    fn setting(&self, id: CallId, resumed: bool) -> Setting {
        let rules = &self.shared.rules;
        Setting {
            order: Origin {
                namespace: self.held.namespace().to_owned(),
                name: self.held.name().to_owned(),
                uid: self.held.uid().to_owned(),
                job_id: self.held.label(pod::JOB_ID),
            },
            namespace: rules.namespace.clone(),
            service_account: rules.service_account.clone(),
            mover_image: rules.mover_image.clone(),
            tools_image: rules.tools_image.clone(),
            postgres_image: rules.postgres_image.clone(),
            databases: rules.databases.clone(),
            restricted: rules.restricted,
            resumed,
            attempt: self.attempt(id),
            progress: Some(self.watch(id)),
            limits: rules.limits.clone(),
        }
    }

    fn begin(&mut self, call: Call, resumed: bool) {
        let id = call.id;
        let (setting, limit) = (self.setting(id, resumed), self.limit(id));
        if leaves(call.function.name) {
            self.leaving.insert(id, call.clone());
        }
        let shared = Arc::clone(&self.shared);
        self.under_way(id, async move {
            let outcome = cistern_functions::call(&call, &setting, &*shared.objects.cluster);
            let Some((left, limit)) = limit else { return outcome.await };
            match tokio::time::timeout(left, outcome).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let late = format!("it took longer than {}, its limit", words(limit));
                    Err(ended_by_force(&call, &setting, late).await)
                }
            }
        });
    }

    /// Takes away what a call has left behind that was ended by force; the phase ends when that is done.
    fn clear_away(&mut self, call: Call, reason: String) {
        let setting = self.setting(call.id, true);
        self.under_way(call.id, async move { Err(ended_by_force(&call, &setting, reason).await) });
    }

    fn under_way(&mut self, id: CallId, call: impl Future<Output = Result<Object, String>> + Send + 'static) {
        self.seen.running.insert(id);
        let handle = self.calls.spawn(async move { (id, call.await) });
        self.handles.insert(id, handle);
    }

    fn note_end(&mut self, joined: Result<(CallId, Result<Object, String>), tokio::task::JoinError>) {
        let (id, outcome) = match joined {
            Ok(end) => end,
            Err(error) => {
                let task = error.id();
                let Some(id) = self.handles.iter().find(|(_, h)| h.id() == task).map(|(id, _)| *id) else {
                    return;
                };
                (id, Err("the controller made a mistake while it ran; please report this".to_owned()))
            }
        };
        self.handles.remove(&id);
        self.leaving.remove(&id);
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // A call that was cancelled has its end already.
        if self.seen.running.remove(&id) {
            self.seen.ended.insert(id, outcome);
        }
    }

    /// Looks what users say by now. Whether it is another controller's by now shows when it is stored.
    async fn look(&mut self) -> Result<(), Lost> {
        self.looked = Instant::now();
        let objects = &self.shared.objects;
        let fresh = objects.read(self.held.namespace(), self.held.name()).await?;
        let fresh = fresh.filter(|fresh| fresh.uid() == self.held.uid()).ok_or(Lost::Gone)?;
        self.said = fresh.annotations();
        self.deleted = fresh.deleted();
        self.heed();
        Ok(())
    }

    /// Ends every call except deferred ones; none begins any more.
    fn stop(&mut self, reason: &str) {
        self.seen.conduct.stop = Some(reason.to_owned());
        let running: Vec<CallId> = self.seen.running.iter().copied().collect();
        for id in running.into_iter().filter(|id| id.phase != PhaseId::Deferred) {
            if let Some(handle) = self.handles.remove(&id) {
                handle.abort();
            }
            match self.leaving.remove(&id) {
                Some(call) => self.clear_away(call, reason.to_owned()),
                None => {
                    self.seen.running.remove(&id);
                    self.seen.ended.insert(id, Err(reason.to_owned()));
                }
            }
        }
    }
}

/// A failure, told of the blueprint.
fn failure(subject: &Subject, blueprint: &Blueprint, status: &ActionSetStatus) -> Event {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &blueprint.metadata;
    Event {
        subject: Subject {
            api_version: cistern_api::resource::API_VERSION,
            kind: "Blueprint",
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
        },
        kind: "Warning",
        reason: "ActionSetFailed",
        message: format!("{}: {}", subject.name, status.error.message),
        about: subject.uid.clone(),
    }
}

fn passed(from: &Time, to: &Time) -> Duration {
    Duration::try_from(to.0.duration_since(from.0)).unwrap_or(Duration::ZERO)
}

fn too_long(limit: Duration) -> String {
    format!(
        "the ActionSet took longer than {}, which its annotation {} allows",
        words(limit),
        wishes::TIMEOUT
    )
}

/// `1h 30m`
fn words(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| "for ever".to_owned(), |d| format!("{d:#}"))
}
