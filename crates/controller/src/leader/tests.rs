//! Candidates on the paper cluster, cut off, frozen and thawed.

use super::*;
use cistern_functions::ports::{Exit, Inside, Patch, Resource, Sink};
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster};
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::task::JoinSet;

/// Tells nobody.
struct Silence;

impl Audience for Silence {
    fn led_by(&self, _: &str, _: bool) {}
    fn refused(&self, _: &Refusal) {}
}

/// A cluster behind a network that can be cut: then no answer comes.
struct Wire {
    paper: Arc<PaperCluster>,
    cut: Arc<AtomicBool>,
}

impl Wire {
    async fn whole(&self) {
        if self.cut.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Cluster for Wire {
    async fn resolve(&self, reference: &ObjectReference) -> Result<Resource, Refusal> {
        self.paper.resolve(reference).await
    }
    async fn get(&self, at: &ObjectReference) -> Result<Json, Refusal> {
        self.whole().await;
        self.paper.get(at).await
    }
    async fn list(&self, of: &ObjectReference, selector: &str) -> Result<Vec<Json>, Refusal> {
        self.paper.list(of, selector).await
    }
    async fn create(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        self.whole().await;
        self.paper.create(at, object).await
    }
    async fn replace(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        self.whole().await;
        self.paper.replace(at, object).await
    }
    async fn patch(&self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal> {
        self.paper.patch(at, kind, patch).await
    }
    async fn delete(&self, at: &ObjectReference) -> Result<(), Refusal> {
        self.paper.delete(at).await
    }
    async fn follow_log(&self, of: &Inside<'_>, sink: Sink<'_>) -> Result<(), Refusal> {
        self.paper.follow_log(of, sink).await
    }
    async fn exec(
        &self,
        of: &Inside<'_>,
        words: &[String],
        input: &[u8],
        sink: Sink<'_>,
    ) -> Result<Option<Exit>, Refusal> {
        self.paper.exec(of, words, input, sink).await
    }
}

/// What happened, and when.
#[derive(Clone, Default)]
struct Story(Arc<StdMutex<Vec<(Instant, String)>>>);

impl Story {
    fn tell(&self, said: String) {
        self.0.lock().unwrap().push((Instant::now(), said));
    }

    fn first(&self, said: &str) -> Option<Instant> {
        self.0.lock().unwrap().iter().find(|(_, line)| line == said).map(|(at, _)| *at)
    }

    fn last(&self, said: &str) -> Option<Instant> {
        self.0.lock().unwrap().iter().rev().find(|(_, line)| line == said).map(|(at, _)| *at)
    }
}

fn election(cluster: Arc<dyn Cluster>, identity: &str) -> Election {
    let began = Instant::now();
    let start = Time("2026-01-02T03:04:05Z".parse().unwrap());
    let now = Arc::new(move || Time(start.0 + began.elapsed()));
    Election::new(cluster, "kanister", "controller", identity, now, Pace::default())
}

/// Leads and writes an object ten times a second, from a task of its own, as the controller does.
async fn write_as_leader(
    election: Arc<Election>,
    identity: &'static str,
    story: Story,
    paper: Arc<PaperCluster>,
) {
    election
        .lead(&Silence, |cluster| {
            let (story, paper) = (story.clone(), Arc::clone(&paper));
            async move {
                let mut tasks = JoinSet::new();
                tasks.spawn(async move {
                    for i in 0.. {
                        let name = format!("{identity}-{i}-{}", paper.writes());
                        let made = cluster.create(&of_kind("configmap", "app", &name), &json!({})).await;
                        if made.is_ok() {
                            story.tell(identity.to_owned());
                        }
                        sleep(Duration::from_millis(100)).await;
                    }
                });
                tasks.join_next().await;
            }
        })
        .await;
}

/// A future that is not polled while it is frozen.
async fn freezable<T>(frozen: Arc<AtomicBool>, inner: impl Future<Output = T>) -> T {
    let mut inner = std::pin::pin!(inner);
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    std::future::poll_fn(move |context| {
        while clock.poll_tick(context).is_ready() {}
        if frozen.load(Ordering::Relaxed) { Poll::Pending } else { inner.as_mut().poll(context) }
    })
    .await
}

struct Scene {
    paper: Arc<PaperCluster>,
    story: Story,
    cut: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
    first: Arc<Election>,
    second: Arc<Election>,
    tasks: JoinSet<()>,
}

/// `a` leads, `b` stands by.
async fn scene() -> Scene {
    let paper = Arc::new(PaperCluster::new(Vec::new()));
    let (cut, frozen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let story = Story::default();
    let wire = Arc::new(Wire { paper: Arc::clone(&paper), cut: Arc::clone(&cut) });
    let first = Arc::new(election(wire, "a"));
    let second = Arc::new(election(Arc::<PaperCluster>::clone(&paper), "b"));
    let mut tasks = JoinSet::new();
    let leads = write_as_leader(Arc::clone(&first), "a", story.clone(), Arc::clone(&paper));
    tasks.spawn(freezable(Arc::clone(&frozen), leads));
    sleep(Duration::from_secs(1)).await;
    tasks.spawn(write_as_leader(Arc::clone(&second), "b", story.clone(), Arc::clone(&paper)));
    sleep(Duration::from_secs(60)).await;
    assert!(story.first("a").is_some() && story.first("b").is_none(), "one leads, the other stands by");
    Scene { paper, story, cut, frozen, first, second, tasks }
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_stops_before_another_begins() {
    let scene = scene().await;
    let cut_at = Instant::now();
    scene.cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(120)).await;
    let ended = scene.story.last("a").unwrap();
    let began = scene.story.first("b").expect("the other takes over");
    assert!(ended < began, "{ended:?} {began:?}");
    assert!(began - cut_at < Duration::from_secs(20), "soon: {:?}", began - cut_at);
}

#[tokio::test(start_paused = true)]
async fn who_was_frozen_writes_nothing_when_it_thaws() {
    for round in 0..20 {
        let scene = scene().await;
        sleep(Duration::from_millis(97 * round)).await;
        scene.frozen.store(true, Ordering::Relaxed);
        // Its tasks are not frozen by the runtime: they are what has not noticed yet.
        let frozen_at = Instant::now();
        sleep(Duration::from_secs(60)).await;
        let began = scene.story.first("b").expect("the other takes over");
        assert!(scene.story.last("a").unwrap() < began, "round {round}");
        assert!(scene.story.last("a").unwrap() - frozen_at < Pace::default().renew_within);
        scene.frozen.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(30)).await;
        assert!(scene.story.last("a").unwrap() < began, "round {round}: it wrote after the thaw");
        assert!(
            scene.story.last("b").unwrap() > Instant::now() - Duration::from_secs(1),
            "the other goes on"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_is_taken_at_once() {
    let mut scene = scene().await;
    scene.frozen.store(true, Ordering::Relaxed);
    let given_at = Instant::now();
    scene.first.release().await;
    sleep(Duration::from_secs(3)).await;
    let began = scene.story.first("b").expect("it does not wait for the lease to run out");
    assert!(began - given_at <= Pace::default().every);
    scene.tasks.abort_all();
    while scene.tasks.join_next().await.is_some() {}
    scene.second.release().await;
    let lease = scene.paper.get(&scene.second.at).await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    // What is not ours is not given back.
    scene.first.release().await;
    assert_eq!(scene.paper.get(&scene.second.at).await.unwrap(), lease);
}

#[tokio::test(start_paused = true)]
async fn answers_that_get_lost_cost_no_lease() {
    for write in 1..40 {
        let paper = Arc::new(PaperCluster::new(Vec::new()));
        paper.decree(Fate::LosesReply(write));
        let election = election(Arc::<PaperCluster>::clone(&paper), "a");
        let mut begun = 0;
        let lead = election.lead(&Silence, |_| {
            begun += 1;
            std::future::pending::<()>()
        });
        let _ = timeout(Duration::from_secs(100), lead).await;
        assert_eq!(begun, 1, "write {write}");
    }
}

#[test]
fn the_moment_has_the_form_of_a_micro_time() {
    let now = Arc::new(|| Time("2026-01-02T03:04:05.5Z".parse().unwrap()));
    let paper = Arc::new(PaperCluster::new(Vec::new()));
    let election = Election::new(paper, "n", "l", "a", now, Pace::default());
    assert_eq!(election.moment(), "2026-01-02T03:04:05.500000Z");
}
