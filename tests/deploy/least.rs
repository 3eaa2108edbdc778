//! The controller's rights: nothing wholesale, nothing twice, each where it is needed and nowhere else.

use crate::helm::{VARIANTS, objects, of_kind, parsed, program, root};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::fs;

fn rules(role: &Json) -> impl Iterator<Item = &Json> {
    role["rules"].as_array().into_iter().flatten()
}

fn words(list: &Json) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect()
}

/// Whether a role allows the verb on the resource, of whatever name.
fn allows(role: &Json, group: &str, resource: &str, verb: &str) -> bool {
    rules(role).any(|rule| {
        words(&rule["apiGroups"]).contains(&group)
            && words(&rule["resources"]).contains(&resource)
            && words(&rule["verbs"]).contains(&verb)
            && rule["resourceNames"].is_null()
    })
}

fn role<'o>(objects: &'o [Json], namespace: &str, name: &str) -> &'o Json {
    let roles = of_kind(objects, "Role");
    let mut found = roles
        .into_iter()
        .filter(|role| role["metadata"]["namespace"] == namespace && role["metadata"]["name"] == name);
    let role = found.next().unwrap_or_else(|| panic!("no Role {namespace}/{name}"));
    assert!(found.next().is_none(), "Role {namespace}/{name} is there twice");
    role
}

#[test]
fn nothing_is_granted_wholesale() {
    let Some(program) = program("wildcards") else { return };
    for values in VARIANTS {
        let objects = objects(program, values);
        for role in objects.iter().filter(|o| o["kind"] == "Role" || o["kind"] == "ClusterRole") {
            for rule in rules(role) {
                let all = [&rule["apiGroups"], &rule["resources"], &rule["verbs"]];
                assert!(all.iter().all(|list| !words(list).contains(&"*")), "{values:?}: {rule}");
            }
            for verb in ["list", "watch"] {
                assert!(!allows(role, "", "secrets", verb), "{values:?}: secrets are read one by one");
            }
            for resource in ["roles", "rolebindings", "clusterroles", "serviceaccounts", "nodes"] {
                assert!(
                    !role["rules"].to_string().contains(&format!("{resource:?}")),
                    "{values:?}: {resource}"
                );
            }
        }
    }
}

#[test]
fn a_namespaced_release_has_rights_only_where_it_works() {
    let Some(program) = program("namespaced rights") else { return };
    let objects =
        objects(program, &["watchNamespaces={shop,backup}", "applicationNamespaces={shop,billing}"]);
    let namespaces: BTreeSet<_> = of_kind(&objects, "Role")
        .iter()
        .map(|role| role["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(namespaces, BTreeSet::from(["backup", "billing", "shop"]));
    for namespace in ["backup", "shop"] {
        assert!(allows(role(&objects, namespace, "cistern"), "cr.kanister.io", "actionsets", "update"));
    }
    let application = role(&objects, "billing", "cistern");
    assert!(allows(application, "", "pods", "create") && allows(application, "", "pods/exec", "get"));
    assert!(!allows(application, "cr.kanister.io", "actionsets", "get"), "no orders are carried out there");
    // Without a namespace: its own webhook, by name, and nothing else.
    let cluster = of_kind(&objects, "ClusterRole");
    assert_eq!(cluster.len(), 1);
    let webhook = json!([{
        "apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"],
        "resourceNames": ["cistern-backup"], "verbs": ["get", "patch"],
    }]);
    assert_eq!(cluster[0]["rules"], webhook);
}

#[test]
fn what_is_switched_off_is_not_granted() {
    let Some(program) = program("rights by function") else { return };
    let cases = [
        ("rbac.functions.exec=false", "", "pods/exec", "create"),
        ("rbac.functions.scale=false", "apps", "statefulsets", "patch"),
        ("rbac.functions.snapshots=false", "", "persistentvolumeclaims", "create"),
        ("rbac.functions.snapshots=false", "snapshot.storage.k8s.io", "volumesnapshots", "create"),
    ];
    let all_on = objects(program, &["rbac.functions.snapshots=true"]);
    for (off, group, resource, verb) in cases {
        assert!(allows(role(&all_on, "backup", "cistern"), group, resource, verb), "{resource}");
        let objects = objects(program, &[off]);
        assert!(!allows(role(&objects, "backup", "cistern"), group, resource, verb), "{off}: {resource}");
    }
    assert!(of_kind(&objects(program, &["rbac.create=false"]), "Role").is_empty());
    let bare = objects(program, &["webhook.enabled=false"]);
    assert!(of_kind(&bare, "ClusterRole").is_empty());
    assert!(!bare.iter().any(|object| object.to_string().contains("webhook")));
}

#[test]
fn rights_on_our_own_kinds_name_kinds_that_there_are() {
    let Some(program) = program("rights on our kinds") else { return };
    let mut served = BTreeSet::new();
    for entry in fs::read_dir(root().join("deploy/crds")).unwrap() {
        for definition in parsed(&fs::read_to_string(entry.unwrap().path()).unwrap()) {
            let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
            served.insert(plural.to_owned());
            let versions = definition["spec"]["versions"].as_array().unwrap();
            if versions.iter().any(|version| !version["subresources"]["status"].is_null()) {
                served.insert(format!("{plural}/status"));
            }
        }
    }
    let granted: BTreeSet<String> = rules(role(&objects(program, &[]), "backup", "cistern"))
        .filter(|rule| ["cr.kanister.io", "cistern.dev"].contains(&words(&rule["apiGroups"])[0]))
        .flat_map(|rule| words(&rule["resources"]).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(granted, served);
}
