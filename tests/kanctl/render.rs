//! `kanctl render`: what would run, with secrets and unknown outputs marked.

use super::laptop::{Laptop, SECRET_KEY, good, scripted};
use super::support::home::{Ran, run};
use cistern_api::yaml;

fn render(laptop: &Laptop, blueprint: &str, args: &[&str]) -> Ran {
    run(laptop.command(&[&["render", "-f", blueprint, "--object", "sts.yaml"], args].concat()), b"")
}

fn shown(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

#[test]
fn every_phase_is_a_document_and_what_is_unknown_is_marked() {
    let laptop = Laptop::new();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: app}\nstringData: {mongodb-root-password: hunter2}\n";
    laptop.home.write("secret.yaml", secret);
    let args = ["--action", "backup", "--profile", "profile.yaml", "--with", "secret.yaml"];
    let time = ["--time", "2026-01-02T03:04:05.12Z"];
    let out = shown(render(&laptop, &good("mongodb.yaml"), &[&args[..], &time].concat()));
    let documents = yaml::parse(&out).unwrap();
    assert_eq!(documents.len(), 4, "three phases and the artifacts: {out}");
    for head in
        ["phase takeConsistentBackup: KubeTask", "phase count: KubeTask", "deferPhase unlock: KubeTask"]
    {
        assert!(out.contains(&format!("# action backup, {head}\n")), "{head}: {out}");
    }
    assert!(out.contains("/mongodb-backups/db/2026-01-02T03-04-05/rs_backup"), "{out}");
    assert!(out.contains("MONGO_PASSWORD='[secret db.mongodb-root-password]'"), "{out}");
    assert!(out.contains("\"Secret\":\"[secret s3.key]\""), "{out}");
    assert!(!out.contains(SECRET_KEY) && !out.contains("hunter2"), "{out}");
    assert_eq!(documents[3].value()["cloudObject"]["keyValue"]["documents"], "[output count.documents]");

    let given = ["--output", "count.documents=4", "--show-secrets"];
    let out = shown(render(&laptop, &good("mongodb.yaml"), &[&args[..], &given].concat()));
    assert!(out.contains(SECRET_KEY) && out.contains("MONGO_PASSWORD='hunter2'"), "{out}");
    assert!(out.contains("documents: \"4\""), "{out}");
}

#[test]
fn functions_that_need_a_cluster_are_shown_too() {
    let laptop = Laptop::new();
    laptop.home.write("artifacts.yaml", "cloudObject: {keyValue: {path: /old/dump}}\n");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: postgres, namespace: app}\nstringData: {postgres_password: x}\n";
    laptop.home.write("secret.yaml", secret);
    let args = [
        "--action",
        "restore",
        "--profile",
        "profile.yaml",
        "--with",
        "secret.yaml",
        "--artifacts",
        "artifacts.yaml",
    ];
    let out = shown(render(&laptop, &good("tutorial.yaml"), &args));
    assert!(out.contains("--path '/old/dump'"), "{out}");
    assert!(out.contains("replicas: \"[output stop.originalReplicaCount]\""), "{out}");
}

#[test]
fn a_template_error_names_key_phase_and_what_exists() {
    let laptop = Laptop::new();
    laptop.home.write("one.yaml", &scripted("echo {{ .ArtifactsIn.dump.KeyValue.path }}"));
    laptop.home.write("artifacts.yaml", "dmp: {keyValue: {path: x}}\n");
    let ran = render(&laptop, "one.yaml", &["--action", "a", "--artifacts", "artifacts.yaml"]);
    assert_eq!(ran.code, Some(1));
    for word in ["action \"a\", phase \"p\"", "\"dump\" not found in .ArtifactsIn", "there is dmp"] {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    assert!(render(&laptop, "one.yaml", &["--action", "a", "--output", "x"]).err.contains("PHASE.KEY=VALUE"));
}
