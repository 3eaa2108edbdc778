//! The server: its socket, and what each call of a client does.
//!
//! Clients of Go and C send the path of the socket as `:authority`, which hyper's h2 takes for malformed where
//! there is a slash in it, plain or as `%2F`. They reach this server by an address without one.

use crate::kept::Reading;
use crate::process::Process;
use crate::processes::Processes;
use crate::wire::process_service_server::{ProcessService, ProcessServiceServer};
use crate::{Stream, wire};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tonic::{Request, Response, Status};

/// How long a process may take to end once the server is told to stop, in seconds; the same again once it is
/// killed, and the same again for clients to read the rest.
const GRACE: Duration = Duration::from_secs(10);
/// For so long clients are still answered when all processes have been stopped.
const LAST_CALLS: Duration = Duration::from_millis(300);
/// Wait after a connection that could not be accepted: there may be no room for another file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket. Whoever may write to it may run programs; who that is, the umask says, as for Kanister.
///
/// # Errors
/// A server listens there, or there is something else; a socket that nobody listens to is replaced.
pub async fn bind(address: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(address) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_left_over(address).await => {
            std::fs::remove_file(address)?;
            UnixListener::bind(address)
        }
        bound => bound,
    }
}

/// A socket whose server is gone, killed perhaps.
async fn is_left_over(address: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let socket = std::fs::symlink_metadata(address).is_ok_and(|found| found.file_type().is_socket());
    let refused = UnixStream::connect(address).await;
    socket && refused.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

/// Serves until `stop`; then the processes are ended, and clients get the rest of what they printed.
///
/// # Errors
/// The transport broke down.
pub async fn serve(
    listener: UnixListener,
    processes: Processes,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let processes = Arc::new(processes);
    let incoming = futures::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        if accepted.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        Some((accepted, listener))
    });
    let stopped = tokio::sync::Notify::new();
    let stopping = async {
        stop.await;
        processes.stop(GRACE).await;
        // Who follows a process may still ask for its other stream, and how it ended.
        tokio::time::sleep(LAST_CALLS).await;
        stopped.notify_one();
    };
    let service = ProcessServiceServer::new(Service(processes.clone()));
    let serving =
        tonic::transport::Server::builder().serve_with_incoming_shutdown(service, incoming, stopping);
    tokio::select! {
        served = serving => served,
        // A client that does not read must not hold the server up.
        () = async { stopped.notified().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

struct Service(Arc<Processes>);

/// What is told of a failure. Kanister's server has one status for all, so clients know what they exit with.
fn failed(doing: &str, error: &io::Error) -> Status {
    Status::unknown(format!("cannot {doing}: {error}"))
}

impl Service {
    fn find(&self, pid: i64) -> Result<Process, Status> {
        self.0.find(pid).ok_or_else(|| Status::unknown(format!("Process not found: {pid}")))
    }

    async fn follow(&self, pid: i64, stream: Stream) -> Result<Response<Outputs>, Status> {
        let process = self.find(pid)?;
        let reading = process.kept(stream).read().await;
        let reading = reading.map_err(|e| failed("read what it printed", &e))?;
        let pieces = futures::stream::try_unfold((process, reading), |(process, reading)| async move {
            Ok(piece(&process, reading).await?.map(|(output, reading)| (output, (process, reading))))
        });
        Ok(Response::new(pieces.boxed()))
    }
}

/// The next piece of what a process prints. There is none once it ended, so that whoever has read all may ask
/// how it ended.
async fn piece(process: &Process, mut reading: Reading) -> Result<Option<(wire::Output, Reading)>, Status> {
    let next = reading.next().await.map_err(|e| failed("read what it printed", &e))?;
    let Some(output) = next else {
        process.ended().await;
        return Ok(None);
    };
    Ok(Some((wire::Output { output: output.into() }, reading)))
}

type Outputs = BoxStream<'static, Result<wire::Output, Status>>;

#[tonic::async_trait]
impl ProcessService for Service {
    type ListProcessesStream = BoxStream<'static, Result<wire::Process, Status>>;
    type StdoutStream = Outputs;
    type StderrStream = Outputs;

    async fn create_process(
        &self,
        request: Request<wire::CreateProcessRequest>,
    ) -> Result<Response<wire::Process>, Status> {
        let wire::CreateProcessRequest { name, args } = request.into_inner();
        let started = self.0.start(&name, &args);
        let process = started.map_err(|e| failed(&format!("start `{}`", name.escape_debug()), &e))?;
        Ok(Response::new(process.describe()))
    }

    async fn get_process(
        &self,
        request: Request<wire::ProcessPidRequest>,
    ) -> Result<Response<wire::Process>, Status> {
        Ok(Response::new(self.find(request.into_inner().pid)?.describe()))
    }

    async fn list_processes(
        &self,
        _: Request<wire::ListProcessesRequest>,
    ) -> Result<Response<Self::ListProcessesStream>, Status> {
        let all = self.0.all().into_iter().map(|process| Ok(process.describe()));
        Ok(Response::new(futures::stream::iter(all).boxed()))
    }

    async fn signal_process(
        &self,
        request: Request<wire::SignalProcessRequest>,
    ) -> Result<Response<wire::Process>, Status> {
        let wire::SignalProcessRequest { pid, signal } = request.into_inner();
        let process = self.find(pid)?;
        // A number that is no i32 is no signal either.
        let sent = process.signal(i32::try_from(signal).unwrap_or(-1)).await;
        sent.map_err(|e| failed(&format!("send signal {signal} to process {pid}"), &e))?;
        Ok(Response::new(process.describe()))
    }

    async fn stdout(&self, request: Request<wire::ProcessPidRequest>) -> Result<Response<Outputs>, Status> {
        self.follow(request.into_inner().pid, Stream::Stdout).await
    }

    async fn stderr(&self, request: Request<wire::ProcessPidRequest>) -> Result<Response<Outputs>, Status> {
        self.follow(request.into_inner().pid, Stream::Stderr).await
    }
}
