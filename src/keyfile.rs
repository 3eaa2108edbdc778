//! Key files: made once, for their owner only, on disk before the repository they open.

use crate::failure::{Exit, Failure};
use cistern_repo::Credential;
use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Writes a credential to a new file of mode 0600 and makes it durable. An existing file is never touched:
/// it may be the only key to something.
pub fn create(path: &Path, credential: &Credential) -> Result<(), Failure> {
    let failed = |e: Error| {
        let exit = if e.kind() == ErrorKind::PermissionDenied { Exit::Denied } else { Exit::Other };
        Failure::new(exit, format!("cannot create the key file {}: {e}", path.display()))
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(failed)?;
    let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::usage(failed(e).message)
            .hint("it may be the key to another repository; choose another name"),
        _ => failed(e),
    })?;
    let written = write_durably(&mut file, credential, folder);
    written.map_err(|e| {
        // Half a key opens nothing, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(e)
    })
}

fn write_durably(file: &mut File, credential: &Credential, folder: &Path) -> Result<(), Error> {
    file.write_all(credential.reveal().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, for their owner only, each durable in the one above.
fn make_folder(folder: &Path) -> Result<(), Error> {
    let absent: Vec<&Path> = folder.ancestors().take_while(|p| !p.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for above in absent.into_iter().filter_map(Path::parent) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        File::open(above)?.sync_all()?;
    }
    Ok(())
}
