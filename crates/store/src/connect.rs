//! From a bucket and options to a client of the cloud it is in.

use crate::assume_role::{AssumedRole, Terms};
use crate::cloud::{Client, CloudStore};
use crate::explain::root_cause;
use crate::http::{Connector, install_crypto};
use crate::location::{Cloud, Location};
use crate::options::Checksum;
use crate::{Error, ErrorKind, Options, Secret, fs};
use object_store::aws::{self, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector as _};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{Attribute, Attributes, Certificate, ClientOptions, HeaderValue, RetryConfig};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use url::Url;

/// PEM files larger than this are none.
const CA_BYTES_MAX: u64 = 4 << 20;

/// A client of the bucket; asks nothing of the network yet.
///
/// # Errors
/// [`ErrorKind::Config`] when an option is malformed or missing.
pub(crate) fn connect(
    cloud: Cloud,
    bucket: &str,
    prefix: &str,
    options: &Options,
) -> Result<CloudStore, Error> {
    install_crypto();
    let location =
        Location::Bucket { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string();
    let target = Target { bucket, options, endpoint: endpoint(cloud, options)? };
    let client = match cloud {
        Cloud::S3 => target.s3(),
        Cloud::Gcs => target.gcs(),
        Cloud::Azure => target.azure(),
    }?;
    let mut attributes = Attributes::new();
    if let Some(class) = &options.storage_class {
        attributes.insert(Attribute::StorageClass, class.clone().into());
    }
    let (prefix, patience) = (Path::from(prefix), options.patience());
    Ok(CloudStore { client, prefix, location, attributes, patience, wants_md5: AtomicBool::new(false) })
}

/// A client, and the credentials of S3 that sign for other services of AWS as well.
///
/// # Errors
/// [`ErrorKind::Config`] when an option is malformed or missing.
pub(crate) fn signing(options: &Options) -> Result<(HttpClient, AwsCredentialProvider), Error> {
    install_crypto();
    // The server of buckets has nothing to do with other services.
    let options = &Options { s3_endpoint: None, ..options.clone() };
    let target = Target { bucket: "none", options, endpoint: endpoint(Cloud::S3, options)? };
    let client = Connector.connect(&target.client_options()?).map_err(bad_options)?;
    let credentials = target.s3_builder()?.build().map_err(bad_options)?.credentials().clone();
    Ok((client, credentials))
}

pub(crate) fn config(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, "understand", what, why)
}

