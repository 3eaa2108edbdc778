//! The contract on memory and a local directory, and what a disk does wrong.

#![expect(clippy::disallowed_methods, reason = "tests unwrap, and read clock and environment")]

use bytes::Bytes;
use cistern_store::doctor::{Verdict, probe};
use cistern_store::{ErrorKind, FsStore, Key, Location, MemStore, Options, Store, contract};
use futures::TryStreamExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::check(&MemStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    contract::check(&store).await;
    assert_eq!(store.staging_len().await.unwrap(), 0, "no staging file is left");
}

#[tokio::test]
async fn files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    put(&store, "packs/3f/x", b"secret").await.unwrap();
    for (path, mode) in [("packs", 0o700), ("packs/3f", 0o700), (".staging", 0o700), ("packs/3f/x", 0o600)] {
        let found = std::fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(std::fs::metadata(dir.path().join("packs/3f/x")).unwrap().nlink(), 1, "no second name");
}

#[tokio::test]
async fn listings_leave_out_what_is_not_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    put(&store, "a/b", b"x").await.unwrap();
    for stray in [".nfs000012", "a/.nfs000013", ".staging/0123", "a/two words", "lost+found"] {
        touch(&dir.path().join(stray));
    }
    std::os::unix::fs::symlink("b", dir.path().join("a/link")).unwrap();
    let keys: Vec<_> = store.list("").map_ok(|e| e.key.to_string()).try_collect().await.unwrap();
    assert_eq!(keys, ["a/b"]);
}

#[tokio::test]
async fn only_old_staging_files_are_cleaned() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    assert_eq!(store.clean_staging(Duration::ZERO).await.unwrap(), 0, "there is no staging directory yet");
    put(&store, "a", b"x").await.unwrap();
    let old = dir.path().join(".staging/old");
    touch(&old);
    touch(&dir.path().join(".staging/young"));
    let day = Duration::from_secs(24 * 3600);
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - 2 * day).unwrap();
    assert_eq!(store.staging_len().await.unwrap(), 2);
    assert_eq!(store.clean_staging(day).await.unwrap(), 1);
    assert!(!old.exists());
    assert_eq!(store.staging_len().await.unwrap(), 1);
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    put(&store, "a/b/1", b"x").await.unwrap();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    put(&store, "a/b/2", b"y").await.unwrap();
    std::fs::remove_dir_all(dir.path().join(".staging")).unwrap();
    put(&store, "a/b/3", b"z").await.unwrap();
    assert_eq!(store.get(&Key::new("a/b/3"), 9).await.unwrap(), "z");
}

#[tokio::test]
async fn a_missing_root_is_said_at_once_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("not/mounted");
    let e = FsStore::open(&absent).err().unwrap();
    assert_eq!(e.kind, ErrorKind::Config, "{e}");
    assert!(!absent.exists());
    FsStore::create(&absent).unwrap();
    assert_eq!(std::fs::metadata(&absent).unwrap().permissions().mode() & 0o777, 0o700);
    touch(&dir.path().join("file"));
    assert_eq!(FsStore::open(dir.path().join("file")).err().unwrap().kind, ErrorKind::Config);
}

#[tokio::test]
async fn a_read_only_file_system_is_denied() {
    let Some(mount) = Tmpfs::new("size=1m") else { return };
    let store = FsStore::open(mount.path()).unwrap();
    put(&store, "a", b"x").await.unwrap();
    mount.remount("ro");
    let e = put(&store, "b", b"y").await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Denied, "{e}");
    let e = store.delete(&Key::new("a")).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Denied, "{e}");
    assert_eq!(store.get(&Key::new("a"), 9).await.unwrap(), "x", "it is still read");
}

#[tokio::test]
async fn a_full_disk_is_full_and_keeps_no_half_object() {
    let Some(mount) = Tmpfs::new("size=1m") else { return };
    let store = FsStore::open(mount.path()).unwrap();
    let e = put(&store, "large", &vec![7; 3 << 20]).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Full, "{e}");
    assert_eq!(store.staging_len().await.unwrap(), 0, "the staging file is gone");
    assert_eq!(store.head(&Key::new("large")).await.unwrap_err().kind, ErrorKind::NotFound);
    put(&store, "small", &vec![7; 700 << 10]).await.expect("the room was given back");
}

#[tokio::test]
async fn a_file_system_without_room_for_names_is_full() {
    let Some(mount) = Tmpfs::new("size=1m,nr_inodes=6") else { return };
    let store = FsStore::open(mount.path()).unwrap();
    let mut last = Ok(());
    for i in 0..8 {
        last = put(&store, &format!("f{i}"), b"x").await;
    }
    assert_eq!(last.unwrap_err().kind, ErrorKind::Full);
}

