//! A stream in: read, cut, and hand chunks to the CPU threads; put what comes back in order.
//!
//! One thread reads, one cuts, some name and squeeze, one assembles. Memory is bounded by the segments
//! that circulate: the reader waits for one to come back before it reads on.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What is read into a segment, in bytes.
const SEGMENT_BYTES: usize = 8 << 20;
/// Segments in circulation: one is being filled, one cut, the others are with the CPU threads.
const SEGMENTS: usize = 5;
/// Packs on their way to the store at the same time.
const UPLOADS_MAX: usize = 3;

/// Time between two signs of life; prunes refuse a session after many times this.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// Where the stream comes from.
pub type Source = Box<dyn Read + Send>;

/// A buffer that goes back to the reader when its last chunk is done with.
///
/// Before what was read there is room for the end of the segment before, which is not cut yet.
struct Segment {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    home: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // The reader may be gone; then nobody needs the buffer.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// Fills segments from a source.
struct Feeder {
    source: Source,
    /// Room kept before what is read: what the cutter leaves uncut is shorter than the largest chunk.
    room_bytes: usize,
    home: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    made: usize,
    at_end: bool,
}

impl Feeder {
    fn new(source: Source, room_bytes: usize) -> Feeder {
        let (home, returned) = bounded(SEGMENTS + 1);
        Feeder { source, room_bytes, home, returned, made: 0, at_end: false }
    }

    /// The next segment, full unless the stream ends in it; `None` after that.
    fn next(&mut self) -> Result<Option<Segment>> {
        if self.at_end {
            return Ok(None);
        }
        let mut bytes = if self.made < SEGMENTS {
            self.made += 1;
            vec![0; self.room_bytes + SEGMENT_BYTES]
        } else {
            // Comes back once the chunks in it are assembled; they were all handed out.
            self.returned.recv().expect("we hold a sender ourselves")
        };
        let mut end = self.room_bytes;
        while end < bytes.len() {
            match self.source.read(&mut bytes[end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(n) => end += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(ErrorKind::Stream, "read the stream", e)),
            }
        }
        Ok(Some(Segment { bytes, start: self.room_bytes, end, home: self.home.clone() }))
    }
}

/// Cuts segments into chunks.
struct Slicer<F> {
    /// Gives the next segment, `None` after the last.
    next_segment: F,
    cutter: Cutter,
    uncut: Bytes,
    at_end: bool,
}

impl<F: FnMut() -> Result<Option<Segment>>> Slicer<F> {
    fn new(next_segment: F, cutter: Cutter) -> Slicer<F> {
        Slicer { next_segment, cutter, uncut: Bytes::new(), at_end: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(len) = self.cutter.cut(&self.uncut, self.at_end) {
                return Ok(Some(self.uncut.split_to(len)));
            }
            if self.at_end {
                return Ok(None);
            }
            match (self.next_segment)()? {
                Some(segment) => self.append(segment),
                None => self.at_end = true,
            }
        }
    }

    /// Puts what is not cut yet before what was read.
    fn append(&mut self, mut segment: Segment) {
        let start = segment.start - self.uncut.len();
        segment.bytes[start..segment.start].copy_from_slice(&self.uncut);
        segment.start = start;
        self.uncut = Bytes::from_owner(segment);
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
        let mut feeder = Feeder::new(source, cutter.sizes().max_bytes as usize);
        let mut slicer = Slicer::new(|| feeder.next(), cutter);
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
        // One is on its way to the cutter while the next is filled.
        let (filled, segments) = bounded(1);
        let feeder = Feeder::new(source, cutter.sizes().max_bytes as usize);
        // Not joined: when something else fails it may be waiting for a silent source.
        spawn("read", move || feed(feeder, &filled));
        let next_segment = move || segments.recv().unwrap_or_else(|_| Err(ended_early()));
        let total = Arc::new(OnceLock::new());
        let counted = total.clone();
        spawn("cut", move || cut(Slicer::new(next_segment, cutter), &jobs, &failures, &counted));
        for _ in 0..threads {
            let (work, results, encoding) = (work.clone(), results.clone(), encoding.clone());
            let (handle, stop) = (handle.clone(), stop.clone());
            spawn("encode", move || encode(&work, &results, encoding, &handle, &stop));
        }
        drop((work, results));
        let ended = assemble(&done, &mut assembler, &mut uploads, handle).and_then(|assembled| {
            // A thread that died looks like the end of the stream to the next.
            if total.get() == Some(&assembled) { Ok(()) } else { Err(ended_early()) }
        });
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

/// Reads until the source ends or fails, or nobody wants the rest.
fn feed(mut feeder: Feeder, filled: &Sender<Result<Option<Segment>>>) {
    loop {
        let segment = feeder.next();
        let last = !matches!(segment, Ok(Some(_)));
        if filled.send(segment).is_err() || last {
            return;
        }
    }
}

fn cut(
    mut slicer: Slicer<impl FnMut() -> Result<Option<Segment>>>,
    jobs: &Sender<(u64, Bytes)>,
    failures: &Sender<Result<(u64, Encoded)>>,
    total: &OnceLock<u64>,
) {
    for number in 0.. {
        match slicer.next() {
            Ok(Some(raw)) => {
                if jobs.send((number, raw)).is_err() {
                    return;
                }
            }
            Ok(None) => {
                total.get_or_init(|| number);
                return;
            }
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

/// Puts chunks in order; tells how many there were.
fn assemble(
    done: &Receiver<Result<(u64, Encoded)>>,
    assembler: &mut Assembler,
    uploads: &mut Uploads,
    handle: &Handle,
) -> Result<u64> {
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
    Ok(next)
}

fn ended_early() -> Error {
    Error::new(ErrorKind::Stream, "run the push", "a thread ended before its work was done")
}
