//! `kanctl snapshots`: the snapshots of a Repository.
//!
//! They are listed from the repository itself, opened here with the caller's own right to read its Secrets: so the
//! list is complete and of this moment, and nobody sees by it what they may not see anyway.

use super::cluster::{Session, in_time, refused};
use crate::commands::ls;
use crate::failure::{Exit, Failure};
use crate::kando::Address;
use cistern_api::Repository;
use cistern_controller::access::{Missing, to_repository};
use cistern_controller::repositories::at;

/// What can be typed. No group of its own: that of `ls` has the same name.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// The Repository; needs not be said where there is one alone
    #[arg(long, short, value_name = "NAME")]
    repository: Option<String>,
    #[command(flatten)]
    choice: ls::Args,
    /// One JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// Lists them.
pub async fn run(args: Args, session: &Session) -> Result<(), Failure> {
    let found: Repository = match &args.repository {
        Some(name) => session.read(&at(&session.namespace, name)).await?,
        None => only(session).await?,
    };
    let name = found.metadata.name.clone().unwrap_or_default();
    let cannot = |why: String| {
        let message = format!("cannot open the repository of {}/{name}: {why}", session.namespace);
        Failure::new(Exit::NotFound, message).hint("`kubectl describe repository` shows how it is")
    };
    let content = to_repository(&*session.cluster, &found);
    let content = in_time(async {
        match content.await {
            Ok(content) => Ok(Ok(content)),
            Err(Missing::Final(reason)) => Ok(Err(reason)),
            Err(Missing::Later(refusal)) => Err(refusal),
        }
    });
    let content =
        content.await.map_err(|e| refused("read what opens", &at(&session.namespace, &name), &e))?;
    let (location, mut context) = Address::of(&content.map_err(cannot)?).await?.open(false).await?;
    let absent = || cannot(format!("there is none at {}", context.location));
    let repository = location.repository.ok_or_else(absent)?;
    context.json = args.json;
    ls::list(&repository, &args.choice, &context).await
}

/// The only Repository of the namespace.
async fn only(session: &Session) -> Result<Repository, Failure> {
    let of = at(&session.namespace, "");
    let all = session.cluster.list(&of, "").await.map_err(|e| refused("list", &of, &e))?;
    match <[_; 1]>::try_from(all) {
        Ok([one]) => super::cluster::typed(one).map_err(|e| Failure::other(format!("cannot read it: {e}"))),
        Err(none) if none.is_empty() => {
            let message = format!("there is no Repository in the namespace {}", session.namespace);
            Err(Failure::new(Exit::NotFound, message).hint("-n says in which namespace"))
        }
        Err(several) => {
            let names = several.iter().filter_map(|one| one["metadata"]["name"].as_str());
            let message = format!("which Repository? There are {}", names.collect::<Vec<_>>().join(", "));
            Err(Failure::usage(message).hint("--repository says which"))
        }
    }
}
