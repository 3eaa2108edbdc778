//! Tests of the YAML codec: the same values as Kubernetes' own tools read, and errors with their places.

use super::*;
use crate::{ActionSet, Blueprint};
use proptest::prelude::*;
use serde_json::json;

/// Read otherwise than by `sigs.k8s.io/yaml`: the text, whether it is read at all, and why.
const OTHERWISE: &[(&str, bool, &str)] = &[
    ("1: a\n'1': b\n", false, "one JSON key from two YAML keys: which one wins is left to chance there"),
    ("\ta: 1\n", true, "YAML 1.2 allows a tab before the first key, and no harm comes of it"),
];

#[test]
fn values_are_those_of_kubernetes_own_reader() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../../fixtures/kanister/yaml-cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let text = case["yaml"].as_str().unwrap();
        let found = parse(text).map(|d| d.first().map_or(Value::Null, |d| d.value.clone()));
        let otherwise = OTHERWISE.iter().find(|(t, ..)| *t == text);
        let right = match (&found, case.get("json")) {
            (found, _) if otherwise.is_some_and(|(_, read, _)| found.is_ok() == *read) => true,
            (Ok(found), Some(expected)) => same(found, expected),
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{text:?}: {found:?}, expected {:?}", case.get("json").or(case.get("error"))));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Equal, with numbers compared as numbers: JSON does not tell 1e21 from 1000000000000000000000.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| same(v, b)))
        }
        _ => a == b,
    }
}

#[test]
fn every_value_and_key_has_its_place() {
    let text = "a: 1\nlist:\n- x\n- k/e~y: {z: 5}\nblock: |\n  text\n";
    let document = parse(text).unwrap().remove(0);
    let place = |line, column| Some(Place { line, column });
    assert_eq!(document.place("/a"), place(1, 4));
    assert_eq!(document.key_place("/list"), place(2, 1));
    assert_eq!(document.place("/list/0"), place(3, 3));
    assert_eq!(document.place("/list/1/k~1e~0y/z"), place(4, 14));
    assert_eq!(document.key_place("/block"), place(5, 1));
    assert_eq!(document.place("/none"), None);
    assert_eq!(document.key_place("/list/0"), None);
}

#[test]
fn documents_are_told_apart_and_empty_ones_left_out() {
    let documents = parse("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n").unwrap();
    let values: Vec<&Value> = documents.iter().map(Document::value).collect();
    assert_eq!(values, [&json!({"a": 1}), &json!({"b": 2})]);
    assert_eq!(documents[1].place("/b"), Some(Place { line: 7, column: 4 }));
}

#[test]
fn an_anchor_of_one_document_is_unknown_in_the_next() {
    assert!(parse("a: &x 1\n---\nb: *x\n").is_err());
}

#[test]
fn a_wrong_type_is_told_with_line_column_and_path() {
    let text = "kind: Blueprint\nactions:\n  backup:\n    phases:\n    - func: KubeTask\n      name: 5\n";
    let error = decode::<Blueprint>(text).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 6, column 13: actions.backup.phases[0].name: invalid type: integer `5`, expected a string"
    );
}

#[test]
fn a_wrong_kind_is_told() {
    let error = decode::<Blueprint>("kind: Secret\nactions: {}\n").unwrap_err().to_string();
    assert_eq!(error, "line 1, column 7: kind: invalid value: string \"Secret\", expected Blueprint");
    let error = decode::<ActionSet>("apiVersion: v1\n").unwrap_err().to_string();
    assert!(error.ends_with("expected cr.kanister.io/v1alpha1"), "{error}");
}

#[test]
fn a_text_where_a_mapping_belongs_is_not_shown() {
    let error = decode::<Blueprint>("actions: hunter2\n").unwrap_err().to_string();
    assert_eq!(error, "line 1, column 10: actions: invalid type: string, expected a map");
}

#[test]
fn one_document_is_asked_for() {
    assert_eq!(decode::<Blueprint>("").unwrap_err().to_string(), "expected one document, found 0");
    let error = decode::<Blueprint>("a: 1\n---\nb: 1\n").unwrap_err().to_string();
    assert_eq!(error, "line 3, column 1: expected one document, found 2");
}

#[test]
fn a_key_that_stands_twice_is_told_where() {
    let error = parse("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err().to_string();
    assert_eq!(error, "line 4, column 3: the key `b` stands here a second time");
}

#[test]
fn what_grows_without_end_is_refused() {
    let deep = "[".repeat(DEPTH_MAX + 2);
    assert!(parse(&deep).unwrap_err().problem.contains("nested deeper"), "{:?}", parse(&deep));
    // Nine anchors, each nine times the one before: a few hundred bytes for a billion values.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..=9 {
        let uses = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
    }
    assert!(parse(&bomb).unwrap_err().problem.contains("aliases counted each time"));
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    assert!(parse(&long).unwrap_err().problem.contains("longer than"));
}

#[test]
fn what_is_written_looks_as_kubernetes_tools_write_it() {
    let value = json!({
        "metadata": {"creationTimestamp": null, "name": "x"},
        "kind": "Blueprint",
        "words": ["yes", "on", "1", "null", "plain", "{{ .X }}"],
        "script": "set -o pipefail\n  a | b\n",
        "empty": {},
        "long": "word ".repeat(40),
    });
    let expected = format!(
        "empty: {{}}\nkind: Blueprint\nlong: {:?}\nmetadata:\n  creationTimestamp: null\n  name: x\nscript: |\n  set -o pipefail\n    a | b\nwords:\n- \"yes\"\n- \"on\"\n- \"1\"\n- \"null\"\n- plain\n- \"{{{{ .X }}}}\"\n",
        "word ".repeat(40)
    );
    assert_eq!(print(&value).unwrap(), expected);
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[ -~\n\t]{0,12}",
        any::<String>(),
        proptest::sample::select(vec![
            "yes", "No", "~", "1e3", "0x1", "<<", "-", "? a", "a: b", "x #y", ".5", "|", "\n", " \n x"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(word.clone(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_json()) {
        let text = print(&value).unwrap();
        let documents = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        let back = documents.first().map_or(Value::Null, |d| d.value.clone());
        prop_assert!(same(&back, &value), "{text}\n{back}\n{value}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a-c:{}\\[\\]&*!|>'\"#?<%@` \n\t0-9,.~\\\\]{0,60}") {
        let _ = parse(&text);
    }
}
