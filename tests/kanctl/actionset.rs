//! `kanctl create actionset`: every flag, the ActionSet it follows, and what it refuses.

use crate::{fixture, kanctl, printed, refused};
use cistern_api::{ActionSet, ActionSpec, ObjectReference, yaml};

/// Makes an ActionSet, and reads what was printed.
fn made(args: &[&str], stdin: &str) -> ActionSet {
    let all = [&["create", "actionset", "--dry-run"], args].concat();
    yaml::decode(&printed(&all, stdin)).unwrap()
}

fn actions(set: &ActionSet) -> &[ActionSpec] {
    &set.spec.as_ref().unwrap().actions
}

/// The name is this with so many more letters.
fn assert_made_up(set: &ActionSet, beginning: &str) {
    let name = set.metadata.name.as_deref().unwrap();
    let suffix =
        name.strip_prefix(beginning).unwrap_or_else(|| panic!("{name} does not begin with {beginning}"));
    assert!(
        suffix.len() == 5 && suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        "{name}"
    );
}

const BACKUP: &[&str] = &["--action", "backup", "--blueprint", "bp", "--profile", "p"];

#[test]
fn the_yaml_is_what_kanister_prints() {
    let args =
        [&["create", "actionset", "--dry-run", "--name", "b1", "--statefulset", "app/db"], BACKUP].concat();
    let expected = r#"apiVersion: cr.kanister.io/v1alpha1
kind: ActionSet
metadata:
  creationTimestamp: null
  name: b1
spec:
  actions:
  - blueprint: bp
    name: backup
    object:
      apiVersion: ""
      group: ""
      kind: statefulset
      name: db
      namespace: app
      resource: ""
    podAnnotations: null
    podLabels: null
    preferredVersion: ""
    profile:
      apiVersion: ""
      group: ""
      kind: ""
      name: p
      namespace: default
      resource: ""
"#;
    assert_eq!(printed(&args, ""), expected);
}

#[test]
fn there_is_one_action_per_object_with_everything_the_flags_say() {
    let set = made(
        &[
            "-a",
            "backup",
            "-b",
            "bp",
            "-n",
            "kanister",
            "-p",
            "backups/p",
            "-d",
            "a/web,b/web",
            "-t",
            "a/db",
            "-D",
            "a/dc",
            "-v",
            "a/data",
            "-T",
            "one,two",
            "-O",
            "apps/v1/deployments/a/x,v1/configmaps/a/y",
            "-c",
            "location=a/cm",
            "-s",
            "aws=a/creds,db=a/pw",
            "-o",
            "k=v,\"l=x,y\"",
            "-o",
            "m=",
            "--labels",
            "kanister.io/JobID=7",
            "--podlabels",
            "team=a",
            "--podannotations",
            "note=any thing",
        ],
        "",
    );
    assert_made_up(&set, "backup-");
    assert_eq!(set.metadata.namespace.as_deref(), Some("kanister"));
    assert_eq!(set.metadata.labels.as_ref().unwrap()["kanister.io/JobID"], "7");
    let kinds: Vec<(&str, &str)> =
        actions(&set).iter().map(|a| (a.object.kind.as_str(), a.object.name.as_str())).collect();
    let expected = [
        ("deployment", "web"),
        ("deployment", "web"),
        ("statefulset", "db"),
        ("deploymentconfig", "dc"),
        ("pvc", "data"),
        ("namespace", "one"),
        ("namespace", "two"),
        ("", "x"),
        ("", "y"),
    ];
    assert_eq!(kinds, expected);
    let group =
        |n: usize| (actions(&set)[n].object.group.as_str(), actions(&set)[n].object.resource.as_str());
    assert_eq!((group(7), group(8)), (("apps", "deployments"), ("", "configmaps")));
    for action in actions(&set) {
        assert_eq!((action.name.as_str(), action.blueprint.as_str()), ("backup", "bp"));
        assert_eq!(action.profile, Some(ObjectReference::named("backups", "p")));
        assert_eq!(action.config_maps["location"], ObjectReference::named("a", "cm"));
        assert_eq!(
            (action.secrets["aws"].name.as_str(), action.secrets["db"].name.as_str()),
            ("creds", "pw")
        );
        let options: Vec<(&str, &str)> =
            action.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(options, [("k", "v"), ("l", "x,y"), ("m", "")]);
        assert_eq!(
            (action.pod_labels["team"].as_str(), action.pod_annotations["note"].as_str()),
            ("a", "any thing")
        );
    }
}

#[test]
fn without_a_profile_there_is_a_warning_where_it_does_no_harm() {
    let ran = kanctl(&["create", "actionset", "--dry-run", "-a", "x", "-b", "b", "-t", "a/b"], "");
    assert!(ran.err.contains("Warning: --profile flag is not provided."), "{}", ran.err);
    yaml::decode::<ActionSet>(&String::from_utf8(ran.out).unwrap()).unwrap();
}

#[test]
fn a_restore_inherits_from_the_backup_it_follows() {
    let set = made(&["--action", "restore", "--from-file", "-"], &fixture("actionset-complete.yaml"));
    assert_made_up(&set, "restore-backup-x2x4v-");
    let [action] = actions(&set) else { panic!("{set:?}") };
    assert_eq!((action.name.as_str(), action.blueprint.as_str()), ("restore", "mysql-blueprint"));
    assert_eq!((action.object.kind.as_str(), action.object.name.as_str()), ("StatefulSet", "mysql"));
    let path = &action.artifacts["mysqlCloudDump"].key_value["s3path"];
    assert_eq!(path, "/mysql-backups/app/mysql/2026-01-02T03-04-05/dump.sql.gz");
    assert_eq!(action.profile.as_ref().unwrap().name, "s3-profile-bh6z5");
    assert!(set.status.is_none());
}

