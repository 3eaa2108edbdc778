//! One ActionSet under way: look, decide, write down, do.
//!
//! # If it crashes here
//! Whoever takes the ActionSet up next finds the calls that were claimed ([`orphans`]) and makes those again
//! that find their own traces. The others fail, and their deferred phase runs.

use crate::leftovers;
use crate::objects::{Held, Lost, Objects, ended};
use crate::surroundings::Surroundings;
use crate::{Rules, World};
use cistern_action::machine::{Again, Call, CallId, Need, PhaseId, Seen, Step, again, decide, orphans};
use cistern_api::{ActionSetStatus, Object, State};
use cistern_functions::setting::{Origin, Setting};
use cistern_functions::{pod, survives};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// Why a call ended that was under way when its ActionSet was deleted.
const CANCELLED: &str = "the ActionSet was deleted while it was under way";
/// An ActionSet under way is looked at this often, should the news of its deletion get lost.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What all ActionSets under way have in common.
pub(crate) struct Shared {
    pub(crate) objects: Objects,
    pub(crate) rules: Rules,
    pub(crate) world: World,
}

/// An ActionSet under way. Dropped, it stops its calls; their pods go on.
pub(crate) struct Order {
    shared: Arc<Shared>,
    held: Held,
    seen: Seen,
    calls: JoinSet<(CallId, Result<Object, String>)>,
    handles: BTreeMap<CallId, AbortHandle>,
    cancelled: bool,
}

impl Order {
    pub(crate) fn new(shared: Arc<Shared>, held: Held) -> Order {
        let seen = Seen::new(held.action_set.clone(), (shared.world.now)());
        let cancelled = held.deleted();
        Order { shared, held, seen, calls: JoinSet::new(), handles: BTreeMap::new(), cancelled }
    }

    /// Carries the ActionSet to its end. `news` says that it has changed.
    pub(crate) async fn carry_out(mut self, news: &Notify) -> Result<(), Lost> {
        self.take_up().await?;
        loop {
            self.advance().await?;
            if self.held.action_set.status.as_ref().is_some_and(ended) {
                return Ok(());
            }
            tokio::select! {
                Some(joined) = self.calls.join_next() => self.note_end(joined),
                () = news.notified() => self.look().await?,
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await?,
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
        if status.state == State::Pending && self.cancelled {
            let mut never = status;
            never.state = State::Failed;
            never.error.message = "the ActionSet was deleted before it began".to_owned();
            return self.store(&never).await;
        }
        for id in orphans(&self.seen) {
            if self.cancelled && id.phase != PhaseId::Deferred {
                self.seen.ended.insert(id, Err(CANCELLED.to_owned()));
                continue;
            }
            match self.call_again(id).await? {
                Ok(call) if survives(call.function.name) => self.begin(call, true),
                // Deciding finds that nobody runs it.
                Ok(_) => {}
                Err(reason) => {
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
                    if self.cancelled && call.id.phase != PhaseId::Deferred {
                        self.seen.ended.insert(call.id, Err(CANCELLED.to_owned()));
                    } else {
                        self.begin(*call, false);
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
            };
            let found = surroundings.find(&need).await?;
            self.seen.found.insert(need, found);
        }
        Ok(())
    }

    /// Stores a status, then takes away the pods of the calls that have ended by it.
    async fn record(&mut self, status: &ActionSetStatus) -> Result<(), Lost> {
        self.store(status).await?;
        let ended: Vec<CallId> = self.seen.ended.keys().copied().collect();
        for call in ended {
            // What stays because of a refusal is swept later.
            let _ = leftovers::remove(&self.shared.objects, self.held.uid(), call).await;
            self.seen.ended.remove(&call);
        }
        Ok(())
    }

    async fn store(&mut self, status: &ActionSetStatus) -> Result<(), Lost> {
        self.shared.objects.store(&mut self.held, status, &self.seen.now).await?;
        // The order itself stays as it was taken up, whatever a user makes of it meanwhile.
        self.seen.action_set.status.clone_from(&self.held.action_set.status);
        if self.held.deleted() {
            self.cancel();
        }
        Ok(())
    }

    fn begin(&mut self, call: Call, resumed: bool) {
        let rules = &self.shared.rules;
        let setting = Setting {
            order: Origin {
                namespace: self.held.namespace().to_owned(),
                name: self.held.name().to_owned(),
                uid: self.held.uid().to_owned(),
                job_id: self.held.label(pod::JOB_ID),
            },
            namespace: rules.namespace.clone(),
            service_account: rules.service_account.clone(),
            restricted: rules.restricted,
            resumed,
            limits: rules.limits.clone(),
        };
        let id = call.id;
        let shared = Arc::clone(&self.shared);
        self.seen.running.insert(id);
        let handle = self.calls.spawn(async move {
            (id, cistern_functions::call(&call, &setting, &*shared.objects.cluster).await)
        });
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
        // A call that was cancelled has its end already.
        if self.seen.running.remove(&id) {
            self.seen.ended.insert(id, outcome);
        }
    }

    /// Looks whether the ActionSet has been deleted. Whether it is another's by now shows when it is stored.
    async fn look(&mut self) -> Result<(), Lost> {
        let objects = &self.shared.objects;
        let fresh = objects.read(self.held.namespace(), self.held.name()).await?;
        let fresh = fresh.filter(|fresh| fresh.uid() == self.held.uid()).ok_or(Lost::Gone)?;
        if fresh.deleted() {
            self.cancel();
        }
        Ok(())
    }

    /// Stops every call except deferred ones.
    fn cancel(&mut self) {
        self.cancelled = true;
        let running: Vec<CallId> = self.seen.running.iter().copied().collect();
        for id in running.into_iter().filter(|id| id.phase != PhaseId::Deferred) {
            if let Some(handle) = self.handles.remove(&id) {
                handle.abort();
            }
            self.seen.running.remove(&id);
            self.seen.ended.insert(id, Err(CANCELLED.to_owned()));
        }
    }
}
