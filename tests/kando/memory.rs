//! A long stream into a plain object through little memory.

use crate::place::Place;
use crate::sink::Sink;
use crate::support::variable_of;
use std::io::Write as _;
use std::process::Stdio;

/// Length of the stream, in MiB, when `CISTERN_TEST_STREAM_MIB` does not say otherwise.
const STREAM_MIB: u64 = 1 << 10;
/// What it may hold at most, in KiB, in a build without optimisation.
const PEAK_KIB: u64 = 200 << 10;

#[test]
fn a_long_stream_goes_in_parts_through_little_memory() {
    let mib = variable_of("CISTERN_TEST_STREAM_MIB").map_or(STREAM_MIB, |text| text.parse().unwrap());
    let sink = Sink::start();
    let place = Place::at(&sink.url);
    let profile = place.profile.to_string();
    let mut command = place.command(&["location", "push", "--profile", &profile, "--path", "long", "-"]);
    let mut push = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = push.stdin.take().unwrap();
    let piece: Vec<u8> = crate::support::seeded("piece", 1 << 20);
    for _ in 0..mib {
        input.write_all(&piece).unwrap();
    }
    let kib = peak_kib(push.id());
    drop(input);
    let output = push.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("push of {mib} MiB into a plain object: at most {} MiB", kib >> 10);
    assert!(kib > 1 << 10 && kib < PEAK_KIB, "it held {} MiB", kib >> 10);
    let arrived = sink.arrived.lock().unwrap();
    assert!(arrived.complete);
    assert_eq!(arrived.parts.values().sum::<u64>(), mib << 20);
}

/// The most memory the process ever held, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
