//! The independent reader in `tests/reader` against what the program writes, and against the fixtures.
//!
//! It was written from `docs/format.md`: where it fails, the format and its description differ. Its Python
//! packages are installed once below `.cache`; without Python or a package index the tests are skipped
//! by name, and in continuous integration (`CI=true`) they fail.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may unwrap, and asks the environment whether this is CI"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

const CISTERN: &str = env!("CARGO_BIN_EXE_cistern");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Python with the packages the reader needs, or why there is none.
fn python() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(install).clone()
}

fn install() -> Result<PathBuf, String> {
    let venv = root().join(".cache/venv-reader");
    let python = venv.join("bin/python3");
    let usable = |python: &Path| {
        let look = Command::new(python).args(["-c", "import nacl.pwhash, zstandard"]).output();
        look.is_ok_and(|o| o.status.success())
    };
    if usable(&python) {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let packages = root().join("tests/reader/requirements.txt");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--timeout", "30", "--retries", "2", "-r"]).arg(packages);
    succeed(&mut pip)?;
    if usable(&python) { Ok(python) } else { Err("its packages do not load".to_owned()) }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

/// Python for the test of this name; `None` means that it is skipped.
fn python_for(test: &str) -> Option<PathBuf> {
    match python() {
        Ok(python) => Some(python),
        Err(why) if std::env::var_os("CI").is_some() => panic!("{test} needs Python: {why}"),
        Err(why) => {
            eprintln!("SKIPPED {test}: {why}");
            None
        }
    }
}

fn run(mut command: Command, stdin: &[u8]) -> Result<Vec<u8>, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A program that fails may not want to read its input.
    let writing = std::thread::spawn(move || input.write_all(&bytes).is_ok());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A repository in a folder, and what opens it.
struct Place {
    repository: PathBuf,
    key: [String; 2],
    python: PathBuf,
}

impl Place {
    fn new(repository: &Path, python: PathBuf, option: &str, key: &Path) -> Place {
        let key = [option.to_owned(), key.to_str().unwrap().to_owned()];
        Place { repository: repository.to_owned(), key, python }
    }

    fn cistern(&self, args: &[&str], stdin: &[u8]) -> Vec<u8> {
        let mut command = Command::new(CISTERN);
        // A home of its own: no configuration of whoever runs the tests counts.
        command.env_clear().env("HOME", self.repository.parent().unwrap());
        command.arg("--repo").arg(&self.repository).args(&self.key).args(args);
        run(command, stdin).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }

    fn read(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(root().join("tests/reader/cistern_reader.py"));
        command.arg(&self.repository).args(&self.key).args(args);
        run(command, b"")
    }

    /// Flips a bit of every pack, at a place that follows from its length.
    fn flip_in_packs(&self, place: impl Fn(usize) -> usize) {
        for shard in std::fs::read_dir(self.repository.join("packs")).unwrap() {
            for pack in std::fs::read_dir(shard.unwrap().path()).unwrap() {
                let path = pack.unwrap().path();
                let mut bytes = std::fs::read(&path).unwrap();
                let at = place(bytes.len());
                bytes[at] ^= 1;
                std::fs::remove_file(&path).unwrap();
                std::fs::File::create_new(&path).unwrap().write_all(&bytes).unwrap();
            }
        }
    }

    fn listed(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.read(&["ls"]).unwrap()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A night of a table, in which some rows differ from night to night.
fn night(number: u32) -> Vec<u8> {
    let row = |i: u32| match i % 1000 {
        7 => format!("{i}\tchanged in night {number}\n"),
        _ => format!("{i}\t{}\n", blake3::hash(&i.to_le_bytes()).to_hex()),
    };
    (0..30_000).flat_map(|i| row(i).into_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A fresh repository with two nights and a gzip stream in it.
fn written(folder: &TempDir, python: PathBuf) -> Place {
    let place =
        Place::new(&folder.path().join("repository"), python, "--key-file", &folder.path().join("key"));
    place.cistern(&["init", "--chunk-size", "16K"], b"");
    place.cistern(&["push", "db"], &night(0));
    place.cistern(&["push", "db"], &night(1));
    place.cistern(&["push", "compressed"], &gzip(&night(2)));
    place
}

#[test]
fn it_reads_what_the_program_writes() {
    let Some(python) = python_for("it_reads_what_the_program_writes") else { return };
    let folder = TempDir::new().unwrap();
    let place = written(&folder, python);
    let listed = place.listed();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().any(|s| s["depth"].as_u64() > Some(0)), "a recipe with pieces: {listed:?}");
    let first = listed[0]["id"].as_str().unwrap();
    for (snapshot, wanted) in [(first, night(0)), ("db", night(1)), ("compressed", night(2))] {
        for index in [&[][..], &["--no-index"]] {
            let got = place.read(&[index, &["pull", snapshot]].concat()).unwrap();
            assert!(got == wanted, "{snapshot} {index:?}: {} bytes for {}", got.len(), wanted.len());
        }
    }
    assert!(!place.read(&["check"]).unwrap().is_empty());
}

#[test]
fn it_does_without_the_index_and_with_condemned_packs() {
    let Some(python) = python_for("it_does_without_the_index_and_with_condemned_packs") else { return };
    let folder = TempDir::new().unwrap();
    let place = written(&folder, python);
    let first = place.listed()[0]["id"].as_str().unwrap().to_owned();
    place.cistern(&["forget", "--yes", "--id", &first], b"");
    assert_eq!(place.listed().len(), 2, "one was forgotten");
    place.cistern(&["prune", "--max-unused", "0"], b"");
    std::fs::remove_dir_all(place.repository.join("index")).unwrap();
    assert!(place.read(&["pull", &first]).is_err());
    assert!(place.read(&["pull", "db"]).unwrap() == night(1));
}

#[test]
fn it_refuses_damage_and_foreign_keys() {
    let Some(python) = python_for("it_refuses_damage_and_foreign_keys") else { return };
    let folder = TempDir::new().unwrap();
    let place = written(&folder, python.clone());
    let other = TempDir::new().unwrap();
    let key = other.path().join("key");
    let stranger = Place::new(&other.path().join("repository"), python, "--key-file", &key);
    stranger.cistern(&["init"], b"");
    let stranger = Place { repository: place.repository.clone(), ..stranger };
    assert!(stranger.read(&["ls"]).unwrap_err().contains("the key belongs to another repository"));

    // The trailer: who has the index does not need it.
    place.flip_in_packs(|len| len - 40);
    assert!(place.read(&["pull", "db"]).unwrap() == night(1));
    let error = place.read(&["--no-index", "pull", "db"]).unwrap_err();
    assert!(error.contains("trailer of packs/"), "{error}");
    // The first record.
    place.flip_in_packs(|_| 100);
    let error = place.read(&["pull", "db"]).unwrap_err();
    assert!(error.contains("does not match its seal"), "{error}");
    assert!(place.read(&["check"]).unwrap_err().contains("does not match its name"));
}

#[test]
fn it_reads_the_golden_repositories() {
    let Some(python) = python_for("it_reads_the_golden_repositories") else { return };
    for version in std::fs::read_dir(root().join("fixtures/repos")).unwrap() {
        let folder = version.unwrap().path();
        let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let wanted = manifest["snapshots"].as_array().unwrap();
        for (option, file) in [("--key-file", "owner.key"), ("--passphrase-file", "passphrase")] {
            let place = Place::new(&folder.join("repository"), python.clone(), option, &folder.join(file));
            assert_eq!(place.listed().len(), wanted.len());
            for snapshot in wanted {
                let content = place.read(&["pull", snapshot["id"].as_str().unwrap()]).unwrap();
                let digest = blake3::hash(&content).to_hex();
                assert_eq!(snapshot["blake3"], digest.as_str(), "{snapshot}");
            }
        }
    }
}

#[test]
fn it_agrees_with_the_golden_vectors() {
    let Some(python) = python_for("it_agrees_with_the_golden_vectors") else { return };
    let mut command = Command::new(python);
    command.arg("-B").arg(root().join("tests/reader/check_vectors.py"));
    command.arg(root().join("fixtures/vectors/v1.json"));
    run(command, b"").unwrap();
}
