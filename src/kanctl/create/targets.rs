//! What an action is run on: the target flags of `kanctl create actionset`.

use super::super::cluster::{in_time, refused};
use super::pairs::wrong;
use crate::failure::Failure;
use cistern_api::select::ALL_NAMESPACES;
use cistern_api::{ObjectReference, ObjectSelector};
use cistern_controller::discover::{self, Target};
use cistern_functions::ports::Cluster;
use cistern_functions::reference::of_kind as known;

/// The target flags.
#[derive(clap::Args, Default)]
pub struct Targets {
    /// Deployments
    #[arg(long, short, value_name = "NAMESPACE/NAME", value_delimiter = ',')]
    deployment: Vec<String>,
    /// StatefulSets
    #[arg(long, short = 't', value_name = "NAMESPACE/NAME", value_delimiter = ',')]
    statefulset: Vec<String>,
    /// DeploymentConfigs
    #[arg(long, short = 'D', value_name = "NAMESPACE/NAME", value_delimiter = ',')]
    deploymentconfig: Vec<String>,
    /// PersistentVolumeClaims
    #[arg(long, short = 'v', value_name = "NAMESPACE/NAME", value_delimiter = ',')]
    pvc: Vec<String>,
    /// Namespaces
    #[arg(long, short = 'T', value_name = "NAMESPACE", value_delimiter = ',')]
    namespacetargets: Vec<String>,
    /// Other objects; the group is left out for the core group
    #[arg(long, short = 'O', value_name = "[GROUP/]VERSION/RESOURCE/NAMESPACE/NAME", value_delimiter = ',')]
    objects: Vec<String>,
    /// Objects with these labels, looked up in the cluster
    #[arg(long, short = 'l', value_name = "SELECTOR", group = "looked_up")]
    selector: Option<String>,
    /// Objects that name their blueprint by an annotation, or for which a BlueprintBinding does; not with
    /// --blueprint and --from
    #[arg(long, group = "looked_up")]
    discover: bool,
    /// Kind of objects that --selector or --discover looks for; `all` is every kind of workload, and for
    /// --selector volumes
    #[arg(long, short, value_enum, default_value = "all", requires = "looked_up")]
    kind: Kind,
    /// Namespace that --selector or --discover looks in [default: all]
    #[arg(long, value_name = "NAMESPACE", requires = "looked_up")]
    selector_namespace: Option<String>,
}

/// What `--selector` looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[default]
    All,
    Deployment,
    Deploymentconfig,
    Statefulset,
    Pvc,
    Namespace,
}

impl Kind {
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Kind::All => &["deployment", "deploymentconfig", "statefulset", "pvc"],
            Kind::Deployment => &["deployment"],
            Kind::Deploymentconfig => &["deploymentconfig"],
            Kind::Statefulset => &["statefulset"],
            Kind::Pvc => &["pvc"],
            Kind::Namespace => &["namespace"],
        }
    }
}

impl Targets {
    /// Whether objects have to be looked up in a cluster.
    pub fn need_cluster(&self) -> bool {
        self.selector.is_some() || self.discover
    }

    /// Whether objects say themselves which blueprint is theirs.
    pub fn discover(&self) -> bool {
        self.discover
    }

    /// Objects with a blueprint of their own; bindings are those of the namespace `own`.
    ///
    /// # Errors
    /// The cluster does not show them, or there are none.
    pub async fn discovered(&self, cluster: &dyn Cluster, own: &str) -> Result<Vec<Target>, Failure> {
        let wanted = ObjectSelector {
            kinds: match self.kind {
                Kind::All => Vec::new(),
                kind => kind.kinds().iter().map(|kind| (*kind).to_owned()).collect(),
            },
            namespaces: vec![self.selector_namespace.clone().unwrap_or_else(|| ALL_NAMESPACES.to_owned())],
            ..ObjectSelector::default()
        };
        let found = in_time(discover::discover(cluster, &wanted, own)).await;
        let found = found.map_err(|e| refused("look for", &known("statefulset", "", ""), &e))?;
        if found.is_empty() {
            let text = format!("no object names its blueprint, and no BlueprintBinding of {own} fits one");
            return Err(Failure::usage(text).hint(format!(
                "annotate objects with {}, or make a BlueprintBinding in the namespace {own}",
                discover::BLUEPRINT
            )));
        }
        Ok(found)
    }

