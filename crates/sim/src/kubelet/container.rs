//! A container as a process: namespaces of its own for mounts and processes, and a fresh layer over `/`.

use super::image::PROGRAMS;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Lays out the container's files, says by its own number that it is ready, and becomes the command.
const SCRIPT: &str = r#"set -e
dir=$1 message=$2 read_only=$3
shift 3
root=$dir/root
mount -t overlay cistern -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
# Links are followed as the container will follow them: /var/run leads to its own /run.
place() {
  if [ -d "$1" ]; then
    chroot "$root" mkdir -p "$2"
  else
    chroot "$root" mkdir -p "$(dirname "$2")"
    chroot "$root" touch "$2"
  fi
  mount --bind "$1" "$root$(chroot "$root" realpath "$2")"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$(chroot "$root" realpath "$2")"
}
while IFS='	' read -r source target mode; do
  place "$source" "$target" "$mode"
done <"$dir/mounts"
[ -z "$message" ] || place "$dir/message" "$message" rw
[ "$read_only" = no ] || mount -o remount,ro "$root"
read -r pid rest </proc/self/stat
echo "$pid" >"$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"
exec chroot "$root" "$@"
"#;
/// Longest termination message, in bytes; Kubernetes' own limit.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Exit status of what was killed: 128 and the signal's number.
const KILLED: i32 = 137;
/// How often a starting container is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a container may take to lay out its files, on a busy machine.
const STARTING: Duration = Duration::from_secs(60);

/// What is to run.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// A directory of the container's own.
    pub folder: PathBuf,
    /// The command with its arguments.
    pub command: Vec<String>,
    /// All of its variables.
    pub variables: BTreeMap<String, String>,
    /// What is seen where.
    pub mounts: Vec<Mount>,
    /// Where it begins.
    pub directory: String,
    /// User, and groups of which the first is the primary one; root is 0.
    pub user: u32,
    /// See `user`.
    pub groups: Vec<u32>,
    /// Whether its processes may never gain rights.
    pub confined: bool,
    /// Whether the layer over `/` can only be read.
    pub read_only: bool,
    /// The file that holds its last words, as the container sees it.
    pub message_path: String,
}

/// A directory or file of the machine, as a container sees it.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// On the machine.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Exit status; 128 and the signal's number where it was killed.
    pub code: i32,
    /// What it left in its message file.
    pub message: String,
}

/// A container that has been started.
#[derive(Debug)]
pub(super) struct Container {
    plan: Plan,
    pid: rustix::process::Pid,
    ended: watch::Receiver<Option<Ended>>,
    /// Whether it was killed: what waits for it here reports that as a failure of its own.
    killed: AtomicBool,
}

impl Container {
    /// Starts it and waits until its command does.
    pub(super) async fn start(plan: Plan) -> io::Result<Container> {
        plan.lay_out()?;
        let (report, ended) = watch::channel(None);
        let command = plan.launch()?;
        let message = plan.folder.join("message");
        // The kernel kills it when the thread that started it ends: so one thread does nothing else.
        std::thread::spawn(move || report.send_replace(Some(run(command, &message))));
        let ready = tokio::time::timeout(STARTING, plan.ready(ended.clone()));
        let pid = ready.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Container { plan, pid, ended, killed: AtomicBool::new(false) })
    }

    /// Waits for its end.
    pub(super) async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        let found = ended.wait_for(Option::is_some).await.map(|end| end.clone());
        let ended = found.ok().flatten().unwrap_or(Ended { code: KILLED, message: String::new() });
        if self.killed.load(Ordering::Relaxed) { Ended { code: KILLED, ..ended } } else { ended }
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Sends its first process a signal; the others get it from that one, or not.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        if !self.is_over() {
            self.killed.fetch_or(signal == rustix::process::Signal::KILL, Ordering::Relaxed);
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// What it has written, standard output and error together.
    pub(super) fn log(&self) -> PathBuf {
        self.plan.folder.join("log")
    }

    /// Leaves only the last bytes of its log.
    pub(super) fn rotate(&self, left_bytes: usize) -> io::Result<()> {
        let mut file = File::options().read(true).write(true).open(self.log())?;
        let len = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(len.saturating_sub(left_bytes as u64)))?;
        let mut rest = Vec::new();
        file.read_to_end(&mut rest)?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&rest)
    }

    /// A command that will run beside its own, with the same files, variables and user.
    pub(super) fn beside(&self, command: &[String]) -> tokio::process::Command {
        let mut launched = tokio::process::Command::new("nsenter");
        launched.args(["--target", &self.pid.as_raw_nonzero().to_string(), "--mount", "--pid", "chroot"]);
        launched.arg(self.plan.folder.join("root")).args(self.plan.becoming(command));
        launched.env_clear().env("PATH", TOOLS);
        launched
    }
}

