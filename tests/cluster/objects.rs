//! KubeOps: objects of built-in and of defined kinds made, changed and deleted, with the rights an operator gives.

use crate::recipe::only;
use crate::stage::Stage;
use crate::world::{establish, until};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

/// A kind of somebody's operator.
const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.factory.test}
spec:
  group: factory.test
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties: {size: {type: integer}, colour: {type: string}}
";

const TWO: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {of: '{{ .Object.metadata.name }}'}}
data: {mode: slow}
---
apiVersion: factory.test/v1
kind: Widget
metadata: {name: made}
spec: {size: 3, colour: red}
";

#[test]
fn objects_are_made_changed_and_deleted() {
    let Some(stage) = Stage::new("kube_ops") else { return };
    stage.world.play(async {
        establish(&stage.world.client, WIDGETS).await;
        let rules = [
            "rbac.extraRules[0].apiGroups={factory.test}", "rbac.extraRules[0].resources={widgets}",
            "rbac.extraRules[0].verbs={get,create,patch,delete}", "rbac.extraRules[1].apiGroups[0]=",
            "rbac.extraRules[1].resources={configmaps}", "rbac.extraRules[1].verbs={get,create,patch}",
        ];
        if stage.chart(&rules).await.is_none() {
            return;
        }
        let widget = |name: &str| {
            json!({ "apiVersion": "v1", "group": "factory.test", "resource": "widgets", "name": name, "namespace": stage.namespace })
        };
        let map = json!({ "apiVersion": "v1", "resource": "configmaps", "name": "settings", "namespace": stage.namespace });
        let create = |spec: &str| only("KubeOps", json!({ "operation": "create", "namespace": stage.namespace, "spec": spec }));
        let patch = |of, spec: &str| only("KubeOps", json!({ "operation": "patch", "objectReference": of, "spec": spec }));
        let delete = |of| only("KubeOps", json!({ "operation": "delete", "objectReference": of }));
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 1}]}";
        let actions = json!({
            "create": create(TWO), "colour": patch(widget("made"), "spec: {colour: null, size: 4}"),
            "mode": patch(map.clone(), "data: {mode: fast}\nmetadata: {labels: {$patch: delete}}"),
            "delete": delete(widget("made")), "absent": delete(widget("nobody")),
            "unknown": create("apiVersion: factory.test/v1\nkind: Gadget\nmetadata: {name: x}"),
            "unfit": create("apiVersion: factory.test/v1\nkind: Widget\nmetadata: {name: x}\nspec: {size: large}"),
            "denied": create(service), "kept": delete(map), "undo": only("KubeOps", json!({ "operation": "undo" })),
        });
        stage.recipe("ops", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let done = stage.complete("create", "ops", json!({ "name": "create" })).await;
        let last = json!({
            "apiVersion": "v1", "group": "factory.test", "resource": "widgets", "kind": "", "name": "made",
            "namespace": stage.namespace,
        });
        assert_eq!(done["phases"][0]["output"], last);
        let maps = stage.objects("v1", "ConfigMap").await;
        let found = maps.get("settings").await.unwrap();
        assert_eq!((&found.data["data"]["mode"], found.metadata.labels.unwrap()["of"].as_str()), (&json!("slow"), "app"));
        // Of a defined kind no strategic patch is known; a merge patch does.
        stage.complete("colour", "ops", json!({ "name": "colour" })).await;
        let widgets = stage.objects("factory.test/v1", "Widget").await;
        assert_eq!(widgets.get("made").await.unwrap().data["spec"], json!({ "size": 4 }));
        stage.complete("mode", "ops", json!({ "name": "mode" })).await;
        let found = maps.get("settings").await.unwrap();
        assert_eq!((&found.data["data"]["mode"], found.metadata.labels), (&json!("fast"), None));
        for (action, words) in [
            ("absent", "widgets"), ("unknown", "Gadget"), ("unfit", "spec.size"), ("denied", "services"),
            ("kept", "is denied"), ("undo", "none of create, patch, delete"),
        ] {
            let said = stage.failure(action, "ops", json!({ "name": action })).await;
            assert!(said.contains(words), "{action}: {said}");
            println!("{action}: {said}");
        }
        assert!(maps.get("settings").await.is_ok());
        assert_eq!(widgets.list(&ListParams::default()).await.unwrap().items.len(), 1);
        deletion_is_waited_for(&stage).await;
        controller.assert_well();
    });
}

/// An operator's finalizer holds the object for a while.
async fn deletion_is_waited_for(stage: &Stage) {
    let widgets = stage.objects("factory.test/v1", "Widget").await;
    let hold =
        |finalizers: serde_json::Value| Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
    let params = PatchParams::default();
    widgets.patch("made", &params, &hold(json!(["factory.test/tidy"]))).await.unwrap();
    stage.order_with("delete", "ops", json!({ "name": "delete" })).await;
    until("the widget is to go", async || {
        widgets.get("made").await.ok()?.metadata.deletion_timestamp.map(drop)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let status = stage.action_sets().get("delete").await.unwrap().data["status"].clone();
    assert_eq!(status["state"], "running", "{status}");
    widgets.patch("made", &params, &hold(json!(null))).await.unwrap();
    let done = stage.completed("delete").await;
    assert_eq!(done["phases"][0]["output"]["name"], "made");
    assert!(widgets.get_opt("made").await.unwrap().is_none());
}
