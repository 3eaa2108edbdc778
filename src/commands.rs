//! The commands, one file each: `Args` is what can be typed, `run` does it.

pub mod benchmark;
pub mod completions;
pub mod copy;
pub mod doctor;
pub mod forget;
pub mod hold;
pub mod init;
pub mod key;
pub mod ls;
pub mod man;
pub mod optimize;
pub mod prune;
pub mod pull;
pub mod push;
pub mod repair;
pub mod show;
pub mod stats;
pub mod tag;
pub mod verify;
