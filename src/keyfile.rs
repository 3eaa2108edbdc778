//! Key files: made once, for their owner only, on disk before the repository they open.

use crate::failure::{Exit, Failure};
use cistern_repo::Credential;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Writes a credential to a new file of mode 0600 and makes it durable. An existing file is never touched:
/// it may be the only key to something.
pub fn create(path: &Path, credential: &Credential) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        let exit = if e.kind() == std::io::ErrorKind::PermissionDenied { Exit::Denied } else { Exit::Other };
        let message = format!("cannot create the key file {}: {e}", path.display());
        if e.kind() == std::io::ErrorKind::AlreadyExists {
            return Failure::usage(message)
                .hint("it may be the key to another repository; choose another name");
        }
        Failure::new(exit, message)
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = write_durably(&mut file, credential, folder);
    written.map_err(|e| {
        // Half a key opens nothing, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(e)
    })
}

fn write_durably(file: &mut File, credential: &Credential, folder: &Path) -> std::io::Result<()> {
    file.write_all(credential.reveal().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}
