//! An operator's first days on a real node, by the commands of docs/operators.md: the chart installed with Helm, a
//! PostgreSQL backed up, controllers killed in the midst, a restore, an upgrade, an uninstall.

use crate::helm::{self, root};
use crate::node::{MACHINE, Node, POSTGRES_IMAGE, PROGRAM_IMAGE, output};
use crate::shop::Shop;
use crate::stage::apply;
use crate::support::home::{CISTERN, Home};
use crate::support::place::Place;
use crate::world::{kanister, until};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

const NAMESPACE: &str = "cistern";
const INSTALL: [&str; 5] = ["upgrade", "--install", "cistern", "deploy/chart", "--namespace=cistern"];
const PATIENCE: &str = "--timeout=5m";

/// What an operator has at hand.
struct Operator {
    node: Node,
    shop: Shop,
    helm: &'static Path,
    /// Where Helm and `kanctl` keep their own files.
    home: TempDir,
    /// Pods that functions were given: the uid of their ActionSet, their phase and attempt, their own uid.
    pods: Arc<Mutex<BTreeSet<(String, String, String)>>>,
}

impl Operator {
    fn new(story: &str, node: Node) -> Option<Operator> {
        let helm = helm::program(story)?;
        let shop = node.play(async {
            for name in [NAMESPACE, "shop"] {
                let label = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
                let namespace = json!({ "metadata": { "name": name, "labels": label } });
                let namespaces: Api<Namespace> = Api::all(node.client.clone());
                let namespace = serde_json::from_value(namespace).unwrap();
                namespaces.create(&PostParams::default(), &namespace).await.unwrap();
            }
            Shop::open(&node.client).await
        });
        let pods = Arc::new(Mutex::new(BTreeSet::new()));
        node.runtime.spawn(count(Api::namespaced(node.client.clone(), "shop"), pods.clone()));
        Some(Operator { node, shop, helm, home: TempDir::new().unwrap(), pods })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path());
        command.env("KUBECONFIG", &self.node.kubeconfig).current_dir(root());
        command
    }

    fn helm(&self, arguments: &[&str], values: &[&str]) {
        let mut command = self.command(self.helm);
        command.args(arguments).args(["--wait", PATIENCE]);
        for value in values {
            command.args(["--set", value]);
        }
        output(&mut command);
    }

    fn install(&self) {
        let image = format!("image.repository={PROGRAM_IMAGE}");
        self.helm(&INSTALL, &[&image, "applicationNamespaces={shop}", "networkPolicy.enabled=true"]);
    }

    /// What `kanctl … -n cistern` prints.
    fn kanctl(&self, arguments: &[&str]) -> String {
        let mut command = self.command(Path::new(CISTERN));
        command.arg("kanctl").args(arguments).args(["-n", NAMESPACE]);
        String::from_utf8(output(&mut command).stdout).unwrap()
    }

    /// Orders a backup; its name.
    fn back_up(&self, profile: &str, more: &[&str]) -> (String, String) {
        let image = format!("image={POSTGRES_IMAGE}");
        let host = format!("host={}", self.shop.service);
        let order =
            ["create", "actionset", "--action=backup", "--blueprint=postgresql", "--statefulset=shop/db"];
        let rest = ["--profile", profile, "--secrets=database=shop/db-credentials", "--options", &image];
        let printed = self.kanctl(&[&order[..], &rest, &["--options", &host], more].concat());
        (named(&printed), printed)
    }

    async fn status(&self, name: &str) -> Json {
        kanister(&self.node.client, "ActionSet", NAMESPACE).get(name).await.unwrap().data["status"].clone()
    }

    /// Waits until the dump of an ActionSet stands still before a table that is locked.
    async fn dumping(&self, name: &str) {
        until("the dump runs", async || {
            let status = self.status(name).await;
            let running = status.pointer("/actions/0/phases/0/state")? == "running";
            (running && self.shop.waiting().await > 0).then_some(())
        })
        .await;
    }

    /// Every phase of an ActionSet had one pod, at its first attempt, and these are all.
    async fn assert_once(&self, name: &str, phases: usize) {
        let set = kanister(&self.node.client, "ActionSet", NAMESPACE).get(name).await.unwrap();
        assert_eq!(set.data["status"]["state"], "complete", "{name}: {}", set.data["status"]);
        let uid = set.metadata.uid.unwrap();
        let pods = self.pods.lock().unwrap().clone();
        let of_set: Vec<&String> = pods.iter().filter(|pod| pod.0 == uid).map(|pod| &pod.1).collect();
        let wanted: Vec<String> = (0..phases).map(|phase| format!("{phase}/1")).collect();
        assert_eq!(of_set, wanted.iter().collect::<Vec<_>>(), "{name}: a pod for each phase, and no other");
    }

    async fn action_sets(&self) -> Vec<String> {
        let all = kanister(&self.node.client, "ActionSet", NAMESPACE).list(&ListParams::default()).await;
        all.unwrap().items.iter().map(|set| set.name_any()).collect()
    }

    fn controllers(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), NAMESPACE)
    }

    async fn replicas(&self) -> Vec<Pod> {
        let params = ListParams::default().labels("app.kubernetes.io/name=cistern");
        self.controllers().list(&params).await.unwrap().items
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.node.client.clone(), NAMESPACE)
    }

    async fn leader(&self) -> Option<String> {
        let lease = self.leases().get("cistern").await.ok()?;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    async fn ready(&self) {
        let deployments: Api<Deployment> = Api::namespaced(self.node.client.clone(), NAMESPACE);
        until("both replicas are ready", async || {
            (deployments.get("cistern").await.ok()?.status?.ready_replicas == Some(2)).then_some(())
        })
        .await;
    }
}

