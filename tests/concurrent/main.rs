//! Pushes, pulls, forgets and prunes at the same time on one store: nothing that was promised is lost.
//!
//! `histories` throws dice for who does what, when, and what goes wrong; a failing history names its
//! seed. `CISTERN_SEEDS=n` runs so many, `CISTERN_SEED=s` runs one again. `scripted` holds the
//! histories that once lost something, step by step.
//!
//! **What is absent on purpose:** other orders of writes than the engine's own; `tests/prune_model` tries
//! those on a model of the protocol.

mod histories;
#[path = "../paper/mod.rs"]
mod paper;
mod scripted;
