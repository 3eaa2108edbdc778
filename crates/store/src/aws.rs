//! Services of AWS that are asked by a form and answer in XML, such as STS and RDS; each request is signed.
//!
//! They stand here because what signs for a bucket signs for them: the same keys, roles and surroundings.

use crate::connect;
use crate::explain::causes;
use crate::http::Refused;
use crate::{Error, Options};
use bytes::Bytes;
use object_store::HeaderValue;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest};
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use url::form_urlencoded::Serializer;

/// How long a service may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// One service in one region, and the credential it is asked with.
pub struct Service {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    name: &'static str,
    endpoint: String,
    region: String,
}

impl Service {
    /// The service of that name, such as `rds`. Asks nothing yet.
    ///
    /// Of the options count those about credentials, the region, the way (proxy, authorities), and `endpoint`, where it
    /// is not AWS's own.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): an option is malformed, or no region is named.
    pub fn new(name: &'static str, options: &Options) -> Result<Service, Error> {
        let region = options.region.clone().filter(|region| !region.is_empty());
        let region = region.ok_or_else(|| connect::config("the option `region`", "no region is named"))?;
        let (client, credentials) = connect::signing(options)?;
        let own =
            || format!("https://{name}.{region}.{}", if region.starts_with("cn-") { CHINA } else { WORLD });
        let endpoint = options.endpoint.clone().unwrap_or_else(own);
        Ok(Service { client, credentials, name, endpoint, region })
    }

    /// Sends a form once, and returns what was answered.
    ///
    /// # Errors
    /// The service refused, or no answer came; then it is not known whether anything was done.
    pub async fn ask(&self, form: &[(String, String)]) -> Result<Bytes, Failure> {
        let credential = self.credentials.get_credential().await.map_err(|e| Failure::of(&e))?;
        let text = Serializer::new(String::new()).extend_pairs(form).finish();
        let asked = ask(&self.client, &credential, (self.name, &self.region), &self.endpoint, text);
        asked.await.map_err(|e| Failure::of(&*e))
    }
}

const WORLD: &str = "amazonaws.com";
const CHINA: &str = "amazonaws.com.cn";

/// Why a service did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// The service's own code, such as `AccessDenied`; empty where no answer came, or none with a code.
    pub code: String,
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
    /// Asking again will not help: the way to the service is set up wrongly.
    pub lasting: bool,
    said: String,
}

impl Failure {
    fn of(failure: &(dyn StdError + 'static)) -> Failure {
        let chain = || causes(failure);
        if let Some(refused) = chain().find_map(|e| e.downcast_ref::<Refused>()) {
            let (code, status) = (refused.code.clone(), Some(refused.status));
            return Failure { code, status, lasting: false, said: refused.to_string() };
        }
        let last = chain().last().map_or_else(String::new, ToString::to_string);
        let said: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
        let lower = said.to_lowercase();
        let lasting = lower.contains("certificate") || lower.contains("url scheme is not allowed");
        Failure { code: String::new(), status: None, lasting, said: format!("no answer came: {said}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl StdError for Failure {}

/// Sends a form, signed for a service in a region, and reads the answer.
pub(crate) async fn ask(
    client: &HttpClient,
    credential: &AwsCredential,
    (service, region): (&str, &str),
    endpoint: &str,
    form: String,
) -> Result<Bytes, Box<dyn StdError + Send + Sync>> {
    let mut request = HttpRequest::new(form.into());
    *request.method_mut() = reqwest::Method::POST;
    *request.uri_mut() = format!("{}/", endpoint.trim_end_matches('/')).parse()?;
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    request.headers_mut().insert("content-type", form_type);
    AwsAuthorizer::new(credential, service, region).try_authorize(&mut request, None)?;
    let answer = async { client.execute(request).await?.into_body().bytes().await };
    let answer = timeout(ANSWER, answer).await.map_err(|_| format!("{service} said nothing for 30 s"))??;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(format!("{service} answered more than {ANSWER_BYTES_MAX} bytes").into());
    }
    Ok(answer)
}
