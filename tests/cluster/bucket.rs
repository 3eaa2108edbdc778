//! A place in the object store of `tests/servers/up`, and profiles that lead there.

use crate::stage::Stage;
use crate::support::place::Place;
use serde_json::json;
use std::process::Command;

/// A prefix of a real bucket.
pub struct Bucket {
    /// `http://host:port`.
    pub endpoint: String,
    /// The bucket.
    pub name: String,
    /// The story's own part of it.
    pub prefix: String,
}

impl Bucket {
    /// With a profile `store` that leads there; `None` where there is no object store, which is said.
    pub async fn at(stage: &Stage) -> Option<Bucket> {
        let place = Place::named("CISTERN_TEST_S3")?;
        let (endpoint, name) = place.url.rsplit_once('/').unwrap();
        // Namespaces are drawn by lot, and not again by a later run.
        let prefix = stage.namespace.clone();
        let bucket = Bucket { endpoint: endpoint.to_owned(), name: name.to_owned(), prefix };
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "bucket" },
            "stringData": { "id": "any", "secret": "any" },
        });
        stage.apply(&secret.to_string()).await;
        bucket.profile(stage, "store", &bucket.prefix).await;
        Some(bucket)
    }

    /// Another profile, for a prefix of the bucket.
    pub async fn profile(&self, stage: &Stage, name: &str, prefix: &str) {
        let profile = json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Profile", "metadata": { "name": name },
            "location": {
                "type": "s3Compliant", "bucket": self.name, "endpoint": self.endpoint, "prefix": prefix,
                "region": "us-east-1",
            },
            "credential": { "type": "keyPair", "keyPair": {
                "idField": "id", "secretField": "secret",
                "secret": { "apiVersion": "v1", "kind": "Secret", "name": "bucket", "namespace": stage.namespace },
            }},
            "skipSSLVerify": false,
        });
        stage.apply(&profile.to_string()).await;
    }

    /// The keys below the prefix, without it.
    pub fn keys(&self) -> Vec<String> {
        let url = format!("{}/{}?list-type=2&prefix={}/", self.endpoint, self.name, self.prefix);
        let ran = Command::new("curl").args(["-sf", "-m", "20", &url]).output().unwrap();
        assert!(ran.status.success(), "{url}");
        let text = String::from_utf8(ran.stdout).unwrap();
        let keys = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        keys.map(|key| key.trim_start_matches(&self.prefix).trim_start_matches('/').to_owned()).collect()
    }
}
