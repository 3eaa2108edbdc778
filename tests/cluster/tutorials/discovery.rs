//! 7. Assignment without naming a blueprint: by a workload's annotation and by a rule, carried out.

use crate::stage::Stage;
use crate::workloads::{Workloads, ready, sleeper, workload};
use kube::api::{Patch, PatchParams};
use serde_json::json;

#[test]
fn workloads_are_backed_up_by_the_blueprint_that_belongs_to_them() {
    let Some(stage) = Stage::new("discovery") else { return };
    stage.world.play(async {
        let _workloads = Workloads::begin(&stage);
        for (kind, name) in [("Deployment", "web"), ("StatefulSet", "db"), ("StatefulSet", "cache")] {
            workload(&stage, kind, name, 1, json!({ "containers": [sleeper("main")] }), &[]).await;
        }
        for (kind, name) in [("Deployment", "web"), ("StatefulSet", "db")] {
            ready(&stage, kind, name, 1).await;
        }
        for (name, kind) in [("web-backup", "Deployment"), ("db-backup", "StatefulSet")] {
            let said = format!("kando output who '{{{{ index .{kind}.Pods 0 }}}} by {name}'");
            let mut backup = json!({ "phases": [{ "func": "KubeExec", "name": "only", "args": {
                "namespace": format!("{{{{ .{kind}.Namespace }}}}"), "pod": format!("{{{{ index .{kind}.Pods 0 }}}}"),
                "command": ["sh", "-c", said],
            }}]});
            backup["outputArtifacts"] = json!({ "made": { "keyValue": { "who": "{{ .Phases.only.Output.who }}" } } });
            stage.recipe(name, json!({ "backup": backup, "restore": { "phases": [] } })).await;
        }
        let annotation = json!({ "metadata": { "annotations": { "kanister.kasten.io/blueprint": "web-backup" } } });
        let sets = stage.objects("apps/v1", "Deployment").await;
        sets.patch("web", &PatchParams::default(), &Patch::Merge(annotation)).await.unwrap();
        let binding = json!({
            "apiVersion": "cistern.dev/v1alpha1", "kind": "BlueprintBinding", "metadata": { "name": "databases" },
            "spec": { "blueprint": "db-backup", "objects": {
                "kinds": ["statefulset"], "labelSelector": { "matchLabels": { "tier": "data" } },
            }},
        });
        stage.apply(&binding.to_string()).await;
        let label = json!({ "metadata": { "labels": { "tier": "data" } } });
        let sets = stage.objects("apps/v1", "StatefulSet").await;
        sets.patch("db", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();

        let controller = stage.controller(&["--no-leader-election"]);
        let flags = ["--discover", "--selector-namespace", &stage.namespace, "--name", "all", "--wait"];
        let said = stage.kanctl(&[&["create", "actionset", "-a", "backup"], &flags[..]].concat());
        assert!(said.ends_with("actionset all complete\n"), "{said}");
        let status = stage.ended("all").await;
        let mut who: Vec<&str> = status["actions"].as_array().unwrap().iter()
            .map(|action| action["artifacts"]["made"]["keyValue"]["who"].as_str().unwrap())
            .collect();
        who.sort_unstable();
        assert_eq!(who, ["db-0 by db-backup", "web-0 by web-backup"], "and nobody else");
        controller.assert_well();
    });
}
