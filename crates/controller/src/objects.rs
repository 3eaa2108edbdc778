//! ActionSets as they are stored. Nobody else writes one.
//!
//! # Guarantees
//! * A write takes effect only if nobody else has written a status since the ActionSet was read: of two
//!   controllers with the same ActionSet one goes on, the other learns that it is [`Lost`].
//! * What users change meanwhile (labels, annotations, a deletion) is kept and does not stop a write.
//! * A write whose answer was lost is not taken for somebody else's; it is made again.
//! * What has ended has a label that says so: those who look for work need not read it again.

use crate::queue::Place;
use crate::wishes::Annotations;
use cistern_api::{ActionSet, ActionSetStatus, Phase, State, Time};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Age, Cluster, Refusal, Why};
use cistern_functions::reference::of_kind;
use kube::api::DynamicObject;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Annotation: the controller that wrote the status last.
const HELD_BY: &str = "cistern.dev/held-by";
/// Annotation: when the ActionSet was taken up first; `.Time` of its templates.
const STARTED: &str = "cistern.dev/started";
/// Keeps an ActionSet that is deleted while under way until its deferred phases have run.
const FINALIZER: &str = "cistern.dev/under-way";
/// Label of what has ended: `complete` or `failed`.
const ENDED: &str = "cistern.dev/state";
/// Selects what has not ended, as far as labels tell.
pub(crate) const NOT_ENDED: &str = "!cistern.dev/state";
/// How often users may get in between with a change of their own.
const TRIES: usize = 20;

/// The ActionSet is no longer ours to carry out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// It has been deleted.
    #[error("the ActionSet is gone")]
    Gone,
    /// Another controller has written its status.
    #[error("another controller carries out the ActionSet")]
    Taken,
    /// The cluster does not let us.
    #[error("cannot store the ActionSet: {0}")]
    Refused(#[from] Refusal),
}

/// An ActionSet as it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    raw: Json,
    /// The same, typed.
    pub(crate) action_set: ActionSet,
}

impl Held {
    fn of(raw: Json) -> Result<Held, Refusal> {
        let action_set = serde_json::from_value(raw.clone())
            .map_err(|e| Refusal::new(Why::Invalid, format!("the ActionSet cannot be read: {e}")))?;
        Ok(Held { raw, action_set })
    }

    fn meta(&self, field: &str) -> &str {
        self.raw["metadata"][field].as_str().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    pub(crate) fn name(&self) -> &str {
        self.meta("name")
    }

    pub(crate) fn uid(&self) -> &str {
        self.meta("uid")
    }

    /// A label of the ActionSet.
    pub(crate) fn label(&self, name: &str) -> Option<String> {
        self.raw["metadata"]["labels"][name].as_str().map(str::to_owned)
    }

    /// Its annotations, as they were read.
    pub(crate) fn annotations(&self) -> Annotations {
        self.action_set.metadata.annotations.clone().unwrap_or_default()
    }

    /// A user has asked for its deletion.
    pub(crate) fn deleted(&self) -> bool {
        !self.raw["metadata"]["deletionTimestamp"].is_null()
    }

    /// When it was taken up first.
    pub(crate) fn started(&self) -> &str {
        self.raw["metadata"]["annotations"][STARTED].as_str().unwrap_or_default()
    }

    /// The same at a glance.
    pub(crate) fn glance(&self) -> Glance {
        Glance::of(&self.raw)
    }

    /// The controller that wrote its status last.
    fn holder(&self) -> &str {
        self.raw["metadata"]["annotations"][HELD_BY].as_str().unwrap_or_default()
    }

    fn keeps(&self) -> bool {
        finalizers(&self.raw).iter().any(|f| f == FINALIZER)
    }

    /// Whether there is, or may be, anything left to do.
    pub(crate) fn needs_work(&self) -> bool {
        let ended = self.action_set.status.as_ref().is_some_and(ended);
        // Without our finalizer a deletion needs nobody: nothing has begun.
        self.keeps() || (!ended && !self.deleted())
    }
}

/// An ActionSet at a glance: what one needs to know of thousands of them.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    pub(crate) place: Place,
    pub(crate) uid: String,
    /// When it was made, as text.
    pub(crate) created: String,
    pub(crate) state: State,
    /// There is, or may be, something left to do.
    pub(crate) work: bool,
    pub(crate) deleted: bool,
    pub(crate) annotations: Annotations,
    /// When it was taken up, as text.
    pub(crate) started: String,
    /// When it came to its end, as text.
    pub(crate) ended: String,
    /// Nothing of it runs, and a user holds back what comes next.
    pub(crate) held_back: bool,
}

