//! What the resources have in common: group, version, and the envelope around their fields.
//!
//! The roots are written by hand where `kube`'s derive would write them for most resources. Kanister's have
//! three properties it cannot express: an ActionSet may lack its `spec` (and one such object must not
//! break a watch of all of them), the status of an ActionSet is no subresource, and Blueprint and Profile
//! keep their fields beside `metadata` (flattened, a field's error would lose its place in the file).
//!
//! Ours are made the same way. Their status is no subresource either: so there is one way to write a status.

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize, Serializer};
use std::marker::PhantomData;

/// API group of Kanister's resources.
pub const GROUP: &str = "cr.kanister.io";
/// The one version there is: served, stored, never converted.
pub const VERSION: &str = "v1alpha1";
/// Group and version as they stand in `apiVersion`.
pub const API_VERSION: &str = "cr.kanister.io/v1alpha1";

/// API group of the resources that are ours.
pub const OWN_GROUP: &str = "cistern.dev";
/// Their group and version as they stand in `apiVersion`.
pub const OWN_API_VERSION: &str = "cistern.dev/v1alpha1";

/// A word that is always the same, such as the `kind` of a resource.
///
/// It is written always, and read only if it is right or missing.
pub struct Constant<W>(PhantomData<W>);

/// The word of a [`Constant`].
pub trait Word {
    /// The word itself.
    const WORD: &'static str;
}

/// `apiVersion` of every resource of Kanister.
pub struct KanisterV1Alpha1;

impl Word for KanisterV1Alpha1 {
    const WORD: &'static str = API_VERSION;
}

/// `apiVersion` of every resource of ours.
pub struct CisternV1Alpha1;

impl Word for CisternV1Alpha1 {
    const WORD: &'static str = OWN_API_VERSION;
}

impl<W> Default for Constant<W> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<W> Clone for Constant<W> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<W> PartialEq for Constant<W> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<W: Word> std::fmt::Debug for Constant<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(W::WORD)
    }
}

impl<W: Word> Serialize for Constant<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(W::WORD)
    }
}

impl<'de, W: Word> Deserialize<'de> for Constant<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == W::WORD {
            return Ok(Self::default());
        }
        Err(D::Error::invalid_value(Unexpected::Str(&word), &W::WORD))
    }
}

impl<W> schemars::JsonSchema for Constant<W> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Constant".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Ties a root type to its names in the cluster, for `kube`'s clients and for the codec of this crate.
macro_rules! resource {
    ($root:ident, $kind:ident, $plural:literal) => {
        $crate::resource::resource!(
            $root,
            $kind,
            $plural,
            $crate::resource::GROUP,
            $crate::resource::API_VERSION
        );
    };
    ($root:ident, $kind:ident, $plural:literal, $group:expr, $api_version:expr) => {
        #[doc = concat!("The `kind` of a ", stringify!($root), ".")]
        pub struct $kind;

        impl $crate::resource::Word for $kind {
            const WORD: &'static str = stringify!($root);
        }

        impl k8s_openapi::Resource for $root {
            const API_VERSION: &'static str = $api_version;
            const GROUP: &'static str = $group;
            const KIND: &'static str = stringify!($root);
            const VERSION: &'static str = $crate::resource::VERSION;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::NamespaceResourceScope;
        }

        impl k8s_openapi::Metadata for $root {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }
    };
}

pub(crate) use resource;
