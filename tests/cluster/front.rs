//! A door between controllers and the API server: it counts writes, lets a controller die at one of them, and makes
//! bad weather.
//!
//! Whoever comes through it speaks plain HTTP. A command in a container (a connection that is upgraded) does not come
//! through.

use crate::support::drawn;
use cistern_sim::cluster::Fate;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::{Client, Config};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// An answer's body.
type Answer = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// In a storm an answer comes up to so much later.
const LATER_MAX_MILLIS: u64 = 200;
/// In a storm a stream lasts no longer than this.
const STREAM_MAX_MILLIS: u64 = 4000;

/// The door; closed when dropped.
pub struct Front {
    pub url: String,
    inner: Arc<Inner>,
    listening: AbortHandle,
}

struct Inner {
    /// Nobody in particular: who comes through says who it is.
    client: Client,
    state: Mutex<State>,
    death: Notify,
}

#[derive(Default)]
struct State {
    writes: usize,
    fate: Option<Fate>,
    dead: bool,
    storm: bool,
    /// Requests that came in the storm, and those that suffered.
    requests: u64,
    suffered: u64,
}

/// What a storm does to a request.
enum Weather {
    Fair,
    /// It is refused, with this code.
    Refused(StatusCode),
    /// Its connection is cut before it arrives.
    CutBefore,
    /// It arrives, and its connection is cut.
    CutAfter,
}

impl Front {
    /// A door to the cluster of that kubeconfig, whose user has no credential.
    pub async fn open(kubeconfig: &Path) -> Front {
        let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let inner = Arc::new(Inner { client, state: Mutex::default(), death: Notify::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listening = tokio::spawn(serve(Arc::clone(&inner), listener)).abort_handle();
        Front { url, inner, listening }
    }

    /// What is going to happen at a write from now on. Events and leases do not count: nothing follows from them.
    pub fn decree(&self, fate: Fate) {
        let mut state = self.inner.state();
        state.fate = Some(fate);
        state.writes = 0;
    }

    /// Waits until the controller has to die. Until [`Front::revive`] nothing passes.
    pub async fn death(&self) {
        loop {
            let noticed = self.inner.death.notified();
            if self.inner.state().dead {
                return;
            }
            noticed.await;
        }
    }

    /// The next controller may come.
    pub fn revive(&self) {
        let mut state = self.inner.state();
        (state.dead, state.fate) = (false, None);
    }

    /// Counts writes from now on; nothing happens to them.
    pub fn count(&self) {
        let mut state = self.inner.state();
        (state.writes, state.fate) = (0, None);
    }

    /// Writes since they are counted.
    pub fn writes(&self) -> usize {
        self.inner.state().writes
    }

    /// From now on answers come late, one request in five is refused or cut off, and no stream lasts.
    pub fn begin_storm(&self) {
        self.inner.state().storm = true;
    }

    /// Requests so far in the storm, and those among them that were refused or cut off.
    pub fn suffered(&self) -> (u64, u64) {
        let state = self.inner.state();
        (state.requests, state.suffered)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let service = service_fn(|request| inner.pass(request));
            // Whoever is cut off, or dies, is no concern of the door.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Hands a request on as fate and weather allow. An error cuts the connection.
    async fn pass(&self, request: Request<Incoming>) -> io::Result<Response<Answer>> {
        let fate = self.fate_of(&request);
        if matches!(fate, Some(Fate::DiesBefore(_))) {
            return self.die().await;
        }
        let (weather, late) = self.weather();
        tokio::time::sleep(late).await;
        match weather {
            Weather::Refused(code) => return Ok(refusal(code)),
            Weather::CutBefore => return Err(cut()),
            Weather::Fair | Weather::CutAfter => {}
        }
        let answer = self.hand_on(request).await?;
        match fate {
            Some(Fate::DiesAfter(_)) => return self.die().await,
            Some(Fate::LosesReply(_)) => return Err(cut()),
            // What was on its way when the controller had to die it must not hear of.
            _ if self.state().dead => return std::future::pending().await,
            _ if matches!(weather, Weather::CutAfter) => return Err(cut()),
            _ => {}
        }
        Ok(answer.map(|body| self.streamed(body)))
    }

    /// What is decreed for it; whoever is dead waits for ever, which is not decreed.
    fn fate_of(&self, request: &Request<Incoming>) -> Option<Fate> {
        let mut state = self.state();
        if state.dead {
            return Some(Fate::DiesBefore(0));
        }
        if !counts(request) {
            return None;
        }
        state.writes += 1;
        let nth = state.writes;
        state.fate.filter(|fate| {
            let (Fate::DiesBefore(n) | Fate::DiesAfter(n) | Fate::LosesReply(n)) = fate;
            *n == nth
        })
    }

    async fn die<T>(&self) -> T {
        self.state().dead = true;
        self.death.notify_waiters();
        std::future::pending().await
    }

    fn weather(&self) -> (Weather, Duration) {
        let mut state = self.state();
        if !state.storm {
            return (Weather::Fair, Duration::ZERO);
        }
        state.requests += 1;
        let number = state.requests;
        let weather = match drawn(&format!("weather {number}"), 100) {
            0..5 => Weather::Refused(StatusCode::TOO_MANY_REQUESTS),
            5..10 => Weather::Refused(StatusCode::INTERNAL_SERVER_ERROR),
            10..15 => Weather::CutBefore,
            15..20 => Weather::CutAfter,
            _ => Weather::Fair,
        };
        state.suffered += u64::from(!matches!(weather, Weather::Fair));
        (weather, Duration::from_millis(drawn(&format!("late {number}"), LATER_MAX_MILLIS)))
    }

    async fn hand_on(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request::from_parts(head, Body::from(body));
        self.client.send(request).await.map_err(io::Error::other)
    }

    /// The body as it comes; in a storm it breaks off if it goes on for long.
    fn streamed(&self, body: Body) -> Answer {
        if !self.state().storm {
            return body.map_err(Into::into).boxed_unsync();
        }
        let number = self.state().requests;
        let millis = 500 + drawn(&format!("stream {number}"), STREAM_MAX_MILLIS - 500);
        let end = Instant::now() + Duration::from_millis(millis);
        let frames = stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            match timeout_at(end, body.frame()).await {
                Ok(None) => None,
                Ok(Some(frame)) => Some((frame.map_err(Into::into), Some(body))),
                Err(_) => Some((Err(cut().into()), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

/// Whether something may follow from it.
fn counts(request: &Request<Incoming>) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let path = request.uri().path();
    changes && !path.contains("/events") && !path.contains("/leases")
}

/// As an API server refuses that has too much to do.
fn refusal(code: StatusCode) -> Response<Answer> {
    let status = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code.as_u16(), "message": "the weather is bad" });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.header("retry-after", "1").body(body).unwrap()
}

fn cut() -> io::Error {
    io::Error::other("the connection is cut")
}
