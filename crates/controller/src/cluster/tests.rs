//! The port over API servers that follow a script.

use super::*;
use cistern_functions::reference::of_kind;
use futures::{SinkExt as _, StreamExt as _};
use http::Response;
use kube::Config;
use kube::client::Body;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Asked, Response as Reply};

/// A cluster whose answers come from `script`, which is given method and path and says code and body.
fn cluster(
    script: impl Fn(&str) -> (u16, Json) + Send + Sync + 'static,
) -> (KubeCluster, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, script) = (Arc::clone(&asked), Arc::new(script));
    let service = tower::service_fn(move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri());
        log.lock().unwrap().push(line.clone());
        let (code, body) = script(&line);
        let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
        async move { Ok::<_, std::io::Error>(answer.unwrap()) }
    });
    (KubeCluster::new(Client::new(service, "home")), asked)
}

fn status(code: u16, reason: &str, name: &str) -> (u16, Json) {
    let details = json!({ "name": name });
    (
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "details": details }),
    )
}

fn resources(names: &[(&str, &str)]) -> Json {
    let resources: Vec<Json> = names
        .iter()
        .map(|(name, kind)| json!({ "name": name, "singularName": "", "kind": kind, "namespaced": true, "verbs": [] }))
        .collect();
    json!({ "kind": "APIResourceList", "groupVersion": "", "resources": resources })
}

