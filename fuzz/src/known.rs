//! Every target on its corpus, and on some thousand inputs made from it: the fuzzing that any toolchain can do.

use crate::{TARGETS, run};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Mutated inputs per target; a whole repository is read for each one of `repository`.
fn mutations(target: &str) -> usize {
    if target == "repository" { 400 } else { 3000 }
}

/// The address space of this program, in bytes: an input that makes a body ask for more ends the test.
const MEMORY_BYTES_MAX: u64 = 8 << 30;
/// The corpora together stay small, in bytes.
const CORPORA_BYTES_MAX: usize = 300_000;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The committed inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpora().join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// A change such as fuzzers make: flip, overwrite, insert, cut, copy from elsewhere in the corpus.
fn mutate(dice: &mut Xoshiro256PlusPlus, input: &mut Vec<u8>, other: &[u8]) {
    let at = dice.random_range(0..=input.len());
    match dice.random_range(0..6) {
        0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
        1 if at < input.len() => input[at] = *[0, 1, 0x7f, 0x80, 0xff].get(dice.random_range(0..5)).unwrap(),
        2 => input.truncate(at),
        3 => {
            let mut fresh = [0; 8];
            dice.fill_bytes(&mut fresh);
            input.splice(at..at, fresh[..dice.random_range(1..=8)].iter().copied());
        }
        4 if !other.is_empty() => {
            let from = dice.random_range(0..other.len());
            let len = dice.random_range(1..=64).min(other.len() - from);
            let end = (at + len).min(input.len());
            input.splice(at..end, other[from..from + len].iter().copied());
        }
        _ => {
            let end = (at + dice.random_range(0..16)).min(input.len());
            input.drain(at..end);
        }
    }
}

fn survives(target: &str, input: &[u8], what: &str) {
    let survived = catch_unwind(|| run(target, input));
    assert!(survived.is_ok(), "{target}, {what}: {} (in hex)", hex::encode(input));
}

fn every_input_of(target: &str) {
    let limit = rustix::process::Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).expect("a limit may be lowered");
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{target} has no corpus");
    for (name, input) in &inputs {
        survives(target, input, name);
    }
    let mut dice = Xoshiro256PlusPlus::seed_from_u64(1);
    for round in 0..mutations(target) {
        let mut pick = || &inputs[dice.random_range(0..inputs.len())].1;
        let (mut input, other) = (pick().clone(), pick());
        for _ in 0..dice.random_range(1..=4) {
            mutate(&mut dice, &mut input, other);
        }
        survives(target, &input, &format!("mutation {round}"));
    }
}

/// One test per target, so that they run side by side and say which one failed.
macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                every_input_of(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test_a_corpus_and_a_program() {
            let named = |names: Vec<String>| names.into_iter().collect::<BTreeSet<String>>();
            let wanted = named(TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
            let entries = |folder: PathBuf| {
                let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
                named(names.map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect())
            };
            assert_eq!(named(vec![$(stringify!($name).to_owned()),*]), wanted);
            assert_eq!(entries(corpora()), wanted);
            assert_eq!(entries(corpora().with_file_name("targets")), wanted);
        }
    };
}

targets!(
    clear, codec, envelope, gunzip, index, jsonpath, lint, objects, output, pack, profile, repository,
    rewrap, sniffer, template, yaml
);

#[test]
fn the_corpora_stay_small() {
    let bytes: usize = TARGETS.iter().flat_map(|(name, _)| corpus(name)).map(|(_, input)| input.len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}