/// The name in `actionset NAME created`.
fn named(printed: &str) -> String {
    printed.split_whitespace().nth(1).unwrap().to_owned()
}

/// Keeps count of the pods of functions, for as long as the runtime lives.
async fn count(api: Api<Pod>, counted: Arc<Mutex<BTreeSet<(String, String, String)>>>) {
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
        let label = |name: &str| pod.labels().get(&format!("cistern.dev/{name}")).cloned();
        if let (Some(set), Some(phase), Some(attempt)) =
            (label("action-set-uid"), label("phase"), label("attempt"))
        {
            let uid = pod.uid().unwrap();
            counted.lock().unwrap().insert((set, format!("{phase}/{attempt}"), uid));
        }
    }
}

/// Makes a server of the loopback answer pods, too; its port.
async fn lead_to(server: String) -> u16 {
    let listener = TcpListener::bind((MACHINE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                if let Ok(mut to) = TcpStream::connect(&server).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    });
    port
}

/// A repository in the bucket, the key to it in a Secret, and the name of the Profile that leads there.
fn profile(operator: &Operator, store: &Place) -> (Home, String) {
    let home = store.home();
    home.ok(&["init"], b"");
    home.ok(&["key", "export", "--role", "owner", "-o", "repository.key"], b"");
    let (url, bucket) = store.url.rsplit_once('/').unwrap();
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let port = operator.node.play(lead_to(address));
    let settings = std::fs::read_to_string(home.path(".config/cistern/config.toml")).unwrap();
    let repository = settings.lines().find_map(|line| line.strip_prefix("repository = '")).unwrap();
    let key = std::fs::read_to_string(home.path("repository.key")).unwrap();
    operator.node.play(apply(
        &operator.node.client,
        NAMESPACE,
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "repository" },
            "stringData": { "cistern-key": key, "cistern-repository": repository.trim_end_matches('\'') },
        }),
    ));
    let endpoint = format!("http://{MACHINE}:{port}");
    let secret_key = home.write("secret-key", "any");
    let place = ["--bucket", bucket, "--endpoint", &endpoint, "--region", "us-east-1"];
    let access = ["--access-key", "any", "--secret-key-file", secret_key.to_str().unwrap()];
    let printed = operator.kanctl(&[&["create", "profile", "s3compliant"][..], &place, &access].concat());
    let line = printed.lines().find_map(|line| line.strip_prefix("profile '")).expect(&printed);
    let name = line.split('\'').next().unwrap().to_owned();
    operator.node.play(async {
        let annotate =
            json!({ "metadata": { "annotations": { "cistern.dev/repository-secret": "repository" } } });
        let profiles = kanister(&operator.node.client, "Profile", NAMESPACE);
        let patch = kube::api::Patch::Merge(&annotate);
        profiles.patch(&name, &kube::api::PatchParams::default(), &patch).await.unwrap();
    });
    (home, name)
}

/// What the chart brings is there and was taken by a cluster that holds pods to the restricted profile; a blueprint
/// with errors is refused through the Service.
async fn assert_installed(operator: &Operator) {
    let client = || operator.node.client.clone();
    operator.ready().await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client(), NAMESPACE);
    until("one replica may be evicted", async || {
        (budgets.get("cistern").await.ok()?.status?.disruptions_allowed == 1).then_some(())
    })
    .await;
    let policies: Api<NetworkPolicy> = Api::namespaced(client(), NAMESPACE);
    policies.get("cistern").await.unwrap();
    let broken = json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
        "metadata": { "name": "broken" },
        "actions": { "backup": { "phases": [{ "func": "KubTask", "name": "dump" }] } } });
    let blueprints = kanister(&operator.node.client, "Blueprint", NAMESPACE);
    until("a blueprint with errors is refused", async || {
        let stored = blueprints.create(&PostParams::default(), &crate::world::object(broken.clone())).await;
        match stored {
            Ok(_) => drop(blueprints.delete("broken", &DeleteParams::default()).await.unwrap()),
            Err(refusal) => return refusal.to_string().contains("[function/unknown]").then_some(()),
        }
        None
    })
    .await;
    let ours = std::fs::read_to_string(root().join("blueprints/postgresql/pg-dump.yaml")).unwrap();
    let ours = cistern_api::yaml::parse(&ours).unwrap()[0].value().clone();
    apply(&operator.node.client, NAMESPACE, ours).await;
}

