//! KanX, Kanister's way to run processes in a container that is there already: a server beside them, and
//! clients that start, list, signal and follow them over a Unix socket.
//!
//! [`Processes`] runs them and keeps what they print in temporary files, [`serve`] offers them over gRPC,
//! [`Client`] asks such a server, Kanister's as well as ours.
//!
//! **What is absent on purpose:** arguments, environment, standard streams and exit codes, which are the door's;
//! TLS, which KanX has not: whoever may write to the socket may run programs.

mod client;
mod kept;
mod process;
mod processes;
mod server;
mod signal;

/// What goes over the wire, made from `proto/kanx.proto`.
mod wire {
    #![allow(missing_docs, clippy::all, reason = "generated")]
    tonic::include_proto!("kanx");
}

pub use client::{Client, Error};
pub use processes::{Event, Listener, Processes};
pub use server::{bind, serve};
pub use signal::number as signal_number;
pub use wire::{Process, ProcessState};

/// One of the two streams that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
