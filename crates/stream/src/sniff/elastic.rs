//! `elasticdump`: one JSON object a line, and no end.

use super::text::Text;
use super::{Completeness, Format, Recognised};

const HEAD: &[u8] = b"{\"_index\":";

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    head.starts_with(HEAD).then(|| Recognised::new(Format::ElasticdumpNdjson, Text::new(judge)))
}

fn judge(_head: &[u8], tail: &[u8]) -> Completeness {
    if tail.ends_with(b"}\n") {
        Completeness::unknown("elasticdump writes no end; the last line, at least, is whole")
    } else {
        Completeness::truncated("the last line is cut")
    }
}
