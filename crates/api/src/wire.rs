//! What passes between the controller and a pod: the profile in, output lines back.

mod channel;
mod output;
mod profile;
mod progress;
mod snapshot;
mod upkeep;

pub use channel::{CHANNEL, CHANNEL_BYTES, Channel, MESSAGE_BYTES_MAX, channel_entry, share_bytes};
pub use output::{
    KeyError, MARKER, OUTPUT_BYTES_MAX, OutputError, OutputParser, PhaseOutput, Piece, TEXT_BYTES_MAX,
    output_line,
};
pub use profile::{
    CredentialJson, KeyPairJson, KopiaServerJson, PROFILE_FILE, ProfileArgument, ProfileJson,
    ProfileJsonError, REPOSITORY, RepositoryJson, TypedSecret,
};
pub use progress::{PROGRESS_MARKER, progress_in, progress_line};
pub use snapshot::{SnapshotJson, SnapshotJsonError};
pub use upkeep::{RepositorySize, UpkeepReport};

use serde::Serialize;
use serde_json::Value;

/// JSON as Go's encoder writes it: `<`, `>`, `&` and the two line separators of Unicode are escaped, so
/// that the text can stand in a web page.
pub fn go_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string(value)?;
    // These characters have no meaning in JSON itself: wherever one stands, it is inside a string.
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Ok(plain);
    }
    let mut escaped = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// What kind of JSON value stands there, for messages that must not show it.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A field of a JSON object as Go's decoder finds it: by its exact name, else in any letter case.
/// `null` is as good as absent.
pub(crate) fn field<'a>(object: &'a crate::Object, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}
