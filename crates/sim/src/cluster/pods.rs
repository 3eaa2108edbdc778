//! Pods that live by a plot and tokio's clock, and commands wrapped in a shell that is not there.

use super::{Plot, State};
use cistern_api::ObjectReference;
use cistern_functions::ports::{Inside, Refusal, Why};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::Instant;

/// From a pod's creation until its containers run.
const STARTING: Duration = Duration::from_secs(1);

/// A pod under way: its containers with their plots.
#[derive(Debug)]
pub(super) struct Life {
    created: Instant,
    stopped: Option<Instant>,
    containers: Vec<(String, Plot)>,
    followed: bool,
}

impl Life {
    /// Its containers are killed.
    pub(super) fn stop(&mut self) {
        self.stopped.get_or_insert_with(Instant::now);
    }

    fn stuck(&self) -> Option<&'static str> {
        self.containers.iter().find_map(|(_, plot)| plot.stuck)
    }

    /// When the container ends, and how.
    fn end(&self, plot: &Plot) -> (Instant, i32) {
        let end = self.created + STARTING + Duration::from_secs(plot.secs);
        match self.stopped.filter(|stopped| *stopped < end) {
            Some(stopped) => (stopped, 137),
            None => (end, plot.exit),
        }
    }

    fn status(&self) -> Json {
        let now = Instant::now();
        if let Some(reason) = self.stuck() {
            let waiting = json!({ "waiting": { "reason": reason, "message": "back-off" } });
            let (name, _) = &self.containers[0];
            return json!({ "phase": "Pending", "containerStatuses": [{ "name": name, "state": waiting }] });
        }
        if now < self.created + STARTING && self.stopped.is_none() {
            return json!({ "phase": "Pending" });
        }
        let mut statuses = Vec::new();
        let (mut running, mut failed) = (false, false);
        for (name, plot) in &self.containers {
            let (end, code) = self.end(plot);
            let state = if now < end {
                running = true;
                json!({ "running": {} })
            } else {
                failed |= code != 0;
                json!({ "terminated": { "exitCode": code, "message": plot.message } })
            };
            statuses.push(json!({ "name": name, "state": state }));
        }
        let phase = match (running, failed) {
            (true, _) => "Running",
            (false, true) => "Failed",
            (false, false) => "Succeeded",
        };
        json!({ "phase": phase, "containerStatuses": statuses })
    }
}

impl State {
    /// A pod was created.
    pub(super) fn begin(&mut self, at: &ObjectReference, manifest: &Json) {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let mut containers = Vec::new();
        for container in manifest["spec"]["containers"].as_array().into_iter().flatten() {
            let words = container["command"].as_array().into_iter().flatten().map(text);
            let command = words.collect::<Vec<_>>().join(" ");
            containers.push((text(&container["name"]), self.begun(&command)));
        }
        let life = Life { created: Instant::now(), stopped: None, containers, followed: false };
        self.pods.insert((at.namespace.clone(), at.name.clone()), life);
    }

    /// The object with the status it has now.
    pub(super) fn seen(&mut self, at: &ObjectReference) -> Result<Json, Refusal> {
        let mut object = self.objects.get(at)?;
        match at.resource.as_str() {
            "pods" => {
                if let Some(life) = self.pods.get(&(at.namespace.clone(), at.name.clone())) {
                    object["status"] = life.status();
                }
            }
            "statefulsets" | "deployments" => {
                let replicas = object["spec"]["replicas"].clone();
                for field in ["readyReplicas", "updatedReplicas", "availableReplicas"] {
                    object["status"][field] = replicas.clone();
                }
            }
            _ => {}
        }
        Ok(object)
    }

    /// What a container prints, and how long until it ends. Only the first stream is cut or hangs.
    pub(super) fn log(&mut self, of: &Inside<'_>) -> Result<(Plot, Duration), Refusal> {
        let place = (of.namespace.to_owned(), of.pod.to_owned());
        let life = self.pods.get_mut(&place).ok_or_else(|| Refusal::new(Why::Absent, "is not there"))?;
        if Instant::now() < life.created + STARTING {
            return Err(Refusal::new(Why::Busy, "is waiting to start"));
        }
        let plot =
            life.containers.iter().find(|(name, _)| name == of.container).map(|(_, plot)| plot.clone());
        let mut plot = plot.ok_or_else(|| Refusal::new(Why::Invalid, "has no such container"))?;
        if std::mem::replace(&mut life.followed, true) {
            plot.cut_after_bytes = None;
            plot.hangs = false;
        }
        let left = life.end(&plot).0.saturating_duration_since(Instant::now());
        Ok((plot, left))
    }
}

/// The command inside the line of shell that prints a mark after it.
pub(super) fn unwrapped(command: &[String]) -> &[String] {
    match command {
        [shell, flag, _, _, inner @ ..] if shell == "sh" && flag == "-c" => inner,
        plain => plain,
    }
}

/// What that shell prints after the command.
pub(super) fn mark(command: &[String], status: i32) -> Vec<u8> {
    match command {
        [shell, flag, line, mark, _, ..] if shell == "sh" && flag == "-c" && line.contains("printf") => {
            format!("\n{mark} {status}\n").into_bytes()
        }
        _ => Vec::new(),
    }
}
