//! Profiles of every type, and what is said of those that are wrong.
#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use super::*;
use serde_json::{Value, json};

/// What no message and no `Debug` may show.
const HIDDEN: &str = "hunter2";

fn place(profile: &Value) -> Result<Place, Error> {
    Place::of(&ProfileJson::parse(&profile.to_string()).unwrap(), None)
}

fn options(profile: &Value) -> Options {
    let place = place(profile).unwrap();
    assert!(!format!("{place:?}").contains(HIDDEN));
    let Place::Bucket { options, .. } = place else { panic!("a bucket") };
    *options
}

fn pair(kind: &str) -> Value {
    json!({
        "location": {"type": kind, "bucket": "b", "prefix": "/p/", "region": "eu-1"},
        "CREDENTIAL": {"type": "keyPair", "keypair": {"id": "me", "secret": HIDDEN}},
    })
}

fn typed(kind: &str, secret_type: &str, fields: &[(&str, &str)]) -> Value {
    use base64::Engine as _;
    let encode = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    let data: serde_json::Map<_, _> =
        fields.iter().map(|(name, text)| (name.to_string(), encode(text).into())).collect();
    json!({
        "Location": {"type": kind, "bucket": "b"},
        "Credential": {"Type": "secret", "Secret": {"type": secret_type, "data": data}},
    })
}

fn complaint(profile: &Value) -> String {
    let Err(e) = place(profile) else { panic!("{profile} is wrong") };
    assert!(!format!("{e} {e:?}").contains(HIDDEN), "{e}");
    e.to_string()
}

#[test]
fn key_pairs_open_all_three_clouds() {
    let Place::Bucket { cloud, bucket, prefix, options } = place(&pair("s3Compliant")).unwrap() else {
        panic!()
    };
    assert_eq!((cloud, bucket.as_str(), prefix.as_str()), (Cloud::S3, "b", "p"));
    assert_eq!((options.access_key_id.as_deref(), options.region.as_deref()), (Some("me"), Some("eu-1")));
    assert_eq!(options.secret_access_key.unwrap().reveal(), HIDDEN);
    assert_eq!(options_of("gcs").service_account_key.unwrap().reveal(), HIDDEN);
    let azure = options_of("azure");
    assert_eq!((azure.account.as_deref(), azure.account_key.unwrap().reveal()), (Some("me"), HIDDEN));
}

fn options_of(kind: &str) -> Options {
    options(&pair(kind))
}

#[test]
fn tls_is_checked_unless_the_profile_says_not() {
    let mut profile = pair("s3Compliant");
    assert!(!options(&profile).skip_verify);
    profile["SkipSSLVerify"] = true.into();
    assert!(options(&profile).skip_verify);
}

#[test]
fn typed_secrets_open_all_three_clouds() {
    let keys = [("aws_access_key_id", "me"), ("aws_secret_access_key", HIDDEN), ("role", "arn:x")];
    let s3 = options(&typed("s3Compliant", AWS, &keys));
    assert_eq!(s3.access_key_id.as_deref(), Some("me"));
    assert_eq!(s3.assume_role_arn.as_deref(), Some("arn:x"));
    assert!(options(&typed("s3Compliant", AWS, &[("role", "arn:x")])).access_key_id.is_none());
    let gcs = options(&typed("gcs", GCP, &[("gcp_project_id", "p"), ("service-account.json", HIDDEN)]));
    assert_eq!(gcs.service_account_key.unwrap().reveal(), HIDDEN);
    let fields = [
        ("azure_storage_account_id", "acc"),
        ("azure_storage_key", HIDDEN),
        ("azure_storage_environment", "AzureUSGovernmentCloud"),
    ];
    let azure = options(&typed("azure", AZURE, &fields));
    assert_eq!(azure.endpoint.as_deref(), Some("https://acc.blob.core.usgovcloudapi.net"));
    assert_eq!(azure.account_key.unwrap().reveal(), HIDDEN);
}

#[test]
fn federated_identity_takes_the_token_of_the_environment() {
    let fields = [("azure_storage_account_id", "acc"), ("azure_federated_identity", "true")];
    let profile = typed("azure", AZURE, &fields);
    assert!(complaint(&profile).contains("AZURE_SAS_TOKEN_FILE"));
    let profile = ProfileJson::parse(&profile.to_string()).unwrap();
    let Ok(Place::Bucket { options, .. }) = Place::of(&profile, Some(Secret::new("sig=1".into()))) else {
        panic!()
    };
    assert_eq!(options.sas_token.unwrap().reveal(), "sig=1");
}

#[test]
fn a_kopia_profile_names_a_repository_and_its_passphrase() {
    let profile = |endpoint: &str| {
        json!({
            "Location": {"type": "kopia", "endpoint": endpoint},
            "Credential": {"Type": "kopia", "KopiaServerSecret": {"Username": "u", "Password": HIDDEN}},
        })
    };
    let Place::Repository { location, passphrase } = place(&profile("s3://b/p")).unwrap() else { panic!() };
    assert_eq!((location.as_str(), passphrase.unwrap().reveal()), ("s3://b/p", HIDDEN));
    assert!(complaint(&profile("https://kopia:51515")).contains("`Location.endpoint` is a kopia server"));
}

#[test]
fn a_wrong_profile_says_which_field() {
    let without = |pointer: &str| {
        let mut profile = pair("s3Compliant");
        *profile.pointer_mut(pointer).unwrap() = Value::Null;
        complaint(&profile)
    };
    assert!(without("/location/type").contains("`Location.type` is missing"));
    assert!(without("/location/bucket").contains("`Location.bucket` is missing"));
    assert!(without("/CREDENTIAL/type").contains("`Credential.Type` is missing"));
    assert!(without("/CREDENTIAL/keypair").contains("`Credential.KeyPair` is missing"));
    assert!(without("/CREDENTIAL/keypair/id").contains("`Credential.KeyPair.ID` is missing"));
    assert!(without("/CREDENTIAL/keypair/secret").contains("`Credential.KeyPair.Secret` is missing"));
    assert!(complaint(&pair("swift")).contains("`Location.type` is none of"));
    let half = typed("s3Compliant", AWS, &[("aws_access_key_id", "me")]);
    assert!(complaint(&half).contains("aws_secret_access_key` is missing"));
    assert!(
        complaint(&typed("gcs", AWS, &[]))
            .contains("`Credential.Secret.type` is not secrets.kanister.io/gcp")
    );
    let nowhere = [("azure_storage_account_id", "a"), ("azure_storage_environment", HIDDEN)];
    assert!(complaint(&typed("azure", AZURE, &nowhere)).contains("azure_storage_environment` is none of"));
}
