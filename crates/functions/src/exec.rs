//! Functions that run a command in a container that is there: KubeExec, KubeExecAll.
//!
//! A connection to a container can be cut so that it looks like an end. So the command is wrapped in a line
//! of shell that prints a mark and the exit status after it; what has no mark is no success.

use crate::outputs::{Heard, Listener, last_words};
use crate::ports::{Cluster, Exit, Inside};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, args};
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;

/// Runs its arguments, then prints `$0` and their exit status on a line of its own.
const WRAPPER: &str = r#""$@"; status=$?; printf '\n%s %s\n' "$0" "$status"; exit "$status""#;
/// Begins the mark; the rest is the trace of the call.
const MARK: &str = "###cistern-exec-end###";
/// As much of the end of an output as can hold the mark.
const END_BYTES: usize = 512;
/// Containers that a KubeExecAll runs its command in at the same time.
const AT_ONCE: usize = 16;

#[derive(Deserialize)]
struct ExecArgs {
    namespace: String,
    pod: String,
    #[serde(default)]
    container: String,
    command: Vec<String>,
}

/// KubeExec: one command in one container.
pub(crate) async fn kube_exec(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: ExecArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let inside = Inside { namespace: &args.namespace, pod: &args.pod, container: &args.container };
    exec(cluster, &setting.trace(call.id), inside, &args.command).await
}

#[derive(Deserialize)]
struct ExecAllArgs {
    namespace: String,
    pods: String,
    containers: String,
    command: Vec<String>,
}

/// KubeExecAll: one command in every named container of every named pod.
pub(crate) async fn kube_exec_all(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: ExecAllArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let places: Vec<(&str, &str)> = args
        .pods
        .split_whitespace()
        .flat_map(|pod| args.containers.split_whitespace().map(move |container| (pod, container)))
        .collect();
    if places.is_empty() {
        return Err("it names no container to run its command in".to_owned());
    }
    let trace = setting.trace(call.id);
    let namespace = args.namespace.as_str();
    let runs: Vec<_> = places
        .into_iter()
        .map(|(pod, container)| {
            let inside = Inside { namespace, pod, container };
            exec(cluster, &trace, inside, &args.command).boxed()
        })
        .collect();
    let ends: Vec<_> = futures::stream::iter(runs).buffered(AT_ONCE).collect().await;
    let (mut outputs, mut reasons) = (Object::new(), Vec::new());
    for end in ends {
        match end {
            Ok(more) => outputs.extend(more),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() { Ok(outputs) } else { Err(reasons.join("\n")) }
}

async fn exec(
    cluster: &dyn Cluster,
    trace: &str,
    inside: Inside<'_>,
    command: &[String],
) -> Result<Object, String> {
    if command.is_empty() {
        return Err("its command is empty".to_owned());
    }
    let mark = format!("{MARK} {trace}");
    let shell = ["sh", "-c", WRAPPER, &mark].map(str::to_owned);
    let wrapped: Vec<String> = shell.into_iter().chain(command.iter().cloned()).collect();
    let mut listener = Listener::default();
    let mut end = Vec::new();
    let mut sink = |bytes: &[u8]| {
        listener.push(bytes);
        end.extend_from_slice(bytes);
        end.drain(..end.len().saturating_sub(END_BYTES));
    };
    let exit = cluster.exec(&inside, &wrapped, &[], &mut sink).await;
    let mut heard = listener.finish();
    heard.tail.retain(|line| !line.starts_with(MARK));
    let exit = exit.map_err(|refusal| format!("in {}/{}: {refusal}", inside.namespace, inside.pod))?;
    judge(&inside, status(&end, &mark), exit, heard)
}

/// The exit status that stands behind the mark, if that is the last thing.
fn status(end: &[u8], mark: &str) -> Option<i32> {
    let text = String::from_utf8_lossy(end);
    let line = text.strip_suffix('\n')?.rsplit('\n').next()?;
    line.strip_prefix(mark)?.trim().parse().ok()
}

fn judge(
    inside: &Inside<'_>,
    status: Option<i32>,
    exit: Option<Exit>,
    heard: Heard,
) -> Result<Object, String> {
    let container = if inside.container.is_empty() { "its default container" } else { inside.container };
    let place = format!("in {}/{}, {container}", inside.namespace, inside.pod);
    let stderr = exit.as_ref().map(|exit| exit.stderr.as_str()).unwrap_or_default();
    let said = || match crate::outputs::hear(stderr).tail {
        complaints if complaints.is_empty() => heard.last_words(),
        complaints => last_words(&complaints),
    };
    match (status, &exit) {
        (Some(0), _) => heard.outputs,
        (Some(code), _) => Err(format!("{place}: the command ended with status {code}{}", said())),
        (None, Some(exit)) if exit.code == Some(0) => Err(format!(
            "{place}: the API server reports success, but the end of the output is missing; the connection \
             may have been cut{}",
            said()
        )),
        (None, Some(exit)) => {
            let code = exit.code.map_or(String::new(), |code| format!(" with status {code}"));
            Err(format!(
                "{place}: the command was stopped, or sh could not be started{code}: {}{}",
                exit.message,
                said()
            ))
        }
        (None, None) => Err(format!(
            "{place}: the connection was cut before the command had ended; whether it goes on there is not \
             known{}",
            said()
        )),
    }
}
