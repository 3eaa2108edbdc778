//! What a credential's role lets a command do where its keys alone would let it do more.
//!
//! A push or pull credential holds every key that forgetting takes; what really stops a thief is the
//! store's own permission to delete. Refusing here keeps an honest machine from it.

use crate::failure::{Exit, Failure};
use cistern_repo::{Repository, Role};

/// Refuses credentials that are not meant for taking things away: `maintain` and `owner` are.
pub fn require_maintenance(repository: &Repository, doing: &str) -> Result<(), Failure> {
    let role = repository.keys().role();
    match role {
        Role::Maintain | Role::Owner => Ok(()),
        Role::Push | Role::Pull => {
            let message = format!(
                "cannot {doing}: it takes a credential of role maintain or owner, this one is of role {role}"
            );
            Err(Failure::new(Exit::Denied, message).hint("`cistern key export --role maintain` makes one"))
        }
    }
}
