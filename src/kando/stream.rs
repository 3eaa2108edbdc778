//! `kando stream push`: what a web server sends, into a repository.
//!
//! Kanister stores it in a kopia repository that was connected before; here the repository is the one
//! `CISTERN_REPOSITORY` names, and the password is its passphrase, unless `CISTERN_…` settings open it.

use super::Verbosity;
use super::location::{report, set_quiet, terms, tidily};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::progress::Meter;
use cistern_mover::{Lenience, Location, StreamPath};
use cistern_repo::Unlock;
use std::io::{Error, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may say nothing.
const STALL: Duration = Duration::from_secs(3600);
/// Pieces that wait to be stored.
const PIECES: usize = 8;

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Get a URL and store what comes
    Push(PushArgs),
}

/// `push`.
#[derive(clap::Args)]
pub struct PushArgs {
    /// URL of the stream
    #[arg(value_name = "HTTP-ENDPOINT")]
    endpoint: String,
    /// Passphrase of the repository; prefer CISTERN_PASSPHRASE_FILE, which no process list shows
    #[arg(long, short, value_name = "PASSWORD")]
    password: Option<String>,
    /// Taken for compatibility; kopia's configuration is not read
    #[arg(long, short, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Directory the stream is stored under; its last part counts
    #[arg(long = "dirPath", short, value_name = "PATH")]
    dir_path: PathBuf,
    /// File the stream is stored as
    #[arg(long = "filePath", short, value_name = "PATH")]
    file_path: String,
}

/// Runs it.
pub fn run(command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    let Command::Push(args) = command;
    tidily(|opened| push(args, verbosity, opened))
}

async fn push(args: PushArgs, verbosity: Verbosity, opened: Arc<OnceLock<Location>>) -> Result<(), Failure> {
    let mut context = Context::of_environment().await?;
    set_quiet(&mut context, verbosity);
    let folder = args.dir_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = StreamPath::new("", &Path::new(&folder).join(&args.file_path).to_string_lossy())?;
    let spare = args.password.map(|password| Unlock::Passphrase(password.into_bytes()));
    let repository = context.repository_with(spare).await?;
    let location = opened.get_or_init(|| Location { plain: None, repository: Some(repository) });
    let meter = Meter::start(&context);
    let body = get(&args.endpoint).await?;
    let taken = location.take_in(&path, body, terms(true, &context), meter.clone()).await?;
    report(&taken.commit(Lenience::default(), None).await?, &meter, &context);
    Ok(())
}

/// Asks for the stream, and hands on what comes.
async fn get(url: &str) -> Result<Body, Failure> {
    cistern_store::install_crypto();
    // A URL may hold a password or token: neither it nor a message that repeats it is shown.
    let failed =
        |e: reqwest::Error| Failure::new(Exit::Stream, format!("cannot get the stream: {}", e.without_url()));
    let client =
        reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(STALL).build().map_err(failed)?;
    let mut response =
        client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let (out, pieces) = sync_channel(PIECES);
    tokio::spawn(async move {
        loop {
            let piece = response.chunk().await;
            let last = !matches!(piece, Ok(Some(_)));
            let piece = piece.map_err(|e| Error::other(e.without_url().to_string()));
            let out = out.clone();
            // The channel blocks while the repository is slower than the server.
            let sent = tokio::task::spawn_blocking(move || out.send(piece)).await;
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    Ok(Body { pieces, current: bytes::Bytes::new(), over: false })
}

type Piece = Result<Option<bytes::Bytes>, Error>;

/// The body of an answer, for readers that block.
struct Body {
    pieces: Receiver<Piece>,
    current: bytes::Bytes,
    over: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() && !self.over {
            match self.pieces.recv() {
                Ok(Ok(Some(piece))) => self.current = piece,
                Ok(Ok(None)) => self.over = true,
                Ok(Err(e)) => return Err(e),
                Err(_) => return Err(Error::other("the transfer ended without its end")),
            }
        }
        let now = self.current.split_to(self.current.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(&now);
        Ok(now.len())
    }
}
