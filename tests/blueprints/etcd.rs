//! The blueprint for etcd: a snapshot of a live server, damage, and a data directory for the next.

use crate::etcd_server::Etcd;
use crate::stage::Stage;
use crate::support::{assert_sound, listed_names, program, skip};

#[test]
fn a_snapshot_of_one_member() {
    let (Some(server), Some(_)) = (program("etcd"), program("etcdctl")) else {
        return skip("etcd", "it is not installed: apt-get install etcd-server etcd-client");
    };
    let data = tempfile::TempDir::new().unwrap();
    let live = data.path().join("live");
    let etcd = Etcd::start(&server, &live);
    for n in 0..50 {
        etcd.ctl(&["put", &format!("/registry/pods/{n}"), &format!("content of {n}\n\tä")]).unwrap();
    }
    let before = etcd.ctl(&["get", "--prefix", "/"]).unwrap();
    let endpoint = format!("endpoint={}", etcd.endpoint);
    let stage = Stage::new("etcd/blueprint.yaml", "StatefulSet", "", "", &[&endpoint]);
    stage.backup("etcd");
    assert_eq!(listed_names(&stage.home).len(), 1);
    etcd.ctl(&["del", "--prefix", "/registry/pods/1"]).unwrap();
    etcd.ctl(&["put", "/new", "1"]).unwrap();
    assert_ne!(etcd.ctl(&["get", "--prefix", "/"]).unwrap(), before);

    // What stops and starts a StatefulSet is not for this machine, and is refused before anything is done.
    let ran = stage.follow("restore", &[]);
    assert!(ran.code != Some(0) && ran.err.contains("needs a cluster for ScaleWorkload"), "{}", ran.err);
    drop(etcd);
    stage.follow_ok("unpack", &[&format!("directory={}", live.display())]);
    let again = Etcd::start(&server, &live);
    assert_eq!(again.ctl(&["get", "--prefix", "/"]).unwrap(), before);
    assert!(data.path().join("live.before-restore").is_dir());
    assert_sound(&stage.home);
    stage.delete();

    drop(again);
    let ran = stage.try_backup();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(listed_names(&stage.home), Vec::<String>::new());
}
