//! The two listeners, called over real sockets.

#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

use super::*;
use cistern_api::{ObjectReference, Time};
use cistern_controller::World;
use cistern_controller::certificate::Own;
use cistern_functions::ports::{Cluster, Patch};
use cistern_sim::cluster::PaperCluster;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Sends a request as it stands and reads the answer to its end.
async fn raw(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn get(at: SocketAddr, path: &str) -> String {
    raw(at, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let (listener, at) = listener().await;
    let health = Health::default();
    let metrics: Metrics = Arc::new(|| "cistern_things 7\n# EOF\n".to_owned());
    let server = tokio::spawn(serve(listener, health.clone(), metrics));
    assert!(get(at, "/healthz").await.starts_with("HTTP/1.1 200"));
    let early = get(at, "/readyz").await;
    assert!(early.starts_with("HTTP/1.1 503") && early.ends_with("has not answered yet"), "{early}");
    health.led_by("pod-b", false);
    let ready = get(at, "/readyz?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("stands by; pod-b leads"), "{ready}");
    let metrics = get(at, "/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text") && metrics.contains("things 7"));
    assert!(get(at, "/secrets").await.starts_with("HTTP/1.1 404"));
    let posted = raw(at, "POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    server.abort();
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() {
    let (listener, at) = listener().await;
    let server = tokio::spawn(serve(listener, Health::default(), Arc::new(String::new)));
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /healthz HT").await.unwrap();
        idle.push(stream);
    }
    let waits = timeout(Duration::from_millis(300), get(at, "/healthz")).await;
    assert!(waits.is_err(), "one more than allowed was served");
    idle.truncate(CONNECTIONS_MAX - 1);
    assert!(get(at, "/healthz").await.starts_with("HTTP/1.1 200"));
    server.abort();
}

/// A cluster with the webhook's configuration, and the certificate that is kept there.
async fn stage() -> (Arc<PaperCluster>, Certificate) {
    let cluster = Arc::new(PaperCluster::new(Vec::new()));
    let configuration = json!({ "kind": "ValidatingWebhookConfiguration",
        "webhooks": [{ "name": "blueprints.cistern.dev", "clientConfig": {} }] });
    cluster.create(&configuration_at(), &configuration).await.unwrap();
    let certificate = Certificate {
        cluster: Arc::clone(&cluster) as Arc<dyn Cluster>,
        world: World { identity: "a".to_owned(), now: Arc::new(|| Time(jiff::Timestamp::now())) },
        namespace: "backup".to_owned(),
        secret: "cistern-webhook".to_owned(),
        own: Some(Own { service: "cistern".to_owned(), configuration: "cistern-backup".to_owned() }),
    };
    (cluster, certificate)
}

fn configuration_at() -> ObjectReference {
    ObjectReference {
        api_version: "v1".to_owned(),
        group: "admissionregistration.k8s.io".to_owned(),
        resource: "validatingwebhookconfigurations".to_owned(),
        ..ObjectReference::named("", "cistern-backup")
    }
}

/// A client that trusts what the API server was told to trust, and calls as it does.
async fn api_server(cluster: &PaperCluster, at: SocketAddr) -> reqwest::Client {
    use base64::Engine as _;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let configuration = cluster.object(&configuration_at()).unwrap();
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
    let bundle = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap();
    let trusted = reqwest::Certificate::from_pem_bundle(&bundle).unwrap();
    reqwest::Client::builder()
        .tls_certs_only(trusted)
        .resolve("cistern.backup.svc", at)
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

fn review(function: &str) -> String {
    let phase = json!({ "func": function, "name": "dump", "args": { "image": "i", "command": ["true"] } });
    let blueprint = json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
        "metadata": { "name": "shop" }, "actions": { "backup": { "phases": [phase] } } });
    let request = json!({ "uid": "r-1", "operation": "CREATE", "object": blueprint });
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request }).to_string()
}

#[tokio::test]
async fn blueprints_are_judged_over_tls() {
    let (cluster, certificate) = stage().await;
    certificate.look().await.unwrap();
    let (listener, at) = listener().await;
    let server = tokio::spawn(serve_webhook(listener, certificate));
    let client = api_server(&cluster, at).await;
    let url = "https://cistern.backup.svc/validate/blueprint";
    let ask = async |body: String| client.post(url).body(body).send().await.unwrap();
    let told = async |function| -> Json {
        serde_json::from_slice(&ask(review(function)).await.bytes().await.unwrap()).unwrap()
    };
    assert_eq!(told("KubeTask").await["response"]["allowed"], true);
    let refused = told("KubTask").await;
    assert_eq!(refused["response"]["allowed"], false);
    assert!(refused["response"]["status"]["message"].as_str().unwrap().contains("phases[0].func"));
    assert_eq!(ask("{}".to_owned()).await.status(), 400);
    assert_eq!(ask(" ".repeat(REVIEW_BYTES_MAX + 1)).await.status(), 413);
    assert_eq!(client.get(url).send().await.unwrap().status(), 405);
    assert_eq!(client.get("https://cistern.backup.svc/metrics").send().await.unwrap().status(), 404);
    let clear = timeout(Duration::from_secs(20), raw(at, "GET / HTTP/1.1\r\n\r\n")).await;
    assert!(!clear.unwrap().starts_with("HTTP"), "it speaks TLS only");
    server.abort();
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let (cluster, certificate) = stage().await;
    let first = certificate.look().await.unwrap();
    let (publish, mut published) = watch::channel(None);
    tokio::time::pause();
    let watching = certificate.clone();
    let looks = tokio::spawn(async move { watch_certificate(&watching, publish).await });
    published.wait_for(Option::is_some).await.unwrap();
    published.mark_unchanged();
    let secret = cistern_functions::reference::of_kind("secret", "backup", "cistern-webhook");
    let spoilt = json!({ "data": { "tls.key": "bm90IGEga2V5" } });
    cluster.patch(&secret, Patch::Merge, &spoilt).await.unwrap();
    timeout(LOOK_EVERY * 2, published.changed()).await.unwrap().unwrap();
    assert_ne!(certificate.look().await.unwrap(), first);
    looks.abort();
}

#[test]
fn what_is_no_certificate_is_said() {
    let pair = Pair { chain: b"c".to_vec(), key: b"k".to_vec() };
    assert!(with(&pair).unwrap_err().starts_with("the webhook's certificate cannot be used: "));
}
