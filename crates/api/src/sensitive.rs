//! A text that must not be seen: a key, a password, a certificate.

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret text. Its `Debug` prints nothing of it; it is wiped from memory when dropped.
///
/// It is serialized in clear: the one place where that is wanted is the profile that a pod is given.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub struct Sensitive(Zeroizing<String>);

impl Sensitive {
    /// The text in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Sensitive {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal())
    }
}

impl std::fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "(empty)" } else { "(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_whether_there_is_one_and_no_more() {
        let shown = format!("{:?} {:?}", Sensitive::from("hunter2"), Sensitive::default());
        assert_eq!(shown, "(hidden) (empty)");
    }

    #[test]
    fn json_holds_it_in_clear() {
        let json = serde_json::to_string(&Sensitive::from("hunter2")).unwrap();
        assert_eq!(json, "\"hunter2\"");
        assert_eq!(serde_json::from_str::<Sensitive>(&json).unwrap().reveal(), "hunter2");
    }
}
