//! An etcd of one member, for tests that back it up.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a server is started before it is given up.
const STARTS_MAX: u32 = 3;
/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on the loopback; gone when dropped.
pub struct Etcd {
    pub endpoint: String,
    child: Child,
}

impl Etcd {
    /// Starts one on this data; again with other ports where somebody took one in between.
    pub fn start(program: &Path, data: &Path) -> Etcd {
        (0..STARTS_MAX).find_map(|_| Etcd::try_start(program, data)).expect("etcd answers, on some port")
    }

    fn try_start(program: &Path, data: &Path) -> Option<Etcd> {
        let [endpoint, peers] = [free_url(), free_url()];
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(data).args(["--listen-client-urls", &endpoint]);
        command.args(["--advertise-client-urls", &endpoint, "--listen-peer-urls", &peers]);
        command.args([
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("default={peers}"),
        ]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut etcd = Etcd { endpoint, child };
        let since = Instant::now();
        while since.elapsed() < PATIENCE && etcd.child.try_wait().unwrap().is_none() {
            if etcd.ctl(&["endpoint", "health"]).is_some() {
                return Some(etcd);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// What the tool prints, `None` if it fails.
    pub fn ctl(&self, args: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint]).args(args);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}
