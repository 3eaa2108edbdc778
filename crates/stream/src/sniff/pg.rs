//! PostgreSQL's SQL text: `pg_dump` and `pg_dumpall`.
//!
//! Both end with a comment. `pg_dumpall` runs `pg_dump` for each database, whose own trailer stays in the
//! stream: cut between two databases it ends like a whole `pg_dump`. So the head chooses the trailer.
//!
//! Since August 2025 (15.14, 16.10, 17.6) `pg_dump` locks psql with `\restrict TOKEN` at the head and unlocks it
//! with the same random token at the very end.

use super::text::Text;
use super::{Completeness, Format, Recognised};

const DUMP_HEAD: &[u8] = b"--\n-- PostgreSQL database dump\n--\n";
const DUMP_END: &[u8] = b"\n--\n-- PostgreSQL database dump complete\n--\n\n";
const CLUSTER_HEAD: &[u8] = b"--\n-- PostgreSQL database cluster dump\n--\n";
const CLUSTER_END: &[u8] = b"\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
const RESTRICT: &[u8] = b"\n\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    if head.starts_with(DUMP_HEAD) {
        Some(Recognised::new(Format::PgDumpPlain, Text::new(judge_dump)))
    } else if head.starts_with(CLUSTER_HEAD) {
        Some(Recognised::new(Format::PgDumpall, Text::new(judge_cluster)))
    } else {
        None
    }
}

fn judge_cluster(_head: &[u8], tail: &[u8]) -> Completeness {
    if tail.ends_with(CLUSTER_END) {
        return Completeness::Complete;
    }
    Completeness::truncated("the end of pg_dumpall is missing: `PostgreSQL database cluster dump complete`")
}

fn judge_dump(head: &[u8], tail: &[u8]) -> Completeness {
    let (tail, closing) = split_unrestrict(tail);
    if !tail.ends_with(DUMP_END) {
        return Completeness::truncated("the end of pg_dump is missing: `PostgreSQL database dump complete`");
    }
    match (restrict_token(head), closing) {
        (None, None) => Completeness::Complete,
        (Some(opened), Some(closed)) if opened == closed => Completeness::Complete,
        (Some(_), None) => Completeness::truncated("the closing `\\unrestrict` of pg_dump is missing"),
        _ => Completeness::truncated(
            "the closing `\\unrestrict` is not the one this pg_dump opened with: the end is another dump's",
        ),
    }
}

/// The token this dump opened with. It stands before the first statement.
fn restrict_token(head: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(head, RESTRICT)? + RESTRICT.len();
    let len = memchr::memchr(b'\n', &head[at..])?;
    Some(&head[at..at + len])
}

/// Takes a last line `\unrestrict TOKEN` off, and returns its token.
fn split_unrestrict(tail: &[u8]) -> (&[u8], Option<&[u8]>) {
    let closing = || {
        let line = tail.strip_suffix(b"\n\n")?;
        let start = memchr::memrchr(b'\n', line)? + 1;
        Some((&tail[..start], line[start..].strip_prefix(UNRESTRICT)?))
    };
    closing().map_or((tail, None), |(before, token)| (before, Some(token)))
}
