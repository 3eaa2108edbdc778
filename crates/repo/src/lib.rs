//! The engine: streams in, snapshots out, and the care of what lies between.
//!
//! A repository is opened once ([`Repository::open`]); [`Repository::begin_push`] and
//! [`Repository::pull`] move streams.
//!
//! **What is absent on purpose:** arguments, environment, standard output, Kubernetes. Progress goes
//! to an [`Observer`]; time and dice come from a [`World`].

mod assemble;
mod bases;
mod blocks;
mod chunks;
mod commit;
mod compact;
mod copy;
mod directories;
mod encode;
mod error;
mod forget;
mod index;
mod ingest;
mod kept;
mod keys;
mod live;
mod objects;
mod observe;
mod optimize;
mod prune;
mod pull;
mod push;
mod rebase;
mod repack;
mod repair;
mod repository;
pub mod retain;
mod snapshots;
mod stats;
mod sweep;
mod trash;
mod unreadable;
mod verify;
mod view;
mod witness;
mod world;

pub use cistern_format::chunk::ChunkSizes;
pub use cistern_format::config::{CHUNK_BYTES_DEFAULT, Config, PACK_BYTES_DEFAULT};
pub use cistern_format::id::{ChunkId, PackId, RepoId, SnapshotId};
pub use cistern_format::keys::{Credential, Role};
pub use cistern_format::object::Mark;
pub use cistern_format::snapshot::{Content, Snapshot, StoredBytes, Wrap};
pub use error::{Error, ErrorKind, Result};
pub use ingest::Source;
pub use keys::{SlotInfo, check_passphrase};
pub use observe::{Counter, Observer, Silent, Sums};
pub use optimize::{OptimizeOptions, OptimizeReport};
pub use prune::{PruneOptions, PruneReport};
pub use pull::Sink;
pub use push::{Facts, Ingested, NAME_BYTES_MAX, Push, PushOptions, Receipt, check_name, printable};
pub use repair::{RepairOptions, RepairReport};
pub use repository::{Repository, Unlock};
pub use snapshots::{SnapshotInfo, select};
pub use stats::{NameStats, Stats};
pub use verify::{Finding, Severity, VerifyOptions, VerifyReport};
pub use world::World;
