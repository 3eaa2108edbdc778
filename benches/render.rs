//! Criterion bench of rendering: all templates of a typical backup action, from what was seen to arguments.
//!
//! `cargo bench --bench render`. The goal is less than a millisecond per action.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::disallowed_methods, reason = "the macro json! unwraps what cannot fail")]

use cistern_action::params::{Material, PhaseView, PhaseViews, ResolvedProfile, Workload, root};
use cistern_action::render::Renderer;
use cistern_api::{ActionSpec, Blueprint, BlueprintAction, ObjectReference, yaml};
use cistern_template::Time;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;

/// Labels and environment of a workload as charts make them: enough for an object of usual size.
const ENTRIES: usize = 60;

fn object() -> Value {
    let label = |i: usize| (format!("example.com/label-{i}"), json!(format!("value-{i}")));
    let env: Vec<Value> = (0..ENTRIES).map(|i| json!({ "name": format!("V{i}"), "value": "x" })).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "db", "namespace": "app", "labels": (0..ENTRIES).map(label).collect::<Value>() },
        "spec": { "template": { "spec": { "containers": [{ "name": "db", "env": env }] } } },
    })
}

fn material() -> Material {
    let secret = |key: &str| json!({ "metadata": { "name": "s" }, "data": { key: "aHVudGVyMg==" } });
    let mut aws = secret("aws_access_key_id");
    aws["data"]["aws_secret_access_key"] = json!("aHVudGVyMg==");
    Material {
        object: object(),
        workload: Some(Workload {
            name: "db".to_owned(),
            namespace: "app".to_owned(),
            pods: vec!["db-0".to_owned(), "db-1".to_owned(), "db-2".to_owned()],
            ..Workload::default()
        }),
        profile: Some(ResolvedProfile {
            json: json!({ "Location": { "type": "s3Compliant", "bucket": "b" },
                "Credential": { "Type": "keyPair", "KeyPair": { "ID": "a", "Secret": "b" } } }),
            file: Some("/run/profile.json".to_owned()),
            repository: None,
        }),
        secrets: BTreeMap::from([
            ("aws".to_owned(), aws),
            ("postgres".to_owned(), secret("postgres_password")),
        ]),
        config_maps: BTreeMap::from([(
            "location".to_owned(),
            json!({ "data": { "path": "s3://bucket/x" } }),
        )]),
        time: "2026-01-02T03:04:05.123456789Z".to_owned(),
    }
}

fn render_action(spec: &ActionSpec, action: &BlueprintAction, material: &Material) {
    let mut views = PhaseViews::default();
    for phase in &action.phases {
        views.phases.insert(phase.name.clone(), PhaseView::default());
        let root = root(spec, material, &views);
        let renderer = Renderer::new(&root, Time::unix(1_767_323_045, 0));
        black_box(renderer.args(&phase.args).expect("the arguments render"));
    }
    let root = root(spec, material, &views);
    let renderer = Renderer::new(&root, Time::unix(1_767_323_045, 0));
    black_box(renderer.artifacts(&action.output_artifacts).expect("the artifacts render"));
}

fn render(c: &mut Criterion) {
    let text = include_str!("../fixtures/blueprints/good/tutorial.yaml");
    let blueprint: Blueprint = yaml::decode(text).expect("the fixture is a blueprint");
    let action = blueprint.action("backup").expect("it backs up");
    let spec = ActionSpec {
        object: ObjectReference { kind: "StatefulSet".to_owned(), ..ObjectReference::named("app", "db") },
        ..ActionSpec::default()
    };
    let material = material();
    c.bench_function("render a backup action", |b| b.iter(|| render_action(&spec, action, &material)));
}

criterion_group!(benches, render);
criterion_main!(benches);
