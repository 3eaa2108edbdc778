//! What stories of single functions share: recipes with several actions, orders that must end one way or the other,
//! and the rights that an operator gives by the chart's values.

use crate::helm;
use crate::plane::Plane;
use crate::stage::Stage;
use crate::support::home::{Home, Ran, run};
use crate::world::until;
use kube::api::DynamicObject;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, ResourceExt};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// What the chart prints that grants rights.
const GRANTING: [&str; 4] = ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// One call of a function.
pub fn phase(func: &str, name: &str, args: Json) -> Json {
    json!({ "func": func, "name": name, "args": args })
}

/// An action of one phase, called like its function's name in the test.
pub fn only(func: &str, args: Json) -> Json {
    json!({ "phases": [phase(func, "only", args)] })
}

impl Stage {
    /// A blueprint of these actions.
    pub async fn recipe(&self, name: &str, actions: Json) {
        self.recipe_with(name, json!({}), actions).await;
    }

    /// The same with annotations.
    pub async fn recipe_with(&self, name: &str, annotations: Json, actions: Json) {
        let blueprint = json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
            "metadata": { "name": name, "annotations": annotations }, "actions": actions,
        });
        self.apply(&blueprint.to_string()).await;
    }

    /// A blueprint of `fixtures/blueprints`, as it is but for its namespace.
    pub async fn published(&self, file: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/blueprints");
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let mut blueprint = cistern_api::yaml::parse(&text).unwrap()[0].value().clone();
        blueprint["metadata"].as_object_mut().unwrap().remove("namespace");
        self.apply(&blueprint.to_string()).await;
    }

    /// Orders what `more` says of the action, which must succeed; the action's status.
    pub async fn complete(&self, name: &str, blueprint: &str, more: Json) -> Json {
        self.order_with(name, blueprint, more).await;
        self.completed(name).await
    }

    /// The status of the first action of an ActionSet that must succeed.
    pub async fn completed(&self, name: &str) -> Json {
        let status = self.ended(name).await;
        assert_eq!(status["state"], "complete", "{name}: {status}");
        status["actions"][0].clone()
    }

    /// Orders what must fail; the sentence that says why.
    pub async fn failure(&self, name: &str, blueprint: &str, more: Json) -> String {
        self.order_with(name, blueprint, more).await;
        let status = self.ended(name).await;
        assert_eq!(status["state"], "failed", "{name}: {status}");
        status["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Waits until the first phase of an ActionSet is in a state.
    pub async fn phase_is(&self, name: &str, wanted: &str) {
        let api = self.action_sets();
        until(&format!("the first phase of {name} is {wanted}"), async || {
            let set = api.get(name).await.ok()?;
            (set.data["status"]["actions"][0]["phases"][0]["state"] == wanted).then_some(())
        })
        .await;
    }

    /// A reference to an object here, by its kind.
    pub fn the(&self, kind: &str, name: &str) -> Json {
        json!({ "kind": kind, "name": name, "namespace": self.namespace })
    }

    /// Objects of a kind in this namespace, or of none.
    pub async fn objects(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) = pinned_kind(&self.world.client, &kind).await.unwrap();
        match capabilities.scope {
            Scope::Namespaced => Api::namespaced_with(self.world.client.clone(), &self.namespace, &resource),
            Scope::Cluster => Api::all_with(self.world.client.clone(), &resource),
        }
    }

    /// Names of the pods that are here.
    pub async fn pods(&self) -> Vec<String> {
        let pods = self.objects("v1", "Pod").await.list(&Default::default()).await.unwrap();
        pods.items.iter().map(ResourceExt::name_any).collect()
    }

    /// Gives the controller the rights that the chart gives with these values; `None` where there is no helm, which
    /// is said.
    pub async fn chart(&self, values: &[&str]) -> Option<()> {
        let program = helm::program(&self.namespace)?;
        let place = ["template", "cistern", "deploy/chart", "--namespace", &self.namespace];
        let printed = helm::helm(program, &place, values);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        for object in helm::parsed(&String::from_utf8(printed.stdout).unwrap()) {
            if GRANTING.contains(&object["kind"].as_str().unwrap_or_default()) {
                self.apply(&object.to_string()).await;
            }
        }
        Some(())
    }

    /// Where the node keeps what is in a claim of this namespace.
    pub fn claim(&self, name: &str) -> PathBuf {
        let plane: &Plane = self.world.plane.as_ref().expect("a stage is on servers of ours");
        plane.folder("node").join("claims").join(&self.namespace).join(name)
    }

    /// `kanctl … --namespace NS` of an administrator, which must succeed; what it printed.
    pub fn kanctl(&self, args: &[&str]) -> String {
        let ran = self.try_kanctl(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        String::from_utf8(ran.out).unwrap()
    }

    /// The same, however it ends.
    pub fn try_kanctl(&self, args: &[&str]) -> Ran {
        let home = Home::new();
        let mut command = home.command(&["kanctl"]);
        command.args(args).arg("--kubeconfig").arg(&self.world.kubeconfig);
        command.args(["--namespace", &self.namespace]);
        run(command, b"")
    }
}

/// Functions that `rds.rs` calls through blueprints of `fixtures`.
const ELSEWHERE: [&str; 4] =
    ["CreateRDSSnapshot", "DeleteRDSSnapshot", "ExportRDSSnapshotToLocation", "RestoreRDSSnapshot"];

/// Text of all files below a folder.
fn texts(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| {
        if path.is_dir() { texts(&path) } else { std::fs::read_to_string(path).unwrap_or_default() }
    };
    entries.map(text).collect()
}

#[test]
fn every_function_has_a_story() {
    let mut stories = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster"));
    stories.retain(|c| !c.is_whitespace());
    for function in cistern_action::catalog::FUNCTIONS.iter().filter(|f| !ELSEWHERE.contains(&f.name)) {
        // As a call has it; what merely mentions a function does not count.
        let called = ["only(", "phase(", "call(", "back(", "\"func\":"]
            .map(|maker| format!("{maker}\"{}\"", function.name));
        assert!(called.iter().any(|call| stories.contains(call)), "no story calls {}", function.name);
    }
}
