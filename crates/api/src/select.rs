//! ObjectSelector: which objects a schedule or a binding means, by kind, namespace and labels.

use crate::null;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Objects by kind, namespace and labels; what is left out restricts nothing but namespaces.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSelector {
    /// Kinds: `statefulset`, `deployment`, `deploymentconfig`, `pvc`, `namespace`; none is the first three.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^(?i:statefulset|deployment|deploymentconfig|pvc|namespace)$")))]
    pub kinds: Vec<String>,
    /// Namespaces by name; `*` is all of them. None, without `namespaceSelector`, is the resource's own one.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Namespaces by their labels, besides those named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the objects; none is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// What a selector without kinds finds.
pub const KINDS: [&str; 3] = ["statefulset", "deployment", "deploymentconfig"];

/// The name that stands for all namespaces.
pub const ALL_NAMESPACES: &str = "*";

impl ObjectSelector {
    /// The kinds it finds, in lower case.
    pub fn kinds(&self) -> Vec<String> {
        match self.kinds.as_slice() {
            [] => KINDS.map(str::to_owned).to_vec(),
            kinds => kinds.iter().map(|kind| kind.to_lowercase()).collect(),
        }
    }

    /// Whether it looks into this namespace; `own` is that of the resource it stands in, and `labels` says
    /// whether labels of the namespace match a selector.
    pub fn looks_into(&self, namespace: &str, own: &str, labels: impl Fn(&LabelSelector) -> bool) -> bool {
        let named = self.namespaces.iter().any(|name| name == ALL_NAMESPACES || name == namespace);
        match (&self.namespace_selector, self.namespaces.is_empty()) {
            (None, true) => namespace == own,
            (None, false) => named,
            (Some(selector), _) => named || labels(selector),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_its_own_the_named_ones_and_those_with_the_labels() {
        let looks = |names: &[&str], by_labels: Option<bool>, namespace: &str| {
            let selector = ObjectSelector {
                namespaces: names.iter().map(|name| (*name).to_owned()).collect(),
                namespace_selector: by_labels.map(|_| LabelSelector::default()),
                ..ObjectSelector::default()
            };
            selector.looks_into(namespace, "own", |_| by_labels == Some(true))
        };
        assert!(looks(&[], None, "own") && !looks(&[], None, "a"));
        assert!(looks(&["a"], None, "a") && !looks(&["a"], None, "own"));
        assert!(looks(&["*"], None, "a"));
        assert!(looks(&[], Some(true), "a") && !looks(&[], Some(false), "own"));
        assert!(looks(&["a"], Some(false), "a"));
    }

    #[test]
    fn kinds_are_workloads_unless_named() {
        assert_eq!(ObjectSelector::default().kinds(), KINDS);
        let pvc = ObjectSelector { kinds: vec!["PVC".to_owned()], ..ObjectSelector::default() };
        assert_eq!(pvc.kinds(), ["pvc"]);
    }
}
