//! News of ActionSets: a watch in each namespace, for as long as somebody listens.
//!
//! # Guarantees
//! * A watch that is cut, or that the API server has no memory for any more (410), is taken up again: after a
//!   pause that grows to half a minute, with a list of what there is now.
//! * One that is silently dead is noticed within five minutes. News that get lost until then are made up for by
//!   the controller's own rounds.
//! * What has ended is not told: ten thousand ActionSets from last year are no news.

use crate::cluster::KubeCluster;
use crate::objects::needs_work;
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
    select_all(apis.into_iter().map(|api| watcher(api, watcher::Config::default()).default_backoff().boxed()))
}

fn place(object: &DynamicObject) -> Option<Place> {
    let raw = serde_json::to_value(object).ok()?;
    let place = Place { namespace: object.namespace()?, name: object.name_any() };
    needs_work(&raw).then_some(place)
}
