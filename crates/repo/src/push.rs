//! A push from its beginning to its commit, in three steps that cannot be taken out of order.
//!
//! [`Repository::begin_push`] registers and reads what is there, [`Push::ingest`] stores the chunks,
//! [`Ingested::commit`] makes the snapshot visible. Drop any of them and nothing was published.

use crate::assemble::{Assembled, Assembler, Packer};
use crate::bases::Bases;
use crate::chunks::Chunks;
use crate::commit::Session;
use crate::encode::{Encoding, Known, RecipeSealer};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::ingest::{Pipeline, Source, Uploads};
use crate::kept::Kept;
use crate::observe::{Counter, Observer};
use crate::repository::Repository;
use crate::snapshots::SnapshotInfo;
use crate::view::View;
use cistern_format::chunk::Cutter;
use cistern_format::id::SnapshotId;
use cistern_format::keys::Role;
use cistern_format::sketch::{self, SketchList};
use cistern_format::snapshot::{Content, Snapshot, StoredBytes, Wrap};
use serde::Serialize;
use serde_bytes::ByteArray;
use std::sync::Arc;

/// Longest name of a snapshot, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Pieces of packs kept while bases are read, in bytes.
const BASE_CACHE_BYTES: u64 = 24 << 20;
/// A session older than this does not commit: prunes forget what they know of it in time.
const SESSION_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Streams shorter than this vary by more than half for no reason.
const SHRUNK_BYTES_MIN: u64 = 64 << 10;
/// Predecessors a stream's length is compared with.
const PREDECESSORS: usize = 5;

/// What to push, and as what.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Name of the stream; snapshots of one name are each other's history.
    pub name: String,
    /// Machine it comes from, for listings.
    pub host: String,
    /// Version of the program, for the snapshot.
    pub writer: String,
    /// Tags to set.
    pub tags: Vec<String>,
    /// Whether to make deltas where the credential can read old chunks.
    pub deltas: bool,
}

/// A push that registered.
pub struct Push {
    repo: Repository,
    options: PushOptions,
    session: Arc<Session>,
    index: Arc<Index>,
    series: [u8; 16],
    recent: Vec<SnapshotInfo>,
    /// A trash list nobody can read, because of which nothing stored is relied on.
    unread_trash: Option<String>,
}

/// A push whose chunks are all stored, and which nobody can see yet.
pub struct Ingested {
    push: Push,
    assembled: Assembled,
    deltas: String,
}

/// What the caller found out about the stream.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it was, and whether it was whole.
    pub content: Content,
    /// How it was wrapped when it arrived.
    pub wrap: Option<Wrap>,
    /// Program that made it, when the caller ran it.
    pub producer: Option<String>,
    /// A reason not to trust it, beyond those found here.
    pub suspect: Option<String>,
    /// Set for copies: id and commit time of the original.
    pub copied_from: Option<(SnapshotId, u64)>,
}

/// Proof of a commit.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// Id of the snapshot.
    pub id: SnapshotId,
    /// BLAKE3 of the stored snapshot object; keep it to notice a store that shows an old state.
    #[serde(with = "hex::serde")]
    pub receipt: [u8; 32],
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl Repository {
    /// Registers a push and reads what is there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name nobody could type again, [`ErrorKind::Denied`] for a
    /// credential that cannot push.
    pub async fn begin_push(&self, options: PushOptions) -> Result<Push> {
        let doing = format!("push `{}`", printable(&options.name));
        check_name(&options.name).map_err(|why| Error::new(ErrorKind::Invalid, doing.clone(), why))?;
        self.require(Role::Push, &doing)?;
        let objects = &self.objects;
        let session = Session::register(objects, "push", &options.host).await?;
        let view = objects.view().await?;
        let unread_trash = view.unread_trash.clone();
        let (index, adopted) = self.adopt_orphans(view).await?;
        session.adopt(adopted);
        let recent = objects.recent(&options.name, PREDECESSORS).await?;
        let series = sketch::series(&objects.keys, &options.name);
        let (session, index) = (Arc::new(session), Arc::new(index));
        Ok(Push { repo: self.clone(), options, session, index, series, recent, unread_trash })
    }

    /// Brings packs no index names into the index: what a killed push left is used by the next.
    async fn adopt_orphans(&self, view: View) -> Result<(Index, Vec<cistern_format::segment::IndexedPack>)> {
        if view.orphans.is_empty() {
            return Ok((view.index, vec![]));
        }
        let adopted = self.adoptable(&view).await;
        // The index that was read, and the adopted packs, are one index from here on.
        let index = view.index.with(&adopted);
        Ok((index, adopted))
    }
}

impl Push {
    /// The newest earlier snapshot of this name, for estimates.
    pub fn previous(&self) -> Option<&SnapshotInfo> {
        self.recent.first()
    }

