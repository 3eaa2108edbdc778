//! A home where the program is `kando`, and profiles for the object stores that the environment names.

use crate::support::given;
use crate::support::home::{CISTERN, Home, Ran, run};
use serde_json::{Value, json};
use std::process::Command;

/// The key of every Azurite, from its documentation.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The variables of the stores with a profile type each.
pub const STORES: [&str; 3] = ["CISTERN_TEST_S3", "CISTERN_TEST_AZURE", "CISTERN_TEST_GCS"];

/// A home, a profile, and the program called `kando`.
pub struct Place {
    pub home: Home,
    pub profile: Value,
}

impl Place {
    /// With the profile of no place.
    pub fn nowhere() -> Place {
        let home = Home::new();
        std::fs::create_dir(home.path("bin")).unwrap();
        std::os::unix::fs::symlink(CISTERN, home.path("bin/kando")).unwrap();
        Place { home, profile: Value::Null }
    }

    /// A prefix of its own in the store of a variable; `None` where there is none, which is said.
    pub fn named(variable: &str) -> Option<Place> {
        let url = given(variable)?;
        let (endpoint, bucket) = url.rsplit_once('/').unwrap();
        let place = Place::nowhere();
        let (kind, id, secret) = match variable {
            "CISTERN_TEST_AZURE" => ("azure", "devstoreaccount1", AZURITE_KEY.to_owned()),
            "CISTERN_TEST_GCS" => ("gcs", "project", service_account()),
            _ => ("s3Compliant", "any", "any".to_owned()),
        };
        let profile = json!({
            "Location": {"type": kind, "bucket": bucket, "endpoint": endpoint, "prefix": place.prefix(), "region": ""},
            "Credential": {"Type": "keyPair", "KeyPair": {"ID": id, "Secret": secret}, "Secret": null,
                           "KopiaServerSecret": null},
            "SkipSSLVerify": false,
        });
        Some(Place { profile, ..place })
    }

    /// The same for a server at this URL.
    pub fn at(endpoint: &str) -> Place {
        let profile = json!({
            "Location": {"type": "s3Compliant", "bucket": "bucket", "endpoint": endpoint, "prefix": "p"},
            "Credential": {"Type": "keyPair", "KeyPair": {"ID": "any", "Secret": "any"}},
        });
        Place { profile, ..Place::nowhere() }
    }

    /// Unique while the home exists, and by the time of day afterwards.
    pub fn prefix(&self) -> String {
        let text = format!("{}-{:?}", self.home.path("").display(), crate::support::home::now());
        let hash = blake3::hash(text.as_bytes()).to_hex();
        self.profile
            .pointer("/Location/prefix")
            .and_then(Value::as_str)
            .map_or(hash[..16].to_owned(), str::to_owned)
    }

    /// `kando` with these arguments, in the home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.home.path("bin/kando"));
        self.home.furnish(&mut command);
        command.args(args);
        command
    }

    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Ran {
        run(self.command(args), stdin)
    }

    /// `kando location VERB --profile … ARGS`.
    pub fn location(&self, verb: &str, args: &[&str], stdin: &[u8]) -> Ran {
        let profile = self.profile.to_string();
        self.run(&[&["location", verb, "--profile", &profile], args].concat(), stdin)
    }

    /// The same for what must succeed.
    pub fn ok(&self, verb: &str, args: &[&str], stdin: &[u8]) -> Ran {
        let ran = self.location(verb, args, stdin);
        assert_eq!(ran.code, Some(0), "{verb} {args:?} at {}: {}", self.kind(), ran.err);
        ran
    }

    pub fn push(&self, path: &str, stdin: &[u8]) {
        let ran = self.ok("push", &["--path", path, "-"], stdin);
        assert!(ran.out.is_empty(), "nothing is printed: {ran:?}");
    }

    pub fn pull(&self, path: &str) -> Vec<u8> {
        self.ok("pull", &["--path", path, "-"], b"").out
    }

    pub fn assert_absent(&self, path: &str) {
        let ran = self.location("pull", &["--path", path, "-"], b"");
        assert_eq!(ran.code, Some(5), "`{path}` should not be there at {}: {}", self.kind(), ran.err);
        assert!(ran.out.is_empty());
    }

    pub fn kind(&self) -> String {
        self.profile["Location"]["type"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes a repository under the profile's prefix, whose key `cistern` keeps in the home.
    pub fn init(&self) {
        let location = &self.profile["Location"];
        let (bucket, prefix) = (location["bucket"].as_str().unwrap(), location["prefix"].as_str().unwrap());
        let mut command = self.home.command(&["init", "--repo", &format!("s3://{bucket}/{prefix}")]);
        command.envs([
            ("AWS_ENDPOINT_URL", location["endpoint"].as_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
        ]);
        let ran = run(command, b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }

    /// A script as phases run it, with `kando` in the PATH and the profile in `$PROFILE`.
    pub fn bash(&self, variables: &[(&str, &str)], script: &str) -> Ran {
        let mut command = Command::new("bash");
        self.home.furnish(&mut command);
        let path = format!("{}:/usr/bin:/bin", self.home.path("bin").display());
        command.env("PATH", path).env("PROFILE", self.profile.to_string()).envs(variables.iter().copied());
        command.args(["-o", "errexit", "-o", "pipefail", "-c", script]);
        run(command, b"")
    }
}

/// The key of a service account that no server knows: the tokens it signs are good enough for an emulator.
fn service_account() -> String {
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-quiet"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    json!({
        "type": "service_account",
        "private_key": String::from_utf8(made.stdout).unwrap(),
        "private_key_id": "1",
        "client_email": "test@example.iam.gserviceaccount.com",
    })
    .to_string()
}

/// Every store that is there.
pub fn stores() -> impl Iterator<Item = Place> {
    STORES.into_iter().filter_map(Place::named)
}
