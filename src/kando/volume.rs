//! `kando volume`: directories as tar streams in a repository, for the functions that move data.
//!
//! Names in the stream are the directory's path without its first slash: what is pulled with the target `/`
//! comes back to where it was. The tar is the image's own; it must end well, or nothing is stored.

use super::Verbosity;
use super::location::{Place, report, set_quiet, terms, tidily, whole};
use super::place::{Address, Site};
use super::put_out::put_out;
use crate::failure::{Exit, Failure};
use crate::producer::{Producers, Program};
use crate::progress::Meter;
use crate::stdio::{StallTimeout, StreamIn};
use cistern_api::wire::SnapshotJson;
use cistern_mover::{Lenience, Location, Source, StreamPath};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, OnceLock};

/// Begins the tag that says how many files a snapshot holds.
const FILES_TAG: &str = "files=";
/// Where ext4 puts what a check of the file system finds: in the root of every volume.
const LOST_AND_FOUND: &str = "lost+found";

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Store a directory; makes the repository if a passphrase was given and there is none
    Push(PushArgs),
    /// Bring a directory back
    Pull(PullArgs),
    /// Forget snapshots
    Delete(DeleteArgs),
    /// Put out how large a snapshot is
    Stats(StatsArgs),
    /// Put out whether the repository is there and opens
    Check(CheckArgs),
}

/// `push`.
#[derive(clap::Args)]
pub struct PushArgs {
    #[command(flatten)]
    place: Place,
    /// Directory or file
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// How long reading may stand still before it counts as failed; `off` for ever
    #[arg(long, value_name = "TIME", default_value = "1h")]
    stall_timeout: StallTimeout,
}

/// `pull`.
#[derive(clap::Args)]
pub struct PullArgs {
    #[command(flatten)]
    place: Place,
    /// Id of the snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// Only what was below this directory, which becomes the target itself
    #[arg(long, value_name = "DIRECTORY")]
    below: Option<PathBuf>,
    /// Directory to write into
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

/// `delete`.
#[derive(clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    place: Place,
    /// Id of a snapshot; may stand there several times
    #[arg(long, value_name = "ID", required = true)]
    snapshot: Vec<String>,
}

/// `stats`.
#[derive(clap::Args)]
pub struct StatsArgs {
    #[command(flatten)]
    place: Place,
    /// Id of the snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
}

/// `check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    place: Place,
}

/// Runs one of them.
pub fn run(command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    tidily(|opened| async move {
        match command {
            Command::Push(args) => push(args, verbosity, opened).await,
            Command::Pull(args) => pull(args, verbosity).await,
            Command::Delete(args) => delete(args).await,
            Command::Stats(args) => stats(args).await,
            Command::Check(args) => check(args).await,
        }
    })
}

/// The place and the path in it.
async fn site(place: &Place) -> Result<(Site, StreamPath), Failure> {
    let address = Address::find(place.profile.as_deref()).await?;
    let path = address.path(&place.path)?;
    Ok((address.site().await?, path))
}

fn reference(id: &str) -> SnapshotJson {
    SnapshotJson { id: id.to_owned(), logical_bytes: 0, physical_bytes: 0 }
}

fn put_out_all(outputs: &[(&str, String)]) -> Result<(), Failure> {
    outputs.iter().try_for_each(|(key, value)| put_out(key, value))
}

async fn push(args: PushArgs, verbosity: Verbosity, opened: Arc<OnceLock<Location>>) -> Result<(), Failure> {
    let (site, path) = site(&args.place).await?;
    if site.is_restic(&path).await? {
        let message =
            format!("a restic repository lies under `{}`, which Cistern does not write to", path.name());
        return Err(Failure::usage(message).hint("give another path; restic reads what is there"));
    }
    let files = count_files(&args.directory)?;
    if !site.taken {
        site.make().await?;
    }
    let (location, mut context) = site.open().await?;
    set_quiet(&mut context, verbosity);
    let location = opened.get_or_init(|| location);
    let meter = Meter::start(&context);
    let mut terms = terms(false, &context);
    terms.tags.push(format!("{FILES_TAG}{files}"));
    let stall = args.stall_timeout.0;
    let (producers, end) = Producers::start(&[Program::Command(tar_of(&args.directory)?)])?;
    let stream = Box::new(StreamIn::new(end, stall));
    let taken = meter.telling(location.take_in(&path, stream, terms, meter.clone())).await;
    let taken = whole(taken, Some(producers), stall).await?;
    let pushed = taken.commit(Lenience::default(), Some("tar".to_owned())).await?;
    report(&pushed, &meter, &context);
    let reference = pushed.reference().expect("a repository was opened, so it is a snapshot");
    put_out_all(&[
        ("backupID", reference.id.clone()),
        // Kanister's is drawn by lot, to find the snapshot by; the id finds it as well.
        ("backupTag", reference.id),
        ("fileCount", files.to_string()),
        ("size", size(reference.logical_bytes)),
        ("phySize", size(reference.physical_bytes)),
    ])
}

