//! Objects of one release name each other, and the program takes what they give it.

use crate::helm::{VARIANTS, objects, of_kind, only, program};
use serde_json::Value as Json;
use std::process::Command;

fn arguments(objects: &[Json]) -> Vec<String> {
    let container = &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect()
}

/// The value of an argument of the controller.
fn argument(objects: &[Json], name: &str) -> Option<String> {
    let wanted = format!("--{name}=");
    arguments(objects).iter().find_map(|a| a.strip_prefix(&wanted).map(str::to_owned))
}

#[test]
fn the_program_takes_its_arguments() {
    let Some(program) = program("arguments of the controller") else { return };
    for values in VARIANTS {
        let arguments = arguments(&objects(program, values));
        let told = Command::new(env!("CARGO_BIN_EXE_cistern"))
            .args(&arguments)
            .args(["--kubeconfig", "/nowhere/kubeconfig"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr);
        // It got as far as looking for the cluster.
        assert!(!told.status.success() && said.contains("/nowhere/kubeconfig"), "{arguments:?}: {said}");
        assert!(!said.contains("Usage"), "{said}");
    }
}

#[test]
fn selectors_find_the_pod_and_ports_are_open() {
    let Some(program) = program("selectors and ports") else { return };
    for values in VARIANTS {
        let objects = objects(program, values);
        let deployment = only(&objects, "Deployment");
        let template = &deployment["spec"]["template"];
        let finds = |selector: &Json| {
            let wanted = selector.as_object().unwrap();
            assert!(!wanted.is_empty());
            wanted.iter().all(|(key, value)| template["metadata"]["labels"][key] == *value)
        };
        assert!(finds(&deployment["spec"]["selector"]["matchLabels"]));
        let service = only(&objects, "Service");
        assert!(finds(&service["spec"]["selector"]));
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            for object in of_kind(&objects, kind) {
                let spec = &object["spec"];
                let selector = if kind == "NetworkPolicy" { &spec["podSelector"] } else { &spec["selector"] };
                assert!(finds(&selector["matchLabels"]), "{kind}");
            }
        }
        for monitor in of_kind(&objects, "ServiceMonitor") {
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value));
        }
        let container = &template["spec"]["containers"][0];
        let open: Vec<&str> =
            container["ports"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert!(open.contains(&port["targetPort"].as_str().unwrap()), "{port}");
        }
        for probe in ["livenessProbe", "readinessProbe"] {
            assert!(open.contains(&container[probe]["httpGet"]["port"].as_str().unwrap()));
        }
        let listens = |name: &str, port: &str| {
            let at = argument(&objects, name);
            let there = container["ports"].as_array().unwrap().iter().find(|p| p["name"] == port);
            assert_eq!(at, there.map(|p| format!("0.0.0.0:{}", p["containerPort"])), "{values:?}: {name}");
        };
        listens("listen", "http");
        listens("webhook-listen", "webhook");
    }
}

#[test]
fn the_webhook_leads_to_the_controller_and_its_certificate_is_for_it() {
    let Some(program) = program("webhook") else { return };
    for values in [&[][..], &["scope=cluster"], &["webhook.certificate.from=certManager"]] {
        let objects = objects(program, values);
        let configuration = only(&objects, "ValidatingWebhookConfiguration");
        let service = &only(&objects, "Service")["metadata"];
        let called = &configuration["webhooks"][0]["clientConfig"]["service"];
        assert_eq!((&called["name"], &called["namespace"]), (&service["name"], &service["namespace"]));
        let secret = argument(&objects, "webhook-secret").unwrap();
        let dns =
            format!("{}.{}.svc", called["name"].as_str().unwrap(), called["namespace"].as_str().unwrap());
        if values == ["webhook.certificate.from=certManager"] {
            let certificate = only(&objects, "Certificate");
            assert_eq!(certificate["spec"]["secretName"], *secret);
            assert_eq!(certificate["spec"]["dnsNames"][0], *dns);
            let named = format!("backup/{}", certificate["metadata"]["name"].as_str().unwrap());
            assert_eq!(configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], *named);
            assert_eq!(argument(&objects, "webhook-configuration"), None);
        } else {
            let configured = argument(&objects, "webhook-configuration").unwrap();
            assert_eq!(configuration["metadata"]["name"], *configured);
            assert_eq!(argument(&objects, "webhook-service").unwrap(), *called["name"].as_str().unwrap());
            let roles = serde_json::to_string(&of_kind(&objects, "Role")).unwrap();
            assert!(roles.contains(&format!("\"resourceNames\":[{secret:?}]")), "{secret}");
        }
        let limited = !configuration["webhooks"][0]["namespaceSelector"].is_null();
        assert_eq!(limited, values != ["scope=cluster"]);
    }
}

#[test]
fn the_lease_is_the_one_it_may_hold_and_bindings_name_roles_that_there_are() {
    let Some(program) = program("lease and bindings") else { return };
    for values in VARIANTS {
        let objects = objects(program, values);
        let account = &only(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(argument(&objects, "service-account").as_deref(), account.as_str());
        for (binding, role) in [("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")] {
            for object in of_kind(&objects, binding) {
                assert_eq!(object["roleRef"]["kind"], role);
                assert_eq!(object["subjects"][0]["name"], *account);
                assert_eq!(object["subjects"][0]["namespace"], "backup");
                let found = of_kind(&objects, role).iter().any(|there| {
                    there["metadata"]["name"] == object["roleRef"]["name"]
                        && there["metadata"]["namespace"] == object["metadata"]["namespace"]
                });
                assert!(found, "{values:?}: {}", object["roleRef"]);
            }
        }
        if of_kind(&objects, "Role").is_empty() {
            continue;
        }
        let lease = argument(&objects, "lease-name").unwrap();
        let held =
            of_kind(&objects, "Role").iter().flat_map(|r| r["rules"].as_array().unwrap()).any(|rule| {
                rule["resources"] == serde_json::json!(["leases"]) && rule["resourceNames"][0] == *lease
            });
        assert!(held, "{values:?}: {lease}");
    }
}
