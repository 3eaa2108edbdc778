//! A long stream through little memory: what push and pull hold does not grow with it.

use crate::support::home::{Home, wait_until};
use crate::support::variable_of;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of the stream, in MiB, when `CISTERN_TEST_STREAM_MIB` does not say otherwise.
const STREAM_MIB: u64 = 3 << 10;
/// What either may hold at most, in KiB, in a build without optimisation and with two cores.
const PEAK_KIB: u64 = 200 << 10;

/// The piece of the stream with this number, 1 MiB: half of it noise, half of it rows. One in four was there
/// before.
fn piece(number: u64) -> Vec<u8> {
    let number = if number % 4 == 3 { number / 8 } else { number };
    let mut bytes = vec![0; 1 << 19];
    blake3::Hasher::new_derive_key("memory").update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let row = format!("{number}\tthe quick brown fox\t2026-01-01\n");
    bytes.extend(row.bytes().cycle().take(1 << 19));
    bytes
}

/// Watches how much memory a child ever held, in KiB, until it ends.
fn watch_peak(child: &Child) -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let (status, seen) = (format!("/proc/{}/status", child.id()), peak.clone());
    std::thread::spawn(move || {
        // A process that ended and was not waited for has a status without memory.
        while let Some(kib) = high_water_kib(&status) {
            seen.store(kib, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    peak
}

fn high_water_kib(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn assert_modest(what: &str, peak: &AtomicU64) {
    let kib = peak.load(Ordering::Relaxed);
    println!("{what}: at most {} MiB", kib >> 10);
    assert!(kib > 1 << 10, "it was watched");
    assert!(kib < PEAK_KIB, "{what} held {} MiB", kib >> 10);
}

#[test]
fn a_long_stream_is_pushed_and_pulled_in_little_memory() {
    let mib = variable_of("CISTERN_TEST_STREAM_MIB").map_or(STREAM_MIB, |text| text.parse().unwrap());
    let home = Home::new();
    let mut digest = blake3::Hasher::new();
    let mut push =
        home.command(&["push", "long"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let peak = watch_peak(&push);
    let mut input = push.stdin.take().unwrap();
    for number in 0..mib {
        let piece = piece(number);
        digest.update(&piece);
        input.write_all(&piece).unwrap();
    }
    drop(input);
    assert!(push.wait().unwrap().success());
    assert_modest("push", &peak);

    let mut pull =
        home.command(&["pull", "long"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let peak = watch_peak(&pull);
    let mut output = pull.stdout.take().unwrap();
    let mut pulled = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            len => pulled.update(&buffer[..len]),
        };
    }
    wait_until("pull ends", || pull.try_wait().unwrap().is_some());
    assert!(pull.wait().unwrap().success());
    assert_modest("pull", &peak);
    assert_eq!(pulled.finalize(), digest.finalize());
}
