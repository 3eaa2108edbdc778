//! A stream on its way into the engine: gzip taken off, the dump recognised, its end demanded.
//!
//! The first bytes decide whether there is gzip. If so a thread of its own inflates, and what it makes waits
//! in a bounded channel; if not, bytes pass straight through. Either way the content is shown to the sniffer.

use cistern_repo::Wrap;
use cistern_stream::gzip::{HEADER_BYTES_MAX, Limits, Segment, Unwrapper, Verdict, looks_unwrappable};
use cistern_stream::{Finding, Sniffer};
use std::io::{Error, Read, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Compressed bytes read at once: a bomb of them inflates to 64 MiB, which is waited for piece by piece.
const READ_BYTES: usize = 64 << 10;
/// Length of an inflated piece.
const PIECE_BYTES: usize = 1 << 20;
/// Inflated pieces that wait to be read.
const PIECES: usize = 4;
/// Version of `Wrap::segments`: CBOR of the segments of `cistern_stream`.
pub const WRAP_VERSION: u8 = 1;

/// What was seen of a stream that was read to its end.
pub struct Seen {
    /// What it was, and whether it was whole.
    pub finding: Finding,
    /// How it was wrapped, if it was.
    pub wrap: Option<Wrap>,
}

/// What is known of a stream while it is read, and when its end was.
#[derive(Clone, Default)]
pub struct Outcome {
    seen: Arc<Mutex<Option<Seen>>>,
    content_bytes: Arc<AtomicU64>,
}

impl Outcome {
    /// What was seen; `None` if the end of the stream was never reached.
    pub fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Content that was read so far, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes.load(Ordering::Relaxed)
    }

    fn set(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

/// The stream as the engine reads it.
pub struct Intake {
    stage: Stage,
    sniffer: Option<Sniffer>,
    outcome: Outcome,
}

enum Stage {
    /// Nothing was read yet, and it is to be seen whether there is gzip.
    Undecided(Box<dyn Read + Send>),
    /// Bytes pass as they are, those that were read for the decision first.
    Plain { head: Vec<u8>, taken: usize, source: Box<dyn Read + Send> },
    /// Pieces come from the inflater.
    Inflated { pieces: Receiver<Piece>, current: Vec<u8>, taken: usize },
    /// The end was read, or a failure.
    Over,
}

enum Piece {
    Content(Vec<u8>),
    End(Option<Wrap>),
    Failed(Error),
}

impl Intake {
    /// Reads `source`, taking gzip off if `unwrap` says so.
    pub fn new(source: impl Read + Send + 'static, unwrap: bool) -> (Intake, Outcome) {
        let outcome = Outcome::default();
        let source: Box<dyn Read + Send> = Box::new(source);
        let stage = match unwrap {
            true => Stage::Undecided(source),
            false => Stage::Plain { head: vec![], taken: 0, source },
        };
        (Intake { stage, sniffer: Some(Sniffer::new()), outcome: outcome.clone() }, outcome)
    }

    fn end(&mut self, wrap: Option<Wrap>) -> usize {
        self.stage = Stage::Over;
        if let Some(sniffer) = self.sniffer.take() {
            self.outcome.set(Seen { finding: sniffer.finish(), wrap });
        }
        0
    }

    /// Content into `buffer`; 0 at the end.
    fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match &mut self.stage {
                Stage::Undecided(_) => self.decide()?,
                Stage::Plain { head, taken, .. } if *taken < head.len() => {
                    return Ok(hand_over(head, taken, buffer));
                }
                Stage::Plain { source, .. } => match source.read(buffer)? {
                    0 => return Ok(self.end(None)),
                    n => return Ok(n),
                },
                Stage::Inflated { current, taken, .. } if *taken < current.len() => {
                    return Ok(hand_over(current, taken, buffer));
                }
                Stage::Inflated { pieces, current, taken } => match pieces.recv() {
                    Ok(Piece::Content(piece)) => (*current, *taken) = (piece, 0),
                    Ok(Piece::End(wrap)) => return Ok(self.end(wrap)),
                    Ok(Piece::Failed(e)) => {
                        self.stage = Stage::Over;
                        return Err(e);
                    }
                    // Never taken for the end of the stream: that is said in so many words.
                    Err(_) => return Err(Error::other("the thread that takes gzip off is gone")),
                },
                Stage::Over => return Ok(0),
            }
        }
    }

    /// Reads the head and looks for gzip in it.
    fn decide(&mut self) -> Result<()> {
        let Stage::Undecided(source) = &mut self.stage else { return Ok(()) };
        let mut head = Vec::new();
        let verdict = loop {
            let len = head.len();
            let step = if len == 0 { READ_BYTES } else { HEADER_BYTES_MAX };
            head.resize(len + step, 0);
            let n = retried(source, &mut head[len..])?;
            head.truncate(len + n);
            match looks_unwrappable(&head) {
                Verdict::NeedMore if n > 0 && head.len() < HEADER_BYTES_MAX => {}
                // A stream that ends inside a header is the unwrapper's to judge.
                Verdict::NeedMore if !head.is_empty() && is_gzip(&head) => break true,
                verdict => break verdict == Verdict::Yes,
            }
        };
        let Stage::Undecided(source) = std::mem::replace(&mut self.stage, Stage::Over) else { return Ok(()) };
        self.stage = if verdict {
            let (out, pieces) = sync_channel(PIECES);
            let inflate = move || Inflater { out, piece: Vec::new(), gone: false }.run(head, source);
            std::thread::Builder::new().name("cistern-inflate".to_owned()).spawn(inflate)?;
            Stage::Inflated { pieces, current: vec![], taken: 0 }
        } else {
            Stage::Plain { head, taken: 0, source }
        };
        Ok(())
    }
}

