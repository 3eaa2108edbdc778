//! The terminal: whether there is one, and asking for a passphrase without echo.

use crate::failure::{Exit, Failure};
use cistern_store::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{Read as _, Write as _};

/// Longest passphrase that can be typed, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Which standard streams are terminals.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Terminal {
    /// Looks.
    pub fn look() -> Terminal {
        Terminal {
            stdin: isatty(rustix::stdio::stdin()),
            stdout: isatty(rustix::stdio::stdout()),
            stderr: isatty(rustix::stdio::stderr()),
        }
    }
}

/// Turns echo off, and on again when dropped: also when a signal ends the command.
struct EchoOff {
    tty: File,
    before: Termios,
}

impl EchoOff {
    fn new(tty: File) -> rustix::io::Result<EchoOff> {
        let before = tcgetattr(&tty)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&tty, OptionalActions::Flush, &silent)?;
        Ok(EchoOff { tty, before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // The terminal may be gone, and its settings with it.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// Asks for a passphrase on the controlling terminal; `None` where there is none.
pub async fn ask_passphrase(prompt: &str) -> Result<Option<Secret>, Failure> {
    let opened = File::options().read(true).write(true).open("/dev/tty");
    let Ok(mut tty) = opened else { return Ok(None) };
    let failed = |e: std::io::Error| Failure::other(format!("cannot ask for the passphrase: {e}"));
    let kept = tty.try_clone().map_err(failed)?;
    let echo = EchoOff::new(kept).map_err(|e| failed(e.into()))?;
    write!(tty, "{prompt}: ").map_err(failed)?;
    // The guard stays here and the wait goes elsewhere: the guard is dropped even if the wait never ends.
    let typed = tokio::task::spawn_blocking(move || read_line(&mut tty)).await;
    drop(echo);
    let typed = typed.map_err(|e| failed(e.into()))?.map_err(failed)?;
    if typed.reveal().is_empty() {
        return Err(Failure::new(Exit::Denied, "no passphrase was typed"));
    }
    Ok(Some(typed))
}

fn read_line(tty: &mut File) -> std::io::Result<Secret> {
    let mut typed = Vec::with_capacity(PASSPHRASE_BYTES_MAX);
    let mut byte = [0];
    while tty.read(&mut byte)? == 1 && byte[0] != b'\n' {
        if typed.len() == PASSPHRASE_BYTES_MAX {
            return Err(std::io::Error::other(format!("it is longer than {PASSPHRASE_BYTES_MAX} bytes")));
        }
        typed.push(byte[0]);
    }
    String::from_utf8(typed).map(Secret::new).map_err(|_| std::io::Error::other("it is not UTF-8"))
}
