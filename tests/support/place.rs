//! Repositories in the object stores that the environment names, through the configuration file.

use super::home::Home;
use super::{given, seeded, variable_of};

/// The key of every Azurite, from its documentation.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What it takes to speak with one of the stores.
pub struct Place {
    /// `s3`, `az` or `gs`.
    pub scheme: &'static str,
    /// `URL/bucket`.
    pub url: String,
    /// The store's option that is a secret, and its value.
    pub secret: (&'static str, String),
    /// The other options, as lines of TOML.
    pub options: String,
}

impl Place {
    /// The S3 store of a variable, with this id and secret.
    pub fn s3(url: String, id: &str, secret: &str) -> Place {
        let options = format!("access_key_id = '{id}'\n");
        Place { scheme: "s3", url, secret: ("secret_access_key", secret.to_owned()), options }
    }

    /// The store that a variable of `tests/servers/up` names; `None` where it is not set, which is said.
    pub fn named(variable: &str) -> Option<Place> {
        let url = given(variable)?;
        Some(match variable {
            "CISTERN_TEST_S3" => Place::s3(url, "any", "any"),
            "CISTERN_TEST_S3_TLS" => {
                let authority = given("CISTERN_TEST_CA")?;
                let place = Place::s3(url, "any", "any");
                Place { options: format!("{}ca_file = '{authority}'\n", place.options), ..place }
            }
            "CISTERN_TEST_RCLONE" => Place::s3(url, "cistern", "cistern-secret"),
            "CISTERN_TEST_AZURE" => {
                let options = "account = 'devstoreaccount1'\n".to_owned();
                Place { scheme: "az", url, secret: ("account_key", AZURITE_KEY.to_owned()), options }
            }
            "CISTERN_TEST_GCS" => Place {
                scheme: "gs",
                url,
                secret: ("access_token", "token".to_owned()),
                options: String::new(),
            },
            other => panic!("no such store: {other}"),
        })
    }

    /// A home whose default repository is there, under a prefix of its own. Nothing is made.
    pub fn home(&self) -> Home {
        let home = Home::new();
        let path = home.path("");
        // The name of the home is unique while the test runs; the time makes it so afterwards.
        let prefix = format!("{}-{:?}", path.display(), super::home::now());
        let prefix = blake3::hash(prefix.as_bytes()).to_hex();
        self.furnish(&home, &prefix[..16]);
        home
    }

    /// Leads a home to a prefix of this store.
    pub fn furnish(&self, home: &Home, prefix: &str) {
        let (endpoint, bucket) = self.url.rsplit_once('/').unwrap();
        let (option, secret) = &self.secret;
        let file = home.write("store.secret", secret);
        let text = format!(
            "[profiles.default]\nrepository = '{}://{bucket}/{prefix}'\n[profiles.default.store]\nendpoint = \
             '{endpoint}'\n{option} = {{ file = '{}' }}\nstall_secs = 10\n{}",
            self.scheme,
            file.display(),
            self.options
        );
        home.write(".config/cistern/config.toml", &text);
    }
}

/// A home for a local repository, and one for a repository in S3 where there is one; both are made.
pub fn homes() -> Vec<Home> {
    let mut homes = vec![Home::new()];
    if variable_of("CISTERN_TEST_S3").is_some() {
        homes.extend(Place::named("CISTERN_TEST_S3").map(|place| place.home()));
    } else {
        super::skip("CISTERN_TEST_S3", "it names no server; the databases go into a local repository only");
    }
    for home in &homes {
        home.ok(&["init"], b"");
    }
    homes
}

/// Two nights of a stream: most of it the same, some of it new.
pub fn two_nights(seed: &str) -> (Vec<u8>, Vec<u8>) {
    let first = seeded(seed, 24 << 20);
    let mut second = first.clone();
    second[5 << 20..6 << 20].copy_from_slice(&seeded(&format!("{seed} changed"), 1 << 20));
    second.extend(seeded(&format!("{seed} more"), 1 << 20));
    (first, second)
}
