//! `kanctl run --local`: an action as processes of this machine, its ActionSet on standard output.

use super::drive::drive;
use super::local::{Local, refuse_what_needs_a_cluster};
use super::order::{Order, OrderArgs};
use super::process::Surroundings;
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_api::{ActionSet, State, yaml};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Run an action of a blueprint without a cluster
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Run commands as processes of this machine; on a cluster, ActionSets run actions
    #[arg(long, required = true)]
    local: bool,
    #[command(flatten)]
    order: OrderArgs,
    /// How long a phase may take, such as 10m [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Write out profiles in commands as Kanister does, secrets and all, for a kando of another make
    #[arg(long)]
    inline_profile: bool,
}

const AFTER_HELP: &str = "\
KubeTask, KubeExec, KubeExecAll, PrepareData and MultiContainerRun run their commands here: `bash` and the dump
tools are looked for on PATH, `kando` is this program. Images, pods and pod overrides do not matter. The
ActionSet that is printed can be given to --from of the restore.";

/// Runs the command.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut order = Order::read(&args.order)?;
    for spec in order.action_set.spec.iter().flat_map(|spec| &spec.actions) {
        if let Some(blueprint) = order.blueprint(&spec.blueprint) {
            refuse_what_needs_a_cluster(blueprint, &spec.name)?;
        }
    }
    let place = Place::make()?;
    if !args.inline_profile {
        place.keep_profiles(&mut order)?;
    }
    let runner = Local::new(Surroundings { path: place.path()?, timeout: args.timeout });
    let ended = drive(&order, &runner).await;
    finish(&ended)
}

/// Prints the ActionSet; its failure is that of the command.
fn finish(action_set: &ActionSet) -> Result<(), Failure> {
    let text =
        yaml::print(action_set).map_err(|e| Failure::other(format!("cannot print the ActionSet: {e}")))?;
    show::raw(text.as_bytes())?;
    match &action_set.status {
        Some(status) if status.state == State::Complete => Ok(()),
        Some(status) => Err(Failure::new(Exit::Other, status.error.message.clone())),
        None => Err(Failure::other("the ActionSet was not begun")),
    }
}

/// A private directory: `kando` as a link to this program, and the profiles.
struct Place(TempDir);

impl Place {
    fn make() -> Result<Place, Failure> {
        let failed = |e: std::io::Error| Failure::other(format!("cannot make a temporary directory: {e}"));
        // Created for its owner alone.
        let dir = tempfile::Builder::new().prefix("kanctl-").tempdir().map_err(failed)?;
        let program = std::env::current_exe()
            .map_err(|e| Failure::other(format!("cannot tell where this program is: {e}")))?;
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).map_err(failed)?;
        std::os::unix::fs::symlink(program, bin.join("kando")).map_err(failed)?;
        Ok(Place(dir))
    }

    /// PATH with `kando` first.
    fn path(&self) -> Result<OsString, Failure> {
        let inherited = std::env::vars_os().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let inherited = inherited.unwrap_or_default();
        let places = std::iter::once(self.0.path().join("bin")).chain(std::env::split_paths(&inherited));
        std::env::join_paths(places).map_err(|e| Failure::other(format!("cannot make PATH: {e}")))
    }

    /// Puts the profile of each action into a file that only its owner can read.
    fn keep_profiles(&self, order: &mut Order) -> Result<(), Failure> {
        let actions = order.action_set.spec.as_ref().map_or(0, |spec| spec.actions.len());
        for index in 0..actions {
            let Some(action) = order.action(index) else { continue };
            // What is wrong with a profile fails the action, not the command.
            let Ok(Some(profile)) = order.profile(action) else { continue };
            let path = self.0.path().join(format!("profile-{index}.json"));
            write_private(&path, profile.json.to_string().as_bytes())
                .map_err(|e| Failure::other(format!("cannot write {}: {e}", path.display())))?;
            order.profile_files.insert(index, path.to_string_lossy().into_owned());
        }
        Ok(())
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}