#[test]
fn what_is_said_goes_before_what_is_inherited() {
    let parent =
        fixture("actionset-filled.yaml").replace("state: running\n  actions", "state: complete\n  actions");
    let set = made(&["--from-file", "-"], &parent);
    assert_made_up(&set, "every-");
    let [action] = actions(&set) else { panic!("{set:?}") };
    assert_eq!((action.name.as_str(), action.secrets.contains_key("aws")), ("backup", true));
    assert_eq!(action.options["pitr"], "2026-01-02T03:04:05Z");
    // These are not handed on.
    assert!(
        action.pod_override.is_none() && action.pod_labels.is_empty() && action.preferred_version.is_empty()
    );

    let said = [
        "--from-file",
        "-",
        "-a",
        "delete",
        "-b",
        "other",
        "-s",
        "new=a/b",
        "-c",
        "cm=a/c",
        "-p",
        "x/y",
        "-o",
        "k=v",
        "-T",
        "n1,n2",
        "--name",
        "mine",
    ];
    let set = made(&said, &parent);
    assert_eq!(set.metadata.name.as_deref(), Some("mine"));
    assert_eq!(actions(&set).len(), 2);
    for (action, namespace) in actions(&set).iter().zip(["n1", "n2"]) {
        assert_eq!((action.object.kind.as_str(), action.object.namespace.as_str()), ("namespace", namespace));
        assert_eq!((action.name.as_str(), action.blueprint.as_str()), ("delete", "other"));
        assert_eq!(action.secrets.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(action.config_maps.keys().collect::<Vec<_>>(), ["cm"]);
        assert_eq!(action.profile, Some(ObjectReference::named("x", "y")));
        assert_eq!((action.options.len(), action.options["k"].as_str()), (2, "v"));
        assert!(action.artifacts.contains_key("dump"));
    }
}

#[test]
fn only_a_complete_parent_is_followed() {
    let from = &["create", "actionset", "--dry-run", "--from-file", "-"];
    refused(
        from,
        &fixture("actionset-filled.yaml"),
        2,
        &["cannot follow the ActionSet `every`", "it is running"],
    );
    refused(from, "kind: ActionSet\nmetadata: {name: x}\n", 2, &["it is without a status"]);
    let short = fixture("actionset-complete.yaml").replace("\n  actions:\n  - name: backup\n    blueprint: mysql-blueprint\n    object: {apiVersion: \"\", group: \"\", resource: \"\", kind: StatefulSet, name: mysql, namespace: app}\n    phases", "\n  unused:\n  - phases");
    refused(from, &short, 2, &["its spec holds 1 actions, its status 0"]);
    refused(from, "kind: Secret\n", 2, &["standard input:1:7: kind:", "expected ActionSet"]);
    refused(from, "a: [\n", 2, &["standard input:", "not YAML"]);
}

#[test]
fn what_cannot_be_done_or_read_is_refused_with_the_flag() {
    let create = ["create", "actionset", "--dry-run"];
    let with = |args: &[&'static str]| [&create[..], args].concat();
    refused(&with(&[]), "", 2, &["without --action", "--from"]);
    refused(&with(&["-a", "x"]), "", 2, &["without --blueprint"]);
    refused(&with(&["-a", "x", "-b", "y"]), "", 2, &["without an object"]);
    refused(
        &with(&["-a", "x", "-b", "y", "-t", "db"]),
        "",
        2,
        &["--statefulset db: expected namespace/name"],
    );
    refused(&with(&["-a", "x", "-b", "y", "-t", "a/b", "-o", "=c"]), "", 2, &["--options =c"]);
    refused(&with(&["-a", "x", "-b", "y", "-t", "a/b", "--labels", "a=b c"]), "", 2, &["--labels b c", "63"]);
    refused(&with(&["-a", "x", "-b", "y", "-t", "a/b", "-s", "aws"]), "", 2, &["--secrets aws: expected"]);
    refused(&with(&["--blueprnt", "y"]), "", 2, &["--blueprint"]);
    refused(
        &["create", "actionset", "-a", "x", "-b", "y", "-t", "a/b"],
        "",
        2,
        &["found no cluster", "--kubeconfig"],
    );
    refused(&with(&["--from", "parent"]), "", 2, &["found no cluster"]);
    refused(&with(&["-a", "x", "-b", "y", "-l", "app=z"]), "", 2, &["found no cluster"]);
    refused(&with(&["-a", "x", "-b", "y", "--discover"]), "", 2, &["--discover together with --blueprint"]);
    refused(&with(&["-a", "x", "--discover"]), "", 2, &["found no cluster"]);
    refused(&with(&["-a", "x", "--kind", "pvc"]), "", 2, &["--selector"]);
    refused(&with(&["-a", "x", "-b", "y", "-t", "a/b", "--wait"]), "", 2, &["--wait", "--dry-run"]);
    refused(&with(&["-a", "x", "-b", "y", "-t", "a/b", "--timeout", "1m"]), "", 2, &["--wait"]);
}
