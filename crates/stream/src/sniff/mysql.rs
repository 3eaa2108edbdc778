//! MySQL and MariaDB: `mysqldump`, `mariadb-dump`, as SQL or as XML.
//!
//! The trailer is a comment with the time. `--skip-comments` drops head and trailer; then the last statement,
//! which gives a session variable back, is the end. `--compact` leaves nothing to hold on to.

use super::text::Text;
use super::{Completeness, Format, Recognised};
use memchr::memmem;

/// MariaDB opens with a line that keeps older clients from running `\!` in the dump.
const SANDBOX: &[u8] = b"/*M!999999\\- enable the sandbox mode */";
const MYSQL_HEAD: &[u8] = b"-- MySQL dump ";
const MARIADB_HEAD: &[u8] = b"-- MariaDB dump ";
const UNCOMMENTED_HEAD: &[u8] = b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;";
/// Newer MariaDB saves another variable.
const UNCOMMENTED_ENDS: [&[u8]; 2] = [
    b"/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n",
    b"/*M!100616 SET NOTE_VERBOSITY=@OLD_NOTE_VERBOSITY */;\n\n",
];
const TRAILER: &[u8] = b"\n-- Dump completed";
const XML_HEAD: &[u8] = b"<?xml version=\"1.0\"?>\n<mysqldump";
const XML_END: &[u8] = b"</mysqldump>\n";

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    let sandboxed = head.strip_prefix(SANDBOX).map(after_spaces);
    let text = sandboxed.unwrap_or(head);
    if text.starts_with(MYSQL_HEAD) {
        Some(Recognised::new(Format::Mysqldump, Text::new(judge)))
    } else if text.starts_with(MARIADB_HEAD) {
        Some(Recognised::new(Format::MariadbDump, Text::new(judge)))
    } else if head.starts_with(XML_HEAD) {
        Some(Recognised::new(Format::MysqldumpXml, Text::new(judge_xml)))
    } else if after_spaces(text).starts_with(UNCOMMENTED_HEAD) {
        let format = if sandboxed.is_some() { Format::MariadbDump } else { Format::Mysqldump };
        Some(Recognised::new(format, Text::new(judge_uncommented)))
    } else {
        None
    }
}

fn after_spaces(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn judge(_head: &[u8], tail: &[u8]) -> Completeness {
    if tail.strip_suffix(b"\n").and_then(last_trailer).is_some_and(is_trailer) {
        return Completeness::Complete;
    }
    Completeness::truncated("the last line of mysqldump is missing: `-- Dump completed`")
}

/// What stands after the words of the trailer on the last line.
fn last_trailer(text: &[u8]) -> Option<&[u8]> {
    let at = memmem::rfind(text, TRAILER)? + TRAILER.len();
    Some(&text[at..])
}

/// A time as the trailer has it: digits for the nines, a space for the hour's first.
const TRAILER_TIME: &[u8] = b"9999-99-99 99:99:99";

/// Nothing (`--skip-dump-date`) or ` on 2026-11-20  8:00:00`.
fn is_trailer(rest: &[u8]) -> bool {
    let Some(time) = rest.strip_prefix(b" on ") else { return rest.is_empty() };
    time.len() == TRAILER_TIME.len()
        && time.iter().zip(TRAILER_TIME).all(|(c, pattern)| match pattern {
            b'9' => c.is_ascii_digit() || *c == b' ',
            separator => c == separator,
        })
}

fn judge_uncommented(_head: &[u8], tail: &[u8]) -> Completeness {
    if UNCOMMENTED_ENDS.iter().any(|end| tail.ends_with(end)) {
        return Completeness::Complete;
    }
    Completeness::truncated(
        "the last statement of mysqldump --skip-comments is missing: `SET SQL_NOTES` or `SET NOTE_VERBOSITY`",
    )
}

fn judge_xml(_head: &[u8], tail: &[u8]) -> Completeness {
    if tail.ends_with(XML_END) {
        return Completeness::Complete;
    }
    Completeness::truncated("the end of mysqldump --xml is missing: `</mysqldump>`")
}
