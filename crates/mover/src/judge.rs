//! Whether a stream that ended may be committed: not if it is empty, not if the dump in it was cut off.

use crate::error::Error;
use crate::intake::Seen;
use cistern_repo::{Content, Facts, printable};
use cistern_stream::{Completeness, Finding};

/// What is committed although it looks like no good backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lenience {
    /// A dump that lacks its proper end; its snapshot is marked as truncated.
    pub partial: bool,
    /// An empty stream.
    pub empty: bool,
}

/// The verdict on a stream that may be committed.
pub struct Verdict {
    /// What its snapshot says of it; who made it is for the caller to add.
    pub facts: Facts,
    /// Advice to whoever made the dump.
    pub advice: Option<String>,
}

/// Judges a stream of `bytes` of content.
///
/// # Errors
/// [`Error::Empty`] and [`Error::Incomplete`], unless the `lenience` allows them.
pub fn judge(name: &str, seen: Seen, bytes: u64, lenience: Lenience) -> Result<Verdict, Error> {
    if bytes == 0 && !lenience.empty {
        return Err(Error::Empty { name: printable(name) });
    }
    let Finding { format, completeness, advice } = seen.finding;
    let (verdict, detail) = match completeness {
        Completeness::Complete => ("complete", None),
        Completeness::Truncated { why } => ("truncated", Some(why)),
        Completeness::Unknown { why } => ("unknown", Some(why)),
    };
    let suspect = (verdict == "truncated").then(|| {
        let why = detail.as_deref().unwrap_or_default();
        format!("truncated {format}: {why}")
    });
    if let Some(why) = suspect.as_ref().filter(|_| !lenience.partial) {
        return Err(Error::Incomplete { name: printable(name), why: why.clone() });
    }
    let content = Content { format: format.to_string(), completeness: verdict.to_owned(), detail };
    let facts = Facts { content, wrap: seen.wrap, producer: None, suspect, copied_from: None };
    Ok(Verdict { facts, advice })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;
    use crate::Intake;
    use std::io::Read as _;

    const WHOLE: &[u8] =
        b"--\n-- PostgreSQL database dump\n--\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

    fn judged(stream: &'static [u8], unwrap: bool, lenience: Lenience) -> Result<Verdict, Error> {
        let (mut intake, outcome) = Intake::new(stream, unwrap);
        let mut content = Vec::new();
        intake.read_to_end(&mut content).unwrap();
        judge("db", outcome.take().expect("the end was read"), outcome.content_bytes(), lenience)
    }

    fn gzip(bytes: &[u8]) -> &'static [u8] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap().leak()
    }

    #[test]
    fn a_whole_dump_is_committed_and_a_cut_one_only_when_asked() {
        let cut = &WHOLE[..WHOLE.len() / 2];
        for (whole, cut) in [(WHOLE, cut), (gzip(WHOLE), gzip(cut))] {
            for unwrap in [true, false] {
                let verdict = judged(whole, unwrap, Lenience::default()).unwrap();
                assert_eq!(verdict.facts.content.completeness, "complete");
                assert!(matches!(judged(cut, unwrap, Lenience::default()), Err(Error::Incomplete { .. })));
                let partial = judged(cut, unwrap, Lenience { partial: true, empty: false }).unwrap();
                assert!(partial.facts.suspect.is_some());
            }
        }
    }

    #[test]
    fn nothing_is_committed_only_when_asked() {
        assert!(matches!(judged(b"", true, Lenience::default()), Err(Error::Empty { .. })));
        let verdict = judged(b"", true, Lenience { partial: false, empty: true }).unwrap();
        assert_eq!(verdict.facts.content.completeness, "unknown");
    }
}
