//! A stream in: read, cut, and hand chunks to the CPU threads; put what comes back in order.
//!
//! One thread reads and cuts, some name and squeeze, one assembles. Memory is bounded by the
//! segments that circulate: the reader waits for one to come back before it reads on.

use crate::assemble::{Assembled, Assembler};
use crate::commit::Session;
use crate::encode::{Encoded, Encoder, Encoding};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Counter, Observer};
use bytes::Bytes;
use cistern_format::chunk::Cutter;
use cistern_format::pack::Pack;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Length of a segment in bytes; holds several of the largest chunks.
const SEGMENT_BYTES: usize = 8 << 20;
/// Segments in circulation.
const SEGMENTS: usize = 4;
/// Packs on their way to the store at the same time.
const UPLOADS_MAX: usize = 3;

/// Time between two signs of life; prunes refuse a session after many times this.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// Where the stream comes from.
pub type Source = Box<dyn Read + Send>;

/// A filled buffer that goes back to the reader when its last chunk is done with.
struct Segment {
    bytes: Vec<u8>,
    len: usize,
    home: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // The reader may be gone; then nobody needs the buffer.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// Cuts a source into chunks.
struct Slicer {
    source: Source,
    cutter: Cutter,
    home: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    made: usize,
    filled: Bytes,
    at_end: bool,
}

impl Slicer {
    fn new(source: Source, cutter: Cutter) -> Slicer {
        let (home, returned) = bounded(SEGMENTS + 1);
        Slicer { source, cutter, home, returned, made: 0, filled: Bytes::new(), at_end: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(len) = self.cutter.cut(&self.filled, self.at_end) {
                return Ok(Some(self.filled.split_to(len)));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Reads a segment full, behind the bytes that are not cut yet.
    fn fill(&mut self) -> Result<()> {
        let mut bytes = if self.made < SEGMENTS {
            self.made += 1;
            vec![0; SEGMENT_BYTES]
        } else {
            // Comes back once the chunks in it are assembled; they were all handed out.
            self.returned.recv().expect("we hold a sender ourselves")
        };
        let mut len = self.filled.len();
        bytes[..len].copy_from_slice(&self.filled);
        self.filled = Bytes::new();
        while len < bytes.len() {
            match self.source.read(&mut bytes[len..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(n) => len += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(ErrorKind::Stream, "read the stream", e)),
            }
        }
        self.filled = Bytes::from_owner(Segment { bytes, len, home: self.home.clone() });
        Ok(())
    }
}

/// Packs on their way to the store, a bounded number at a time.
pub(crate) struct Uploads {
    session: Arc<Session>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<Result<()>>,
    watch: Arc<dyn Observer>,
}

impl Uploads {
    pub(crate) fn new(session: Arc<Session>, watch: Arc<dyn Observer>) -> Uploads {
        Uploads { session, permits: Arc::new(Semaphore::new(UPLOADS_MAX)), tasks: JoinSet::new(), watch }
    }

    /// Starts storing a pack; waits while too many are under way. Tells of the first that failed.
    pub(crate) async fn submit(&mut self, pack: Pack) -> Result<()> {
        while let Some(ended) = self.tasks.try_join_next() {
            joined(ended)?;
        }
        let permit = self.permits.clone().acquire_owned().await.expect("never closed");
        let (session, watch) = (self.session.clone(), self.watch.clone());
        self.tasks.spawn(async move {
            let len = pack.object_len;
            session.store_pack(pack).await?;
            drop(permit);
            watch.count(Counter::StoredBytes, len);
            watch.count(Counter::Packs, 1);
            session.checkpoint().await
        });
        Ok(())
    }

    /// Waits for all that is under way.
    pub(crate) async fn finish(mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            joined(ended)?;
        }
        Ok(())
    }
}

fn joined(ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.map_err(|e| Error::new(ErrorKind::Retry, "store a pack", e))?
}

/// Shows now and then that the session lives; stops when dropped.
struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    fn start(session: Arc<Session>) -> Heartbeat {
        Heartbeat(tokio::spawn(async move {
            for number in 1.. {
                tokio::time::sleep(HEARTBEAT).await;
                session.beat(number).await;
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a run of the pipeline is made of.
pub(crate) struct Pipeline {
    pub(crate) source: Source,
    pub(crate) cutter: Cutter,
    pub(crate) encoding: Arc<Encoding>,
    pub(crate) assembler: Assembler,
    pub(crate) uploads: Uploads,
}

impl Pipeline {
    /// Runs the stream through; on `Ok` every pack is stored.
    ///
    /// `threads` of 0 does everything on the caller's task, one chunk after the other.
    pub(crate) async fn run(self, threads: usize) -> Result<Assembled> {
        let _beat = Heartbeat::start(self.uploads.session.clone());
        if threads == 0 {
            return self.run_inline().await;
        }
        let handle = Handle::current();
        let run = tokio::task::spawn_blocking(move || self.run_threads(threads, &handle));
        run.await.map_err(|e| Error::new(ErrorKind::Stream, "run the push", e))?
    }

    async fn run_inline(self) -> Result<Assembled> {
        let Pipeline { source, cutter, encoding, mut assembler, mut uploads } = self;
        let mut slicer = Slicer::new(source, cutter);
        let mut encoder = Encoder::new(encoding.clone());
        let mut full = Vec::new();
        while let Some(raw) = slicer.next()? {
            let named = encoder.name(raw);
            let base = match (named.base, &encoding.bases) {
                (Some(choice), Some(bases)) => bases.fetch(choice).await,
                _ => None,
            };
            assembler.push(encoder.encode(named, base), &mut full);
            for pack in full.drain(..) {
                uploads.submit(pack).await?;
            }
        }
        let assembled = assembler.finish(&mut full);
        for pack in full {
            uploads.submit(pack).await?;
        }
        uploads.finish().await?;
        Ok(assembled)
    }

    fn run_threads(self, threads: usize, handle: &Handle) -> Result<Assembled> {
        let Pipeline { source, cutter, encoding, mut assembler, mut uploads } = self;
        let (jobs, work) = bounded::<(u64, Bytes)>(4 * threads);
        let (results, done) = bounded::<Result<(u64, Encoded)>>(4 * threads);
        let stop = Arc::new(AtomicBool::new(false));
        let failures = results.clone();
        // Not joined: when something else fails it may be waiting for a silent source.
        spawn("read", move || read(Slicer::new(source, cutter), &jobs, &failures));
        for _ in 0..threads {
            let (work, results, encoding) = (work.clone(), results.clone(), encoding.clone());
            let (handle, stop) = (handle.clone(), stop.clone());
            spawn("encode", move || encode(&work, &results, encoding, &handle, &stop));
        }
        drop((work, results));
        let ended = assemble(&done, &mut assembler, &mut uploads, handle);
        stop.store(true, Ordering::Relaxed);
        drop(done);
        ended?;
        let mut last = Vec::new();
        let assembled = assembler.finish(&mut last);
        handle.block_on(async {
            for pack in last {
                uploads.submit(pack).await?;
            }
            uploads.finish().await
        })?;
        Ok(assembled)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(format!("cistern-{name}"));
    thread.spawn(work).expect("the system grants a handful of threads");
}

fn read(mut slicer: Slicer, jobs: &Sender<(u64, Bytes)>, failures: &Sender<Result<(u64, Encoded)>>) {
    for number in 0.. {
        match slicer.next() {
            Ok(Some(raw)) => {
                if jobs.send((number, raw)).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(e) => {
                let _ = failures.send(Err(e));
                return;
            }
        }
    }
}

fn encode(
    work: &Receiver<(u64, Bytes)>,
    results: &Sender<Result<(u64, Encoded)>>,
    encoding: Arc<Encoding>,
    handle: &Handle,
    stop: &AtomicBool,
) {
    let bases = encoding.bases.clone();
    let mut encoder = Encoder::new(encoding);
    for (number, raw) in work {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let named = encoder.name(raw);
        let base = match (named.base, &bases) {
            (Some(choice), Some(bases)) => handle.block_on(bases.fetch(choice)),
            _ => None,
        };
        if results.send(Ok((number, encoder.encode(named, base)))).is_err() {
            return;
        }
    }
}

fn assemble(
    done: &Receiver<Result<(u64, Encoded)>>,
    assembler: &mut Assembler,
    uploads: &mut Uploads,
    handle: &Handle,
) -> Result<()> {
    let mut waiting: BTreeMap<u64, Encoded> = BTreeMap::new();
    let mut next = 0;
    let mut full = Vec::new();
    for result in done {
        let (number, chunk) = result?;
        waiting.insert(number, chunk);
        while let Some(chunk) = waiting.remove(&next) {
            assembler.push(chunk, &mut full);
            next += 1;
            for pack in full.drain(..) {
                handle.block_on(uploads.submit(pack))?;
            }
        }
    }
    if waiting.is_empty() {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Stream, "run the push", "a CPU thread ended before its work was done"))
    }
}
