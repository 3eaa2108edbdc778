//! Every blueprint on paper: read, checked by `kanctl validate` and `kanctl lint`, written our way, explained.

use crate::stage::blueprints;
use crate::support::home::{Home, files_below, run};
use cistern_api::{Blueprint, yaml};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Files of blueprints, in order.
fn files() -> Vec<PathBuf> {
    let mut files = files_below(&blueprints());
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

fn read(path: &PathBuf) -> (String, Blueprint) {
    let text = std::fs::read_to_string(path).unwrap();
    let blueprint = yaml::decode(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (text, blueprint)
}

#[test]
fn there_is_one_for_every_application_and_a_page_with_it() {
    let found: BTreeSet<String> = files()
        .iter()
        .map(|p| p.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let expected = [
        "cassandra",
        "elasticsearch",
        "etcd",
        "kafka",
        "mongodb",
        "mysql",
        "postgresql",
        "redis",
        "time-log",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
    for application in expected {
        let page = std::fs::read_to_string(blueprints().join(application).join("README.md")).unwrap();
        assert!(page.starts_with("# "), "{application}");
    }
    assert_eq!(files().len(), 11);
}

#[test]
fn names_differ_and_every_one_backs_up_verifies_restores_and_deletes() {
    let mut names = BTreeSet::new();
    for path in files() {
        let (_, blueprint) = read(&path);
        assert!(names.insert(blueprint.metadata.name.clone().unwrap()), "{}", path.display());
        for action in ["backup", "restore", "delete"] {
            assert!(
                blueprint.action(action).is_some_and(|a| !a.phases.is_empty()),
                "{}: {action}",
                path.display()
            );
        }
        let backup = blueprint.action("backup").unwrap();
        assert!(backup.phases.iter().any(|phase| phase.name == "verify"), "{}", path.display());
        let artifact: Vec<&String> = backup.output_artifacts.keys().collect();
        for action in ["restore", "delete"] {
            let wanted: Vec<&String> =
                blueprint.action(action).unwrap().input_artifact_names.iter().collect();
            assert!(wanted == artifact || wanted.is_empty(), "{}: {action}", path.display());
        }
    }
}

/// What every option stands for is said in the README beside the blueprint.
#[test]
fn every_option_is_explained() {
    for path in files() {
        let (text, _) = read(&path);
        let page = std::fs::read_to_string(path.parent().unwrap().join("README.md")).unwrap();
        let by_index = text.split("index .Options \"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let by_name = text.split(".Options.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap());
        for option in by_index.chain(by_name) {
            assert!(page.contains(&format!("| `{option}` |")), "{}: {option}", path.display());
        }
    }
}

#[test]
fn they_are_written_our_way() {
    for path in files() {
        let (text, blueprint) = read(&path);
        assert!(!text.contains("gzip"), "{}: gzip hides what two dumps have in common", path.display());
        for action in blueprint.actions.values().flatten() {
            for phase in action.phases.iter().chain(&action.defer_phase) {
                let Some(command) = phase.args.get("command") else { continue };
                let words: Vec<&str> =
                    command.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
                let shell = ["bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c"];
                assert_eq!(words[..words.len() - 1], shell, "{}: {}", path.display(), phase.name);
            }
        }
    }
}

/// The scripts are bash, at least.
#[test]
fn every_script_parses() {
    for path in files() {
        let (_, blueprint) = read(&path);
        for action in blueprint.actions.values().flatten() {
            for phase in action.phases.iter().chain(&action.defer_phase) {
                let Some(script) = phase.args.get("command").and_then(|c| c.as_array()?.last()?.as_str())
                else {
                    continue;
                };
                let mut command = std::process::Command::new("bash");
                command.arg("-n");
                // What a template stands for is a word to bash.
                let plain = without_templates(script);
                let ran = run(command, plain.as_bytes());
                assert_eq!(ran.code, Some(0), "{}: {}: {}", path.display(), phase.name, ran.err);
            }
        }
    }
}

fn without_templates(script: &str) -> String {
    let mut parts = script.split("{{");
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        plain.push_str("word");
        plain.push_str(part.split_once("}}").unwrap().1);
    }
    plain
}

#[test]
fn validate_and_lint_have_nothing_to_say() {
    let home = Home::new();
    for path in files() {
        let file = path.display().to_string();
        for check in [
            &["kanctl", "validate", "blueprint", "-f", &file][..],
            &["kanctl", "lint", "--strict", "-f", &file],
        ] {
            let ran = home.run(check, b"");
            assert_eq!(ran.code, Some(0), "{check:?}: {}{}", String::from_utf8_lossy(&ran.out), ran.err);
        }
    }
}
