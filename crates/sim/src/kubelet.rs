//! A kubelet for tests: pods whose containers are processes of this machine.
//!
//! It joins a real cluster as a node: takes pods that nobody has scheduled, runs their commands, reports how they
//! end, and serves logs and commands to the API server. Every image is the machine's own file system under a
//! fresh layer, so a container sees its own files, volumes and processes and leaves nothing behind; an
//! [`Image`] adds programs, a user or a failure to pull.
//!
//! | file | subject |
//! |---|---|
//! | `kubelet/image.rs` | what an image's name stands for |
//! | `kubelet/volume.rs` | volumes as directories |
//! | `kubelet/environment.rs` | variables and arguments of a container |
//! | `kubelet/container.rs` | a container as a process |
//! | `kubelet/status.rs` | what is reported of a pod |
//! | `kubelet/pod.rs` | the life of one pod |
//! | `kubelet/serve.rs` | logs and commands for the API server |
//! | `kubelet/exec.rs` | a command in a container over a WebSocket |
//!
//! **What is absent on purpose:** networks (all pods share the machine's loopback), limits of memory and CPU,
//! probes, images. It needs root on Linux with overlayfs, and util-linux.

#![allow(clippy::disallowed_methods, reason = "json! unwraps what cannot fail")]

mod container;
mod environment;
mod exec;
mod image;
mod pod;
mod serve;
mod status;
mod volume;

pub use image::Image;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long is waited before a request is made again.
const PAUSE: Duration = Duration::from_millis(300);

/// How a node is set up.
pub struct Setup {
    /// Name of the node.
    pub name: String,
    /// Where pods keep their files; made, and left to the caller to remove.
    pub folder: PathBuf,
    /// What stands for images that are not the machine as it is.
    pub images: Vec<Image>,
    /// Its certificate as a server, PEM.
    pub certificate: String,
    /// The key of that, PEM.
    pub key: String,
    /// Who signs the certificates of those that may ask it, PEM.
    pub authority: String,
}

/// A node at work, until the runtime it was started in ends.
#[derive(Clone)]
pub struct Kubelet {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// Nodes as old as this cluster can hear that the input of a command has ended.
    closes_input: bool,
    setup: Setup,
    port: u16,
    /// Containers by namespace, pod and container name.
    containers: Mutex<HashMap<(String, String, String), Arc<container::Container>>>,
    /// Pods under way by uid, and how they hear of changes.
    pods: Mutex<HashMap<String, mpsc::UnboundedSender<Option<Pod>>>>,
    cut: Notify,
    /// Whether logs are to be had.
    logs_lost: AtomicBool,
}

/// Starts the node and waits until the cluster knows it.
///
/// # Errors
/// In words: the certificate, the port, or the cluster's refusal.
pub async fn start(client: Client, setup: Setup) -> Result<Kubelet, String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|e| format!("listen: {e}"))?;
    let port = listener.local_addr().map_err(|e| format!("the port: {e}"))?.port();
    let acceptor = serve::acceptor(&setup)?;
    let version = client.apiserver_version().await.map_err(|e| format!("the cluster's version: {e}"))?;
    let minor = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>();
    let inner = Arc::new(Inner {
        closes_input: minor.is_ok_and(|minor| minor >= 30),
        client,
        setup,
        port,
        containers: Mutex::default(),
        pods: Mutex::default(),
        cut: Notify::new(),
        logs_lost: AtomicBool::new(false),
    });
    inner.register().await?;
    tokio::spawn(serve::serve(inner.clone(), listener, acceptor));
    tokio::spawn(inner.clone().follow());
    Ok(Kubelet { inner })
}

impl Kubelet {
    /// Cuts every log and command that the API server follows, as a kubelet does that dies. Containers go on.
    pub fn cut(&self) {
        self.inner.cut.notify_waiters();
    }

    /// From now on no log can be read, as on a node whose disk is broken; or they can again.
    pub fn lose_logs(&self, lost: bool) {
        self.inner.logs_lost.store(lost, Ordering::Relaxed);
    }

