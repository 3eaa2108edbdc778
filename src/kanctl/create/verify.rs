//! What an ActionSet refers to, looked up before it is made, so that what is misspelt is told at once.

use super::super::cluster::{Session, typed};
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_api::{ActionSet, ActionSpec, Blueprint, ObjectReference};
use cistern_functions::ports::{Cluster, Why};
use cistern_functions::reference::{completed, of_kind, words};
use futures::{StreamExt as _, stream};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// So many objects are looked up at the same time.
const AT_ONCE: usize = 8;

/// Looks everything up and prints what is wrong.
///
/// # Errors
/// Anything was.
pub async fn verify(session: &Session, set: &ActionSet) -> Result<(), Failure> {
    let problems = problems(&*session.cluster, &session.namespace, set).await;
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        show::line(&show::harmless(problem))?;
    }
    Err(Failure::new(Exit::Usage, "resource verification failed")
        .hint("mend what is told above, or make the ActionSet all the same with --skip-validation"))
}

/// Every problem in words, each once.
async fn problems(cluster: &dyn Cluster, namespace: &str, set: &ActionSet) -> BTreeSet<String> {
    let actions = set.spec.iter().flat_map(|spec| &spec.actions);
    let mut blueprints = BTreeSet::new();
    let mut objects = BTreeSet::new();
    for action in actions {
        blueprints.insert((action.blueprint.clone(), action.name.clone()));
        objects.extend(references(action));
    }
    let of_blueprints = stream::iter(blueprints)
        .map(|(blueprint, action)| async move { check_action(cluster, namespace, &blueprint, &action).await })
        .buffer_unordered(AT_ONCE);
    let of_objects = stream::iter(objects)
        .map(|(what, reference)| async move { check_object(cluster, what, &reference).await })
        .buffer_unordered(AT_ONCE);
    of_blueprints.chain(of_objects).filter_map(|problem| async { problem }).collect().await
}

/// Everything an action refers to, but for its blueprint.
fn references(action: &ActionSpec) -> Vec<(&'static str, ObjectReference)> {
    let of = |kind: &str, r: &ObjectReference| of_kind(kind, &r.namespace, &r.name);
    let mut all = vec![("object", action.object.clone())];
    all.extend(action.profile.iter().map(|r| ("profile", of("profile", r))));
    all.extend(action.config_maps.values().map(|r| ("config map", of("configmap", r))));
    all.extend(action.secrets.values().map(|r| ("secret", of("secret", r))));
    all
}

async fn check_action(cluster: &dyn Cluster, namespace: &str, name: &str, action: &str) -> Option<String> {
    let raw = match found(cluster, "blueprint", &of_kind("blueprint", namespace, name)).await {
        Ok(raw) => raw,
        Err(problem) => return Some(problem),
    };
    let blueprint: Blueprint = match typed(raw) {
        Ok(blueprint) => blueprint,
        Err(e) => return Some(format!("blueprint {name} cannot be read: {e}")),
    };
    if blueprint.action(action).is_some() {
        return None;
    }
    let has: Vec<&str> = blueprint.actions.keys().map(String::as_str).collect();
    Some(format!("blueprint {name} has no action {action:?}; it has {}", has.join(", ")))
}

async fn check_object(cluster: &dyn Cluster, what: &str, reference: &ObjectReference) -> Option<String> {
    let Some(at) = completed(reference) else {
        return Some(format!(
            "{what} {}: a kind {:?} is found by version and resource only: --objects GROUP/VERSION/RESOURCE/NAMESPACE/NAME",
            words(reference),
            reference.kind
        ));
    };
    found(cluster, what, &at).await.err()
}

async fn found(cluster: &dyn Cluster, what: &str, at: &ObjectReference) -> Result<Json, String> {
    cluster.get(at).await.map_err(|refusal| match refusal.why {
        Why::Absent => format!("{what} not found: {}", words(at)),
        _ => format!("{what} {} cannot be read: it {refusal}", words(at)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use cistern_api::ActionSetSpec;
    use cistern_sim::cluster::PaperCluster;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn order() -> ActionSpec {
        ActionSpec {
            name: "backup".to_owned(),
            blueprint: "bp".to_owned(),
            object: of_kind("statefulset", "app", "db"),
            profile: Some(ObjectReference::named("kanister", "p")),
            secrets: BTreeMap::from([("pw".to_owned(), ObjectReference::named("app", "pw"))]),
            config_maps: BTreeMap::from([("cm".to_owned(), ObjectReference::named("app", "cm"))]),
            ..ActionSpec::default()
        }
    }

    fn set(actions: Vec<ActionSpec>) -> ActionSet {
        ActionSet { spec: Some(ActionSetSpec { actions }), ..ActionSet::default() }
    }

    #[tokio::test]
    async fn every_problem_is_told_once() {
        let cluster = PaperCluster::new(Vec::new());
        cluster.add(json!({"kind": "Blueprint", "apiVersion": "cr.kanister.io/v1alpha1",
            "metadata": {"name": "bp", "namespace": "kanister"}, "actions": {"restore": {"phases": []}}}));
        let odd = ActionSpec {
            object: ObjectReference { kind: "Cluster".to_owned(), ..ObjectReference::named("app", "c") },
            ..order()
        };
        let found: Vec<String> =
            problems(&cluster, "kanister", &set(vec![order(), order(), odd])).await.into_iter().collect();
        let words = [
            "blueprint bp has no action \"backup\"; it has restore",
            "config map not found: configmaps app/cm",
            "object Cluster app/c: a kind \"Cluster\" is found by version and resource only",
            "object not found: statefulsets app/db",
            "profile not found: profiles kanister/p",
            "secret not found: secrets app/pw",
        ];
        assert_eq!(found.len(), words.len(), "{found:?}");
        for (found, word) in found.iter().zip(words) {
            assert!(found.starts_with(word), "{found}");
        }
    }

    #[tokio::test]
    async fn what_is_all_there_is_no_problem() {
        let cluster = PaperCluster::new(Vec::new());
        cluster.add(json!({"kind": "Blueprint", "apiVersion": "cr.kanister.io/v1alpha1",
            "metadata": {"name": "bp", "namespace": "kanister"}, "actions": {"backup": {"phases": []}}}));
        for (kind, namespace, name) in [
            ("StatefulSet", "app", "db"),
            ("Profile", "kanister", "p"),
            ("Secret", "app", "pw"),
            ("ConfigMap", "app", "cm"),
        ] {
            cluster.add(json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}}));
        }
        assert_eq!(problems(&cluster, "kanister", &set(vec![order()])).await, BTreeSet::new());
    }
}
