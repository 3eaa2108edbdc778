//! Prints the definition of one resource as YAML: `cargo run -p cistern-api --example crds actionset`.
//!
//! `deploy/crds` holds what it prints; a test compares the two.

use cistern_api::{crd, yaml};

fn main() -> Result<(), String> {
    let wanted = std::env::args()
        .nth(1)
        .ok_or("say which: actionset, blueprint, profile, backupschedule, blueprintbinding or repository")?;
    let found = crd::definitions().into_iter().find(|d| d.spec.names.singular.as_deref() == Some(&wanted));
    let definition = found.ok_or(format!("there is no resource `{wanted}`"))?;
    print!("{}", yaml::print(&definition)?);
    Ok(())
}
