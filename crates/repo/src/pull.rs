//! A snapshot out: fetch ahead, check every chunk against its name, write in order.

use crate::chunks::{Chunks, Opener};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::observe::{Counter, Observer};
use crate::repository::Repository;
use crate::snapshots::SnapshotInfo;
use cistern_format::chunk::CHUNK_BYTES_MAX;
use cistern_format::id::PackId;
use cistern_format::recipe::{self, Node};
use cistern_format::snapshot::Snapshot;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use std::io::Write;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell, mpsc};

/// Plain bytes handled as one unit of work.
const UNIT_BYTES: u64 = 4 << 20;
/// Chunks handled as one unit of work at most, however short they are.
const UNIT_CHUNKS: usize = 2048;
/// Units whose records are being fetched.
const FETCHES: usize = 6;
/// Units waiting to be written.
const WRITES: usize = 2;
/// Pieces of packs kept, in bytes.
const CACHE_BYTES: u64 = 24 << 20;
/// Buffers kept for the next chunks, in bytes: those of the units between the CPU threads and the writer.
const SPARE_BYTES: usize = 12 << 20;

/// Where a stream goes.
pub type Sink = Box<dyn Write + Send>;

/// Reads chunks; if a prune moved some meanwhile, looks once where they are now.
struct Source {
    repo: Repository,
    chunks: Mutex<(Arc<Chunks>, bool)>,
    /// By the packs' own directories: the last resort, should the index lie.
    by_packs: OnceCell<Arc<Chunks>>,
}

type Unit = Vec<Node>;

/// Buffers that were written out, for the chunks to come: memory that is new to the process is slow.
#[derive(Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    held_bytes: usize,
    openers: Vec<Opener>,
}

impl Spare {
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.held_bytes -= buffer.capacity();
        buffer
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if self.held_bytes + buffer.capacity() <= SPARE_BYTES {
            self.held_bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

type Spares = Arc<std::sync::Mutex<Spare>>;

fn lock(spares: &Spares) -> std::sync::MutexGuard<'_, Spare> {
    spares.lock().expect("no code panics while holding the spare buffers")
}

impl Repository {
    /// Writes a snapshot's stream to `sink` and returns the sink.
    ///
    /// Every chunk is checked before it is written, the whole-stream digest at the end.
    ///
    /// # Errors
    /// Nothing unverified was written, but what was written may be the beginning only: whoever reads
    /// the other end must look at the exit status.
    pub async fn pull(&self, snapshot: &SnapshotInfo, sink: Sink, watch: Arc<dyn Observer>) -> Result<Sink> {
        let doing = format!("pull `{}` {}", crate::push::printable(&snapshot.snapshot.name), snapshot.id);
        if !self.keys().can_read() {
            let why =
                format!("it takes a credential of role pull, this one is of role {}", self.keys().role());
            return Err(Error::new(ErrorKind::Denied, doing, why));
        }
        watch.count(Counter::ExpectedBytes, snapshot.snapshot.raw_bytes);
        let source = Arc::new(Source::open(self).await?);
        let units = units(nodes(source.clone(), &snapshot.snapshot));
        let threads = self.world().threads();
        let spares = Spares::default();
        let expanded = units
            .map_ok(|unit| fetch(source.clone(), unit))
            .try_buffered(FETCHES)
            .map_ok(|fetched| expand(source.clone(), fetched, spares.clone(), threads))
            .try_buffered(threads + 1);
        futures::pin_mut!(expanded);
        let spares = spares.clone();
        let mut output = Output { sink, digest: blake3::Hasher::new(), len: 0, spares, watch };
        let mut left_bytes = snapshot.snapshot.raw_bytes;
        let mut within = |unit: &[Vec<u8>]| {
            let len = unit.iter().map(|raw| raw.len() as u64).sum();
            // Recipes are shared trees: a small one that lies can describe a stream without end.
            left_bytes = left_bytes.checked_sub(len).ok_or_else(|| {
                let why = "its recipe goes on beyond the length of the stream";
                Error::new(ErrorKind::Damaged, doing.clone(), why)
            })?;
            Ok(())
        };
        let (sink, digest, len) = if threads == 0 {
            while let Some(unit) = expanded.try_next().await? {
                within(&unit)?;
                output.write(unit)?;
            }
            output.finish()?
        } else {
            let (out, writer) = write_thread(output);
            while let Some(unit) = expanded.try_next().await? {
                within(&unit)?;
                if out.send(unit).await.is_err() {
                    break;
                }
            }
            drop(out);
            writer.await.map_err(|e| Error::new(ErrorKind::Stream, doing.clone(), e))??
        };
        if digest != *snapshot.snapshot.digest || len != snapshot.snapshot.raw_bytes {
            let why = "the stream as a whole does not match its digest, though every chunk does";
            return Err(Error::new(ErrorKind::Damaged, doing, why));
        }
        Ok(sink)
    }
}

type Written = Result<(Sink, [u8; 32], u64)>;

/// What was written so far, and where to.
struct Output {
    sink: Sink,
    digest: blake3::Hasher,
    len: u64,
    spares: Spares,
    watch: Arc<dyn Observer>,
}

impl Output {
    fn write(&mut self, unit: Vec<Vec<u8>>) -> Result<()> {
        for raw in unit {
            self.digest.update(&raw);
            self.sink.write_all(&raw).map_err(unwritable)?;
            self.len += raw.len() as u64;
            self.watch.count(Counter::WrittenBytes, raw.len() as u64);
            lock(&self.spares).give(raw);
        }
        Ok(())
    }

