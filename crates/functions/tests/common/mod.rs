//! A call on a paper cluster, as all stories begin with.

use cistern_action::catalog;
use cistern_action::machine::{Call, CallId, PhaseId};
use cistern_action::params::{Material, PhaseViews, ResolvedProfile, Workload, WorkloadKind, root};
use cistern_api::{ActionSpec, Object};
use cistern_functions::profile;
use cistern_functions::setting::{Limits, Origin, Setting};
use cistern_sim::cluster::PaperCluster;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A controller's setting.
pub fn setting() -> Setting {
    let order = Origin {
        namespace: "kanister".to_owned(),
        name: "backup-x".to_owned(),
        uid: "u1".to_owned(),
        job_id: Some("j7".to_owned()),
    };
    Setting {
        order,
        namespace: "kanister".to_owned(),
        service_account: Some("controller".to_owned()),
        mover_image: None,
        tools_image: "tools".to_owned(),
        postgres_image: "postgres-tools".to_owned(),
        databases: None,
        restricted: true,
        resumed: false,
        attempt: 1,
        progress: None,
        limits: Limits::default(),
    }
}

/// A call of a function on the StatefulSet `db`, whose pods have a volume each.
pub fn call(function: &str, args: Json, spec: ActionSpec) -> Call {
    let volumes =
        |pod: &str| (pod.to_owned(), BTreeMap::from([(format!("data-{pod}"), "/var/lib/db".to_owned())]));
    let workload = Workload {
        kind: WorkloadKind::StatefulSet,
        name: "db".to_owned(),
        namespace: "app".to_owned(),
        pods: vec!["db-0".to_owned(), "db-1".to_owned()],
        volumes: BTreeMap::from([volumes("db-0"), volumes("db-1")]),
        ..Workload::default()
    };
    let profile = ResolvedProfile {
        json: json!({ "Location": { "type": "s3Compliant", "bucket": "b" },
            "Credential": { "Type": "keyPair", "KeyPair": { "ID": "me", "Secret": "s3cr3t" } } }),
        file: Some(profile::FILE.to_owned()),
        repository: Some(json!({ "location": "s3://b/repo", "key": "k3y" })),
    };
    let time = "2026-01-02T03:04:05Z".to_owned();
    let material = Material { workload: Some(workload), profile: Some(profile), time, ..Material::default() };
    Call {
        id: CallId { action: 0, phase: PhaseId::Index(0) },
        action: "backup".to_owned(),
        phase: "dump".to_owned(),
        function: catalog::function(function).unwrap(),
        args: args.as_object().unwrap().clone(),
        root: root(&spec, &material, &PhaseViews::default()),
        secrets: BTreeMap::new(),
        material: Arc::new(material),
        spec: Arc::new(spec),
    }
}

/// How the call ends.
#[allow(dead_code, reason = "some stories have a service beside the cluster")]
pub async fn told(cluster: &PaperCluster, function: &str, args: Json) -> Result<Object, String> {
    let call = call(function, args, ActionSpec::default());
    cistern_functions::call(&call, &setting(), cluster).await
}
