//! `kanctl create`: objects made in a cluster, or printed as YAML.

mod actionset;
pub mod pairs;
mod profile;
pub mod suffix;
mod targets;
mod verify;

use super::Globals;
use crate::failure::Failure;
use cistern_api::yaml;
use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    how: How,
    #[command(subcommand)]
    what: What,
}

/// What both kinds of object understand.
#[derive(clap::Args, Clone, Copy)]
pub struct How {
    /// Print the YAML, create nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Do not check what is made
    #[arg(long, global = true)]
    skip_validation: bool,
}

#[derive(Subcommand)]
enum What {
    /// An order to run an action
    Actionset(Box<actionset::Args>),
    /// A place for backups, and the Secret that opens it
    Profile(Box<profile::Args>),
}

/// Makes what was asked for.
pub async fn run(args: Args, globals: &Globals) -> Result<(), Failure> {
    match args.what {
        What::Actionset(actionset) => actionset::run(&actionset, args.how, globals).await,
        What::Profile(profile) => profile::run(&profile, args.how, globals).await,
    }
}

/// An object as YAML. It carries the `creationTimestamp: null` that Go's tools write and clusters ignore.
fn printed(object: &impl Serialize) -> Result<String, Failure> {
    let failed = |e: String| Failure::other(format!("cannot write the object as YAML: {e}"));
    let mut value = serde_json::to_value(object).map_err(|e| failed(e.to_string()))?;
    value["metadata"]["creationTimestamp"] = Value::Null;
    yaml::print(&value).map_err(failed)
}
