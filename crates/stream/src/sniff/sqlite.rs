//! SQLite's `.dump`: one transaction, committed at the end or rolled back when something failed.

use super::text::Text;
use super::{Completeness, Format, Recognised};

const HEAD: &[u8] = b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n";
const END: &[u8] = b"\nCOMMIT;\n";
const FAILED: &[u8] = b"\nROLLBACK; -- due to errors\n";

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    head.starts_with(HEAD).then(|| Recognised::new(Format::SqliteDump, Text::new(judge)))
}

fn judge(_head: &[u8], tail: &[u8]) -> Completeness {
    if tail.ends_with(END) {
        Completeness::Complete
    } else if tail.ends_with(FAILED) {
        Completeness::truncated("sqlite3 gave up: the dump ends with `ROLLBACK; -- due to errors`")
    } else {
        Completeness::truncated("the end of sqlite3 .dump is missing: `COMMIT;`")
    }
}