/// Where the machine's own tools are.
const TOOLS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl Plan {
    fn lay_out(&self) -> io::Result<()> {
        for name in ["upper", "work", "root"] {
            std::fs::create_dir_all(self.folder.join(name))?;
        }
        let _ = std::fs::remove_file(self.folder.join("pid"));
        // For everybody, as the kubelet has it: who writes there is the container's business.
        let message = File::create(self.folder.join("message"))?;
        message.set_permissions(std::fs::Permissions::from_mode(0o666))?;
        let mut mounts = File::create(self.folder.join("mounts"))?;
        for mount in &self.mounts {
            let mode = if mount.read_only { "ro" } else { "rw" };
            writeln!(mounts, "{}\t{}\t{mode}", mount.source.display(), mount.target)?;
        }
        Ok(())
    }

    /// The command behind everything that makes it a container.
    fn launch(&self) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(&self.folder);
        command.arg(&self.message_path).arg(if self.read_only { "yes" } else { "no" });
        command.args(self.becoming(&self.command)).env_clear().env("PATH", TOOLS);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// From root with the machine's variables to the container's user with its own.
    fn becoming(&self, command: &[String]) -> Vec<String> {
        let mut words = vec!["setpriv".to_owned(), format!("--reuid={}", self.user)];
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        words.push(format!("--regid={}", groups.first().map_or("0", String::as_str)));
        words.push(if groups.is_empty() {
            "--clear-groups".to_owned()
        } else {
            format!("--groups={}", groups.join(","))
        });
        if self.confined {
            words.push("--no-new-privs".to_owned());
        }
        words.extend(["env".to_owned(), "-i".to_owned(), format!("--chdir={}", self.directory)]);
        words.extend(self.variables.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(command.iter().cloned());
        words
    }

    async fn ready(&self, ended: watch::Receiver<Option<Ended>>) -> io::Result<rustix::process::Pid> {
        loop {
            // First: a container may be over when its number is read, and still have been ready.
            let over = ended.borrow().is_some();
            if let Ok(text) = std::fs::read_to_string(self.folder.join("pid")) {
                let pid = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
                return pid.ok_or_else(|| io::Error::other("no number of a process"));
            }
            if over {
                let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("failed to create the container: {}", said.trim())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The search path of a container that sets none.
pub(super) fn search_path(programs: Option<&Path>) -> String {
    let standard = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if programs.is_some() { format!("{PROGRAMS}:{standard}") } else { standard.to_owned() }
}

fn run(mut command: Command, message: &Path) -> Ended {
    let status = command.spawn().and_then(|mut child| child.wait());
    let code = match &status {
        Ok(status) => status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(255),
        Err(_) => 128,
    };
    let mut said = Vec::new();
    if let Ok(mut file) = File::open(message) {
        let len = file.metadata().map_or(0, |meta| meta.len());
        let _ = file.seek(SeekFrom::Start(len.saturating_sub(MESSAGE_BYTES_MAX)));
        let _ = file.take(MESSAGE_BYTES_MAX).read_to_end(&mut said);
    }
    Ended { code, message: String::from_utf8_lossy(&said).into_owned() }
}
