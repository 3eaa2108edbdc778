//! `kanctl create actionset`: an order made from flags, or from the ActionSet it follows.

use super::super::cluster::{Session, refused};
use super::super::wait::{self, WaitFlags};
use super::super::{Globals, parent};
use super::targets::Targets;
use super::{How, pairs, printed, suffix, verify};
use crate::failure::Failure;
use crate::show;
use cistern_api::{ActionSet, ActionSetSpec, ActionSpec, ObjectReference};
use cistern_controller::discover::Target;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Letters that tell two names of the same action apart.
const SUFFIX_LETTERS: usize = 5;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// ActionSet this one follows: it takes over objects, artifacts, secrets, config maps, profile and options
    #[arg(long, short, value_name = "NAME")]
    from: Option<String>,
    /// The same from a file with its YAML or JSON, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    from_file: Option<PathBuf>,
    /// Action of the blueprint
    #[arg(long, short, value_name = "ACTION")]
    action: Option<String>,
    /// Blueprint
    #[arg(long, short, value_name = "NAME")]
    blueprint: Option<String>,
    /// Name of the ActionSet, instead of one that is made up
    #[arg(long, short = 'A', value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    targets: Targets,
    /// Config maps, by the name that templates know them by
    #[arg(long, short, value_name = "REFERENCE=NAMESPACE/NAME", value_delimiter = ',')]
    config_maps: Vec<String>,
    /// Secrets, by the name that templates know them by
    #[arg(long, short, value_name = "REFERENCE=NAMESPACE/NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Options of the action
    #[arg(long, short, value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Profile: where backups go
    #[arg(long, short, value_name = "[NAMESPACE/]NAME")]
    profile: Option<String>,
    /// Labels of the ActionSet
    #[arg(long, value_name = "KEY=VALUE,…")]
    labels: Option<String>,
    /// Annotations of the pods that functions create
    #[arg(long, value_name = "KEY=VALUE,…")]
    podannotations: Option<String>,
    /// Labels of the pods that functions create
    #[arg(long, value_name = "KEY=VALUE,…")]
    podlabels: Option<String>,
    #[command(flatten)]
    wait: WaitFlags,
}

/// Makes the ActionSet, in the cluster or on paper.
pub async fn run(args: &Args, how: How, globals: &Globals) -> Result<(), Failure> {
    if args.targets.discover()
        && (args.blueprint.is_some() || args.from.is_some() || args.from_file.is_some())
    {
        return Err(Failure::usage("cannot take --discover together with --blueprint or --from"));
    }
    if how.dry_run && args.wait.wait {
        return Err(Failure::usage(
            "cannot wait for what is not made: --wait and --dry-run exclude each other",
        ));
    }
    let needs_cluster = !how.dry_run || args.from.is_some() || args.targets.need_cluster();
    let session = if needs_cluster { Some(Session::open(globals).await?) } else { None };
    let mut set = ordered(args, globals, session.as_ref()).await?;
    match session.filter(|_| !how.dry_run) {
        None => {
            set.metadata.namespace.clone_from(&globals.namespace);
            show::raw(printed(&set)?.as_bytes())
        }
        Some(session) => {
            set.metadata.namespace = Some(session.namespace.clone());
            if !how.skip_validation {
                verify::verify(&session, &set).await?;
            }
            let name = made(&session, &set).await?;
            show::line(&format!("actionset {name} created"))?;
            if args.wait.wait {
                wait::until_complete(&session, &name, args.wait.timeout).await
            } else {
                Ok(())
            }
        }
    }
}

/// The ActionSet that the flags describe; its namespace is left open.
async fn ordered(args: &Args, globals: &Globals, session: Option<&Session>) -> Result<ActionSet, Failure> {
    let parent = match (&args.from, session, &args.from_file) {
        (Some(name), Some(session), _) => Some(parent::look_up(session, name).await?),
        (_, _, Some(path)) => Some(parent::read(path)?),
        _ => None,
    };
    let namespace = session.map_or_else(|| globals.namespace(), |session| &session.namespace);
    let mut said = Said::of(args, namespace)?;
    let mut discovered = Vec::new();
    if let Some(session) = session {
        said.objects.extend(args.targets.selected(&*session.cluster).await?);
        if args.targets.discover() {
            discovered = args.targets.discovered(&*session.cluster, namespace).await?;
        }
    }
    let actions = match &parent {
        Some(parent) => following(parent, &said)?,
        None => fresh(&said, discovered)?,
    };
    if actions.iter().any(|action| action.profile.is_none()) {
        // On standard error: what is printed may be passed on to a cluster.
        show::complain(
            "Warning: --profile flag is not provided.\nAction might fail if blueprint is using this resource.",
        );
    }
    let mut set = ActionSet { spec: Some(ActionSetSpec { actions }), ..ActionSet::default() };
    set.metadata.name = Some(match &args.name {
        Some(name) => name.clone(),
        None => made_up(said.action.as_deref(), parent.as_ref())?,
    });
    let labels = pairs::labels("--labels", args.labels.as_deref())?;
    set.metadata.labels = if labels.is_empty() { None } else { Some(labels) };
    Ok(set)
}

