//! Planted defects and what is said of them: blueprints whose last lines list the complaints they earn.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

/// How a blueprint's last lines begin: `# complains: RULE LINE:COLUMN`.
const EXPECTED: &str = "# complains: ";

fn blueprints(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/blueprints").join(folder);
    let mut found: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn said(text: &str) -> Vec<String> {
    check(text)
        .iter()
        .map(|c| {
            let place = c.place.map_or("nowhere".to_owned(), |p| format!("{}:{}", p.line, p.column));
            format!("{} {place}", c.rule.id)
        })
        .collect()
}

#[test]
fn every_planted_defect_is_found_at_its_place_and_nothing_else() {
    for folder in ["broken", "idioms"] {
        for (name, text) in blueprints(folder) {
            let expected: Vec<String> =
                text.lines().filter_map(|line| line.strip_prefix(EXPECTED)).map(str::to_owned).collect();
            assert!(!expected.is_empty(), "{name} lists no complaints");
            assert_eq!(said(&text), expected, "{name}:\n{:#?}", check(&text));
        }
    }
}

#[test]
fn good_blueprints_earn_no_complaint() {
    for (name, text) in blueprints("good") {
        assert_eq!(check(&text), [], "{name}");
    }
}

#[test]
fn every_rule_is_broken_by_some_blueprint() {
    let broken: BTreeSet<&str> = blueprints("broken")
        .iter()
        .flat_map(|(_, text)| check(text))
        .map(|complaint| complaint.rule.id)
        .collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(broken, rules);
}

#[test]
fn documents_of_other_kinds_are_passed_over() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nphases: 5\n";
    assert_eq!(check(secret), []);
    let both = format!("{secret}---\napiVersion: cr.kanister.io/v1alpha1\nkind: Blueprint\nactions: {{}}\n");
    assert_eq!(said(&both), ["schema/empty 8:10"]);
}

#[test]
fn a_message_says_what_was_meant() {
    let text = "apiVersion: cr.kanister.io/v1alpha1\nkind: Blueprint\nactions:\n  a:\n    phases:\n    - name: p\n      func: KubeTask\n      args: {image: i, command: ['{{ .Phases.q.Output.x }}']}\n";
    let complaints = check(text);
    let [complaint] = complaints.as_slice() else { panic!("{complaints:?}") };
    assert_eq!(complaint.message, "action \"a\" has no phase \"q\"; there is p");
    assert_eq!(complaint.path, "actions.a.phases[0].args.command[0]");
}
