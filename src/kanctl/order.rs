//! What `kanctl render` and `kanctl run` are asked to do: flags and files into an ActionSet, its blueprints,
//! and the world it sees.

use super::create::pairs;
use super::input::Input;
use super::parent;
use super::shelf::{self, Shelf, reference};
use crate::failure::Failure;
use cistern_action::machine::{Found, Need};
use cistern_action::params::{Material, ResolvedProfile, Workload, WorkloadKind};
use cistern_action::profile;
use cistern_api::{
    ActionSet, ActionSetSpec, ActionSpec, Artifact, Blueprint, ObjectReference, Profile, yaml,
};
use clap::Args;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which action of which blueprint, on what, with what.
#[derive(Args, Debug)]
pub struct OrderArgs {
    /// File with the blueprint
    #[arg(long, short, value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,
    /// Action to run; not needed with --from if its action should run again
    #[arg(long, short, required_unless_present = "from")]
    action: Option<String>,
    /// Blueprint to use, where the file holds several
    #[arg(long, short, value_name = "NAME")]
    blueprint: Option<String>,
    /// File with the object to run on: a StatefulSet, Deployment, Namespace or any other
    #[arg(long, short = 'O', value_name = "FILE", required_unless_present = "from")]
    object: Option<PathBuf>,
    /// File with the Profile, and the Secret of its credential
    #[arg(long, short, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Files with Secrets, ConfigMaps, Pods and whatever else templates refer to
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Secrets by the names templates use; without it, Secrets named as the blueprint's secretNames
    #[arg(long, short, value_name = "REF=NS/NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// ConfigMaps by the names templates use; without it, those named as the blueprint's configMapNames
    #[arg(long, short, value_name = "REF=NS/NAME", value_delimiter = ',')]
    config_maps: Vec<String>,
    /// Options of the action; commas separate them, but for commas inside double quotes: '"list=a,b"'
    #[arg(long = "options", visible_alias = "option", short, value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// File with the finished ActionSet whose object, artifacts, secrets and options are inherited
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// File with artifacts, or with an ActionSet that left them
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    artifacts: Option<PathBuf>,
    /// The time templates see as `.Time`, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<jiff::Timestamp>,
}

/// An ActionSet and what it will find.
pub struct Order {
    /// The ActionSet, not begun.
    pub action_set: ActionSet,
    /// When it starts.
    pub time: jiff::Timestamp,
    /// What stands in for the cluster.
    pub shelf: Shelf,
    blueprints: BTreeMap<String, Arc<Blueprint>>,
    /// Where the profile of an action was put, for programs that read it.
    pub profile_files: BTreeMap<usize, String>,
}

impl Order {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is not what it should be, or something that is needed was not given.
    pub fn read(args: &OrderArgs) -> Result<Order, Failure> {
        let blueprints = blueprints(&args.filename)?;
        let mut shelf = shelf::shelf(&args.with)?;
        let object = match &args.object {
            Some(path) => shelf.add(path)?.into_iter().next(),
            None => None,
        };
        let profile = match &args.profile {
            Some(path) => Some(profile_reference(path, &shelf.add(path)?)?),
            None => None,
        };
        let mut actions = match &args.from {
            Some(path) => parent::actions(&parent::read(path)?).collect(),
            None => vec![ActionSpec { artifacts: artifacts(args)?, ..ActionSpec::default() }],
        };
        for action in &mut actions {
            complete(action, args, &blueprints, object.as_ref(), profile.as_ref())?;
            bind_declared(action, &blueprints, &shelf);
        }
        let time = args.time.unwrap_or_else(jiff::Timestamp::now);
        Ok(Order {
            action_set: action_set(actions, args, time),
            time,
            shelf,
            blueprints,
            profile_files: BTreeMap::new(),
        })
    }

    /// The blueprint of this name.
    pub fn blueprint(&self, name: &str) -> Option<&Blueprint> {
        self.blueprints.get(name).map(Arc::as_ref)
    }

    /// The action as ordered.
    pub fn action(&self, index: usize) -> Option<&ActionSpec> {
        self.action_set.spec.as_ref()?.actions.get(index)
    }

    /// Looks something up.
    ///
    /// # Errors
    /// A sentence that says what was not given.
    pub fn find(&self, need: &Need) -> Result<Found, String> {
        match need {
            Need::Blueprint(name) => {
                let found = self.blueprints.get(name);
                found.cloned().map(Found::Blueprint).ok_or_else(|| format!("there is no blueprint {name:?}"))
            }
            Need::Material(index) => self.material(*index).map(|m| Found::Material(Arc::new(m))),
            Need::Objects(_, references) => {
                let kinds = references.iter().map(|(name, r)| {
                    let kind = if r.kind.eq_ignore_ascii_case("secret") { "Secret" } else { "ConfigMap" };
                    self.shelf.get(kind, r).map(|object| (name.clone(), object))
                });
                kinds.collect::<Result<_, _>>().map(Found::Objects)
            }
        }
    }