impl Glance {
    pub(crate) fn of(raw: &Json) -> Glance {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let (meta, status) = (&raw["metadata"], &raw["status"]);
        let state = serde_json::from_value(status["state"].clone()).unwrap_or_default();
        let ended = matches!(state, State::Complete | State::Failed);
        let deleted = !meta["deletionTimestamp"].is_null();
        let keeps = finalizers(raw).iter().any(|f| f == FINALIZER);
        let annotations = meta["annotations"].as_object().into_iter().flatten();
        Glance {
            place: Place { namespace: text(&meta["namespace"]), name: text(&meta["name"]) },
            uid: text(&meta["uid"]),
            created: text(&meta["creationTimestamp"]),
            state,
            work: keeps || (!ended && !deleted),
            deleted,
            annotations: annotations.map(|(key, value)| (key.clone(), text(value))).collect(),
            started: text(&meta["annotations"][STARTED]),
            ended: text(&status["completionTime"]),
            held_back: held_back(status),
        }
    }

    /// A phase of it has begun, or it has come to its end.
    pub(crate) fn begun(&self) -> bool {
        !matches!(self.state, State::Unset | State::Pending)
    }
}

/// Whether the status says that it is suspended, and nothing runs that somebody would have to take up.
fn held_back(status: &Json) -> bool {
    let list = |value: &'_ Json| value.as_array().cloned().unwrap_or_default();
    let told = list(&status["conditions"]).iter().any(|condition| condition["reason"] == "Suspended");
    told && list(&status["actions"]).iter().all(|action| {
        let phases = list(&action["phases"]);
        let states = phases.iter().map(|phase| &phase["state"]).chain([&action["deferPhase"]["state"]]);
        states.into_iter().all(|state| *state != "running" && *state != "failed")
    })
}

/// Whether a controller has anything to do for the ActionSet: what a watch reports of one that has ended need
/// not be handed on.
pub(crate) fn needs_work(object: &DynamicObject) -> bool {
    let ended = matches!(object.data["status"]["state"].as_str(), Some("complete" | "failed"));
    let meta = &object.metadata;
    let keeps = meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    keeps || (!ended && meta.deletion_timestamp.is_none())
}

/// Whether the status is final.
pub(crate) fn ended(status: &ActionSetStatus) -> bool {
    matches!(status.state, State::Complete | State::Failed)
}

