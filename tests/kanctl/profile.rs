//! `kanctl create profile`: the Secret and the Profile that refers to it.

use crate::support::home::{Home, Ran, run};
use crate::{printed, refused};
use cistern_api::{CredentialType, LocationType, Profile, yaml};
use serde_json::Value;

const SECRET: &str = "s3cr3t'$(x)";

/// Both objects that are printed.
fn both(text: &str) -> (Value, Profile) {
    let documents = yaml::parse(text).unwrap();
    let [secret, profile] = documents.as_slice() else { panic!("two documents: {text}") };
    (secret.decode().unwrap(), profile.decode().unwrap())
}

fn create<'a>(cloud: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["create", "profile", cloud, "--dry-run", "-n", "kanister", "--bucket", "b"], more].concat()
}

#[test]
fn s3_with_a_key_pair() {
    let args = [
        "-a",
        "AK",
        "-s",
        SECRET,
        "-r",
        "eu-1",
        "-e",
        "http://minio:9000",
        "-p",
        "x/y",
        "--skip-SSL-verification",
    ];
    let (secret, profile) = both(&printed(&create("s3compliant", &args), ""));
    let name = secret["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("s3-secret-") && name.len() == "s3-secret-".len() + 6, "{name}");
    assert_eq!((secret["kind"].as_str(), secret["type"].as_str()), (Some("Secret"), Some("Opaque")));
    let fields = serde_json::json!({"aws_access_key_id": "AK", "aws_secret_access_key": SECRET, "role": ""});
    assert_eq!(secret["stringData"], fields);
    assert_eq!(profile.metadata.generate_name.as_deref(), Some("s3-profile-"));
    let place = &profile.location;
    assert_eq!(
        (&place.kind, place.bucket.as_str(), place.region.as_str()),
        (&LocationType::S3Compliant, "b", "eu-1")
    );
    assert_eq!((place.endpoint.as_str(), place.prefix.as_str()), ("http://minio:9000", "x/y"));
    assert!(profile.skip_ssl_verify);
    let pair = profile.credential.key_pair.unwrap();
    assert_eq!(
        (pair.id_field.as_str(), pair.secret_field.as_str()),
        ("aws_access_key_id", "aws_secret_access_key")
    );
    assert_eq!((pair.secret.name.as_str(), pair.secret.namespace.as_str()), (name, "kanister"));
}

#[test]
fn a_role_makes_a_typed_secret() {
    let (secret, profile) =
        both(&printed(&create("s3compliant", &["-a", "AK", "-s", SECRET, "-r", "r", "-R", "arn:x"]), ""));
    assert_eq!(secret["type"], "secrets.kanister.io/aws");
    assert_eq!(secret["stringData"]["role"], "arn:x");
    assert_eq!(profile.credential.kind, CredentialType::Secret);
    assert_eq!(profile.credential.secret.unwrap().name, secret["metadata"]["name"].as_str().unwrap());
    assert!(profile.credential.key_pair.is_none());
}

#[test]
fn google_and_azure() {
    let home = Home::new();
    let key = home.write("key.json", "{\"type\": \"service_account\"}\n");
    let (secret, profile) = both(&printed(&create("gcp", &["-a", "proj", "-s", key.to_str().unwrap()]), ""));
    assert_eq!(secret["stringData"]["gcp_service_key"], "{\"type\": \"service_account\"}");
    assert_eq!(profile.credential.key_pair.unwrap().id_field, "gcp_project_id");
    assert_eq!(profile.location.kind, LocationType::Gcs);

    let (secret, profile) = both(&printed(&create("azure", &["-a", "acc", "-s", SECRET]), ""));
    assert_eq!(secret["stringData"]["azure_storage_key"], SECRET);
    assert_eq!((secret["type"].as_str(), profile.credential.kind), (Some("Opaque"), CredentialType::KeyPair));
    let (secret, profile) = both(&printed(
        &create("azure", &["-a", "acc", "-s", SECRET, "--storage-env", "AzureUSGovernmentCloud"]),
        "",
    ));
    assert_eq!(secret["type"], "secrets.kanister.io/azure");
    assert_eq!(secret["stringData"]["azure_storage_environment"], "AzureUSGovernmentCloud");
    assert_eq!(profile.credential.kind, CredentialType::Secret);
}

#[test]
fn a_secret_need_not_stand_in_the_command_line() {
    let home = Home::new();
    let file = home.write("key", &format!("{SECRET}\n"));
    let (secret, _) = both(&printed(
        &create("s3compliant", &["-a", "AK", "-r", "r", "--secret-key-file", file.to_str().unwrap()]),
        "",
    ));
    assert_eq!(secret["stringData"]["aws_secret_access_key"], SECRET);
    let mut command = home.command(&["kanctl"]);
    command.args(create("azure", &["-a", "AK", "--storage-key-env", "MY_KEY"])).env("MY_KEY", SECRET);
    let Ran { code, out, err } = run(command, b"");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(both(&String::from_utf8(out).unwrap()).0["stringData"]["azure_storage_key"], SECRET);
}

#[test]
fn what_is_missing_is_named_and_no_secret_is_shown() {
    refused(
        &create("s3compliant", &["-a", "AK", "-r", "r"]),
        "",
        2,
        &["--secret-key-file", "--secret-key-env"],
    );
    refused(&create("s3compliant", &["-s", SECRET]), "", 2, &["--access-key"]);
    refused(&create("s3compliant", &["-a", "AK", "-s", SECRET]), "", 2, &["`location.region` is empty"]);
    let args = ["create", "profile", "azure", "--dry-run", "-a", "acc", "-s", SECRET];
    refused(&args, "", 2, &["`location.bucket` is empty"]);
    refused(&["create", "profile", "gcp", "-b", "b", "-a", "p", "-s", "/nowhere"], "", 4, &["/nowhere"]);
    let args = ["create", "profile", "azure", "-b", "b", "-a", "acc", "-s", SECRET];
    refused(&args, "", 2, &["found no cluster", "--kubeconfig"]);
    printed(
        &["create", "profile", "s3compliant", "--dry-run", "--skip-validation", "-a", "AK", "-s", SECRET],
        "",
    );
    let home = Home::new();
    let mut command = home.command(&["kanctl"]);
    command.args(create("s3compliant", &["-a", "AK", "-s", SECRET]));
    let ran = run(command, b"");
    assert!(!ran.err.contains(SECRET), "{}", ran.err);
}
