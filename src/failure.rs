//! How a command fails: the message, the advice and the exit code of every error, in one place.

use serde::Serialize;
use std::process::ExitCode;

/// What the exit status says, for `cistern help`; docs/exit-codes.md says more.
pub const EXIT_CODES: &str = "\
Exit status:
  0    done
  1    another failure
  2    wrong usage or configuration
  3    stored data is damaged or missing
  4    wrong key or passphrase, or permission denied
  5    no such repository or snapshot
  6    a passing failure: run it again
  7    the disk or bucket is full
  8    the stream or its producer failed, or the dump is incomplete; nothing was stored
  129, 130, 143   ended by SIGHUP, SIGINT, SIGTERM";

/// What to do when gzip cannot be put back.
const WITHOUT_GZIP: &str = "`cistern pull --as=content` gives the stream without gzip";

/// Exit codes; the numbers are an interface and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// 1: anything else.
    Other,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: stored data is damaged or missing.
    Damaged,
    /// 4: wrong key or passphrase, or permission denied.
    Denied,
    /// 5: no such repository or snapshot.
    NotFound,
    /// 6: run it again.
    Temporary,
    /// 7: no room.
    Full,
    /// 8: the stream or its producer failed, or the dump is incomplete.
    Stream,
    /// 128 + n: ended by signal n.
    Signal(u8),
    /// 15 + n: a process server failed with gRPC's status n; `kando process` alone, as Kanister's does.
    Grpc(u8),
    /// n: the process that a server ran ended so, and has said itself why.
    Process(u8),
    /// 0: whoever read our output has seen enough.
    ClosedPipe,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::ClosedPipe => 0,
            Exit::Other => 1,
            Exit::Usage => 2,
            Exit::Damaged => 3,
            Exit::Denied => 4,
            Exit::NotFound => 5,
            Exit::Temporary => 6,
            Exit::Full => 7,
            Exit::Stream => 8,
            Exit::Signal(number) => 128 + number,
            Exit::Grpc(status) => 15 + status,
            Exit::Process(code) => code,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Exit::ClosedPipe => "closed-pipe",
            Exit::Other => "other",
            Exit::Usage => "usage",
            Exit::Damaged => "damaged",
            Exit::Denied => "denied",
            Exit::NotFound => "not-found",
            Exit::Temporary => "temporary",
            Exit::Full => "full",
            Exit::Stream => "stream",
            Exit::Signal(_) => "signal",
            Exit::Grpc(_) => "grpc",
            Exit::Process(_) => "process",
        }
    }
}

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What was being done, to what, and why it failed.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }

    /// A failure of no special kind.
    pub fn other(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Other, message)
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// The end by a signal.
    pub fn signal(number: u8) -> Failure {
        Failure::new(Exit::Signal(number), format!("ended by signal {number}"))
    }

    /// The same with advice.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Reports on standard error, and says what to exit with.
    pub fn report(&self, json: bool) -> ExitCode {
        if !matches!(self.exit, Exit::ClosedPipe | Exit::Process(_)) {
            let text = if json { self.to_json() } else { self.to_string() };
            crate::show::complain(&text);
        }
        ExitCode::from(self.exit.code())
    }

    fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Report<'f> {
            error: Shape<'f>,
        }
        #[derive(Serialize)]
        struct Shape<'f> {
            code: u8,
            kind: &'static str,
            message: &'f str,
            hint: Option<&'f str>,
        }
        let error = Shape {
            code: self.exit.code(),
            kind: self.exit.name(),
            message: &self.message,
            hint: self.hint.as_deref(),
        };
        serde_json::to_string(&Report { error }).expect("texts and a number serialise")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cistern: {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

impl From<cistern_kanx::Error> for Failure {
    fn from(error: cistern_kanx::Error) -> Failure {
        // gRPC has no status above 16.
        Failure::new(Exit::Grpc(u8::try_from(error.code()).unwrap_or(2)), error.to_string())
    }
}

impl From<cistern_repo::Error> for Failure {
    fn from(error: cistern_repo::Error) -> Failure {
        use cistern_repo::ErrorKind as Kind;
        let (exit, hint) = match error.kind {
            Kind::Retry => (Exit::Temporary, Some("run it again; what was stored so far is used")),
            Kind::Damaged => (Exit::Damaged, Some("`cistern verify --level 2` tells how far it goes")),
            Kind::WrongKey => {
                (Exit::Denied, Some("give this repository's key: --key-file, CISTERN_KEY or a passphrase"))
            }
            Kind::Denied => (Exit::Denied, None),
            Kind::NotFound => (Exit::NotFound, None),
            Kind::Full => (Exit::Full, Some("make room, or forget snapshots and `cistern prune`")),
            Kind::Invalid => (Exit::Usage, None),
            Kind::Stream => (Exit::Stream, None),
        };
        Failure { exit, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

impl From<cistern_mover::Error> for Failure {
    fn from(error: cistern_mover::Error) -> Failure {
        use cistern_mover::Error;
        let message = error.to_string();
        let (exit, hint) = match error {
            Error::Repository(error) => return error.into(),
            Error::Store(error) => return error.into(),
            Error::Profile { .. } | Error::Path { .. } | Error::Reference { .. } | Error::Refused { .. } => {
                (Exit::Usage, None)
            }
            Error::Empty { .. } => (Exit::Stream, Some("--allow-empty stores it all the same")),
            Error::Incomplete { .. } => (
                Exit::Stream,
                Some(
                    "look at the dump program's own messages; --accept-partial stores it, marked as truncated",
                ),
            ),
            Error::Stream { .. } => (Exit::Stream, None),
            Error::NotFound { .. } => (Exit::NotFound, None),
            Error::Wrapping { .. } => (Exit::Damaged, Some(WITHOUT_GZIP)),
            Error::Newer { .. } => (Exit::Usage, Some(WITHOUT_GZIP)),
        };
        Failure { exit, message, hint: hint.map(str::to_owned) }
    }
}

impl From<cistern_store::Error> for Failure {
    fn from(error: cistern_store::Error) -> Failure {
        use cistern_store::ErrorKind as Kind;
        let (exit, hint) = match error.kind {
            Kind::NotFound => (Exit::NotFound, None),
            Kind::CutShort | Kind::TooLarge => (Exit::Damaged, None),
            Kind::Exists | Kind::Config => (Exit::Usage, None),
            Kind::Denied => (Exit::Denied, None),
            Kind::Full => (Exit::Full, Some("make room, or forget snapshots and `cistern prune`")),
            Kind::Unavailable => (Exit::Temporary, Some("run it again")),
            Kind::Other => (Exit::Other, None),
        };
        Failure { exit, message: format!("cannot {error}"), hint: hint.map(str::to_owned) }
    }
}
