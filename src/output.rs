//! Where a pulled stream goes: a file that is replaced at once or not at all, or standard output.

use crate::failure::{Exit, Failure};
use crate::stdio::StreamOut;
use std::fs::{File, Permissions};
use std::io::{Error, Result};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// A place that was opened for writing.
pub enum Output {
    /// Standard output, or a device or pipe that was named.
    Direct(PathBuf),
    /// A temporary file beside the one it will replace; removed if it does not.
    Replacing {
        /// What is written.
        draft: NamedTempFile,
        /// What it replaces.
        target: PathBuf,
    },
}

/// The name that means standard output.
pub const STDOUT: &str = "-";

impl Output {
    /// Opens the place. A new file is for its owner only, as it holds a database; one that is replaced keeps
    /// its mode.
    pub fn open(path: &Path) -> std::result::Result<Output, Failure> {
        if path == Path::new(STDOUT) {
            return Ok(Output::Direct(path.to_owned()));
        }
        let failed = |e: Error| cannot_write(path, &e);
        let there = std::fs::metadata(path);
        if there.as_ref().is_ok_and(|there| !there.is_file()) {
            return Ok(Output::Direct(path.to_owned()));
        }
        // A link stays a link: what it points to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = Builder::new().prefix(".cistern-").suffix(".tmp").tempfile_in(folder).map_err(failed)?;
        if let Ok(there) = there {
            let mode = Permissions::from_mode(there.permissions().mode() & 0o777);
            draft.as_file().set_permissions(mode).map_err(failed)?;
        }
        Ok(Output::Replacing { draft, target })
    }

    /// A writer to it.
    pub fn writer(&self) -> std::result::Result<StreamOut, Failure> {
        let opened = match self {
            Output::Direct(path) if path == Path::new(STDOUT) => StreamOut::stdout(),
            Output::Direct(path) => {
                File::options().write(true).open(path).map(|file| StreamOut::new(file.into()))
            }
            Output::Replacing { draft, .. } => {
                draft.as_file().try_clone().map(|file| StreamOut::new(file.into()))
            }
        };
        opened.map_err(|e| cannot_write(self.path(), &e))
    }

    fn path(&self) -> &Path {
        match self {
            Output::Direct(path) => path,
            Output::Replacing { target, .. } => target,
        }
    }

    /// Everything was written and verified: makes it durable, and puts it where it belongs.
    pub fn keep(self) -> std::result::Result<(), Failure> {
        let Output::Replacing { draft, target } = self else { return Ok(()) };
        let kept = || -> Result<()> {
            draft.as_file().sync_all()?;
            let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = File::open(folder)?;
            draft.persist(&target).map_err(|e| e.error)?;
            folder.sync_all()
        };
        kept().map_err(|e| cannot_write(&target, &e))
    }
}

fn cannot_write(path: &Path, error: &Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Exit::Full,
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Other,
    };
    Failure::new(exit, format!("cannot write {}: {error}", path.display()))
}
