//! Where secrets come from: a file, an environment variable or a command. Never from an argument.

use crate::failure::{Exit, Failure};
use cistern_store::Secret;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Longest secret that is read, in bytes: a service account's key is some 2 KiB.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// How long a command may take to print a secret: a person may have to touch a token for it.
const COMMAND: Duration = Duration::from_secs(120);

/// Where to get a secret. Holds no secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The content of a file, without the newline at its end.
    File(PathBuf),
    /// The value of an environment variable.
    Variable(String),
    /// What a shell command prints, without the newline at its end.
    Command(String),
}

impl SecretSource {
    /// Gets the secret. `what` says what it is for, in messages.
    pub async fn read(&self, what: &str) -> Result<Secret, Failure> {
        let text = match self {
            SecretSource::File(path) => read_file(path),
            SecretSource::Variable(name) => read_variable(name),
            SecretSource::Command(command) => run(command).await,
        };
        let text = text.map_err(|e| self.failure(what, &e))?;
        let end = text.reveal().trim_end_matches(['\n', '\r']).len();
        if end == 0 {
            return Err(self.failure(what, "it is empty"));
        }
        Ok(Secret::new(text.reveal()[..end].to_owned()))
    }

    fn failure(&self, what: &str, why: &str) -> Failure {
        let from = match self {
            SecretSource::File(path) => format!("the file {}", path.display()),
            SecretSource::Variable(name) => format!("the variable {name}"),
            // The command itself may hold what should not be shown.
            SecretSource::Command(_) => "its command".to_owned(),
        };
        Failure::new(Exit::Denied, format!("cannot read the {what} from {from}: {why}"))
    }
}

fn read_file(path: &std::path::Path) -> Result<Secret, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    bounded(text)
}

#[expect(clippy::disallowed_methods, reason = "a secret that the caller says is in the environment")]
fn read_variable(name: &str) -> Result<Secret, String> {
    std::env::var(name).map_err(|e| e.to_string()).and_then(bounded)
}

async fn run(command: &str) -> Result<Secret, String> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("cannot start it: {e}"))?;
    let stdout = child.stdout.take().expect("it was asked for");
    let read = async {
        let mut text = String::new();
        stdout.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).await.map_err(|e| e.to_string())?;
        let secret = bounded(text)?;
        let status = child.wait().await.map_err(|e| e.to_string())?;
        if status.success() { Ok(secret) } else { Err(format!("it ended with {status}")) }
    };
    let waited = tokio::time::timeout(COMMAND, read).await;
    waited.unwrap_or_else(|_| Err(format!("it printed nothing for {} s", COMMAND.as_secs())))
}

fn bounded(text: String) -> Result<Secret, String> {
    let secret = Secret::new(text);
    if secret.reveal().len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(secret)
}
