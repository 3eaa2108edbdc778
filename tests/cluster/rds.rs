//! Databases of RDS, played by a stand-in that checks what it is asked: snapshots taken, restored and deleted, with a
//! controller killed on the way; a PostgreSQL dumped from a snapshot into a bucket and back.

use crate::bucket::Bucket;
use crate::postgres::{Server, programs};
use crate::stage::Stage;
use crate::support::skip;
use crate::world::{MOVER, PLAIN, until};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const REGION: &str = "eu-central-1";

/// What the stand-in has and was asked.
#[derive(Default)]
struct Desk {
    /// Where every database of it listens.
    port: u16,
    /// What stands in each signature: the key, and what it is good for.
    by: (String, String),
    instances: BTreeMap<String, Instance>,
    snapshots: BTreeMap<String, String>,
    /// Writes that were carried out.
    asked: Vec<String>,
    /// Requests that no client of RDS should make.
    wrong: Vec<String>,
    /// Snapshots that are being taken are not done before this is over.
    held: bool,
}

#[derive(Clone, Default)]
struct Instance {
    groups: Vec<String>,
    subnet_group: String,
    made_by: Option<String>,
    /// It becomes available when it has been looked at.
    looked_at: bool,
}

#[derive(Clone)]
struct Rds {
    desk: Arc<Mutex<Desk>>,
    endpoint: String,
}

impl Rds {
    /// With one database, `shop-db`, which listens on this port; asked by this key in this region.
    fn start(port: u16, key: &str, region: &str) -> Rds {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let groups = vec!["sg-1".to_owned(), "sg-2".to_owned()];
        let database = Instance { groups, subnet_group: "inner".to_owned(), looked_at: true, made_by: None };
        let instances = BTreeMap::from([("shop-db".to_owned(), database)]);
        let by = (format!("Credential={key}/"), format!("/{region}/rds/aws4_request"));
        let desk = Arc::new(Mutex::new(Desk { port, by, instances, ..Desk::default() }));
        let rds = Rds { desk, endpoint };
        let served = rds.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        rds
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut buffer = [0; 8192];
        let (head, body) = loop {
            let Ok(n @ 1..) = stream.read(&mut buffer) else { return };
            request.extend_from_slice(&buffer[..n]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap_or("0").parse::<usize>().unwrap() {
                break (text.split_once("\r\n\r\n").unwrap().0.to_owned(), body.to_owned());
            }
        };
        let (status, answer) = self.desk.lock().unwrap().answer(&head, &body);
        let length = answer.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(format!("{head}{answer}").as_bytes());
    }

    fn asked(&self) -> Vec<String> {
        self.desk.lock().unwrap().asked.clone()
    }

    fn hold(&self, held: bool) {
        self.desk.lock().unwrap().held = held;
    }

    fn assert_well_asked(&self) {
        assert_eq!(self.desk.lock().unwrap().wrong, [""; 0]);
    }
}

impl Desk {
    fn answer(&mut self, head: &str, body: &str) -> (u16, String) {
        let url = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
        let form: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let signed = head.contains(&self.by.0) && head.contains(&self.by.1);
        if !signed || form.get("Version").is_none_or(|version| version != "2014-10-31") {
            self.wrong.push(format!("{head}\n{body}"));
            return refused(403, "AccessDenied");
        }
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (db, snapshot) = (of("DBInstanceIdentifier"), of("DBSnapshotIdentifier"));
        match of("Action").as_str() {
            "DescribeDBInstances" => self.instance(&db),
            "DescribeDBSnapshots" if self.snapshots.contains_key(&snapshot) => {
                let status = if self.held { "creating" } else { "available" };
                let fields = format!("<Status>{status}</Status><AllocatedStorage>20</AllocatedStorage>");
                found("DescribeDBSnapshots", "DBSnapshots", "DBSnapshot", &fields)
            }
            "DescribeDBSnapshots" => refused(404, "DBSnapshotNotFound"),
            "CreateDBSnapshot" if self.snapshots.contains_key(&snapshot) => {
                refused(400, "DBSnapshotAlreadyExists")
            }
            "CreateDBSnapshot" if self.instances.contains_key(&db) => {
                self.snapshots.insert(snapshot, db.clone());
                self.done(format!("snapshot {db}"))
            }
            "DeleteDBSnapshot" if self.snapshots.remove(&snapshot).is_some() => {
                self.done("delete snapshot".to_owned())
            }
            "DeleteDBInstance"
                if of("SkipFinalSnapshot") == "true" && self.instances.remove(&db).is_some() =>
            {
                self.done(format!("delete {}", known(&db)))
            }
            "RestoreDBInstanceFromDBSnapshot"
                if self.snapshots.contains_key(&snapshot) && !self.instances.contains_key(&db) =>
            {
                let groups =
                    (1..).map_while(|i| form.get(&format!("VpcSecurityGroupIds.VpcSecurityGroupId.{i}")));
                let instance = Instance {
                    groups: groups.cloned().collect(),
                    subnet_group: of("DBSubnetGroupName"),
                    made_by: Some(of("Tags.Tag.1.Value")),
                    looked_at: false,
                };
                let said = format!("restore {} {:?} {}", known(&db), instance.groups, instance.subnet_group);
                self.instances.insert(db, instance);
                self.done(said)
            }
            _ => {
                self.wrong.push(body.to_owned());
                refused(400, "InvalidParameterCombination")
            }
        }
    }

