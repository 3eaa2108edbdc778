//! What a story needs: a namespace with the rights of the manifests, the controller as a process, ActionSets that
//! leave a trace of every phase.

use crate::front::Front;
use crate::server::{Server, Used};
use crate::support::home::CISTERN;
use crate::world::{self, OURS, PATIENCE, Visit, kanister, object, until_within};
use cistern_api::yaml;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, ResourceExt as _};
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The namespace of the printed manifests, and the name of everything in them.
const CISTERN_NAME: &str = "cistern";
/// What grants rights; the rest of the manifests needs a registry or a later Kubernetes.
const GRANTING: [&str; 3] = ["ServiceAccount", "Role", "RoleBinding"];

/// The place of one story.
pub struct Stage {
    pub world: Visit,
    pub namespace: String,
    /// Of the controller's service account.
    token: String,
    kubeconfig: PathBuf,
    folder: PathBuf,
    replicas: AtomicUsize,
}

/// A controller; killed when dropped.
pub struct Replica {
    server: Server,
    log: PathBuf,
}

impl Stage {
    /// `None` where there can be none, which is said.
    pub fn new(story: &str) -> Option<Stage> {
        Stage::in_world(world::world()?, story)
    }

    /// One for a story that disturbs all others.
    pub fn alone(story: &str) -> Option<Stage> {
        Stage::in_world(world::alone()?, story)
    }

