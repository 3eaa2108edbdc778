//! A world made of paper: stores that fail by seed, dump-like streams, what a repository must hold, and a
//! cluster that follows a script.
//!
//! For tests only. Everything here is decided by a seed or by a script, so a failing history is
//! replayed by its number.
//!
//! **What is absent on purpose:** the repository itself. The model is checked through closures, so
//! this crate can be used by the tests of every crate above the store.

mod chaos;
pub mod cluster;
mod dump;
mod fault;
mod journal;
#[cfg(feature = "kubelet")]
pub mod kubelet;
mod model;
pub mod rds;

pub use chaos::{ChaosStore, LastWrite};
pub use dump::{Dump, DumpReader, Spread};
pub use fault::{Fault, Lag, Rule, Verb};
pub use journal::{Op, Outcome};
pub use model::{Broken, Content, Promises};
