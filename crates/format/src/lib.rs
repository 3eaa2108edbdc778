//! The bytes at rest: pure functions from values to bytes and back.
//!
//! One file per kind of thing: what it is called ([`id`]), how a stream is cut ([`chunk`]) and
//! squeezed ([`codec`]), who may read it ([`keys`], [`slot`]), and how it lies on storage
//! ([`record`], [`pack`], [`segment`], [`recipe`], [`snapshot`], [`sketch`], [`object`], [`config`],
//! all metadata inside one [`envelope`]). `docs/format.md` is the same in prose.
//!
//! **What is absent on purpose:** no `async`, no file, no socket, no clock, no randomness. Nonces,
//! salts and times come in as arguments, so every line here can be fuzzed and golden-tested.

pub mod chunk;
pub mod codec;
pub mod config;
mod damage;
pub mod envelope;
pub mod id;
pub mod kept;
pub mod keys;
pub mod object;
pub mod pack;
pub mod padme;
mod reader;
pub mod recipe;
pub mod record;
pub mod segment;
pub mod sketch;
pub mod slot;
pub mod snapshot;

pub use damage::Damage;

/// Major version of everything written by this crate.
pub const VERSION: u8 = 1;