fn group(name: &str) -> Json {
    let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let (cluster, asked) = cluster(|line| {
        let last = line.contains("continue=here");
        let meta = json!({ "continue": if last { "" } else { "here" } });
        let items = json!([{ "metadata": { "name": if last { "b" } else { "a" } } }]);
        (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items }))
    });
    let pods = cluster.list(&of_kind("pod", "app", ""), "a=b").await.unwrap();
    let names: Vec<_> = pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((pods[0]["kind"].as_str(), pods[1]["apiVersion"].as_str()), (Some("Pod"), Some("v1")));
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|line| line.contains("/api/v1/namespaces/app/pods?&labelSelector=a%3Db&limit=500")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_list_that_expired_half_way_is_begun_anew() {
    let firsts = Mutex::new(0);
    let (cluster, _) = cluster(move |line| {
        if line.contains("continue=old") {
            return status(410, "Expired", "");
        }
        let mut firsts = firsts.lock().unwrap();
        *firsts += 1;
        let meta = json!({ "continue": if *firsts == 1 { "old" } else { "" } });
        (200, json!({ "kind": "PodList", "metadata": meta, "items": [{ "metadata": { "name": "a" } }] }))
    });
    assert_eq!(cluster.list(&of_kind("pod", "app", ""), "").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_starting_api_server_denies_is_asked_again() {
    let readiness = Arc::new(Mutex::new(500));
    let (ready, asked_pods) = (Arc::clone(&readiness), Mutex::new(0));
    let (cluster, _) = cluster(move |line| {
        if line.contains("readyz") {
            return status(*ready.lock().unwrap(), "", "");
        }
        let mut asked = asked_pods.lock().unwrap();
        *asked += 1;
        if *asked < 3 { status(403, "Forbidden", "") } else { (200, json!({ "kind": "Pod" })) }
    });
    let at = of_kind("pod", "app", "db");
    assert_eq!(cluster.get(&at).await.unwrap_err().why, Why::Busy, "it is not ready");
    *readiness.lock().unwrap() = 200;
    assert_eq!(cluster.get(&at).await.unwrap()["kind"], "Pod", "it was not ready a moment ago");
}

#[tokio::test]
async fn what_a_ready_api_server_denies_is_denied() {
    let (cluster, asked) = cluster(|line| match line {
        line if line.contains("readyz") => (200, json!("ok")),
        _ => status(403, "Forbidden", ""),
    });
    let refusal = cluster.create(&of_kind("pod", "app", "db"), &json!({})).await.unwrap_err();
    assert_eq!(refusal.why, Why::Denied, "{refusal}");
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_not_asked_for_twice() {
    let (cluster, asked) = cluster(|_| status(404, "NotFound", "db"));
    assert_eq!(cluster.get(&of_kind("pod", "app", "db")).await.unwrap_err().why, Why::Absent);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_is_busy() {
    let silent = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, std::io::Error>>()
    });
    let cluster = KubeCluster::new(Client::new(silent, "home"));
    let refusal = cluster.get(&of_kind("pod", "app", "db")).await.unwrap_err();
    assert_eq!(refusal.why, Why::Busy);
    assert!(refusal.said.contains("65 seconds"), "{refusal}");
}

#[tokio::test]
async fn what_is_replaced_says_as_what_it_was_read() {
    let (cluster, asked) = cluster(|_| (200, json!({})));
    let at = of_kind("pod", "app", "db");
    let refusal = cluster.replace(&at, &json!({ "metadata": {} })).await.unwrap_err();
    assert_eq!(refusal.why, Why::Invalid);
    assert!(asked.lock().unwrap().is_empty());
    cluster.replace(&at, &json!({ "metadata": { "resourceVersion": "7" } })).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["PUT /api/v1/namespaces/app/pods/db?&fieldManager=cistern"]);
}

#[tokio::test]
async fn a_resource_that_was_defined_later_is_found() {
    let defined = Arc::new(Mutex::new(false));
    let now = Arc::clone(&defined);
    let (cluster, asked) = cluster(move |line| match line {
        "GET /apis" if *now.lock().unwrap() => {
            (200, json!({ "kind": "APIGroupList", "groups": [group("apps"), group("example.com")] }))
        }
        "GET /apis" => (200, json!({ "kind": "APIGroupList", "groups": [group("apps")] })),
        "GET /api/v1" => (200, resources(&[("pods", "Pod"), ("pods/log", "Pod")])),
        "GET /apis/apps/v1" => (200, resources(&[("deployments", "Deployment")])),
        _ => (200, resources(&[("widgets", "Widget"), ("pods", "Pod")])),
    });
    let kind = |kind: &str| ObjectReference { kind: kind.to_owned(), ..ObjectReference::default() };
    let refusal = cluster.resolve(&kind("Widget")).await.unwrap_err();
    assert_eq!(refusal.why, Why::Invalid);
    assert!(refusal.said.contains("\"Widget\"") && refusal.said.contains("CRD"), "{refusal}");
    *defined.lock().unwrap() = true;
    let widget = cluster.resolve(&kind("Widget")).await.unwrap();
    assert_eq!((widget.group.as_str(), widget.plural.as_str()), ("example.com", "widgets"));
    let before = asked.lock().unwrap().len();
    let pod =
        cluster.resolve(&ObjectReference { api_version: "v1".to_owned(), ..kind("Pod") }).await.unwrap();
    assert_eq!(pod.group, "", "a version without a group is one of the core group");
    let other = ObjectReference { group: "example.com".to_owned(), ..kind("pod") };
    assert_eq!(cluster.resolve(&other).await.unwrap().group, "example.com");
    assert_eq!(asked.lock().unwrap().len(), before, "what is known is not asked for");
}

#[tokio::test]
async fn a_group_that_does_not_answer_hides_only_itself() {
    let (cluster, _) = cluster(|line| match line {
        "GET /apis" => {
            (200, json!({ "kind": "APIGroupList", "groups": [group("metrics.k8s.io"), group("apps")] }))
        }
        "GET /api/v1" => (200, resources(&[("pods", "Pod")])),
        "GET /apis/apps/v1" => (200, resources(&[("deployments", "Deployment")])),
        _ => status(503, "ServiceUnavailable", ""),
    });
    let of = |group: &str, kind: &str| ObjectReference {
        group: group.to_owned(),
        kind: kind.to_owned(),
        ..ObjectReference::default()
    };
    assert_eq!(cluster.resolve(&of("apps", "Deployment")).await.unwrap().plural, "deployments");
    assert_eq!(cluster.resolve(&of("metrics.k8s.io", "PodMetrics")).await.unwrap_err().why, Why::Busy);
    assert_eq!(cluster.resolve(&of("apps", "Widget")).await.unwrap_err().why, Why::Invalid);
}

/// A cluster on a real socket; `serve` plays the API server for one connection.
async fn on_socket<F: Future<Output = ()> + Send>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> KubeCluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    let mut config = Config::new(format!("http://{address}").parse().unwrap());
    config.default_retry = false;
    KubeCluster::new(Client::try_from(config).unwrap())
}

/// Plays a command that says these messages, each with the number of its channel, and then is cut off.
async fn command(socket: TcpStream, says: Vec<(u8, String)>, expects_input: bool) {
    #[expect(clippy::result_large_err, reason = "the handshake's own type")]
    let choose = |_: &Asked, mut reply: Reply| {
        reply.headers_mut().insert("Sec-WebSocket-Protocol", "v4.channel.k8s.io".parse().unwrap());
        Ok(reply)
    };
    let mut stream = tokio_tungstenite::accept_hdr_async(socket, choose).await.unwrap();
    if expects_input {
        let heard = stream.next().await.unwrap().unwrap();
        assert_eq!(heard.into_data().as_ref(), b"\x00secret");
    }
    for (channel, text) in says {
        let mut bytes = vec![channel];
        bytes.extend(text.into_bytes());
        stream.send(Message::binary(bytes)).await.unwrap();
    }
    // No closing handshake: as if the kubelet had been killed.
}

const INSIDE: Inside<'_> = Inside { namespace: "app", pod: "db-0", container: "db" };

