//! What was seen of an action's surroundings, and the value that its templates call by name from it.

use std::collections::BTreeMap;

use cistern_api::{ActionSpec, Object};
use cistern_template::{Type, Value};
use serde_json::Value as Json;

use crate::types::{Types, decode, types};

/// Pods, containers and volumes of the workload an action runs on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Which of the three kinds.
    pub kind: WorkloadKind,
    /// Name of the workload.
    pub name: String,
    /// Namespace of the workload.
    pub namespace: String,
    /// Its running pods, by name.
    pub pods: Vec<String>,
    /// The containers of each pod, in the order of `pods`.
    pub containers: Vec<Vec<String>>,
    /// Pod, claim, and where the claim is mounted.
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
}

/// The workloads that templates know by a name of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkloadKind {
    /// `.StatefulSet`
    #[default]
    StatefulSet,
    /// `.Deployment`
    Deployment,
    /// `.DeploymentConfig`
    DeploymentConfig,
}

impl WorkloadKind {
    /// The workload kind of an object's kind, whatever its letter case.
    pub fn of(kind: &str) -> Option<WorkloadKind> {
        match kind.to_lowercase().as_str() {
            "statefulset" => Some(WorkloadKind::StatefulSet),
            "deployment" => Some(WorkloadKind::Deployment),
            "deploymentconfig" => Some(WorkloadKind::DeploymentConfig),
            _ => None,
        }
    }
}

/// A profile with its credential, as templates and `kando` see it.
#[derive(Clone, PartialEq)]
pub struct ResolvedProfile {
    /// What `toJson .Profile` yields in Kanister.
    pub json: Json,
    /// Where a process finds this JSON in a file. `toJson .Profile` then yields a reference to the file, so
    /// that no credential stands in a command line; the fields themselves can be used as ever.
    pub file: Option<String>,
    /// What leads to a repository and opens it, where the profile has such: [`RepositoryJson`]. It stands in
    /// the file alone; templates do not see it.
    ///
    /// [`RepositoryJson`]: cistern_api::wire::RepositoryJson
    pub repository: Option<Json>,
}

impl ResolvedProfile {
    /// The text of the file.
    pub fn content(&self) -> String {
        let mut json = self.json.clone();
        if let (Some(repository), Some(fields)) = (&self.repository, json.as_object_mut()) {
            fields.insert(cistern_api::wire::REPOSITORY.to_owned(), repository.clone());
        }
        json.to_string()
    }
}

impl std::fmt::Debug for ResolvedProfile {
    /// Without the credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ResolvedProfile({})", self.json["Location"])
    }
}

/// Everything an action needs to know of the world, seen once, when it starts.
#[derive(Clone, Default, PartialEq)]
pub struct Material {
    /// The object the action runs on, as the API server has it: `.Object`.
    pub object: Json,
    /// Its pods, where it is a workload.
    pub workload: Option<Workload>,
    /// Location and credential, where the ActionSet names a profile.
    pub profile: Option<ResolvedProfile>,
    /// The Secrets that `spec.actions[].secrets` names, by the names used there.
    pub secrets: BTreeMap<String, Json>,
    /// The ConfigMaps that `spec.actions[].configMaps` names, by the names used there.
    pub config_maps: BTreeMap<String, Json>,
    /// When the action started, RFC 3339 in UTC with a fraction of up to nine digits. Paths are made of it,
    /// so it must stay the same for a whole action: who looks it up must keep it.
    pub time: String,
}

