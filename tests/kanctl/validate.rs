//! `kanctl validate`: checks by name, and the bucket itself where a server is there.

use crate::support::given;
use crate::{fixture, kanctl, printed, refused};

const SCHEMA: &str = "Passed the 'Validate Profile schema' check.. ✅\n";

#[test]
fn the_schema_alone() {
    let args = ["validate", "profile", "-f", "-", "--schema-validation-only"];
    assert_eq!(printed(&args, &fixture("profile-filled.yaml")), SCHEMA);
}

#[test]
fn every_complaint_about_a_profile_names_its_field() {
    let profile =
        "kind: Profile\nmetadata: {name: p}\nlocation: {type: kopia}\ncredential: {type: keyPair}\n";
    let ran = kanctl(&["validate", "profile", "-f", "-"], profile);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(String::from_utf8(ran.out).unwrap(), "Failed the 'Validate Profile schema' check.. ❌\n");
    for field in [
        "`location.type` is `kopia`: expected s3Compliant, gcs or azure",
        "`location.bucket` is empty",
        "`credential.keyPair.idField` is empty",
        "`credential.keyPair.secretField` is empty",
        "`credential.keyPair.secret.name` is empty",
    ] {
        assert!(ran.err.contains(field), "{field}: {}", ran.err);
    }
}

#[test]
fn a_profile_without_its_secret_says_where_that_belongs() {
    let ran = kanctl(&["validate", "profile", "-f", "-"], &fixture("profile-filled.yaml"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err.contains("Secret kanister/s") && ran.err.contains("--schema-validation-only"),
        "{}",
        ran.err
    );
}

#[test]
fn a_bucket_is_written_read_and_left_as_it_was() {
    let Some(url) = given("CISTERN_TEST_S3") else { return };
    let (endpoint, bucket) = url.rsplit_once('/').unwrap();
    let create = [
        "create",
        "profile",
        "s3compliant",
        "--dry-run",
        "-a",
        "any",
        "-s",
        "any",
        "-r",
        "us-east-1",
        "-e",
        endpoint,
        "-p",
        "validate",
    ];
    let objects = printed(&[&create[..], &["-b", bucket]].concat(), "");
    let expected = format!(
        "{SCHEMA}Passed the 'Validate bucket region specified in profile' check.. ✅\nPassed the 'Validate read access to \
         bucket specified in profile' check.. ✅\nPassed the 'Validate write access to bucket specified in profile' \
         check.. ✅\n"
    );
    assert_eq!(printed(&["validate", "profile", "-f", "-"], &objects), expected);
    let objects = printed(&[&create[..], &["-b", "no-such-bucket-anywhere"]].concat(), "");
    let ran = kanctl(&["validate", "profile", "-f", "-"], &objects);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.out).contains("Failed the 'Validate bucket region"), "{ran:?}");
}

const BLUEPRINT: &str = "\
actions:
  backup:
    phases:
    - {func: KubeTask, name: dump, args: {image: i, command: [c]}}
    deferPhase: {func: KubeExec, name: tidy, args: {namespace: n, pod: p, command: [c]}}
";

#[test]
fn each_phase_of_a_blueprint_is_checked() {
    let args = ["validate", "blueprint", "-f", "-"];
    let expected = "Passed the 'validation of phase dump in action backup' check.. ✅\nPassed the 'validation of phase \
                    tidy in action backup' check.. ✅\n";
    assert_eq!(printed(&args, BLUEPRINT), expected);
    let cases = [
        ("func: KubeTask", "func: KubeTsk", "there is no function `KubeTsk`; did you mean KubeTask?"),
        ("image: i", "imge: i", "argument imge is not supported by KubeTask; did you mean image?"),
        ("image: i, ", "", "Required arg missing: image"),
        ("name: tidy", "name: dump", "another phase of this name"),
    ];
    for (right, wrong, complaint) in cases {
        let ran = kanctl(&args, &BLUEPRINT.replacen(right, wrong, 1));
        assert_eq!(ran.code, Some(1), "{wrong}: {}", ran.err);
        assert!(ran.err.contains(complaint), "{wrong}: {}", ran.err);
        assert!(String::from_utf8_lossy(&ran.out).contains("Failed the 'validation of phase"), "{ran:?}");
    }
}

#[test]
fn what_needs_a_cluster_or_makes_no_sense_is_refused() {
    refused(&["validate", "profile", "--name", "p"], "", 2, &["found no cluster"]);
    refused(&["validate", "blueprint", "--name", "b"], "", 2, &["found no cluster"]);
    refused(&["validate", "blueprint"], "", 2, &["without --name or --filename"]);
    refused(&["validate", "profile"], "", 2, &["without --name or --filename"]);
    refused(&["validate", "blueprint", "-f", "-", "-v", "v1.0.0"], BLUEPRINT, 2, &["v0.0.0"]);
    refused(&["validate", "blueprnt"], "", 2, &["blueprint"]);
    refused(&["validate", "profile", "-f", "-"], "kind: Secret\nmetadata: {name: s}\n", 2, &["found 0"]);
    refused(&["validate", "blueprint", "-f", "/nowhere.yaml"], "", 2, &["cannot read /nowhere.yaml"]);
}
