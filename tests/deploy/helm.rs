//! Helm itself, as tests/servers/helm builds it, and what it prints of our chart.

use crate::support::skip;
use cistern_api::yaml;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The release of these tests, in the namespace `backup`.
pub const RELEASE: [&str; 4] = ["cistern", "deploy/chart", "--namespace", "backup"];

/// Values that switch on whatever is off, and values that switch off whatever is on.
pub const VARIANTS: [&[&str]; 6] = [
    &[],
    &["scope=cluster", "rbac.functions.snapshots=true", "image.pullSecrets[0].name=pull"],
    &[
        "watchNamespaces={shop,backup}",
        "applicationNamespaces={shop,billing}",
        "metrics.serviceMonitor.enabled=true",
        "metrics.alerts.enabled=true",
        "metrics.dashboard.enabled=true",
        "networkPolicy.enabled=true",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=ops",
    ],
    &["webhook.certificate.from=certManager", "serviceAccount.name=robot", "priorityClassName=high"],
    &[
        "webhook.enabled=false",
        "replicas=1",
        "crds.install=false",
        "rbac.create=false",
        "serviceAccount.create=false",
        "serviceAccount.name=given",
    ],
    &[
        "rbac.extraRules[0].apiGroups={example.com}",
        "rbac.extraRules[0].resources={widgets}",
        "rbac.extraRules[0].verbs={create}",
        "pods.injectKando=false",
        "pods.toolsImage=registry.example/tools:1",
        "pods.postgresImage=registry.example/postgres:1",
        "pods.restricted=false",
        "pods.profileInCommands=true",
        "controller.ttlAfterFinished=30d",
        "controller.maxUnderWayPerNamespace=5",
        "rbac.functions.exec=false",
        "rbac.functions.scale=false",
        "podLabels.team=ops",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "image.tag=main",
        "controller.extraArgs={--context=other}",
        "controller.extraEnv[0].name=HTTPS_PROXY",
        "controller.extraEnv[0].value=http://proxy",
    ],
];

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

static HELM: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let built = Command::new(root().join("tests/servers/helm")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let path = String::from_utf8(built.stdout).unwrap();
    (!path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
});

/// The program, or a word on what is skipped.
pub fn program(test: &str) -> Option<&'static Path> {
    if HELM.is_none() {
        skip(test, "there is no helm, and no Go to build it with");
    }
    HELM.as_deref()
}

/// Runs it at the root of the repository.
pub fn helm(program: &Path, arguments: &[&str], values: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    for value in values {
        command.args(["--set", value]);
    }
    command.output().unwrap()
}

/// The objects of a release with these values.
pub fn objects(program: &Path, values: &[&str]) -> Vec<Json> {
    let printed = helm(program, &[&["template"][..], &RELEASE].concat(), values);
    assert!(printed.status.success(), "{values:?}: {}", String::from_utf8_lossy(&printed.stderr));
    parsed(&String::from_utf8(printed.stdout).unwrap())
}

/// The documents of a file, as Kubernetes reads it.
pub fn parsed(text: &str) -> Vec<Json> {
    let documents = yaml::parse(text).unwrap();
    documents.iter().map(|d| d.value().clone()).filter(|value| !value.is_null()).collect()
}

/// The objects of this kind.
pub fn of_kind<'o>(objects: &'o [Json], kind: &str) -> Vec<&'o Json> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one object of this kind.
pub fn only<'o>(objects: &'o [Json], kind: &str) -> &'o Json {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}