/// The path below the root, as names in the stream begin.
fn below_root(directory: &Path) -> Result<PathBuf, Failure> {
    let mut below = PathBuf::new();
    for part in directory.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let message = format!("the directory {} climbs with `..`", directory.display());
                return Err(Failure::usage(message));
            }
        }
    }
    if !directory.is_absolute() {
        let message = format!("the directory {} does not begin with a slash", directory.display());
        return Err(Failure::usage(message));
    }
    Ok(below)
}

/// The command that writes the stream. GNU's tar ends with 1 where a file changed while it was read, which
/// in a directory in use is no failure; other tars end with 1 for any.
fn tar_of(directory: &Path) -> Result<Vec<OsString>, Failure> {
    let below = below_root(directory)?;
    let name = if below.as_os_str().is_empty() { Path::new(".") } else { below.as_path() };
    let mut words: Vec<OsString> = match is_gnu()? {
        true => {
            let line = r#"tar --xattrs "$@"; status=$?; [ "$status" -eq 1 ] && exit 0; exit "$status""#;
            ["sh", "-c", line, "tar"].map(OsString::from).into()
        }
        false => vec!["tar".into()],
    };
    words.extend(["-C", "/", "-cf", "-"].map(OsString::from));
    if lost_and_found(directory) {
        let mut option = OsString::from("--exclude=");
        option.push(name.join(LOST_AND_FOUND));
        words.push(option);
    }
    words.push("--".into());
    words.push(name.into());
    Ok(words)
}

/// Whether a file system's own directory for what a check finds is there and root's alone. It is part of no application.
fn lost_and_found(directory: &Path) -> bool {
    let refusal = std::fs::read_dir(directory.join(LOST_AND_FOUND)).err();
    refusal.is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Whether the image's tar is GNU's.
fn is_gnu() -> Result<bool, Failure> {
    let version = Process::new("tar").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = version.map_err(|e| {
        let failure = Failure::new(Exit::Stream, format!("cannot start `tar`: {e}"));
        failure.hint(
            "the image needs a tar: name another in the blueprint, or by `pods.toolsImage` of the chart",
        )
    })?;
    Ok(String::from_utf8_lossy(&version.stdout).contains("GNU tar"))
}

/// Files of a directory, with all that is no directory. What vanishes meanwhile does not count.
fn count_files(directory: &Path) -> Result<u64, Failure> {
    let failed = |path: &Path, e: &std::io::Error| {
        Failure::new(Exit::Stream, format!("cannot read {}: {e}", path.display()))
    };
    let top = std::fs::symlink_metadata(directory).map_err(|e| failed(directory, &e))?;
    let mut open = if top.is_dir() { vec![directory.to_owned()] } else { return Ok(1) };
    let mut count = 0;
    while let Some(folder) = open.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && folder != directory => continue,
            Err(_) if folder == directory.join(LOST_AND_FOUND) && lost_and_found(directory) => continue,
            Err(e) => return Err(failed(&folder, &e)),
        };
        for entry in entries.filter_map(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(_) => count += 1,
                Err(_) => {}
            }
        }
    }
    Ok(count)
}

/// Bytes as restic writes them, whose words blueprints parse.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.3} {}", UNITS[unit])
}

async fn pull(args: PullArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let (site, path) = site(&args.place).await?;
    let (location, mut context) = site.open().await?;
    set_quiet(&mut context, verbosity);
    let source = location.find(&path, Some(&reference(&args.snapshot))).await?;
    let mut untar = Process::new("tar");
    untar.arg("-C").arg(&args.target).args(["-xpf", "-"]);
    let below = args.below.as_deref().map(below_root).transpose()?.unwrap_or_default();
    untar.args(sparing(&args.target, &below)?);
    let depth = below.components().count();
    if depth > 0 {
        untar.arg(format!("--strip-components={depth}")).arg("--").arg(below);
    }
    let failed = |e: std::io::Error| Failure::new(Exit::Stream, format!("cannot start `tar`: {e}"));
    let mut child = untar.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?;
    let stdin = child.stdin.take().expect("it was asked for");
    let meter = Meter::start(&context);
    let pulled = meter.telling(location.pull(source, Box::new(stdin), meter.clone())).await;
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.map_err(std::io::Error::other);
    let status = ended.and_then(|status| status).map_err(failed)?;
    // A tar that has stopped reading says why itself.
    if !status.success() {
        let message = format!("`tar` could not write into {}: {status}", args.target.display());
        return Err(Failure::new(Exit::Stream, message).hint("what it wrote before is there"));
    }
    pulled.map_err(Failure::from)
}

