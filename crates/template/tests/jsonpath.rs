//! JSONPath against kubectl's own answers (client-go 0.34.1), kept in `fixtures/templates/jsonpath.json`.

#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use cistern_template::{ErrorKind, JsonPath, Limits, Value};
use serde_json::Value as Json;

const CASES: &str = include_str!("../../../fixtures/templates/jsonpath.json");

fn file() -> Json {
    serde_json::from_str(CASES).unwrap()
}

fn render(path: &str, object: &Value) -> Result<String, cistern_template::Error> {
    let out = JsonPath::parse(path)?.render(object, &Limits::default())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn agrees_with_kubectl() {
    let file = file();
    let object = Value::from_json(&file["object"]);
    let mut failures = Vec::new();
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let path = case["path"].as_str().unwrap();
        let ok = match (render(path, &object), case["out"].as_str()) {
            (Ok(out), Some(want)) => out == want,
            (Err(e), None) => (*e.kind() == ErrorKind::Parse) == case["parse"].as_bool().unwrap(),
            _ => false,
        };
        if !ok {
            failures.push(format!("{path}\n  ours {:?}\n  kubectl's {case}", render(path, &object)));
        }
    }
    assert!(cases.len() > 1000, "the case file holds {} cases", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn substitutes_paths_in_a_condition() {
    let object = Value::from_json(&file()["object"]);
    let limits = Limits::default();
    let go = |text: &str| JsonPath::substitute(text, &object, &limits);
    assert_eq!(
        go(r#"{{ if and (eq "{ $.status.phase }" "Running") (eq {$.spec.replicas} 3) }}true{{ end }}"#)
            .unwrap(),
        r#"{{ if and (eq "Running" "Running") (eq 3 3) }}true{{ end }}"#
    );
    assert_eq!(go("{$.status.counts[]} {$.status.counts[]}").unwrap(), "5 5");
    assert_eq!(go("[{$.spec.nodes[a]}]").unwrap(), "[]", "a path that cannot be read becomes nothing");
    let missing = go("{$.status.finished}").unwrap_err();
    assert_eq!(*missing.kind(), ErrorKind::Exec);
    assert_eq!(missing.to_string(), "evaluate jsonpath: finished is not found");
}

#[test]
fn is_bounded() {
    let object = Value::from_json(&file()["object"]);
    let limits = Limits { output_bytes: 100, ..Limits::default() };
    let long = "{$.metadata.name}".repeat(60);
    let e = JsonPath::substitute(&long, &object, &limits).unwrap_err();
    assert_eq!(*e.kind(), ErrorKind::Limit);
    let data = serde_json::json!({ "a": "{$.b}".repeat(10), "b": "twelve bytes" });
    let e = JsonPath::substitute("{$.a}{$.b}", &Value::from_json(&data), &limits).unwrap_err();
    assert_eq!(*e.kind(), ErrorKind::Limit, "ten are replaced at once");
    let few = Limits { steps: 20, ..Limits::default() };
    let e = JsonPath::parse("{..name}").unwrap().render(&object, &few).unwrap_err();
    assert_eq!(*e.kind(), ErrorKind::Limit);
    let nested = "[?(@.a".repeat(500) + &")]".repeat(500);
    assert_eq!(*JsonPath::parse(&format!("{{{nested}}}")).unwrap_err().kind(), ErrorKind::Parse);
}

#[test]
fn the_places_of_paths_are_known_without_data() {
    let text = "é{ $.a.b }x{$.c[}{{ $v }} {$.open";
    let places = JsonPath::places(text);
    let shown: Vec<_> = places.iter().map(|(range, path)| (&text[range.clone()], path.is_ok())).collect();
    assert_eq!(shown, [("{ $.a.b }", true), ("{$.c[}", false), ("{ $v }", true)]);
    assert!(places[1].1.as_ref().unwrap_err().to_string().contains("unterminated"));
}