impl std::fmt::Debug for Material {
    /// Names only: values are secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("workload", &self.workload)
            .field("profile", &self.profile)
            .field("secrets", &self.secrets.keys())
            .field("config_maps", &self.config_maps.keys())
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// What templates see of a phase: the objects it named, and what it put out once it is complete.
#[derive(Clone, Default, PartialEq)]
pub struct PhaseView {
    /// Secrets by the names used in `objects`.
    pub secrets: BTreeMap<String, Json>,
    /// ConfigMaps by the names used in `objects`.
    pub config_maps: BTreeMap<String, Json>,
    /// `None` until the phase is complete.
    pub output: Option<Object>,
}

/// Phases by name, and the deferred one.
#[derive(Clone, Default, PartialEq)]
pub struct PhaseViews {
    /// Those that began.
    pub phases: BTreeMap<String, PhaseView>,
    /// The deferred phase, once it began.
    pub deferred: PhaseView,
}

/// The value that is `.` in every template of an action.
pub fn root(action: &ActionSpec, material: &Material, views: &PhaseViews) -> Value {
    let t = types();
    let fields = t.root.fields().iter().map(|field| {
        let value = root_field(t, &field.name, action, material, views);
        value.unwrap_or_else(|| Value::zero(&field.ty))
    });
    Value::structure(t.root.clone(), fields.collect())
}

/// One field of the root; `None` is its zero value.
fn root_field(
    t: &Types,
    name: &str,
    action: &ActionSpec,
    material: &Material,
    views: &PhaseViews,
) -> Option<Value> {
    let reference = &action.object;
    let named = |ty: &Type, kind: &str, name: &str| {
        let fields = vec![Value::str(name), Value::str(&reference.namespace)];
        let wanted = reference.kind.eq_ignore_ascii_case(kind);
        wanted.then(|| Value::pointer(Value::structure(ty.clone(), fields)))
    };
    let workload = |ty: &Type, kind| {
        let workload = material.workload.as_ref().filter(|w| w.kind == kind)?;
        Some(Value::pointer(workload_value(ty, workload)))
    };
    match name {
        "StatefulSet" => workload(&t.stateful_set, WorkloadKind::StatefulSet),
        "Deployment" => workload(&t.deployment, WorkloadKind::Deployment),
        "DeploymentConfig" => workload(&t.deployment_config, WorkloadKind::DeploymentConfig),
        "PVC" => named(&t.pvc, "pvc", &reference.name),
        // Both fields are the namespace: the official blueprints lean on it.
        "Namespace" => named(&t.namespace, "namespace", &reference.namespace),
        "ArtifactsIn" => Some(artifacts(t, action)),
        "ConfigMaps" => Some(objects(&t.config_map, &material.config_maps)),
        "Secrets" => Some(objects(&t.secret, &material.secrets)),
        "Time" => Some(Value::str(&material.time)),
        "Profile" => material.profile.as_ref().map(|p| Value::pointer(profile_value(t, p))),
        "Options" => Some(string_map(&action.options)),
        "Object" => Some(Value::from_json(&material.object)).filter(Value::is_valid),
        "Phases" => Some(phases(t, views)),
        "DeferPhase" => Some(Value::pointer(phase_value(t, &views.deferred))),
        "PodOverride" => action.pod_override.as_ref().map(|over| {
            let dict = Value::from_json(&Json::Object(over.clone()));
            dict.retyped(&Type::named("v1alpha1.JSONMap", &Type::dict()))
        }),
        "PodAnnotations" => Some(string_map(&action.pod_annotations)),
        "PodLabels" => Some(string_map(&action.pod_labels)),
        _ => None,
    }
}

fn workload_value(ty: &Type, workload: &Workload) -> Value {
    let lists = Type::slice(Type::string_list());
    let volumes = workload.volumes.iter().map(|(pod, claims)| (Value::str(pod), string_map(claims)));
    Value::structure(
        ty.clone(),
        vec![
            Value::str(&workload.name),
            Value::str(&workload.namespace),
            Value::strings(&workload.pods),
            Value::list_of(lists, workload.containers.iter().map(Value::strings).collect()),
            Value::map_of(Type::map(Type::string(), Type::string_map()), volumes),
        ],
    )
}

fn string_map(map: &BTreeMap<String, String>) -> Value {
    Value::map_of(Type::string_map(), map.iter().map(|(k, v)| (Value::str(k), Value::str(v))))
}

fn objects(ty: &Type, objects: &BTreeMap<String, Json>) -> Value {
    let map = Type::map(Type::string(), ty.clone());
    Value::map_of(map, objects.iter().map(|(name, json)| (Value::str(name), decode(ty, json))))
}

fn artifacts(t: &Types, action: &ActionSpec) -> Value {
    let artifact = |a: &cistern_api::Artifact| {
        let fields = vec![string_map(&a.key_value), Value::str(&a.kopia_snapshot)];
        Value::structure(t.artifact.clone(), fields)
    };
    let map = Type::map(Type::string(), t.artifact.clone());
    Value::map_of(map, action.artifacts.iter().map(|(name, a)| (Value::str(name), artifact(a))))
}

fn profile_value(t: &Types, profile: &ResolvedProfile) -> Value {
    let plain = decode(&t.profile, &profile.json);
    let Some(file) = &profile.file else { return plain };
    let mut fields: Vec<Value> =
        t.profile.fields().iter().filter_map(|field| plain.field(&field.name)).collect();
    fields.push(Value::str(file));
    Value::structure(t.profile_by_file.clone(), fields)
}

fn phase_value(t: &Types, view: &PhaseView) -> Value {
    let output = match &view.output {
        Some(output) => Value::from_json(&Json::Object(output.clone())),
        None => Value::zero(&Type::dict()),
    };
    let fields = vec![objects(&t.secret, &view.secrets), objects(&t.config_map, &view.config_maps), output];
    Value::structure(t.phase.clone(), fields)
}

fn phases(t: &Types, views: &PhaseViews) -> Value {
    let map = Type::map(Type::string(), Type::pointer(t.phase.clone()));
    let phases = views.phases.iter();
    Value::map_of(map, phases.map(|(name, v)| (Value::str(name), Value::pointer(phase_value(t, v)))))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may unwrap")]
mod tests;
