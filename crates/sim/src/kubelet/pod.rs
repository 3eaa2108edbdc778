//! The life of one pod: volumes, containers that prepare it, its containers, its end.

use super::container::{Container, Ended, Mount, Plan, search_path};
use super::image::{self, PROGRAMS};
use super::status::{self, Slot, State};
use super::volume::{self, Missing};
use super::{Inner, PAUSE, environment};
use futures::FutureExt as _;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often a pod that waits for something looks for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many of a log's last bytes stand in for a message that a container did not leave.
const FALLBACK_BYTES: usize = 2048;

/// What is wanted of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// To live.
    Life,
    /// To end, within so many seconds.
    Death(u64),
    /// Nothing: it is not there any more.
    Nothing,
}

struct Life<'n> {
    node: &'n Arc<Inner>,
    pod: Pod,
    pods: Api<Pod>,
    folder: PathBuf,
    since: String,
    slots: Mutex<Vec<Slot>>,
    wanted: watch::Receiver<Wanted>,
    /// One report at a time, so that the last one stays.
    reporting: tokio::sync::Mutex<()>,
}

/// Lives until the pod is gone from the cluster.
pub(super) async fn live(node: &Arc<Inner>, pod: Pod, mut changes: mpsc::UnboundedReceiver<Option<Pod>>) {
    let (sender, wanted) = watch::channel(wanted_of(&pod));
    let listening = async {
        while let Some(change) = changes.recv().await {
            let _ = sender.send_replace(change.as_ref().map_or(Wanted::Nothing, wanted_of));
            if change.is_none() {
                return;
            }
        }
    };
    let uid = pod.uid().unwrap_or_default();
    let over =
        pod.status.as_ref().and_then(|s| s.phase.clone()).is_some_and(|p| p == "Succeeded" || p == "Failed");
    let life = Life {
        node,
        pods: Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default()),
        folder: node.setup.folder.join("pods").join(&uid),
        since: now(),
        slots: Mutex::new(slots(&pod)),
        wanted,
        reporting: tokio::sync::Mutex::default(),
        pod,
    };
    let living = async {
        if !over {
            life.run().await;
        }
        life.end(&uid).await;
    };
    tokio::join!(listening, living);
    node.containers
        .lock()
        .expect("no holder of the lock panics")
        .retain(|_, container| !container.log().starts_with(&life.folder));
    let _ = std::fs::remove_dir_all(&life.folder);
}

fn wanted_of(pod: &Pod) -> Wanted {
    match pod.metadata.deletion_timestamp {
        None => Wanted::Life,
        Some(_) => Wanted::Death(
            pod.metadata.deletion_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30),
        ),
    }
}

fn slots(pod: &Pod) -> Vec<Slot> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|s| s.init_containers.as_ref()).into_iter().flatten().map(|c| (c, true));
    let own = spec.map(|s| &s.containers).into_iter().flatten().map(|c| (c, false));
    init.chain(own).map(|(c, i)| Slot::new(&c.name, c.image.as_deref().unwrap_or_default(), i)).collect()
}

