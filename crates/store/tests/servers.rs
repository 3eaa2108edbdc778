//! The contract on real servers and mounts, named by the environment; `tests/servers/up` starts them.
//!
//! Where a variable is absent the test says that it was skipped; where `CI` is `true` it fails.

#![expect(clippy::disallowed_methods, reason = "tests read the environment, and unwrap")]

use bytes::Bytes;
use cistern_store::contract::{self, Extent};
use cistern_store::doctor::{Verdict, probe};
use cistern_store::{Error, ErrorKind, FsStore, Key, Location, Options, Secret, Store, open};
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The key of every Azurite, from its documentation.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The value of a variable, or `None` and a line that says what is skipped.
fn given(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!in_ci, "{variable} is not set: in CI every server must be there");
        println!("skipped: {variable}: it names no server; see tests/servers/README.md");
    }
    value
}

/// `URL/bucket` → the server's URL and the bucket.
fn split(url: &str) -> (String, String) {
    let (endpoint, bucket) = url.rsplit_once('/').unwrap();
    (endpoint.to_owned(), bucket.to_owned())
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text.to_owned()))
}

fn s3(url: &str, id: &str, key: &str) -> (Location, Options) {
    let (endpoint, bucket) = split(url);
    let options = Options {
        endpoint: Some(endpoint),
        access_key_id: Some(id.to_owned()),
        secret_access_key: secret(key),
        ..Options::default()
    };
    (format!("s3://{bucket}/some/prefix").parse().unwrap(), options)
}

fn azure(url: &str) -> (Location, Options) {
    let (endpoint, container) = split(url);
    let options = Options {
        endpoint: Some(endpoint),
        account: Some("devstoreaccount1".to_owned()),
        account_key: secret(AZURITE_KEY),
        ..Options::default()
    };
    (format!("az://{container}/some/prefix").parse().unwrap(), options)
}

fn gcs(url: &str) -> (Location, Options) {
    let (endpoint, bucket) = split(url);
    let options = Options { endpoint: Some(endpoint), access_token: secret("token"), ..Options::default() };
    (format!("gs://{bucket}/some/prefix").parse().unwrap(), options)
}

/// Opening must fail with `kind`, and soon.
async fn refused(location: &str, options: &Options, kind: ErrorKind) -> Error {
    let began = Instant::now();
    let e = open(&location.parse().unwrap(), options).await.err().expect("it is refused");
    assert_eq!(e.kind, kind, "{e}");
    assert!(began.elapsed() < Duration::from_secs(10), "within seconds: {:?}", began.elapsed());
    e
}

