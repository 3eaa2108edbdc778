//! Tests of the weak conversions, by the table of the library Kanister decodes with.

use super::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;

fn one<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let Value::Object(args) = json!({ "arg": value }) else { unreachable!("an object was written") };
    argument::<T>(&args, "arg").map_err(|e| e.to_string()).map(|v| v.expect("the argument is there"))
}

fn takes<T: DeserializeOwned + PartialEq + Debug>(cases: &[(Value, T)]) {
    for (value, expected) in cases {
        assert_eq!(one::<T>(value.clone()).as_ref(), Ok(expected), "{value}");
    }
}

fn refuses<T: DeserializeOwned + Debug>(cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        let error = one::<T>(value.clone()).unwrap_err();
        assert_eq!(error, format!("argument `arg{expected}"), "{value}");
    }
}

/// Numbers that do not fit: the library cuts them to another number, here they are refused.
const TOO_LARGE: &[&str] = &["2147483648", "12345678901", "1e+21"];

/// What the library itself made of the same values.
#[test]
fn conversions_are_those_of_mapstructure() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../../fixtures/kanister/weak-cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let found = match case["type"].as_str().unwrap() {
            "string" => one::<String>(case["in"].clone()).map(Value::from),
            "int" => one::<i64>(case["in"].clone()).map(Value::from),
            "int32" => one::<i32>(case["in"].clone()).map(Value::from),
            "bool" => one::<bool>(case["in"].clone()).map(Value::from),
            "float64" => one::<f64>(case["in"].clone()).map(Value::from),
            "[]string" => one::<Vec<String>>(case["in"].clone()).map(Value::from),
            "[]int" => one::<Vec<i64>>(case["in"].clone()).map(Value::from),
            "map[string]string" => one::<BTreeMap<String, String>>(case["in"].clone()).map(|m| json!(m)),
            "map[string]any" => one::<BTreeMap<String, Value>>(case["in"].clone()).map(|m| json!(m)),
            other => panic!("unknown type {other}"),
        };
        let right = match (&found, case.get("out")) {
            (Ok(found), Some(expected)) => {
                found == expected || found.as_f64().is_some_and(|f| expected.as_f64() == Some(f))
            }
            (Err(_), None) => true,
            (Err(_), Some(_)) => TOO_LARGE.contains(&case["in"].to_string().as_str()),
            (Ok(_), None) => false,
        };
        if !right {
            wrong.push(format!(
                "{} as {}: {found:?}, expected {:?}",
                case["in"],
                case["type"],
                case.get("out")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_single_value_stands_for_a_list_of_one() {
    takes::<Vec<String>>(&[
        (json!("ls"), vec!["ls".to_owned()]),
        (json!(5), vec!["5".to_owned()]),
        (json!(["a", 1, true]), vec!["a".to_owned(), "1".to_owned(), "1".to_owned()]),
        (json!([]), vec![]),
    ]);
}

#[test]
fn what_cannot_be_converted_is_refused_without_showing_it() {
    refuses::<String>(&[(json!(["hunter2"]), "`: expected a text, found a list")]);
    refuses::<bool>(&[(json!("hunter2"), "`: expected true or false, found another text")]);
    refuses::<i64>(&[(json!("hunter2"), "`: expected a whole number, found another text")]);
    refuses::<u8>(&[
        (json!(256), "`: expected a number from 0 to 255"),
        (json!(-1), "`: expected a number from 0 to 255"),
    ]);
    refuses::<Vec<String>>(&[(json!(["a", {"hunter2": 1}]), "[1]`: expected a text, found an object")]);
    refuses::<BTreeMap<String, String>>(&[
        (json!("hunter2"), "`: expected a mapping, found a string"),
        (json!({"k": ["hunter2"]}), ".k`: expected a text, found a list"),
    ]);
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TaskArgs {
    image: String,
    command: Vec<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    fail_on_error: bool,
    #[serde(default)]
    volumes: BTreeMap<String, String>,
}

#[test]
fn all_arguments_at_once() {
    let Value::Object(args) = json!({
        "image": "tools:1", "command": "true", "failOnError": "T", "namespace": null, "volumes": {"data": 5}
    }) else {
        unreachable!("an object was written")
    };
    let expected = TaskArgs {
        image: "tools:1".to_owned(),
        command: vec!["true".to_owned()],
        namespace: None,
        fail_on_error: true,
        volumes: BTreeMap::from([("data".to_owned(), "5".to_owned())]),
    };
    assert_eq!(decode::<TaskArgs>(&args).unwrap(), expected);
}

#[test]
fn a_missing_and_an_unknown_argument_are_named() {
    let object = |value: Value| if let Value::Object(object) = value { object } else { Object::new() };
    let error = decode::<TaskArgs>(&object(json!({"image": "x"}))).unwrap_err();
    assert!(error.to_string().contains("missing field `command`"), "{error}");
    let error = decode::<TaskArgs>(&object(json!({"image": "x", "command": [], "comand": []}))).unwrap_err();
    assert!(error.to_string().contains("unknown field `comand`"), "{error}");
    let error = decode::<TaskArgs>(&object(json!({"image": "x", "command": ["a", []]}))).unwrap_err();
    assert_eq!(error.to_string(), "argument `command[1]`: expected a text, found a list");
}

#[test]
fn a_missing_argument_is_none() {
    assert_eq!(argument::<String>(&Object::new(), "x"), Ok(None));
    let Value::Object(args) = json!({ "x": null }) else { unreachable!("an object was written") };
    assert_eq!(argument::<String>(&args, "x"), Ok(None));
}
