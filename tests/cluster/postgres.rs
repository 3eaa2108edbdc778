//! A PostgreSQL in a pod, backed up by our blueprint into a repository, damaged, restored, compared.

use crate::stage::Stage;
use crate::support::home::{Home, wait_until};
use crate::support::{assert_sound, program, skip};
use crate::world::{MOVER, PLAIN, USER, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const SHOP: &str = "create table t as select g as id, md5(g::text) as word from generate_series(1, 20000) g";
const SUM: &str = "select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from t";

/// A server in a pod with a claim for its data.
pub struct Server {
    pub port: u16,
}

impl Server {
    pub async fn start(stage: &Stage, programs: &Path) -> Server {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!(
            "set -e; initdb -D /data/cluster -U postgres -A trust -E UTF8 --no-locale >/dev/null\n             exec postgres -D /data/cluster -p {port} -k /data -c fsync=off -c listen_addresses=127.0.0.1"
        );
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
            "spec": {
                "replicas": 1, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
                "template": {
                    "metadata": { "labels": { "app": "db" } },
                    "spec": { "containers": [{ "name": "postgres", "image": "postgres" }] },
                },
            },
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database" },
            "stringData": { "username": "postgres", "password": "it's $(a) `b`" },
        });
        for object in [claim, set, secret] {
            stage.apply(&object.to_string()).await;
        }
        let path = format!("{}:/usr/bin:/bin", programs.display());
        // initdb wants a user with a name; Debian's package made one.
        let user = Command::new("id").args(["-u", "postgres"]).output().unwrap();
        let user: u32 = String::from_utf8(user.stdout).unwrap().trim().parse().unwrap();
        let pod = json!({
            "metadata": { "name": "db-0", "labels": { "app": "db" } },
            "spec": {
                "restartPolicy": "Always", "securityContext": { "runAsUser": user, "fsGroup": user },
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
                "containers": [{
                    "name": "postgres", "image": "postgres", "command": ["sh", "-c", script],
                    "env": [{ "name": "PATH", "value": path }],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                }],
            },
        });
        let pods: Api<Pod> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        until("the database's pod runs", async || {
            let status = pods.get("db-0").await.ok()?.status?;
            (status.phase.as_deref() == Some("Running")).then_some(())
        })
        .await;
        let server = Server { port };
        wait_until("the database answers", || server.try_sql("postgres", "select 1").is_some());
        server
    }

    fn try_sql(&self, database: &str, text: &str) -> Option<String> {
        let mut command = Command::new(program("psql").unwrap());
        command.args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-d", database]);
        let output = command.args(["-p", &self.port.to_string(), "-c", text]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    pub fn sql(&self, database: &str, text: &str) -> String {
        self.try_sql(database, text).unwrap_or_else(|| panic!("{database}: {text}"))
    }
}

/// A repository that the user of pods may write to, and the profile that leads to it.
async fn profile(stage: &Stage) -> Home {
    let home = Home::new();
    home.ok(&["init"], b"");
    let key = std::fs::read_to_string(home.key_file()).unwrap();
    let owner = format!("{USER}:{USER}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(home.repository()).status().unwrap().success());
    let secrets = [
        json!({ "name": "repository", "data": { "cistern-repository": "/repository", "cistern-key": key } }),
        json!({ "name": "bucket", "data": { "id": "any", "secret": "any" } }),
    ];
    for secret in secrets {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret["name"] },
            "stringData": secret["data"],
        });
        stage.apply(&secret.to_string()).await;
    }
    let profile = json!({
        "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Profile",
        "metadata": { "name": "store", "annotations": { "cistern.dev/repository-secret": "repository" } },
        "location": { "type": "s3Compliant", "bucket": "none", "endpoint": "http://127.0.0.1:9", "prefix": "" },
        "credential": { "type": "keyPair", "keyPair": {
            "idField": "id", "secretField": "secret",
            "secret": { "name": "bucket", "namespace": stage.namespace },
        }},
        "skipSSLVerify": false,
    });
    stage.apply(&profile.to_string()).await;
    home
}

/// An action on the database, and its status at the end; it must be complete.
async fn act(stage: &Stage, home: &Home, server: &Server, action: &str, artifacts: &Json) -> Json {
    let more = json!({
        "name": action,
        "object": { "kind": "StatefulSet", "name": "db", "namespace": stage.namespace },
        "options": { "host": "127.0.0.1", "image": format!("{PLAIN}postgresql") },
        "profile": { "name": "store", "namespace": stage.namespace },
        "secrets": { "database": { "name": "database", "namespace": stage.namespace } },
        "artifacts": artifacts,
        "podOverride": {
            "containers": [{
                "name": "container", "env": [{ "name": "PGPORT", "value": server.port.to_string() }],
                "volumeMounts": [{ "name": "repository", "mountPath": "/repository" }],
            }],
            "volumes": [{ "name": "repository", "hostPath": { "path": home.repository() } }],
        },
    });
    stage.order_with(action, "postgresql", more).await;
    let status = stage.ended(action).await;
    assert_eq!(status["state"], "complete", "{action}: {status}");
    status
}

#[test]
fn postgresql_there_and_back() {
    let Some(programs) = programs() else {
        return skip("postgresql_there_and_back", "it is not installed: apt-get install postgresql");
    };
    let Some(stage) = Stage::new("postgresql") else { return };
    stage.world.play(async {
        let home = profile(&stage).await;
        let blueprint = Path::new(env!("CARGO_MANIFEST_DIR")).join("blueprints/postgresql/pg-dump.yaml");
        stage.apply(&std::fs::read_to_string(blueprint).unwrap()).await;
        let server = Server::start(&stage, &programs).await;
        server.sql("postgres", "create database shop");
        server.sql("shop", SHOP);
        let before = server.sql("shop", SUM);
        // The image has no `kando`: it comes from ours.
        let controller = stage.controller(&[&format!("--mover-image={MOVER}cistern")]);
        let backup = act(&stage, &home, &server, "backup", &json!({})).await;
        server.sql("shop", "delete from t where id % 2 = 0; update t set word = 'bad'");
        assert_ne!(server.sql("shop", SUM), before);
        act(&stage, &home, &server, "restore", &backup["actions"][0]["artifacts"]).await;
        assert_eq!(server.sql("shop", SUM), before);
        assert_sound(&home);
        controller.assert_well();
        let said = controller.said();
        assert!(!said.contains("it's $(a)"), "no password in the log");
    });
}

/// The newest server's programs; Debian keeps them out of the PATH.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|e| Some(e.ok()?.path())).max_by_key(|path| number(path))?.join("bin");
    newest.join("initdb").exists().then_some(newest)
}
