//! Phase outputs: into the channel that a controller gave to this container, and to the log as Kanister has it.

use crate::context::variable;
use crate::failure::Failure;
use crate::show;
use cistern_api::wire::{CHANNEL, CHANNEL_BYTES, MESSAGE_BYTES_MAX, channel_entry, output_line};
use std::fs::File;
use std::io::{Result, Write as _};
use std::path::Path;

/// Whether outputs can have this key: asked before hours of work, not after.
pub fn check_key(key: &str) -> std::result::Result<(), Failure> {
    output_line(key, "").map(drop).map_err(|e| Failure::usage(e.to_string()))
}

/// Puts an output out. That the channel cannot be written to is no failure: the log says the same.
pub fn put_out(key: &str, value: &str) -> std::result::Result<(), Failure> {
    let line = output_line(key, value).map_err(|e| Failure::usage(e.to_string()))?;
    if let Some(path) = variable(CHANNEL) {
        let limit_bytes =
            variable(CHANNEL_BYTES).and_then(|text| text.parse().ok()).unwrap_or(MESSAGE_BYTES_MAX);
        let _ = append(Path::new(&path), &line, key, limit_bytes);
    }
    show::raw(line.as_bytes())
}

/// Appends to the channel, one program at a time. A write that fails leaves it as it was.
fn append(path: &Path, line: &str, key: &str, limit_bytes: u64) -> Result<()> {
    // Never made: where there is no such file nobody reads it.
    let mut file = File::options().append(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    // Let go of with the file.
    file.lock()?;
    let taken_bytes = file.metadata()?.len();
    let entry = channel_entry(line, key, taken_bytes, limit_bytes);
    file.write_all(entry.as_bytes()).inspect_err(|_| drop(file.set_len(taken_bytes)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;
    use cistern_api::wire::Channel;

    #[test]
    fn programs_beside_each_other_lose_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        std::thread::scope(|scope| {
            for i in 0..8 {
                scope.spawn(move || {
                    for j in 0..4 {
                        let key = format!("key_{i}_{j}");
                        append(path, &output_line(&key, "value").unwrap(), &key, 4096).unwrap();
                    }
                });
            }
        });
        let channel = Channel::read(&std::fs::read_to_string(path).unwrap());
        assert!(channel.is_whole());
        assert_eq!(channel.outputs.len(), 32);
    }

    #[test]
    fn a_channel_is_never_made_nor_longer_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("channel");
        assert!(append(&path, "line\n", "key", 4096).is_err() && !path.exists());
        std::fs::write(&path, "x".repeat(90)).unwrap();
        append(&path, &"v".repeat(50), "key", 100).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 90);
        assert!(append(Path::new("/dev/null"), "line\n", "key", 4096).is_ok());
    }
}
