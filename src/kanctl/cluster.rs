//! What needs a live cluster and is not there yet, said in one voice.

use crate::failure::Failure;

/// Stands below the help.
pub const NOTE: &str = "\
No cluster is talked to: `create` prints objects with --dry-run, for `kubectl create -f -`.";

/// What was asked for would be created in a cluster.
pub fn cannot_create(what: &str) -> Failure {
    Failure::usage(format!("cannot create the {what}: this version of kanctl talks to no cluster"))
        .hint("add --dry-run and pass on what it prints: kanctl create … --dry-run | kubectl create -f -")
}

/// What was named would have to be looked up in a cluster.
pub fn cannot_look_up(what: &str, name: &str, instead: &str) -> Failure {
    Failure::usage(format!("cannot look up the {what} `{name}`: this version of kanctl talks to no cluster"))
        .hint(instead.to_owned())
}
