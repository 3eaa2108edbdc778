//! The cluster that kanctl talks to: which one, and its refusals as failures.

use super::Globals;
use crate::context::variable;
use crate::failure::{Exit, Failure};
use cistern_api::{ActionSet, ObjectReference};
use cistern_controller::{Proxies, connect};
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::reference::{of_kind, words};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Which cluster, and as whom.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ClusterFlags {
    /// File that says how to reach the cluster [default: $KUBECONFIG, ~/.kube/config, or that of the pod]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of that file
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// A cluster, and the namespace that is meant where none is named.
pub struct Session {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// That of `--namespace`, else that of the context.
    pub namespace: String,
}

impl Session {
    /// Reads how to reach the cluster. Nothing is asked of it yet.
    ///
    /// # Errors
    /// There is no such file or context, or what it says is of no use.
    pub async fn open(globals: &Globals) -> Result<Session, Failure> {
        let flags = &globals.cluster;
        let connected =
            connect(flags.kubeconfig.as_deref(), flags.context.as_deref(), &Proxies::of(variable)).await;
        let cluster = connected.map_err(|refusal| {
            Failure::usage(format!("cannot talk to a cluster: {refusal}"))
                .hint("say which with --kubeconfig and --context, or set KUBECONFIG")
        })?;
        let namespace = globals.namespace.clone().unwrap_or_else(|| cluster.default_namespace().to_owned());
        Ok(Session { cluster: Arc::new(cluster), namespace })
    }

    /// Where an ActionSet of this name is.
    pub fn action_set_at(&self, name: &str) -> ObjectReference {
        of_kind("actionset", &self.namespace, name)
    }

    /// The ActionSet of this name.
    ///
    /// # Errors
    /// There is none, or the cluster does not show it.
    pub async fn action_set(&self, name: &str) -> Result<ActionSet, Failure> {
        self.read(&self.action_set_at(name)).await
    }

    /// An object, typed.
    ///
    /// # Errors
    /// There is none, the cluster does not show it, or it is not what it should be.
    pub async fn read<R: serde::de::DeserializeOwned>(&self, at: &ObjectReference) -> Result<R, Failure> {
        let raw = self.cluster.get(at).await.map_err(|refusal| refused("read", at, &refusal))?;
        typed(raw).map_err(|e| Failure::other(format!("cannot read {}: {e}", words(at))))
    }
}

/// So long a cluster that is asked again and again may give no answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a library asks that would be patient for an hour.
///
/// # Errors
/// The refusal, also if no answer came in time.
pub async fn in_time<T>(asked: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = || Refusal::new(Why::Busy, format!("got no answer within {} seconds", PATIENCE.as_secs()));
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

/// A JSON object as a typed one, or a sentence with the field.
pub fn typed<R: serde::de::DeserializeOwned>(raw: Json) -> Result<R, String> {
    serde_path_to_error::deserialize(raw).map_err(|e| format!("{}: {}", e.path(), e.inner()))
}

/// What the cluster refused, as a failure: `cannot read actionsets app/x: it is not there`.
pub fn refused(verb: &str, at: &ObjectReference, refusal: &Refusal) -> Failure {
    let what = match at.name.as_str() {
        "" => format!(
            "the {} of {}",
            at.resource,
            if at.namespace.is_empty() { "all namespaces" } else { &at.namespace }
        ),
        _ => words(at),
    };
    let (exit, hint) = match refusal.why {
        Why::Absent => {
            (Exit::NotFound, Some("`kanctl list -A` shows what there is; -n says in which namespace"))
        }
        Why::Exists => (Exit::Usage, Some("choose another name")),
        Why::Conflict | Why::Busy => (Exit::Temporary, Some("run it again")),
        Why::Denied => (Exit::Denied, Some("ask the cluster's administrator for this right")),
        Why::Invalid => (Exit::Usage, None),
    };
    let failure = Failure::new(exit, format!("cannot {verb} {what}: it {refusal}"));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use cistern_sim::cluster::PaperCluster;
    use serde_json::json;

    /// An empty paper cluster, and a session in its namespace `kanister`.
    pub fn paper() -> (Arc<PaperCluster>, Session) {
        let cluster = Arc::new(PaperCluster::new(Vec::new()));
        let session =
            Session { cluster: Arc::clone(&cluster) as Arc<dyn Cluster>, namespace: "kanister".to_owned() };
        (cluster, session)
    }

    /// An ActionSet of two fields in it.
    pub fn place(cluster: &PaperCluster, name: &str, status: &Json) {
        cluster.add(json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
            "metadata": {"name": name, "namespace": "kanister"},
            "spec": {"actions": [{"name": "backup", "blueprint": "bp",
                "object": {"kind": "statefulset", "namespace": "app", "name": "db"}}]},
            "status": status,
        }));
    }

    #[test]
    fn refusals_are_told_with_what_was_tried_and_what_to_do() {
        let at = of_kind("actionset", "kanister", "b");
        let told = |why, at: &ObjectReference| {
            let failure = refused("read", at, &Refusal::new(why, "said so"));
            (failure.exit, failure.message)
        };
        assert_eq!(
            told(Why::Absent, &at),
            (Exit::NotFound, "cannot read actionsets kanister/b: it said so".to_owned())
        );
        assert_eq!(told(Why::Denied, &at).0, Exit::Denied);
        assert_eq!(told(Why::Busy, &at).0, Exit::Temporary);
        let all = of_kind("actionset", "", "");
        assert_eq!(told(Why::Denied, &all).1, "cannot read the actionsets of all namespaces: it said so");
    }
}
