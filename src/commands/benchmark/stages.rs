//! Each stage of a push and a pull by itself, on one core, through the code pushes and pulls run through.

use cistern_format::chunk::Cutter;
use cistern_format::codec::{Codec, Expander, Squeezer};
use cistern_format::id::{ChunkId, RepoId, SessionId};
use cistern_format::keys::{Keyring, Secret32};
use cistern_format::record::{Binding, ChunkKind, NONCE_LEN, OVERHEAD, Sealer, chunk_id};
use cistern_format::sketch::Sketcher;
use cistern_repo::{Config, World};
use cistern_stream::Sniffer;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::io::Read;

/// The stages, in the order of [`Speeds`].
pub const NAMES: [&str; 11] =
    ["read", "recognise", "cut", "name", "digest", "sketch", "compress", "delta", "seal", "open", "expand"];

/// 10^6 bytes of content per second of a core's time, for each of [`NAMES`]: what others do on the machine
/// meanwhile hardly counts.
pub type Speeds = [f64; NAMES.len()];

/// Bytes asked of a source at once, as a push does.
const READ_BYTES: usize = 8 << 20;

/// One chunk on its way.
struct Squeezed {
    binding: Binding,
    /// Room for the nonce, the frame, room for the tag.
    record: Vec<u8>,
    squeezed_len: usize,
}

/// Measures all stages with the first `size` bytes of a source; whatever it cannot read is left out.
pub fn measure(source: impl Read, size: u64) -> Speeds {
    let (bytes, read) = read(source, size);
    let keys = Keyring::from_root(Secret32(World::real().random()), RepoId(World::real().random()));
    let config = Config::default();
    let ((), recognise) = timed(|| recognise(&bytes));
    let (chunks, cut) = timed(|| cut(&bytes, &keys, &config));
    let (ids, name) = timed(|| name(&chunks, &keys));
    let ((), digest) = timed(|| digest(&chunks));
    let ((), sketch) = timed(|| sketch(&chunks, &keys));
    let (mut squeezed, compress) = timed(|| compress(&chunks, &ids, &config));
    let ((), delta) = timed(|| delta(&chunks, &config));
    let session = SessionId::new(0, World::real().random());
    let key = keys.new_data_key(session, World::real().random()).expect("an owner's keys seal data");
    let sealer = Sealer::data(keys.repo(), &key);
    let ((), seal) = timed(|| seal(&mut squeezed, &sealer));
    let ((), open) = timed(|| open(&mut squeezed, &sealer));
    let ((), expand) = timed(|| expand(&squeezed));
    let megabytes = bytes.len() as f64 / 1e6;
    let secs = [read, recognise, cut, name, digest, sketch, compress, delta, seal, open, expand];
    secs.map(|secs| megabytes / secs)
}

/// What `work` returned, and for how many seconds it kept a core busy.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = core_secs();
    let done = work();
    (done, (core_secs() - began).max(1e-9))
}

/// Seconds this thread has run on some core.
fn core_secs() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The bytes, and what reading them into a buffer that is used again and again took.
fn read(mut source: impl Read, size: u64) -> (Vec<u8>, f64) {
    let (mut bytes, mut buffer, mut secs) = (Vec::new(), vec![0; READ_BYTES], 0.0);
    while (bytes.len() as u64) < size {
        let left = (size - bytes.len() as u64).min(READ_BYTES as u64) as usize;
        let (read, took) = timed(|| source.read(&mut buffer[..left]));
        secs += took;
        match read {
            Ok(0) | Err(_) => break,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
        }
    }
    (bytes, secs.max(1e-9))
}

fn recognise(bytes: &[u8]) {
    let mut sniffer = Sniffer::new();
    bytes.chunks(READ_BYTES).for_each(|piece| sniffer.push(piece));
    black_box(sniffer.finish());
}