impl Life<'_> {
    async fn run(&self) {
        self.report().await;
        let Some(volumes) = self.volumes().await else { return };
        let spec = self.pod.spec.clone().unwrap_or_default();
        for container in spec.init_containers.iter().flatten() {
            let ended = self.tend(container, &volumes, false).await;
            if ended.is_none_or(|ended| ended.code != 0) {
                return;
            }
        }
        let mut lives = Vec::new();
        for container in &spec.containers {
            lives.push(self.tend(container, &volumes, true).boxed());
        }
        join_all(lives).await;
    }

    /// Waits to be told to end, and takes the pod from the cluster then.
    async fn end(&self, uid: &str) {
        let mut wanted = self.wanted.clone();
        if wanted.wait_for(|w| *w != Wanted::Life).await.is_ok_and(|w| *w == Wanted::Nothing) {
            return;
        }
        self.node.remove(&self.pods, &self.pod.name_any(), uid).await;
        // Somebody's finalizer may keep it.
        let _ = wanted.wait_for(|w| *w == Wanted::Nothing).await;
    }

    /// The volumes, as soon as all of what they show is there; `None` if the pod is to end before.
    async fn volumes(&self) -> Option<BTreeMap<String, PathBuf>> {
        let folder = self.folder.join("volumes");
        let mut last = String::new();
        loop {
            match volume::furnish(self.node, &self.pod, &folder).await {
                Ok(volumes) => return Some(volumes),
                Err(Missing(said)) if said == last => {}
                Err(Missing(said)) => {
                    self.note("FailedMount", &format!("MountVolume.SetUp failed: {said}")).await;
                    last = said;
                }
            }
            self.unless_ended(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    /// Runs one container to its end, again and again where the pod says so. `None`: it did not end by itself.
    async fn tend(&self, spec: &Spec, volumes: &BTreeMap<String, PathBuf>, own: bool) -> Option<Ended> {
        let policy = self.pod.spec.as_ref().and_then(|s| s.restart_policy.clone()).unwrap_or_default();
        for attempt in 0_u32.. {
            let plan = self.plan(spec, volumes, attempt).await?;
            let since = now();
            let started = Container::start(plan).await.map(Arc::new);
            let ended = match started {
                Ok(container) => {
                    self.register(spec, &container);
                    self.set(spec, State::Running { since: since.clone() }, attempt, false).await;
                    self.attend(&container).await
                }
                Err(error) => Ended { code: 128, message: error.to_string() },
            };
            let ended = fallen_back(
                spec,
                ended,
                self.node.container(
                    &self.pod.namespace().unwrap_or_default(),
                    &self.pod.name_any(),
                    &spec.name,
                ),
            );
            let wanted = *self.wanted.borrow() == Wanted::Life;
            let again = wanted && own && (policy == "Always" || policy == "OnFailure" && ended.code != 0);
            let over = State::Over { since, until: now(), ended: ended.clone() };
            self.set(spec, over, attempt, again).await;
            if !again {
                return Some(ended);
            }
            self.unless_ended(tokio::time::sleep(LOOK_EVERY)).await?;
        }
        None
    }

    /// Waits for the container's end; ends it when the pod is to end.
    async fn attend(&self, container: &Container) -> Ended {
        let mut wanted = self.wanted.clone();
        let told = async { wanted.wait_for(|w| *w != Wanted::Life).await.map_or(Wanted::Nothing, |w| *w) };
        let grace_secs = tokio::select! {
            ended = container.wait() => return ended,
            told = told => match told {
                Wanted::Death(secs) => secs,
                Wanted::Life | Wanted::Nothing => 0,
            },
        };
        container.signal(rustix::process::Signal::TERM);
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(grace_secs), container.wait()).await {
            return ended;
        }
        container.signal(rustix::process::Signal::KILL);
        container.wait().await
    }

    /// What is to run, as soon as it can; `None` if the pod is to end before.
    async fn plan(&self, spec: &Spec, volumes: &BTreeMap<String, PathBuf>, attempt: u32) -> Option<Plan> {
        let mut refusals = 0;
        loop {
            let refusal = match self.try_plan(spec, volumes, attempt).await {
                Ok(plan) => return Some(plan),
                Err(refusal) => refusal,
            };
            // Kubernetes names the first failed pull and the wait after it differently.
            let reason =
                if refusal.0 == "ErrImagePull" && refusals > 0 { "ImagePullBackOff" } else { refusal.0 };
            refusals += 1;
            if refusals < 3 {
                self.set(spec, State::Waiting { reason, message: refusal.1 }, attempt, false).await;
            }
            self.unless_ended(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    async fn try_plan(
        &self,
        spec: &Spec,
        volumes: &BTreeMap<String, PathBuf>,
        attempt: u32,
    ) -> Result<Plan, (&'static str, String)> {
        let image = image::find(&self.node.setup.images, spec.image.as_deref().unwrap_or_default());
        if let Some(why) = image.absent {
            return Err(("ErrImagePull", why));
        }
        let invalid = |said: String| ("CreateContainerConfigError", said);
        let (user, groups, confined) = self.rights(spec, image.user).map_err(invalid)?;
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), search_path(image.programs.as_deref())),
            ("HOSTNAME".to_owned(), self.pod.name_any()),
            ("HOME".to_owned(), if user == 0 { "/root" } else { "/" }.to_owned()),
        ]);
        let own = environment::variables(&self.node.client, &self.pod, spec).await;
        variables.extend(own.map_err(|Missing(said)| invalid(said))?);
        let mut mounts = mounts(spec, volumes).map_err(invalid)?;
        let brought = image.files.into_iter().chain(image.programs.map(|p| (PROGRAMS.to_owned(), p)));
        mounts.extend(brought.map(|(target, source)| Mount { source, target, read_only: true }));
        let shared = image.shared.into_iter();
        mounts.extend(shared.map(|(target, source)| Mount { source, target, read_only: false }));
        let words = |list: &Option<Vec<String>>| list.clone().filter(|words| !words.is_empty());
        let mut command = words(&spec.command).unwrap_or(image.entrypoint);
        command.extend(words(&spec.args).into_iter().flatten());
        let command: Vec<String> =
            command.iter().map(|word| environment::expanded(word, &variables)).collect();
        if command.is_empty() {
            return Err(("CreateContainerError", "no command specified".to_owned()));
        }
        Ok(Plan {
            folder: self.folder.join(&spec.name).join(attempt.to_string()),
            command,
            variables,
            mounts,
            directory: spec.working_dir.clone().or(image.directory).unwrap_or_else(|| "/".to_owned()),
            user,
            groups,
            confined,
            read_only: spec.security_context.as_ref().and_then(|c| c.read_only_root_filesystem) == Some(true),
            message_path: spec
                .termination_message_path
                .clone()
                .unwrap_or_else(|| "/dev/termination-log".to_owned()),
        })
    }

    /// User, groups, and whether more rights can never be gained.
    fn rights(&self, spec: &Spec, image_user: Option<u32>) -> Result<(u32, Vec<u32>, bool), String> {
        let of_pod = self.pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
        let own = spec.security_context.clone().unwrap_or_default();
        let number = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
        let user = number(own.run_as_user).or(number(of_pod.run_as_user)).or(image_user).unwrap_or(0);
        if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) && user == 0 {
            return Err("container has runAsNonRoot and image will run as root".to_owned());
        }
        let primary = number(own.run_as_group).or(number(of_pod.run_as_group)).unwrap_or(0);
        let more = of_pod.supplemental_groups.into_iter().flatten().chain(of_pod.fs_group);
        let groups = std::iter::once(primary).chain(more.filter_map(|id| number(Some(id)))).collect();
        Ok((user, groups, own.allow_privilege_escalation == Some(false)))
    }

    fn register(&self, spec: &Spec, container: &Arc<Container>) {
        let key = (self.pod.namespace().unwrap_or_default(), self.pod.name_any(), spec.name.clone());
        self.node.containers.lock().expect("no holder of the lock panics").insert(key, container.clone());
    }

    async fn set(&self, spec: &Spec, state: State, restarts: u32, again: bool) {
        {
            let mut slots = self.slots.lock().expect("no holder of the lock panics");
            let slot = slots.iter_mut().find(|slot| slot.name == spec.name);
            let slot = slot.expect("every container of the pod has one");
            (slot.state, slot.restarts, slot.again) = (state, restarts, again);
        }
        self.report().await;
    }

    /// Tells the cluster how the pod is; as often as it takes.
    async fn report(&self) {
        let _one = self.reporting.lock().await;
        let slots = self.slots.lock().expect("no holder of the lock panics").clone();
        let patch = Patch::Merge(status::patch(&slots, &self.since));
        let (name, params) = (self.pod.name_any(), PatchParams::default());
        self.node.insist(|| self.pods.patch_status(&name, &params, &patch)).await;
    }

    /// An event about the pod. One that does not arrive is not missed.
    async fn note(&self, reason: &str, message: &str) {
        let namespace = self.pod.namespace().unwrap_or_default();
        let events: Api<k8s_openapi::api::core::v1::Event> =
            Api::namespaced(self.node.client.clone(), &namespace);
        let event = serde_json::json!({
            "metadata": { "generateName": format!("{}.", self.pod.name_any()), "namespace": namespace },
            "involvedObject": {
                "kind": "Pod", "namespace": namespace, "name": self.pod.name_any(), "uid": self.pod.uid(),
                "apiVersion": "v1",
            },
            "reason": reason, "message": message, "type": "Warning", "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(),
            "source": { "component": "kubelet", "host": self.node.setup.name },
        });
        if let Ok(event) = serde_json::from_value(event) {
            let params = PostParams::default();
            let _ = tokio::time::timeout(PAUSE * 10, events.create(&params, &event)).await;
        }
    }

    /// Waits for something; `None` if the pod is to end before.
    async fn unless_ended<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let mut wanted = self.wanted.clone();
        tokio::select! {
            _ = wanted.wait_for(|w| *w != Wanted::Life) => None,
            done = what => Some(done),
        }
    }
}

