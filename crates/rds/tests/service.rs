//! The port over a server that speaks RDS (moto, `tests/servers/up`), and what a request looks like.
#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use cistern_functions::databases::{Access, AccessKey, Account, Databases as _, Form, Member, Restored};
use cistern_functions::ports::Why;
use cistern_rds::Amazon;
use cistern_store::aws::Service;
use cistern_store::{Options, Secret};
use std::process::id;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const REGION: &str = "eu-central-1";

fn access() -> Access {
    let key = AccessKey { id: "AKIAME".to_owned(), secret: "hunter2".into(), session_token: "t0ken".into() };
    Access { region: REGION.to_owned(), key: Some(key), role: String::new() }
}

fn account(endpoint: &str) -> Box<dyn Account> {
    Amazon::new(Options::default(), Some(endpoint.to_owned())).reach(&access()).unwrap()
}

/// Where moto is; `None` where it is not, which is said.
fn moto() -> Option<String> {
    let Ok(bucket) = std::env::var("CISTERN_TEST_S3") else {
        let in_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "CISTERN_TEST_S3 is not set: in CI nothing may be lacking");
        eprintln!("skipped: CISTERN_TEST_S3 is not set, see tests/servers/up");
        return None;
    };
    Some(bucket.rsplit_once('/').unwrap().0.to_owned())
}

/// A request that the port has no verb for.
async fn order(endpoint: &str, action: &str, fields: &[(&str, &str)]) {
    let options = Options {
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.to_owned()),
        access_key_id: Some("AKIAME".to_owned()),
        secret_access_key: Some(Secret::new("hunter2".to_owned())),
        ..Options::default()
    };
    let fixed = [("Action", action), ("Version", "2014-10-31")];
    let form: Vec<_> = fixed.iter().chain(fields).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Service::new("rds", &options).unwrap().ask(&form).await.unwrap();
}

async fn why<T>(answer: impl Future<Output = Result<T, cistern_functions::ports::Refusal>>) -> Why {
    answer.await.err().expect("it is refused").why
}

#[tokio::test]
async fn an_instance_goes_into_a_snapshot_and_comes_back() {
    let Some(endpoint) = moto() else { return };
    let account = account(&endpoint);
    let (db, snapshot) = (format!("db-{}", id()), format!("snapshot-{}", id()));
    assert_eq!(why(account.database(Form::Instance, &db)).await, Why::Absent);
    assert_eq!(why(account.snapshot(Form::Instance, &snapshot)).await, Why::Absent);
    assert_eq!(why(account.create_snapshot(Form::Instance, &db, &snapshot)).await, Why::Absent);
    let fields = [
        ("DBInstanceIdentifier", &*db),
        ("DBInstanceClass", "db.t3.micro"),
        ("Engine", "postgres"),
        ("AllocatedStorage", "20"),
        ("MasterUsername", "admin"),
        ("MasterUserPassword", "hunter22"),
        ("VpcSecurityGroupIds.VpcSecurityGroupId.1", "sg-1"),
        ("VpcSecurityGroupIds.VpcSecurityGroupId.2", "sg-2"),
    ];
    order(&endpoint, "CreateDBInstance", &fields).await;
    let found = account.database(Form::Instance, &db).await.unwrap();
    assert_eq!((found.status.as_str(), found.allocated_gib, found.made_by), ("available", 20, None));
    assert_eq!(found.security_groups, ["sg-1", "sg-2"]);
    assert!(found.endpoint.is_some_and(|e| e.host.contains(&db) && e.port == 5432));

    account.create_snapshot(Form::Instance, &db, &snapshot).await.unwrap();
    assert_eq!(why(account.create_snapshot(Form::Instance, &db, &snapshot)).await, Why::Exists);
    let taken = account.snapshot(Form::Instance, &snapshot).await.unwrap();
    assert_eq!(
        (taken.status.as_str(), taken.allocated_gib, taken.engine.as_str()),
        ("available", 20, "postgres")
    );

    let wish = Restored {
        id: db.clone(),
        snapshot: snapshot.clone(),
        security_groups: vec!["sg-9".to_owned()],
        made_by: "u1-0-0".to_owned(),
        ..Restored::default()
    };
    assert_eq!(why(account.restore(Form::Instance, &wish)).await, Why::Exists);
    account.delete_database(Form::Instance, &db).await.unwrap();
    assert_eq!(why(account.delete_database(Form::Instance, &db)).await, Why::Absent);
    account.restore(Form::Instance, &wish).await.unwrap();
    let found = account.database(Form::Instance, &db).await.unwrap();
    assert_eq!(found.made_by.as_deref(), Some("u1-0-0"));
    assert_eq!(found.security_groups, ["sg-9"]);

    account.delete_snapshot(Form::Instance, &snapshot).await.unwrap();
    assert_eq!(why(account.delete_snapshot(Form::Instance, &snapshot)).await, Why::Absent);
    account.delete_database(Form::Instance, &db).await.unwrap();
}