    /// The profile of an action with its credential.
    ///
    /// # Errors
    /// A file lacks something of it.
    pub fn profile(&self, action: &ActionSpec) -> Result<Option<ResolvedProfile>, String> {
        let Some(reference) = &action.profile else { return Ok(None) };
        let found = self.shelf.get("Profile", reference)?;
        let profile: Profile = serde_json::from_value(found)
            .map_err(|e| format!("profile {:?} is not one: {e}", reference.name))?;
        let resolved = profile::resolve(&profile, |secret| self.shelf.get("Secret", secret));
        resolved.map(Some).map_err(|e| format!("profile {:?}: {e}", reference.name))
    }

    fn material(&self, index: usize) -> Result<Material, String> {
        let action = self.action(index).ok_or("there is no such action")?;
        let object = self.object(&action.object)?;
        let all = |kind: &str, references: &BTreeMap<String, ObjectReference>| {
            let found = references
                .iter()
                .map(|(name, reference)| Ok((name.clone(), self.shelf.get(kind, reference)?)));
            found.collect::<Result<BTreeMap<_, _>, String>>()
        };
        let mut profile = self.profile(action)?;
        if let Some(profile) = &mut profile {
            profile.file = self.profile_files.get(&index).cloned();
        }
        Ok(Material {
            workload: workload(&action.object, &object, &self.shelf),
            object,
            profile,
            secrets: all("Secret", &action.secrets)?,
            config_maps: all("ConfigMap", &action.config_maps)?,
            time: self.time.to_string(),
        })
    }

    fn object(&self, reference: &ObjectReference) -> Result<Json, String> {
        let (kind, name) = (&reference.kind, &reference.name);
        match self.shelf.find(kind, &reference.namespace, name) {
            Some(object) => Ok(object.clone()),
            // Nothing of a namespace but its name is ever asked for.
            None if kind.eq_ignore_ascii_case("namespace") => {
                let mut namespace = Json::Null;
                namespace["metadata"]["name"] = name.as_str().into();
                Ok(namespace)
            }
            None => {
                let namespace = &reference.namespace;
                Err(format!(
                    "there is no {kind} {namespace}/{name} in the files given; add its YAML with --object"
                ))
            }
        }
    }
}

fn blueprints(paths: &[PathBuf]) -> Result<BTreeMap<String, Arc<Blueprint>>, Failure> {
    let mut blueprints = BTreeMap::new();
    for path in paths {
        let input = Input::read(path)?;
        let hint = "`kanctl lint -f FILE` lists every complaint";
        for document in input.documents().map_err(|e| e.hint(hint))? {
            let blueprint: Blueprint = document.decode().map_err(|e| input.wrong(&e).hint(hint))?;
            let name = blueprint.metadata.name.clone().unwrap_or_default();
            blueprints.insert(name, Arc::new(blueprint));
        }
    }
    Ok(blueprints)
}

fn profile_reference(path: &Path, objects: &[Json]) -> Result<ObjectReference, Failure> {
    let profile = objects.iter().find(|object| object["kind"] == "Profile");
    let profile = profile.ok_or_else(|| {
        Failure::usage(format!("{} holds no Profile", path.display()))
            .hint("`kanctl create profile s3compliant --dry-run …` prints one")
    })?;
    let reference = reference(profile);
    Ok(ObjectReference::named(&reference.namespace, &reference.name))
}

fn artifacts(args: &OrderArgs) -> Result<BTreeMap<String, Artifact>, Failure> {
    let Some(path) = &args.artifacts else { return Ok(BTreeMap::new()) };
    let input = Input::read(path)?;
    if let Ok(ActionSet { status: Some(status), .. }) = yaml::decode(&input.text) {
        return Ok(status.actions.into_iter().flat_map(|action| action.artifacts).collect());
    }
    input.decode()
}

/// What the flags say, over what was inherited.
fn complete(
    action: &mut ActionSpec,
    args: &OrderArgs,
    blueprints: &BTreeMap<String, Arc<Blueprint>>,
    object: Option<&Json>,
    profile: Option<&ObjectReference>,
) -> Result<(), Failure> {
    if let Some(name) = &args.action {
        action.name.clone_from(name);
    }
    if let Some(object) = object {
        action.object = reference(object);
    }
    if let Some(profile) = profile {
        action.profile = Some(profile.clone());
    }
    match (&args.blueprint, blueprints.keys().next()) {
        (Some(name), _) => action.blueprint.clone_from(name),
        (None, Some(only)) if blueprints.len() == 1 => action.blueprint.clone_from(only),
        (None, _) if !action.blueprint.is_empty() => {}
        (None, _) => {
            let names: Vec<&str> = blueprints.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "the files hold {}: choose one with --blueprint",
                names.join(", ")
            )));
        }
    }
    if !args.secrets.is_empty() {
        action.secrets = references("--secrets", &args.secrets)?;
    }
    if !args.config_maps.is_empty() {
        action.config_maps = references("--config-maps", &args.config_maps)?;
    }
    action.options.extend(pairs::options(&args.options)?);
    Ok(())
}

