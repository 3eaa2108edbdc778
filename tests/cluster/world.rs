//! The cluster that all tests of this program share, and a namespace for each.

use crate::plane::Plane;
use crate::support::home::CISTERN;
use crate::support::{is_root, skip, variable_of};
use cistern_api::{resource, yaml};
use cistern_sim::kubelet::{self, Image, Kubelet, Setup};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longer than anything takes that a test waits for, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked whether it came true.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster to test with.
pub struct World {
    /// Runs whatever tests wait for; clients live as long as it does.
    pub runtime: Runtime,
    /// May do everything.
    pub client: Client,
    /// What the client was made from.
    pub kubeconfig: PathBuf,
    /// The servers, where they are ours: only then they may be killed.
    pub plane: Option<Plane>,
    /// The node, where it is ours: only then pods are processes of this machine.
    pub kubelet: Option<Kubelet>,
}

/// Where images of this name cannot be pulled from.
pub const NOWHERE: &str = "nowhere.invalid/";
/// Images of this name run as an ordinary user and bring our programs.
pub const OURS: &str = "ours.test/";
/// The image of our program, as `deploy/Dockerfile` builds it.
pub const MOVER: &str = "mover.test/";
/// Images of this name have what the machine has, and run as an ordinary user.
pub const PLAIN: &str = "plain.test/";
/// That user.
pub const USER: u32 = 10_001;

/// The cluster while a test uses it.
pub struct Visit {
    world: &'static World,
    _place: Place,
}

/// Beside others, or alone.
#[expect(dead_code, reason = "they are held, not looked at")]
enum Place {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

static PLACES: RwLock<()> = RwLock::new(());

/// The cluster; `None` where there cannot be one, which is said.
pub fn world() -> Option<Visit> {
    // A test that failed alone has left nothing behind that the others would see.
    let place = Place::Shared(PLACES.read().unwrap_or_else(PoisonError::into_inner));
    Some(Visit { world: shared()?, _place: place })
}

/// The cluster for a test that takes it away from all others for a while.
pub fn alone() -> Option<Visit> {
    let place = Place::Alone(PLACES.write().unwrap_or_else(PoisonError::into_inner));
    Some(Visit { world: shared()?, _place: place })
}

fn shared() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    WORLD.get_or_init(World::new).as_ref()
}

impl Deref for Visit {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

impl World {
    fn new() -> Option<World> {
        // The same provider as the program's own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (kubeconfig, plane) = match variable_of("CISTERN_TEST_KUBECONFIG") {
            Some(path) => (PathBuf::from(path), None),
            None => {
                let plane = Plane::start()?;
                (plane.kubeconfig(), Some(plane))
            }
        };
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(client(&kubeconfig));
        runtime.block_on(apply_definitions(&client));
        let kubelet = plane.as_ref().filter(|_| is_root()).map(|plane| {
            let setup = node(plane);
            runtime.block_on(kubelet::start(client.clone(), setup)).unwrap()
        });
        Some(World { runtime, client, kubeconfig, plane, kubelet })
    }

    /// The node, or a word on why a test of it is skipped.
    pub fn node(&self, test: &str) -> Option<&Kubelet> {
        match (&self.kubelet, &self.plane) {
            (None, Some(_)) => skip(test, "pods as processes need root"),
            (None, None) => println!("skipped: {test}: the cluster is not ours"),
            (Some(_), _) => {}
        }
        self.kubelet.as_ref()
    }

    /// The servers, or a word on why a test that kills them is skipped.
    pub fn servers(&self, test: &str) -> Option<&Plane> {
        if self.plane.is_none() {
            println!("skipped: {test}: the cluster is not ours");
        }
        self.plane.as_ref()
    }

    /// Runs a test's story.
    pub fn play<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// A namespace that nobody else uses.
    pub async fn namespace(&self, wanted: &str) -> String {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let object = json!({ "metadata": { "generateName": format!("cistern-{wanted}-") } });
        let object = serde_json::from_value(object).unwrap();
        namespaces.create(&PostParams::default(), &object).await.unwrap().name_any()
    }
}

/// The machine as a node. The program is copied: where it was built may be a folder that ordinary users cannot enter.
fn node(plane: &Plane) -> Setup {
    let folder = plane.folder("node");
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let program = programs.join("cistern");
    std::fs::copy(CISTERN, &program).unwrap();
    for name in ["kando", "kanctl"] {
        std::os::unix::fs::symlink("cistern", programs.join(name)).unwrap();
    }
    let identity = plane.sign("test-node", Some("system:nodes"));
    let ours = Image {
        prefix: OURS.to_owned(),
        programs: Some(programs),
        entrypoint: vec!["kando".to_owned()],
        user: Some(USER),
        ..Image::default()
    };
    let mover = Image {
        prefix: MOVER.to_owned(),
        files: vec![("/cistern".to_owned(), program)],
        entrypoint: vec!["/cistern".to_owned()],
        user: Some(USER),
        ..Image::default()
    };
    // Any image with a shell that knows nothing of us.
    let plain = Image { prefix: PLAIN.to_owned(), user: Some(USER), ..Image::default() };
    let absent = Some("failed to pull: dial tcp: lookup nowhere.invalid: no such host".to_owned());
    let nowhere = Image { prefix: NOWHERE.to_owned(), absent, ..Image::default() };
    let images = [vec![ours, mover, plain, nowhere], crate::images::published(plane)].concat();
    Setup {
        name: "test-node".to_owned(),
        folder,
        images,
        certificate: identity.certificate,
        key: identity.key,
        authority: plane.authority().to_owned(),
    }
}

/// A client of whoever the file describes.
pub async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Waits for something to come true on the cluster.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same, for what takes longer.
pub async fn until_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(patience, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// The definitions as an operator would apply them, from the files of `deploy/crds`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let documents = texts.flat_map(|text| yaml::parse(&text).unwrap());
    documents.map(|document| document.decode().unwrap()).collect()
}

/// Server-side apply of every definition of ours, and the wait until they are served.
pub async fn apply_definitions(client: &Client) {
    serve(client, definitions()).await;
}

/// The same for somebody else's definitions, from their YAML.
pub async fn establish(client: &Client, text: &str) {
    let documents = yaml::parse(text).unwrap();
    serve(client, documents.iter().map(|document| document.decode().unwrap()).collect()).await;
}

async fn serve(client: &Client, definitions: Vec<CustomResourceDefinition>) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions {
        let name = definition.name_any();
        let params = PatchParams::apply("cistern-tests").force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
        until(&format!("{name} is established"), async || {
            let conditions = api.get(&name).await.ok()?.status?.conditions?;
            conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
        })
        .await;
    }
}

/// Objects of one of Kanister's kinds in a namespace.
pub fn kanister(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(resource::GROUP, resource::VERSION, kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// Objects of one of our own kinds.
pub fn ours(world: &World, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cistern.dev", "v1alpha1", kind);
    Api::namespaced_with(world.client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// An object as it is sent.
pub fn object(value: Json) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// An object as it came.
pub fn json_of(object: &DynamicObject) -> Json {
    serde_json::to_value(object).unwrap()
}
