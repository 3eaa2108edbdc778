//! What an action needs to know of the cluster: its blueprint, its object with pods and volumes, its profile,
//! Secrets and ConfigMaps.

use crate::access::{self, Missing};
use cistern_action::machine::{Found, Need};
use cistern_action::params::{Material, ResolvedProfile, Workload, WorkloadKind};
use cistern_api::{ActionSet, ActionSpec, Blueprint, ObjectReference};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::reference::{of_kind, selector, words};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An ActionSet, and the cluster around it.
pub(crate) struct Surroundings<'a> {
    pub(crate) cluster: &'a dyn Cluster,
    pub(crate) action_set: &'a ActionSet,
    /// When the ActionSet was taken up first.
    pub(crate) started: &'a str,
    /// Every blueprint gets profiles with their credentials in its templates.
    pub(crate) profile_in_commands: bool,
}

/// Annotation of a blueprint, `"true"`: `toJson .Profile` yields the profile itself, credential included.
const PROFILE_IN_COMMANDS: &str = "cistern.dev/profile-in-commands";

impl Surroundings<'_> {
    /// Looks something up.
    ///
    /// # Errors
    /// The cluster does not answer. What is not there is an answer, and inside.
    pub(crate) async fn find(&self, need: &Need) -> Result<Result<Found, String>, Refusal> {
        let found = match need {
            Need::Blueprint(name) => self.blueprint(name).await.map(|b| Found::Blueprint(Arc::new(b))),
            Need::Material(index) => self.material(*index).await.map(|m| Found::Material(Arc::new(m))),
            Need::Objects(_, references) => self.all(references).await.map(Found::Objects),
        };
        match found {
            Ok(found) => Ok(Ok(found)),
            Err(Missing::Final(reason)) => Ok(Err(reason)),
            Err(Missing::Later(refusal)) => Err(refusal),
        }
    }

    fn namespace(&self) -> &str {
        self.action_set.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn actions(&self) -> &[ActionSpec] {
        self.action_set.spec.as_ref().map_or(&[], |spec| &spec.actions)
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Json, Missing> {
        access::get(self.cluster, reference).await
    }

    async fn blueprint(&self, name: &str) -> Result<Blueprint, Missing> {
        let raw = self.get(&of_kind("blueprint", self.namespace(), name)).await?;
        Ok(serde_json::from_value(raw).map_err(|e| format!("blueprint {name:?} cannot be read: {e}"))?)
    }

    async fn material(&self, index: usize) -> Result<Material, Missing> {
        let action = self.actions().get(index).ok_or_else(|| "there is no such action".to_owned())?;
        let object = self.get(&action.object).await?;
        let kind = |kind: &'static str| {
            move |(name, r): (&String, &ObjectReference)| (name.clone(), of_kind(kind, &r.namespace, &r.name))
        };
        Ok(Material {
            workload: self.workload(&action.object, &object).await?,
            object,
            profile: self.profile(action).await?,
            secrets: self.all(&action.secrets.iter().map(kind("secret")).collect()).await?,
            config_maps: self.all(&action.config_maps.iter().map(kind("configmap")).collect()).await?,
            time: self.started.to_owned(),
        })
    }

    async fn all(
        &self,
        references: &BTreeMap<String, ObjectReference>,
    ) -> Result<BTreeMap<String, Json>, Missing> {
        let mut found = BTreeMap::new();
        for (name, reference) in references {
            found.insert(name.clone(), self.get(reference).await?);
        }
        Ok(found)
    }

    async fn profile(&self, action: &ActionSpec) -> Result<Option<ResolvedProfile>, Missing> {
        let Some(reference) = &action.profile else { return Ok(None) };
        let mut resolved = access::profile(self.cluster, reference).await?;
        if !self.profile_in_commands(action).await? {
            resolved.file = Some(cistern_functions::profile::FILE.to_owned());
        }
        Ok(Some(resolved))
    }

    /// Whether the action's templates see the profile itself.
    async fn profile_in_commands(&self, action: &ActionSpec) -> Result<bool, Missing> {
        if self.profile_in_commands || action.blueprint.is_empty() {
            return Ok(self.profile_in_commands);
        }
        let blueprint = self.get(&of_kind("blueprint", self.namespace(), &action.blueprint)).await?;
        Ok(blueprint["metadata"]["annotations"][PROFILE_IN_COMMANDS] == "true")
    }

    /// The running pods of a workload, with their containers and claims.
    async fn workload(
        &self,
        reference: &ObjectReference,
        object: &Json,
    ) -> Result<Option<Workload>, Missing> {
        let Some(kind) = WorkloadKind::of(&reference.kind) else { return Ok(None) };
        let mut workload = Workload {
            kind,
            name: reference.name.clone(),
            namespace: reference.namespace.clone(),
            ..Workload::default()
        };
        // Without a selector it has no pods of its own.
        let Some(selector) = selector(&object["spec"]["selector"]) else { return Ok(Some(workload)) };
        let of = of_kind("pod", &reference.namespace, "");
        let pods = ask(|| self.cluster.list(&of, &selector)).await.map_err(|e| match e.why {
            Why::Busy => Missing::Later(e),
            _ => Missing::Final(format!("the pods of {} cannot be listed: {e}", words(reference))),
        })?;
        for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Running") {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let containers = items(&pod["spec"]["containers"]);
            workload.pods.push(name.to_owned());
            workload.containers.push(containers.map(|c| text(&c["name"])).collect());
            let claims = claims(&pod["spec"]);
            if !claims.is_empty() {
                workload.volumes.insert(name.to_owned(), claims);
            }
        }
        Ok(Some(workload))
    }
}

fn items(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Claims of a pod, and where they are mounted.
fn claims(spec: &Json) -> BTreeMap<String, String> {
    let mut claims = BTreeMap::new();
    for mount in items(&spec["containers"]).flat_map(|c| items(&c["volumeMounts"])) {
        let volume = items(&spec["volumes"]).find(|v| v["name"] == mount["name"]);
        if let Some(claim) = volume.and_then(|v| v["persistentVolumeClaim"]["claimName"].as_str()) {
            claims.insert(claim.to_owned(), text(&mount["mountPath"]));
        }
    }
    claims
}
