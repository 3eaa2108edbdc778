//! HTTP as the clouds' clients use it, keeping what a server said when it refused.
//!
//! The client library folds every answer that is no success into a text with the URL in it, which may
//! hold a signature. Here it is caught before, as a [`Refused`] that can be asked for its status and
//! code.

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};
use std::fmt;

/// As much of a refusal's body as is read.
const BODY_BYTES_MAX: usize = 8 << 10;

/// As much of a server's own words as is repeated in a message.
const MESSAGE_CHARS_MAX: usize = 240;

/// Chooses the cryptography that TLS runs on, once per process. Safe to call again, and no harm when
/// the program has chosen before.
pub fn install_crypto() {
    // It fails when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes clients that report refusals as [`Refused`].
#[derive(Debug)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let connect = |options: &ClientOptions| ReqwestConnector::default().connect(options);
        // A container image may hold no authorities at all, which fails even where none are needed.
        let without_system = || connect(&options.clone().with_no_system_certificates(true));
        let inner = connect(options).or_else(|e| without_system().map_err(|_| e))?;
        Ok(HttpClient::new(Client { inner }))
    }
}

/// Asks for a `Content-MD5` header; travels with a request as an extension. Signatures do not cover it.
#[derive(Clone)]
pub(crate) struct ContentMd5(HeaderValue);

impl ContentMd5 {
    /// The digest of the parts as one body.
    pub(crate) fn of(parts: &[Bytes]) -> ContentMd5 {
        let mut hasher = Md5::new();
        parts.iter().for_each(|part| hasher.update(part));
        let text = BASE64_STANDARD.encode(hasher.finalize());
        ContentMd5(HeaderValue::from_str(&text).expect("base64 is ASCII"))
    }
}

#[derive(Debug)]
struct Client {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(ContentMd5(digest)) = request.extensions().get() {
            let digest = digest.clone();
            request.headers_mut().insert("content-md5", digest);
        }
        let asks_machine = request.uri().host().is_some_and(is_metadata_host);
        let failed = match self.inner.execute(request).await {
            Ok(response) if response.status().is_success() => return Ok(partial_if_ranged(response)),
            Ok(response) => HttpError::new(HttpErrorKind::Unknown, Refused::read(response).await),
            Err(e) => e,
        };
        if asks_machine { Err(HttpError::new(HttpErrorKind::Unknown, NoRole(failed))) } else { Err(failed) }
    }
}

/// Some servers that speak S3 (rclone) answer a range rightly, but with 200. The client checks the range
/// itself.
fn partial_if_ranged(mut response: HttpResponse) -> HttpResponse {
    if response.headers().contains_key("content-range") {
        *response.status_mut() = reqwest::StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Where machines and pods are told their credentials.
fn is_metadata_host(host: &str) -> bool {
    host.starts_with("169.254.") || host.starts_with("[fd00:ec2:") || host == "metadata.google.internal"
}

/// The machine was asked for credentials and gave none.
#[derive(Debug)]
pub(crate) struct NoRole(HttpError);

impl fmt::Display for NoRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the machine was asked for credentials and gave none")
    }
}

impl std::error::Error for NoRole {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refused {
    /// HTTP status.
    pub(crate) status: u16,
    /// The cloud's own code, such as `NoSuchBucket`; empty when it gave none.
    pub(crate) code: String,
    /// Its own words, cut and on one line; may be empty.
    pub(crate) message: String,
    /// The region the bucket is in, where S3 tells.
    pub(crate) region: Option<String>,
}

impl Refused {
    async fn read(response: HttpResponse) -> Refused {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(one_line);
        let (code, region) = (header("x-ms-error-code"), header("x-amz-bucket-region"));
        let mut body = Vec::new();
        let mut pieces = response.into_body().bytes_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            body.extend_from_slice(&piece[..piece.len().min(BODY_BYTES_MAX - body.len())]);
            if body.len() == BODY_BYTES_MAX {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        let (code_said, message) = said(&body);
        let region = region.or_else(|| Some(element(&body, "Region")).filter(|region| !region.is_empty()));
        Refused { status, code: code.unwrap_or(code_said), message, region }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        for word in [&self.code, &self.message] {
            if !word.is_empty() {
                write!(f, ", {word}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Code and message of an error document: XML as storage services send, or JSON as token services do.
fn said(body: &str) -> (String, String) {
    let field =
        |value: &serde_json::Value, name: &str| value[name].as_str().map(one_line).unwrap_or_default();
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(body) {
        let inner = &value["error"];
        return match inner.is_object() {
            true => (field(inner, "status"), field(inner, "message")),
            false => (field(&value, "error"), field(&value, "error_description")),
        };
    }
    (element(body, "Code"), element(body, "Message"))
}

fn element(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map(|(text, _)| text);
    text.map(one_line).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    line.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_from_xml_and_json() {
        let xml = "<?xml?><Error><Code>NoSuchBucket</Code><Message>The bucket\n is absent</Message></Error>";
        assert_eq!(said(xml), ("NoSuchBucket".into(), "The bucket is absent".into()));
        let token = r#"{"error":"invalid_grant","error_description":"Bad signature"}"#;
        assert_eq!(said(token), ("invalid_grant".into(), "Bad signature".into()));
        let google = r#"{"error":{"code":403,"message":"No access","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(said(google), ("PERMISSION_DENIED".into(), "No access".into()));
        assert_eq!(said("<html>a proxy's page</html>"), (String::new(), String::new()));
        assert_eq!(said(&format!("<Message>{}</Message>", "x".repeat(9999))).1.len(), MESSAGE_CHARS_MAX);
    }
}
