//! A cluster that takes requests only while their sender leads.

use async_trait::async_trait;
use cistern_api::ObjectReference;
use cistern_functions::ports::{Age, Cluster, Exit, Inside, Page, Patch, Refusal, Resource, Sink};
use serde_json::Value as Json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// From the Lease being won until it is lost. Clones are the same term.
#[derive(Clone, Debug)]
pub(super) struct Term(Arc<Mutex<Instant>>);

impl Term {
    pub(super) fn until(end: Instant) -> Term {
        Term(Arc::new(Mutex::new(end)))
    }

    /// When it ends unless it is renewed.
    pub(super) fn end_at(&self) -> Instant {
        *self.lock()
    }

    /// Lets it go on until then, if it has not ended; what has ended cannot go on.
    pub(super) fn renew(&self, end: Instant) -> bool {
        let mut until = self.lock();
        let goes_on = Instant::now() < *until;
        if goes_on {
            *until = end;
        }
        goes_on
    }

    /// Ends it when the answer is dropped.
    pub(super) fn end_on_drop(&self) -> Ending {
        Ending(self.clone())
    }

    /// Returns while the term goes on; never after its end. Whoever waits here is dropped.
    async fn goes_on(&self) {
        if Instant::now() >= self.end_at() {
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a term by being dropped.
pub(super) struct Ending(Term);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut until = self.0.lock();
        *until = (*until).min(Instant::now());
    }
}

/// The cluster for as long as the term goes on; after that nothing is asked and nothing answered.
pub(super) struct Fenced {
    cluster: Arc<dyn Cluster>,
    term: Term,
}

impl Fenced {
    pub(super) fn new(cluster: Arc<dyn Cluster>, term: Term) -> Fenced {
        Fenced { cluster, term }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cluster for Fenced {
    async fn resolve(&self, reference: &ObjectReference) -> Result<Resource, Refusal> {
        self.term.goes_on().await;
        self.cluster.resolve(reference).await
    }

    async fn get(&self, at: &ObjectReference) -> Result<Json, Refusal> {
        self.term.goes_on().await;
        self.cluster.get(at).await
    }

    async fn list(&self, of: &ObjectReference, selector: &str) -> Result<Vec<Json>, Refusal> {
        self.term.goes_on().await;
        self.cluster.list(of, selector).await
    }

    async fn list_in_pages(
        &self,
        of: &ObjectReference,
        selector: &str,
        age: Age,
        page: Page<'_>,
    ) -> Result<(), Refusal> {
        self.term.goes_on().await;
        self.cluster.list_in_pages(of, selector, age, page).await
    }

    async fn create(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        self.term.goes_on().await;
        self.cluster.create(at, object).await
    }

    async fn replace(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        self.term.goes_on().await;
        self.cluster.replace(at, object).await
    }

    async fn patch(&self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal> {
        self.term.goes_on().await;
        self.cluster.patch(at, kind, patch).await
    }

    async fn delete(&self, at: &ObjectReference) -> Result<(), Refusal> {
        self.term.goes_on().await;
        self.cluster.delete(at).await
    }

    async fn follow_log(&self, of: &Inside<'_>, sink: Sink<'_>) -> Result<(), Refusal> {
        self.term.goes_on().await;
        self.cluster.follow_log(of, sink).await
    }

    async fn exec(
        &self,
        of: &Inside<'_>,
        command: &[String],
        input: &[u8],
        sink: Sink<'_>,
    ) -> Result<Option<Exit>, Refusal> {
        self.term.goes_on().await;
        self.cluster.exec(of, command, input, sink).await
    }
}
