//! etcd: a snapshot of a live server, and a new one from what comes back.

use crate::etcd_server::Etcd;
use crate::shell;
use crate::support::home::Home;
use crate::support::{assert_sound, program, skip};

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
