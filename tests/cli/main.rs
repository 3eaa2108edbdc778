//! `cistern` as people run it: the built binary, in a home of its own, one module per command.

mod config;
mod home;
mod init;
mod interrupt;
mod key;
mod page;
mod producer;
mod pull;
mod push;
mod terminal;
