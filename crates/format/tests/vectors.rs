//! Golden vectors: what the format makes of fixed inputs, as `docs/format.md` shows it.
//!
//! `fixtures/vectors/v1.json` was written once and never changes: other bytes here mean that
//! repositories of version 1 cannot be read any more, or no longer deduplicate against their past. To
//! write the file of a new version, remove nothing and run
//! `cargo test -p cistern-format --test vectors -- --ignored`.
#![expect(clippy::disallowed_methods, reason = "the macro `json!` unwraps")]

use bytes::Bytes;
use cistern_format::chunk::{ChunkSizes, Cutter};
use cistern_format::codec::{Codec, Expander, Squeezer};
use cistern_format::envelope::{self, Kind};
use cistern_format::id::{PackId, RepoId, SessionId};
use cistern_format::keys::{Keyring, Role, Secret32};
use cistern_format::object::{Forgotten, to_cbor};
use cistern_format::pack::{self, PackBuilder, PackRandom};
use cistern_format::padme::padded_len;
use cistern_format::record::{Binding, ChunkKind, NONCE_LEN, OVERHEAD, Sealer, chunk_id};
use cistern_format::sketch::{Sketcher, series};
use cistern_format::slot::{Cost, Slot};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const BASE: &[u8] =
    b"1\tAda Lovelace\tLondon, London, London\n2\tGrace Hopper\tNew York\n3\tAlan Turing\tLondon, London, London\n";
const CHANGED: &[u8] =
    b"1\tAda Lovelace\tLondon, London, London\n2\tGrace Hopper\tArlington\n3\tAlan Turing\tLondon, London, London\n";
const PASSPHRASE: &str = "correct horse battery";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/v1.json")
}

/// 0, 1, 2, … for a secret nobody should use.
fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(i as u8))
}

fn keys() -> Keyring {
    Keyring::from_root(Secret32(counting(0)), RepoId(counting(0xa0)))
}

fn session() -> SessionId {
    SessionId::new(1_700_000_000_000, counting(0x50))
}

