//! The chart as a whole: Helm's own lint, values that are refused, CRDs, and the manifests printed from it.

use crate::helm::{RELEASE, helm, objects, of_kind, parsed, program, root};
use serde_json::{Value as Json, json};
use std::fs;
use std::process::Command;

#[test]
fn helm_finds_nothing_to_complain_about() {
    let Some(program) = program("helm lint") else { return };
    let told = helm(program, &["lint", "--strict", "deploy/chart"], &[]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    let Some(program) = program("refused values") else { return };
    let cases = [
        ("replica=2", "replica"),
        ("replicas=-1", "replicas"),
        ("scope=galaxy", "scope"),
        ("watchNamespaces={Shop}", "watchNamespaces"),
        ("image.repository=", "repository"),
        ("image.digest=sha256:12", "digest"),
        ("webhook.failurePolicy=Perhaps", "failurePolicy"),
        ("webhook.certificate.from=nowhere", "from"),
        ("webhook.timeoutSeconds=11", "timeoutSeconds"),
        ("controller.maxUnderWay=0", "maxUnderWay"),
        ("rbac.functions.everything=true", "everything"),
        ("rbac.extraRules[0].verbs={get}", "apiGroups"),
        ("metrics.alert.enabled=true", "alert"),
        ("serviceAccount.create=false", "serviceAccount.name"),
    ];
    for (value, named) in cases {
        let told = helm(program, &[&["template"][..], &RELEASE].concat(), &[value]);
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(!told.status.success(), "{value} was taken");
        assert!(said.contains(named), "{value}: {said}");
    }
}

#[test]
fn its_crds_are_those_of_the_project_and_outlive_the_release() {
    let Some(program) = program("crds of the chart") else { return };
    let objects = objects(program, &[]);
    let mut printed: Vec<Json> = of_kind(&objects, "CustomResourceDefinition").into_iter().cloned().collect();
    for definition in &mut printed {
        // Helm deletes it otherwise, and with it every ActionSet and Profile.
        assert_eq!(definition["metadata"]["annotations"], json!({ "helm.sh/resource-policy": "keep" }));
        definition["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    let mut ours: Vec<Json> = fs::read_dir(root().join("deploy/crds"))
        .unwrap()
        .flat_map(|entry| parsed(&fs::read_to_string(entry.unwrap().path()).unwrap()))
        .collect();
    let name = |definition: &Json| definition["metadata"]["name"].as_str().unwrap().to_owned();
    printed.sort_by_key(name);
    ours.sort_by_key(name);
    assert!(ours.len() >= 3);
    assert_eq!(printed, ours);
}

#[test]
fn the_plain_manifests_are_what_the_chart_prints() {
    let Some(program) = program("plain manifests") else { return };
    let printed = tempfile::tempdir().unwrap();
    let status =
        Command::new(root().join("deploy/render")).arg(printed.path()).env("HELM", program).status().unwrap();
    assert!(status.success());
    let mut names: Vec<_> = fs::read_dir(printed.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cluster.yaml", "namespaced.yaml"]);
    for name in names {
        let wanted = fs::read_to_string(printed.path().join(&name)).unwrap();
        let there = fs::read_to_string(root().join("deploy/manifests").join(&name)).unwrap();
        assert!(wanted == there, "deploy/manifests/{} is not what `deploy/render` writes", name.display());
        assert!(!parsed(&there).is_empty());
    }
}
