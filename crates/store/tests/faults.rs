//! What the store makes of a server that fails: cut connections, lost replies, silence, refusals.
//!
//! The server is a small S3 in this file that follows a script of faults.

#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use bytes::Bytes;
use cistern_store::{Checksum, Error, ErrorKind, Key, Options, Secret, Store, open};
use futures::TryStreamExt as _;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What goes wrong with one request.
enum Fault {
    /// It is done, and the connection is closed without an answer.
    LoseReply,
    /// The connection is closed when half of the body has been read; nothing is done.
    CutUpload,
    /// It is answered, but only half of the body is sent.
    CutDownload,
    /// It is read, and never answered.
    Stall,
    /// It is refused with this status and code; nothing is done.
    Refuse(u16, &'static str),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    script: VecDeque<Fault>,
    /// Verb and key of every request, in order.
    asked: Vec<String>,
    /// Temporary credentials given out so far.
    issued: u32,
    /// The whole head of the last one.
    head: String,
}

struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Server { port, state }
    }

    fn options(&self) -> Options {
        Options {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            access_key_id: Some("id".into()),
            secret_access_key: Some(Secret::new("hunter2".into())),
            retry_secs: Some(4),
            stall_secs: Some(1),
            ..Options::default()
        }
    }

    /// Opens a store on it; what is scripted happens to the requests after that.
    async fn open(&self, script: impl IntoIterator<Item = Fault>) -> Arc<dyn Store> {
        let store = open(&"s3://bucket/p".parse().unwrap(), &self.options()).await.unwrap();
        let mut state = self.state.lock().unwrap();
        state.asked.clear();
        state.script = script.into_iter().collect();
        drop(state);
        store
    }

    fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// Serves one request and closes the connection.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let line = head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}:")));
        line.map(|l| l[name.len() + 1..].trim().to_owned())
    };
    let verb = head.split(' ').next().unwrap().to_owned();
    let target = head.split(' ').nth(1).unwrap();
    // A proxy is asked for the whole URL.
    let target =
        target.trim_start_matches("http://far.away.invalid").trim_start_matches("/bucket").to_owned();
    let fault = {
        let mut state = state.lock().unwrap();
        state.head = head.to_lowercase();
        state.asked.push(format!("{verb} {}", target.split('?').next().unwrap()));
        state.script.pop_front()
    };
    let length: usize = header("content-length").map_or(0, |l| l.parse().unwrap());
    let length = if matches!(fault, Some(Fault::CutUpload)) { length / 2 } else { length };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut answer = match fault {
        Some(Fault::CutUpload) => return Ok(()),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Refuse(status, code)) => refuse(status, code),
        _ => {
            let once = header("if-none-match").is_some();
            answer(&mut state.lock().unwrap(), &verb, &target, header("range"), once, body)
        }
    };
    match fault {
        Some(Fault::LoseReply) => return Ok(()),
        Some(Fault::CutDownload) => answer.truncate(answer.len() - 100),
        _ => {}
    }
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

fn refuse(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<Error><Code>{code}</Code><Message>as scripted</Message></Error>");
    http(status, "", body.as_bytes())
}

fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\nETag: \"x\"\r\n\
         Last-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer(
    state: &mut State,
    verb: &str,
    target: &str,
    range: Option<String>,
    once: bool,
    body: Vec<u8>,
) -> Vec<u8> {
    let key = target.trim_start_matches('/').to_owned();
    match verb {
        "GET" if key == "credentials" => {
            state.issued += 1;
            // The first is over soon, so it is not kept for long.
            let until = if state.issued == 1 { "2020-01-01T00:00:00Z" } else { "2099-01-01T00:00:00Z" };
            let json = serde_json::json!({
                "AccessKeyId": format!("temporary{}", state.issued), "SecretAccessKey": "hunter2",
                "Token": "session", "Expiration": until,
            });
            http(200, "", json.to_string().as_bytes())
        }
        "PUT" if once && state.objects.contains_key(&key) => refuse(412, "PreconditionFailed"),
        "PUT" => {
            state.objects.insert(key, body);
            http(200, "", b"")
        }
        "GET" if target.contains("list-type") => list(state, target),
        "GET" => match (state.objects.get(&key), range) {
            (None, _) => refuse(404, "NoSuchKey"),
            (Some(body), None) => http(200, "", body),
            (Some(body), Some(range)) => {
                let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                let span = format!("Content-Range: bytes {start}-{end}/{}\r\n", body.len());
                http(206, &span, &body[start..=end])
            }
        },
        "DELETE" => {
            state.objects.remove(&key);
            http(204, "", b"")
        }
        _ => refuse(501, "NotImplemented"),
    }
}