    /// Shortens what a container has written so far to its last bytes, as rotation does.
    ///
    /// # Errors
    /// The log cannot be read or written; or there is no such container.
    pub fn rotate(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        left_bytes: usize,
    ) -> std::io::Result<()> {
        let found = self.inner.container(namespace, pod, container);
        found.ok_or(std::io::ErrorKind::NotFound)?.rotate(left_bytes)
    }
}

impl Inner {
    /// Makes the Node, with the address that the API server turns to for logs and commands.
    async fn register(&self) -> Result<(), String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = &self.setup.name;
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        });
        let params = PatchParams::apply("cistern-test-kubelet").force();
        let refused = |e: kube::Error| format!("register the node {name}: {e}");
        nodes.patch(name, &params, &Patch::Apply(&node)).await.map_err(refused)?;
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": name }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": self.port } },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
            "capacity": { "cpu": "2", "memory": "8Gi", "pods": "1000" },
            "allocatable": { "cpu": "2", "memory": "8Gi", "pods": "1000" },
            // API servers from 1.36 on hand on a WebSocket to nodes that say this; for others they turn it into
            // SPDY, as those from 1.30 on do for all.
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
        }});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map_err(refused)?;
        Ok(())
    }

    /// Follows all pods, whatever happens to the API server.
    async fn follow(self: Arc<Inner>) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = std::pin::pin!(watch(pods, watcher::Config::default()).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    listed.extend(pod.uid());
                    self.seen(pod);
                }
                // Nobody tells of pods that went while the watch was cut.
                Ok(Event::InitDone) => {
                    for (_, life) in self.pods().iter().filter(|(uid, _)| !listed.contains(*uid)) {
                        let _ = life.send(None);
                    }
                }
                Ok(Event::Apply(pod)) => self.seen(pod),
                Ok(Event::Delete(pod)) => self.gone(&pod),
                // The stream goes on by itself, after a pause.
                Err(_) => {}
            }
        }
    }

    fn seen(self: &Arc<Inner>, pod: Pod) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        match node {
            None => drop(tokio::spawn(self.clone().bind(pod))),
            Some(name) if name == self.setup.name => self.tell(pod),
            Some(_) => {}
        }
    }

    /// Hands a pod to whoever lives its life; begins that life if there is none.
    fn tell(self: &Arc<Inner>, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let mut pods = self.pods();
        if let Some(life) = pods.get(&uid) {
            let _ = life.send(Some(pod));
            return;
        }
        let (sender, changes) = mpsc::unbounded_channel();
        pods.insert(uid.clone(), sender);
        drop(pods);
        let node = self.clone();
        tokio::spawn(async move {
            pod::live(&node, pod, changes).await;
            node.pods().remove(&uid);
        });
    }

    fn gone(&self, pod: &Pod) {
        if let Some(life) = self.pods().get(&pod.uid().unwrap_or_default()) {
            let _ = life.send(None);
        }
    }

    /// Takes a pod that has no node, unless it is being deleted.
    async fn bind(self: Arc<Inner>, pod: Pod) {
        if pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let name = pod.name_any();
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "uid": pod.uid() },
            "target": { "apiVersion": "v1", "kind": "Node", "name": self.setup.name },
        });
        let params = PostParams::default();
        self.insist(|| pods.create_subresource::<_, Status>("binding", &name, &params, &binding)).await;
    }

    /// Makes a request until it is answered; an answer that refuses is one too.
    async fn insist<T, F>(&self, request: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        loop {
            match tokio::time::timeout(REQUEST_TIMEOUT, request()).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(kube::Error::Api(status))) if status.code != 429 && status.code < 500 => return None,
                Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Removes a pod whose containers have ended, for good.
    async fn remove(&self, pods: &Api<Pod>, name: &str, uid: &str) {
        let params = DeleteParams {
            preconditions: Some(kube::api::Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default().grace_period(0)
        };
        self.insist(|| pods.delete(name, &params)).await;
    }

    fn container(&self, namespace: &str, pod: &str, name: &str) -> Option<Arc<container::Container>> {
        let key = (namespace.to_owned(), pod.to_owned(), name.to_owned());
        self.containers.lock().expect("no holder of the lock panics").get(&key).cloned()
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Option<Pod>>>> {
        self.pods.lock().expect("no holder of the lock panics")
    }
}