    fn finish(mut self) -> Written {
        self.sink.flush().map_err(unwritable)?;
        Ok((self.sink, *self.digest.finalize().as_bytes(), self.len))
    }
}

fn unwritable(error: std::io::Error) -> Error {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::Full } else { ErrorKind::Stream };
    Error::new(kind, "write the stream", error)
}

/// Writes and digests on a thread of its own, so that a slow reader holds up nothing else.
fn write_thread(mut output: Output) -> (mpsc::Sender<Vec<Vec<u8>>>, tokio::task::JoinHandle<Written>) {
    let (out, mut units) = mpsc::channel::<Vec<Vec<u8>>>(WRITES);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(unit) = units.blocking_recv() {
            output.write(unit)?;
        }
        output.finish()
    });
    (out, writer)
}

/// The data chunks of a snapshot in order; pieces of the recipe are read as they are needed.
fn nodes(source: Arc<Source>, snapshot: &Snapshot) -> BoxStream<'static, Result<Node>> {
    let root = snapshot.recipe.clone();
    let mut level: BoxStream<'static, Result<Node>> =
        futures::stream::iter(root.nodes.into_iter().map(Ok)).boxed();
    for below in (0..root.depth).rev() {
        let source = source.clone();
        level = level
            .map_ok(move |node| {
                let source = source.clone();
                async move {
                    let piece = source.get(&node).await?;
                    let nodes = recipe::decode(below, &piece)
                        .map_err(|d| Error::damage(format!("read recipe {:?}", node.id), d))?;
                    Ok(futures::stream::iter(nodes.into_iter().map(Ok)))
                }
            })
            .try_buffered(2)
            .try_flatten()
            .boxed();
    }
    level
}

/// Groups nodes into units of work.
fn units(nodes: BoxStream<'static, Result<Node>>) -> impl futures::Stream<Item = Result<Unit>> {
    futures::stream::try_unfold((nodes, None), |(mut nodes, held): (_, Option<Node>)| async move {
        let mut unit: Unit = held.into_iter().collect();
        let mut len: u64 = unit.iter().map(|n| n.len).sum();
        while let Some(node) = nodes.try_next().await? {
            if !(1..=u64::from(CHUNK_BYTES_MAX)).contains(&node.len) {
                let why = format!("the recipe says it has {} bytes, which no chunk has", node.len);
                return Err(Error::new(ErrorKind::Damaged, format!("read {:?}", node.id), why));
            }
            if !unit.is_empty() && (len + node.len > UNIT_BYTES || unit.len() == UNIT_CHUNKS) {
                return Ok(Some((unit, (nodes, Some(node)))));
            }
            len += node.len;
            unit.push(node);
        }
        Ok(if unit.is_empty() { None } else { Some((unit, (nodes, None))) })
    })
}

/// A unit whose records are here; a chunk whose record could not be fetched is looked for again.
type Fetched = Vec<(Node, Result<crate::chunks::Sealed>)>;

async fn fetch(source: Arc<Source>, unit: Unit) -> Result<Fetched> {
    let chunks = source.chunks().await;
    let fetches = unit.into_iter().map(|node| {
        let chunks = chunks.clone();
        async move {
            let sealed = match chunks.index().find(&node.id) {
                Some(location) => chunks.fetch_sealed(node.id, location).await,
                None => Err(crate::chunks::missing(&node.id)),
            };
            (node, sealed)
        }
    });
    Ok(futures::future::join_all(fetches).await)
}

