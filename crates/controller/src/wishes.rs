//! What users say by annotations about how an ActionSet is carried out: `docs/actionsets.md`.
//!
//! Those of an ActionSet stand on the ActionSet. Those of a phase stand on its blueprint as
//! `cistern.dev/timeout.<action>.<phase>`, and an ActionSet may say something else under the same name.

use cistern_action::machine::{Attempts, CallId, PhaseId};
use cistern_api::{ActionSpec, Blueprint, BlueprintPhase};
use std::collections::BTreeMap;
use std::time::Duration;

/// Stops the ActionSet: what runs is ended, deferred phases run, and it fails.
pub const CANCEL: &str = "cistern.dev/cancel";
/// No phase begins as long as it says `true`.
pub const SUSPEND: &str = "cistern.dev/suspend";
/// How long an ActionSet may take from when it was taken up, as `90s`, `5m` or `1h30m`; with
/// `.<action>.<phase>`, how long an attempt at this phase may.
pub const TIMEOUT: &str = "cistern.dev/timeout";
/// With `.<action>.<phase>`: how often the phase is tried again after it failed.
pub const RETRIES: &str = "cistern.dev/retries";
/// With `.<action>.<phase>`, on the blueprint: the phase may run twice.
pub const IDEMPOTENT: &str = "cistern.dev/idempotent";
/// Seconds after its end at which the ActionSet is deleted.
pub const TTL: &str = "cistern.dev/ttl-seconds-after-finished";
/// How long pods are kept that failed, as `1h`.
pub const KEEP_FAILED_PODS: &str = "cistern.dev/keep-failed-pods";
/// The name a deferred phase has in annotations.
const DEFERRED: &str = "deferPhase";
/// So often a phase may be tried again.
const RETRIES_MAX: u32 = 10;

/// The annotations of an object.
pub(crate) type Annotations = BTreeMap<String, String>;

/// What the annotations of an ActionSet say of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) cancel: bool,
    pub(crate) suspend: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) keep_failed: Option<Duration>,
}

/// What annotations say of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PhaseWish {
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempts: Attempts,
}

impl Wishes {
    /// Reads them; also everything that cannot be read, as sentences.
    pub(crate) fn of(annotations: &Annotations) -> (Wishes, Vec<String>) {
        let mut wrong = Vec::new();
        let mut read = |key: &str, parse: fn(&str) -> Result<Duration, String>| {
            let text = annotations.get(key)?;
            parse(text).map_err(|reason| wrong.push(format!("annotation {key}: {reason}"))).ok()
        };
        let wishes = Wishes {
            // Whoever sets it to anything wants it to stop.
            cancel: annotations.get(CANCEL).is_some_and(|text| text != "false"),
            suspend: annotations.get(SUSPEND).is_some_and(|text| text == "true"),
            timeout: read(TIMEOUT, duration),
            ttl: read(TTL, seconds),
            keep_failed: read(KEEP_FAILED_PODS, duration),
        };
        (wishes, wrong)
    }
}

/// What is said of the phases of an action, by place; also everything that makes no sense.
pub(crate) fn phases(
    index: usize,
    action: &ActionSpec,
    blueprint: &Blueprint,
    on_action_set: &Annotations,
) -> (BTreeMap<CallId, PhaseWish>, Vec<String>) {
    let (mut wishes, mut wrong) = (BTreeMap::new(), Vec::new());
    let none = Annotations::new();
    let on_blueprint = blueprint.metadata.annotations.as_ref().unwrap_or(&none);
    let Some(found) = blueprint.action(&action.name) else { return (wishes, wrong) };
    let numbered = found.phases.iter().enumerate().map(|(i, phase)| (PhaseId::Index(i), phase));
    let deferred = found.defer_phase.iter().map(|phase| (PhaseId::Deferred, phase));
    for (id, phase) in numbered.chain(deferred) {
        let name = if id == PhaseId::Deferred { DEFERRED } else { &phase.name };
        let scope = Scope { place: format!("{}.{name}", action.name), on_blueprint, on_action_set };
        match scope.wish(phase) {
            Ok(wish) if wish != PhaseWish::default() => {
                wishes.insert(CallId { action: index, phase: id }, wish);
            }
            Ok(_) => {}
            Err(reason) => wrong.push(reason),
        }
    }
    let known = |place: &str| known(blueprint, place);
    wrong.extend(
        unknown(on_blueprint, known)
            .map(|key| format!("annotation {key} of blueprint {:?} names no phase of it", action.blueprint)),
    );
    (wishes, wrong)
}

/// Annotations that are meant for a phase that is not there: a limit that would never hold.
fn unknown<'a>(
    annotations: &'a Annotations,
    known: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = &'a String> + 'a {
    annotations.keys().filter(move |key| {
        let place = [TIMEOUT, RETRIES, IDEMPOTENT].iter().find_map(|kind| key.strip_prefix(kind));
        place.is_some_and(|place| place.strip_prefix('.').is_none_or(|place| !known(place)))
    })
}

fn known(blueprint: &Blueprint, place: &str) -> bool {
    blueprint.actions.iter().filter_map(|(name, action)| Some((name, action.as_ref()?))).any(
        |(name, action)| {
            let phase = place.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.'));
            let deferred = phase == Some(DEFERRED) && action.defer_phase.is_some();
            deferred || action.phases.iter().any(|p| phase == Some(p.name.as_str()))
        },
    )
}

/// Where things are said of one phase.
struct Scope<'a> {
    /// Action and phase, as they stand in the names of annotations.
    place: String,
    on_blueprint: &'a Annotations,
    on_action_set: &'a Annotations,
}