    fn instance(&mut self, id: &str) -> (u16, String) {
        let port = self.port;
        let Some(instance) = self.instances.get_mut(id) else { return refused(404, "DBInstanceNotFound") };
        let status = if instance.looked_at { "available" } else { "creating" };
        instance.looked_at = true;
        let groups = instance.groups.iter().map(|id| {
            format!("<VpcSecurityGroupMembership><VpcSecurityGroupId>{id}</VpcSecurityGroupId></VpcSecurityGroupMembership>")
        });
        let tag = instance.made_by.as_ref().map_or(String::new(), |trace| {
            format!("<Tag><Key>cistern.dev/made-by</Key><Value>{trace}</Value></Tag>")
        });
        let fields = format!(
            "<DBInstanceStatus>{status}</DBInstanceStatus><VpcSecurityGroups>{}</VpcSecurityGroups><DBSubnetGroup>\
             <DBSubnetGroupName>{}</DBSubnetGroupName></DBSubnetGroup><TagList>{tag}</TagList><Endpoint><Address>127.0.0.1\
             </Address><Port>{port}</Port></Endpoint><DBInstanceClass>db.t3.micro</DBInstanceClass>",
            groups.collect::<String>(),
            instance.subnet_group
        );
        found("DescribeDBInstances", "DBInstances", "DBInstance", &fields)
    }

    fn done(&mut self, said: String) -> (u16, String) {
        self.asked.push(said);
        (200, "<Response/>".to_owned())
    }
}

/// The name of the database, or that it is one for a dump.
fn known(id: &str) -> &str {
    if id == "shop-db" { id } else { "temporary" }
}

fn found(action: &str, list: &str, element: &str, fields: &str) -> (u16, String) {
    let item = format!("<{list}><{element}>{fields}</{element}></{list}>");
    (200, format!("<{action}Response><{action}Result>{item}</{action}Result></{action}Response>"))
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (
        status,
        format!("<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"),
    )
}

/// The objects that the blueprints speak of.
async fn objects(stage: &Stage, blueprint: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/blueprints/good").join(blueprint);
    stage.apply(&std::fs::read_to_string(file).unwrap()).await;
    let secret = |name: &str, data: Json| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data });
    let database = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop" },
        "data": { "instance": "shop-db", "region": REGION, "aws.secret": "aws", "secret": "login",
            "databases": "- shop\n" },
    });
    let key = json!({ "aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hunter2" });
    for object in
        [database, secret("aws", key), secret("login", json!({ "username": "admin", "password": "p4ss" }))]
    {
        stage.apply(&object.to_string()).await;
    }
}

