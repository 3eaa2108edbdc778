//! Bare HTTP to an emulator that checks no signature: a client that knows nothing of Cistern.

use crate::place::Place;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Sends a request for `path` of the profile's bucket and gives status and body.
pub fn request(place: &Place, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let location = &place.profile["Location"];
    let host = location["endpoint"].as_str().unwrap().strip_prefix("http://").unwrap();
    let bucket = location["bucket"].as_str().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "{method} /{bucket}/{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer token\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// The names of uploads that were begun and neither completed nor abandoned, below the place's prefix.
pub fn unfinished_uploads(place: &Place) -> usize {
    let (status, body) = request(place, "GET", &format!("?uploads&prefix={}", place.prefix()), b"");
    assert_eq!(status, 200);
    let body = String::from_utf8_lossy(&body).into_owned();
    body.split("<Upload>").skip(1).filter(|upload| upload.contains(&place.prefix())).count()
}
