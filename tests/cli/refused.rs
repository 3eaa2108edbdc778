//! A bucket whose server refuses: exit codes that tell credentials from configuration.

use crate::home::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// A server that answers every request with this status and S3 error code; returns its port.
fn refusing(status: u16, code: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            // Whoever asked may have gone.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    port
}

#[test]
fn wrong_credentials_of_the_store_are_denied_and_a_wrong_bucket_is_configuration() {
    for (status, code, exit) in [
        (403, "SignatureDoesNotMatch", 4),
        (403, "InvalidAccessKeyId", 4),
        (403, "AccessDenied", 4),
        (404, "NoSuchBucket", 2),
    ] {
        let home = Home::new();
        home.write("key", "hunter2");
        let port = refusing(status, code);
        let profile = format!(
            "[profiles.b]\nrepository = 's3://bucket/p'\n[profiles.b.store]\nendpoint = 'http://127.0.0.1:{port}'\n\
             access_key_id = 'id'\nsecret_access_key = {{ file = 'key' }}\nretry_secs = 2\n"
        );
        home.write(".config/cistern/config.toml", &profile);
        let ran = home.run(&["ls", "--profile", "b"], b"");
        assert_eq!(ran.code, Some(exit), "{status} {code}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}
