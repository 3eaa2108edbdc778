//! Repositories, looked after: a Job for each time that is due, what came of it in the status.
//!
//! | file | subject |
//! |---|---|
//! | `repositories/task.rs` | what there is to do to a repository, and when each is due |
//! | `repositories/job.rs` | the Job that does it |
//! | `repositories/outcome.rs` | what came of a Job |
//! | `repositories/report.rs` | the status as conditions, events and metrics |
//!
//! # Guarantees
//! * A time that is due starts one Job at most: its name follows from Repository, task and time, and it is made
//!   before the time is written down as dealt with. A controller may die in between; the next one finds it there.
//! * A Job's outcome is in the status before the Job is taken away.
//! * No credential stands in a Job: its pods have them from a Secret that belongs to the Job and goes with it.

mod job;
mod outcome;
mod report;
mod task;

use crate::access::{self, Missing};
use crate::events::{self, Recorded, Recorder, Subject};
use crate::metrics::{Metrics, Trouble};
use crate::{Rules, World};
use cistern_api::resource::{OWN_API_VERSION, OWN_GROUP, VERSION};
use cistern_api::{ObjectReference, Repository, RepositoryStatus, TaskResult, TaskRun, Time};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::profile;
use cistern_functions::reference::of_kind;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use task::{Due, Task};

pub use job::{REPOSITORY_UID, TASK};

/// Between two looks at all Repositories.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Jobs of each task that stay for people to look at after they have ended.
const ENDED_KEPT: usize = 3;

/// All Repositories of the watched namespaces.
pub struct Repositories {
    cluster: Arc<dyn Cluster>,
    rules: Rules,
    world: World,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    recorded: Mutex<Option<Recorded>>,
}

impl Repositories {
    /// Repositories that nobody has looked at yet.
    pub fn new(cluster: Arc<dyn Cluster>, rules: Rules, world: World) -> Repositories {
        let (recorder, recorded) = Recorder::new();
        let (metrics, recorded) = (Arc::new(Metrics::new()), Mutex::new(Some(recorded)));
        Repositories { cluster, rules, world, metrics, recorder, recorded }
    }

    /// The same, counting there instead of for itself.
    #[must_use]
    pub fn counting(mut self, metrics: Arc<Metrics>) -> Repositories {
        self.metrics = metrics;
        self
    }

    /// Looks after them until it is dropped. Only one may run for a namespace at a time; a second one would start
    /// nothing twice, but write statuses to and fro.
    pub async fn run(self) {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let telling = async {
            if let Some(recorded) = recorded {
                events::write_all(Arc::clone(&self.cluster), recorded).await;
            }
            std::future::pending::<()>().await;
        };
        let looking = async {
            let mut rounds = tokio::time::interval(LOOK_EVERY);
            loop {
                rounds.tick().await;
                // What is refused now is tried again in the next round.
                if self.look_at_all().await.is_err() {
                    self.metrics.trouble(Trouble::List);
                }
            }
        };
        tokio::select! {
            () = telling => {}
            () = looking => {}
        }
    }

    /// Looks at each Repository once.
    ///
    /// # Errors
    /// The Repositories of a namespace cannot be listed. One that fails does not stop the others.
    pub async fn look_at_all(&self) -> Result<(), Refusal> {
        let own = &self.rules.watched;
        let watched = if own.is_empty() { vec![String::new()] } else { own.clone() };
        let mut seen = BTreeSet::new();
        for namespace in watched {
            let of = at(&namespace, "");
            let found = match ask(|| self.cluster.list(&of, "")).await {
                Ok(found) => found,
                // The resource is not defined: nobody uses it.
                Err(refusal) if refusal.why == Why::Absent => continue,
                Err(refusal) => return Err(refusal),
            };
            for raw in found {
                let Some(kept) = Kept::read(self, raw) else { continue };
                seen.insert((kept.namespace().to_owned(), kept.name().to_owned()));
                if let Err(refusal) = kept.carry_out().await {
                    let (namespace, name) = (kept.namespace(), kept.name());
                    let said = "the Repository cannot be looked after; it is tried again";
                    tracing::warn!(namespace, name, reason = %refusal, "{said}");
                    self.metrics.trouble(Trouble::Refused);
                }
            }
        }
        self.metrics.only_repositories(&seen);
        Ok(())
    }
}

/// Who leads no longer knows nothing of them: its last word would stand beside that of the next leader.
impl Drop for Repositories {
    fn drop(&mut self) {
        self.metrics.only_repositories(&BTreeSet::new());
    }
}

