//! Functions that wait for the world to be in some state: Wait, WaitV2.

use crate::patience::Looks;
use crate::ports::{Cluster, Why};
use crate::reference::{completed, words};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_action::render::{Renderer, functions};
use cistern_api::{Object, ObjectReference, args};
use cistern_template::{Functions, JsonPath, Limits, MissingKey, Options, Template, Time, Value, World};
use serde::Deserialize;
use serde_json::Value as Json;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Between two looks at the most; Kanister's own.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditions {
    #[serde(default)]
    any_of: Vec<Condition>,
    #[serde(default)]
    all_of: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    condition: String,
    #[serde(default)]
    object_reference: ObjectReference,
}

/// How a condition is read.
#[derive(Clone, Copy)]
enum Dialect {
    /// Wait: JSONPaths put into the text of a template without data.
    Paths,
    /// WaitV2: a template over the object, as `kubectl -o go-template`.
    Template,
}

/// Wait: until conditions with `{ $.path }` in them hold.
pub(crate) async fn wait(call: &Call, setting: &Setting, cluster: &dyn Cluster) -> Result<Object, String> {
    wait_for(call, setting, cluster, Dialect::Paths).await
}

/// WaitV2: until conditions that are templates over the object hold.
pub(crate) async fn wait_v2(call: &Call, setting: &Setting, cluster: &dyn Cluster) -> Result<Object, String> {
    wait_for(call, setting, cluster, Dialect::Template).await
}

/// `anyOf` in order, then `allOf`: as Kanister, all of `allOf` are enough whatever `anyOf` says.
async fn wait_for(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    dialect: Dialect,
) -> Result<Object, String> {
    let timeout = duration(&call.args)?;
    let conditions: Conditions =
        args::argument(&call.args, "conditions").map_err(|e| e.to_string())?.ok_or("it has no conditions")?;
    if conditions.any_of.is_empty() && conditions.all_of.is_empty() {
        return Err("its conditions are empty: it would wait for ever".to_owned());
    }
    let mut looks = Looks::new(timeout, LOOK_EVERY.min(setting.limits.look_every * 2));
    loop {
        let reason = match met(call, cluster, &conditions, dialect).await? {
            Ok(()) => return Ok(Object::new()),
            Err(reason) => reason,
        };
        if !looks.again().await {
            let secs = timeout.as_secs();
            return Err(format!("the condition was not met within {secs} seconds; {reason}"));
        }
    }
}

/// Whether the conditions hold now; inside, why they do not yet.
async fn met(
    call: &Call,
    cluster: &dyn Cluster,
    conditions: &Conditions,
    dialect: Dialect,
) -> Result<Result<(), String>, String> {
    let mut last = String::new();
    for condition in &conditions.any_of {
        match holds(call, cluster, condition, dialect).await? {
            Ok(()) => return Ok(Ok(())),
            Err(reason) => last = reason,
        }
    }
    for condition in &conditions.all_of {
        if let Err(reason) = holds(call, cluster, condition, dialect).await? {
            return Ok(Err(reason));
        }
    }
    Ok(if conditions.all_of.is_empty() { Err(last) } else { Ok(()) })
}

/// The argument `timeout`, written as Go writes durations.
fn duration(args: &Object) -> Result<Duration, String> {
    let text: String =
        args::argument(args, "timeout").map_err(|e| e.to_string())?.ok_or("it has no timeout")?;
    let wrong = || format!("timeout {text:?} is no duration such as 90s, 5m or 1h30m");
    let parsed: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    parsed.try_into().map_err(|_| wrong())
}

/// Whether the condition holds; inside, why it does not yet. Outside: it never will, whatever the object.
async fn holds(
    call: &Call,
    cluster: &dyn Cluster,
    condition: &Condition,
    dialect: Dialect,
) -> Result<Result<(), String>, String> {
    let now = Time::from_rfc3339(&call.material.time).unwrap_or_else(|| Time::unix(0, 0));
    let rendered =
        Renderer::new(&call.root, now.clone()).reference("objectReference", &condition.object_reference);
    let at = match rendered {
        Ok(reference) => completed(&reference)
            .ok_or("an objectReference needs apiVersion and resource, or a kind that is known by name")?,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let object = match cluster.get(&at).await {
        Ok(object) => object,
        // No later look is allowed, either; what is not there may still come.
        Err(refusal) if matches!(refusal.why, Why::Denied | Why::Invalid) => {
            return Err(format!("{} {refusal}", words(&at)));
        }
        Err(refusal) => return Ok(Err(format!("{} {refusal}", words(&at)))),
    };
    let said = match evaluate(&condition.condition, &object, now, dialect)? {
        Ok(said) => said,
        Err(reason) => return Ok(Err(format!("{}: {reason}", words(&at)))),
    };
    let said = said.trim();
    if said == "true" {
        return Ok(Ok(()));
    }
    let shown: String = said.chars().take(80).collect();
    Ok(Err(format!("for {} it was last {shown:?}, not \"true\"", words(&at))))
}

fn evaluate(
    text: &str,
    object: &Json,
    now: Time,
    dialect: Dialect,
) -> Result<Result<String, String>, String> {
    static KUBECTL: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(Functions::kubectl()));
    let seen = Value::from_json(object);
    let substituted;
    let (text, data, functions, missing) = match dialect {
        Dialect::Paths => match JsonPath::substitute(text, &seen, &Limits::default()) {
            Ok(text) => {
                substituted = text;
                (substituted.as_str(), Value::nil(), functions(), MissingKey::Zero)
            }
            Err(error) => return Ok(Err(error.to_string())),
        },
        Dialect::Template => (text, seen, &*KUBECTL, MissingKey::Default),
    };
    let template = match (Template::parse("condition", text, functions), dialect) {
        (Ok(template), _) => template,
        // The text depends on the object here: another state of it may be readable.
        (Err(error), Dialect::Paths) => return Ok(Err(error.to_string())),
        (Err(error), Dialect::Template) => return Err(format!("a condition cannot be read: {error}")),
    };
    let options = Options::new(World::at(now)).missing_key(missing);
    let rendered = template.render(&data, &options);
    Ok(rendered.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| e.to_string()))
}
