//! Blueprints with errors are refused by the API server itself, which asks the controller over TLS.

use crate::stage::Stage;
use crate::world::{kanister, object, until};
use cistern_api::yaml;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value as Json, json};
use std::net::TcpListener;
use std::path::Path;

/// What the printed manifests call their objects that have no namespace.
const PRINTED: &str = "cistern-cistern";

/// Of the printed manifests, what the webhook needs; under the name of this namespace.
fn manifest(kind: &str, namespace: &str) -> Json {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/namespaced.yaml");
    let text = std::fs::read_to_string(file).unwrap().replace(PRINTED, namespace);
    let documents = yaml::parse(&text).unwrap();
    documents.iter().map(|d| d.value().clone()).find(|value| value["kind"] == kind).unwrap()
}

/// The configuration as printed, for this namespace and this port of this machine. A webhook that does not
/// answer refuses everything, so that nothing is let in by accident.
async fn configure(client: &Client, namespace: &str, port: u16) {
    let create = PostParams::default();
    let role: ClusterRole = serde_json::from_value(manifest("ClusterRole", namespace)).unwrap();
    Api::all(client.clone()).create(&create, &role).await.unwrap();
    let mut binding = manifest("ClusterRoleBinding", namespace);
    binding["subjects"][0]["namespace"] = namespace.into();
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(client.clone()).create(&create, &binding).await.unwrap();
    // Nothing routes to Services here; one of this type the API server calls by its outer name.
    let service = json!({ "metadata": { "name": "cistern" },
        "spec": { "type": "ExternalName", "externalName": "localhost" } });
    let service: Service = serde_json::from_value(service).unwrap();
    Api::namespaced(client.clone(), namespace).create(&create, &service).await.unwrap();
    // Later versions label it themselves.
    let label = json!({ "metadata": { "labels": { "kubernetes.io/metadata.name": namespace } } });
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    let mut configuration = manifest("ValidatingWebhookConfiguration", namespace);
    let webhook = &mut configuration["webhooks"][0];
    webhook["failurePolicy"] = "Fail".into();
    webhook["clientConfig"]["service"]["namespace"] = namespace.into();
    webhook["clientConfig"]["service"]["port"] = port.into();
    webhook["namespaceSelector"]["matchExpressions"][0]["values"] = json!([namespace]);
    let configuration: ValidatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
    Api::all(client.clone()).create(&create, &configuration).await.unwrap();
}

fn blueprint(name: &str, function: &str) -> DynamicObject {
    let phase = json!({ "func": function, "name": "dump", "args": { "image": "i", "command": ["true"] } });
    object(json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
        "metadata": { "name": name }, "actions": { "backup": { "phases": [phase] } } }))
}

/// Why the API server does not store it.
async fn refused(blueprints: &Api<DynamicObject>, blueprint: &DynamicObject) -> Option<String> {
    match blueprints.create(&PostParams::default(), blueprint).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_broken_blueprint_is_not_stored() {
    let Some(stage) = Stage::new("webhook") else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = stage.world.client.clone();
    let namespace = &stage.namespace;
    stage.world.play(configure(&client, namespace, port));
    let blueprints = kanister(&client, "Blueprint", namespace);
    stage.world.play(until("the webhook is configured", async || {
        let told = refused(&blueprints, &blueprint("early", "KubeTask")).await;
        told.filter(|told| told.contains("blueprints.cistern.dev"))
    }));
    let replica = stage.controller(&[
        &format!("--webhook-listen=127.0.0.1:{port}"),
        "--webhook-secret=cistern-webhook",
        &format!("--webhook-configuration={namespace}"),
        "--webhook-service=cistern",
    ]);
    stage.world.play(async {
        let told = until("the controller is asked", async || {
            let told = refused(&blueprints, &blueprint("broken", "KubTask")).await;
            told.filter(|told| told.contains("[function/unknown]"))
        })
        .await;
        assert!(told.contains("actions.backup.phases[0].func"), "{told}");
        assert_eq!(refused(&blueprints, &blueprint("good", "KubeTask")).await, None);
        let broken =
            json!({ "actions": { "backup": { "phases": [{ "func": "KubTask", "name": "dump" }] } } });
        let changed = blueprints.patch("good", &PatchParams::default(), &Patch::Merge(&broken)).await;
        assert!(changed.unwrap_err().to_string().contains("[function/unknown]"));
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        configurations.delete(namespace, &DeleteParams::default()).await.unwrap();
    });
    replica.assert_well();
}
