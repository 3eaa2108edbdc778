//! Disks that are full, and disks that may only be read.

use crate::support::home::{Home, Ran};
use crate::support::{assert_failed, assert_sound, is_root, listed_names, seeded, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted for a test; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts with these arguments, or says what is skipped.
    fn new(name: &str, args: &[&str], at: &Path) -> Option<Mounted> {
        if !is_root() {
            skip(name, "only root may mount");
            return None;
        }
        std::fs::create_dir_all(at).unwrap();
        match mount(args, at) {
            Ok(()) => Some(Mounted(at.to_owned())),
            Err(why) => {
                skip(name, &format!("cannot mount: {}", why.trim()));
                None
            }
        }
    }

    fn again(&self, options: &str) {
        mount(&["-o", options], &self.0).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(args: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(args).arg(at).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn a_full_disk_is_said_and_costs_nothing_that_was_there() {
    let home = Home::new();
    let tmpfs = ["-t", "tmpfs", "-o", "size=24m", "tmpfs"];
    let Some(disk) = Mounted::new("disk-full", &tmpfs, &home.repository()) else { return };
    let (small, large) = (seeded("small", 4 << 20), seeded("large", 48 << 20));
    home.ok(&["push", "small"], &small);
    let ran = home.run(&["push", "large"], &large);
    assert_failed(&ran, 7);
    assert!(ran.err.contains("make room"), "{}", ran.err);
    assert_eq!(listed_names(&home), ["small"]);
    assert!(home.pull("small") == small, "a pull needs no room");
    // To the last byte.
    let filler = home.repository().join("filler");
    let _ = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&filler).unwrap());
    assert_failed(&home.run(&["push", "tiny"], b"a few bytes"), 7);
    assert!(home.pull("small") == small, "a pull needs no room at all");
    std::fs::remove_file(filler).unwrap();
    disk.again("remount,size=128m");
    home.ok(&["push", "large"], &large);
    assert!(home.pull("large") == large);
    assert_sound(&home);
}

#[test]
fn pruning_makes_room_on_a_full_disk() {
    let home = Home::new();
    let tmpfs = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"];
    let Some(_disk) = Mounted::new("disk-full", &tmpfs, &home.repository()) else { return };
    home.ok(&["push", "db"], &seeded("first", 12 << 20));
    home.ok(&["push", "db"], &seeded("second", 12 << 20));
    let third = seeded("third", 12 << 20);
    assert_failed(&home.run(&["push", "db"], &third), 7);
    home.ok(&["forget", "db", "--keep-last", "1"], b"");
    for _ in 0..2 {
        home.ok(&["prune", "--grace", "0s", "--session-timeout", "0s"], b"");
    }
    home.ok(&["push", "db"], &third);
    assert!(home.pull("db") == third);
    assert_sound(&home);
}

/// What can be done with a repository that cannot be written.
fn assert_read_only(home: &Home, content: &[u8], run: impl Fn(&[&str], &[u8]) -> Ran) {
    let pulled = run(&["pull", "db"], b"");
    assert_eq!(pulled.code, Some(0), "{}", pulled.err);
    assert!(pulled.out == content);
    for args in [&["ls"][..], &["verify"], &["stats"]] {
        let ran = run(args, b"");
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
    }
    assert_failed(&run(&["push", "db"], b"more"), 4);
    assert_failed(&run(&["prune"], b""), 4);
    assert_eq!(listed_names(home), ["db"]);
}

#[test]
fn a_disk_mounted_read_only_is_read_and_not_pushed_to() {
    let home = Home::new();
    let content = seeded("content", 2 << 20);
    home.ok(&["push", "db"], &content);
    let place = home.repository();
    let bind = ["--bind", place.to_str().unwrap()];
    let Some(disk) = Mounted::new("read-only-disk", &bind, &place) else { return };
    disk.again("remount,ro,bind");
    assert_read_only(&home, &content, |args, stdin| home.run(args, stdin));
}

#[test]
fn a_directory_of_somebody_else_is_read_and_not_pushed_to() {
    let home = Home::new();
    let content = seeded("content", 2 << 20);
    home.ok(&["push", "db"], &content);
    let chmod = Command::new("chmod").args(["-R", "a+rX,a-w"]).arg(home.repository()).status().unwrap();
    assert!(chmod.success());
    if !is_root() {
        return assert_read_only(&home, &content, |args, stdin| home.run(args, stdin));
    }
    // Root may write whatever the mode says: the program is run by a user who may not.
    let open = Command::new("chmod").arg("-R").arg("a+rX").arg(home.path("")).status().unwrap();
    assert!(open.success());
    let Some(program) = readable_copy(&home) else { return };
    assert_read_only(&home, &content, |args, stdin| {
        let mut command = Command::new("setpriv");
        home.furnish(&mut command);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(args);
        crate::support::home::run(command, stdin)
    });
}

/// The program where any user may start it.
fn readable_copy(home: &Home) -> Option<PathBuf> {
    if crate::support::program("setpriv").is_none() {
        skip("read-only-directory", "there is no setpriv");
        return None;
    }
    let copy = home.path("cistern");
    std::fs::copy(crate::support::home::CISTERN, &copy).unwrap();
    Some(copy)
}