/// Where a Repository is.
pub fn at(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: VERSION.to_owned(),
        group: OWN_GROUP.to_owned(),
        resource: "repositories".to_owned(),
        ..ObjectReference::named(namespace, name)
    }
}

/// One Repository, looked at now.
struct Kept<'r> {
    all: &'r Repositories,
    raw: Json,
    repository: Repository,
    now: Timestamp,
}

impl<'r> Kept<'r> {
    /// A Repository that can be read and is not being deleted.
    fn read(all: &'r Repositories, raw: Json) -> Option<Kept<'r>> {
        let repository: Repository = serde_json::from_value(raw.clone()).ok()?;
        let Time(now) = (all.world.now)();
        let deleted = repository.metadata.deletion_timestamp.is_some();
        (!deleted).then_some(Kept { all, raw, repository, now })
    }

    fn name(&self) -> &str {
        self.repository.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.repository.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.repository.metadata.uid.as_deref().unwrap_or_default()
    }

    fn cluster(&self) -> &dyn Cluster {
        &*self.all.cluster
    }

    /// Does what is to be done now, writes down how things are, and tells what came about.
    async fn carry_out(&self) -> Result<(), Refusal> {
        let before = self.repository.status.clone().unwrap_or_default();
        let mut status = before.clone();
        let mut said = Vec::new();
        for task in Task::ALL {
            said.extend(self.look_back(task, &mut status).await?);
            match task::due(task, &self.repository, task.of(&status), self.now) {
                Ok((due, next)) => {
                    task.of_mut(&mut status).next_schedule_time = next.map(Time);
                    if let Some(due) = due {
                        said.extend(self.start(task, &due, &mut status).await?);
                    }
                }
                Err(reason) => {
                    task.of_mut(&mut status).next_schedule_time = None;
                    said.push(reason);
                }
            }
        }
        report::conclude(&mut status, &said, &Time(self.now));
        self.all.metrics.repository(self.namespace(), self.name(), &status);
        if !self.store(&status).await? {
            return Ok(());
        }
        for event in report::told(&self.subject(), &before, &status) {
            if !self.all.recorder.tell(event, &Time(self.now)) {
                self.all.metrics.event_dropped();
            }
        }
        for task in Task::ALL {
            if task.of(&status).last_run != task.of(&before).last_run {
                self.sweep(task).await?;
            }
        }
        Ok(())
    }

    fn subject(&self) -> Subject {
        Subject {
            api_version: OWN_API_VERSION,
            kind: "Repository",
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
        }
    }

    /// Looks how the Job under way is; says what it waits for.
    async fn look_back(&self, task: Task, status: &mut RepositoryStatus) -> Result<Vec<String>, Refusal> {
        let name = task.of(status).active.clone();
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let at = job::at(self.namespace(), &name);
        let job = match ask(|| self.cluster().get(&at)).await {
            Ok(job) if self.owns(&job) => job,
            Err(refusal) if refusal.why != Why::Absent => return Err(refusal),
            _ => {
                let message = "the Job was taken away before it was known what came of it".to_owned();
                outcome::record(status, task, self.lost(&name, message), None);
                return Ok(Vec::new());
            }
        };
        let (of, selector) = (of_kind("pod", self.namespace(), ""), format!("job-name={name}"));
        let pods = ask(|| self.cluster().list(&of, &selector)).await?;
        let Some(end) = outcome::end(&job) else {
            return Ok(outcome::waits(&pods));
        };
        let (run, size) = outcome::of(&job, &end, &pods, &Time(self.now));
        outcome::record(status, task, run, size);
        Ok(Vec::new())
    }

    fn owns(&self, job: &Json) -> bool {
        job["metadata"]["labels"][REPOSITORY_UID] == self.uid()
    }

    /// A run of which nothing is known but that it has failed.
    fn lost(&self, job: &str, message: String) -> TaskRun {
        let ended = Some(Time(self.now));
        TaskRun { job: job.to_owned(), ended, result: TaskResult::Failed, message, ..TaskRun::default() }
    }

    /// Starts what is due; says what hinders it, and then it is tried again until the next one is due.
    async fn start(
        &self,
        task: Task,
        due: &Due,
        status: &mut RepositoryStatus,
    ) -> Result<Option<String>, Refusal> {
        match self.make(task, due, task.of(status)).await? {
            Ok(job) => {
                let name = job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                task::deal_with(task.of_mut(status), due);
                if job::is_whole(&self.repository, task, &job) {
                    task.of_mut(status).active = name;
                    return Ok(None);
                }
                let at = job::at(self.namespace(), &name);
                match ask(|| self.cluster().delete(&at)).await {
                    Err(refusal) if refusal.why != Why::Absent => return Err(refusal),
                    _ => {}
                }
                outcome::record(status, task, self.lost(&name, job::NO_INDEX.to_owned()), None);
                Ok(None)
            }
            Err(reason) => Ok(Some(format!("{} cannot be started: {reason}", task.name()))),
        }
    }

    /// Makes the Job and what its pods open the repository with; inside, why that cannot be.
    async fn make(
        &self,
        task: Task,
        due: &Due,
        slot: &cistern_api::TaskStatus,
    ) -> Result<Result<Json, String>, Refusal> {
        let content = match self.content().await? {
            Ok(content) => content,
            Err(reason) => return Ok(Err(reason)),
        };
        let manifest = match job::manifest(&self.repository, task, due, slot, &self.all.rules) {
            Ok(manifest) => manifest,
            Err(reason) => return Ok(Err(reason)),
        };
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let at = job::at(self.namespace(), name);
        let job = match ask(|| self.cluster().create(&at, &manifest)).await {
            Ok(job) => job,
            Err(refusal) if refusal.why == Why::Exists => {
                let there = ask(|| self.cluster().get(&at)).await?;
                if !self.owns(&there) {
                    return Ok(Err(format!("there is another Job {name}")));
                }
                there
            }
            Err(refusal) if refusal.why == Why::Busy => return Err(refusal),
            Err(refusal) => return Ok(Err(format!("the Job {name} {refusal}"))),
        };
        self.hand_over(&job, content).await?;
        Ok(Ok(job))
    }

    /// What opens the repository; inside, what is missing.
    async fn content(&self) -> Result<Result<String, String>, Refusal> {
        match access::to_repository(self.cluster(), &self.repository).await {
            Ok(content) => Ok(Ok(content)),
            Err(Missing::Final(reason)) => Ok(Err(reason)),
            Err(Missing::Later(refusal)) => Err(refusal),
        }
    }

    /// Makes the Secret of a Job, which owns it.
    async fn hand_over(&self, job: &Json, content: String) -> Result<(), Refusal> {
        let meta = &job["metadata"];
        let name = meta["name"].as_str().unwrap_or_default();
        let at = of_kind("secret", self.namespace(), &profile::secret_name(name));
        let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": meta["uid"] });
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": at.name, "namespace": at.namespace, "ownerReferences": [owner],
                "labels": { REPOSITORY_UID: self.uid() },
            },
            "stringData": { profile::KEY: content },
        });
        match ask(|| self.cluster().create(&at, &manifest)).await {
            Err(refusal) if refusal.why != Why::Exists => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Writes the status, if it has changed; whether it is there now. Where somebody else has changed the Repository
    /// meanwhile, the next round looks at it anew.
    async fn store(&self, status: &RepositoryStatus) -> Result<bool, Refusal> {
        if self.repository.status.as_ref() == Some(status) {
            return Ok(false);
        }
        let mut next = self.raw.clone();
        next["apiVersion"] = OWN_API_VERSION.into();
        next["kind"] = "Repository".into();
        next["status"] = serde_json::to_value(status).expect("a status is always JSON");
        let at = at(self.namespace(), self.name());
        match ask(|| self.cluster().replace(&at, &next)).await {
            Ok(_) => Ok(true),
            Err(refusal) if matches!(refusal.why, Why::Conflict | Why::Absent) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Takes Jobs away that have ended, but for the last few.
    async fn sweep(&self, task: Task) -> Result<(), Refusal> {
        let selector = format!("{REPOSITORY_UID}={},{TASK}={}", self.uid(), task.name());
        let of = job::at(self.namespace(), "");
        let found = ask(|| self.cluster().list(&of, &selector)).await?;
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let ended = found.iter().filter(|job| outcome::end(job).is_some()).map(|job| &job["metadata"]);
        let mut ended: Vec<(String, String)> =
            ended.map(|meta| (text(&meta["creationTimestamp"]), text(&meta["name"]))).collect();
        ended.sort();
        for (_, name) in &ended[..ended.len().saturating_sub(ENDED_KEPT)] {
            let at = job::at(self.namespace(), name);
            match ask(|| self.cluster().delete(&at)).await {
                Err(refusal) if refusal.why != Why::Absent => return Err(refusal),
                _ => {}
            }
        }
        Ok(())
    }
}
