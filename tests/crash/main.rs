//! A process dies after its n-th write or delete, for every n: nothing is lost, nothing is half there.
//!
//! Each write is tried as acknowledged, as landed with the reply lost, and as landing when others
//! have gone on. Then a fresh process comes: every snapshot that was promised restores, the push can be
//! run again and finds the chunks of the one that died, a prune leaves nothing behind.
//!
//! **What is absent on purpose:** several processes at once; those are in `tests/concurrent`.

#[path = "../paper/mod.rs"]
mod paper;
mod prune;
mod push;
mod scenario;