fn cut<'b>(bytes: &'b [u8], keys: &Keyring, config: &Config) -> Vec<&'b [u8]> {
    let cutter = Cutter::new(config.chunk_sizes, &keys.gear().expect("an owner's keys cut").0);
    let (mut rest, mut chunks) = (bytes, Vec::new());
    while let Some(len) = cutter.cut(rest, true) {
        let (chunk, after) = rest.split_at(len);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn name(chunks: &[&[u8]], keys: &Keyring) -> Vec<ChunkId> {
    let key = keys.chunk_id().expect("an owner's keys name chunks");
    chunks.iter().map(|chunk| chunk_id(key, chunk)).collect()
}

/// Of the stream as a whole, which both directions take chunk by chunk.
fn digest(chunks: &[&[u8]]) {
    let mut digest = blake3::Hasher::new();
    chunks.iter().for_each(|chunk| {
        digest.update(chunk);
    });
    black_box(digest.finalize());
}

fn sketch(chunks: &[&[u8]], keys: &Keyring) {
    let sketcher = Sketcher::new(keys.sketch().expect("an owner's keys make sketches"));
    chunks.iter().for_each(|chunk| {
        black_box(sketcher.sketch(chunk));
    });
}

fn compress(chunks: &[&[u8]], ids: &[ChunkId], config: &Config) -> Vec<Squeezed> {
    let mut squeezer = Squeezer::new(config.level);
    let mut room = vec![0; Squeezer::bound(config.chunk_sizes.max_bytes as usize)];
    let squeeze = |(chunk, id): (&&[u8], &ChunkId)| {
        let (codec, squeezed_len) = squeezer.squeeze(chunk, &mut room);
        let raw_len = u32::try_from(chunk.len()).expect("chunks have at most 8 MiB");
        let binding = Binding { id: *id, kind: ChunkKind::Data, codec, raw_len, base: None };
        let mut record = vec![0; squeezed_len + OVERHEAD];
        record[NONCE_LEN..NONCE_LEN + squeezed_len].copy_from_slice(&room[..squeezed_len]);
        Squeezed { binding, record, squeezed_len }
    };
    chunks.iter().zip(ids).map(squeeze).collect()
}

/// Against the neighbour, for want of last night's chunk: the work is the same, what it saves is not.
fn delta(chunks: &[&[u8]], config: &Config) {
    let mut squeezer = Squeezer::new(config.level);
    let mut room = vec![0; Squeezer::bound(config.chunk_sizes.max_bytes as usize)];
    let bases = chunks.iter().skip(1).chain(chunks.first());
    for (chunk, base) in chunks.iter().zip(bases) {
        black_box(squeezer.squeeze_against(base, chunk, &mut room));
    }
}

fn seal(squeezed: &mut [Squeezed], sealer: &Sealer) {
    for one in squeezed {
        sealer.seal(&one.binding, World::real().random(), &mut one.record, one.squeezed_len);
    }
}

fn open(squeezed: &mut [Squeezed], sealer: &Sealer) {
    for one in squeezed {
        sealer.open(&one.binding, &mut one.record).expect("it was sealed a moment ago");
    }
}

fn expand(squeezed: &[Squeezed]) {
    let mut expander = Expander::default();
    for one in squeezed {
        let Binding { codec, raw_len, .. } = one.binding;
        debug_assert_ne!(codec, Codec::Delta, "chunks here have no bases");
        let frame = &one.record[NONCE_LEN..NONCE_LEN + one.squeezed_len];
        black_box(
            expander.expand(codec, frame, raw_len as usize, None).expect("it was squeezed a moment ago"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_speed() {
        let rows = super::super::rows::Dump::of_bytes(3 << 20, 0);
        let speeds = measure(&rows[..], 2 << 20);
        assert!(speeds.iter().all(|speed| speed.is_finite() && *speed > 0.0), "{speeds:?}");
        // Four times as fast as memory itself would mean that the work was left out.
        let slow = ["name", "compress", "seal", "open", "expand"];
        for (name, speed) in NAMES.iter().zip(speeds).filter(|(name, _)| slow.contains(name)) {
            assert!(speed < 100_000.0, "{name}: {speed}");
        }
    }
}