impl Scope<'_> {
    fn wish(&self, phase: &BlueprintPhase) -> Result<PhaseWish, String> {
        let key = |kind: &str| format!("{kind}.{}", self.place);
        let said = |key: &str| self.on_action_set.get(key).or_else(|| self.on_blueprint.get(key));
        let about = |key: &str, reason: String| format!("annotation {key}: {reason}");
        let (timeout, retries) = (key(TIMEOUT), key(RETRIES));
        let wish = PhaseWish {
            timeout: said(&timeout).map(|text| duration(text)).transpose().map_err(|e| about(&timeout, e))?,
            attempts: Attempts {
                retries: said(&retries).map_or(Ok(0), |text| count(text)).map_err(|e| about(&retries, e))?,
                // Only who wrote the phase can know.
                idempotent: self.on_blueprint.get(&key(IDEMPOTENT)).is_some_and(|text| text == "true"),
            },
        };
        let survives = cistern_functions::survives(&phase.func);
        if wish.attempts.retries > 0 && !wish.attempts.idempotent && !survives {
            let idempotent = key(IDEMPOTENT);
            return Err(about(
                &retries,
                format!(
                    "a {} may have done part of its work before it failed; if it may run twice, say so on the \
                     blueprint: {idempotent}: \"true\"",
                    phase.func
                ),
            ));
        }
        Ok(wish)
    }
}

/// `90s`, `5m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 90s, 5m or 1h30m");
    let parsed: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = |_| format!("{text:?} is no whole number of seconds");
    text.trim().parse::<u32>().map(|secs| Duration::from_secs(secs.into())).map_err(wrong)
}

fn count(text: &str) -> Result<u32, String> {
    let count = text.trim().parse().ok().filter(|count| *count <= RETRIES_MAX);
    count.ok_or_else(|| format!("{text:?} is no whole number from 0 to {RETRIES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn on_blueprint(pairs: &[(&str, &str)]) -> Result<BTreeMap<CallId, PhaseWish>, Vec<String>> {
        both(pairs, &[])
    }

    fn both(
        blueprint: &[(&str, &str)],
        set: &[(&str, &str)],
    ) -> Result<BTreeMap<CallId, PhaseWish>, Vec<String>> {
        let blueprint: Blueprint = serde_json::from_value(json!({
            "metadata": { "name": "bp", "annotations": annotations(blueprint) },
            "actions": { "backup": {
                "phases": [{ "name": "dump", "func": "KubeTask" }, { "name": "a.b", "func": "KubeExec" }],
                "deferPhase": { "func": "KubeTask" },
            } },
        }))
        .unwrap();
        let action = ActionSpec { name: "backup".to_owned(), ..ActionSpec::default() };
        let (wishes, wrong) = phases(0, &action, &blueprint, &annotations(set));
        if wrong.is_empty() { Ok(wishes) } else { Err(wrong) }
    }

    #[test]
    fn an_action_set_says_how_it_wants_to_be_carried_out() {
        let said = annotations(&[(CANCEL, ""), (SUSPEND, "true"), (TIMEOUT, "1h30m"), (TTL, "60")]);
        let (wishes, wrong) = Wishes::of(&said);
        assert_eq!(wrong, Vec::<String>::new());
        assert!(wishes.cancel && wishes.suspend);
        assert_eq!(wishes.timeout, Some(Duration::from_secs(5400)));
        assert_eq!(wishes.ttl, Some(Duration::from_secs(60)));
        let (wishes, wrong) = Wishes::of(&annotations(&[(CANCEL, "false"), (TIMEOUT, "soon"), (TTL, "-1")]));
        assert!(!wishes.cancel);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("\"soon\" is no duration such as 90s"), "{wrong:?}");
    }

    #[test]
    fn a_blueprint_says_what_goes_for_its_phases_and_an_action_set_overrules_it() {
        let dump = CallId { action: 0, phase: PhaseId::Index(0) };
        let tidy = CallId { action: 0, phase: PhaseId::Deferred };
        let said = [
            ("cistern.dev/timeout.backup.dump", "2h"),
            ("cistern.dev/retries.backup.dump", "3"),
            ("cistern.dev/timeout.backup.deferPhase", "5m"),
        ];
        let wishes = on_blueprint(&said).unwrap();
        assert_eq!(wishes[&dump].timeout, Some(Duration::from_secs(7200)));
        assert_eq!(wishes[&dump].attempts, Attempts { retries: 3, idempotent: false });
        assert_eq!(wishes[&tidy].timeout, Some(Duration::from_secs(300)));
        let overruled = both(&said, &[("cistern.dev/timeout.backup.dump", "3h")]).unwrap();
        assert_eq!(overruled[&dump].timeout, Some(Duration::from_secs(10_800)));
        assert_eq!(overruled[&dump].attempts.retries, 3);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |key: &str, value: &str, why: &str| {
            let wrong = on_blueprint(&[(key, value)]).unwrap_err();
            assert!(wrong.len() == 1 && wrong[0].contains(why), "{key}: {wrong:?}");
        };
        refused("cistern.dev/timeout.backup.dmup", "2h", "names no phase");
        refused("cistern.dev/retries.restore.dump", "2", "names no phase");
        refused("cistern.dev/timeouts", "2h", "names no phase");
        refused("cistern.dev/retries.backup.dump", "99", "from 0 to 10");
        refused("cistern.dev/retries.backup.a.b", "1", "cistern.dev/idempotent.backup.a.b: \"true\"");
        let set = [("cistern.dev/idempotent.backup.a.b", "true")];
        assert!(both(&[("cistern.dev/retries.backup.a.b", "1")], &set).is_err(), "not for users to say");
        let both_said =
            [("cistern.dev/retries.backup.a.b", "1"), ("cistern.dev/idempotent.backup.a.b", "true")];
        assert!(on_blueprint(&both_said).is_ok());
    }
}