#[tokio::test]
async fn a_cluster_goes_into_a_snapshot_and_comes_back_with_a_member() {
    let Some(endpoint) = moto() else { return };
    let account = account(&endpoint);
    let (many, snapshot) = (format!("many-{}", id()), format!("of-many-{}", id()));
    assert_eq!(why(account.database(Form::Cluster, &many)).await, Why::Absent);
    assert_eq!(why(account.snapshot(Form::Cluster, &snapshot)).await, Why::Absent);
    let fields = [
        ("DBClusterIdentifier", &*many),
        ("Engine", "aurora-postgresql"),
        ("MasterUsername", "admin"),
        ("MasterUserPassword", "hunter22"),
        ("VpcSecurityGroupIds.VpcSecurityGroupId.1", "sg-1"),
    ];
    order(&endpoint, "CreateDBCluster", &fields).await;
    account.create_snapshot(Form::Cluster, &many, &snapshot).await.unwrap();
    assert_eq!(why(account.create_snapshot(Form::Cluster, &many, &snapshot)).await, Why::Exists);
    let taken = account.snapshot(Form::Cluster, &snapshot).await.unwrap();
    assert_eq!((taken.status.as_str(), taken.engine.as_str()), ("available", "aurora-postgresql"));
    account.delete_database(Form::Cluster, &many).await.unwrap();
    assert_eq!(why(account.delete_database(Form::Cluster, &many)).await, Why::Absent);

    // By another name: moto keeps the snapshots that it took by itself of the former one.
    let many = format!("{many}-again");
    let wish = Restored {
        id: many.clone(),
        snapshot: snapshot.clone(),
        engine: (taken.engine.clone(), taken.engine_version),
        made_by: "u1-0-0".to_owned(),
        ..Restored::default()
    };
    account.restore(Form::Cluster, &wish).await.unwrap();
    let member = Member {
        id: format!("{many}-instance-1"),
        cluster: many.clone(),
        engine: taken.engine,
        class: "db.r5.large".to_owned(),
        made_by: "u1-0-0".to_owned(),
    };
    account.create_member(&member).await.unwrap();
    let found = account.database(Form::Cluster, &many).await.unwrap();
    assert_eq!((found.status.as_str(), found.members), ("available", vec![member.id.clone()]));
    assert_eq!(found.made_by.as_deref(), Some("u1-0-0"));
    let found = account.database(Form::Instance, &member.id).await.unwrap();
    assert_eq!((found.class.as_str(), found.made_by.as_deref()), ("db.r5.large", Some("u1-0-0")));
    assert_eq!(why(account.delete_database(Form::Cluster, &many)).await, Why::Conflict);
    account.delete_database(Form::Instance, &member.id).await.unwrap();
    account.delete_database(Form::Cluster, &many).await.unwrap();
    account.delete_snapshot(Form::Cluster, &snapshot).await.unwrap();
    assert_eq!(why(account.delete_snapshot(Form::Cluster, &snapshot)).await, Why::Absent);
}

/// A server that answers one request in this way, and what that request was.
async fn server(status: &'static str, body: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.contains("Action=") {
            let mut buffer = [0; 8192];
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "{request}");
            request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (url, asked)
}

#[tokio::test]
async fn a_request_is_signed_for_the_service_and_holds_no_secret() {
    let (url, asked) = server("200 OK", "<DeleteDBInstanceResponse/>").await;
    account(&url).delete_database(Form::Instance, "db").await.unwrap();
    let request = asked.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        "Action=DeleteDBInstance&Version=2014-10-31&DBInstanceIdentifier=db&SkipFinalSnapshot=true"
    );
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=AKIAME/").unwrap();
    let (scope, signed) = rest.split_once(", SignedHeaders=").unwrap();
    assert!(scope.ends_with("/eu-central-1/rds/aws4_request"), "{scope}");
    let (headers, signature) = signed.split_once(", Signature=").unwrap();
    for header in ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"] {
        assert!(headers.split(';').any(|signed| signed == header), "{header}: {headers}");
    }
    assert!(signature.len() == 64 && signature.bytes().all(|c| c.is_ascii_hexdigit()), "{signature}");
    assert!(head.contains("x-amz-security-token: t0ken"), "{head}");
    assert!(!request.contains("hunter2"));
}

#[tokio::test]
async fn refusals_say_what_the_service_said() {
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidDBInstanceState</Code><Message>Instance db is \
        not available</Message></Error></ErrorResponse>";
    let (url, _asked) = server("400 Bad Request", body).await;
    let refusal = account(&url).delete_database(Form::Instance, "db").await.unwrap_err();
    assert_eq!(refusal.why, Why::Conflict);
    assert_eq!(refusal.said, "the server answered 400, InvalidDBInstanceState, Instance db is not available");
    let (url, _asked) = server("503 Service Unavailable", "").await;
    assert_eq!(why(account(&url).database(Form::Instance, "db")).await, Why::Busy);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusal = account(&format!("http://{gone}")).database(Form::Instance, "db").await.unwrap_err();
    assert_eq!(refusal.why, Why::Busy);
    assert!(refusal.said.starts_with("no answer came: "), "{}", refusal.said);
}

#[tokio::test]
async fn without_a_region_there_is_no_account() {
    let nowhere = Access { region: String::new(), ..access() };
    let reason = Amazon::new(Options::default(), None).reach(&nowhere).err().unwrap();
    assert!(reason.starts_with("no region is named"), "{reason}");
    let of_environment = Options { region: Some(REGION.to_owned()), ..Options::default() };
    assert!(Amazon::new(of_environment, None).reach(&nowhere).is_ok());
}
