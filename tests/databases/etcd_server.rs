//! An etcd of one member, for tests that back it up.

use crate::support::home::wait_until;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server on the loopback; gone when dropped.
pub struct Etcd {
    pub endpoint: String,
    child: Child,
}

impl Etcd {
    /// Starts one on this data.
    pub fn start(program: &Path, data: &Path) -> Etcd {
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
        let etcd = Etcd { endpoint, child };
        wait_until("etcd answers", || etcd.ctl(&["endpoint", "health"]).is_some());
        etcd
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