    /// Objects with the labels of `--selector`, kind by kind. A kind that the cluster does not serve has none.
    ///
    /// # Errors
    /// The cluster does not show them, or there are none.
    pub async fn selected(&self, cluster: &dyn Cluster) -> Result<Vec<ObjectReference>, Failure> {
        let Some(selector) = &self.selector else { return Ok(Vec::new()) };
        let within = self.selector_namespace.as_deref().unwrap_or_default();
        let mut references = Vec::new();
        for kind in self.kind.kinds() {
            let namespace = if *kind == "namespace" { "" } else { within };
            let of = known(kind, namespace, "");
            let found = in_time(discover::list_served(cluster, &of, selector)).await;
            let found = found.map_err(|refusal| refused("list", &of, &refusal))?;
            references.extend(found.iter().map(|object| {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                let namespace = if *kind == "namespace" { text("name") } else { text("namespace") };
                of_kind(kind, namespace, text("name"))
            }));
        }
        if references.is_empty() {
            return Err(Failure::usage(format!("nothing has the labels {selector:?}")).hint(
                "`kubectl get -A -l SELECTOR` shows what a selector finds; --kind namespace finds namespaces",
            ));
        }
        Ok(references)
    }

    /// References to everything that was named, in the order of the flags above.
    pub fn references(&self) -> Result<Vec<ObjectReference>, Failure> {
        let workloads = [
            ("deployment", "--deployment", &self.deployment),
            ("statefulset", "--statefulset", &self.statefulset),
            ("deploymentconfig", "--deploymentconfig", &self.deploymentconfig),
            ("pvc", "--pvc", &self.pvc),
        ];
        let mut references = Vec::new();
        for (kind, flag, names) in workloads {
            for text in names {
                references.push(workload(kind, flag, text)?);
            }
        }
        references.extend(self.namespacetargets.iter().map(|name| of_kind("namespace", name, name)));
        for text in &self.objects {
            references.push(object(text)?);
        }
        Ok(references)
    }
}

fn of_kind(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    ObjectReference { kind: kind.to_owned(), ..ObjectReference::named(namespace, name) }
}

fn workload(kind: &str, flag: &str, text: &str) -> Result<ObjectReference, Failure> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(of_kind(kind, namespace, name)),
        _ => Err(wrong(flag, text, "expected namespace/name")),
    }
}