fn references(flag: &str, texts: &[String]) -> Result<BTreeMap<String, ObjectReference>, Failure> {
    let one = |text: &String| {
        let (name, place) = text.split_once('=')?;
        let (namespace, object) = place.split_once('/')?;
        Some((name.to_owned(), ObjectReference::named(namespace, object)))
    };
    let parse = |text: &String| {
        one(text).ok_or_else(|| Failure::usage(format!("{flag} {text}: expected REF=NAMESPACE/NAME")))
    };
    texts.iter().map(parse).collect()
}

/// Secrets and config maps that the blueprint expects and that lie on the shelf under the same name.
fn bind_declared(action: &mut ActionSpec, blueprints: &BTreeMap<String, Arc<Blueprint>>, shelf: &Shelf) {
    let Some(declared) = blueprints.get(&action.blueprint).and_then(|b| b.action(&action.name)) else {
        return;
    };
    let bind = |kind: &str, names: &[String], bound: &mut BTreeMap<String, ObjectReference>| {
        for name in names.iter().filter(|name| !bound.contains_key(*name)).cloned().collect::<Vec<_>>() {
            if let Some(object) = shelf.find(kind, "", &name) {
                let found = reference(object);
                bound.insert(name, ObjectReference::named(&found.namespace, &found.name));
            }
        }
    };
    bind("Secret", &declared.secret_names, &mut action.secrets);
    bind("ConfigMap", &declared.config_map_names, &mut action.config_maps);
}

fn action_set(actions: Vec<ActionSpec>, args: &OrderArgs, time: jiff::Timestamp) -> ActionSet {
    let mut action_set = ActionSet::default();
    let action = actions.first().map_or("", |action| &action.name);
    let parent =
        args.from.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let stamp = time.strftime("%Y%m%d%H%M%S").to_string();
    action_set.metadata.name = Some(match parent.filter(|name| name != "-") {
        Some(parent) => format!("{action}-{parent}-{stamp}"),
        None => format!("{action}-{stamp}"),
    });
    action_set.spec = Some(ActionSetSpec { actions });
    action_set
}

/// Pods, containers and volumes of a workload: those of the Pods on the shelf that carry its labels; without
/// any, as many as it has replicas, named as a StatefulSet names them.
fn workload(reference: &ObjectReference, object: &Json, shelf: &Shelf) -> Option<Workload> {
    let kind = WorkloadKind::of(&reference.kind)?;
    let labels = &object["spec"]["selector"];
    let labels = labels.get("matchLabels").unwrap_or(labels).as_object().cloned().unwrap_or_default();
    let belongs = |pod: &&Json| {
        !labels.is_empty() && labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
    };
    let pods: Vec<&Json> = shelf.all("Pod").filter(belongs).collect();
    let template = &object["spec"]["template"]["spec"];
    let mut workload = Workload {
        kind,
        name: reference.name.clone(),
        namespace: reference.namespace.clone(),
        ..Workload::default()
    };
    if pods.is_empty() {
        for ordinal in 0..object["spec"]["replicas"].as_u64().unwrap_or(1).min(REPLICAS_MAX) {
            add_pod(&mut workload, &format!("{}-{ordinal}", reference.name), template, object, Some(ordinal));
        }
    }
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        add_pod(&mut workload, name, &pod["spec"], object, None);
    }
    Some(workload)
}

/// No workload that is tried on one machine has more pods.
const REPLICAS_MAX: u64 = 1000;

fn add_pod(workload: &mut Workload, name: &str, spec: &Json, object: &Json, ordinal: Option<u64>) {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    workload.pods.push(name.to_owned());
    workload.containers.push(list(&spec["containers"]).iter().map(|c| text(&c["name"])).collect());
    let mut claims = BTreeMap::new();
    for container in list(&spec["containers"]) {
        for mount in list(&container["volumeMounts"]) {
            let of_template = list(&object["spec"]["volumeClaimTemplates"])
                .iter()
                .any(|claim| claim["metadata"]["name"] == mount["name"]);
            let volume = list(&spec["volumes"]).into_iter().find(|v| v["name"] == mount["name"]);
            let claim = match (of_template, ordinal) {
                (true, Some(ordinal)) => {
                    Some(format!("{}-{}-{ordinal}", text(&mount["name"]), workload.name))
                }
                _ => volume.and_then(|v| Some(v["persistentVolumeClaim"]["claimName"].as_str()?.to_owned())),
            };
            if let Some(claim) = claim {
                claims.insert(claim, text(&mount["mountPath"]));
            }
        }
    }
    if !claims.is_empty() {
        workload.volumes.insert(name.to_owned(), claims);
    }
}