async fn expand(
    source: Arc<Source>,
    fetched: Fetched,
    spares: Spares,
    threads: usize,
) -> Result<Vec<Vec<u8>>> {
    let chunks = source.chunks().await;
    let work = move || {
        let mut opener = lock(&spares).openers.pop().unwrap_or_default();
        let mut expand = |sealed| {
            let mut raw = lock(&spares).take();
            chunks.expand_into(sealed, &mut opener, &mut raw).map(|()| raw)
        };
        let expanded = fetched.into_iter().map(|(node, sealed)| {
            let raw = sealed.and_then(&mut expand);
            (node, raw.and_then(|raw| right_length(&node, raw)))
        });
        let expanded = expanded.collect::<Vec<_>>();
        lock(&spares).openers.push(opener);
        expanded
    };
    let expanded = if threads == 0 {
        work()
    } else {
        let run = tokio::task::spawn_blocking(work).await;
        run.map_err(|e| Error::new(ErrorKind::Stream, "run the pull", e))?
    };
    let mut unit = Vec::with_capacity(expanded.len());
    for (node, raw) in expanded {
        unit.push(match raw {
            Ok(raw) => raw,
            Err(first) => source.get_again(&node, first).await?,
        });
    }
    Ok(unit)
}

fn right_length(node: &Node, raw: Vec<u8>) -> Result<Vec<u8>> {
    if raw.len() as u64 == node.len {
        return Ok(raw);
    }
    let why = "it has another length than the recipe says";
    Err(Error::new(ErrorKind::Damaged, format!("read {:?}", node.id), why))
}

impl Source {
    async fn open(repo: &Repository) -> Result<Source> {
        let chunks = Source::chunks_of(repo, repo.read_index().await?);
        Ok(Source { repo: repo.clone(), chunks: Mutex::new((chunks, false)), by_packs: OnceCell::new() })
    }

    fn chunks_of(repo: &Repository, index: Index) -> Arc<Chunks> {
        Arc::new(Chunks::new(repo.objects.clone(), Arc::new(index), CACHE_BYTES))
    }

    async fn chunks(&self) -> Arc<Chunks> {
        self.chunks.lock().await.0.clone()
    }

    /// A recipe piece.
    async fn get(&self, node: &Node) -> Result<Vec<u8>> {
        match self.chunks().await.get(node.id).await {
            Ok(raw) => Ok(raw),
            Err(first) => self.looked_up_again(node, first).await,
        }
    }

    /// A chunk that failed at its first place: at any other, or after a second look at the index.
    async fn get_again(&self, node: &Node, first: Error) -> Result<Vec<u8>> {
        let raw = match self.chunks().await.get(node.id).await {
            Ok(raw) => Ok(raw),
            Err(_) => self.looked_up_again(node, first).await,
        };
        raw.and_then(|raw| right_length(node, raw))
    }

    async fn looked_up_again(&self, node: &Node, first: Error) -> Result<Vec<u8>> {
        let mut held = self.chunks.lock().await;
        if !held.1 {
            *held = (Source::chunks_of(&self.repo, self.repo.read_index_and_orphans().await?), true);
        }
        let chunks = held.0.clone();
        drop(held);
        if let Ok(raw) = chunks.get(node.id).await {
            return Ok(raw);
        }
        let by_packs = self.by_packs.get_or_try_init(|| async {
            let index = self.repo.read_own_directories().await?;
            Ok(Source::chunks_of(&self.repo, index))
        });
        by_packs.await?.get(node.id).await.map_err(|_: Error| first)
    }
}

impl Repository {
    /// Every chunk that can be read: condemned packs still count, for they still exist.
    pub(crate) async fn read_index(&self) -> Result<Index> {
        Ok(self.objects.reading_view().await?.index)
    }

    /// What all packs say of themselves. Costs some reads a pack, and is asked only where a chunk would be
    /// lost otherwise: a sealed index object that is wrong must not hide what is there.
    async fn read_own_directories(&self) -> Result<Index> {
        let listed = self.objects.list_packs().await?;
        let packs: Vec<PackId> = listed.keys().copied().collect();
        Ok(Index::default().with(&self.read_directories(&packs, &listed).await))
    }

    /// The same with packs no index object names, however many: what is left when the index is lost.
    pub(crate) async fn read_index_and_orphans(&self) -> Result<Index> {
        let view = self.objects.reading_view().await?;
        let orphans = self.read_directories(&view.orphans, &view.listed).await;
        Ok(view.index.with(&orphans))
    }
}
