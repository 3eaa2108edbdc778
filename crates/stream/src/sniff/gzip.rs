//! gzip that is stored as it is: looked into, so that the dump inside proves its end all the same.

use super::{Completeness, Format, Recognised, Sniffer, Walk};
use crate::gzip::{GzipError, Limits, Segment, Unwrapper};

const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    head.starts_with(MAGIC).then(|| {
        let walk = Inside { unwrapper: Unwrapper::new(Limits::default()), sniffer: Sniffer::inside_gzip() };
        Recognised::new(Format::Gzip, walk)
            .advise("gzip defeats deduplication: unwrap it at push, or drop gzip from the dump command")
    })
}

/// Inflates beside the stream and shows what comes out to a sniffer of its own; nothing is kept.
struct Inside {
    unwrapper: Unwrapper,
    sniffer: Sniffer,
}

impl Walk for Inside {
    fn push(&mut self, bytes: &[u8]) {
        // An error comes again at the end, where it is judged.
        let _ = self.unwrapper.push(bytes, &mut |content| self.sniffer.push(content));
    }

    fn finish(self: Box<Self>) -> Completeness {
        match self.unwrapper.finish() {
            Ok(segments) if segments.iter().any(|s| matches!(s, Segment::Gzip { .. })) => {
                let inside = self.sniffer.finish();
                match inside.completeness {
                    Completeness::Complete => Completeness::Complete,
                    Completeness::Truncated { why } => {
                        Completeness::truncated(format!("{} inside: {why}", inside.format))
                    }
                    Completeness::Unknown { why } => Completeness::unknown(format!("inside the gzip: {why}")),
                }
            }
            Ok(_) => Completeness::unknown("this kind of gzip is not looked into"),
            Err(GzipError::Truncated { part, .. }) => {
                Completeness::truncated(format!("it ends inside the {part} of a member"))
            }
            // How far inflating came depends on how the stream was cut into pieces, so it is not told.
            Err(GzipError::Corrupt { member, .. }) => {
                Completeness::truncated(format!("member {member} cannot be inflated"))
            }
            Err(GzipError::Mismatch { member, field, .. }) => {
                Completeness::truncated(format!("the content of member {member} does not match its {field}"))
            }
            Err(GzipError::TooManyMembers { .. } | GzipError::TooLarge { .. }) => {
                Completeness::unknown("the gzip has more members than are looked into")
            }
        }
    }
}
