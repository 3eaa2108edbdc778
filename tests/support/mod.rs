//! What tests with real processes, databases and servers share: a home, seeded bytes, and a word on what is
//! skipped.
#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../cli/home.rs"]
pub mod home;
pub mod place;

use home::{Home, Ran};
use std::path::PathBuf;

/// Bytes without pattern, the same for the same seed.
pub fn seeded(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key(seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// A number below `end`, the same for the same seed.
pub fn drawn(seed: &str, end: u64) -> u64 {
    u64::from_le_bytes(seeded(seed, 8).try_into().unwrap()) % end
}

/// Says that a test lacks what it needs; in CI that is a failure.
pub fn skip(name: &str, reason: &str) {
    assert!(!in_ci(), "{name}: {reason}: in CI nothing may be lacking");
    println!("skipped: {name}: {reason}");
}

/// The value of a variable, or `None` and a line that says what is skipped.
pub fn given(variable: &str) -> Option<String> {
    let value = variable_of(variable);
    if value.is_none() {
        skip(variable, "it names no server; see tests/servers/README.md");
    }
    value
}

/// The value of a variable; empty is unset.
#[expect(clippy::disallowed_methods, reason = "tests are told of servers and sizes by the environment")]
pub fn variable_of(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn in_ci() -> bool {
    variable_of("CI").is_some_and(|ci| ci == "true")
}

/// Whether whoever runs the tests may do everything on this machine.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a program is, in the places Debian puts programs and servers.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
    folders.iter().map(|folder| PathBuf::from(folder).join(name)).find(|path| path.exists())
}

/// The snapshots that can be listed, the oldest first.
pub fn listed(home: &Home) -> Vec<serde_json::Value> {
    home.ok(&["ls", "--json"], b"").json()["snapshots"].as_array().unwrap().clone()
}

/// Names of what can be listed, the oldest first.
pub fn listed_names(home: &Home) -> Vec<String> {
    listed(home).iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
}

/// Every listed snapshot restores, and there is no other damage.
pub fn assert_sound(home: &Home) -> serde_json::Value {
    let report = home.ok(&["verify", "--level", "4", "--json"], b"").json();
    let damages: Vec<_> =
        report["findings"].as_array().unwrap().iter().filter(|f| f["severity"] == "damage").collect();
    assert!(damages.is_empty(), "{damages:?}");
    let found = listed(home).len() as u64;
    assert_eq!(report["restored"].as_u64(), Some(found), "every one was restored: {report}");
    report
}

/// What nobody uses is gone, but for what `prune` leaves because moving the rest would cost more.
pub fn prune_now(home: &Home) -> serde_json::Value {
    home.ok(&["prune", "--grace", "0s", "--session-timeout", "0s", "--max-unused", "0%", "--json"], b"")
        .json()
}

/// Sum of the sizes of the packs, in bytes.
pub fn pack_bytes(home: &Home) -> u64 {
    home::files_below(&home.repository().join("packs")).iter().map(|p| p.metadata().unwrap().len()).sum()
}

/// It failed with this code, said something, and did not panic.
pub fn assert_failed(ran: &Ran, code: i32) {
    assert_eq!(ran.code, Some(code), "{}", ran.err);
    assert!(!ran.err.contains("panicked") && ran.err.contains("cistern: "), "{}", ran.err);
}
