//! `kanctl validate`: every check named, passed or failed, as Kanister prints it.

mod blueprint;
pub mod profile;

use super::Globals;
use crate::failure::Failure;
use crate::show;
use clap::ValueEnum;
use std::path::PathBuf;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// What to check
    what: What,
    /// Name of the resource in the cluster
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    name: Option<String>,
    /// File to check, `-` for standard input; that of a Profile may hold its Secret as well
    #[arg(long, short, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Namespace of the resource
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    resource_namespace: String,
    /// Look at the Profile alone, try nothing
    #[arg(long)]
    schema_validation_only: bool,
    /// Version of the functions
    #[arg(long = "functionVersion", short = 'v', value_name = "VERSION", default_value = "v0.0.0")]
    function_version: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Profile,
    Blueprint,
}

/// Checks and prints.
pub async fn run(args: Args, globals: &Globals) -> Result<(), Failure> {
    match args.what {
        What::Profile => profile::run(&args, globals).await,
        What::Blueprint => blueprint::run(&args, globals).await,
    }
}

/// Tells that a check was passed.
fn passed(stage: &str) -> Result<(), Failure> {
    show::line(&format!("Passed the '{stage}' check.. ✅"))
}

/// Tells that a check failed, and why.
fn failed(stage: &str, why: Failure) -> Failure {
    match show::line(&format!("Failed the '{stage}' check.. ❌")) {
        Ok(()) => why,
        Err(closed) => closed,
    }
}
