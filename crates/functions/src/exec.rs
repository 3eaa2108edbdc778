//! Functions that run a command in a container that is there: KubeExec, KubeExecAll.
//!
//! A connection to a container can be cut so that it looks like an end. So the command is wrapped in a line
//! of shell that prints a mark and the exit status after it; what has no mark is no success.
//!
//! A command that refers to the profile's file gets the text on the shell's standard input, which cannot be
//! closed: the shell reads as many bytes as there are. It keeps them in a file that it opens and removes at
//! once, so that nothing is left wherever it is killed; the command reads it as often as it likes.

use crate::outputs::{Heard, Listener, last_words};
use crate::ports::{Cluster, Exit, Inside};
use crate::profile;
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, args};
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;

/// Runs its arguments, then prints `$0` and their exit status on a line of its own.
const WRAPPER: &str = r#""$@"; status=$?; printf '\n%s %s\n' "$0" "$status"; exit "$status""#;
/// Comes before [`WRAPPER`] where there is a profile to hand over; `COUNT` is its length in bytes.
const TAKE_PROFILE: &str = r#"umask 077
for d in /dev/shm "${TMPDIR:-/tmp}" /tmp; do
  f="$d/.cistern.$$"
  if (set -C; : > "$f") 2>/dev/null; then break; fi
  f=
done
if [ -z "$f" ]; then echo 'no directory can be written to that could hold the profile' >&2; exit 125; fi
if ! dd bs=1 count=COUNT of="$f" 2>/dev/null; then
  rm -f "$f"
  echo 'the profile cannot be taken in; is there a dd?' >&2
  exit 125
fi
exec 9<"$f" </dev/null
rm -f "$f"
chmod 444 /proc/self/fd/9
"#;
/// Where the command finds it.
const PROFILE: &str = "/proc/self/fd/9";
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
    exec(cluster, call, &setting.trace(call.id), inside, &args.command).await
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
            exec(cluster, call, &trace, inside, &args.command).boxed()
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

/// Runs a command in a container.
///
/// # Errors
/// How it ended and what it said last, if its end is not known to be a good one.
pub(crate) async fn exec(
    cluster: &dyn Cluster,
    call: &Call,
    trace: &str,
    inside: Inside<'_>,
    command: &[String],
) -> Result<Object, String> {
    if command.is_empty() {
        return Err("its command is empty".to_owned());
    }
    let mark = format!("{MARK} {trace}");
    let asks = command.iter().any(|word| word.contains(profile::FILE));
    let input = if asks { profile::content(call)? } else { String::new() };
    let wrapped = wrapped(command, &mark, input.len());
    let mut listener = Listener::default();
    let mut end = Vec::new();
    let mut sink = |bytes: &[u8]| {
        listener.push(bytes);
        end.extend_from_slice(bytes);
        end.drain(..end.len().saturating_sub(END_BYTES));
    };
    let exit = cluster.exec(&inside, &wrapped, input.as_bytes(), &mut sink).await;
    let mut heard = listener.finish();
    heard.tail.retain(|line| !line.starts_with(MARK));
    let exit = exit.map_err(|refusal| format!("in {}/{}: {refusal}", inside.namespace, inside.pod))?;
    judge(&inside, status(&end, &mark), exit, heard)
}

/// The command inside the line of shell, which first takes in a profile of so many bytes, if there is one.
fn wrapped(command: &[String], mark: &str, profile_bytes: usize) -> Vec<String> {
    let take = if profile_bytes == 0 { "" } else { TAKE_PROFILE };
    let line = take.replace("COUNT", &profile_bytes.to_string()) + WRAPPER;
    let words = command.iter().map(|word| word.replace(profile::FILE, PROFILE));
    ["sh", "-c", &line, mark].map(str::to_owned).into_iter().chain(words).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// Runs the wrapped command in this shell, with a standard input that stays open; its process and output.
    fn run(shell: &[&str], command: &[&str], profile: &str) -> (u32, String) {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let words = wrapped(&command, "MARK", profile.len());
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(profile.as_bytes()).unwrap();
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.wait().unwrap();
        drop(stdin);
        (child.id(), out)
    }

    #[test]
    fn real_shells_hand_the_profile_over_and_leave_nothing_behind() {
        let profile = format!("{{\"secret\": \"{}\"}}", "s3cr3t ".repeat(700));
        let reads = format!("cat {} {}; cat; exit 3", profile::FILE, profile::FILE);
        for shell in [&["sh"][..], &["bash"], &["dash"], &["busybox", "sh"]] {
            if !Path::new("/bin").join(shell[0]).exists() {
                continue;
            }
            let (pid, out) = run(shell, &["sh", "-c", &reads], &profile);
            assert_eq!(out, format!("{profile}{profile}\nMARK 3\n"), "{shell:?}");
            let left = ["/dev/shm", "/tmp"].map(|folder| Path::new(folder).join(format!(".cistern.{pid}")));
            assert!(left.iter().all(|path| !path.exists()), "{shell:?}");
            let (_, out) = run(shell, &["echo", "plain"], "");
            assert_eq!(out, "plain\n\nMARK 0\n", "{shell:?}");
        }
    }
}
