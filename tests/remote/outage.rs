//! A store that goes away in the middle of a push, one that does not know us, and one that is not there.

use crate::support::home::{Home, now, wait_until};
use crate::support::place::{Place, two_nights};
use crate::support::{assert_failed, assert_sound, listed_names, skip};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `rclone serve s3` on a folder: it may be killed, and what it stored is there when it comes back.
struct Rclone {
    program: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl Rclone {
    fn new() -> Option<Rclone> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/python/bin/rclone");
        if !program.exists() {
            skip("rclone", "tests/servers/up did not install it");
            return None;
        }
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let port = free_port();
        let child = serve(&program, port, folder.path());
        Some(Rclone { program, port, folder, child })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = serve(&self.program, self.port, self.folder.path());
    }

    fn place(&self, secret: &str) -> Place {
        Place::s3(format!("http://127.0.0.1:{}/bucket", self.port), "cistern", secret)
    }

    fn stored_bytes(&self) -> u64 {
        crate::support::home::files_below(self.folder.path())
            .iter()
            .map(|f| f.metadata().map_or(0, |m| m.len()))
            .sum()
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(program: &Path, port: u16, folder: &Path) -> Child {
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.args(["serve", "s3", "--config", "/dev/null", "--auth-key", "cistern,cistern-secret", "--addr"]);
    command.arg(&address).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    wait_until("rclone listens", || TcpStream::connect(&address).is_ok());
    child
}

/// A port nobody listens on just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_push_outlives_a_store_that_is_killed_and_started_again() {
    let Some(mut rclone) = Rclone::new() else { return };
    let home = rclone.place("cistern-secret").home();
    home.ok(&["init"], b"");
    let (first, second) = two_nights("restart");
    let stream = [first, second].concat();
    let mut command = home.command(&["push", "db"]);
    let mut push = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = push.stdin.take().unwrap();
    input.write_all(&stream[..24 << 20]).unwrap();
    wait_until("a pack is stored", || rclone.stored_bytes() > 8 << 20);
    rclone.kill();
    // As much as the program can hold, and more, while nobody is there to take it.
    let rest = stream[24 << 20..].to_vec();
    let feeder = std::thread::spawn(move || input.write_all(&rest));
    std::thread::sleep(Duration::from_secs(3));
    assert!(push.try_wait().unwrap().is_none(), "it waits for the store");
    rclone.start_again();
    let output = push.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    feeder.join().unwrap().unwrap();
    assert!(home.pull("db") == stream);
    assert_sound(&home);
}

#[test]
fn a_push_gives_up_when_the_store_stays_away_and_nothing_is_listed() {
    let Some(mut rclone) = Rclone::new() else { return };
    let place = rclone.place("cistern-secret");
    let home = Place { options: format!("{}retry_secs = 2\n", place.options), ..place }.home();
    home.ok(&["init"], b"");
    home.ok(&["push", "before"], b"before");
    let (stream, _) = two_nights("away");
    let mut command = home.command(&["push", "db"]);
    let mut push = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = push.stdin.take().unwrap();
    input.write_all(&stream[..1 << 20]).unwrap();
    rclone.kill();
    let feeder = std::thread::spawn(move || input.write_all(&stream[1 << 20..]));
    let began = now();
    let output = push.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{err}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // It reads no further, so the feeder may fail; it must not hang.
    let _ = feeder.join().unwrap();
    rclone.start_again();
    assert_eq!(listed_names(&home), ["before"]);
    assert_sound(&home);
}

/// The command fails with this code before `limit` is over.
fn assert_fails_within(home: &Home, args: &[&str], code: i32, limit: Duration) {
    let began = now();
    let ran = home.run(args, b"some bytes");
    assert_failed(&ran, code);
    assert!(began.elapsed() < limit, "{args:?} took {:?}", began.elapsed());
}

#[test]
fn wrong_credentials_are_said_at_once() {
    let Some(rclone) = Rclone::new() else { return };
    let wrong = rclone.place("guessed").home();
    for args in [&["init"][..], &["push", "db"], &["ls"], &["prune"]] {
        assert_fails_within(&wrong, args, 4, Duration::from_secs(10));
    }
    let ran = wrong.run(&["init"], b"");
    assert!(!ran.err.contains("guessed") && ran.err.contains("credentials"), "{}", ran.err);
}

#[test]
fn wrong_credentials_of_azure_and_gcs_are_said_at_once() {
    for (variable, secret) in [("CISTERN_TEST_AZURE", "Z3Vlc3NlZA=="), ("CISTERN_TEST_GCS", "wrong")] {
        let Some(place) = Place::named(variable) else { continue };
        let wrong = Place { secret: (place.secret.0, secret.to_owned()), ..place }.home();
        assert_fails_within(&wrong, &["init"], 4, Duration::from_secs(10));
        assert!(!wrong.run(&["init"], b"").err.contains(secret));
    }
}

#[test]
fn a_store_that_is_not_there_is_given_up_in_time() {
    let place = Place::s3(format!("http://127.0.0.1:{}/bucket", free_port()), "any", "any");
    let home =
        Place { options: format!("{}retry_secs = 2\nconnect_secs = 2\n", place.options), ..place }.home();
    for args in [&["init"][..], &["push", "db"], &["pull", "db"], &["ls"], &["prune"], &["verify"]] {
        assert_fails_within(&home, args, 6, Duration::from_secs(20));
    }
}
