//! How to reach a store: endpoint, credentials, TLS, limits.

use crate::Secret;
use crate::location::Cloud;
use crate::retry::Patience;
use serde::Deserialize;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a store. All have defaults; a directory needs none.
///
/// Given no credentials at all, the machine or pod is asked for its own: instance metadata on AWS, GCP
/// and Azure. The usual proxy variables are honoured by the HTTP client unless `proxy` is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// URL of the server when it is not the cloud's own, such as `https://minio.example:9000`.
    pub endpoint: Option<String>,
    /// Like `endpoint`, for `s3://` alone: what `AWS_ENDPOINT_URL` sets.
    pub s3_endpoint: Option<String>,
    /// S3: region of the bucket; by default `us-east-1`, or where the server says that the bucket is.
    pub region: Option<String>,
    /// S3: whether the bucket is in the path of URLs and not in the host name. By default it is when an
    /// endpoint is given.
    pub path_style: Option<bool>,

    /// S3: id of a static key.
    pub access_key_id: Option<String>,
    /// S3: secret of a static key.
    pub secret_access_key: Option<Secret>,
    /// S3: session token, with temporary keys.
    pub session_token: Option<Secret>,
    /// S3: role to take with a web identity token (IAM roles for service accounts).
    pub role_arn: Option<String>,
    /// S3: file with the web identity token, read again when it is renewed.
    pub web_identity_token_file: Option<String>,
    /// S3: name of the session of that role.
    pub role_session_name: Option<String>,
    /// S3: where to take the role, when it is not AWS's own STS.
    pub sts_endpoint: Option<String>,
    /// S3: role to take with the credential that the other options give, as `sts:AssumeRole` does.
    pub assume_role_arn: Option<String>,
    /// S3: path of the container's credentials (ECS).
    pub container_credentials_relative_uri: Option<String>,
    /// S3: URL of the container's credentials (EKS pod identity).
    pub container_credentials_full_uri: Option<String>,
    /// S3: file with the token for that URL.
    pub container_authorization_token_file: Option<String>,

    /// GCS: key file of a service account.
    pub service_account_file: Option<String>,
    /// GCS: the same as text.
    pub service_account_key: Option<Secret>,
    /// GCS: application default credentials: a key file or that of `gcloud auth`.
    pub application_credentials_file: Option<String>,
    /// GCS: an access token got elsewhere, which nobody renews.
    pub access_token: Option<Secret>,

    /// Azure: the storage account.
    pub account: Option<String>,
    /// Azure: key of the account.
    pub account_key: Option<Secret>,
    /// Azure: shared access signature.
    pub sas_token: Option<Secret>,
    /// Azure: directory (tenant) of an application.
    pub tenant_id: Option<String>,
    /// Azure: an application, or the managed identity to use.
    pub client_id: Option<String>,
    /// Azure: secret of the application.
    pub client_secret: Option<Secret>,
    /// Azure: file with the token of a workload identity, read again when it is renewed.
    pub federated_token_file: Option<String>,
    /// Azure: where tokens are issued, when it is not the public cloud.
    pub authority_host: Option<String>,

    /// Requests without any credential: public buckets and emulators.
    pub anonymous: bool,

    /// PEM file with certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate. Anybody on the way may then pose as the server.
    pub skip_verify: bool,
    /// Speak plain HTTP. By default when the endpoint begins with `http://`.
    pub allow_http: Option<bool>,
    /// URL of a proxy for all requests.
    pub proxy: Option<Secret>,
    /// Storage class (access tier on Azure) of new objects, by the cloud's own name.
    pub storage_class: Option<String>,

    /// S3: checksum to send with each object. By default `crc64nvme` to AWS and none to other servers, some of
    /// which refuse them. Buckets with object lock get a `Content-MD5` besides, when they ask for it.
    pub checksum: Option<Checksum>,

    /// Bytes per second to send at most.
    pub upload_bytes_per_sec: Option<NonZeroU64>,
    /// Bytes per second to receive at most.
    pub download_bytes_per_sec: Option<NonZeroU64>,
    /// Requests at once; 32 by default.
    pub requests_max: Option<usize>,
    /// How long passing failures are tried again; 600 by default.
    pub retry_secs: Option<u64>,
    /// How long a server may say nothing before the request is given up; 30 by default. Transfers get 1 s
    /// more per 256 KiB.
    pub stall_secs: Option<u64>,
    /// How long a connection may take to be made; 10 by default.
    pub connect_secs: Option<u64>,
}

