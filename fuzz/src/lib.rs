//! What is done with arbitrary bytes: one body per fuzz target, used by the fuzzer and by a plain test.
//!
//! A body panics when a promise is broken: something that must be refused is accepted, something that
//! was written does not read back, or the answer depends on how a stream was cut into pieces. Hangs and
//! memory without bound are found by whoever runs the bodies: libFuzzer, or the test in [`known`].
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]
#![allow(clippy::large_futures, reason = "a test has room")]

mod clear;
mod codec;
mod envelope;
mod index;
mod objects;
mod pack;
mod recipes;
mod repository;
mod streams;
mod templates;

#[path = "../../tests/damage/forge.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod forge;
#[cfg(test)]
mod known;
#[path = "../../tests/paper/mod.rs"]
mod paper;
#[cfg(test)]
mod seeds;

use cistern_format::id::RepoId;
use cistern_format::keys::{Keyring, Secret32};

/// What a target does with its input.
pub type Body = fn(&[u8]);

/// Each target by the name that its corpus and its program have too.
pub const TARGETS: &[(&str, Body)] = &[
    ("clear", clear::run),
    ("codec", codec::run),
    ("envelope", envelope::run),
    ("gunzip", streams::gunzip),
    ("index", index::run),
    ("jsonpath", templates::jsonpath),
    ("lint", recipes::lint),
    ("objects", objects::run),
    ("output", recipes::output),
    ("pack", pack::run),
    ("profile", recipes::profile),
    ("repository", repository::run),
    ("rewrap", streams::rewrap),
    ("sniffer", streams::sniffer),
    ("template", templates::template),
    ("yaml", recipes::yaml),
];

/// Runs the body of a target.
///
/// # Panics
/// If there is no such target, or the input breaks a promise.
pub fn run(target: &str, input: &[u8]) {
    let body = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of the table").1;
    body(input);
}

/// Keys everybody knows: whatever is sealed with them passes its seals, whoever made it up.
fn keys() -> Keyring {
    Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]))
}
