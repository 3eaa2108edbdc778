//! etcd: a snapshot of a live server, and a new one from what comes back.

use crate::shell;
use crate::support::home::{Home, wait_until};
use crate::support::{assert_sound, program, skip};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server on the loopback; gone when dropped.
struct Etcd {
    endpoint: String,
    child: Child,
}

impl Etcd {
    /// Starts one on this data.
    fn start(program: &Path, data: &Path) -> Etcd {
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
    fn ctl(&self, args: &[&str]) -> Option<String> {
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

#[test]
fn a_snapshot_of_etcd_comes_back() {
    let (Some(server), Some(_)) = (program("etcd"), program("etcdctl")) else {
        return skip("etcd", "it is not installed: apt-get install etcd-server etcd-client");
    };
    let home = Home::new();
    let etcd = Etcd::start(&server, &home.path("live"));
    for n in 0..50 {
        etcd.ctl(&["put", &format!("/registry/pods/{n}"), &format!("content of {n}\n\tä")]).unwrap();
    }
    let content = etcd.ctl(&["get", "--prefix", "/"]).unwrap();
    let saved = home.path("saved.db");
    etcd.ctl(&["snapshot", "save", saved.to_str().unwrap()]).unwrap();
    shell(
        &home,
        &[],
        "cat saved.db | \"$0\" push etcd && \"$0\" pull etcd -o restored.db && cmp saved.db restored.db",
    );
    shell(&home, &[("ETCDCTL_API", "3")], "etcdctl snapshot restore restored.db --data-dir restored");
    let again = Etcd::start(&server, &home.path("restored"));
    assert_eq!(again.ctl(&["get", "--prefix", "/"]).unwrap(), content);
    assert_sound(&home);
}
