//! What the controller serves: `/healthz`, `/readyz` and `/metrics` in the clear, `/validate/blueprint` over TLS.
//!
//! Everything is bounded: connections, how long a request may take to come and to be answered, its size.

use super::health::Health;
use bytes::Bytes;
use cistern_controller::certificate::{Certificate, Pair};
use cistern_controller::webhook;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Connections of one listener at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// So long may a request take to come, and an idle connection stay.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// So long may an answer take; the API server gives up after ten seconds at most by our chart's schema.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Largest review: the object before and after, each at most what etcd takes (1.5 MiB), and the envelope.
const REVIEW_BYTES_MAX: usize = 8 << 20;
/// Blueprints that are checked at the same time: checking takes a thread.
const CHECKS_MAX: usize = 4;
/// How often it is looked whether the certificate has been renewed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted: most often there are too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// `Content-Type` of metrics (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Response<Full<Bytes>>;
type Answers = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Prints the metrics.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves health, readiness and metrics until it is dropped.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics) -> Infallible {
    let answers: Answers = Arc::new(move |request| {
        let answer = told(&request, &health, &metrics);
        Box::pin(async { answer })
    });
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, seat) = accept(&listener, &seats).await;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let _seat = seat;
            converse(stream, answers).await;
        });
    }
}

/// Serves admission reviews until it is dropped. Before there is a certificate nobody is served.
pub async fn serve_webhook(listener: TcpListener, certificate: Certificate) -> Infallible {
    let (publish, mut published) = watch::channel(None);
    let looks = watch_certificate(&certificate, publish);
    let connections = async {
        let checks = Arc::new(Semaphore::new(CHECKS_MAX));
        let answers: Answers = Arc::new(move |request| Box::pin(judged(request, Arc::clone(&checks))));
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let present = published.wait_for(Option::is_some).await.map(|config| config.clone());
            let Ok(Some(config)) = present else { return };
            let (stream, seat) = accept(&listener, &seats).await;
            // It may have been renewed while nobody called.
            let config: Arc<ServerConfig> = published.borrow().clone().unwrap_or(config);
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let _seat = seat;
                // Who speaks no TLS, or does not trust us, hears it from TLS.
                if let Ok(Ok(stream)) = timeout(IDLE_MAX, TlsAcceptor::from(config).accept(stream)).await {
                    converse(stream, answers).await;
                }
            });
        }
    };
    tokio::select! {
        never = looks => never,
        () = connections => unreachable!("the sender lives in the other branch"),
    }
}

/// Publishes the certificate now and whenever it has changed.
async fn watch_certificate(
    certificate: &Certificate,
    publish: watch::Sender<Option<Arc<ServerConfig>>>,
) -> Infallible {
    let mut served: Option<Pair> = None;
    loop {
        let found = match certificate.look().await {
            Ok(pair) if served.as_ref() == Some(&pair) => Ok(()),
            Ok(pair) => with(&pair).map(|config| {
                tracing::info!("the webhook serves with a new certificate");
                publish.send_replace(Some(Arc::new(config)));
                served = Some(pair);
            }),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = &found {
            tracing::warn!("{problem}; blueprints are not checked at admission until this is mended");
        }
        sleep(if found.is_ok() { LOOK_EVERY } else { LOOK_AGAIN }).await;
    }
}

fn with(pair: &Pair) -> Result<ServerConfig, String> {
    let unusable = |why: String| format!("the webhook's certificate cannot be used: {why}");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
    let chain = chain.map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|error| unusable(error.to_string()))?;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(error.to_string()))
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let seat = Arc::clone(seats).acquire_owned().await.expect("the seats are never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, seat),
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn converse<S>(stream: S, answers: Answers)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answers(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Whoever hangs up in the middle is none of our concern.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn told(request: &Request<Incoming>, health: &Health, metrics: &Metrics) -> Answer {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "lives"),
        "/readyz" => match health.ready() {
            Ok(how) => text(StatusCode::OK, how),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/metrics" => answer(StatusCode::OK, OPEN_METRICS, metrics()),
        _ => text(StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics"),
    }
}

async fn judged(request: Request<Incoming>, checks: Arc<Semaphore>) -> Answer {
    if request.uri().path() != "/validate/blueprint" {
        return text(StatusCode::NOT_FOUND, "here is /validate/blueprint");
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST is served here");
    }
    let judgement = async {
        let body = Limited::new(request.into_body(), REVIEW_BYTES_MAX).collect().await;
        let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
            let said = format!("the review is cut short, or larger than {REVIEW_BYTES_MAX} bytes");
            return text(StatusCode::PAYLOAD_TOO_LARGE, said);
        };
        let seat = checks.acquire_owned().await.expect("the seats are never closed");
        let judged = spawn_blocking(move || {
            // Kept by the check itself: who waits for it may have given up.
            let _seat = seat;
            webhook::answer(&body)
        });
        match judged.await {
            Ok(Ok(review)) => answer(StatusCode::OK, "application/json", review.to_string()),
            Ok(Err(problem)) => text(StatusCode::BAD_REQUEST, problem),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the check of the blueprint broke down"),
        }
    };
    let late = |_| text(StatusCode::SERVICE_UNAVAILABLE, "it took too long");
    timeout(ANSWER_MAX, judgement).await.unwrap_or_else(late)
}

fn text(status: StatusCode, said: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", said)
}

fn answer(status: StatusCode, kind: &'static str, said: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(said.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests;
