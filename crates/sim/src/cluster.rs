//! A cluster that follows a script and writes down what it was asked.
//!
//! Objects are kept as the API server keeps them: versions, conflicts, finalizers. Pods and commands do what
//! their [`Plot`] says, by tokio's clock, and go on whatever happens to whoever asked for them. A [`Fate`]
//! says at which write the asker dies, or what answer is lost; a dead asker gets no answer any more, until
//! [`PaperCluster::revive`] lets a new one in.

#![allow(clippy::disallowed_methods, reason = "json! unwraps what cannot fail")]

mod objects;
mod pods;

use async_trait::async_trait;
use cistern_api::ObjectReference;
use cistern_functions::ports::{Cluster, Exit, Inside, Patch, Refusal, Resource, Sink, Why};
use cistern_functions::reference::words;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// What a command does, wherever it runs.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// It is the plot of commands that hold this word.
    pub word: &'static str,
    /// How long it runs, in seconds.
    pub secs: u64,
    /// What it prints to standard output.
    pub prints: String,
    /// Its exit status.
    pub exit: i32,
    /// It ends with status 1 instead the first so many times.
    pub fails_first: usize,
    /// What stands in the pod's termination message.
    pub message: String,
    /// Why its pod does not start, such as `ImagePullBackOff`.
    pub stuck: Option<&'static str>,
    /// The first stream of its output ends after so many bytes, as if that were all.
    pub cut_after_bytes: Option<usize>,
    /// A pod's log that is cut goes on saying nothing until so many seconds after the pod's end.
    pub cut_secs_late: Option<u64>,
    /// The first stream of its output never ends.
    pub hangs: bool,
}

/// What happens to an asker at a write. Writes are counted from 1; running a command is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It dies just before the write.
    DiesBefore(usize),
    /// The write lands, and it dies before it hears of that.
    DiesAfter(usize),
    /// The write lands, and the answer is lost: it is told to ask again.
    LosesReply(usize),
}

/// The cluster.
#[derive(Debug, Default)]
pub struct PaperCluster {
    state: Mutex<State>,
    death: Notify,
}

#[derive(Debug, Default)]
struct State {
    objects: objects::Shelf,
    plots: Vec<Plot>,
    pods: BTreeMap<(String, String), pods::Life>,
    asked: Vec<String>,
    inputs: Vec<String>,
    began: BTreeMap<String, usize>,
    writes: usize,
    fate: Option<Fate>,
    away_until: Option<Instant>,
    confined: bool,
    no_completion_modes: bool,
    dead: bool,
}

impl PaperCluster {
    /// An empty cluster in which commands do what their plots say. A command without one ends at once, well.
    pub fn new(plots: Vec<Plot>) -> PaperCluster {
        let cluster = PaperCluster::default();
        cluster.state().plots = plots;
        cluster
    }

    /// Puts an object on the shelf, unasked.
    ///
    /// # Panics
    /// If its kind is unknown.
    pub fn add(&self, object: Json) {
        let at = objects::place(&object).expect("an object of a kind that is known by name");
        self.state().objects.create(&at, &object).expect("it is not there yet");
    }

    /// The object as it is now.
    pub fn object(&self, at: &ObjectReference) -> Option<Json> {
        self.state().seen(at).ok()
    }

    /// What was asked for in writing, in order: `create pods app/x`.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// What was written to the standard input of each command, in order.
    pub fn inputs(&self) -> Vec<String> {
        self.state().inputs.clone()
    }

    /// How often commands with each word of a plot began.
    pub fn began(&self) -> BTreeMap<String, usize> {
        self.state().began.clone()
    }

    /// How many writes there were.
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    /// What is going to happen.
    pub fn decree(&self, fate: Fate) {
        self.state().fate = Some(fate);
    }

    /// Waits for the asker to die.
    pub async fn death(&self) {
        while !self.state().dead {
            self.death.notified().await;
        }
    }

    /// From now on nothing is listed across namespaces, as for an account with Roles alone.
    pub fn confine(&self) {
        self.state().confined = true;
    }

    /// From now on Jobs lose their `completionMode`, as on API servers that do not know it.
    pub fn forget_completion_modes(&self) {
        self.state().no_completion_modes = true;
    }

    /// Refuses everything for a while; pods go on, and streams that are open.
    pub fn go_away(&self, how_long: Duration) {
        self.state().away_until = Some(Instant::now() + how_long);
    }

    /// Answers again; the fate has been fulfilled.
    pub fn revive(&self) {
        let mut state = self.state();
        state.dead = false;
        state.fate = None;
    }

    /// An object asked to be deleted by a user.
    pub fn delete_by_hand(&self, at: &ObjectReference) {
        self.state().delete(at).expect("it is there");
    }

    /// An object changed by somebody else, by a merge patch.
    pub fn change_by_hand(&self, at: &ObjectReference, patch: &Json) {
        self.state().objects.patch(at, Patch::Merge, patch).expect("it is there");
    }