#[tokio::test]
async fn an_immutable_directory_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path()).unwrap();
    put(&store, "d/a", b"x").await.unwrap();
    // Root may write everywhere, but not where the inode says that nobody may.
    let Some(_locked) = Immutable::new(dir.path().join("d")) else { return };
    let e = put(&store, "d/b", b"y").await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Denied, "{e}");
    assert_eq!(store.staging_len().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_local_directory_good() {
    let dir = tempfile::tempdir().unwrap();
    let location: Location = dir.path().to_str().unwrap().parse().unwrap();
    let report = probe(&location, &Options::default(), SystemTime::now()).await.unwrap();
    for check in ["create-if-absent", "racing-writers", "list-after-write", "range-read", "clock", "delete"] {
        let finding = report.finding(check).expect(check);
        assert_eq!(finding.verdict, Verdict::Good, "{finding:?}");
    }
    let left: Vec<_> = FsStore::open(dir.path()).unwrap().list("").try_collect().await.unwrap();
    assert!(left.is_empty(), "it cleans up: {left:?}");
    assert!(serde_json::to_string(&report).unwrap().contains(r#""check":"clock","verdict":"good""#));
}

#[tokio::test]
async fn the_doctor_sees_leftovers_and_wrong_clocks() {
    let dir = tempfile::tempdir().unwrap();
    touch(&dir.path().join(".staging/old"));
    let location: Location = dir.path().to_str().unwrap().parse().unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    let report = probe(&location, &Options::default(), yesterday).await.unwrap();
    assert_eq!(report.finding("leftovers").unwrap().verdict, Verdict::Limited);
    let clock = report.finding("clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Bad);
    assert!(clock.measured.contains("ahead of ours"), "{}", clock.measured);
    assert_eq!(report.verdict(), Verdict::Bad, "the worst counts");
}

#[tokio::test]
async fn the_doctor_says_that_it_may_not_write() {
    let Some(mount) = Tmpfs::new("size=1m") else { return };
    mount.remount("ro");
    let location = Location::Directory(mount.path().to_owned());
    let report = probe(&location, &Options::default(), SystemTime::now()).await.unwrap();
    let write = report.finding("read-after-write").unwrap();
    assert_eq!(write.verdict, Verdict::Bad);
    assert!(write.measured.contains("read-write"), "it says what to do: {}", write.measured);
}

/// The order that makes a crash harmless, as the kernel saw it: bytes, then name, then directory; and every
/// new directory in the one above it before that.
#[tokio::test]
async fn bytes_are_on_disk_before_their_name_and_the_name_before_the_answer() {
    const TEST: &str = "bytes_are_on_disk_before_their_name_and_the_name_before_the_answer";
    if let Ok(dir) = std::env::var("CISTERN_TEST_TRACED") {
        return put(&FsStore::open(dir).unwrap(), "a/b/c", b"x").await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("trace");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let trace = "trace=fsync,fdatasync,link,linkat,mkdir,mkdirat";
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-y", "-s", "4096", "-e", trace, "-o"]).arg(&log);
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", TEST]).env("CISTERN_TEST_TRACED", &root);
    if !strace.output().is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "in CI strace(1) must be there");
        return println!("skipped: the order of system calls: strace(1) is absent or may not trace");
    }
    let log = std::fs::read_to_string(log).unwrap();
    let root = root.to_str().unwrap();
    let at = |call: &str, path: &str| {
        let path = format!("{root}{path}");
        let found = log.lines().position(|line| line.contains(call) && line.contains(&path));
        found.unwrap_or_else(|| panic!("no {call} of {path} in\n{log}"))
    };
    let order = [
        at("mkdir", "/a\""),
        at("fsync(", ">)"),
        at("mkdir", "/a/b\""),
        at("fsync(", "/a>)"),
        at("fdatasync(", "/.staging/"),
        at("link", "/a/b/c\""),
        at("fsync(", "/a/b>)"),
    ];
    assert!(order.is_sorted(), "{order:?} in\n{log}");
}

async fn put(store: &FsStore, key: &str, bytes: &[u8]) -> Result<(), cistern_store::Error> {
    store.put_new(&Key::new(key), vec![Bytes::copy_from_slice(bytes)]).await
}

fn touch(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap();
}

/// A small file system in memory; unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None`, and a line that says so, where this user may not mount.
    fn new(options: &str) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        if !run("mount", &["-t", "tmpfs", "-o", options, "cistern-test", dir.path().to_str().unwrap()]) {
            println!("skipped: a file system of our own: mount(8) needs root");
            return None;
        }
        Some(Tmpfs(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(run("mount", &["-o", &options, self.path().to_str().unwrap()]), "remount");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

/// A directory with the immutable flag; taken off when dropped.
struct Immutable(String);

impl Immutable {
    fn new(dir: impl AsRef<Path>) -> Option<Immutable> {
        let dir = dir.as_ref().to_str().unwrap().to_owned();
        if !run("chattr", &["+i", &dir]) {
            println!(
                "skipped: an immutable directory: chattr(1) needs root and a file system that has the flag"
            );
            return None;
        }
        Some(Immutable(dir))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        run("chattr", &["-i", &self.0]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program).args(args).output().is_ok_and(|out| out.status.success())
}