/// Makes it in the cluster and says its name.
async fn made(session: &Session, set: &ActionSet) -> Result<String, Failure> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let at = session.action_set_at(&name);
    let object = serde_json::to_value(set)
        .map_err(|e| Failure::other(format!("cannot write the ActionSet {name} as JSON: {e}")))?;
    session.cluster.create(&at, &object).await.map_err(|refusal| refused("create", &at, &refusal))?;
    Ok(name)
}

/// What the flags say, decoded.
#[derive(Default)]
struct Said {
    action: Option<String>,
    blueprint: Option<String>,
    objects: Vec<ObjectReference>,
    config_maps: BTreeMap<String, ObjectReference>,
    secrets: BTreeMap<String, ObjectReference>,
    profile: Option<ObjectReference>,
    options: BTreeMap<String, String>,
    pod_labels: BTreeMap<String, String>,
    pod_annotations: BTreeMap<String, String>,
}

impl Said {
    fn of(args: &Args, namespace: &str) -> Result<Said, Failure> {
        Ok(Said {
            action: args.action.clone(),
            blueprint: args.blueprint.clone(),
            objects: args.targets.references()?,
            config_maps: pairs::references("--config-maps", &args.config_maps)?,
            secrets: pairs::references("--secrets", &args.secrets)?,
            profile: args.profile.as_deref().map(|p| pairs::profile(p, namespace)).transpose()?,
            options: pairs::options(&args.options)?,
            pod_labels: pairs::labels("--podlabels", args.podlabels.as_deref())?,
            pod_annotations: pairs::annotations("--podannotations", args.podannotations.as_deref())?,
        })
    }
}

/// One action per object, all alike but for the blueprints of those that were discovered.
fn fresh(said: &Said, discovered: Vec<Target>) -> Result<Vec<ActionSpec>, Failure> {
    let missing = |flag: &str| {
        Failure::usage(format!("cannot make an ActionSet without {flag}"))
            .hint("say --action, --blueprint and what to run it on, or --from with the ActionSet it follows")
    };
    let name = said.action.clone().ok_or_else(|| missing("--action"))?;
    let targets = if discovered.is_empty() {
        let blueprint = said.blueprint.clone().ok_or_else(|| missing("--blueprint"))?;
        if said.objects.is_empty() {
            return Err(missing("an object: --statefulset, --deployment, --namespacetargets, --objects, …"));
        }
        let bound =
            |object: &ObjectReference| Target { object: object.clone(), blueprint: blueprint.clone() };
        said.objects.iter().map(bound).collect()
    } else if said.objects.is_empty() {
        discovered
    } else {
        return Err(Failure::usage("cannot take --discover together with objects by name"));
    };
    let template = ActionSpec {
        name,
        config_maps: said.config_maps.clone(),
        secrets: said.secrets.clone(),
        profile: said.profile.clone(),
        options: said.options.clone(),
        pod_labels: said.pod_labels.clone(),
        pod_annotations: said.pod_annotations.clone(),
        ..ActionSpec::default()
    };
    let action = |target: Target| ActionSpec {
        object: target.object,
        blueprint: target.blueprint,
        ..template.clone()
    };
    Ok(targets.into_iter().map(action).collect())
}

/// The actions of the parent with what they left, changed by what the flags say.
fn following(parent: &ActionSet, said: &Said) -> Result<Vec<ActionSpec>, Failure> {
    let mut actions = Vec::new();
    for again in parent::actions(parent) {
        let mut options = again.options.clone();
        options.extend(said.options.clone());
        let action = ActionSpec {
            name: said.action.clone().unwrap_or_else(|| again.name.clone()),
            blueprint: said.blueprint.clone().unwrap_or_else(|| again.blueprint.clone()),
            config_maps: given(&said.config_maps, &again.config_maps),
            secrets: given(&said.secrets, &again.secrets),
            profile: said.profile.clone().or_else(|| again.profile.clone()),
            options,
            pod_labels: said.pod_labels.clone(),
            pod_annotations: said.pod_annotations.clone(),
            ..again
        };
        if said.objects.is_empty() {
            actions.push(action);
        } else {
            let on = |object: &ObjectReference| ActionSpec { object: object.clone(), ..action.clone() };
            actions.extend(said.objects.iter().map(on));
        }
    }
    if actions.is_empty() {
        return Err(Failure::usage("cannot follow an ActionSet that holds no action"));
    }
    Ok(actions)
}

/// What the flags say as a whole, or else what the parent had.
fn given(
    said: &BTreeMap<String, ObjectReference>,
    parent: &BTreeMap<String, ObjectReference>,
) -> BTreeMap<String, ObjectReference> {
    if said.is_empty() { parent.clone() } else { said.clone() }
}

fn made_up(action: Option<&str>, parent: Option<&ActionSet>) -> Result<String, Failure> {
    let parent = parent.and_then(|parent| parent.metadata.name.as_deref());
    let suffix = suffix::random(SUFFIX_LETTERS)?;
    let parts: Vec<&str> = action.into_iter().chain(parent).chain([suffix.as_str()]).collect();
    Ok(parts.join("-"))
}
