//! A laptop with a repository, a profile and an object: what `kanctl run --local` needs.

use crate::support::home::{Home, Ran, run};
use crate::support::listed_names;
use cistern_api::{ActionSet, yaml};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where our blueprints are.
pub fn blueprints() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("blueprints")
}

/// A home with an empty repository, and the files that an action is given.
pub struct Stage {
    pub home: Home,
    blueprint: String,
    options: Vec<String>,
    /// What `CISTERN_REPOSITORY` says.
    repository: String,
}

impl Stage {
    /// For one blueprint, on an object of this kind, with this account and these options.
    pub fn new(blueprint: &str, kind: &str, username: &str, password: &str, options: &[&str]) -> Stage {
        let home = Home::new();
        home.ok(&["init"], b"");
        let object = format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: db, namespace: app}}\n");
        home.write("object.yaml", &object);
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: db-0, namespace: app}\nspec: {containers: [{name: main}]}\n";
        home.write("pod.yaml", pod);
        let repository = home.repository().display().to_string();
        let stage = Stage {
            home,
            blueprint: blueprints().join(blueprint).display().to_string(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            repository,
        };
        stage.write_profile(&["-b", "none"]);
        stage.log_in(username, password);
        stage
    }

    /// Leads it to plain objects in a bucket, `URL/bucket`, below a prefix of its own.
    pub fn into_bucket(mut self, url: &str) -> Stage {
        let (endpoint, bucket) = url.rsplit_once('/').unwrap();
        let prefix = blake3::hash(self.home.path("").as_os_str().as_encoded_bytes()).to_hex();
        self.write_profile(&["-b", bucket, "-e", endpoint, "-p", &prefix[..16]]);
        self.repository = "none".to_owned();
        self
    }

    fn write_profile(&self, place: &[&str]) {
        let create = [
            "kanctl",
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
        ];
        let ran = self.home.ok(&[&create[..], place].concat(), b"");
        self.home.write("profile.yaml", &String::from_utf8(ran.out).unwrap());
    }

    /// Changes the account.
    pub fn log_in(&self, username: &str, password: &str) {
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": { "name": "database", "namespace": "app" },
            "stringData": { "username": username, "password": password },
        });
        self.home.write("secret.yaml", &secret.to_string());
    }

    fn command(&self, action: &str) -> Command {
        let files = [
            "--object",
            "object.yaml",
            "--with",
            "secret.yaml",
            "--with",
            "pod.yaml",
            "--profile",
            "profile.yaml",
        ];
        let mut command =
            self.home.command(&["kanctl", "run", "--local", "--timeout", "50s", "-f", &self.blueprint]);
        command.args(["--action", action]).args(files).env("CISTERN_REPOSITORY", &self.repository);
        command
    }

    /// Runs `backup`, keeps its ActionSet for the other actions, and gives what it printed.
    pub fn try_backup(&self) -> Ran {
        let mut command = self.command("backup");
        for option in &self.options {
            command.args(["--option", option]);
        }
        let ran = run(command, b"");
        self.home.write("backup.yaml", &String::from_utf8_lossy(&ran.out));
        ran
    }

    /// The same; it must succeed, and every stream of it is below the path of the artifact.
    pub fn backup(&self, artifact: &str) -> String {
        let path = self.backup_path(artifact);
        let names = listed_names(&self.home);
        assert!(names.iter().any(|name| name.starts_with(&path)), "{path}: {names:?}");
        path
    }

    /// The same, wherever the streams are.
    pub fn backup_path(&self, artifact: &str) -> String {
        let ran = self.try_backup();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let set: ActionSet = yaml::decode(&String::from_utf8(ran.out).unwrap()).unwrap();
        set.status.unwrap().actions[0].artifacts[artifact].key_value["path"].clone()
    }

    /// Runs an action on what the backup left.
    pub fn follow(&self, action: &str, options: &[&str]) -> Ran {
        let mut command = self.command(action);
        command.args(["--from", "backup.yaml"]);
        for option in options {
            command.args(["--option", option]);
        }
        run(command, b"")
    }

    /// The same; it must succeed.
    pub fn follow_ok(&self, action: &str, options: &[&str]) -> Ran {
        let ran = self.follow(action, options);
        assert_eq!(ran.code, Some(0), "{action}: {}", ran.err);
        ran
    }

    /// Runs `delete`; nothing is listed afterwards.
    pub fn delete(&self) {
        self.follow_ok("delete", &[]);
        assert_eq!(listed_names(&self.home), Vec::<String>::new());
    }
}
