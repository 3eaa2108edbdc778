//! What functions that move data have in common: the command line of our mover, paths and snapshots.
//!
//! The bytes are moved by `kando volume`, in a pod or a container: a directory as a tar stream, into the
//! repository that the action's profile leads to.

use crate::pod::{self, CONTAINER, Wish};
use crate::ports::Cluster;
use crate::profile;
use crate::run::run;
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::Object;

/// What Kanister's functions put out as `version`: that of their outputs.
const OUTPUTS_VERSION: &str = "v0.0.0";
/// Characters of a snapshot's id (`docs/format.md`).
const ID_CHARS: usize = 26;
/// Characters of an id of restic's, short and whole.
const RESTIC_ID_CHARS: [usize; 2] = [8, 64];

/// `kando volume VERB` under a path of the location.
pub(crate) fn command(verb: &str, path: &str, more: &[&str]) -> Vec<String> {
    let reference = profile::reference();
    let words = ["kando", "volume", verb, "--profile", &reference, "--path", path];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// The path below the location that an artifact prefix means. As Kanister has it, a prefix may begin with
/// the bucket.
pub(crate) fn path(call: &Call, prefix: &str) -> Result<String, String> {
    let bucket = call.material.profile.as_ref().and_then(|p| p.json["Location"]["bucket"].as_str());
    let path = prefix.trim_start_matches("s3://").trim_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let path = if bucket.is_some_and(|bucket| !bucket.is_empty() && bucket == first) { rest } else { path };
    if path.is_empty() {
        return Err(format!("the path {prefix:?} names nothing below the location"));
    }
    Ok(path.to_owned())
}

/// A snapshot's id, if it is one of ours.
pub(crate) fn snapshot(id: &str) -> Result<&str, String> {
    let ours = id.len() == ID_CHARS && id.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    let hex = id.bytes().all(|c| c.is_ascii_hexdigit());
    if ours {
        return Ok(id);
    }
    if hex && RESTIC_ID_CHARS.contains(&id.len()) {
        return Err(format!(
            "{id} is a snapshot of a restic repository, which this controller does not read: restore it with \
             Kanister or restic, and back up anew"
        ));
    }
    Err(format!("{id:?} is no id of a snapshot; BackupData puts one out as backupID"))
}

/// One of two arguments that mean the same.
pub(crate) fn either<'a>(one: (&str, &'a str), other: (&str, &'a str)) -> Result<&'a str, String> {
    match (one.1, other.1) {
        ("", "") => Err(format!("it needs {} or {}", one.0, other.0)),
        (given, "") | ("", given) => Ok(given),
        _ => Err(format!("it takes {} or {}, not both", one.0, other.0)),
    }
}

/// Runs one of these commands in a pod with the tools image, unless another is named.
pub(crate) async fn in_pod(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    image: &str,
    command: &[String],
    mut wish: Wish,
) -> Result<Object, String> {
    // Before a pod waits for a Secret that cannot be made.
    profile::content(call)?;
    let image = if image.is_empty() { &setting.tools_image } else { image };
    wish.containers = vec![pod::container(CONTAINER, image, command)];
    run(cluster, setting, call, &pod::manifest(call, setting, wish)?).await?.outputs()
}

/// The outputs with the version that Kanister's have.
pub(crate) fn versioned(mut outputs: Object) -> Object {
    outputs.insert("version".to_owned(), OUTPUTS_VERSION.into());
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_snapshots_are_taken() {
        assert!(snapshot("01JD3Q5Z6V8W9X0Y1Z2A3B4C5D").is_ok());
        for restic in ["40dc1520", "79766175d1b1ef0b2d1f7d6b9cb2e9d4b9d2d8f1a9f5e7c4b3a2918f7e6d5c4b"] {
            assert!(snapshot(restic).unwrap_err().contains("restic"), "{restic}");
        }
        assert!(snapshot("").unwrap_err().contains("is no id"));
    }
}