/// Orders an action on the database.
async fn order(stage: &Stage, blueprint: &str, action: &str, more: Json) {
    let mut all = json!({
        "name": action,
        "object": { "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "shop",
            "namespace": stage.namespace },
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.order_with(action, blueprint, all).await;
}

async fn complete(stage: &Stage, action: &str) -> Json {
    let status = stage.ended(action).await;
    assert_eq!(status["state"], "complete", "{action}: {status}");
    status["actions"][0]["artifacts"].clone()
}

#[test]
fn rds_snapshots_there_and_back() {
    let Some(stage) = Stage::new("rds_snapshots") else { return };
    stage.world.play(async {
        let rds = Rds::start(5432, "AKIATEST", REGION);
        objects(&stage, "rds-snapshot.yaml").await;
        let endpoint = format!("--rds-endpoint={}", rds.endpoint);
        rds.hold(true);
        let controller = stage.controller(&[&endpoint]);
        order(&stage, "rds-snapshot", "backup", json!({})).await;
        until("a snapshot is being taken", async || (!rds.asked().is_empty()).then_some(())).await;
        controller.kill();
        let controller = stage.controller(&[&endpoint]);
        rds.hold(false);
        let artifacts = complete(&stage, "backup").await;
        let taken = &artifacts["snapshot"]["keyValue"];
        assert_eq!(
            (&taken["securityGroups"], &taken["subnetGroup"]),
            (&json!("- sg-1\n- sg-2\n"), &json!("inner"))
        );
        order(&stage, "rds-snapshot", "restore", json!({ "artifacts": artifacts })).await;
        complete(&stage, "restore").await;
        order(&stage, "rds-snapshot", "delete", json!({ "artifacts": artifacts })).await;
        complete(&stage, "delete").await;
        let restored = "restore shop-db [\"sg-1\", \"sg-2\"] inner";
        assert_eq!(rds.asked(), ["snapshot shop-db", "delete shop-db", restored, "delete snapshot"]);
        rds.assert_well_asked();
        controller.assert_well();
        assert!(!controller.said().contains("hunter2"), "no key in the log");
    });
}

#[test]
fn rds_dump_there_and_back() {
    let Some(programs) = programs() else {
        return skip("rds_dump_there_and_back", "PostgreSQL is not installed: apt-get install postgresql");
    };
    let Some(stage) = Stage::new("rds_dump") else { return };
    stage.world.play(async {
        let Some(_bucket) = Bucket::at(&stage).await else { return };
        let server = Server::start(&stage, &programs).await;
        // As the bucket's profile has it.
        let rds = Rds::start(server.port, "any", "us-east-1");
        objects(&stage, "rds-dump.yaml").await;
        server.sql("postgres", "create role admin login createdb");
        server.sql("postgres", "create database shop owner admin");
        let table = "create table t as select g as id, md5(g::text) as word from generate_series(1, 5000) g";
        server.sql("shop", &format!("set role admin; {table}"));
        let sum = "select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from t";
        let before = server.sql("shop", sum);
        let images = [format!("--mover-image={MOVER}cistern"), format!("--postgres-image={PLAIN}postgresql")];
        let endpoint = format!("--rds-endpoint={}", rds.endpoint);
        let controller = stage.controller(&[&images[0], &images[1], &endpoint]);
        let place = json!({ "profile": { "name": "store", "namespace": stage.namespace } });
        order(&stage, "rds-dump", "backup", place.clone()).await;
        let artifacts = complete(&stage, "backup").await;
        let temporary = "restore temporary [\"sg-1\", \"sg-2\"] inner";
        assert_eq!(rds.asked(), ["snapshot shop-db", temporary, "delete temporary", "delete snapshot"]);
        server.sql("shop", "delete from t where id % 2 = 0; update t set word = 'bad'; create table later()");
        let mut place = place;
        place["artifacts"] = artifacts;
        order(&stage, "rds-dump", "restore", place).await;
        complete(&stage, "restore").await;
        assert_eq!(server.sql("shop", sum), before);
        assert_eq!(server.sql("shop", "select count(*) from pg_tables where tablename = 'later'"), "0\n");
        assert_eq!(rds.asked().len(), 4, "a restore from a dump asks for nothing: {:?}", rds.asked());
        rds.assert_well_asked();
        controller.assert_well();
        assert!(!controller.said().contains("p4ss"), "no password in the log");
    });
}
