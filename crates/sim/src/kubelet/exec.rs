//! A command in a container, over a WebSocket with Kubernetes' channels.
//!
//! The protocol is `v4.channel.k8s.io`: each message begins with the number of its channel; the last one, on
//! channel 3, is a `Status` that tells how the command ended.

use super::Inner;
use super::container::Container;
use super::serve::{Body, arguments, plain};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What nodes speak: those of 1.30 and later the second one, too, in which a client can say that its input has
/// ended.
const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// Begins a message that says which channel is closed.
const CLOSE: u8 = 255;
/// Most bytes of output in a message.
const PIECE_BYTES: usize = 32 << 10;
/// Messages that wait to be sent.
const WAITING_MAX: usize = 16;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Agrees to speak and begins.
pub(super) fn answer(
    node: Arc<Inner>,
    container: &Container,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return plain(StatusCode::BAD_REQUEST, "this kubelet speaks WebSocket only".to_owned());
    };
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim);
    let offered: Vec<&str> = offered.collect();
    let protocol = if node.closes_input && offered.contains(&V5) { V5 } else { V4 };
    if !offered.contains(&protocol) {
        return plain(StatusCode::BAD_REQUEST, format!("this kubelet speaks {protocol}"));
    }
    let arguments = arguments(request.uri().query().unwrap_or_default());
    let flag =
        |name: &str| arguments.iter().any(|(key, value)| key == name && (value == "1" || value == "true"));
    let words: Vec<String> =
        arguments.iter().filter(|(key, _)| key == "command").map(|(_, word)| word.clone()).collect();
    let mut command = container.beside(&words);
    command.stdin(if flag("input") { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        tokio::select! {
            () = node.cut.notified() => {}
            () = speak(upgrade, command) => {}
        }
    });
    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept =
        HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is a header's value");
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    response
}

/// Runs the command between the channels. Where the connection ends first, the command's pipes close.
async fn speak(upgrade: OnUpgrade, mut command: Command) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket: Socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (sink, source) = socket.split();
    let (messages, waiting) = mpsc::channel(WAITING_MAX);
    let sending = send_all(sink, waiting);
    let running = async move {
        // An empty message on the first channel that can be written says that the connection stands.
        let _ = messages.send(vec![STDOUT]).await;
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ =
                    messages.send(framed(ERROR, failure(&error.to_string()).to_string().as_bytes())).await;
                return;
            }
        };
        let input = child.stdin.take();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let telling = async move {
            tokio::join!(copy(out, STDOUT, &messages), copy(err, STDERR, &messages));
            if let Ok(status) = child.wait().await {
                let _ = messages.send(framed(ERROR, ended(status).to_string().as_bytes())).await;
            }
        };
        // One future, so that a cut drops both halves of the socket. The client closes when it has heard the end.
        tokio::join!(feed(source, input), telling);
    };
    tokio::join!(sending, running);
}

async fn send_all(mut sink: SplitSink<Socket, Message>, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = waiting.recv().await {
        if sink.send(Message::Binary(message.into())).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

/// Hands what comes on channel 0 to the command, until the client goes.
async fn feed(mut source: SplitStream<Socket>, mut input: Option<ChildStdin>) {
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(bytes) = message else { continue };
        if bytes.as_ref() == [CLOSE, STDIN] {
            input = None;
        } else if let (Some((&STDIN, rest)), Some(stdin)) = (bytes.split_first(), input.as_mut())
            && stdin.write_all(rest).await.is_err()
        {
            input = None;
        }
    }
}

async fn copy(from: Option<impl AsyncRead + Unpin>, channel: u8, messages: &mpsc::Sender<Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        if messages.send(framed(channel, &piece[..len])).await.is_err() {
            return;
        }
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    message
}

fn ended(status: ExitStatus) -> Json {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(255);
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

fn failure(said: &str) -> Json {
    json!({ "metadata": {}, "status": "Failure", "reason": "InternalError", "message": said, "code": 500 })
}