fn object(text: &str) -> Result<ObjectReference, Failure> {
    let parts: Vec<&str> = text.split('/').collect();
    let (group, rest) = match parts[..] {
        [group, _, _, _, _] => (group, &parts[1..]),
        [_, _, _, _] => ("", &parts[..]),
        _ => return Err(wrong("--objects", text, "expected [group/]version/resource/namespace/name")),
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(wrong("--objects", text, "a part between two `/` is empty"));
    }
    Ok(ObjectReference {
        api_version: rest[0].to_owned(),
        group: group.to_owned(),
        resource: rest[1].to_owned(),
        ..ObjectReference::named(rest[2], rest[3])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;

    #[test]
    fn objects_are_named_with_and_without_a_group() {
        let found = object("apps/v1/deployments/app/web").expect("well written");
        let expected = ObjectReference {
            api_version: "v1".to_owned(),
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            ..ObjectReference::named("app", "web")
        };
        assert_eq!(found, expected);
        let found = object("v1/configmaps/app/cm").expect("well written");
        assert_eq!(
            (found.group.as_str(), found.resource.as_str(), found.name.as_str()),
            ("", "configmaps", "cm")
        );
        for text in ["", "v1/configmaps/cm", "a/b/c/d/e/f", "apps/v1//app/web", "v1/configmaps/app/"] {
            assert!(object(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_selector_finds_every_kind_with_its_labels() {
        let cluster = cistern_sim::cluster::PaperCluster::new(Vec::new());
        for (kind, namespace, name, app) in [
            ("Deployment", "a", "web", "x"),
            ("StatefulSet", "b", "db", "x"),
            ("StatefulSet", "b", "other", "y"),
            ("Namespace", "", "a", "x"),
        ] {
            cluster.add(serde_json::json!({"kind": kind,
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}}}));
        }
        let find = async |kind, within: Option<&str>| {
            let targets = Targets {
                selector: Some("app=x".to_owned()),
                kind,
                selector_namespace: within.map(str::to_owned),
                ..Targets::default()
            };
            targets.selected(&cluster).await.map_err(|failure| failure.message)
        };
        assert_eq!(
            find(Kind::All, None).await,
            Ok(vec![of_kind("deployment", "a", "web"), of_kind("statefulset", "b", "db")])
        );
        assert_eq!(find(Kind::All, Some("b")).await, Ok(vec![of_kind("statefulset", "b", "db")]));
        assert_eq!(find(Kind::Namespace, Some("b")).await, Ok(vec![of_kind("namespace", "a", "a")]));
        let none = find(Kind::Pvc, None).await;
        assert_eq!(none, Err("nothing has the labels \"app=x\"".to_owned()));
    }

    #[tokio::test]
    async fn what_names_its_blueprint_is_discovered() {
        let cluster = cistern_sim::cluster::PaperCluster::new(Vec::new());
        for (kind, namespace, name) in [("Deployment", "a", "web"), ("StatefulSet", "b", "db")] {
            cluster.add(serde_json::json!({"kind": kind, "metadata": {"name": name, "namespace": namespace,
                "annotations": {discover::BLUEPRINT: format!("for-{name}")}}}));
        }
        let find = async |kind, within: Option<&str>| {
            let selector_namespace = within.map(str::to_owned);
            let targets = Targets { discover: true, kind, selector_namespace, ..Targets::default() };
            let found = targets.discovered(&cluster, "kanister").await.map_err(|failure| failure.message);
            found.map(|found| found.into_iter().map(|target| target.blueprint).collect::<Vec<_>>())
        };
        assert_eq!(find(Kind::All, None).await, Ok(vec!["for-web".to_owned(), "for-db".to_owned()]));
        assert_eq!(find(Kind::All, Some("b")).await, Ok(vec!["for-db".to_owned()]));
        assert_eq!(find(Kind::Deployment, None).await, Ok(vec!["for-web".to_owned()]));
        assert!(find(Kind::Pvc, None).await.unwrap_err().contains("no object names its blueprint"));
    }

    #[test]
    fn every_kind_of_target_is_referred_to_in_lower_case() {
        let targets = Targets {
            deployment: vec!["a/d".to_owned()],
            statefulset: vec!["a/s".to_owned()],
            deploymentconfig: vec!["a/c".to_owned()],
            pvc: vec!["a/p".to_owned()],
            namespacetargets: vec!["n".to_owned()],
            ..Targets::default()
        };
        let found = targets.references().expect("well written");
        let shown: Vec<(&str, &str, &str)> =
            found.iter().map(|r| (r.kind.as_str(), r.namespace.as_str(), r.name.as_str())).collect();
        let expected = [
            ("deployment", "a", "d"),
            ("statefulset", "a", "s"),
            ("deploymentconfig", "a", "c"),
            ("pvc", "a", "p"),
            ("namespace", "n", "n"),
        ];
        assert_eq!(shown, expected);
        assert!(workload("pvc", "--pvc", "name-alone").is_err());
    }
}
