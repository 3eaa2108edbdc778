//! ObjectReference: how every resource of Kanister points at an object of the cluster.

use crate::null;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pointer at an object of the cluster.
///
/// Which fields count depends on who reads it: a profile or a secret is found by name and namespace, a
/// generic object by group, version and resource as well.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Version alone (`v1`, `v1beta2`); the group stands in `group`.
    #[serde(default, deserialize_with = "null::as_default")]
    pub api_version: String,
    /// API group; empty for the core group.
    #[serde(default, deserialize_with = "null::as_default")]
    pub group: String,
    /// Resource name: the plural, in lower case.
    #[serde(default, deserialize_with = "null::as_default")]
    pub resource: String,
    /// Kind; for the kinds Kanister knows it is enough without `apiVersion` and `resource`.
    #[serde(default, deserialize_with = "null::as_default")]
    pub kind: String,
    /// Name of the object.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// Namespace of the object.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

impl ObjectReference {
    /// A reference by name and namespace, as profiles, secrets and config maps are referred to.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self { name: name.to_owned(), namespace: namespace.to_owned(), ..Self::default() }
    }

    /// The API group without the slash at its end that `kanctl create actionset --objects` leaves there.
    pub fn group_name(&self) -> &str {
        self.group.trim_end_matches('/')
    }
}
