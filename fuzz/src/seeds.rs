//! Writes the first inputs of every corpus from the repository's fixtures; what fuzzing found stands beside them.
//!
//! `cargo test --test fuzz -- --ignored write_the_seeds`

use crate::keys;
use cistern_format::config::Marker;
use cistern_format::envelope::{self, Kind};
use cistern_format::keys::{Credential, Keyring, Role};
use cistern_format::object::to_cbor;
use cistern_format::slot::{Cost, Slot};
use cistern_stream::gzip::{Limits, Unwrapper};
use std::path::{Path, PathBuf};

/// Longer inputs slow a fuzzer down more than they teach it, in bytes.
const SEED_BYTES_MAX: usize = 6000;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Adds an input to a corpus, under a name made of its content.
fn seed(target: &str, parts: &[&[u8]]) {
    let input = parts.concat();
    if input.len() > SEED_BYTES_MAX {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    let name = blake3::hash(&input).to_hex();
    std::fs::write(folder.join(&name[..16]), input).unwrap();
}

/// The length of the first of two byte strings, as `arbitrary` wants it at the end of its input.
fn length(first: &[u8], second: &[u8]) -> Vec<u8> {
    let len = first.len();
    if len + second.len() < 256 { vec![len as u8] } else { (len as u16).to_be_bytes().to_vec() }
}

/// Bytes without pattern, by number.
fn noise(number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[number; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
#[ignore = "writes into the source tree"]
fn write_the_seeds() {
    in_clear();
    golden_repository();
    dumps();
    templates();
    recipes();
    for number in 0..40 {
        seed("repository", &[&noise(number, 40 + 12 * usize::from(number))]);
        seed("pack", &[&noise(number, 20 + usize::from(number))]);
        seed("codec", &[&noise(number, 20 + 4 * usize::from(number))]);
    }
}

fn in_clear() {
    let keys = keys();
    seed("clear", &[&[0], &Marker::new(keys.repo()).encode()]);
    let cost = Cost { memory_kib: 64, passes: 1 };
    seed("clear", &[&[1], &Slot::lock(&keys, "me", b"guess", cost, [3; 16], [4; 24]).encode()]);
    for role in [Role::Maintain, Role::Push, Role::Pull, Role::Owner] {
        let credential = keys.restrict(role).unwrap().to_credential();
        seed("clear", &[&[2], credential.reveal().as_bytes()]);
    }
    for name in
        ["01HF7YAT002CDZYE4V1QQ2E52Y", "1fd22790732ac5b424c31e779ce520ed4c9787e6.01HF7YB9M07RQBSJR1B7JVX8DC"]
    {
        seed("clear", &[&[3], name.as_bytes()]);
    }
}

/// The bodies behind the seals of a golden repository.
fn golden_repository() {
    let folder = fixtures().join("repos/v1");
    let credential = std::fs::read_to_string(folder.join("owner.key")).unwrap();
    let golden = Keyring::from_credential(&Credential::new(credential)).unwrap();
    for path in files_below(&folder.join("repository")) {
        let key = path.strip_prefix(folder.join("repository")).unwrap().to_str().unwrap().to_owned();
        let object = std::fs::read(&path).unwrap();
        if key.starts_with("packs/") {
            pack(&golden, &key, &object);
        }
        let Some(kind) = envelope::kind_of(&object) else { continue };
        let body = envelope::open(&golden, kind, &key, &object).unwrap();
        seed("envelope", &[&[0, kind as u8], &object]);
        seed("envelope", &[&[1, kind as u8], &[0; 9], &body]);
        seed("envelope", &[&[2, kind as u8, 0, 0, 1], &body]);
        match kind {
            Kind::Index => seed("index", &[&[1], &body]),
            Kind::Sketches => seed("index", &[&[2], &body]),
            Kind::Config => seed("objects", &[&[0], &body]),
            Kind::Snapshot => seed("objects", &[&[1], &body]),
            Kind::Session => seed("objects", &[&[2], &body]),
            Kind::Tombstone => seed("objects", &[&[3], &body]),
            Kind::Mark => seed("objects", &[&[4], &body]),
            Kind::Forgotten => seed("objects", &[&[5], &body]),
            Kind::Trash if key.ends_with(".queue") => seed("objects", &[&[7], &body]),
            Kind::Trash => seed("objects", &[&[6], &body]),
            Kind::Verified => seed("objects", &[&[8], &body]),
        }
    }
}

fn pack(golden: &Keyring, key: &str, object: &[u8]) {
    let id = key.rsplit('/').next().unwrap().parse().unwrap();
    let directory = cistern_format::pack::check_whole(golden, &id, object).unwrap();
    let encoded = directory.encode();
    seed("index", &[&[0], &encoded]);
    seed("pack", &[&[1], &[5; 16], &[0], &[0; 24], &encoded]);
    let sealer = cistern_format::record::Sealer::recipe(golden);
    for (offset, row) in directory.located().filter(|(_, row)| row.key.is_none()) {
        let (from, to) = (offset as usize, offset as usize + row.record_len as usize);
        let mut record = object[from..to].to_vec();
        let squeezed = sealer.open(&row.binding, &mut record).unwrap();
        let mut expander = cistern_format::codec::Expander::default();
        let (codec, raw_len) = (row.binding.codec, row.binding.raw_len as usize);
        let piece = expander.expand(codec, squeezed, raw_len, None).unwrap();
        seed("index", &[&[3], &piece]);
        seed("codec", &[&[1, 1], &row.binding.raw_len.to_le_bytes(), &[0], squeezed]);
    }
}

fn dumps() {
    for path in files_below(&fixtures().join("dumps")) {
        let dump = std::fs::read(&path).unwrap();
        seed("sniffer", &[&[0, 3, 1, 77], &dump]);
        if !dump.starts_with(&[0x1f, 0x8b]) {
            continue;
        }
        seed("gunzip", &[&[6, 3, 1, 77, 0], &dump]);
        let (mut content, mut unwrapper) = (Vec::new(), Unwrapper::new(Limits::default()));
        unwrapper.push(&dump, &mut |bytes| content.extend_from_slice(bytes)).unwrap();
        let segments = to_cbor(&unwrapper.finish().unwrap());
        seed("rewrap", &[&segments, &content, &length(&segments, &content)]);
    }
    for text in [&b"some rows\n"[..], b""] {
        seed("gunzip", &[&[6, 3, 1, 77, 1], text, &[text.len() as u8]]);
    }
}

fn templates() {
    for (file, target, every) in [("cases.json", "template", 100), ("jsonpath.json", "jsonpath", 12)] {
        let text = std::fs::read_to_string(fixtures().join("templates").join(file)).unwrap();
        let suite: serde_json::Value = serde_json::from_str(&text).unwrap();
        for case in suite["cases"].as_array().unwrap().iter().step_by(every) {
            let text = case["template"].as_str().or(case["path"].as_str()).expect("a case has a text");
            seed(target, &[text.as_bytes()]);
        }
    }
    let data = br#"{"name": "db", "list": [1, {"a": 2}], "map": {"k": null}}"#;
    seed("template", &[b"{{ range $k, $v := .map }}{{ $k }}{{ end }}{{ index .list 1 }}\0", data]);
    seed("jsonpath", &[b"{.list[?(@.a==2)].a}{range .list[*]}{@}{end} { $.name }\0", data]);
    let line = "{{ range until 20000 }}".to_owned() + &"x".repeat(100) + "{{ end }}";
    seed("template", &[line.as_bytes()]);
    // Replaced by texts that have more to replace.
    let data = serde_json::json!({ "a": "{ $.b }".repeat(368), "b": "b".repeat(2900) });
    seed("jsonpath", &[b"{ $.a }{ $.b }\0", data.to_string().as_bytes()]);
}

fn recipes() {
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let folder = fixtures().join("kanister");
    for file in files_below(&folder) {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => seed("yaml", &[text(&file).as_bytes()]),
            _ if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("profile-")) => {
                seed("profile", &[text(&file).as_bytes()]);
            }
            _ => {}
        }
    }
    let cases: serde_json::Value = serde_json::from_str(&text(&folder.join("yaml-cases.json"))).unwrap();
    for case in cases.as_array().or(cases["cases"].as_array()).expect("a list of cases").iter().step_by(8) {
        seed("yaml", &[case["yaml"].as_str().expect("a case has a text").as_bytes()]);
    }
    for file in files_below(&fixtures().join("blueprints")).into_iter().step_by(4) {
        seed("lint", &[text(&file).as_bytes()]);
    }
    seed("profile", &[br#"{"id":"k1","logicalSize":5,"physicalSize":0}"#]);
    seed("profile", &[br#"{"cistern.dev/profile-file": "/run/profile.json"}"#]);
    let line = cistern_api::wire::output_line("key", "va\"lue\n").unwrap();
    for log in [format!("said\n{line}more"), format!("x{}{line}", "###Phase-out"), "###".repeat(9)] {
        for step in [0, 6] {
            seed("output", &[&[step], log.as_bytes()]);
        }
    }
}