impl Read for Intake {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.read_content(buffer)?;
        if let Some(sniffer) = &mut self.sniffer {
            sniffer.push(&buffer[..n]);
        }
        self.outcome.content_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Whether so few bytes can only be the beginning of a gzip member: two of them are its magic number.
fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn hand_over(from: &[u8], taken: &mut usize, to: &mut [u8]) -> usize {
    let n = to.len().min(from.len() - *taken);
    to[..n].copy_from_slice(&from[*taken..*taken + n]);
    *taken += n;
    n
}

fn retried(source: &mut Box<dyn Read + Send>, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Takes gzip off on a thread of its own.
struct Inflater {
    out: SyncSender<Piece>,
    piece: Vec<u8>,
    /// Nobody reads any more.
    gone: bool,
}

impl Inflater {
    fn run(mut self, head: Vec<u8>, source: Box<dyn Read + Send>) {
        let last = match self.inflate(head, source) {
            Ok(wrap) => Piece::End(wrap),
            Err(e) => Piece::Failed(e),
        };
        self.send_piece();
        // Whoever read may have failed and gone.
        let _ = self.out.send(last);
    }

    fn inflate(&mut self, head: Vec<u8>, mut source: Box<dyn Read + Send>) -> Result<Option<Wrap>> {
        let mut unwrapper = Unwrapper::new(Limits::default());
        let (mut digest, mut original_bytes) = (blake3::Hasher::new(), 0);
        let mut buffer = head;
        let mut len = buffer.len();
        while len > 0 && !self.gone {
            let arrived = &buffer[..len];
            digest.update(arrived);
            original_bytes += len as u64;
            unwrapper.push(arrived, &mut |content| self.take(content)).map_err(Error::other)?;
            buffer.resize(READ_BYTES, 0);
            len = retried(&mut source, &mut buffer)?;
        }
        let segments = unwrapper.finish().map_err(Error::other)?;
        // A head that only looked like gzip was passed through unchanged.
        let wrapped = segments.iter().any(|segment| matches!(segment, Segment::Gzip { .. }));
        if !wrapped {
            return Ok(None);
        }
        let mut described = Vec::new();
        ciborium::into_writer(&segments, &mut described).map_err(Error::other)?;
        Ok(Some(Wrap {
            version: WRAP_VERSION,
            original_bytes,
            original_digest: (*digest.finalize().as_bytes()).into(),
            segments: described,
        }))
    }

    fn take(&mut self, mut content: &[u8]) {
        while !content.is_empty() && !self.gone {
            let (now, later) = content.split_at(content.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            content = later;
            if self.piece.len() == PIECE_BYTES {
                self.send_piece();
            }
        }
    }

    fn send_piece(&mut self) {
        let next = Vec::with_capacity(PIECE_BYTES);
        let full = std::mem::replace(&mut self.piece, next);
        if !full.is_empty() && !self.gone {
            self.gone = self.out.send(Piece::Content(full)).is_err();
        }
    }
}
