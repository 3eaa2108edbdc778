//! `cistern push`: store a stream as a snapshot.

use crate::commands::init;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_repo::{Config, Facts, PushOptions, Repository, Silent};
use std::sync::Arc;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the stream; snapshots of one name are each other's history
    name: String,
}

/// Stores the stream.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = open_or_create(context).await?;
    let options = PushOptions {
        name: args.name,
        host: context.host.clone(),
        writer: concat!("cistern ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: context.tags.clone(),
        deltas: true,
    };
    let push = repository.begin_push(options).await?;
    let ingested = push.ingest(Box::new(std::io::stdin()), Arc::new(Silent)).await?;
    let receipt = ingested.commit(Facts::default()).await?;
    if context.json { show::json(&receipt) } else { show::line(&receipt.id.to_string()) }
}

/// The repository; the default one is made when there is none.
async fn open_or_create(context: &Context) -> Result<Repository, Failure> {
    match context.repository().await {
        Err(failure) if failure.exit == Exit::NotFound && context.embedded => {
            let (repository, made) = init::create(context, Config::default()).await?;
            init::announce(context, &made);
            Ok(repository)
        }
        opened => opened,
    }
}
