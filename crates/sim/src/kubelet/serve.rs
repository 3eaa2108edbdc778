//! Logs and commands for the API server, over HTTPS; only who the cluster's authority has signed may ask.

use super::container::Container;
use super::{Inner, Setup, exec};
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long somebody who connects may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a log sent at once.
const PIECE_BYTES: usize = 64 << 10;

/// An answer's body.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Takes connections of those that show a certificate of the authority.
pub(super) fn acceptor(setup: &Setup) -> Result<TlsAcceptor, String> {
    let said = |what: &str| {
        let what = what.to_owned();
        move |e: &dyn std::fmt::Display| format!("the kubelet's {what}: {e}")
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(setup.authority.as_bytes());
    roots.add(authority.map_err(|e| said("authority")(&e))?).map_err(|e| said("authority")(&e))?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let clients = clients.build().map_err(|e| said("authority")(&e))?;
    let own = CertificateDer::from_pem_slice(setup.certificate.as_bytes());
    let own = own.map_err(|e| said("certificate")(&e))?;
    let key = PrivateKeyDer::from_pem_slice(setup.key.as_bytes()).map_err(|e| said("key")(&e))?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| said("versions of TLS")(&e))?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![own], key)
        .map_err(|e| said("certificate")(&e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the runtime ends.
pub(super) async fn serve(node: Arc<Inner>, listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let (node, acceptor) = (node.clone(), acceptor.clone());
        tokio::spawn(async move {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await
            else {
                return;
            };
            let service = service_fn(|request| {
                let node = node.clone();
                async move { Ok::<_, Infallible>(answer(&node, request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                _ = connection => {}
                () = node.cut.notified() => {}
            }
        });
    }
}

async fn answer(node: &Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let found = |namespace: &str, pod: &str, name: &str| node.container(namespace, pod, name);
    match path[..] {
        ["containerLogs", ..] if node.logs_lost.load(Ordering::Relaxed) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the disk with the logs is broken".to_owned())
        }
        ["containerLogs", namespace, pod, name] => match found(namespace, pod, name) {
            Some(container) => log(container, request.uri().query().unwrap_or_default()),
            None => plain(
                StatusCode::BAD_REQUEST,
                format!("container \"{name}\" in pod \"{pod}\" is waiting to start: ContainerCreating"),
            ),
        },
        ["exec", namespace, pod, name] => match found(namespace, pod, name).filter(|c| !c.is_over()) {
            Some(container) => exec::answer(node.clone(), &container, request),
            None => plain(StatusCode::NOT_FOUND, format!("container \"{name}\" not found in pod \"{pod}\"")),
        },
        _ => plain(StatusCode::NOT_FOUND, "this kubelet serves containerLogs and exec".to_owned()),
    }
}

/// An answer of one line.
pub(super) fn plain(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Arguments of a query, decoded.
pub(super) fn arguments(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

struct Reading {
    container: Arc<Container>,
    position: u64,
    follow: bool,
    left_bytes: u64,
}

/// The log from where the query says; followed until the container has ended if it says so.
fn log(container: Arc<Container>, query: &str) -> Response<Body> {
    let arguments = arguments(query);
    let value = |name: &str| arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let reading = Reading {
        position: number("tailLines").map_or(0, |lines| tail(&container, lines)),
        follow: value("follow") == Some("true"),
        left_bytes: number("limitBytes").unwrap_or(u64::MAX),
        container,
    };
    let pieces = stream::unfold(reading, |mut reading| async move {
        let piece = reading.next().await.transpose()?;
        Some((piece.map(Frame::data), reading))
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let kind = hyper::header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// Where the last lines of a log begin.
fn tail(container: &Container, lines: u64) -> u64 {
    let text = std::fs::read(container.log()).unwrap_or_default();
    let ends =
        text.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    if lines == 0 {
        return text.len() as u64;
    }
    usize::try_from(lines - 1).ok().and_then(|skipped| ends.into_iter().nth(skipped)).unwrap_or(0) as u64
}

impl Reading {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // First: what is written before the end must still be read after it.
            let over = self.container.is_over();
            let mut file = tokio::fs::File::open(self.container.log()).await?;
            // After a rotation the file is shorter than what was read of it.
            self.position = self.position.min(file.metadata().await?.len());
            file.seek(io::SeekFrom::Start(self.position)).await?;
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let most = self.left_bytes.min(PIECE_BYTES as u64);
            let len = file.take(most).read_to_end(&mut piece).await? as u64;
            self.position += len;
            self.left_bytes -= len;
            if len > 0 {
                return Ok(Some(piece.into()));
            }
            if over || !self.follow || self.left_bytes == 0 {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
