//! The commands, one file each: `Args` is what can be typed, `run` does it.

pub mod completions;
pub mod init;
pub mod man;
pub mod pull;
pub mod push;
