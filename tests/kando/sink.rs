//! An S3 server that keeps nothing but what it was told: how many parts, how long, and whether they were put
//! together. It refuses the first attempt of every part.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What arrived.
#[derive(Default)]
pub struct Arrived {
    /// Lengths of the parts by number, in bytes.
    pub parts: BTreeMap<u64, u64>,
    /// Whether the parts were put together.
    pub complete: bool,
    refused: HashSet<u64>,
}

/// A server on a port of its own, until the test ends.
pub struct Sink {
    pub url: String,
    pub arrived: Arc<Mutex<Arrived>>,
}

impl Sink {
    pub fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let shared = arrived.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let arrived = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &arrived));
            }
        });
        Sink { url, arrived }
    }
}

/// Answers requests until the client goes.
fn serve(stream: TcpStream, arrived: &Mutex<Arrived>) {
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut len = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let header = header.trim().to_ascii_lowercase();
            if let Some(text) = header.strip_prefix("content-length:") {
                len = text.trim().parse().unwrap();
            }
            if header.is_empty() {
                break;
            }
        }
        let read = std::io::copy(&mut (&mut reader).take(len), &mut std::io::sink());
        if read.unwrap_or(0) < len {
            return;
        }
        let (status, body) = answer(&request, len, &mut arrived.lock().unwrap());
        let head = format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(request: &str, len: u64, arrived: &mut Arrived) -> (&'static str, &'static str) {
    let number = request.split("partNumber=").nth(1).map(|rest| {
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap()
    });
    match (request.split(' ').next().unwrap(), number) {
        ("PUT", Some(number)) if arrived.refused.insert(number) => ("503 Service Unavailable", ""),
        ("PUT", Some(number)) => {
            arrived.parts.insert(number, len);
            ("200 OK", "")
        }
        ("POST", _) if request.contains("uploads") => (
            "200 OK",
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        ("POST", _) => {
            arrived.complete = true;
            ("200 OK", "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>")
        }
        ("GET", _) if request.contains("list-type") => {
            ("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
        _ => ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
    }
}