/// Checksums that S3 compares with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// None: TLS and the engine's own hashes have to do.
    None,
    /// SHA-256, which most servers know.
    Sha256,
    /// CRC-64/NVME, the cheapest.
    Crc64nvme,
}

/// Which variable goes where.
type Setting = (&'static [&'static str], fn(&mut Options, String));

/// The names that the clouds' own tools use; of several for one field the first found counts.
const VARIABLES: &[Setting] = &[
    (&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], |o, v| o.s3_endpoint = Some(v)),
    (&["AWS_REGION", "AWS_DEFAULT_REGION"], |o, v| o.region = Some(v)),
    (&["AWS_ACCESS_KEY_ID"], |o, v| o.access_key_id = Some(v)),
    (&["AWS_SECRET_ACCESS_KEY"], |o, v| o.secret_access_key = Some(Secret::new(v))),
    (&["AWS_SESSION_TOKEN"], |o, v| o.session_token = Some(Secret::new(v))),
    (&["AWS_ROLE_ARN"], |o, v| o.role_arn = Some(v)),
    (&["AWS_ROLE_SESSION_NAME"], |o, v| o.role_session_name = Some(v)),
    (&["AWS_WEB_IDENTITY_TOKEN_FILE"], |o, v| o.web_identity_token_file = Some(v)),
    (&["AWS_ENDPOINT_URL_STS"], |o, v| o.sts_endpoint = Some(v)),
    (&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], |o, v| o.container_credentials_relative_uri = Some(v)),
    (&["AWS_CONTAINER_CREDENTIALS_FULL_URI"], |o, v| o.container_credentials_full_uri = Some(v)),
    (&["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], |o, v| o.container_authorization_token_file = Some(v)),
    (&["AWS_CA_BUNDLE"], |o, v| o.ca_file = Some(v.into())),
    (&["GOOGLE_APPLICATION_CREDENTIALS"], |o, v| o.application_credentials_file = Some(v)),
    (&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"], |o, v| o.account = Some(v)),
    (&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"], |o, v| o.account_key = Some(Secret::new(v))),
    (&["AZURE_STORAGE_SAS_TOKEN"], |o, v| o.sas_token = Some(Secret::new(v))),
    (&["AZURE_TENANT_ID"], |o, v| o.tenant_id = Some(v)),
    (&["AZURE_CLIENT_ID"], |o, v| o.client_id = Some(v)),
    (&["AZURE_CLIENT_SECRET"], |o, v| o.client_secret = Some(Secret::new(v))),
    (&["AZURE_FEDERATED_TOKEN_FILE"], |o, v| o.federated_token_file = Some(v)),
    (&["AZURE_AUTHORITY_HOST"], |o, v| o.authority_host = Some(v)),
];

impl Options {
    /// Reads the variables that the clouds' own tools read (`AWS_…`, `GOOGLE_…`, `AZURE_…`) from names
    /// and values that the caller hands over; others, and empty ones, are left alone.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Options {
        let mut found: Vec<(usize, usize, String)> = Vec::new();
        for (name, value) in vars.into_iter().filter(|(_, value)| !value.is_empty()) {
            for (setting, (names, _)) in VARIABLES.iter().enumerate() {
                if let Some(rank) = names.iter().position(|n| *n == name) {
                    found.push((setting, rank, value.clone()));
                }
            }
        }
        // The first name of a field is set last, and so counts.
        found.sort_by_key(|(setting, rank, _)| (*setting, std::cmp::Reverse(*rank)));
        let mut options = Options::default();
        for (setting, _, value) in found {
            (VARIABLES[setting].1)(&mut options, value);
        }
        options
    }

    /// These options, with what they leave open taken from `other`.
    ///
    /// Credentials are taken all from one or all from the other: half a key of each would only be refused.
    pub fn or(self, other: Options) -> Options {
        let (keys, place) = if self.has_credentials() { (&self, &other) } else { (&other, &self) };
        let (ours, theirs) = (&self, &other);
        macro_rules! first {
            ($field:ident) => {
                ours.$field.clone().or_else(|| theirs.$field.clone())
            };
        }
        Options {
            endpoint: first!(endpoint),
            s3_endpoint: first!(s3_endpoint),
            region: first!(region),
            path_style: first!(path_style),
            sts_endpoint: first!(sts_endpoint),
            assume_role_arn: first!(assume_role_arn),
            account: keys.account.clone().or_else(|| place.account.clone()),
            authority_host: first!(authority_host),
            ca_file: first!(ca_file),
            skip_verify: ours.skip_verify || theirs.skip_verify,
            allow_http: first!(allow_http),
            proxy: first!(proxy),
            storage_class: first!(storage_class),
            checksum: first!(checksum),
            upload_bytes_per_sec: first!(upload_bytes_per_sec),
            download_bytes_per_sec: first!(download_bytes_per_sec),
            requests_max: first!(requests_max),
            retry_secs: first!(retry_secs),
            stall_secs: first!(stall_secs),
            connect_secs: first!(connect_secs),
            ..keys.clone()
        }
    }

    /// Whether any credential is named, or said to be none.
    pub fn has_credentials(&self) -> bool {
        self.anonymous
            || [
                &self.access_key_id,
                &self.web_identity_token_file,
                &self.container_credentials_relative_uri,
                &self.container_credentials_full_uri,
                &self.service_account_file,
                &self.application_credentials_file,
                &self.client_id,
                &self.federated_token_file,
            ]
            .iter()
            .any(|text| text.is_some())
            || [
                &self.secret_access_key,
                &self.service_account_key,
                &self.access_token,
                &self.account_key,
                &self.sas_token,
            ]
            .iter()
            .any(|secret| secret.is_some())
    }

    /// The server's address when it is not the cloud's own.
    pub(crate) fn endpoint_of(&self, cloud: Cloud) -> Option<&str> {
        let s3 = self.s3_endpoint.as_deref().filter(|_| cloud == Cloud::S3);
        self.endpoint.as_deref().or(s3)
    }

    /// Whether requests go over plain HTTP.
    pub(crate) fn speaks_plain_http(&self, cloud: Cloud) -> bool {
        self.endpoint_of(cloud).is_some_and(|url| url.starts_with("http://"))
    }

    /// How long to go on trying.
    pub(crate) fn patience(&self) -> Patience {
        let default = Patience::default();
        Patience {
            total: self.retry_secs.map_or(default.total, Duration::from_secs),
            stall: self.stall_secs.map_or(default.stall, |secs| Duration::from_secs(secs.max(1))),
            ..default
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Options {
        Options::from_vars(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())))
    }

    #[test]
    fn variables_of_the_clouds_are_understood() {
        let options = vars(&[
            ("AWS_ENDPOINT_URL", "http://general"),
            ("AWS_ENDPOINT_URL_S3", "http://special"),
            ("AWS_DEFAULT_REGION", "eu-1"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_SESSION_TOKEN", ""),
            ("PATH", "/bin"),
        ]);
        assert_eq!(options.s3_endpoint.as_deref(), Some("http://special"), "whatever the order");
        assert_eq!(options.region.as_deref(), Some("eu-1"));
        assert_eq!(options.secret_access_key.as_ref().unwrap().reveal(), "hunter2");
        assert!(options.session_token.is_none(), "empty is unset");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn credentials_are_not_mixed() {
        let file = vars(&[("AWS_ACCESS_KEY_ID", "file"), ("AWS_SECRET_ACCESS_KEY", "file")]);
        let env = vars(&[("AWS_ACCESS_KEY_ID", "env"), ("AWS_SESSION_TOKEN", "env"), ("AWS_REGION", "eu-1")]);
        let both = file.clone().or(env.clone());
        assert_eq!(both.access_key_id.as_deref(), Some("file"));
        assert!(both.session_token.is_none(), "a token belongs to its own key");
        assert_eq!(both.region.as_deref(), Some("eu-1"), "the rest fills up");
        let only_env = Options { region: Some("us-2".into()), ..Options::default() }.or(env);
        assert_eq!(only_env.session_token.unwrap().reveal(), "env");
        assert_eq!(only_env.region.as_deref(), Some("us-2"));
    }

    #[test]
    fn a_role_is_taken_with_whatever_credential_there_is() {
        let role = Options { assume_role_arn: Some("arn:x".into()), ..Options::default() };
        let both = role.or(vars(&[("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "env")]));
        assert_eq!(
            (both.assume_role_arn.as_deref(), both.access_key_id.as_deref()),
            (Some("arn:x"), Some("env"))
        );
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<Options>(r#"{"regoin":"x"}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"region":"x","upload_bytes_per_sec":5}"#).unwrap();
        assert_eq!(options.upload_bytes_per_sec.unwrap().get(), 5);
        assert!(serde_json::from_str::<Options>(r#"{"upload_bytes_per_sec":0}"#).is_err());
    }
}