/// The server to talk to when it is not the cloud's own, without a slash at the end.
fn endpoint(cloud: Cloud, options: &Options) -> Result<Option<Url>, Error> {
    let Some(text) = options.endpoint_of(cloud) else { return Ok(None) };
    let what = "the option `endpoint`";
    let url = Url::parse(text).map_err(|e| config(what, format!("{e}; write it as https://host:port")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(config(what, "write it as https://host:port"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(config(what, "it holds credentials; they have options of their own"));
    }
    Ok(Some(url))
}

/// No retries in the client: [`crate::retry`] makes them, and knows what a lost reply means.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

struct Target<'o> {
    bucket: &'o str,
    options: &'o Options,
    endpoint: Option<Url>,
}

impl Target<'_> {
    fn plain_http(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|url| url.scheme() == "http")
    }

    fn endpoint_text(&self) -> Option<String> {
        self.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
    }

    /// What all clouds share: TLS, proxy, timeouts.
    fn client_options(&self) -> Result<ClientOptions, Error> {
        let options = self.options;
        let agent = HeaderValue::from_static(concat!("cistern/", env!("CARGO_PKG_VERSION")));
        let mut client = ClientOptions::new()
            .with_user_agent(agent)
            .with_allow_http(options.allow_http.unwrap_or(self.plain_http()))
            .with_allow_invalid_certificates(options.skip_verify)
            .with_connect_timeout(Duration::from_secs(options.connect_secs.unwrap_or(10).max(1)))
            // A request's time depends on its size: the store's own timeouts know it.
            .with_timeout_disabled();
        if let Some(path) = &options.ca_file {
            let pem = fs::read_small(path, CA_BYTES_MAX)?;
            let what = format!("the option `ca_file` {}", path.display());
            let found = Certificate::from_pem_bundle(&pem).map_err(|_| config(&what, "it is not PEM"))?;
            if found.is_empty() {
                return Err(config(&what, "it holds no certificate"));
            }
            client = found.into_iter().fold(client, ClientOptions::with_root_certificate);
        }
        if let Some(proxy) = &options.proxy {
            // Checked here, as the client's own message would repeat it with its password.
            Url::parse(proxy.reveal()).map_err(|e| config("the option `proxy`", e))?;
            client = client.with_proxy_url(proxy.reveal());
        }
        Ok(client)
    }

    fn s3(&self) -> Result<Arc<dyn Client>, Error> {
        Ok(Arc::new(self.s3_builder()?.build().map_err(bad_options)?))
    }

    fn s3_builder(&self) -> Result<AmazonS3Builder, Error> {
        let options = self.options;
        if options.access_key_id.is_some() != options.secret_access_key.is_some() {
            return Err(config("the credentials", "`access_key_id` and `secret_access_key` go together"));
        }
        let path_style = options.path_style.unwrap_or(self.endpoint.is_some());
        let mut builder = AmazonS3Builder::new()
            .with_http_connector(Connector)
            .with_retry(once())
            .with_client_options(self.client_options()?)
            .with_bucket_name(self.bucket)
            .with_virtual_hosted_style_request(!path_style)
            .with_skip_signature(options.anonymous)
            // One DELETE each: the bulk request is not S3's core, and hides who was refused what.
            .with_disable_bulk_delete(true)
            // Over TLS the transport protects the body; hashing it for the signature would cost a core.
            .with_unsigned_payload(!self.plain_http());
        match (&self.endpoint, path_style) {
            (Some(_), true) => builder = builder.with_endpoint(self.endpoint_text().unwrap_or_default()),
            (Some(url), false) => builder = builder.with_endpoint(virtual_host(url, self.bucket)?),
            (None, _) => {}
        }
        let to_aws = if self.endpoint.is_none() { Checksum::Crc64nvme } else { Checksum::None };
        match options.checksum.unwrap_or(to_aws) {
            Checksum::None => {}
            Checksum::Sha256 => builder = builder.with_checksum_algorithm(aws::Checksum::SHA256),
            Checksum::Crc64nvme => builder = builder.with_checksum_algorithm(aws::Checksum::CRC64NVME),
        }
        use AmazonS3ConfigKey as K;
        let settings = [
            (K::Region, options.region.clone()),
            (K::AccessKeyId, options.access_key_id.clone()),
            (K::SecretAccessKey, reveal(&options.secret_access_key)),
            (K::Token, reveal(&options.session_token)),
            (K::RoleArn, options.role_arn.clone()),
            (K::WebIdentityTokenFile, options.web_identity_token_file.clone()),
            (K::RoleSessionName, options.role_session_name.clone()),
            (K::StsEndpoint, options.sts_endpoint.clone()),
            (K::ContainerCredentialsRelativeUri, options.container_credentials_relative_uri.clone()),
            (K::ContainerCredentialsFullUri, options.container_credentials_full_uri.clone()),
            (K::ContainerAuthorizationTokenFile, options.container_authorization_token_file.clone()),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(role) = &options.assume_role_arn {
            let base = builder.clone().build().map_err(bad_options)?.credentials().clone();
            builder = builder.with_credentials(Arc::new(self.assume(role, base)?));
        }
        Ok(builder)
    }

    /// The role, which is taken with `base` when its credential is first needed.
    fn assume(&self, role_arn: &str, base: AwsCredentialProvider) -> Result<AssumedRole, Error> {
        let options = self.options;
        let endpoint = options.sts_endpoint.clone();
        let plain_http = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let mut client = self.client_options()?;
        if plain_http && options.allow_http.is_none() {
            client = client.with_allow_http(true);
        }
        let terms = Terms {
            base,
            endpoint,
            region: options.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
            role_arn: role_arn.to_owned(),
            session_name: options.role_session_name.clone(),
        };
        AssumedRole::new(&client, terms).map_err(bad_options)
    }

    fn gcs(&self) -> Result<Arc<dyn Client>, Error> {
        let options = self.options;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_http_connector(Connector)
            .with_retry(once())
            .with_client_options(self.client_options()?)
            .with_bucket_name(self.bucket)
            .with_skip_signature(options.anonymous);
        if let Some(endpoint) = self.endpoint_text() {
            builder = builder.with_base_url(&endpoint);
        }
        if let Some(path) = &options.service_account_file {
            builder = builder.with_service_account_path(path);
        }
        if let Some(key) = &options.service_account_key {
            builder = builder.with_service_account_key(key.reveal());
        }
        if let Some(token) = &options.access_token {
            builder = builder.with_bearer_token(token.reveal());
        }
        if let Some(path) = &options.application_credentials_file {
            builder = builder.with_application_credentials(path);
        }
        // What the parser says of a key file may repeat a piece of it.
        let why = "the key file or text cannot be read, or is not that of a service account";
        Ok(Arc::new(builder.build().map_err(|_| config("the credentials of GCS", why))?))
    }

    fn azure(&self) -> Result<Arc<dyn Client>, Error> {
        let options = self.options;
        let Some(account) = &options.account else {
            return Err(config("the options", "az:// needs the storage `account`"));
        };
        let mut builder = MicrosoftAzureBuilder::new()
            .with_http_connector(Connector)
            .with_retry(once())
            .with_client_options(self.client_options()?)
            .with_account(account)
            .with_container_name(self.bucket)
            .with_skip_signature(options.anonymous);
        if let Some(endpoint) = self.endpoint_text() {
            builder = builder.with_endpoint(endpoint);
        }
        use AzureConfigKey as K;
        let settings = [
            (K::AccessKey, reveal(&options.account_key)),
            (K::SasKey, reveal(&options.sas_token)),
            (K::AuthorityId, options.tenant_id.clone()),
            (K::ClientId, options.client_id.clone()),
            (K::ClientSecret, reveal(&options.client_secret)),
            (K::FederatedTokenFile, options.federated_token_file.clone()),
            (K::AuthorityHost, options.authority_host.clone()),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        Ok(Arc::new(builder.build().map_err(|_| {
            config(
                "the credentials of Azure",
                "`account_key` is no base64, or `sas_token` no list of a=b&c=d",
            )
        })?))
    }
}

fn bad_options(e: object_store::Error) -> Error {
    config("the options", root_cause(&e))
}

fn reveal(secret: &Option<Secret>) -> Option<String> {
    secret.as_ref().map(|secret| secret.reveal().to_owned())
}

/// The endpoint with the bucket as its first host label, as the client wants it.
fn virtual_host(endpoint: &Url, bucket: &str) -> Result<String, Error> {
    let mut url = endpoint.clone();
    let host = format!("{bucket}.{}", endpoint.host_str().unwrap_or_default());
    url.set_host(Some(&host)).map_err(|e| config("the option `path_style`", e))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_host_has_the_bucket_in_front() {
        let url = Url::parse("https://s3.example.com:9000/").unwrap();
        assert_eq!(virtual_host(&url, "backups").unwrap(), "https://backups.s3.example.com:9000");
    }
}
