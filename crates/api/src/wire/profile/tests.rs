//! Tests of the profile JSON: Go's spelling out, any spelling in, and errors that name the field alone.

use super::*;

const GO: &str = include_str!("../../../../../fixtures/kanister/profile-keypair.json");
const TYPED: &str = include_str!("../../../../../fixtures/kanister/profile-typed-secret.json");
const KOPIA: &str = include_str!("../../../../../fixtures/kanister/profile-kopia.json");

#[test]
fn what_go_wrote_is_read_and_written_the_same() {
    for fixture in [GO, TYPED, KOPIA] {
        let profile = ProfileJson::parse(fixture).unwrap();
        assert_eq!(profile.to_json(), fixture.trim_end());
    }
}

#[test]
fn each_field_of_a_key_pair_profile_arrives() {
    let profile = ProfileJson::parse(GO).unwrap();
    assert_eq!(profile.location.kind, LocationType::S3Compliant);
    assert_eq!(profile.location.bucket, "backups");
    assert_eq!(profile.location.endpoint, "http://127.0.0.1:9000/?a=1&b=<2>");
    assert_eq!(profile.location.prefix, "team-a");
    assert_eq!(profile.location.region, "us-east-1");
    let pair = profile.credential.key_pair.unwrap();
    assert_eq!((pair.id.as_str(), pair.secret.reveal()), ("AKIAEXAMPLE", "s<e>c&r'e\"t"));
    assert!(!profile.skip_ssl_verify);
}

#[test]
fn keys_are_found_in_any_letter_case_but_not_inside_a_secret() {
    let text = r#"{"LOCATION":{"TYPE":"gcs","Bucket":"b"},"credential":{"type":"secret",
        "secret":{"METADATA":{"Name":"n"},"Data":{"Role":"YQ==","role":"Yg=="},"TYPE":"t"}},"skipsslverify":true}"#;
    let profile = ProfileJson::parse(text).unwrap();
    assert_eq!(profile.location.kind, LocationType::Gcs);
    assert_eq!(profile.location.bucket, "b");
    assert!(profile.skip_ssl_verify);
    let secret = profile.credential.secret.unwrap();
    assert_eq!((secret.text("Role"), secret.text("role")), (Some("a"), Some("b")));
    assert_eq!((secret.name.as_str(), secret.kind.as_str()), ("n", "t"));
}

#[test]
fn unknown_and_missing_and_null_fields_are_no_error() {
    let profile =
        ProfileJson::parse(r#"{"Location":null,"Credential":{"KeyPair":null},"Else":[1]}"#).unwrap();
    assert_eq!(profile, ProfileJson::default());
    assert_eq!(ProfileJson::parse("{}").unwrap(), ProfileJson::default());
}

#[test]
fn a_malformed_profile_names_the_field_and_hides_the_value() {
    let cases = [
        (r#"{"Location":"sesame"}"#, "field `Location` must be an object, but a string stands there"),
        (
            r#"{"Location":{"bucket":7}}"#,
            "field `Location.bucket` must be a string, but a number stands there",
        ),
        (r#"{"Credential":{"KeyPair":"sesame"}}"#, "field `Credential.KeyPair` must be an object"),
        (
            r#"{"Credential":{"KeyPair":{"Secret":["sesame"]}}}"#,
            "field `Credential.KeyPair.Secret` must be a string",
        ),
        (
            r#"{"Credential":{"Secret":{"data":{"k":"sesame!"}}}}"#,
            "field `Credential.Secret.data.k` is not base64",
        ),
        (
            r#"{"SkipSSLVerify":"sesame"}"#,
            "field `SkipSSLVerify` must be true or false, but a string stands there",
        ),
        (
            r#"{"Credential":{"KopiaServerSecret":{"ConnectOptions":{"x":"sesame"}}}}"#,
            "field `Credential.KopiaServerSecret.ConnectOptions.x` must be a whole number",
        ),
        ("[]", "expected an object, found a list"),
        (r#"{"sesame":"#, "not JSON (EOF while parsing"),
        (" null\n", "started without one"),
    ];
    for (text, expected) in cases {
        let error = ProfileJson::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("sesame"), "{text}: {error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    for fixture in [GO, TYPED, KOPIA] {
        let shown = format!("{:?}", ProfileJson::parse(fixture).unwrap());
        for secret in ["s<e>c&r", "hunter2", "aHVudGVyMg", "sesame"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_profile_may_be_kept_in_a_file() {
    let file = ProfileArgument::File("/run/p.json".into());
    assert_eq!(ProfileArgument::parse("@/run/p.json").unwrap(), file);
    let reference = ProfileArgument::file_reference("/run/p.json").to_string();
    assert_eq!(ProfileArgument::parse(&reference).unwrap(), file);
    assert!(matches!(ProfileArgument::parse(GO).unwrap(), ProfileArgument::Inline(_)));
    let error = ProfileArgument::parse(r#"{"cistern.dev/profile-file": 1}"#).unwrap_err().to_string();
    assert!(error.contains("field `cistern.dev/profile-file` must be a path"), "{error}");
}
