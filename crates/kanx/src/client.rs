//! The client: calls to a server, ours or Kanister's.

use crate::wire::process_service_client::ProcessServiceClient;
use crate::{Stream, wire};
use std::error::Error as _;
use std::path::Path;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long it may take to connect, in seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer that does not wait for a process may take, in seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a server is asked for a sign of life while a process prints nothing, in seconds. Go's gRPC, and so
/// Kanister's server, hangs up on those who ask more often than every five minutes.
const ALIVE_INTERVAL: Duration = Duration::from_secs(330);
/// How long the sign of life may take, in seconds.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {why}")]
pub struct Error {
    doing: String,
    why: String,
    code: Code,
}

impl Error {
    fn new(doing: &str, status: &Status) -> Error {
        let mut why = status.message().to_owned();
        let mut source = status.source();
        while let Some(error) = source {
            why = format!("{why}: {error}");
            source = error.source();
        }
        Error { doing: doing.to_owned(), why, code: status.code() }
    }

    /// The number gRPC has for this kind of failure.
    pub fn code(&self) -> i32 {
        self.code.into()
    }
}

/// A connection to a server.
#[derive(Clone)]
pub struct Client(ProcessServiceClient<Channel>);

impl Client {
    /// Connects with the server at a Unix socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: &Path) -> Result<Client, Error> {
        let doing = format!("reach the process server at {}", address.display());
        let failed = |why: String| Error { doing: doing.clone(), why, code: Code::Unavailable };
        let name = address.to_str().ok_or_else(|| failed("the address is no UTF-8".to_owned()))?;
        // Asked for directly, because what tonic makes of the answer does not say what was wrong.
        let listens = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::UnixStream::connect(address)).await;
        match listens {
            Err(_) => return Err(failed("it does not answer".to_owned())),
            Ok(Err(e)) => return Err(failed(e.to_string())),
            Ok(Ok(_)) => {}
        }
        let endpoint = Endpoint::from_shared(format!("unix:{name}"))
            .map_err(|e| failed(e.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(ALIVE_INTERVAL)
            .keep_alive_timeout(ALIVE_TIMEOUT);
        let channel = endpoint.connect().await.map_err(|e| failed(e.to_string()))?;
        Ok(Client(ProcessServiceClient::new(channel)))
    }

    /// Starts a program on the server.
    ///
    /// # Errors
    /// It cannot be started, or the server does not answer.
    pub async fn create(&mut self, program: &str, arguments: &[String]) -> Result<wire::Process, Error> {
        let request = wire::CreateProcessRequest { name: program.to_owned(), args: arguments.to_vec() };
        answer("start a process", self.0.create_process(request)).await
    }

    /// What is known of a process.
    ///
    /// # Errors
    /// There is none of this number, or the server does not answer.
    pub async fn get(&mut self, pid: i64) -> Result<wire::Process, Error> {
        answer("ask for a process", self.0.get_process(wire::ProcessPidRequest { pid })).await
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// It cannot be sent, or the server does not answer.
    pub async fn signal(&mut self, pid: i64, signal: i64) -> Result<wire::Process, Error> {
        answer("signal a process", self.0.signal_process(wire::SignalProcessRequest { pid, signal })).await
    }

    /// Hands each process to `each`, for as long as it returns `Ok`.
    ///
    /// # Errors
    /// The server does not answer, or what `each` returns.
    pub async fn list<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(wire::Process) -> Result<(), E>,
    ) -> Result<(), E> {
        let doing = "list the processes";
        let mut listed = answer(doing, self.0.list_processes(wire::ListProcessesRequest {})).await?;
        while let Some(process) = in_time(doing, listed.message()).await? {
            each(process)?;
        }
        Ok(())
    }

    /// Hands what a process prints to `each`, from the beginning to the end of the process, however long that is,
    /// for as long as it returns `Ok`.
    ///
    /// # Errors
    /// The server is gone, or what `each` returns.
    pub async fn follow<E: From<Error>>(
        &mut self,
        pid: i64,
        stream: Stream,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |status: Status| Error::new("read what a process prints", &status);
        let request = wire::ProcessPidRequest { pid };
        // Kanister's server answers with the first piece only, which may take long.
        let called = match stream {
            Stream::Stdout => self.0.stdout(request).await,
            Stream::Stderr => self.0.stderr(request).await,
        };
        let mut pieces = called.map_err(failed)?.into_inner();
        while let Some(piece) = pieces.message().await.map_err(failed)? {
            each(&piece.output)?;
        }
        Ok(())
    }
}

async fn answer<T>(
    doing: &str,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Error> {
    in_time(doing, async { call.await.map(tonic::Response::into_inner) }).await
}

async fn in_time<T>(doing: &str, call: impl Future<Output = Result<T, Status>>) -> Result<T, Error> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, call).await;
    let answered = answered.unwrap_or_else(|_| {
        let secs = ANSWER_TIMEOUT.as_secs();
        Err(Status::deadline_exceeded(format!("the server did not answer within {secs} seconds")))
    });
    answered.map_err(|status| Error::new(doing, &status))
}
