//! `kando process`: a server and its clients, through the program itself.

use crate::place::Place;
use crate::support::assert_failed;
use crate::support::home::{PATIENCE, Ran, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Instant;

/// A server that ends with the test.
struct Server {
    place: Place,
    child: Child,
}

impl Server {
    fn start() -> Server {
        Server::start_in(Place::nowhere(), &[])
    }

    fn start_in(place: Place, flags: &[&str]) -> Server {
        let mut command = place.command(&[&["process", "server", "-a", "s.sock"], flags].concat());
        command.env("TMPDIR", place.home.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let server = Server { place, child };
        wait_until("the server listens", || server.client(&["list"]).code == Some(0));
        server
    }

    fn client(&self, args: &[&str]) -> Ran {
        self.place.run(&[&["process", "client", "-a", "s.sock"], args].concat(), b"")
    }

    /// What is known after a call that must succeed.
    fn told(&self, args: &[&str]) -> Value {
        let ran = self.client(&[&["--as-json"], args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        assert!(ran.err.is_empty(), "{}", ran.err);
        ran.json()
    }

    /// The number of a process that runs a script.
    fn create(&self, script: &str) -> String {
        let told = self.told(&["create", "--", "sh", "-c", script]);
        told["pid"].as_str().unwrap().to_owned()
    }

    /// Tells it to end; how it did.
    fn stop(&mut self, signal: Signal) -> (Option<i32>, String, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_is_started_followed_and_remembered() {
    let server = Server::start();
    let ran = server.client(&["create", "--", "sh", "-c", "echo one; echo two >&2; exec sleep 1"]);
    let line = String::from_utf8(ran.out).unwrap();
    let pid = line.strip_prefix("Process:  pid:").and_then(|rest| rest.split(' ').next()).unwrap();
    assert_eq!(line, format!("Process:  pid:{pid}  state:PROCESS_STATE_RUNNING\n"));
    let began = Instant::now();
    let ran = server.client(&["output", pid]);
    assert_eq!((ran.out.as_slice(), ran.err.as_str()), (&b"one\n"[..], "two\n"));
    assert!(began.elapsed().as_millis() > 300, "it is followed to its end");
    let told = server.told(&["get", pid]);
    assert_eq!(told.to_string(), format!("{{\"pid\":\"{pid}\",\"state\":\"PROCESS_STATE_SUCCEEDED\"}}"));
    let failed = server.create("exit 3");
    server.client(&["output", &failed]);
    let told = server.told(&["get", &failed]);
    assert_eq!(told["state"], "PROCESS_STATE_FAILED");
    assert_eq!((&told["exitCode"], &told["exitErr"]), (&"3".into(), &"exit status 3".into()));
    let listed = server.client(&["-j", "list"]).out;
    let pids: Vec<String> = String::from_utf8(listed)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["pid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pids, [pid, failed.as_str()], "in the order they were started");
    assert!(server.client(&["-q", "list"]).out.is_empty());
}

#[test]
fn execute_is_the_process_where_that_is_asked_for() {
    let server = Server::start();
    let script = "cat /dev/stdin; echo said; echo wrong >&2; exit 7";
    let ran = server.client(&["-q", "execute", "--", "sh", "-c", script]);
    assert_eq!((ran.code, ran.out.as_slice(), ran.err.as_str()), (Some(0), &b"said\n"[..], "wrong\n"));
    let ran = server.client(&["-q", "execute", "-x", "--", "sh", "-c", script]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(7), "wrong\n"), "nothing is added to what it said");
    let ran = server.client(&["-q", "execute", "--exit-proxy", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(ran.code, Some(255));
    let ran = server.client(&["-q", "execute", "-x", "true"]);
    assert_eq!(ran.code, Some(0));
    let ran = server.client(&["-j", "execute", "echo", "hello", "world"]);
    let out = String::from_utf8(ran.out).unwrap();
    let (told, rest) = out.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(told).unwrap()["state"], "PROCESS_STATE_RUNNING");
    assert_eq!(rest, "hello world\n");
}

#[test]
fn signals_go_to_the_process_by_order_or_by_proxy() {
    let server = Server::start();
    for signal in ["15", "TERM", "0xf"] {
        let pid = server.create("exec sleep 60");
        assert_eq!(server.told(&["signal", &pid, "0"])["state"], "PROCESS_STATE_RUNNING");
        server.told(&["signal", &pid, signal]);
        server.client(&["output", &pid]);
        assert_eq!(server.told(&["get", &pid])["exitErr"], "signal: terminated");
        assert_eq!(server.told(&["get", &pid])["exitCode"], "-1");
        let ran = server.client(&["signal", &pid, signal]);
        assert_failed(&ran, 17);
        assert!(ran.err.contains("ended already"), "{}", ran.err);
    }
    let script = "trap 'echo heard; exit 4' INT; echo ready; while :; do sleep 0.1; done";
    let args = ["process", "client", "-a", "s.sock", "-q", "execute", "-p", "-x", "--", "sh", "-c", script];
    let mut client = server.place.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = client.stdout.take().unwrap();
    let mut word = [0; 6];
    out.read_exact(&mut word).unwrap();
    kill_process(Pid::from_child(&client), Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((client.wait().unwrap().code(), rest.as_str()), (Some(4), "heard\n"));
}

#[test]
fn a_client_that_is_interrupted_leaves_the_process_alone() {
    let server = Server::start();
    let pid = server.create("echo ready; exec sleep 60");
    let args = ["process", "client", "-a", "s.sock", "output", &pid];
    let mut client = server.place.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    kill_process(Pid::from_child(&client), Signal::TERM).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(143));
    assert_eq!(server.told(&["get", &pid])["state"], "PROCESS_STATE_RUNNING");
}

#[test]
fn much_output_is_kept_in_files_and_comes_whole_to_all_who_read_it() {
    let mut server = Server::start();
    let pid = server.create("seq 6000000; printf '\\377\\376 no text'");
    let twice: Vec<Ran> = (0..2).map(|_| server.client(&["output", &pid])).collect();
    for ran in twice {
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.out.starts_with(b"1\n2\n") && ran.out.ends_with(b"\n6000000\n\xff\xfe no text"));
        assert_eq!(ran.out.len(), 46_888_896 + 10);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kb < 100_000, "{peak_kb} kB for 47 MB that were printed");
    let home = server.place.home.path("");
    let kept = || std::fs::read_dir(&home).unwrap().flatten();
    let files = || kept().filter(|entry| entry.file_name().to_string_lossy().starts_with("kando.")).count();
    assert_eq!(files(), 2, "one for each stream");
    let (code, ..) = server.stop(Signal::TERM);
    assert_eq!((code, files()), (Some(0), 0), "they go with the server");
}

#[test]
fn what_cannot_be_done_is_said_with_kanisters_exit_codes() {
    let server = Server::start();
    for (args, said) in [
        (&["create", "/no/such/program"][..], "cannot start `/no/such/program`: No such file"),
        (&["get", "555555555"], "Process not found"),
        (&["output", "555555555"], "Process not found"),
        (&["signal", "555555555", "15"], "Process not found"),
    ] {
        let ran = server.client(args);
        assert_failed(&ran, 17);
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{ran:?}");
    }
    let pid = server.create("exec sleep 60");
    let ran = server.client(&["signal", &pid, "4711"]);
    assert_failed(&ran, 17);
    assert!(ran.err.contains("no signal 4711"), "{}", ran.err);
    for args in [&["get", "x"][..], &["signal", "1", "NOTHING"], &["create"], &["creat", "x"], &[]] {
        assert_eq!(server.client(args).code, Some(2), "{args:?}");
    }
    let ran = server.place.run(&["process", "client", "-a", "nowhere.sock", "list"], b"");
    assert_failed(&ran, 29);
    assert!(ran.err.contains("nowhere.sock") && ran.err.contains("kando process server"), "{}", ran.err);
    let long = format!("/{}", "x".repeat(200));
    assert_failed(&server.place.run(&["process", "client", "-a", &long, "list"], b""), 29);
    assert_failed(&server.place.run(&["process", "server", "-a", &long], b""), 2);
}

#[test]
fn a_server_that_is_told_to_end_takes_its_processes_along() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let pid = server.create("echo ready; exec sleep 60");
        let args = ["process", "client", "-a", "s.sock", "output", &pid];
        let mut follower = server.place.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        follower.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let socket = server.place.home.path("s.sock");
        let began = Instant::now();
        let (code, ..) = server.stop(signal);
        assert_eq!(code, Some(0));
        assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
        let followed = follower.wait_with_output().unwrap();
        assert_eq!((followed.status.code(), followed.stdout.as_slice()), (Some(0), &b""[..]));
        assert!(!socket.exists() && !std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_socket_is_taken_over_only_where_nobody_listens() {
    let mut server = Server::start();
    let ran = server.place.run(&["process", "server", "-a", "s.sock"], b"");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("s.sock") && ran.err.contains("in use"), "{}", ran.err);
    assert_eq!(server.client(&["list"]).code, Some(0), "the first still serves");
    server.place.home.write("file", "precious");
    assert_failed(&server.place.run(&["process", "server", "-a", "file"], b""), 2);
    assert_eq!(std::fs::read(server.place.home.path("file")).unwrap(), b"precious");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let place = std::mem::replace(&mut server.place, Place::nowhere());
    assert!(place.home.path("s.sock").exists(), "left behind");
    Server::start_in(place, &[]);
}

#[test]
fn a_server_says_what_happens_where_that_is_asked_for() {
    let mut server = Server::start_in(Place::nowhere(), &["-v", "info"]);
    let pid = server.create("echo out; echo err >&2; exit 3");
    server.client(&["output", &pid]);
    let (code, out, err) = server.stop(Signal::TERM);
    assert_eq!((code, out.as_str()), (Some(0), "out\n"));
    for said in [format!("started process {pid}"), format!("process {pid} ended: exit status 3")] {
        assert!(err.contains(&said), "{err}");
    }
    assert!(err.contains("err\n"), "{err}");
    let mut quiet = Server::start();
    quiet.create("echo out; echo err >&2");
    assert_eq!(quiet.stop(Signal::TERM), (Some(0), String::new(), String::new()));
}
