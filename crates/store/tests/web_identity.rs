//! A pod's web identity: its token is exchanged for credentials, and again when those have ended.
//!
//! The other side is a token service and an S3 in this file, behind TLS as the client demands. Both are strict:
//! the service takes the newest token only, and refuses a form that AWS would; the S3 checks the whole
//! signature, and that the credential was given out and is not over.

#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use bytes::Bytes;
use cistern_store::{ErrorKind, Key, Options, Store, open};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const ROLE: &str = "arn:aws:iam::123456789012:role/backup";
const REGION: &str = "eu-9";

/// A credential that was given out.
struct Issued {
    secret: String,
    until: jiff::Timestamp,
}

/// What the token service and the S3 share.
struct State {
    /// The token that is taken.
    token: String,
    /// How long what is given out lasts.
    lasts: Duration,
    /// By access key id.
    issued: BTreeMap<String, Issued>,
    objects: BTreeMap<String, Vec<u8>>,
    /// Requests to the S3 refused because their credential was over.
    expired: u32,
}

struct Cloud {
    port: u16,
    state: Arc<Mutex<State>>,
    files: tempfile::TempDir,
}

impl Cloud {
    async fn start(token: &str, lasts: Duration) -> Cloud {
        let files = tempfile::tempdir().unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        write(&files.path().join("ca.pem"), &cert.pem());
        cistern_store::install_crypto();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let acceptor =
            TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            token: String::new(),
            lasts,
            issued: BTreeMap::new(),
            objects: BTreeMap::new(),
            expired: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serve(stream, state).await;
                    }
                });
            }
        });
        let cloud = Cloud { port, state, files };
        cloud.renew_token(token);
        cloud
    }

    /// As the kubelet does it: another token in the file, and the old one is not taken any more.
    fn renew_token(&self, token: &str) {
        write(&self.files.path().join("token"), token);
        self.state().token = token.to_owned();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn options(&self) -> Options {
        let path = |name: &str| self.files.path().join(name);
        Options {
            endpoint: Some(format!("https://127.0.0.1:{}", self.port)),
            sts_endpoint: Some(format!("https://127.0.0.1:{}/sts", self.port)),
            region: Some(REGION.into()),
            role_arn: Some(ROLE.into()),
            role_session_name: Some("nightly".into()),
            web_identity_token_file: Some(path("token").to_str().unwrap().to_owned()),
            ca_file: Some(path("ca.pem")),
            retry_secs: Some(4),
            stall_secs: Some(5),
            ..Options::default()
        }
    }

    async fn open(&self) -> Result<Arc<dyn Store>, cistern_store::Error> {
        open(&"s3://bucket/p".parse().unwrap(), &self.options()).await
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// A request as it came in.
struct Request {
    verb: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Serves one request and closes the connection.
async fn serve(
    mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    state: Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (verb, target) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let url = url::Url::parse(&format!("https://127.0.0.1{target}")).unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let query = url.query_pairs().into_owned().collect();
    let request = Request { verb, path: url.path().to_owned(), query, headers, body };
    let (status, body) = {
        let mut state = state.lock().unwrap();
        if request.path == "/sts" { give_credential(&mut state, &request) } else { s3(&mut state, request) }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\nETag: \"x\"\r\n\
         Last-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await
}

fn refuse(status: u16, code: &str) -> (u16, Vec<u8>) {
    (status, format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>").into_bytes())
}

/// `AssumeRoleWithWebIdentity`, version 2011-06-15: the parameters may stand in the query or in a form.
fn give_credential(state: &mut State, request: &Request) -> (u16, Vec<u8>) {
    let mut given = request.query.clone();
    given.extend(url::form_urlencoded::parse(&request.body).into_owned());
    let wanted = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "nightly"),
    ];
    let has = |(name, value): &(&str, &str)| given.get(*name).is_some_and(|given| given == value);
    let secs: u32 = given.get("DurationSeconds").map_or(3600, |secs| secs.parse().unwrap());
    let unsigned = !request.headers.contains_key("authorization");
    if request.verb != "POST" || !wanted.iter().all(has) || !(900..=43200).contains(&secs) || !unsigned {
        return refuse(400, "ValidationError");
    }
    if given.get("WebIdentityToken") != Some(&state.token) {
        return refuse(400, "ExpiredTokenException");
    }
    let number = state.issued.len() + 1;
    let (id, secret) = (format!("ASIA{number}"), format!("secret{number}"));
    let until = jiff::Timestamp::now() + state.lasts;
    let xml = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>session{number}</SessionToken>\
         <SecretAccessKey>{secret}</SecretAccessKey><Expiration>{until}</Expiration>\
         <AccessKeyId>{id}</AccessKeyId>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    state.issued.insert(id, Issued { secret, until });
    (200, xml.into_bytes())
}

fn s3(state: &mut State, request: Request) -> (u16, Vec<u8>) {
    match check_signature(state, &request) {
        Ok(()) => {}
        Err("ExpiredToken") => {
            state.expired += 1;
            return refuse(400, "ExpiredToken");
        }
        Err(code) => return refuse(403, code),
    }
    let key = request.path.trim_start_matches("/bucket/").to_owned();
    match request.verb.as_str() {
        "PUT" => {
            state.objects.insert(key, request.body);
            (200, vec![])
        }
        "GET" if request.query.contains_key("list-type") => {
            (200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_vec())
        }
        "GET" => state.objects.get(&key).map_or(refuse(404, "NoSuchKey"), |body| (200, body.clone())),
        _ => refuse(501, "NotImplemented"),
    }
}

/// Signature Version 4, with the headers that the request says are signed.
fn check_signature(state: &State, request: &Request) -> Result<(), &'static str> {
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let authorization = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or("AccessDenied")?;
    let part = |name: &str| {
        let mut parts = authorization.split(", ").filter_map(|part| part.split_once('='));
        parts.find(|(found, _)| *found == name).map(|(_, value)| value).ok_or("AccessDenied")
    };
    let (id, scope) = part("Credential")?.split_once('/').ok_or("AccessDenied")?;
    let issued = state.issued.get(id).ok_or("InvalidAccessKeyId")?;
    if header("x-amz-security-token") != id.replace("ASIA", "session") {
        return Err("InvalidToken");
    }
    if jiff::Timestamp::now() > issued.until {
        return Err("ExpiredToken");
    }
    let signed = part("SignedHeaders")?;
    if !signed.split(';').any(|name| name == "x-amz-security-token") {
        return Err("AccessDenied");
    }
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let query: Vec<String> =
        request.query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    let canonical =
        [&request.verb, &request.path, &query.join("&"), &headers, signed, header("x-amz-content-sha256")];
    let canonical = hex(&Sha256::digest(canonical.join("\n").as_bytes()));
    let text = ["AWS4-HMAC-SHA256", header("x-amz-date"), scope, &canonical].join("\n");
    let first = format!("AWS4{}", issued.secret).into_bytes();
    let key = scope.split('/').fold(first, |key, part| hmac(&key, part.as_bytes()));
    let right = scope.ends_with(&format!("/{REGION}/s3/aws4_request"))
        && part("Signature")? == hex(&hmac(&key, text.as_bytes()));
    if right { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

/// HMAC-SHA256 (RFC 2104) with a key of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|n| key.get(n).copied().unwrap_or(0) ^ byte).collect() };
    let inner = Sha256::digest([&pad(0x36)[..], text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn put(store: &dyn Store, key: &str) -> Result<(), cistern_store::Error> {
    store.put_new(&Key::new(key), vec![Bytes::from_static(b"x")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_ended_are_renewed_with_the_token_of_the_day() {
    let cloud = Cloud::start("token of the morning", Duration::from_secs(2)).await;
    let store = cloud.open().await.unwrap();
    put(&*store, "before").await.unwrap();
    let before = cloud.state().issued.len();
    // The token and all credentials end; what is given out from now on lasts.
    cloud.renew_token("token of the evening");
    cloud.state().lasts = Duration::from_secs(3600);
    tokio::time::sleep(Duration::from_millis(2200)).await;
    for n in 0..5 {
        put(&*store, &format!("after{n}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    let state = cloud.state();
    assert_eq!(state.issued.len(), before + 1, "one credential, and it is kept");
    assert_eq!((state.objects.len(), state.expired), (6, 0), "nobody tried one that was over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_taken_is_said_and_not_repeated() {
    let cloud = Cloud::start("token of the morning", Duration::from_secs(3600)).await;
    cloud.state().token = "another".to_owned();
    let refused = cloud.open().await.err().expect("the token is not taken");
    assert_eq!(refused.kind, ErrorKind::Denied, "{refused:?}");
    assert!(refused.why.contains("ExpiredToken"), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("morning"), "{refused:?}");
    assert!(cloud.state().issued.is_empty());
}
