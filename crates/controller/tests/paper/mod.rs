//! Controllers on the paper cluster, and what one asks of it.
#![allow(dead_code, reason = "each test uses its part")]

use cistern_api::{ActionSet, State, Time};
use cistern_controller::{Controller, Rules, World};
use cistern_functions::ports::Cluster as _;
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::PaperCluster;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

pub const HOME: &str = "kanister";

pub fn task(name: &str, command: &str) -> Json {
    let words = [command, "{{ .Options.of }}"].join("-");
    json!({ "func": "KubeTask", "name": name, "args": { "image": "i", "namespace": "app", "command": [words] } })
}

thread_local! {
    /// When the clock of this test began; one for all its controllers.
    static BORN: tokio::time::Instant = tokio::time::Instant::now();
}

/// A controller by the name of `identity`, set up as usual.
pub fn controller(cluster: &Arc<PaperCluster>, identity: &str) -> Controller {
    controller_by(cluster, identity, Rules::within(HOME))
}

/// A controller set up like this.
pub fn controller_by(cluster: &Arc<PaperCluster>, identity: &str, rules: Rules) -> Controller {
    let start: Time = Time("2026-01-02T03:04:05.123456789Z".parse().unwrap());
    let born = BORN.with(|born| *born);
    let now = move || Time(start.0 + born.elapsed());
    let world = World { identity: identity.to_owned(), now: Arc::new(now) };
    Controller::new(Arc::<PaperCluster>::clone(cluster), rules, world)
}

pub fn action_set(cluster: &PaperCluster, name: &str) -> Option<ActionSet> {
    let raw = cluster.object(&of_kind("actionset", HOME, name))?;
    Some(serde_json::from_value(raw).unwrap())
}

pub fn state(cluster: &PaperCluster, name: &str) -> Option<State> {
    Some(action_set(cluster, name)?.status.unwrap_or_default().state)
}

/// Every ActionSet has ended or is gone, and no pod is left.
pub async fn all_ended(cluster: &PaperCluster, names: &[&str]) {
    loop {
        let ended =
            |name: &&str| matches!(state(cluster, name), None | Some(State::Complete | State::Failed));
        let pods = cluster.list(&of_kind("pod", "", ""), "").await;
        if names.iter().all(ended) && pods.is_ok_and(|pods| pods.is_empty()) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// One controller after the other until everything has ended; how many lived.
pub async fn run(cluster: &Arc<PaperCluster>, names: &[&str], about: &str) -> usize {
    for life in 1.. {
        let (_changed, changed) = mpsc::channel(1);
        let day = Duration::from_secs(24 * 3600);
        let died = tokio::select! {
            ended = controller(cluster, &format!("c{life}")).run(changed) => panic!("{about}: {ended:?}"),
            () = cluster.death() => true,
            ended = timeout(day, all_ended(cluster, names)) => {
                assert!(ended.is_ok(), "{about}: stuck: {:?}", names.iter().map(|name| action_set(cluster, name)).collect::<Vec<_>>());
                false
            }
        };
        cluster.revive();
        if !died {
            return life;
        }
    }
    unreachable!()
}

pub fn began(cluster: &PaperCluster) -> Vec<(String, usize)> {
    cluster.began().into_iter().collect()
}

pub fn error(cluster: &PaperCluster, name: &str) -> String {
    action_set(cluster, name).unwrap().status.unwrap().error.message
}