    /// All objects like this, as they are now.
    pub fn objects(&self, of: &ObjectReference) -> Vec<Json> {
        let mut state = self.state();
        let places = state.objects.matching(of, "");
        places.iter().filter_map(|at| state.seen(at).ok()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// Carries out a write as fate will have it.
    async fn write<T>(
        &self,
        said: String,
        effect: impl FnOnce(&mut State) -> Result<T, Refusal> + Send,
    ) -> Result<T, Refusal> {
        self.live().await?;
        let fate = {
            let mut state = self.state();
            state.writes += 1;
            let number = state.writes;
            let hit = |at: usize| at == number;
            match state.fate {
                Some(Fate::DiesBefore(at)) if hit(at) => {
                    state.dead = true;
                    None
                }
                Some(Fate::DiesAfter(at)) if hit(at) => {
                    state.asked.push(said);
                    let _ = effect(&mut state);
                    state.dead = true;
                    None
                }
                Some(Fate::LosesReply(at)) if hit(at) => {
                    state.asked.push(said);
                    let _ = effect(&mut state);
                    Some(Err(Refusal::new(Why::Busy, "the answer was lost")))
                }
                _ => {
                    state.asked.push(said);
                    Some(effect(&mut state))
                }
            }
        };
        match fate {
            Some(answer) => answer,
            None => {
                self.death.notify_waiters();
                std::future::pending().await
            }
        }
    }

    /// A dead asker gets no answers, and nobody gets one while the cluster is away.
    async fn live(&self) -> Result<(), Refusal> {
        let (dead, away) = {
            let state = self.state();
            (state.dead, state.away_until.is_some_and(|until| Instant::now() < until))
        };
        if dead {
            std::future::pending::<()>().await;
        }
        if away { Err(Refusal::new(Why::Busy, "no answer came")) } else { Ok(()) }
    }
}

impl State {
    fn plot(&self, command: &str) -> Plot {
        self.plots.iter().find(|plot| command.contains(plot.word)).cloned().unwrap_or_default()
    }

    /// A command begins, and is counted.
    fn begun(&mut self, command: &str) -> Plot {
        let mut plot = self.plot(command);
        if !plot.word.is_empty() {
            let times = self.began.entry(plot.word.to_owned()).or_default();
            *times += 1;
            if *times <= plot.fails_first {
                plot.exit = 1;
            }
        }
        plot
    }

    fn delete(&mut self, at: &ObjectReference) -> Result<(), Refusal> {
        if let Some(life) = self.pods.get_mut(&(at.namespace.clone(), at.name.clone()))
            && at.resource == "pods"
        {
            life.stop();
        }
        self.objects.delete(at)
    }
}

#[async_trait]
impl Cluster for PaperCluster {
    async fn resolve(&self, reference: &ObjectReference) -> Result<Resource, Refusal> {
        self.live().await?;
        objects::resource(reference)
    }

    async fn get(&self, at: &ObjectReference) -> Result<Json, Refusal> {
        self.live().await?;
        self.state().seen(at)
    }

    async fn list(&self, of: &ObjectReference, selector: &str) -> Result<Vec<Json>, Refusal> {
        self.live().await?;
        let mut state = self.state();
        if state.confined && of.namespace.is_empty() {
            return Err(Refusal::new(Why::Denied, format!("may not list {} of all namespaces", of.resource)));
        }
        let places = state.objects.matching(of, selector);
        places.iter().map(|at| state.seen(at)).collect()
    }

    async fn create(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        let said = format!("create {}", words(at));
        self.write(said, |state| {
            let mut object = object.clone();
            if let Some(spec) = object["spec"].as_object_mut().filter(|_| state.no_completion_modes) {
                spec.remove("completionMode");
            }
            let made = state.objects.create(at, &object)?;
            if at.resource == "pods" {
                state.begin(at, &object);
            }
            Ok(made)
        })
        .await
    }

    async fn replace(&self, at: &ObjectReference, object: &Json) -> Result<Json, Refusal> {
        self.write(format!("replace {}", words(at)), |state| state.objects.replace(at, object)).await
    }

    async fn patch(&self, at: &ObjectReference, kind: Patch, patch: &Json) -> Result<Json, Refusal> {
        self.write(format!("patch {}", words(at)), |state| state.objects.patch(at, kind, patch)).await
    }

    async fn delete(&self, at: &ObjectReference) -> Result<(), Refusal> {
        self.write(format!("delete {}", words(at)), |state| state.delete(at)).await
    }

    async fn follow_log(&self, of: &Inside<'_>, sink: Sink<'_>) -> Result<(), Refusal> {
        self.live().await?;
        let (plot, left) = self.state().log(of)?;
        let whole = plot.prints.as_bytes();
        sink(&whole[..plot.cut_after_bytes.unwrap_or(whole.len()).min(whole.len())]);
        if plot.hangs {
            std::future::pending::<()>().await;
        }
        match plot.cut_secs_late {
            _ if plot.cut_after_bytes.is_none() => sleep(left).await,
            Some(secs) => sleep(left + Duration::from_secs(secs)).await,
            None => {}
        }
        self.live().await
    }

    async fn exec(
        &self,
        of: &Inside<'_>,
        command: &[String],
        input: &[u8],
        sink: Sink<'_>,
    ) -> Result<Option<Exit>, Refusal> {
        let text = command.join(" ");
        let said = format!("exec {}/{} {}", of.namespace, of.pod, pods::unwrapped(command).join(" "));
        let plot = self
            .write(said, |state| {
                state.inputs.push(String::from_utf8_lossy(input).into_owned());
                Ok(state.begun(&text))
            })
            .await?;
        sleep(Duration::from_secs(plot.secs)).await;
        self.live().await?;
        if plot.hangs {
            std::future::pending::<()>().await;
        }
        let mut output = plot.prints.clone().into_bytes();
        output.extend(pods::mark(command, plot.exit));
        let cut = plot.cut_after_bytes.is_some();
        sink(&output[..plot.cut_after_bytes.unwrap_or(output.len()).min(output.len())]);
        let exit = Exit { code: Some(plot.exit), message: plot.message, stderr: String::new() };
        Ok((!cut).then_some(exit))
    }
}
