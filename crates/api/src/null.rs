//! How Go treats `null` and emptiness, for the shapes of this crate.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Reads `null` as the zero value, as Go's JSON decoder leaves a field alone on `null`.
pub fn as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Writes an empty map as `null`, as Go does with a nil map whose field is not `omitempty`.
pub fn when_empty<S, T>(map: &BTreeMap<String, T>, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize,
{
    if map.is_empty() { serializer.serialize_none() } else { map.serialize(serializer) }
}

/// Whether a number is left out, as Go's `omitempty` does with zero.
pub fn is_zero(number: &i64) -> bool {
    *number == 0
}