fn finalizers(raw: &Json) -> Vec<Json> {
    raw["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

/// The ActionSets of the cluster.
pub(crate) struct Objects {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) identity: String,
    /// Where the controller works, should it not be allowed to look everywhere.
    pub(crate) namespaces: BTreeSet<String>,
    /// The cluster has said that it is not allowed to.
    pub(crate) confined: AtomicBool,
}

impl Objects {
    /// ActionSets of a namespace with these labels, at a glance; of all namespaces if it is empty. Asked once.
    ///
    /// What has not ended may be as it was a moment ago: a watch tells what is newer, and who carries an ActionSet out
    /// reads it first. All of them come page by page, because they may be many.
    pub(crate) async fn glance(&self, namespace: &str, selector: &str) -> Result<Vec<Glance>, Refusal> {
        self.glance_with(namespace, selector, |_| ()).await
    }

    /// The same, showing each of them as it is as well.
    pub(crate) async fn glance_with(
        &self,
        namespace: &str,
        selector: &str,
        show: impl Fn(&Json) + Send + Sync,
    ) -> Result<Vec<Glance>, Refusal> {
        let mut found = BTreeMap::new();
        let mut page = |objects: Vec<Json>| {
            objects.iter().for_each(&show);
            let glances = objects.iter().map(Glance::of);
            found.extend(glances.map(|glance| (glance.place.clone(), glance)));
        };
        let of = of_kind("actionset", namespace, "");
        let age = if selector == NOT_ENDED { Age::Remembered } else { Age::Now };
        self.cluster.list_in_pages(&of, selector, age, &mut page).await?;
        Ok(found.into_values().collect())
    }

    /// One of them, if it is there. Asked once.
    pub(crate) async fn glance_at(&self, place: &Place) -> Result<Option<Glance>, Refusal> {
        match self.cluster.get(&of_kind("actionset", &place.namespace, &place.name)).await {
            Ok(raw) => Ok(Some(Glance::of(&raw))),
            Err(refusal) if refusal.why == Why::Absent => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// ActionSets of a namespace that have not ended, as far as labels tell; of all namespaces if it is empty.
    /// What cannot be read is left out: one such object must not stop all others.
    pub(crate) async fn list(&self, namespace: &str) -> Result<Vec<Held>, Refusal> {
        let of = of_kind("actionset", namespace, "");
        let found = ask(|| self.cluster.list(&of, NOT_ENDED)).await?;
        Ok(found.into_iter().filter_map(|raw| Held::of(raw).ok()).collect())
    }

    /// One ActionSet, if it is there.
    pub(crate) async fn read(&self, namespace: &str, name: &str) -> Result<Option<Held>, Refusal> {
        let at = of_kind("actionset", namespace, name);
        match ask(|| self.cluster.get(&at)).await {
            Ok(raw) => Held::of(raw).map(Some),
            Err(refusal) if refusal.why == Why::Absent => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Stores a status, and with it who holds the ActionSet. A final one lets go of it.
    pub(crate) async fn store(
        &self,
        held: &mut Held,
        status: &ActionSetStatus,
        now: &Time,
    ) -> Result<(), Lost> {
        let at = of_kind("actionset", held.namespace(), held.name());
        for _ in 0..TRIES {
            let next = self.next(held, status, now);
            match ask(|| self.cluster.replace(&at, &next)).await {
                Ok(raw) => {
                    *held = Held::of(raw)?;
                    return keeps_attempts(held, status).map_err(Lost::from);
                }
                Err(refusal) if refusal.why == Why::Absent => return Err(Lost::Gone),
                Err(refusal) if refusal.why == Why::Conflict => {}
                Err(refusal) => return Err(refusal.into()),
            }
            let fresh = self.read(held.namespace(), held.name()).await?;
            let fresh = fresh.filter(|fresh| fresh.uid() == held.uid()).ok_or(Lost::Gone)?;
            // As it is stored: times lose their fractions on the way.
            let stored = serde_json::from_value(next["status"].clone()).ok();
            let landed = fresh.holder() == self.identity && fresh.action_set.status == stored;
            let untouched =
                fresh.holder() == held.holder() && fresh.action_set.status == held.action_set.status;
            if !landed && !untouched {
                return Err(Lost::Taken);
            }
            *held = fresh;
        }
        Err(Refusal::new(Why::Conflict, format!("it was changed {TRIES} times meanwhile")).into())
    }

    /// The object as read, so that nothing of it gets lost that we do not know, with what we have to say.
    fn next(&self, held: &Held, status: &ActionSetStatus, now: &Time) -> Json {
        let mut next = held.raw.clone();
        next["status"] = serde_json::to_value(status).expect("a status is always JSON");
        let meta = &mut next["metadata"];
        if !meta["annotations"].is_object() {
            meta["annotations"] = json!({});
        }
        meta["annotations"][HELD_BY] = self.identity.clone().into();
        if held.started().is_empty() {
            meta["annotations"][STARTED] = now.0.to_string().into();
        }
        if ended(status) {
            if !meta["labels"].is_object() {
                meta["labels"] = json!({});
            }
            meta["labels"][ENDED] = status.state.as_str().into();
        } else if let Some(labels) = meta["labels"].as_object_mut() {
            // Somebody has taken away a status to have it carried out once more.
            labels.remove(ENDED);
        }
        let mut kept = finalizers(&held.raw);
        kept.retain(|f| f != FINALIZER);
        // Kubernetes takes no new finalizer on what is being deleted; ours is there then.
        if !ended(status) && (held.keeps() || !held.deleted()) {
            kept.push(FINALIZER.into());
        }
        next["metadata"]["finalizers"] = kept.into();
        next
    }
}

/// Without the number of its attempt a phase would be tried for ever.
fn keeps_attempts(held: &Held, wrote: &ActionSetStatus) -> Result<(), Refusal> {
    let attempts = |status: &ActionSetStatus| -> Vec<u32> {
        let phases = |action: &'_ cistern_api::ActionStatus| {
            let all = action.phases.iter().chain([&action.defer_phase]);
            all.map(|phase: &Phase| phase.attempt.max(1)).collect::<Vec<_>>()
        };
        status.actions.iter().flat_map(phases).collect()
    };
    if held.action_set.status.as_ref().map(attempts) == Some(attempts(wrote)) {
        return Ok(());
    }
    Err(Refusal::new(
        Why::Invalid,
        "the cluster does not keep all of the status: its definition of ActionSets is not the one that comes with \
         this controller; apply that (deploy/crds)",
    ))
}
