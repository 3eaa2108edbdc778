//! The name that picks the door.

use crate::refused;
use crate::support::home::{CISTERN, Home, run};
use std::process::Command;

#[test]
fn a_link_of_that_name_is_kanctl() {
    let home = Home::new();
    let link = home.path("kanctl");
    std::os::unix::fs::symlink(CISTERN, &link).unwrap();
    let mut command = Command::new(&link);
    home.furnish(&mut command);
    command.arg("--version");
    let ran = run(command, b"");
    let version = format!("kanctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ran.code, String::from_utf8(ran.out).unwrap()), (Some(0), version));
}

#[test]
fn without_the_name_it_is_cistern() {
    let home = Home::new();
    let ran = home.run(&["--version"], b"");
    assert!(ran.out.starts_with(b"cistern "), "{ran:?}");
    let ran = home.run(&["create", "actionset"], b"");
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn what_asks_a_cluster_says_that_there_is_none() {
    for args in [&["list"][..], &["describe", "a"], &["logs", "a"], &["cancel", "a"], &["wait", "a"]] {
        refused(args, "", 2, &["found no cluster", "--kubeconfig"]);
    }
    let nowhere = ["list", "--kubeconfig", "/nowhere/config"];
    refused(&nowhere, "", 2, &["cannot use the kubeconfig /nowhere/config"]);
}
