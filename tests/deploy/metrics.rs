//! Alerts and dashboards ask for metrics and labels that the controller has.

use crate::helm::{parsed, root};
use regex::Regex;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn found<'t>(pattern: &str, text: &'t str) -> Vec<regex::Captures<'t>> {
    Regex::new(pattern).unwrap().captures_iter(text).collect()
}

/// The names on the page `/metrics`, from the source: a family shows nothing before it counts something.
fn served() -> BTreeSet<String> {
    let source = read("crates/controller/src/metrics.rs");
    let page = cistern_controller::Metrics::new().render();
    let kinds: Vec<(String, String)> = found(r"(?m)^    (\w+): ([\w<>, ]+),$", &source)
        .iter()
        .map(|field| (field[1].to_owned(), field[2].to_owned()))
        .collect();
    let mut names = BTreeSet::new();
    for registered in found(r#"(?s)r\.register\(\s*"(\w+)".*?self\.(\w+)\.clone\(\)"#, &source) {
        let (_, kind) = kinds.iter().find(|(field, _)| *field == registered[2]).unwrap();
        let suffixes: &[&str] = match kind {
            k if k.contains("Counter") => &["_total"],
            k if k.contains("Histogram") => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("cistern_{}{suffix}", &registered[1])));
    }
    // The page of a controller that has just begun bears out what was read.
    let shown: Vec<&str> =
        page.lines().filter(|l| !l.starts_with('#')).map(|l| l.split([' ', '{']).next().unwrap()).collect();
    assert!(shown.len() >= 2 && shown.iter().all(|name| names.contains(*name)), "{shown:?} {names:?}");
    names
}

/// The labels of all metrics, and those that Prometheus adds for who was asked.
fn labels() -> BTreeSet<String> {
    let source = read("crates/controller/src/metrics.rs");
    let sets = found(r"(?s)EncodeLabelSet[^{]*\{(.*?)\}", &source);
    let own = sets.iter().flat_map(|set| {
        found(r"(\w+):", set.get(1).unwrap().as_str()).iter().map(|f| f[1].to_owned()).collect::<Vec<_>>()
    });
    own.chain(["le", "namespace"].map(str::to_owned)).collect()
}

/// Every expression, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let alerts = parsed(&read("deploy/alerts/cistern.yaml"));
    let mut all: Vec<(String, String)> = alerts[0]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (text(&rule["alert"]), text(&rule["expr"])))
        .collect();
    let dashboard: Json = serde_json::from_str(&read("deploy/grafana/cistern.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        all.push((text(&variable["name"]), text(&variable["query"])));
    }
    all
}

fn text(value: &Json) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn every_metric_that_is_asked_for_is_served() {
    let served = served();
    let expressions = expressions();
    assert!(expressions.len() > 20);
    let mut asked = BTreeSet::new();
    for (place, expression) in &expressions {
        for name in found(r"cistern_\w+", expression) {
            assert!(served.contains(&name[0]), "{place}: {} is not among {served:?}", &name[0]);
            asked.insert(name[0].to_owned());
        }
    }
    assert!(asked.len() >= 10, "{asked:?}");
}

#[test]
fn every_label_that_is_asked_for_is_there() {
    let labels = labels();
    assert!(labels.contains("blueprint") && labels.contains("reason"), "{labels:?}");
    for (place, expression) in expressions() {
        let grouped = found(r"by \(([^)]*)\)", &expression);
        let grouped = grouped.iter().flat_map(|by| by.get(1).unwrap().as_str().split(", "));
        let matched = found(r#"(\w+)=~?""#, &expression);
        let matched = matched.iter().map(|m| m.get(1).unwrap().as_str());
        for label in grouped.chain(matched) {
            assert!(labels.contains(label), "{place}: {label} is not among {labels:?}");
        }
        let depth = expression.chars().fold(0_i32, |d, c| d + i32::from(c == '(') - i32::from(c == ')'));
        assert_eq!(depth, 0, "{place}: {expression}");
    }
    for used in found(r"\$labels\.(\w+)", &read("deploy/alerts/cistern.yaml")) {
        assert!(labels.contains(&used[1]), "{}", &used[1]);
    }
}
