//! Every object of the chart, held to the types of the Kubernetes API: no field that a server would drop or refuse.

use crate::helm::{VARIANTS, objects, program};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

#[test]
fn every_object_is_one_that_an_api_server_knows() {
    let Some(program) = program("objects of the chart") else { return };
    let mut kinds = BTreeSet::new();
    for values in VARIANTS {
        for object in objects(program, values) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let problems = problems(&object);
            assert!(problems.is_empty(), "{values:?}: {kind}: {}", problems.join(", "));
            let meta = &object["metadata"];
            assert_eq!(meta["namespace"].is_null(), cluster_wide(&kind), "{values:?}: namespace of {kind}");
            assert!(meta["name"].as_str().unwrap().len() <= 63);
            kinds.insert(kind);
        }
    }
    // Were one left out by all variants, nothing would have held it.
    assert_eq!(kinds.len(), 16, "{kinds:?}");
}

fn cluster_wide(kind: &str) -> bool {
    kind.starts_with("Cluster")
        || ["CustomResourceDefinition", "ValidatingWebhookConfiguration"].contains(&kind)
}

/// What is wrong with an object.
fn problems(object: &Json) -> Vec<String> {
    let kind = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    match kind {
        ("admissionregistration.k8s.io/v1", _) => typed::<ValidatingWebhookConfiguration>(object),
        ("apiextensions.k8s.io/v1", _) => typed::<CustomResourceDefinition>(object),
        ("apps/v1", "Deployment") => typed::<Deployment>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => typed::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => typed::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => typed::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => typed::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => typed::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => typed::<RoleBinding>(object),
        ("v1", "ConfigMap") => typed::<ConfigMap>(object),
        ("v1", "Service") => typed::<Service>(object),
        ("v1", "ServiceAccount") => typed::<ServiceAccount>(object),
        // Of operators whose types are in no crate: the fields of `spec` that their documentation names.
        ("cert-manager.io/v1", "Issuer") => named(object, &["selfSigned"]),
        ("cert-manager.io/v1", "Certificate") => {
            named(object, &["secretName", "dnsNames", "privateKey", "issuerRef"])
        }
        ("monitoring.coreos.com/v1", "ServiceMonitor") => named(object, &["selector", "endpoints"]),
        ("monitoring.coreos.com/v1", "PrometheusRule") => named(object, &["groups"]),
        (version, kind) => vec![format!("{version} {kind} is not known")],
    }
}

fn typed<T: Serialize + DeserializeOwned>(object: &Json) -> Vec<String> {
    match serde_json::from_value::<T>(object.clone()) {
        Ok(read) => lost(object, &serde_json::to_value(read).unwrap(), String::new()),
        Err(error) => vec![error.to_string()],
    }
}

fn named(object: &Json, fields: &[&str]) -> Vec<String> {
    let spec = object["spec"].as_object().unwrap();
    spec.keys()
        .filter(|key| !fields.contains(&key.as_str()))
        .map(|key| format!("unknown spec.{key}"))
        .collect()
}

/// The paths that are not there any more when an object has gone through its type: fields it does not know.
fn lost(before: &Json, after: &Json, path: String) -> Vec<String> {
    match (before, after) {
        (Json::Object(fields), Json::Object(kept)) => fields
            .iter()
            .flat_map(|(key, value)| match kept.get(key) {
                Some(there) => lost(value, there, format!("{path}.{key}")),
                // An empty map or list says as much as none.
                None if [json!({}), json!([]), Json::Null].contains(value) => Vec::new(),
                None => vec![format!("{path}.{key}")],
            })
            .collect(),
        (Json::Array(items), Json::Array(kept)) if items.len() == kept.len() => {
            let pairs = items.iter().zip(kept).enumerate();
            pairs.flat_map(|(i, (item, there))| lost(item, there, format!("{path}[{i}]"))).collect()
        }
        (before, after) if before == after => Vec::new(),
        // Quantities and schemas are written in more than one way.
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => Vec::new(),
        (before, after) => vec![format!("{path}: {before} became {after}")],
    }
}

#[test]
fn an_unknown_field_is_found() {
    let service = |spec: Json| json!({ "apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec });
    assert!(problems(&service(json!({ "ports": [{ "port": 80, "targetPort": "http" }] }))).is_empty());
    let typo = problems(&service(json!({ "ports": [{ "port": 80, "targetport": "http" }] })));
    assert_eq!(typo, [".spec.ports[0].targetport"]);
    assert!(!problems(&service(json!({ "ports": [{ "port": "eighty" }] }))).is_empty());
}
