//! `cistern pull`: write the stream of a snapshot.

use crate::context::Context;
use crate::failure::Failure;
use cistern_repo::Silent;
use std::sync::Arc;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// NAME (its newest), NAME@TIME, NAME@ID or the end of an id
    snapshot: String,
}

/// Writes the stream.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    let snapshot = repository.find_snapshot(&args.snapshot).await?;
    repository.pull(&snapshot, Box::new(std::io::stdout()), Arc::new(Silent)).await?;
    Ok(())
}