/// Pages of two names.
fn list(state: &State, target: &str) -> Vec<u8> {
    let url = url::Url::parse(&format!("http://x{target}")).unwrap();
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let after = query.get("continuation-token").or(query.get("start-after")).cloned().unwrap_or_default();
    let names: Vec<_> =
        state.objects.keys().filter(|k| k.starts_with(&query["prefix"]) && **k > after).collect();
    let mut xml = String::from("<ListBucketResult>");
    for name in names.iter().take(2) {
        let time = "<LastModified>2026-11-20T12:00:00.000Z</LastModified>";
        xml += &format!("<Contents><Key>{name}</Key><Size>1</Size>{time}</Contents>");
    }
    if names.len() > 2 {
        xml += &format!("<NextContinuationToken>{}</NextContinuationToken>", names[1]);
    }
    http(200, "", (xml + "</ListBucketResult>").as_bytes())
}

async fn put(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<(), Error> {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    store.put_new(&Key::new(key), vec![Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)]).await
}

#[tokio::test]
async fn a_write_whose_reply_was_lost_is_found_to_be_ours() {
    let server = Server::start().await;
    let store = server.open([Fault::LoseReply]).await;
    put(&*store, "a", &[7; 100_000]).await.unwrap();
    assert_eq!(server.asked(), ["PUT /p/a", "PUT /p/a", "GET /p/a"], "written, refused, compared");
    let e = put(&*store, "a", &[8; 100_000]).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Exists, "somebody else's bytes are not ours: {e}");
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_an_upload_is_tried_again() {
    let server = Server::start().await;
    let store = server.open([Fault::CutUpload, Fault::CutUpload]).await;
    put(&*store, "a", &[7; 4 << 20]).await.unwrap();
    assert_eq!(server.state.lock().unwrap().objects["p/a"], vec![7; 4 << 20]);
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let server = Server::start().await;
    let busy = || Fault::Refuse(503, "SlowDown");
    let store = server.open([busy(), busy()]).await;
    put(&*store, "a", b"x").await.unwrap();
    assert_eq!(server.asked(), ["PUT /p/a"; 3]);
    server.state.lock().unwrap().script = [busy(), Fault::LoseReply].into();
    store.delete(&Key::new("a")).await.unwrap();
    assert!(server.state.lock().unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_bounded_time() {
    let server = Server::start().await;
    let store = server.open((0..50).map(|_| Fault::Stall)).await;
    let began = Instant::now();
    let e = put(&*store, "a", b"x").await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Unavailable, "{e}");
    assert!(e.why.contains("attempts"), "it says how often it was tried: {e}");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn a_conflict_with_a_write_that_came_to_nothing_is_not_an_object() {
    let server = Server::start().await;
    let store = server.open([Fault::Refuse(409, "ConditionalRequestConflict")]).await;
    put(&*store, "a", b"x").await.unwrap();
    assert_eq!(server.asked(), ["PUT /p/a", "GET /p/a", "PUT /p/a"], "refused, not there, written");
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let server = Server::start().await;
    for (status, code, kind) in [
        (403, "AccessDenied", ErrorKind::Denied),
        (403, "SignatureDoesNotMatch", ErrorKind::Denied),
        (404, "NoSuchBucket", ErrorKind::Config),
        (507, "", ErrorKind::Full),
        (400, "EntityTooLarge", ErrorKind::Other),
    ] {
        let store = server.open([Fault::Refuse(status, code)]).await;
        let e = put(&*store, "a", b"x").await.unwrap_err();
        assert_eq!(e.kind, kind, "{e}");
        assert_eq!(server.asked(), ["PUT /p/a"], "{code} is final");
        assert!(e.to_string().contains("s3://bucket/p/a"), "it says which object: {e}");
        assert!(!format!("{e:?}").contains("hunter2"), "and no secret: {e:?}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_at_once_and_who_may_not_list_is_let_in() {
    let server = Server::start().await;
    for (status, code, refused) in
        [(403, "SignatureDoesNotMatch", true), (401, "", true), (403, "AccessDenied", false)]
    {
        server.state.lock().unwrap().script = [Fault::Refuse(status, code)].into();
        let opened = open(&"s3://bucket/p".parse().unwrap(), &server.options()).await;
        let kind = opened.err().map(|e| e.kind);
        assert_eq!(kind, refused.then_some(ErrorKind::Denied), "{status} {code}");
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_with_the_storage_class() {
    let server = Server::start().await;
    let options = Options {
        endpoint: Some("http://far.away.invalid".into()),
        proxy: Some(Secret::new(format!("http://user:hunter2@127.0.0.1:{}", server.port))),
        storage_class: Some("STANDARD_IA".into()),
        checksum: Some(Checksum::Sha256),
        ..server.options()
    };
    let store = open(&"s3://bucket/p".parse().unwrap(), &options).await.unwrap();
    put(&*store, "a", b"x").await.unwrap();
    let head = server.state.lock().unwrap().head.clone();
    assert!(head.starts_with("put http://far.away.invalid/bucket/p/a http"), "{head}");
    assert!(head.contains("\r\nx-amz-storage-class: standard_ia\r\n"), "{head}");
    // Of "x", as RFC 4648 writes it; the head was made lower case.
    assert!(
        head.contains("\r\nx-amz-checksum-sha256: lxewqrcmseqbynyp+6wy9chtd7gqpmtbaiwhf5iasie=\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nproxy-authorization: basic "), "{head}");
    assert!(head.contains("\r\nuser-agent: cistern/"), "{head}");
    // Without TLS the body is signed: nothing else would notice a change on the way.
    assert!(!head.contains("unsigned-payload"), "{head}");
}

#[tokio::test]
async fn credentials_of_the_pod_are_fetched_and_renewed() {
    let server = Server::start().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "of-the-pod").unwrap();
    let options = Options {
        access_key_id: None,
        secret_access_key: None,
        container_credentials_full_uri: Some(format!("http://127.0.0.1:{}/credentials", server.port)),
        container_authorization_token_file: Some(token.path().to_str().unwrap().to_owned()),
        ..server.options()
    };
    let store = open(&"s3://bucket/p".parse().unwrap(), &options).await.unwrap();
    for _ in 0..2 {
        put(&*store, "a", b"x").await.unwrap();
        let head = server.state.lock().unwrap().head.clone();
        assert!(head.contains("credential=temporary2/"), "the first was over: {head}");
        assert!(head.contains("\r\nx-amz-security-token: session\r\n"), "{head}");
        store.delete(&Key::new("a")).await.unwrap();
    }
    assert_eq!(server.state.lock().unwrap().issued, 2, "the second one is kept");
}

#[tokio::test]
async fn without_credentials_the_machine_is_asked_and_its_silence_explained() {
    let server = Server::start().await;
    let options = Options {
        access_key_id: None,
        secret_access_key: None,
        retry_secs: Some(0),
        stall_secs: Some(5),
        ..server.options()
    };
    let e = open(&"s3://bucket".parse().unwrap(), &options).await.err().unwrap();
    assert!(e.why.starts_with("no credentials were given"), "{e:?}");
    assert!(server.asked().is_empty(), "nothing was asked without a signature");
}

#[tokio::test]
async fn a_web_identity_without_its_token_is_said_at_once() {
    let server = Server::start().await;
    let options = Options {
        access_key_id: None,
        secret_access_key: None,
        role_arn: Some("arn:aws:iam::123456789012:role/backup".into()),
        web_identity_token_file: Some("/no/such/token".into()),
        ..server.options()
    };
    let began = Instant::now();
    let e = open(&"s3://bucket".parse().unwrap(), &options).await.err().unwrap();
    assert!(e.why.contains("No such file"), "{e:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn options_that_cannot_be_right_are_refused_before_anything_is_asked() {
    let server = Server::start().await;
    let secret = || Some(Secret::new("hunter2".into()));
    let s3 = "s3://bucket";
    for (location, options, said) in [
        (s3, Options { endpoint: Some("127.0.0.1:9000".into()), ..server.options() }, "endpoint"),
        (s3, Options { endpoint: Some("http://id:hunter2@host".into()), ..server.options() }, "endpoint"),
        (s3, Options { secret_access_key: None, ..server.options() }, "go together"),
        (s3, Options { ca_file: Some("/no/such/file".into()), ..server.options() }, "no such file"),
        (s3, Options { ca_file: Some("/etc/hostname".into()), ..server.options() }, "ca_file"),
        (s3, Options { proxy: secret(), ..server.options() }, "proxy"),
        ("az://c", Options { account_key: secret(), ..server.options() }, "account"),
        (
            "az://c",
            Options { account: Some("a".into()), sas_token: secret(), ..Options::default() },
            "sas_token",
        ),
        ("gs://b", Options { service_account_key: secret(), ..Options::default() }, "GCS"),
    ] {
        let e = open(&location.parse().unwrap(), &options).await.err().unwrap();
        assert_eq!(e.kind, ErrorKind::Config, "{e}");
        assert!(e.to_string().contains(said), "{e}");
        assert!(!e.to_string().contains("hunter2"), "{e}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_read_that_was_cut_off_is_never_half_an_object() {
    let server = Server::start().await;
    let store = server.open([]).await;
    put(&*store, "a", &[7; 1000]).await.unwrap();
    server.state.lock().unwrap().script = [Fault::CutDownload].into();
    assert_eq!(store.get(&Key::new("a"), 5000).await.unwrap(), vec![7; 1000]);
    server.state.lock().unwrap().script = [Fault::CutDownload].into();
    assert_eq!(store.get_range(&Key::new("a"), 10..910).await.unwrap(), vec![7; 900]);
    server.state.lock().unwrap().script = (0..50).map(|_| Fault::CutDownload).collect();
    assert_eq!(store.get(&Key::new("a"), 5000).await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_listing_goes_on_where_it_was_cut_off() {
    let server = Server::start().await;
    let store = server.open([]).await;
    for i in 0..7 {
        put(&*store, &format!("d/{i}"), b"x").await.unwrap();
    }
    server.state.lock().unwrap().asked.clear();
    let mut entries = store.list("d/");
    let mut found = vec![entries.try_next().await.unwrap().unwrap().key.to_string()];
    let faults = [Fault::LoseReply, Fault::Refuse(503, "SlowDown"), Fault::Stall];
    server.state.lock().unwrap().script = faults.into();
    while let Some(entry) = entries.try_next().await.unwrap() {
        found.push(entry.key.to_string());
    }
    let expected: Vec<_> = (0..7).map(|i| format!("d/{i}")).collect();
    assert_eq!(found, expected, "every name once");
    assert_eq!(server.asked().len(), 4 + 3, "four pages, three of them twice");
}

#[tokio::test]
async fn a_listing_that_cannot_go_on_ends_with_an_error() {
    let server = Server::start().await;
    let store = server.open([]).await;
    put(&*store, "d/1", b"x").await.unwrap();
    server.state.lock().unwrap().script = (0..50).map(|_| Fault::Refuse(500, "InternalError")).collect();
    let found: Result<Vec<_>, Error> = store.list("d/").try_collect().await;
    assert_eq!(found.unwrap_err().kind, ErrorKind::Unavailable, "not an empty listing");
}

#[tokio::test]
async fn a_lie_about_the_size_costs_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), state: Arc::default() };
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let lists = String::from_utf8_lossy(&head[..read]).contains("list-type");
            let lie = b"HTTP/1.1 200 x\r\nContent-Length: 1099511627776\r\nETag: \"x\"\r\n\
                Last-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\n";
            let empty = http(200, "", b"<ListBucketResult></ListBucketResult>");
            stream.write_all(if lists { &empty } else { lie }).await.unwrap();
            held.push(stream);
        }
    });
    let store = server.open([]).await;
    let e = store.get(&Key::new("a"), 1 << 20).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::TooLarge, "{e}");
}

#[tokio::test]
async fn an_address_without_a_server_is_said_within_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let options = Options {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: Some("id".into()),
        secret_access_key: Some(Secret::new("hunter2".into())),
        ..Options::default()
    };
    let began = Instant::now();
    let e = open(&"s3://bucket".parse().unwrap(), &options).await.err().unwrap();
    assert_eq!(e.kind, ErrorKind::Unavailable, "{e}");
    assert!(e.why.contains("endpoint"), "it says what to check: {e}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
