//! The reference of a snapshot as artifacts carry it: the JSON in `kopiaSnapshot`.

use super::{field, kind_of};
use serde::Serialize;
use serde_json::Value;

/// The JSON of a `kopiaSnapshot` artifact. The id is whatever the mover that made it calls a snapshot.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotJson {
    /// Id of the snapshot.
    pub id: String,
    /// Bytes of the stream.
    #[serde(rename = "logicalSize")]
    pub logical_bytes: i64,
    /// Bytes it took in the repository; Kanister always writes 0.
    #[serde(rename = "physicalSize")]
    pub physical_bytes: i64,
}

/// Why a text is no reference of a snapshot.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "cannot read the snapshot reference: {problem}; expected {{\"id\":\"…\",\"logicalSize\":N,\"physicalSize\":N}}"
)]
pub struct SnapshotJsonError {
    problem: String,
}

impl SnapshotJson {
    /// Reads the JSON; keys in any letter case, sizes may be missing, the id may not.
    pub fn parse(json: &str) -> Result<Self, SnapshotJsonError> {
        let wrong = |problem: String| SnapshotJsonError { problem };
        let object = match serde_json::from_str(json) {
            Ok(Value::Object(object)) => object,
            Ok(other) => return Err(wrong(format!("expected an object, found {}", kind_of(&other)))),
            Err(e) => return Err(wrong(format!("not JSON: {e}"))),
        };
        let size = |name: &str| match field(&object, name) {
            None => Ok(0),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| wrong(format!("`{name}` must be a whole number, found {}", kind_of(value)))),
        };
        let id = match field(&object, "id") {
            Some(Value::String(id)) if !id.is_empty() => id.clone(),
            Some(Value::String(_)) | None => return Err(wrong("`id` is missing or empty".to_owned())),
            Some(other) => return Err(wrong(format!("`id` must be a string, found {}", kind_of(other)))),
        };
        Ok(Self { id, logical_bytes: size("logicalSize")?, physical_bytes: size("physicalSize")? })
    }

    /// The JSON as it stands in an artifact.
    pub fn to_json(&self) -> String {
        super::go_json(self).expect("a text and two numbers are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_kanister_s_and_comes_back() {
        let snapshot = SnapshotJson { id: "k<1>".to_owned(), logical_bytes: 5, physical_bytes: 0 };
        let json = snapshot.to_json();
        assert_eq!(json, "{\"id\":\"k\\u003c1\\u003e\",\"logicalSize\":5,\"physicalSize\":0}");
        assert_eq!(SnapshotJson::parse(&json), Ok(snapshot));
    }

    #[test]
    fn letter_case_and_missing_sizes_do_not_matter() {
        let found = SnapshotJson::parse(r#"{"ID":"x","LogicalSize":null,"more":1}"#).unwrap();
        assert_eq!(found, SnapshotJson { id: "x".to_owned(), ..SnapshotJson::default() });
    }

    #[test]
    fn what_names_no_snapshot_is_refused() {
        let cases = [
            ("", "not JSON"),
            ("[1]", "expected an object, found a list"),
            ("{}", "`id` is missing or empty"),
            (r#"{"id":""}"#, "`id` is missing or empty"),
            (r#"{"id":5}"#, "`id` must be a string, found a number"),
            (r#"{"id":"x","logicalSize":"5"}"#, "`logicalSize` must be a whole number, found a string"),
        ];
        for (json, expected) in cases {
            let error = SnapshotJson::parse(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
