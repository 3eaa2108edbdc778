//! A role of AWS, taken with another credential and taken again before its session ends.
//!
//! The request is `AssumeRole` of the AWS Security Token Service, version 2011-06-15. Transfers that outlive a
//! session go on: the next request gets the credential of a new one.

use crate::aws;
use crate::http::Connector;
use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector as _};
use object_store::{ClientOptions, CredentialProvider};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a session is asked for, in seconds: the most a role allows when nobody raised it.
const SESSION_SECS: u64 = 3600;
/// A session is not used for longer than this.
const RENEW: Duration = Duration::from_secs(SESSION_SECS * 3 / 4);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Gives the credential of a role.
#[derive(Debug)]
pub(crate) struct AssumedRole {
    client: HttpClient,
    /// What the role is taken with.
    base: AwsCredentialProvider,
    endpoint: String,
    region: String,
    role_arn: String,
    session_name: String,
    session: Mutex<Option<(Arc<AwsCredential>, Instant)>>,
}

/// What is needed to take a role.
pub(crate) struct Terms {
    pub(crate) base: AwsCredentialProvider,
    /// URL of the service; AWS's own of the region when `None`.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: String,
    pub(crate) role_arn: String,
    pub(crate) session_name: Option<String>,
}

impl AssumedRole {
    /// Asks nothing yet.
    pub(crate) fn new(client: &ClientOptions, terms: Terms) -> object_store::Result<AssumedRole> {
        let Terms { base, endpoint, region, role_arn, session_name } = terms;
        Ok(AssumedRole {
            client: Connector.connect(client)?,
            base,
            endpoint: endpoint.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com")),
            region,
            role_arn,
            session_name: session_name.unwrap_or_else(|| "cistern".to_owned()),
            session: Mutex::new(None),
        })
    }

    fn form(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role_arn)
            .append_pair("RoleSessionName", &self.session_name)
            .append_pair("DurationSeconds", &SESSION_SECS.to_string());
        form.finish()
    }

    async fn ask(&self) -> Result<AwsCredential, Box<dyn std::error::Error + Send + Sync>> {
        let base = self.base.get_credential().await?;
        let answer =
            aws::ask(&self.client, &base, ("sts", &self.region), &self.endpoint, self.form()).await?;
        read(&answer)
    }
}

#[async_trait]
impl CredentialProvider for AssumedRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut session = self.session.lock().await;
        if let Some((credential, taken)) = &*session
            && taken.elapsed() < RENEW
        {
            return Ok(credential.clone());
        }
        let asked = self.ask().await;
        let credential =
            Arc::new(asked.map_err(|source| object_store::Error::Generic { store: "STS", source })?);
        *session = Some((credential.clone(), Instant::now()));
        Ok(credential)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    assume_role_result: AssumeRoleResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRoleResult {
    credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

fn read(answer: &Bytes) -> Result<AwsCredential, Box<dyn std::error::Error + Send + Sync>> {
    // Neither the answer nor what the parser says of it is repeated: there are secrets in it.
    let strange = "the token service gave no credential that can be understood";
    let text =
        std::str::from_utf8(answer).ok().filter(|text| text.len() <= ANSWER_BYTES_MAX).ok_or(strange)?;
    let response: Response = quick_xml::de::from_str(text).map_err(|_| strange)?;
    let Credentials { access_key_id, secret_access_key, session_token } =
        response.assume_role_result.credentials;
    Ok(AwsCredential { key_id: access_key_id, secret_key: secret_access_key, token: Some(session_token) })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;
    use object_store::StaticCredentialProvider;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    const ANSWERED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
        <Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>hunter2</SecretAccessKey><SessionToken>session\
        </SessionToken><Expiration>2026-11-20T04:00:00Z</Expiration></Credentials></AssumeRoleResult>\
        </AssumeRoleResponse>";

    /// A token service that answers one request, and what that request was.
    fn service(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            while !request.contains("DurationSeconds=3600") {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).unwrap();
                request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
            }
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            request
        });
        (url, asked)
    }

    fn role(endpoint: String) -> AssumedRole {
        crate::install_crypto();
        let key = AwsCredential { key_id: "AKIABASE".into(), secret_key: "base".into(), token: None };
        let terms = Terms {
            base: Arc::new(StaticCredentialProvider::new(key)),
            endpoint: Some(endpoint),
            region: "eu-1".into(),
            role_arn: "arn:aws:iam::1:role/backup".into(),
            session_name: None,
        };
        AssumedRole::new(&ClientOptions::new().with_allow_http(true), terms).unwrap()
    }

    #[tokio::test]
    async fn a_role_is_taken_once_with_the_key_that_was_given() {
        let (url, asked) = service("200 OK", ANSWERED);
        let role = role(url);
        for _ in 0..2 {
            // The service answers only once: the second comes from the session.
            let credential = role.get_credential().await.unwrap();
            assert_eq!(
                (credential.key_id.as_str(), credential.token.as_deref()),
                ("ASIAROLE", Some("session"))
            );
        }
        let request = asked.join().unwrap();
        assert!(request.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbackup"), "{request}");
        assert!(
            request.contains("Credential=AKIABASE/") && request.contains("/eu-1/sts/aws4_request"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn an_answer_without_a_credential_is_not_repeated() {
        for (status, body) in
            [("200 OK", "<A>hunter2</A>"), ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")]
        {
            let (url, _asked) = service(status, body);
            let e = role(url).get_credential().await.unwrap_err();
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{e:?}");
        }
    }
}