    /// Runs the stream through the pipeline and stores every chunk that is not there yet.
    ///
    /// # Errors
    /// Whatever failed first. Nothing is published; chunks that were stored are used by the next push.
    pub async fn ingest(self, source: Source, watch: Arc<dyn Observer>) -> Result<Ingested> {
        let objects = &self.repo.objects;
        let (keys, world) = (objects.keys.clone(), objects.world.clone());
        if let Some(list) = &self.unread_trash {
            watch.note(&format!(
                "{list} is damaged, so nothing that is stored counts and all is stored anew: run `cistern repair`"
            ));
        }
        watch
            .count(Counter::ExpectedBytes, self.previous().map_or(0, |previous| previous.snapshot.raw_bytes));
        let (bases, deltas) = self.bases().await?;
        let data_key = keys.new_data_key(self.session.id(), world.random()).expect("required when it began");
        if let Some(kept) = self.repo.kept.as_ref().filter(|_| self.options.deltas && !keys.can_read()) {
            kept.keep(objects, &data_key).await?;
        }
        let encoding = Arc::new(Encoding::new(
            &keys,
            &data_key,
            Known::new(self.index.clone()),
            bases,
            self.options.deltas,
            self.repo.config.level,
            world.clone(),
        ));
        let packer = Packer::new(self.session.id(), self.repo.config.pack_bytes, keys.clone(), world.clone());
        let recipe_sealer = RecipeSealer::new(keys.clone(), self.index.clone(), world.clone());
        let gear = keys.gear().expect("required when it began");
        let pipeline = Pipeline {
            source,
            cutter: Cutter::new(self.repo.config.chunk_sizes, &gear.0),
            encoding: encoding.clone(),
            assembler: Assembler::new(encoding, packer, recipe_sealer, watch.clone()),
            uploads: Uploads::new(self.session.clone(), watch),
        };
        let assembled = pipeline.run(world.threads()).await?;
        Ok(Ingested { push: self, assembled, deltas })
    }

    /// The base finder, or why there is none.
    async fn bases(&self) -> Result<(Option<Arc<Bases>>, String)> {
        let keys = self.repo.keys();
        if !self.options.deltas {
            return Ok((None, "off".to_owned()));
        }
        let objects = &self.repo.objects;
        let kept = match &self.repo.kept {
            Some(kept) if !keys.can_read() => kept.load(objects).await?,
            _ => Kept::default(),
        };
        if !keys.can_read() && self.repo.kept.is_none() {
            let why = format!(
                "none: a credential of role {} cannot read old chunks (`cistern optimize` makes deltas later)",
                keys.role()
            );
            return Ok((None, why));
        }
        let chunks = Chunks::new(objects.clone(), self.index.clone(), BASE_CACHE_BYTES).with_kept(kept);
        let chunks = Arc::new(chunks);
        let bases = Bases::load(objects, chunks, self.series, self.sequence()).await?;
        if bases.is_empty() {
            return Ok((None, "none: no earlier chunks to compare with".to_owned()));
        }
        let way = match keys.can_read() {
            true => "against earlier chunks, read at push",
            false => "against chunks this machine pushed earlier, whose keys it keeps",
        };
        Ok((Some(Arc::new(bases)), way.to_owned()))
    }

    fn sequence(&self) -> u64 {
        self.recent.first().map_or(0, |r| r.snapshot.sequence.saturating_add(1))
    }
}

impl Ingested {
    /// Length of the stream in bytes.
    pub fn raw_bytes(&self) -> u64 {
        self.assembled.raw_bytes
    }

    /// Where its bytes went.
    pub fn stored(&self) -> &StoredBytes {
        &self.assembled.stored
    }

    /// Writes the rest of the index and commits.
    ///
    /// A stream much smaller than its predecessors is committed, and marked as suspect.
    pub async fn commit(self, facts: Facts) -> Result<Receipt> {
        let Ingested { push, assembled, deltas } = self;
        let now_ms = push.repo.world().now_ms();
        let doing = || format!("commit `{}`", printable(&push.options.name));
        if now_ms.saturating_sub(push.session.started_ms()) > SESSION_MS_MAX {
            let why = "it has been under way for more than seven days; run it again";
            return Err(Error::new(ErrorKind::Retry, doing(), why));
        }
        let suspect = facts.suspect.or_else(|| shrunk(assembled.raw_bytes, &push.recent));
        let list =
            SketchList { series: push.series, sequence: push.sequence(), sketches: assembled.sketches };
        let sequence = push.sequence();
        let previous = push.recent.first().map(|r| (r.id, ByteArray::new(r.receipt)));
        let snapshot = Snapshot {
            name: push.options.name,
            started_ms: push.session.started_ms(),
            finished_ms: now_ms,
            host: push.options.host,
            writer: push.options.writer,
            sequence,
            previous,
            recipe: assembled.recipe,
            chunk_sizes: push.repo.config.chunk_sizes,
            raw_bytes: assembled.raw_bytes,
            digest: ByteArray::new(assembled.digest),
            stored: assembled.stored,
            content: facts.content,
            wrap: facts.wrap,
            tags: push.options.tags,
            producer: facts.producer,
            deltas,
            suspect,
            copied_from: facts.copied_from,
        };
        push.session.write_index().await?;
        push.session.write_sketches(&list).await?;
        let (id, receipt) = push.session.publish(&snapshot).await?;
        Ok(Receipt { id, receipt, snapshot })
    }
}

/// Why a stream is suspiciously short beside the good ones before it, if it is.
fn shrunk(raw_bytes: u64, recent: &[SnapshotInfo]) -> Option<String> {
    let mut lengths: Vec<u64> = recent.iter().filter(|r| r.is_good()).map(|r| r.snapshot.raw_bytes).collect();
    lengths.sort_unstable();
    let median = *lengths.get(lengths.len() / 2)?;
    let shrunk = median >= SHRUNK_BYTES_MIN && raw_bytes < median / 2;
    shrunk.then(|| format!("{raw_bytes} bytes, where its predecessors had about {median}"))
}

/// Refuses names nobody could type, or that would play tricks with a terminal.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("a name must not be empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name has at most {NAME_BYTES_MAX} bytes, this one has {}", name.len()));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Err("a name must not hold control characters, or begin or end with blanks".to_owned());
    }
    Ok(())
}

/// A name as it can be shown: control characters escaped, cut to a line.
pub fn printable(name: &str) -> String {
    name.chars()
        .take(200)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}
