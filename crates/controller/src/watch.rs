//! News of ActionSets: a watch in each namespace, for as long as somebody listens.
//!
//! # Guarantees
//! * A watch that is cut, or that the API server has no memory for any more (410), is taken up again: after a
//!   pause that grows to half a minute, with a list of what there is now.
//! * One that is silently dead is noticed within five minutes. News that get lost until then are made up for by
//!   the controller's own rounds.
//! * What has ended is not told, and what has the label that says so is not even asked for: ten thousand ActionSets
//!   from last year are no news. Whoever takes such a status away and leaves the label waits for the controller's next
//!   look at all.

use crate::cluster::KubeCluster;
use crate::objects::{NOT_ENDED, needs_work};
use crate::queue::Place;
use futures::stream::{SelectAll, select_all};
use futures::{Stream, StreamExt as _};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use std::pin::Pin;
use tokio::sync::mpsc;

type News = Pin<Box<dyn Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Send>>;

/// Tells of every ActionSet that has changed and needs work, in these namespaces, or in all if none is named.
/// Ends when nobody listens any more. `heard` is called whenever the API server has said something.
pub async fn watch(
    cluster: &KubeCluster,
    namespaces: &[String],
    changed: mpsc::Sender<Place>,
    heard: impl Fn(),
) {
    let mut news = everywhere(cluster, namespaces);
    loop {
        let event = tokio::select! {
            event = news.next() => event,
            () = changed.closed() => return,
        };
        match event {
            Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                heard();
                if let Some(place) = place(&object)
                    && changed.send(place).await.is_err()
                {
                    return;
                }
            }
            Some(Ok(_)) => heard(),
            Some(Err(error)) => tracing::warn!(
                error = crate::cluster::chain(&error),
                "the watch of ActionSets was interrupted; it is taken up again"
            ),
            None => return,
        }
    }
}

fn everywhere(cluster: &KubeCluster, namespaces: &[String]) -> SelectAll<News> {
    let kind = ApiResource {
        group: "cr.kanister.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "cr.kanister.io/v1alpha1".to_owned(),
        kind: "ActionSet".to_owned(),
        plural: "actionsets".to_owned(),
    };
    let client = || cluster.client();
    let apis: Vec<Api<DynamicObject>> = if namespaces.is_empty() {
        vec![Api::all_with(client(), &kind)]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced_with(client(), namespace, &kind)).collect()
    };
    // In pages the API server would read all of them from its store, to leave out most.
    let config =
        || watcher::Config { page_size: None, ..watcher::Config::default().labels(NOT_ENDED).any_semantic() };
    select_all(apis.into_iter().map(|api| watcher(api, config()).default_backoff().boxed()))
}

fn place(object: &DynamicObject) -> Option<Place> {
    if !needs_work(object) {
        return None;
    }
    Some(Place { namespace: object.namespace()?, name: object.name_any() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value as Json, json};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::timeout;

    fn action_set(name: &str, state: &str) -> Json {
        json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
            "metadata": { "name": name, "namespace": "home", "resourceVersion": "1", "uid": name },
            "spec": { "actions": [] }, "status": { "state": state },
        })
    }

    /// The answer to the request that comes at this place in the order of all.
    fn answer(number: usize, uri: &str) -> (u16, String) {
        let list = |items: Vec<Json>| {
            let meta = json!({ "resourceVersion": "7" });
            json!({ "kind": "ActionSetList", "apiVersion": "cr.kanister.io/v1alpha1", "metadata": meta,
                "items": items })
            .to_string()
        };
        let event = |kind: &str, object: Json| format!("{}\n", json!({ "type": kind, "object": object }));
        let gone =
            json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "" });
        let watching = uri.contains("watch=true");
        match number {
            0 => (503, "overloaded".to_owned()),
            1 if !watching => {
                (200, list(vec![action_set("old", "complete"), action_set("first", "pending")]))
            }
            2 if watching => (200, event("ADDED", action_set("second", "pending")) + &event("ERROR", gone)),
            3 if !watching => (200, list(vec![action_set("third", "running")])),
            4 if watching => (200, event("MODIFIED", action_set("fourth", "pending"))),
            // The stream before has ended: it is taken up where it was.
            5 if watching => (200, event("DELETED", action_set("fourth", "pending"))),
            _ if watching => (200, String::new()),
            _ => panic!("request {number}: {uri}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_work_is_told_whatever_happens_to_the_watch() {
        let asked = AtomicUsize::new(0);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = answer(asked.fetch_add(1, Ordering::Relaxed), &request.uri().to_string());
            let response = Response::builder().status(code).body(Body::from(body.into_bytes()));
            async move { Ok::<_, std::io::Error>(response.expect("it is well formed")) }
        });
        let cluster = KubeCluster::new(Client::new(service, "home"));
        let (changed, mut news) = mpsc::channel(1);
        let namespaces = ["home".to_owned()];
        let heard = AtomicUsize::new(0);
        let watching = watch(&cluster, &namespaces, changed, || {
            heard.fetch_add(1, Ordering::Relaxed);
        });
        let listening = async move {
            let mut names = Vec::new();
            for _ in 0..4 {
                names.push(news.recv().await.expect("the watch goes on").name);
            }
            names
        };
        let both = async { tokio::join!(watching, listening).1 };
        let names =
            timeout(Duration::from_secs(600), both).await.expect("a watch that nobody hears has ended");
        assert_eq!(names, ["first", "second", "third", "fourth"]);
        assert!(heard.load(Ordering::Relaxed) >= 4);
    }
}
