//! A command whose output is stored again and again, and a stream fetched from a web server.

use crate::bare::request;
use crate::place::Place;
use crate::support::assert_failed;
use crate::support::home::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};

/// A chronicle of a command that counts its runs and tells them with a variable.
fn start(place: &Place) -> Child {
    place.home.write("profile.json", &place.profile.to_string());
    place.home.write("suffix", "chronicle/db\n");
    place.home.write("env/WORD", "entry");
    place.home.write("env/folder/skipped", "x");
    let count = place.home.path("count").display().to_string();
    let command = format!("echo \"$WORD-$HOME-$(/bin/cat {count})\"; echo next >> {count}");
    place.home.write("count", "");
    let mut push = place.command(&[
        "chronicle",
        "push",
        "-p",
        "profile.json",
        "-s",
        "suffix",
        "-e",
        "env",
        "-f",
        "200ms",
    ]);
    push.arg(command).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn pull(place: &Place) -> String {
    let profile = place.profile.to_string();
    let ran = place.run(&["chronicle", "pull", "-p", &profile, "-s", "chronicle/db", "-"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

fn runs(place: &Place) -> usize {
    std::fs::read_to_string(place.home.path("count")).unwrap().lines().count()
}

/// Lets it run until so many were stored, then tells it to end, which is no failure.
fn run_until(place: &Place, count: usize) {
    let push = start(place);
    wait_until("so many runs", || runs(place) > count);
    kill_process(Pid::from_child(&push), Signal::TERM).unwrap();
    let output = push.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_chronicle_keeps_the_newest_and_forgets_the_one_before() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.push("chronicle/db-100", b"a neighbour");
    run_until(&place, 12);
    let newest = pull(&place);
    assert!(newest.starts_with("entry--"), "the environment is that of the directory alone: {newest}");
    let get = |name: &str| request(&place, "GET", &format!("{}/chronicle/{name}", place.prefix()), b"");
    let (status, name) = get("db");
    let name = String::from_utf8(name).unwrap();
    assert_eq!(status, 200);
    let number: u64 = name.strip_prefix("chronicle/db-").expect(&name).parse().unwrap();
    assert_eq!(get(&format!("db-{number}")).0, 200);
    assert_eq!(get(&format!("db-{}", number - 2)).0, 404, "earlier ones are gone");
    assert_eq!(place.pull("chronicle/db-100"), b"a neighbour");
    // The next process goes on where this one ended, and does not write over what is the newest.
    run_until(&place, 2);
    let (_, later) = get("db");
    let later: u64 =
        String::from_utf8(later).unwrap().strip_prefix("chronicle/db-").unwrap().parse().unwrap();
    assert!(later > number, "{later} after {number}");
}

#[test]
fn a_chronicle_whose_command_fails_ends_and_keeps_what_there_was() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    run_until(&place, 1);
    let before = pull(&place);
    let args =
        ["chronicle", "push", "-p", "profile.json", "-s", "suffix", "-f", "100ms", "echo half; exit 7"];
    assert_failed(&place.run(&args, b""), 8);
    assert_eq!(pull(&place), before);
}

#[test]
fn a_chronicle_in_a_repository_is_a_history() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.init();
    run_until(&place, 2);
    assert!(pull(&place).starts_with("entry--"));
}

/// A web server that answers one request with this.
fn web(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dump", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    url
}

#[test]
fn what_a_web_server_sends_is_stored_and_a_cut_answer_is_not() {
    let place = Place::nowhere();
    place.home.write("passphrase", "correct horse");
    place.home.ok(&["init", "--passphrase-file", "passphrase"], b"");
    let repository = place.home.repository().display().to_string();
    let push = |url: &str| {
        let script = format!(
            "kando stream push {url} --password 'correct horse' --dirPath /data/dir --filePath a/dump"
        );
        place.bash(&[("CISTERN_REPOSITORY", &repository)], &script)
    };
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
    ] {
        assert_failed(&push(&web(cut)), 8);
    }
    let ran = push(&web("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome rows"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut command = place.home.command(&["pull", "--passphrase-file", "passphrase", "dir/a/dump"]);
    command.env("CISTERN_REPOSITORY", &repository);
    assert_eq!(crate::support::home::run(command, b"").out, b"some rows");
}

#[test]
fn a_role_is_taken_for_the_secret_that_names_one() {
    let Some(mut place) = Place::named("CISTERN_TEST_S3") else { return };
    let encode = |text: &str| {
        let ran = place.bash(&[("TEXT", text)], "printf %s \"$TEXT\" | base64 -w0");
        String::from_utf8(ran.out).unwrap()
    };
    let role = encode("arn:aws:iam::123456789012:role/backup");
    let (id, key) = (encode("any"), encode("any"));
    let endpoint = place.profile["Location"]["endpoint"].as_str().unwrap().to_owned();
    place.profile["Credential"] = serde_json::json!({"Type": "secret", "Secret": {"type": "secrets.kanister.io/aws",
        "data": {"aws_access_key_id": id, "aws_secret_access_key": key, "role": role}}});
    let script = "echo x | kando location push -p \"$PROFILE\" -s db -";
    // Nobody answers at this service: so it was asked.
    let ran = place.bash(&[("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")], script);
    assert_ne!(ran.code, Some(0));
    let ran = place.bash(&[("AWS_ENDPOINT_URL_STS", &endpoint)], script);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}
