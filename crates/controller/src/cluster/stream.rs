//! Logs and commands: bytes that come for as long as a container goes on.
//!
//! # What a connection can do
//! * It can be cut. Then the readers of a command's output never end, and only its status tells that it is over:
//!   so they are read beside the status.
//! * It can look finished when it was cut. So a command whose status did not come has no [`Exit`].

use super::refusal::Failure;
use cistern_functions::ports::{Exit, Refusal, Sink, Why};
use futures::{AsyncReadExt as _, FutureExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use kube::core::subresource::LogParams;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes in flight of each stream of a command, and of a log.
const BUFFER_BYTES: usize = 64 * 1024;
/// As much of the end of a command's standard error is kept.
const STDERR_BYTES_MAX: usize = 8 * 1024;
/// After a command's end, its output has arrived already; it is read within.
const REST: Duration = Duration::from_secs(10);

/// Hands on a log. When its first byte comes is up to the container: nothing bounds that here.
pub(super) async fn follow_log(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    sink: Sink<'_>,
) -> Result<(), Refusal> {
    let container = (!container.is_empty()).then(|| container.to_owned());
    let params = LogParams { follow: true, container, ..LogParams::default() };
    let log = pods.log_stream(pod, &params).await.map_err(|error| Failure::from(error).of_log())?;
    let mut log = std::pin::pin!(log);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match log.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count]),
            Err(error) => return Err(Refusal::new(Why::Busy, format!("the log was cut: {error}"))),
        }
    }
}

/// How to attach to a command.
pub(super) fn attach(container: &str, with_input: bool) -> AttachParams {
    let params = AttachParams::default()
        .stdin(with_input)
        .max_stdin_buf_size(BUFFER_BYTES)
        .max_stdout_buf_size(BUFFER_BYTES)
        .max_stderr_buf_size(BUFFER_BYTES);
    if container.is_empty() { params } else { params.container(container) }
}

/// Hands on a command's output until its end; `None` where its status did not come.
pub(super) async fn carry(mut process: AttachedProcess, input: &[u8], sink: Sink<'_>) -> Option<Exit> {
    let mut stdout = Pipe::new(process.stdout().expect("attach asks for it"));
    let mut stderr = Pipe::new(process.stderr().expect("attach asks for it"));
    let stdin = process.stdin();
    let mut status = process.take_status().expect("it is taken once");
    let mut complaints = Tail::default();
    // Never closed: where the protocol has no word for that, closing it would end the connection.
    let mut feed = std::pin::pin!(async {
        if let Some(mut stdin) = stdin {
            // A command that does not read it to its end says by its status whether that is well.
            let _ = stdin.write_all(input).await;
            std::future::pending::<()>().await;
        }
        std::future::pending::<()>().await;
    });
    let status = loop {
        tokio::select! {
            status = &mut status => break status,
            bytes = stdout.next() => sink(bytes),
            bytes = stderr.next() => complaints.push(bytes),
            () = &mut feed => {}
        }
    };
    if status.is_some() {
        // Both pipes hold what came before the status, and an end.
        let rest = async {
            while stdout.open {
                sink(stdout.next().await);
            }
            while stderr.open {
                complaints.push(stderr.next().await);
            }
        };
        let _ = timeout(REST, rest).await;
    } else {
        // They hold what came before the cut, and no end.
        while let Some(bytes) = stdout.next().now_or_never().filter(|bytes| !bytes.is_empty()) {
            sink(bytes);
        }
    }
    status.map(|status| exit(status, complaints.text()))
}

/// One stream of a command's output.
struct Pipe<R> {
    reader: R,
    buffer: Vec<u8>,
    open: bool,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(reader: R) -> Pipe<R> {
        Pipe { reader, buffer: vec![0; BUFFER_BYTES], open: true }
    }

    /// The next bytes; none at its end, once. After that nothing comes.
    async fn next(&mut self) -> &[u8] {
        if !self.open {
            std::future::pending::<()>().await;
        }
        let count = self.reader.read(&mut self.buffer).await.unwrap_or(0);
        self.open = count > 0;
        &self.buffer[..count]
    }
}

/// The end of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.drain(..self.0.len().saturating_sub(STDERR_BYTES_MAX));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

fn exit(status: Status, stderr: String) -> Exit {
    let message = status.message.unwrap_or_default();
    if status.status.as_deref() == Some("Success") {
        return Exit { code: Some(0), message, stderr };
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let mut codes = causes.iter().filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.next().and_then(|cause| cause.message.as_deref()?.parse().ok());
    Exit { code, message, stderr }
}
