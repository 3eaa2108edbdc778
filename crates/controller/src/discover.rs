//! Which blueprint belongs to which object: by the object's annotation, else by a BlueprintBinding.

use cistern_api::resource::{OWN_GROUP, VERSION};
use cistern_api::select::ALL_NAMESPACES;
use cistern_api::{BlueprintBinding, LabelSelector, ObjectReference, ObjectSelector};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::reference::{completed, of_kind, selector};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Annotation of an object, or of a namespace, that names its blueprint.
pub const BLUEPRINT: &str = "kanister.kasten.io/blueprint";

/// An object and the blueprint that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The object, as ActionSets refer to it.
    pub object: ObjectReference,
    /// Name of the blueprint.
    pub blueprint: String,
}

/// An object as rules look at it.
#[derive(Clone, Debug)]
struct Candidate {
    object: ObjectReference,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Labels of namespaces, by their name.
type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// Objects that the selector of a resource in the namespace `own` finds, whatever their blueprint.
///
/// # Errors
/// A kind is not known by name, or the cluster does not show its objects.
pub async fn select(
    cluster: &dyn Cluster,
    wanted: &ObjectSelector,
    own: &str,
) -> Result<Vec<ObjectReference>, Refusal> {
    let namespaces = namespaces(cluster, wanted.namespace_selector.is_some()).await?;
    let found = candidates(cluster, wanted, own, &namespaces).await?;
    Ok(found.into_iter().map(|candidate| candidate.object).collect())
}

/// Objects that the selector finds and that have a blueprint, with it. Bindings are those of the namespace `own`;
/// where several fit, the first by name counts.
///
/// # Errors
/// A kind is not known by name, or the cluster does not show objects or bindings.
pub async fn discover(
    cluster: &dyn Cluster,
    wanted: &ObjectSelector,
    own: &str,
) -> Result<Vec<Target>, Refusal> {
    let bindings = bindings(cluster, own).await?;
    let by_labels = |selector: &ObjectSelector| selector.namespace_selector.is_some();
    let needed = by_labels(wanted) || bindings.iter().any(|binding| by_labels(&binding.spec.objects));
    let namespaces = namespaces(cluster, needed).await?;
    let found = candidates(cluster, wanted, own, &namespaces).await?;
    let mut targets: Vec<Target> = found
        .into_iter()
        .filter_map(|candidate| {
            let blueprint = blueprint_of(&candidate, &bindings, own, &namespaces)?;
            Some(Target { object: candidate.object, blueprint })
        })
        .collect();
    targets.sort();
    Ok(targets)
}

fn blueprint_of(
    candidate: &Candidate,
    bindings: &[BlueprintBinding],
    own: &str,
    namespaces: &Namespaces,
) -> Option<String> {
    let annotated = candidate.annotations.get(BLUEPRINT).filter(|name| !name.is_empty());
    annotated.cloned().or_else(|| {
        let fits = |binding: &&BlueprintBinding| fits(&binding.spec.objects, candidate, own, namespaces);
        bindings.iter().find(fits).map(|binding| binding.spec.blueprint.clone())
    })
}

/// Whether a selector means this object.
fn fits(wanted: &ObjectSelector, candidate: &Candidate, own: &str, namespaces: &Namespaces) -> bool {
    let object = &candidate.object;
    wanted.kinds().contains(&object.kind)
        && wanted.label_selector.as_ref().is_none_or(|selector| matches(selector, &candidate.labels))
        && looks_into(wanted, &object.namespace, own, namespaces)
}

fn looks_into(wanted: &ObjectSelector, namespace: &str, own: &str, namespaces: &Namespaces) -> bool {
    let labels = namespaces.get(namespace).cloned().unwrap_or_default();
    wanted.looks_into(namespace, own, |selector| matches(selector, &labels))
}

/// Whether labels are what a selector asks for. An operator that is not known matches nothing.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut rules = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| labels.get(key) == Some(value))
        && rules.all(|rule| {
            let value = labels.get(&rule.key);
            let listed = || value.is_some_and(|v| rule.values.iter().flatten().any(|known| known == v));
            match rule.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

async fn candidates(
    cluster: &dyn Cluster,
    wanted: &ObjectSelector,
    own: &str,
    namespaces: &Namespaces,
) -> Result<Vec<Candidate>, Refusal> {
    let everywhere =
        wanted.namespace_selector.is_some() || wanted.namespaces.iter().any(|name| name == ALL_NAMESPACES);
    let within: Vec<&str> = match (everywhere, wanted.namespaces.as_slice()) {
        (true, _) => vec![""],
        (false, []) => vec![own],
        (false, names) => names.iter().map(String::as_str).collect(),
    };
    let labels = serde_json::to_value(&wanted.label_selector).unwrap_or_default();
    // What this cannot say is left to the rules below.
    let labels = selector(&labels).unwrap_or_default();
    let mut found = Vec::new();
    for kind in wanted.kinds() {
        let cluster_wide = kind == "namespace";
        for namespace in if cluster_wide { &[""][..] } else { &within } {
            found.extend(list(cluster, &kind, namespace, &labels).await?);
        }
    }
    found.retain(|candidate| fits(wanted, candidate, own, namespaces));
    Ok(found)
}

async fn list(
    cluster: &dyn Cluster,
    kind: &str,
    namespace: &str,
    labels: &str,
) -> Result<Vec<Candidate>, Refusal> {
    let of = ObjectReference { kind: kind.to_owned(), ..ObjectReference::named(namespace, "") };
    let of = completed(&of).ok_or_else(|| {
        Refusal::new(Why::Invalid, format!("is of no kind that can be looked for: {kind:?}"))
    })?;
    let found = list_served(cluster, &of, labels).await?;
    Ok(found.iter().map(|object| candidate(kind, object)).collect())
}

/// Objects with these labels; none of a resource that the cluster does not serve. To who may not see everything
/// the API server says of such a resource that it is not allowed.
///
/// # Errors
/// The cluster does not show them.
pub async fn list_served(
    cluster: &dyn Cluster,
    of: &ObjectReference,
    labels: &str,
) -> Result<Vec<Json>, Refusal> {
    match ask(|| cluster.list(of, labels)).await {
        Err(refusal) if refusal.why == Why::Absent => Ok(Vec::new()),
        Err(refusal) if refusal.why == Why::Denied => match cluster.resolve(of).await {
            Err(unknown) if unknown.why == Why::Invalid => Ok(Vec::new()),
            _ => Err(refusal),
        },
        found => found,
    }
}

fn candidate(kind: &str, object: &Json) -> Candidate {
    let meta = &object["metadata"];
    let text = |field: &str| meta[field].as_str().unwrap_or_default();
    let namespace = if kind == "namespace" { text("name") } else { text("namespace") };
    Candidate {
        object: ObjectReference { kind: kind.to_owned(), ..ObjectReference::named(namespace, text("name")) },
        labels: texts(&meta["labels"]),
        annotations: texts(&meta["annotations"]),
    }
}

fn texts(map: &Json) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

async fn namespaces(cluster: &dyn Cluster, needed: bool) -> Result<Namespaces, Refusal> {
    if !needed {
        return Ok(Namespaces::new());
    }
    let of = of_kind("namespace", "", "");
    let found = ask(|| cluster.list(&of, "")).await?;
    let pair = |object: &Json| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        (name.to_owned(), texts(&object["metadata"]["labels"]))
    };
    Ok(found.iter().map(pair).collect())
}

/// The bindings of a namespace by name; none where the resource is not defined. What cannot be read is left out.
async fn bindings(cluster: &dyn Cluster, namespace: &str) -> Result<Vec<BlueprintBinding>, Refusal> {
    let of = ObjectReference {
        api_version: VERSION.to_owned(),
        group: OWN_GROUP.to_owned(),
        resource: "blueprintbindings".to_owned(),
        ..ObjectReference::named(namespace, "")
    };
    let found = list_served(cluster, &of, "").await?;
    let mut bindings: Vec<BlueprintBinding> =
        found.into_iter().filter_map(|raw| serde_json::from_value(raw).ok()).collect();
    bindings.retain(|binding| !binding.spec.blueprint.is_empty());
    bindings.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Ok(bindings)
}

#[cfg(test)]
mod tests;
