//! A real node that `tests/servers/kubernetes/node` starts, and images for it; both are gone when the story ends.

use crate::support::home::CISTERN;
use crate::support::{is_root, program, skip, variable_of};
use crate::world;
use kube::Client;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// This machine, as pods see it.
pub const MACHINE: &str = "10.99.0.254";
/// The image of our program, as `deploy/Dockerfile` would build it.
pub const PROGRAM_IMAGE: &str = "registry.example/cistern";
/// An image with PostgreSQL, server and tools.
pub const POSTGRES_IMAGE: &str = "registry.example/postgres-tools:15";
/// Who the program runs as in its image.
const PROGRAM_USER: &str = "65532:65532";

/// The node, and a client that may do everything.
pub struct Node {
    pub runtime: Runtime,
    pub client: Client,
    pub kubeconfig: PathBuf,
}

impl Node {
    /// `None` where none is wanted or possible, which is said.
    pub fn start(story: &str) -> Option<Node> {
        if variable_of("CISTERN_TEST_NODE").is_none() {
            println!("skipped: {story}: a real node takes minutes; CISTERN_TEST_NODE=1 starts one");
            return None;
        }
        for needed in ["containerd", "runc", "etcd", "iptables", "conntrack", "ctr", "openssl", "debootstrap"]
        {
            if program(needed).is_none() {
                skip(story, &format!("{needed} is not installed"));
                return None;
            }
        }
        if !is_root() {
            skip(story, "a node needs root");
            return None;
        }
        let printed = script("node", &["up"]);
        let kubeconfig = printed.trim().strip_prefix("export KUBECONFIG=").unwrap();
        let kubeconfig = PathBuf::from(kubeconfig);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(world::client(&kubeconfig));
        let node = Node { runtime, client, kubeconfig };
        node.load_program();
        script("node", &["load", script("postgresql-image", &[POSTGRES_IMAGE]).trim()]);
        Some(node)
    }

    /// Runs a part of the story.
    pub fn play<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// What `deploy/Dockerfile` puts together. The program of a test is not static: so its libraries are put in, too.
    fn load_program(&self) {
        let work = TempDir::new().unwrap();
        let root = work.path().join("root");
        for folder in ["usr/local/bin", "etc/ssl/certs", "home", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for name in ["cistern", "kando", "kanctl"] {
            std::os::unix::fs::symlink("/cistern", root.join("usr/local/bin").join(name)).unwrap();
        }
        let authorities = "etc/ssl/certs/ca-certificates.crt";
        std::fs::copy(Path::new("/").join(authorities), root.join(authorities)).unwrap();
        output(Command::new("strip").arg("-o").arg(root.join("cistern")).arg(CISTERN));
        for library in libraries() {
            let place = root.join(library.strip_prefix("/").unwrap());
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(&library, place).unwrap();
        }
        let tar = work.path().join("image.tar");
        let name = format!("{PROGRAM_IMAGE}:{}", env!("CARGO_PKG_VERSION"));
        let mut pack = Command::new(scripts().join("image"));
        pack.env("CISTERN_IMAGE_USER", PROGRAM_USER).arg(name).arg(&root).arg(&tar).arg("/cistern");
        output(&mut pack);
        script("node", &["load", tar.to_str().unwrap()]);
    }

    /// Kills every process of a pod, as by a lack of memory; how many there were. What holds the pod together stays.
    pub fn kill_processes(&self, pod_uid: &str) -> usize {
        let mark = format!("pod{pod_uid}");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let of_pod = processes.filter_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let groups = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
            let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (groups.contains(&mark) && !command.starts_with("/pause")).then_some(number)
        });
        let killed = of_pod.filter(|number| {
            let pid = rustix::process::Pid::from_raw(*number).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
        });
        killed.count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A story that failed leaves the node for whoever wants to see why; the next `up` replaces it.
        if !std::thread::panicking() {
            script("node", &["down"]);
        }
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/kubernetes")
}

/// What one of them prints.
fn script(name: &str, arguments: &[&str]) -> String {
    let output = output(Command::new(scripts().join(name)).args(arguments));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs what must succeed.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", String::from_utf8_lossy(&output.stdout));
    output
}

/// What the loader needs for the program: shared libraries, and itself.
fn libraries() -> Vec<PathBuf> {
    let listed = output(Command::new("ldd").arg(CISTERN));
    let text = String::from_utf8(listed.stdout).unwrap();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}
