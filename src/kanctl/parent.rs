//! The finished ActionSet a new one follows: read from a file or a cluster, and fit to be followed.

use super::cluster::Session;
use super::input::Input;
use crate::failure::Failure;
use cistern_action::follow;
use cistern_api::ActionSet;
use std::path::Path;

pub use cistern_action::follow::actions;

/// Reads it from a file.
///
/// # Errors
/// One that is not complete left nothing that can be used.
pub fn read(path: &Path) -> Result<ActionSet, Failure> {
    usable(Input::read(path)?.decode()?)
}

/// Reads it from the cluster.
///
/// # Errors
/// There is none, or it is not complete.
pub async fn look_up(session: &Session, name: &str) -> Result<ActionSet, Failure> {
    usable(session.action_set(name).await?)
}

fn usable(parent: ActionSet) -> Result<ActionSet, Failure> {
    let name = parent.metadata.name.clone().unwrap_or_default();
    follow::usable(&parent)
        .map_err(|why| Failure::usage(format!("cannot follow the ActionSet `{name}`: {why}")))?;
    Ok(parent)
}
