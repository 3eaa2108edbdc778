//! `cistern` as people run it: the built binary, in a home of its own, one module per command.

#![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

mod benchmark;
mod config;
mod copy;
mod docs;
mod doctor;
mod forget;
mod home;
mod init;
mod interrupt;
mod key;
mod ls;
mod marks;
mod page;
mod producer;
mod prune;
mod pull;
mod push;
mod refused;
mod roles;
mod slots;
mod stats;
mod terminal;
mod verify;
