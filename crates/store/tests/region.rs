//! A bucket in another region than the one that was guessed.

#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

use cistern_store::{ErrorKind, Options, Secret, open};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

/// A server that lists an empty bucket to whoever signs for `eu-9`, and tells others where it is.
fn server(hint: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream, hint));
        }
    });
    url
}

fn serve(mut stream: TcpStream, hint: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(_request)) = lines.next() {
        let mut right = false;
        for header in lines.by_ref().map_while(Result::ok).take_while(|header| !header.is_empty()) {
            right |= header.to_lowercase().starts_with("authorization:") && header.contains("/eu-9/s3/");
        }
        let answer = if right {
            let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        } else {
            hint.to_owned()
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn options(endpoint: String, region: Option<&str>) -> Options {
    Options {
        endpoint: Some(endpoint),
        region: region.map(str::to_owned),
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some(Secret::new("key".to_owned())),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_region_is_where_the_server_says_unless_it_was_given() {
    let in_header =
        "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-9\r\nContent-Length: 0\r\n\r\n";
    let in_body = "HTTP/1.1 400 Bad Request\r\nContent-Length: 83\r\n\r\n<Error><Code>AuthorizationHeaderMalformed\
                   </Code><Region>eu-9</Region></Error>      ";
    for hint in [in_header, in_body] {
        let url = server(hint);
        open(&"s3://bucket/p".parse().unwrap(), &options(url.clone(), None)).await.unwrap();
        let given = open(&"s3://bucket/p".parse().unwrap(), &options(url, Some("us-1"))).await;
        let refused = given.err().expect("what was given holds");
        assert_eq!(refused.kind, ErrorKind::Config);
        assert!(refused.why.contains("eu-9"), "{refused}");
    }
}
