//! A PostgreSQL on a real node: a StatefulSet under the restricted profile, reached at its pod's address.

use crate::node::{POSTGRES_IMAGE, output};
use crate::stage::apply;
use crate::support::program;
use crate::world::until;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

const PASSWORD: &str = "it's $(a) `b`";
const FILL: &str = "create table t as select g as id, md5(g::text) as word from generate_series(1, 50000) g";
const SUM: &str = "select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from t";
/// Who waits for a table that somebody else has locked.
const WAITING: &str = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
const START: &str = "set -e; cd /data; export PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
[ -e cluster ] || initdb -D cluster -U postgres -A scram-sha-256 --pwfile=/credentials/password >/dev/null
echo 'host all all all scram-sha-256' >>cluster/pg_hba.conf
exec postgres -D cluster -k /data -c listen_addresses='*' -c fsync=off";

/// The server, in the namespace `shop`.
pub struct Shop {
    /// The address of its Service.
    pub service: String,
    /// That of its pod.
    address: String,
}

/// A table nobody else can read until this is dropped.
pub struct Lock(Child);

impl Drop for Lock {
    fn drop(&mut self) {
        // At the end of its input the client ends, and with it the transaction.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Shop {
    /// Starts it and fills the database `shop`.
    pub async fn open(client: &Client) -> Shop {
        let labels = json!({ "app": "db" });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": { "name": "db-credentials" },
            "stringData": { "username": "postgres", "password": PASSWORD } });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db" },
            "spec": { "selector": labels, "ports": [{ "port": 5432 }] } });
        let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "db" },
            "spec": {
                "replicas": 1, "serviceName": "db", "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod() },
            } });
        for object in [secret, service, set] {
            apply(client, "shop", object).await;
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
        let address = until("the database's pod runs", async || {
            let status = pods.get("db-0").await.ok()?.status?;
            status.pod_ip.filter(|_| status.phase.as_deref() == Some("Running"))
        })
        .await;
        let services: Api<Service> = Api::namespaced(client.clone(), "shop");
        let service = services.get("db").await.unwrap().spec.unwrap().cluster_ip.unwrap();
        let shop = Shop { service, address };
        until("the database answers", async || {
            shop.psql("postgres").args(["-c", "select 1"]).output().unwrap().status.success().then_some(())
        })
        .await;
        shop.sql("postgres", "create database shop");
        shop.sql("shop", FILL);
        shop
    }

    /// What the table holds, in a line.
    pub fn sum(&self) -> String {
        self.sql("shop", SUM)
    }

    pub fn damage(&self) {
        self.sql("shop", "delete from t where id % 2 = 0; update t set word = 'bad'");
    }

    /// Keeps everybody from reading the table.
    pub fn lock(&self) -> Lock {
        let mut client = self.psql("shop").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"begin; lock table t in access exclusive mode; select 'locked';\n").unwrap();
        let mut line = String::new();
        BufReader::new(client.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        client.stdin = Some(input);
        Lock(client)
    }

    /// How many wait for a lock.
    pub async fn waiting(&self) -> u32 {
        self.sql("postgres", WAITING).trim().parse().unwrap()
    }

    fn sql(&self, database: &str, text: &str) -> String {
        String::from_utf8(output(self.psql(database).args(["-c", text])).stdout).unwrap()
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(program("psql").expect("it is part of postgresql-client"));
        command.args(["-X", "-q", "-A", "-t", "-h", &self.address, "-U", "postgres", "-d", database]);
        command.env("PGPASSWORD", PASSWORD);
        command
    }
}

/// The pod, as the restricted profile wants it.
fn pod() -> serde_json::Value {
    json!({
        "securityContext": { "runAsNonRoot": true, "fsGroup": 101, "seccompProfile": { "type": "RuntimeDefault" } },
        "volumes": [
            { "name": "data", "emptyDir": {} },
            { "name": "credentials", "secret": { "secretName": "db-credentials" } },
        ],
        "containers": [{
            "name": "postgres", "image": POSTGRES_IMAGE, "command": ["sh", "-c", START],
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "volumeMounts": [
                { "name": "data", "mountPath": "/data" },
                { "name": "credentials", "mountPath": "/credentials", "readOnly": true },
            ],
        }],
    })
}
