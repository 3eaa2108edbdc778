//! One binary; the name it is called by picks the door.
//!
//! Only this crate reads arguments and the environment, prints, and exits. What a command does is done
//! by the engine; here stands what was typed, what it means, and how the outcome is shown.

mod cli;
mod commands;
mod confirm;
mod context;
mod controller;
mod door;
mod failure;
mod kanctl;
mod kando;
mod keyfile;
mod listing;
mod output;
mod producer;
mod profile;
mod progress;
mod report;
mod role;
mod secret;
mod show;
mod signals;
mod stdio;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    door::enter(std::env::args_os().collect())
}