/// All controllers killed while a dump stands still, then the one that leads deleted without grace.
async fn kill_controllers(operator: &Operator) {
    let before = operator.leader().await.unwrap();
    for pod in operator.replicas().await {
        assert!(operator.node.kill_processes(&pod.uid().unwrap()) >= 1, "{}", pod.name_any());
    }
    let leader =
        until("somebody leads again", async || operator.leader().await.filter(|leader| *leader != before))
            .await;
    let pods = operator.replicas().await;
    let pod = pods.iter().find(|pod| leader.starts_with(&pod.name_any())).expect(&leader);
    let at_once = DeleteParams::default().grace_period(0);
    operator.controllers().delete(&pod.name_any(), &at_once).await.unwrap();
    until("another one leads", async || operator.leader().await.filter(|now| *now != leader)).await;
}

#[test]
fn an_operator_s_first_days() {
    let story = "an_operator_s_first_days";
    let Some(node) = Node::start(story) else { return };
    let Some(store) = Place::named("CISTERN_TEST_S3") else { return };
    let Some(operator) = Operator::new(story, node) else { return };
    operator.install();
    operator.node.play(assert_installed(&operator));
    let (home, profile) = profile(&operator, &store);
    let shop = &operator.shop;
    // The first backup, watched.
    let before = shop.sum();
    let (first, printed) = operator.back_up(&profile, &["--wait", PATIENCE]);
    for told in ["phase dump running", "phase dump complete", "phase verify complete"] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
    assert!(printed.ends_with(&format!("actionset {first} complete\n")), "{printed}");
    operator.node.play(operator.assert_once(&first, 2));
    // The second one: the controllers die in its midst.
    let lock = shop.lock();
    let (second, _) = operator.back_up(&profile, &[]);
    operator.node.play(async {
        operator.dumping(&second).await;
        kill_controllers(&operator).await;
    });
    drop(lock);
    operator.kanctl(&["wait", &second, PATIENCE]);
    operator.node.play(operator.assert_once(&second, 2));
    // What was lost comes back.
    shop.damage();
    assert_ne!(shop.sum(), before);
    let restore = ["create", "actionset", "--action=restore", "--from", &second, "--wait", PATIENCE];
    let restored = named(&operator.kanctl(&restore));
    assert_eq!(shop.sum(), before);
    operator.node.play(operator.assert_once(&restored, 1));
    // An upgrade while the third is under way.
    operator.node.play(operator.ready());
    let lock = shop.lock();
    let (third, _) = operator.back_up(&profile, &[]);
    operator.node.play(operator.dumping(&third));
    let kept = operator.node.play(operator.action_sets());
    let upgrade = ["upgrade", "cistern", "deploy/chart", "--namespace=cistern", "--reuse-values"];
    operator.helm(&upgrade, &["podAnnotations.upgraded=yes"]);
    assert_eq!(operator.node.play(operator.action_sets()), kept);
    drop(lock);
    operator.kanctl(&["wait", &third, PATIENCE]);
    operator.node.play(operator.assert_once(&third, 2));
    uninstall(&operator, &kept);
    crate::support::assert_sound(&home);
}

/// The release goes and its resources stay; the next release takes them over.
fn uninstall(operator: &Operator, kept: &[String]) {
    operator.helm(&["uninstall", "cistern", "--namespace=cistern"], &[]);
    operator.node.play(async {
        assert_eq!(operator.action_sets().await, kept, "every ActionSet is still there");
        let blueprints = kanister(&operator.node.client, "Blueprint", NAMESPACE);
        blueprints.get("postgresql").await.unwrap();
        let secrets: Api<Secret> = Api::namespaced(operator.node.client.clone(), NAMESPACE);
        secrets.get("cistern-webhook").await.unwrap();
        operator.leases().get("cistern").await.unwrap();
    });
    operator.install();
    let delete = ["create", "actionset", "--action=delete", "--from", &kept[0], "--wait", PATIENCE];
    operator.kanctl(&delete);
}
