//! 5. A database that its own operator backs up, played: custom resources made, waited for, and taken away.

use crate::stage::Stage;
use crate::world::{establish, object};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value as Json, json};
use std::time::Duration;

const MEDUSA: &str = "medusa.k8ssandra.io/v1alpha1";
/// What an operator who uses the blueprint turns on.
const RIGHTS: [&str; 6] = [
    "rbac.extraRules[0].apiGroups={medusa.k8ssandra.io}",
    "rbac.extraRules[0].resources={medusabackupjobs,medusarestorejobs,medusabackups}",
    "rbac.extraRules[0].verbs={get,create,delete}",
    "rbac.extraRules[1].apiGroups={cassandra.datastax.com}",
    "rbac.extraRules[1].resources={cassandradatacenters}",
    "rbac.extraRules[1].verbs={get}",
];

/// Plays Medusa and its operator until it is dropped.
struct Operator(tokio::task::JoinHandle<()>);

struct Kinds {
    datacenters: Api<DynamicObject>,
    backup_jobs: Api<DynamicObject>,
    restore_jobs: Api<DynamicObject>,
    backups: Api<DynamicObject>,
}

impl Kinds {
    async fn of(stage: &Stage) -> Kinds {
        Kinds {
            datacenters: stage.objects("cassandra.datastax.com/v1beta1", "CassandraDatacenter").await,
            backup_jobs: stage.objects(MEDUSA, "MedusaBackupJob").await,
            restore_jobs: stage.objects(MEDUSA, "MedusaRestoreJob").await,
            backups: stage.objects(MEDUSA, "MedusaBackup").await,
        }
    }

    /// One step of every job: first it is seen, at the next look it is done.
    async fn look(&self) -> kube::Result<()> {
        for job in self.backup_jobs.list(&ListParams::default()).await?.items {
            let pod = format!("{}-rack-0", job.data["spec"]["cassandraDatacenter"].as_str().unwrap());
            if job.data["status"]["startTime"].is_null() {
                let status = json!({ "startTime": now(), "inProgress": [pod], "finished": [] });
                report(&self.backup_jobs, &job, status).await?;
            } else if job.data["status"]["finishTime"].is_null() {
                let datacenter = self.datacenter(&job).await?;
                let backup = json!({
                    "apiVersion": MEDUSA, "kind": "MedusaBackup", "metadata": { "name": job.name_any() },
                    "spec": { "rows": datacenter.data["spec"]["rows"] },
                });
                self.backups.create(&PostParams::default(), &object(backup)).await?;
                let status = json!({ "finishTime": now(), "inProgress": [], "finished": [pod] });
                report(&self.backup_jobs, &job, status).await?;
            }
        }
        for job in self.restore_jobs.list(&ListParams::default()).await?.items {
            if job.data["status"]["startTime"].is_null() {
                report(&self.restore_jobs, &job, json!({ "startTime": now() })).await?;
            } else if job.data["status"]["finishTime"].is_null() {
                // One that is asked for a backup that is not there never comes to an end.
                let backup = self.backups.get(job.data["spec"]["backup"].as_str().unwrap()).await?;
                let rows = json!({ "spec": { "rows": backup.data["spec"]["rows"] } });
                let datacenter = self.datacenter(&job).await?.name_any();
                self.datacenters.patch(&datacenter, &PatchParams::default(), &Patch::Merge(rows)).await?;
                report(&self.restore_jobs, &job, json!({ "finishTime": now() })).await?;
            }
        }
        Ok(())
    }

    async fn datacenter(&self, job: &DynamicObject) -> kube::Result<DynamicObject> {
        self.datacenters.get(job.data["spec"]["cassandraDatacenter"].as_str().unwrap()).await
    }

    async fn rows(&self) -> Json {
        self.datacenters.get("dc1").await.unwrap().data["spec"]["rows"].clone()
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

async fn report(jobs: &Api<DynamicObject>, job: &DynamicObject, status: Json) -> kube::Result<()> {
    let patch = Patch::Merge(json!({ "status": status }));
    jobs.patch_status(&job.name_any(), &PatchParams::default(), &patch).await.map(drop)
}

impl Operator {
    async fn begin(stage: &Stage) -> Operator {
        let kinds = Kinds::of(stage).await;
        Operator(stage.world.runtime.spawn(async move {
            loop {
                let _ = kinds.look().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn datacenter(rows: &str) -> String {
    json!({
        "apiVersion": "cassandra.datastax.com/v1beta1", "kind": "CassandraDatacenter", "metadata": { "name": "dc1" },
        "spec": { "rows": rows },
    })
    .to_string()
}

#[test]
fn a_database_is_backed_up_by_its_own_operator() {
    let Some(stage) = Stage::new("operator") else { return };
    stage.world.play(async {
        establish(&stage.world.client, include_str!("../stand_ins/medusa.yaml")).await;
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        let kinds = Kinds::of(&stage).await;
        stage.apply(&datacenter("monday")).await;
        stage.published("good/operator.yaml").await;
        let controller = stage.controller(&["--no-leader-election"]);
        let object = json!({
            "apiVersion": "v1beta1", "group": "cassandra.datastax.com", "resource": "cassandradatacenters", "name": "dc1",
            "namespace": stage.namespace,
        });
        stage.order_with("backup", "operator", json!({ "name": "backup", "object": object })).await;
        // While nobody plays the operator the phase waits.
        crate::world::until("the job is ordered", async || {
            (!kinds.backup_jobs.list(&ListParams::default()).await.ok()?.items.is_empty()).then_some(())
        })
        .await;
        let _operator = Operator::begin(&stage).await;
        let made = stage.completed("backup").await;
        let artifact = &made["artifacts"]["medusa"]["keyValue"];
        let name = artifact["backup"].as_str().unwrap();
        assert!(name.starts_with("dc1-20") && artifact["datacenter"] == "dc1", "{artifact}");
        let job = kinds.backup_jobs.get(name).await.unwrap();
        assert_eq!(job.data["spec"], json!({ "cassandraDatacenter": "dc1", "backupType": "differential" }));
        assert_eq!(kinds.backups.get(name).await.unwrap().data["spec"]["rows"], "monday");

        stage.apply(&datacenter("damaged")).await;
        let order = json!({ "name": "restore", "object": object, "artifacts": made["artifacts"] });
        stage.complete("restore", "operator", order).await;
        assert_eq!(kinds.rows().await, "monday");
        assert!(kinds.restore_jobs.list(&ListParams::default()).await.unwrap().items.is_empty(), "it is tidied");

        let namespace = json!({ "kind": "Namespace", "name": stage.namespace, "namespace": stage.namespace });
        let order = json!({ "name": "delete", "object": namespace, "artifacts": made["artifacts"] });
        stage.complete("delete", "operator", order.clone()).await;
        assert!(kinds.backups.get_opt(name).await.unwrap().is_none());
        let said = stage.failure("delete-again", "operator", order).await;
        assert!(said.contains(&format!("medusabackups {}/{name}", stage.namespace)), "{said}");
        controller.assert_well();
    });
}
