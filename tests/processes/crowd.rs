//! Twenty pushes at once, of the same name and of others, while prunes run.

use crate::feed;
use crate::support::home::Home;
use crate::support::{assert_sound, listed, seeded};
use std::sync::atomic::{AtomicBool, Ordering};

const PUSHES: usize = 20;

#[test]
fn twenty_pushes_at_once_with_prunes_between_them_all_restore() {
    let home = Home::new();
    let shared = seeded("shared", 2 << 20);
    // Something to prune all the while.
    home.ok(&["push", "old"], &shared);
    home.ok(&["push", "old"], &seeded("new", 1 << 20));
    home.ok(&["forget", "old", "--keep-last", "1"], b"");
    let streams: Vec<Vec<u8>> =
        (0..PUSHES).map(|n| [shared.clone(), seeded(&format!("own {n}"), 2 << 20)].concat()).collect();
    let name = |n: usize| if n.is_multiple_of(2) { "same".to_owned() } else { format!("name-{n}") };
    let done = AtomicBool::new(false);
    let receipts: Vec<serde_json::Value> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                home.ok(&["prune", "--grace", "0s"], b"");
            }
        });
        let children: Vec<_> =
            (0..PUSHES).map(|n| feed(&home, &["push", &name(n), "--json"], streams[n].clone())).collect();
        let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        let receipt = |output: std::process::Output| {
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{err}");
            serde_json::from_slice(&output.stdout).unwrap()
        };
        ended.into_iter().map(receipt).collect()
    });
    assert_eq!(listed(&home).len(), PUSHES + 1);
    for (n, receipt) in receipts.iter().enumerate() {
        let id = receipt["id"].as_str().unwrap();
        assert!(home.pull(&format!("{}@{id}", name(n))) == streams[n], "push {n}");
    }
    assert_sound(&home);
}
