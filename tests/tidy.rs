//! The rules of the house that a machine can hold: arrows between crates, absent words, tidy files.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which crate may lean on which. To add an arrow, add it here and say why in ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("format", &[]),
    ("kanx", &[]),
    ("store", &[]),
    ("stream", &[]),
    ("template", &[]),
    ("repo", &["format", "store"]),
    ("mover", &["api", "repo", "store", "stream"]),
    ("action", &["api", "template"]),
    ("functions", &["action", "api", "template"]),
    ("controller", &["action", "api", "functions"]),
    ("rds", &["functions", "store"]),
    ("sim", &["api", "functions", "store"]),
    (
        "cistern",
        &[
            "action",
            "api",
            "controller",
            "format",
            "functions",
            "kanx",
            "mover",
            "rds",
            "repo",
            "store",
            "stream",
        ],
    ),
];

/// Words that must not stand in a crate's production code.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "api",
        &[
            "async ",
            "std::fs",
            "std::net",
            "tokio",
            "SystemTime",
            "Instant",
            "std::env",
            "println!",
            "cistern_",
            ".unwrap()",
        ],
    ),
    (
        "format",
        &["async ", "std::fs", "std::net", "tokio", "SystemTime", "getrandom", "std::env", "println!"],
    ),
    (
        "stream",
        &["async ", "std::fs", "std::net", "tokio", "SystemTime", "std::thread", "std::env", "println!"],
    ),
    ("kanx", &[".unwrap()", "std::env", "println!", "SystemTime", "std::time::Instant", "std::thread"]),
    ("store", &["std::env::", "println!", "cistern_format"]),
    (
        "action",
        &["async ", "std::fs", "std::net", "std::env", "tokio", "SystemTime", "jiff", "println!", "kube::"],
    ),
    (
        "functions",
        &[
            ".unwrap()",
            "std::env",
            "std::fs",
            "std::net",
            "std::time::Instant",
            "SystemTime",
            "println!",
            "kube::",
            "ActionSetStatus",
        ],
    ),
    (
        "controller",
        &[
            ".unwrap()",
            "std::env",
            "std::fs",
            "std::net",
            "std::time::Instant",
            "SystemTime",
            "println!",
            "cistern_repo",
            "cistern_store",
        ],
    ),
    ("mover", &["std::env::", "println!", "std::fs", "std::process", "cistern_format"]),
    ("rds", &["std::env", "std::fs", "std::net", "tokio", "println!", "Instant", "SystemTime"]),
    ("repo", &["std::env::", "println!", "std::fs", "std::net", "object_store"]),
    (
        "template",
        &["std::fs", "TcpStream", "UdpSocket", "ToSocketAddrs", "tokio", "println!", "kube::", "k8s_"],
    ),
];

const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(krate: &str) -> toml::Table {
    let dir = if krate == "cistern" { root() } else { root().join("crates").join(krate) };
    fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A file up to its tests.
fn production(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|s| s == "tests") || path.components().any(|c| c.as_os_str() == "tests")
}

#[test]
fn arrows_point_one_way() {
    let crates: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .chain(["cistern".to_owned()])
        .collect();
    let listed: BTreeSet<String> = ARROWS.iter().map(|(k, _)| (*k).to_owned()).collect();
    assert_eq!(crates, listed, "a crate without a row, or a row without a crate");
    for (krate, allowed) in ARROWS {
        let manifest = manifest(krate);
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            if let Some(target) = dependency.strip_prefix("cistern-") {
                assert!(allowed.contains(&target), "{krate} must not lean on {target}");
            }
        }
    }
}

#[test]
fn words_that_must_be_absent_are() {
    let mut wrong = Vec::new();
    for (krate, words) in ABSENT {
        for path in sources(&root().join("crates").join(krate).join("src")) {
            if is_test(&path) {
                continue;
            }
            for (number, line) in production(&path).lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for word in words.iter().filter(|w| code.contains(**w)) {
                    wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_fits_the_eye() {
    let mut wrong = Vec::new();
    let rooms = ["src", "crates", "tests", "benches", "fuzz"].map(|d| root().join(d));
    for path in rooms.iter().flat_map(|d| sources(d)) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.lines().take(5).any(|l| l.starts_with("//!")) {
            wrong.push(format!("{}: says in no //! line what it is for", path.display()));
        }
        let lines = production(&path).lines().count();
        if lines > LINES_MAX && !is_test(&path) {
            wrong.push(format!("{}: {lines} lines, at most {LINES_MAX} are allowed", path.display()));
        }
        for (number, line) in text.lines().enumerate() {
            // Put together here so that this file does not find itself.
            if ["TO", "FIX"].iter().zip(["DO", "ME"]).any(|(a, b)| line.contains(&format!("{a}{b}"))) {
                wrong.push(format!("{}:{}: unfinished mark", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
