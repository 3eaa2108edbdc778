//! A home with a repository, stand-ins for database tools, and the files that an action is given.

use super::support::home::{Home, Ran, run};
use cistern_api::{ActionSet, yaml};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// The credential of the profile; must be seen nowhere.
pub const SECRET_KEY: &str = "s3cr3t-k3y";

/// What a database author has at hand.
pub struct Laptop {
    pub home: Home,
}

impl Laptop {
    pub fn new() -> Laptop {
        let home = Home::new();
        home.ok(&["init"], b"");
        let profile = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s3, namespace: kanister}}\n\
             stringData: {{id: AKIA, key: {SECRET_KEY}}}\n---\n\
             apiVersion: cr.kanister.io/v1alpha1\nkind: Profile\nmetadata: {{name: place, namespace: kanister}}\n\
             location: {{type: s3Compliant, bucket: none, region: us-east-1}}\n\
             credential: {{type: keyPair, keyPair: {{idField: id, secretField: key, \
             secret: {{name: s3, namespace: kanister}}}}}}\n"
        );
        home.write("profile.yaml", &profile);
        home.write(
            "sts.yaml",
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: app}\n",
        );
        home.write("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: kanister}\n");
        Laptop { home }
    }

    /// Puts a program on PATH.
    pub fn tool(&self, name: &str, script: &str) {
        let path = self.home.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `kanctl …` with the tools on PATH and the repository in force.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(&[&["kanctl"], args].concat());
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.home.path("bin").display()))
            .env("CISTERN_REPOSITORY", self.home.repository());
        command
    }

    /// `kanctl run --local -f BLUEPRINT …`.
    pub fn run(&self, blueprint: &str, args: &[&str]) -> Ran {
        run(self.command(&[&["run", "--local", "-f", blueprint], args].concat()), b"")
    }

    /// The same; it must succeed. Its ActionSet is kept under this name.
    pub fn complete(&self, blueprint: &str, args: &[&str], keep: &str) -> ActionSet {
        let ran = self.run(blueprint, args);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let text = String::from_utf8(ran.out).unwrap();
        assert!(!text.contains(SECRET_KEY) && !ran.err.contains(SECRET_KEY), "{text}{}", ran.err);
        self.home.write(keep, &text);
        yaml::decode(&text).unwrap()
    }
}

/// The ActionSet of a run that failed.
pub fn failed(ran: &Ran) -> ActionSet {
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let set: ActionSet = yaml::decode(std::str::from_utf8(&ran.out).unwrap()).unwrap();
    assert_eq!(set.status.as_ref().unwrap().state, cistern_api::State::Failed);
    set
}

/// A fixture of a good blueprint.
pub fn good(name: &str) -> String {
    format!("{}/fixtures/blueprints/good/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A blueprint with one KubeTask of one shell script.
pub fn scripted(script: &str) -> String {
    let block: String = script.lines().map(|line| format!("          {line}\n")).collect();
    format!(
        "apiVersion: cr.kanister.io/v1alpha1\nkind: Blueprint\nmetadata: {{name: one}}\nactions:\n  a:\n    phases:\n    \
         - func: KubeTask\n      name: p\n      args:\n        image: i\n        command:\n        - bash\n        - -ec\n        \
         - |\n{block}"
    )
}
