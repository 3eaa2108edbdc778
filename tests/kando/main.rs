//! The built program as `kando`: flags and output, plain objects, repositories, the pipelines of blueprints.
//!
//! `tests/servers/up` starts the object stores and names them in the environment.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

mod bare;
mod chronicle;
mod flags;
mod memory;
mod pipelines;
mod place;
mod plain;
mod postgres;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../databases/postgres_server.rs"]
mod postgres_server;
mod process;
mod repository;
mod sink;
#[path = "../support/mod.rs"]
mod support;
mod volume;