fn mounts(spec: &Spec, volumes: &BTreeMap<String, PathBuf>) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in spec.volume_mounts.iter().flatten() {
        let volume = volumes.get(&mount.name);
        let directory = volume.ok_or_else(|| format!("volume mount \"{}\" not found", mount.name))?;
        let source = match &mount.sub_path {
            Some(below) if !below.is_empty() => {
                let path = directory.join(below);
                if !path.exists() {
                    std::fs::create_dir_all(&path).map_err(|e| format!("subPath {below}: {e}"))?;
                }
                path
            }
            _ => directory.clone(),
        };
        let target = format!("/{}", mount.mount_path.trim_matches('/'));
        mounts.push(Mount { source, target, read_only: mount.read_only == Some(true) });
    }
    Ok(mounts)
}

/// The end of the log for a failed container that left no message and wants that.
fn fallen_back(spec: &Spec, ended: Ended, container: Option<Arc<Container>>) -> Ended {
    let wanted = spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !wanted || ended.code == 0 || !ended.message.is_empty() {
        return ended;
    }
    let log = container.and_then(|c| std::fs::read(c.log()).ok()).unwrap_or_default();
    let last = &log[log.len().saturating_sub(FALLBACK_BYTES)..];
    Ended { message: String::from_utf8_lossy(last).into_owned(), ..ended }
}

/// The time of day, as the API writes it.
fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