async fn run(says: Vec<(u8, String)>, input: &[u8]) -> (Result<Option<Exit>, Refusal>, String) {
    let expects_input = !input.is_empty();
    let cluster = on_socket(move |socket| command(socket, says, expects_input)).await;
    let mut heard = Vec::new();
    let mut sink = |bytes: &[u8]| heard.extend_from_slice(bytes);
    let words = ["sh".to_owned(), "-c".to_owned(), "exit 37".to_owned()];
    let ran = cluster.exec(&INSIDE, &words, input, &mut sink);
    let exit =
        timeout(Duration::from_secs(20), ran).await.expect("a command whose connection is gone has ended");
    (exit, String::from_utf8(heard).unwrap())
}

#[tokio::test]
async fn a_command_ends_with_its_status() {
    let causes = json!([{ "reason": "ExitCode", "message": "37" }]);
    let failure =
        json!({ "status": "Failure", "reason": "NonZeroExitCode", "details": { "causes": causes } });
    let long = "x".repeat(300_000);
    let says = vec![(1, long.clone()), (2, "oh".to_owned()), (1, "end".to_owned()), (3, failure.to_string())];
    let (exit, heard) = run(says, b"").await;
    let exit = exit.unwrap().unwrap();
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(37), "oh"));
    assert_eq!(heard.len(), long.len() + 3);
    let says = vec![(1, "fine".to_owned()), (3, json!({ "status": "Success" }).to_string())];
    let (exit, heard) = run(says, b"secret").await;
    assert_eq!((exit.unwrap().unwrap().code, heard.as_str()), (Some(0), "fine"));
}

#[tokio::test]
async fn a_command_that_is_cut_off_has_no_end() {
    let (exit, heard) = run(vec![(1, "half".to_owned())], b"").await;
    assert_eq!((exit.unwrap(), heard.as_str()), (None, "half"));
    let (exit, heard) = run(vec![], b"").await;
    assert_eq!((exit.unwrap(), heard.as_str()), (None, ""));
}

/// Reads a log that an API server answers with these bytes before it goes away.
async fn log(answer: &'static str) -> (Result<(), Refusal>, String) {
    let cluster = on_socket(move |mut socket| async move {
        let mut request = [0; 4096];
        let count = socket.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..count]).into_owned();
        assert!(request.contains("/namespaces/app/pods/db-0/log?&container=db&follow=true"), "{request}");
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut heard = Vec::new();
    let mut sink = |bytes: &[u8]| heard.extend_from_slice(bytes);
    let read = timeout(Duration::from_secs(20), cluster.follow_log(&INSIDE, &mut sink)).await.unwrap();
    (read, String::from_utf8(heard).unwrap())
}

#[tokio::test]
async fn a_log_is_followed_to_its_end_or_its_cut() {
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(log(whole).await, (Ok(()), "hello".to_owned()));
    let (read, heard) = log("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!((read.unwrap_err().why, heard.as_str()), (Why::Busy, "hello"));
    let waiting = "HTTP/1.1 400 Bad Request\r\ncontent-length: 73\r\n\r\n\
                   container \"db\" in pod \"db-0\" is waiting to start: ContainerCreating      ";
    let (read, _) = log(waiting).await;
    assert_eq!(read.unwrap_err().why, Why::Busy, "it can still begin");
}

#[tokio::test]
async fn a_cluster_behind_a_proxy_is_reached_through_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{\"kind\":\"Pod\"}",
        ] {
            let mut request = [0; 4096];
            let count = socket.read(&mut request).await.unwrap();
            heard.push(String::from_utf8_lossy(&request[..count]).into_owned());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    };
    let proxy = tokio::spawn(proxy);
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: far\n\
         clusters: [{{name: far, cluster: {{server: 'http://api.far:6443', proxy-url: 'http://me:secret@{address}'}}}}]\n\
         contexts: [{{name: far, context: {{cluster: far, user: me}}}}]\nusers: [{{name: me, user: {{}}}}]\n"
    );
    let read = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
    // Named by the kubeconfig it is used, whatever the environment says.
    let proxies = Proxies::of(|name| (name == "NO_PROXY").then(|| "*".to_owned()));
    let config = connect::of_kubeconfig(read, &kube::config::KubeConfigOptions::default(), &proxies).await;
    let cluster = connect::cluster(config.unwrap()).unwrap();
    let pod = timeout(Duration::from_secs(20), cluster.get(&of_kind("pod", "app", "db"))).await.unwrap();
    assert_eq!(pod.unwrap()["kind"], "Pod");
    let heard = proxy.await.unwrap();
    assert!(heard[0].starts_with("CONNECT api.far:6443 HTTP/1.1\r\n"), "{heard:?}");
    assert!(heard[0].to_lowercase().contains("proxy-authorization: basic"), "{heard:?}");
    assert!(heard[1].starts_with("GET /api/v1/namespaces/app/pods/db"), "{heard:?}");
}