async fn write_and_read(store: &Arc<dyn Store>) {
    let key = Key::new(format!("hello/{:x}", rand::random::<u64>()));
    store.put_new(&key, vec![Bytes::from_static(b"hello")]).await.unwrap();
    assert_eq!(store.get(&key, 100).await.unwrap(), "hello");
    assert_eq!(store.get_range(&key, 1..4).await.unwrap(), "ell");
    let past = store.get_range(&key, 3..6).await.unwrap_err();
    assert_eq!(past.kind, ErrorKind::CutShort, "{past}");
    store.delete(&key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    let Some(url) = given("CISTERN_TEST_S3") else { return };
    let (location, options) = s3(&url, "any", "any");
    contract::check(&*open(&location, &options).await.unwrap()).await;
    let absent = refused("s3://no-such-bucket-here", &options, ErrorKind::Config).await;
    assert!(absent.why.contains("create the bucket"), "{absent}");
}

/// Nothing is ever overwritten, so a bucket may keep versions and lock them: a delete only hides the object.
#[tokio::test(flavor = "multi_thread")]
async fn versioned_and_locked_buckets_keep_the_contract() {
    let Some(url) = given("CISTERN_TEST_S3") else { return };
    cistern_store::install_crypto();
    let http = reqwest::Client::new();
    // moto checks no signature, so bare requests will do to set up the bucket.
    let put = async |url: String, body: &'static str| {
        let request = http.put(&url).header("x-amz-bucket-object-lock-enabled", "true").body(body);
        let status = request.send().await.unwrap().status();
        assert!(status.is_success(), "{url}: {status}");
    };
    let (endpoint, _) = split(&url);
    let bucket = format!("locked-{:x}", rand::random::<u32>());
    put(format!("{endpoint}/{bucket}"), "").await;
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
        <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    put(format!("{endpoint}/{bucket}?object-lock="), lock).await;

    let (location, options) = s3(&format!("{endpoint}/{bucket}"), "any", "any");
    let store = open(&location, &options).await.unwrap();
    contract::check_to(&*store, &Extent { list_len: 30, large_bytes: 1 << 20, race_len: 3 }).await;
    let versions =
        http.get(format!("{endpoint}/{bucket}?versions=")).send().await.unwrap().bytes().await.unwrap();
    let kept = String::from_utf8_lossy(&versions).matches("<Version>").count();
    assert!(kept > 40, "{kept} versions are kept, though the suite deleted all it wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_over_tls_trusts_only_what_it_is_told_to() {
    let Some(url) = given("CISTERN_TEST_S3_TLS") else { return };
    let Some(ca) = given("CISTERN_TEST_CA") else { return };
    let (location, stranger) = s3(&url, "any", "any");
    let e = refused(&location.to_string(), &stranger, ErrorKind::Config).await;
    assert!(e.why.contains("ca_file"), "it says what to do: {e}");

    let trusting = Options { ca_file: Some(ca.into()), ..stranger.clone() };
    let few = Extent { list_len: 50, large_bytes: 20 << 20, race_len: 5 };
    contract::check_to(&*open(&location, &trusting).await.unwrap(), &few).await;

    let blind = Options { skip_verify: true, ..stranger };
    write_and_read(&open(&location, &blind).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_right_for_a_server_that_checks_them() {
    let Some(url) = given("CISTERN_TEST_RCLONE") else { return };
    let (location, options) = s3(&url, "cistern", "cistern-secret");
    write_and_read(&open(&location, &options).await.unwrap()).await;
    let wrong = Options { secret_access_key: secret("wrong-secret"), ..options.clone() };
    let e = refused(&location.to_string(), &wrong, ErrorKind::Denied).await;
    assert!(e.why.contains("credentials") && !e.why.contains("wrong-secret"), "{e}");
    let unknown = Options { access_key_id: Some("nobody".to_owned()), ..options };
    refused(&location.to_string(), &unknown, ErrorKind::Denied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_a_store_that_creates_once_from_one_that_does_not() {
    let Some(good) = given("CISTERN_TEST_S3") else { return };
    let Some(bad) = given("CISTERN_TEST_RCLONE") else { return };
    let verdicts = async |(location, options): (Location, Options)| {
        let report = probe(&location, &options, SystemTime::now()).await.unwrap();
        let verdict = |check: &str| report.finding(check).map(|f| f.verdict);
        assert_eq!(verdict("range-read"), Some(Verdict::Good));
        assert_eq!(verdict("transport"), Some(Verdict::Limited), "plain HTTP");
        assert_eq!(verdict("overwrite"), Some(Verdict::Limited), "neither forbids it");
        (verdict("create-if-absent"), verdict("racing-writers"))
    };
    let once = verdicts(s3(&good, "any", "any")).await;
    assert_eq!(once, (Some(Verdict::Good), Some(Verdict::Good)));
    let replaced = verdicts(s3(&bad, "cistern", "cistern-secret")).await;
    assert_eq!(replaced, (Some(Verdict::Bad), Some(Verdict::Bad)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_azure_and_gcs_good() {
    let Some(azure_url) = given("CISTERN_TEST_AZURE") else { return };
    let Some(gcs_url) = given("CISTERN_TEST_GCS") else { return };
    for (location, options) in [azure(&azure_url), gcs(&gcs_url)] {
        let report = probe(&location, &options, SystemTime::now()).await.unwrap();
        let checks =
            report.findings.iter().filter(|f| !["transport", "overwrite", "latency"].contains(&f.check));
        for finding in checks {
            assert_eq!(finding.verdict, Verdict::Good, "{location}: {finding:?}");
        }
        assert_eq!(report.finding("overwrite").unwrap().verdict, Verdict::Limited);
        let left: Vec<_> = open(&location, &options).await.unwrap().list("doctor/").collect().await;
        assert!(left.is_empty(), "it cleans up: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_keeps_the_contract() {
    let Some(url) = given("CISTERN_TEST_AZURE") else { return };
    let (location, options) = azure(&url);
    contract::check(&*open(&location, &options).await.unwrap()).await;
    refused("az://no-such-container", &options, ErrorKind::Config).await;
    let wrong = Options { account_key: secret("d3Jvbmc="), ..options };
    refused(&location.to_string(), &wrong, ErrorKind::Denied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_keeps_the_contract() {
    let Some(url) = given("CISTERN_TEST_GCS") else { return };
    let (location, options) = gcs(&url);
    contract::check(&*open(&location, &options).await.unwrap()).await;
    refused("gs://no-such-bucket-here", &options, ErrorKind::Config).await;
    let wrong = Options { access_token: secret("wrong"), ..options };
    refused(&location.to_string(), &wrong, ErrorKind::Denied).await;
}

/// Runs one of the tests here once more in a process of its own, whose system trusts the authorities in
/// `cert_file`.
fn again_trusting(cert_file: &str, test: &str) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .env("CISTERN_TEST_AGAIN", "1")
        .env("SSL_CERT_FILE", cert_file)
        .env("SSL_CERT_DIR", "/no/such/dir");
    let out = command.args(["--exact", test]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_s_authorities_are_trusted() {
    let Some(url) = given("CISTERN_TEST_S3_TLS") else { return };
    let Some(ca) = given("CISTERN_TEST_CA") else { return };
    if std::env::var_os("CISTERN_TEST_AGAIN").is_none() {
        return again_trusting(&ca, "the_system_s_authorities_are_trusted");
    }
    let (location, options) = s3(&url, "any", "any");
    write_and_read(&open(&location, &options).await.unwrap()).await;
}

/// As in a container image that holds nothing but the program.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_authorities_will_do_where_none_are_needed() {
    let Some(plain) = given("CISTERN_TEST_S3") else { return };
    let Some(url) = given("CISTERN_TEST_S3_TLS") else { return };
    let Some(ca) = given("CISTERN_TEST_CA") else { return };
    if std::env::var_os("CISTERN_TEST_AGAIN").is_none() {
        return again_trusting("/no/such/file", "a_system_without_authorities_will_do_where_none_are_needed");
    }
    let (location, options) = s3(&plain, "any", "any");
    write_and_read(&open(&location, &options).await.unwrap()).await;
    let (location, options) = s3(&url, "any", "any");
    let options = Options { ca_file: Some(ca.into()), ..options };
    write_and_read(&open(&location, &options).await.unwrap()).await;
}

/// Where this test is to work: on a mount that is there, or by running once more on one that
/// `CISTERN_TEST_NFS` makes.
fn on_nfs(test: &str) -> Option<String> {
    if let Ok(dir) = std::env::var("CISTERN_TEST_NFS_DIR") {
        return Some(dir);
    }
    let mut command = std::process::Command::new(given("CISTERN_TEST_NFS")?);
    command.arg(std::env::current_exe().unwrap());
    let out = command.args(["--exact", test]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "on the mount: {said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("1 passed"), "it ran there: {said}");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn nfs_keeps_the_contract() {
    let Some(dir) = on_nfs("nfs_keeps_the_contract") else { return };
    let store = FsStore::create(dir).unwrap();
    let extent = Extent { large_bytes: 20 << 20, ..Extent::default() };
    contract::check_to(&store, &extent).await;
    assert_eq!(store.staging_len().await.unwrap(), 0, "no staging file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_on_two_nfs_clients_one_wins() {
    let Some(dir) = on_nfs("of_writers_on_two_nfs_clients_one_wins") else { return };
    let clients = [
        FsStore::create(dir).unwrap(),
        FsStore::open(std::env::var("CISTERN_TEST_NFS_DIR2").unwrap()).unwrap(),
    ];
    for race in 0..20 {
        let key = Key::new(format!("race/{race}"));
        let writers = (0..8).map(|i| clients[i % 2].put_new(&key, vec![Bytes::from(vec![i as u8; 300])]));
        let ends = futures::future::join_all(writers).await;
        let won: Vec<_> = (0..8).filter(|i| ends[*i].is_ok()).collect();
        assert_eq!(won.len(), 1, "{ends:?}");
        for client in &clients {
            assert_eq!(client.get(&key, 300).await.unwrap(), vec![won[0] as u8; 300]);
        }
    }
}

/// With a hard mount the kernel waits for ever, so writes are given up and made again while the first ones
/// still hang. When the server is back both land, and neither may be taken for a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn nfs_writes_survive_a_server_that_goes_away_and_comes_back() {
    let Some(dir) = on_nfs("nfs_writes_survive_a_server_that_goes_away_and_comes_back") else { return };
    let nfsd = |threads: &str| {
        let status = std::process::Command::new("rpc.nfsd").arg(threads).status().unwrap();
        assert!(status.success(), "rpc.nfsd {threads}");
    };
    let location = Location::Directory(dir.into());
    cistern_store::prepare(&location).await.unwrap();
    let options = Options { stall_secs: Some(3), retry_secs: Some(120), ..Options::default() };
    let store = open(&location, &options).await.unwrap();
    let body = Bytes::from(vec![7; 1 << 20]);
    let key = |i: usize| Key::new(format!("outage/{i}"));
    store.put_new(&key(0), vec![body.clone()]).await.unwrap();
    nfsd("0");
    let writers = (1..9).map(|i| {
        let (store, body, key) = (Arc::clone(&store), body.clone(), key(i));
        tokio::spawn(async move { store.put_new(&key, vec![body]).await })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(writers.iter().all(|w| !w.is_finished()), "without a server nothing is written");
    nfsd("4");
    for (i, writer) in writers.into_iter().enumerate() {
        writer.await.unwrap().unwrap_or_else(|e| panic!("write {i} after the outage: {e}"));
    }
    for i in 0..9 {
        assert!(store.get(&key(i), 1 << 20).await.unwrap() == body, "object {i} is whole");
    }
}
