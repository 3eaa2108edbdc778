//! Criterion benches of the stages a byte goes through: cut, name, sketch, squeeze, seal, and back.
//!
//! `cargo bench --bench stages`. One core, chunks of the default size, text that looks like a dump.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use cistern_format::chunk::{ChunkSizes, Cutter};
use cistern_format::codec::{Codec, Expander, Squeezer};
use cistern_format::config::CHUNK_BYTES_DEFAULT;
use cistern_format::id::{RepoId, SessionId};
use cistern_format::keys::{Keyring, Secret32};
use cistern_format::record::{Binding, ChunkKind, NONCE_LEN, OVERHEAD, Sealer, chunk_id};
use cistern_format::sketch::Sketcher;
use cistern_sim::{Dump, Spread};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const CHUNK: usize = CHUNK_BYTES_DEFAULT as usize;

struct Stages {
    keys: Keyring,
    sealer: Sealer,
    stream: Vec<u8>,
    chunk: Vec<u8>,
    changed: Vec<u8>,
}

fn stages() -> Stages {
    let keys = Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]));
    let session = SessionId::new(1, [3; 10]);
    let data_key = keys.new_data_key(session, [4; 64]).expect("the owner can push");
    let first = Dump::of_bytes(1, 32 << 20);
    let next = first.next_night(2, 1.0, Spread::Scattered, 0, 0).to_bytes();
    let stream = first.to_bytes().to_vec();
    let chunk = stream[CHUNK..2 * CHUNK].to_vec();
    let changed = next[CHUNK..2 * CHUNK].to_vec();
    Stages { sealer: Sealer::data(keys.repo(), &data_key), keys, stream, chunk, changed }
}

fn push(c: &mut Criterion) {
    let s = stages();
    let gear = s.keys.gear().expect("the owner has it");
    let cutter = Cutter::new(ChunkSizes::around(CHUNK_BYTES_DEFAULT).expect("the default"), &gear.0);
    let name = s.keys.chunk_id().expect("the owner has it");
    let sketcher = Sketcher::new(s.keys.sketch().expect("the owner has it"));
    let mut out = vec![0; Squeezer::bound(CHUNK) + OVERHEAD];
    let mut squeezer = Squeezer::new(1);

    let mut group = c.benchmark_group("push");
    group.throughput(Throughput::Bytes(s.stream.len() as u64));
    group.bench_function("cut", |b| {
        b.iter(|| {
            let mut rest = &s.stream[..];
            while let Some(len) = cutter.cut(rest, true) {
                rest = &rest[len..];
            }
            black_box(rest.len())
        });
    });
    group.throughput(Throughput::Bytes(CHUNK as u64));
    group.bench_function("name", |b| b.iter(|| black_box(chunk_id(name, &s.chunk))));
    group.bench_function("sketch", |b| b.iter(|| black_box(sketcher.sketch(&s.chunk))));
    group.bench_function("squeeze", |b| b.iter(|| black_box(squeezer.squeeze(&s.chunk, &mut out))));
    group.bench_function("squeeze against a base", |b| {
        b.iter(|| black_box(squeezer.squeeze_against(&s.chunk, &s.changed, &mut out)));
    });
    let binding = binding(&s, Codec::Raw);
    group.bench_function("seal", |b| {
        b.iter(|| black_box(s.sealer.seal(&binding, [5; 24], &mut out, CHUNK)));
    });
    group.finish();
}

fn binding(s: &Stages, codec: Codec) -> Binding {
    let id = chunk_id(s.keys.chunk_id().expect("the owner has it"), &s.chunk);
    Binding { id, kind: ChunkKind::Data, codec, raw_len: CHUNK as u32, base: None }
}

fn pull(c: &mut Criterion) {
    let s = stages();
    let mut squeezer = Squeezer::new(1);
    let mut out = vec![0; Squeezer::bound(CHUNK)];
    let (codec, len) = squeezer.squeeze(&s.chunk, &mut out);
    let plain = out[..len].to_vec();
    let len = squeezer.squeeze_against(&s.chunk, &s.changed, &mut out).expect("zstd takes it");
    let delta = out[..len].to_vec();
    let mut expander = Expander::default();

    let mut record = vec![0; CHUNK + OVERHEAD];
    record[NONCE_LEN..NONCE_LEN + CHUNK].copy_from_slice(&s.chunk);
    let binding = binding(&s, Codec::Raw);
    s.sealer.seal(&binding, [5; 24], &mut record, CHUNK);

    let mut group = c.benchmark_group("pull");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    group.bench_function("open", |b| {
        b.iter_batched_ref(
            || record.clone(),
            |record| black_box(s.sealer.open(&binding, record).is_ok()),
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("expand", |b| b.iter(|| black_box(expander.expand(codec, &plain, CHUNK, None))));
    group.bench_function("expand a delta", |b| {
        b.iter(|| black_box(expander.expand(Codec::Delta, &delta, CHUNK, Some(&s.chunk))));
    });
    group.finish();
}

criterion_group!(benches, push, pull);
criterion_main!(benches);