/// Options by which GNU's tar spares directories below the target that are mounted there and belong to somebody else, as
/// the root of a volume belongs to root: it would fail over their time and mode. What is in them comes back. Other tars
/// pass over what they may not change.
fn sparing(target: &Path, below: &Path) -> Result<Vec<OsString>, Failure> {
    let own = rustix::process::geteuid();
    if own.is_root() || !is_gnu()? {
        return Ok(Vec::new());
    }
    let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let foreign = |mount: &PathBuf| {
        std::fs::metadata(mount).is_ok_and(|meta| meta.is_dir() && meta.uid() != own.as_raw())
    };
    let mounts = table.lines().filter_map(mount_point).filter(foreign);
    let members = mounts.filter_map(|mount| Some(below.join(mount.strip_prefix(&target).ok()?)));
    let spared = members.filter(|member| !member.as_os_str().is_empty()).map(|member| {
        let mut option = OsString::from("--exclude=");
        option.push(member);
        option
    });
    // The directory itself, and not what is in it.
    let options = ["--no-recursion", "--anchored", "--no-wildcards"].map(OsString::from).into_iter();
    Ok(options.chain(spared).chain(["--recursion".into()]).collect())
}

/// Where something is mounted, from a line of mountinfo (proc(5)): the fifth field, blanks in octal.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    Some(escapes.iter().fold(field.to_owned(), |text, (code, c)| text.replace(code, c)).into())
}

async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let (site, path) = site(&args.place).await?;
    let (location, _) = site.open().await?;
    for id in &args.snapshot {
        location.delete(&path, Some(&reference(id))).await?;
    }
    Ok(())
}

async fn stats(args: StatsArgs) -> Result<(), Failure> {
    let (site, path) = site(&args.place).await?;
    let (location, _) = site.open().await?;
    let Source::Snapshot(found) = location.find(&path, Some(&reference(&args.snapshot))).await? else {
        return Err(Failure::other("a reference led to a plain object"));
    };
    let stored = &found.snapshot.stored;
    let bytes = |n: u64| size(i64::try_from(n).unwrap_or(i64::MAX));
    let files = found.snapshot.tags.iter().find_map(|tag| tag.strip_prefix(FILES_TAG));
    put_out_all(&[
        ("fileCount", files.unwrap_or_default().to_owned()),
        ("size", bytes(found.snapshot.raw_bytes)),
        ("phySize", bytes(stored.delta_stored_bytes + stored.new_stored_bytes)),
    ])
}

async fn check(args: CheckArgs) -> Result<(), Failure> {
    let (site, _) = site(&args.place).await?;
    let absent = !site.taken;
    let wrong = match site.taken {
        false => false,
        true => match site.open().await {
            Ok(_) => false,
            // The store let us look: what does not fit is the key.
            Err(failure) if failure.exit == Exit::Denied => true,
            Err(failure) => return Err(failure),
        },
    };
    put_out_all(&[("passwordIncorrect", wrong.to_string()), ("repoUnavailable", absent.to_string())])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    #[test]
    fn mounts_are_found_whatever_their_names() {
        let line = r"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt/a b\c")));
        assert_eq!(mount_point(""), None);
    }

    #[test]
    fn sizes_are_written_as_restic_writes_them() {
        for (bytes, text) in
            [(9, "9 B"), (1024, "1.000 KiB"), (1_300_000, "1.240 MiB"), (1 << 50, "1024.000 TiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn names_in_the_stream_begin_below_the_root() {
        assert_eq!(below_root(Path::new("/var//lib/./db/")).unwrap(), Path::new("var/lib/db"));
        assert_eq!(below_root(Path::new("/")).unwrap(), Path::new(""));
        assert!(below_root(Path::new("/var/../etc")).is_err());
        assert!(below_root(Path::new("data")).is_err());
    }
}
