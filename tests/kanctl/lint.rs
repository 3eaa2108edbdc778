//! `kanctl lint`: what it prints in each format, and how it ends.

use super::{kanctl, printed};
use serde_json::Value as Json;

fn blueprint(name: &str) -> String {
    format!("{}/fixtures/blueprints/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn good_blueprints_pass_in_silence() {
    for name in ["tutorial", "time-log", "mongodb", "consistent-snapshot", "operator", "connector"] {
        let file = blueprint(&format!("good/{name}.yaml"));
        assert_eq!(printed(&["lint", "--strict", "-f", &file], ""), "");
    }
}

#[test]
fn every_complaint_is_a_line_with_its_place() {
    let file = blueprint("broken/phases.yaml");
    let ran = kanctl(&["lint", "-f", &file], "");
    assert_eq!(ran.code, Some(1));
    let out = String::from_utf8(ran.out).unwrap();
    let want = format!(
        "{file}:10:21: error: action \"backup\" has no phase \"dmp\"; did you mean \"dump\"? [template/phase]"
    );
    assert!(out.lines().any(|line| line == want), "{out}");
    let expected = std::fs::read_to_string(&file).unwrap().matches("# complains: ").count();
    assert_eq!(out.lines().count(), expected);
    assert!(ran.err.contains("8 errors, 3 warnings"), "{}", ran.err);
}

#[test]
fn warnings_fail_only_when_they_should() {
    let file = blueprint("idioms/pipelines.yaml");
    assert_eq!(kanctl(&["lint", "-f", &file], "").code, Some(0));
    assert_eq!(kanctl(&["lint", "--strict", "-f", &file], "").code, Some(1));
}

#[test]
fn several_files_and_standard_input() {
    let text = "apiVersion: cr.kanister.io/v1alpha1\nkind: Blueprint\nactions:\n  a: {phases: [{func: Quux, name: p}]}\n";
    let ran = kanctl(&["lint", "-f", &blueprint("good/tutorial.yaml"), "-f", "-"], text);
    assert_eq!(ran.code, Some(1));
    let out = String::from_utf8(ran.out).unwrap();
    assert_eq!(out, "standard input:4:23: error: there is no function \"Quux\" [function/unknown]\n");
    let plain = kanctl(&["lint", &blueprint("good/tutorial.yaml"), "-"], text);
    assert_eq!((plain.code, plain.out), (Some(1), out.into_bytes()), "files need no flag");
    assert_eq!(kanctl(&["lint"], "").code, Some(2));
    let ran = kanctl(&["lint", "-f", "nowhere.yaml"], "");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("nowhere.yaml"));
}

#[test]
fn json_has_a_complaint_per_line_of_text() {
    let file = blueprint("broken/shell.yaml");
    for flags in [&["--json"][..], &["--format", "json"]] {
        let ran = kanctl(&[&["lint", "-f", &file], flags].concat(), "");
        assert_eq!(ran.code, Some(1));
        let report: Json = serde_json::from_slice(&ran.out).unwrap();
        assert_eq!((&report["errors"], &report["warnings"]), (&2.into(), &8.into()));
        let first = &report["complaints"][0];
        assert_eq!(
            (&first["rule"], &first["line"], &first["column"], &first["severity"]),
            (&"shell/pipefail".into(), &19.into(), &25.into(), &"error".into())
        );
        assert_eq!(first["path"], "actions.backup.phases[0].args.command[4]");
    }
}

/// The parts of the SARIF 2.1.0 schema that code hosts insist on.
#[test]
fn sarif_is_what_code_hosts_read() {
    let file = blueprint("broken/functions.yaml");
    let ran = kanctl(&["lint", "--format", "sarif", "-f", &file], "");
    let log: Json = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "kanctl lint");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), std::fs::read_to_string(&file).unwrap().matches("# complains: ").count());
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], file.as_str());
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
    }
}