    fn in_world(world: Visit, story: &str) -> Option<Stage> {
        world.node(story)?;
        let plane = world.servers(story)?;
        let (namespace, token) = world.play(async {
            let namespace = world.namespace(&story.replace('_', "-")).await;
            grant(&world.client, &namespace).await;
            let token = token(&world.client, &namespace, CISTERN_NAME).await;
            let app = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "app" } });
            apply(&world.client, &namespace, app).await;
            (namespace, token)
        });
        let folder = plane.folder(&namespace);
        std::fs::create_dir_all(folder.join("traces")).unwrap();
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.join("traces"), everybody).unwrap();
        let kubeconfig = plane.kubeconfig_of(&namespace, &token);
        Some(Stage { world, namespace, token, kubeconfig, folder, replicas: AtomicUsize::new(0) })
    }

    /// A controller as the manifests start it, but for the webhook.
    pub fn controller(&self, more: &[&str]) -> Replica {
        self.controller_as(&self.kubeconfig, more)
    }

    /// The controller's kubeconfig, for a server at another address.
    pub fn kubeconfig_by(&self, url: &str) -> PathBuf {
        self.world.plane.as_ref().expect("a stage is on servers of ours").kubeconfig_by(&self.kubeconfig, url)
    }

    /// A door before the API server.
    pub async fn front(&self) -> Front {
        let plane = self.world.plane.as_ref().expect("a stage is on servers of ours");
        Front::open(&plane.kubeconfig_of_nobody()).await
    }

    /// A controller that reaches the API server through that door.
    pub fn controller_behind(&self, front: &Front, more: &[&str]) -> Replica {
        let plane = self.world.plane.as_ref().expect("a stage is on servers of ours");
        let name = format!("{}-behind", self.namespace);
        self.controller_as(&plane.kubeconfig_through(&front.url, &name, &self.token), more)
    }

    /// A kubeconfig of an account that has no rights.
    pub async fn nobody(&self) -> PathBuf {
        let account =
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "nobody" } });
        apply(&self.world.client, &self.namespace, account).await;
        let token = token(&self.world.client, &self.namespace, "nobody").await;
        let plane = self.world.plane.as_ref().expect("a stage is on servers of ours");
        plane.kubeconfig_of(&format!("{}-nobody", self.namespace), &token)
    }

    /// A controller with the rights of whoever the file describes.
    pub fn controller_as(&self, kubeconfig: &Path, more: &[&str]) -> Replica {
        let number = self.replicas.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.join(format!("controller-{number}.log"));
        let mut command = Command::new(CISTERN);
        command.env_clear().env("KUBECONFIG", kubeconfig).env("PATH", "/usr/bin:/bin");
        command.arg("controller").arg(format!("--namespace={}", self.namespace));
        command.arg(format!("--watch-namespace={}", self.namespace));
        command.args(["--service-account=cistern", "--lease-name=cistern", "--log-format=json"]).args(more);
        if !more.iter().any(|flag| flag.starts_with("--listen")) {
            command.arg("--listen=127.0.0.1:0");
        }
        Replica { server: Server::start(&command, &log), log }
    }

    pub fn action_sets(&self) -> Api<DynamicObject> {
        kanister(&self.world.client, "ActionSet", &self.namespace)
    }

    /// Objects of a file of YAML, in this namespace.
    pub async fn apply(&self, text: &str) {
        for document in yaml::parse(text).unwrap() {
            apply(&self.world.client, &self.namespace, document.value().clone()).await;
        }
    }

    /// A blueprint `name` with one action `backup`: these phases, each `(name, shell)`, and one that is deferred.
    /// Each leaves its trace before it runs its shell.
    pub async fn blueprint(&self, name: &str, phases: &[(&str, &str)], artifacts: Json) {
        let phase = |(name, script): &(&str, &str)| self.phase(name, script);
        let mut action = json!({
            "phases": phases.iter().map(phase).collect::<Vec<_>>(),
            "deferPhase": self.phase("last", "true"),
        });
        if !artifacts.is_null() {
            action["outputArtifacts"] = artifacts;
        }
        let blueprint = json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
            "metadata": { "name": name }, "actions": { "backup": action },
        });
        apply(&self.world.client, &self.namespace, blueprint).await;
    }

    /// A phase that runs shell in a pod.
    pub fn phase(&self, name: &str, script: &str) -> Json {
        let trace = format!("set -e\necho '{{{{ .Options.id }}}} {name}' >>/traces/all\n{script}");
        json!({ "func": "KubeTask", "name": name, "args": {
            "namespace": self.namespace, "image": format!("{OURS}tools"),
            "command": ["sh", "-c", trace],
            "podOverride": {
                "containers": [{ "name": "container", "volumeMounts": [{ "name": "traces", "mountPath": "/traces" }] }],
                "volumes": [{ "name": "traces", "hostPath": { "path": self.folder.join("traces") } }],
            },
        }})
    }

    /// An ActionSet of that blueprint.
    pub async fn order(&self, name: &str, blueprint: &str) {
        self.create(name, blueprint, json!({}), json!({})).await;
    }

    /// The same, with more in its action.
    pub async fn order_with(&self, name: &str, blueprint: &str, more: Json) {
        self.create(name, blueprint, more, json!({})).await;
    }

    /// The same, with annotations.
    pub async fn order_noted(&self, name: &str, blueprint: &str, notes: Json) {
        self.create(name, blueprint, json!({}), notes).await;
    }

    async fn create(&self, name: &str, blueprint: &str, more: Json, notes: Json) {
        let mut action = json!({
            "name": "backup", "blueprint": blueprint, "options": { "id": name },
            "object": {
                "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "app", "namespace": self.namespace,
            },
        });
        for (key, value) in more.as_object().unwrap() {
            action[key] = value.clone();
        }
        let order = json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
            "metadata": { "name": name, "annotations": notes }, "spec": { "actions": [action] },
        });
        self.action_sets().create(&PostParams::default(), &object(order)).await.unwrap();
    }

    /// Its status when it has ended.
    pub async fn ended(&self, name: &str) -> Json {
        self.ended_within(PATIENCE, name).await
    }

    /// The same, where many are under way.
    pub async fn ended_within(&self, patience: Duration, name: &str) -> Json {
        let api = self.action_sets();
        until_within(patience, &format!("{name} has ended"), async || {
            let status = api.get(name).await.ok()?.data["status"].clone();
            let state = status["state"].as_str()?;
            (state == "complete" || state == "failed").then_some(status)
        })
        .await
    }

    /// How many have not ended.
    pub async fn unfinished(&self) -> usize {
        let params = ListParams::default().labels("!cistern.dev/state");
        self.action_sets().list_metadata(&params).await.unwrap().items.len()
    }

    /// How often each phase of each ActionSet ran: `id phase`.
    pub fn traces(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(self.folder.join("traces/all")).unwrap_or_default();
        let mut counted = BTreeMap::new();
        for line in text.lines() {
            *counted.entry(line.to_owned()).or_default() += 1;
        }
        counted
    }

    /// A directory for a story's own files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Replica {
    /// As by a lack of memory.
    pub fn kill(self) {
        drop(self.server);
    }

    pub fn freeze(&self) {
        self.server.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.server.signal(Signal::CONT);
    }

    /// Waits for it to end by itself; its exit status, and what it said.
    pub fn ended(self) -> (Option<i32>, String) {
        (self.server.wait(), self.said())
    }

    /// Asks it to stop; its exit status.
    pub fn stop(self) -> Option<i32> {
        self.server.signal(Signal::TERM);
        self.server.wait()
    }

    /// What it has used so far.
    pub fn used(&self) -> Used {
        self.server.used()
    }

    /// It runs still, and has never panicked.
    pub fn assert_well(&self) {
        let said = self.said();
        assert!(self.server.runs(), "the controller has ended: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// All that it has written.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Account, roles and bindings of the printed manifests, in this namespace.
async fn grant(client: &Client, namespace: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/namespaced.yaml");
    for document in yaml::parse(&std::fs::read_to_string(file).unwrap()).unwrap() {
        let mut value = document.value().clone();
        if !GRANTING.contains(&value["kind"].as_str().unwrap_or_default()) {
            continue;
        }
        for subject in value.get_mut("subjects").and_then(Json::as_array_mut).into_iter().flatten() {
            subject["namespace"] = namespace.into();
        }
        value["metadata"]["namespace"] = namespace.into();
        apply(client, namespace, value).await;
    }
}

async fn token(client: &Client, namespace: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = json!({ "spec": { "audiences": [], "expirationSeconds": 7200 } });
    let request: TokenRequest = serde_json::from_value(request).unwrap();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    answer.unwrap().status.unwrap().token
}

/// Server-side apply of one object.
pub async fn apply(client: &Client, namespace: &str, value: Json) {
    let applied = object(value);
    let kind = applied.types.as_ref().unwrap().try_into().unwrap();
    let (resource, capabilities) = pinned_kind(client, &kind).await.unwrap();
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        Scope::Cluster => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("cistern-tests").force();
    let name = applied.name_any();
    let patch = Patch::Apply(&applied);
    tokio::time::timeout(PATIENCE, api.patch(&name, &params, &patch)).await.unwrap().unwrap();
}

/// Every phase of every ActionSet ran once.
pub fn once(ids: &[String], phases: &[&str]) -> BTreeMap<String, usize> {
    ids.iter().flat_map(|id| phases.iter().map(move |phase| (format!("{id} {phase}"), 1))).collect()
}
