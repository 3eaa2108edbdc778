//! The built program against real object stores: nights, outages, wrong credentials, no network.
//!
//! `tests/servers/up` starts the stores and names them in the environment.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

mod nights;
mod outage;
#[path = "../support/mod.rs"]
mod support;