/// The output of BLAKE3 under a key of equal bytes: content that anybody can make again.
fn noise(key: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[key; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

fn derived_keys() -> Value {
    let keys = keys();
    let base = blake3::Hasher::new_derive_key("cistern v1 repository root")
        .update(&counting::<32>(0))
        .update(&keys.repo().0)
        .finalize();
    let credential = keys.restrict(Role::Pull).expect("the owner's").to_credential();
    let payload = credential.reveal().rsplit('-').next().expect("it has a payload").to_owned();
    // Version and repository come first, then eight keys of 64 digits each.
    let of_pull = |n: usize| payload[34 + 64 * n..34 + 64 * (n + 1)].to_owned();
    json!({
        "root": hex::encode(counting::<32>(0)),
        "repository": keys.repo(),
        "base": base.to_hex().as_str(),
        "metadata": hex::encode(keys.meta().0),
        "pack_mac": hex::encode(keys.auth().0),
        "recipe_id": hex::encode(keys.recipe_id().0),
        "chunk_id": of_pull(2),
        "gear": of_pull(3),
        "sketch": of_pull(4),
        "data_psk": of_pull(5),
        "data_public": of_pull(6),
        "data_secret": of_pull(7),
    })
}

fn credentials() -> Value {
    let text = |role| keys().restrict(role).expect("the owner's").to_credential().reveal().to_owned();
    json!({
        "owner": text(Role::Owner),
        "pull": text(Role::Pull),
        "push": text(Role::Push),
        "maintain": text(Role::Maintain),
    })
}

fn key_slot() -> Value {
    let cost = Cost { memory_kib: 64, passes: 1 };
    let slot = Slot::lock(&keys(), "tests", PASSPHRASE.as_bytes(), cost, counting(1), counting(2));
    let slot: Value = serde_json::from_slice(&slot.encode()).expect("a slot is JSON");
    json!({ "passphrase": PASSPHRASE, "slot": slot })
}

/// A chunk stored as it is: its record under the session's data key.
fn record() -> (Binding, Vec<u8>, Value) {
    let keys = keys();
    let random = counting(0x10);
    let data_key = keys.new_data_key(session(), random).expect("the owner's");
    let id = chunk_id(keys.chunk_id().expect("the owner's"), BASE);
    let binding =
        Binding { id, kind: ChunkKind::Data, codec: Codec::Raw, raw_len: BASE.len() as u32, base: None };
    let mut record = vec![0; BASE.len() + OVERHEAD];
    record[NONCE_LEN..NONCE_LEN + BASE.len()].copy_from_slice(BASE);
    Sealer::data(keys.repo(), &data_key).seal(&binding, counting(0x30), &mut record, BASE.len());
    let shown = json!({
        "session": session(),
        "seed": hex::encode(&random[..32]),
        "ephemeral_secret": hex::encode(&random[32..]),
        "sealed_seed": hex::encode(data_key.sealed),
        "chunk": hex::encode(BASE),
        "chunk_id": id,
        "codec": 0,
        "kind": 0,
        "nonce": hex::encode(counting::<24>(0x30)),
        "record": hex::encode(&record),
    });
    (binding, record, shown)
}

fn sealed_envelope() -> Value {
    let key = format!("forgotten/{}", session());
    let body = to_cbor(&Forgotten { reason: "test".to_owned(), at_ms: 1_700_000_000_000 });
    let object = envelope::seal(&keys(), Kind::Forgotten, &key, counting(0x60), &body);
    json!({
        "key": key,
        "nonce": hex::encode(counting::<24>(0x60)),
        "body": hex::encode(body),
        "object": hex::encode(object),
    })
}

fn tiny_pack() -> Value {
    let keys = keys();
    let data_key = keys.new_data_key(session(), counting(0x10)).expect("the owner's");
    let (binding, record, _) = record();
    let mut builder = PackBuilder::new(session(), 64 << 10);
    builder.add(binding, Bytes::from(record), Some(&(session(), data_key.sealed)));
    let random = PackRandom { directory: counting(0x70), trailer: counting(0x90), padding: counting(0xb0) };
    let pack = builder.finish(&keys, true, &random);
    json!({
        "directory_nonce": hex::encode(random.directory),
        "trailer_nonce": hex::encode(random.trailer),
        "padding_seed": hex::encode(random.padding),
        "directory": hex::encode(pack.directory.encode()),
        "object": hex::encode(pack.parts.concat()),
        "key": pack.id.key(),
    })
}

fn cuts() -> Value {
    let sizes = ChunkSizes::around(16 << 10).expect("legal");
    let cutter = Cutter::new(sizes, &keys().gear().expect("the owner's").0);
    let stream = noise(9, 200_000);
    let (mut rest, mut lengths) = (&stream[..], Vec::new());
    while let Some(len) = cutter.cut(rest, true) {
        lengths.push(len);
        rest = &rest[len..];
    }
    json!({ "noise_key_byte": 9, "stream_bytes": stream.len(), "chunk_sizes": sizes, "lengths": lengths })
}

fn sketch() -> Value {
    let keys = keys();
    let sketch = Sketcher::new(keys.sketch().expect("the owner's")).sketch(&noise(9, 50_000));
    let features = sketch.expect("long enough").0;
    json!({ "noise_key_byte": 9, "chunk_bytes": 50_000, "features": features, "name": "db", "series": hex::encode(series(&keys, "db")) })
}

fn padme() -> Value {
    let lengths = [0u64, 1, 2, 9, 100, 1000, 4097, 65_537, 16_777_217];
    json!(lengths.map(|len| [len, padded_len(len)]))
}

/// Everything whose bytes follow from its inputs.
fn vectors() -> Value {
    json!({
        "keys": derived_keys(),
        "credentials": credentials(),
        "key_slot": key_slot(),
        "record": record().2,
        "envelope": sealed_envelope(),
        "pack": tiny_pack(),
        "cuts": cuts(),
        "sketch": sketch(),
        "padme": padme(),
    })
}

fn golden() -> Value {
    let text = std::fs::read_to_string(file()).expect("fixtures/vectors/v1.json is part of the repository");
    serde_json::from_str(&text).expect("it is JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a text")).expect("hex digits")
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (golden, ours) = (golden(), vectors());
    for (section, value) in ours.as_object().expect("sections") {
        assert_eq!(&golden[section], value, "{section} changed: see the top of this file");
    }
}

#[test]
fn golden_frames_expand() {
    // What zstd writes may differ from release to release; what it reads must not.
    let frames = &golden()["frames"];
    let expand = |codec, frame: &Value, base| {
        Expander::default().expand(codec, &bytes(frame), CHANGED.len(), base).expect("a sound frame")
    };
    assert_eq!(bytes(&frames["chunk"]), CHANGED);
    assert_eq!(expand(Codec::Zstd, &frames["zstd"], None), CHANGED);
    assert_eq!(expand(Codec::Delta, &frames["delta"], Some(&bytes(&frames["base"])[..])), CHANGED);
}

#[test]
fn golden_objects_open() {
    let (golden, keys) = (golden(), keys());
    let key = golden["envelope"]["key"].as_str().expect("a text");
    let body = envelope::open(&keys, Kind::Forgotten, key, &bytes(&golden["envelope"]["object"]));
    assert_eq!(body, Ok(bytes(&golden["envelope"]["body"])));

    let name = golden["pack"]["key"].as_str().expect("a text").rsplit('/').next().expect("a name");
    let id: PackId = name.parse().expect("a pack's name");
    let directory = pack::check_whole(&keys, &id, &bytes(&golden["pack"]["object"])).expect("a sound pack");
    let (offset, row) = directory.located().next().expect("one record");
    let (session, sealed) = directory.keys[row.key.expect("data") as usize];
    let sealer = Sealer::data(keys.repo(), &keys.open_data_key(session, &sealed).expect("ours"));
    let object = bytes(&golden["pack"]["object"]);
    let mut record = object[offset as usize..][..row.record_len as usize].to_vec();
    assert_eq!(sealer.open(&row.binding, &mut record), Ok(BASE));

    let slot = Slot::decode(golden["key_slot"]["slot"].to_string().as_bytes()).expect("a slot");
    let opened = slot.unlock(keys.repo(), PASSPHRASE.as_bytes()).expect("sound").expect("its passphrase");
    assert_eq!(opened.to_credential().reveal(), golden["credentials"]["owner"].as_str().expect("a text"));
}

#[test]
#[ignore = "writes the vectors of a new format version; refuses to replace any"]
fn write_the_vectors() {
    let mut squeezer = Squeezer::new(3);
    let mut frame = vec![0; Squeezer::bound(CHANGED.len())];
    let delta_len = squeezer.squeeze_against(BASE, CHANGED, &mut frame).expect("zstd works");
    let delta = hex::encode(&frame[..delta_len]);
    let mut plain = vec![0; Squeezer::bound(2 * CHANGED.len())];
    let (codec, len) = squeezer.squeeze(CHANGED, &mut plain);
    assert_eq!(codec, Codec::Zstd, "the chunk is too short to be squeezed");
    let zstd = hex::encode(&plain[..len]);
    let mut all = vectors();
    all["frames"] = json!({
        "base": hex::encode(BASE), "chunk": hex::encode(CHANGED), "zstd": zstd, "delta": delta,
    });
    let mut file = std::fs::File::create_new(file()).expect("vectors are never written again");
    writeln!(file, "{all:#}").expect("the disk has room");
}

#[test]
fn the_page_shows_every_vector() {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.values().for_each(|v| texts(v, found)),
            Value::Array(items) => items.iter().for_each(|v| texts(v, found)),
            other => found.push(other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let page = std::fs::read_to_string(page).expect("docs/format.md is part of the repository");
    // Long values are broken into lines, numbers into groups of three.
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let page = squeeze(&page);
    let mut values = Vec::new();
    texts(&golden(), &mut values);
    assert!(values.len() > 50, "there are as many vectors");
    for value in values {
        assert!(page.contains(&squeeze(&value)), "docs/format.md does not show {value}");
    }
}
