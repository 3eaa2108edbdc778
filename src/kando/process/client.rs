//! `kando process client`: one call to a server each, and what is printed of its answer.

use crate::door;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::signals::Signals;
use cistern_kanx::{Client, Process, ProcessState, Stream, signal_number};
use std::path::Path;

/// What can be typed.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// Print what is known of a process as a line of JSON
    #[arg(long, short = 'j', global = true)]
    as_json: bool,
    /// Print nothing about processes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Start a process
    Create(Program),
    /// Start a process and print what it prints, to its end
    Execute {
        #[command(flatten)]
        program: Program,
        #[command(flatten)]
        proxy: Proxy,
    },
    /// Print what is known of a process
    Get {
        /// Number of the process
        pid: i64,
    },
    /// Print what is known of each process
    List,
    /// Send a signal to a process
    Signal {
        /// Number of the process
        pid: i64,
        /// Number or name of the signal
        #[arg(value_parser = parse_signal, allow_hyphen_values = true)]
        signal: i64,
    },
    /// Print what a process printed and prints, to its end
    Output {
        /// Number of the process
        pid: i64,
        #[command(flatten)]
        proxy: Proxy,
    },
}

/// What to start.
#[derive(clap::Args)]
struct Program {
    /// Program and its arguments; those that begin with `-` go after `--`
    #[arg(value_name = "CMD", required = true, num_args = 1..)]
    words: Vec<String>,
}

/// What of the process and of this one is made to look like one.
#[derive(clap::Args)]
struct Proxy {
    /// Pass SIGINT and SIGTERM on to the process
    #[arg(long, short = 'p')]
    signal_proxy: bool,
    /// Exit with the process's exit code; 255 if a signal ended it
    #[arg(long, short = 'x')]
    exit_proxy: bool,
}

fn parse_signal(text: &str) -> Result<i64, String> {
    signal_number(text).ok_or_else(|| "it is neither a number nor the name of a signal".to_owned())
}

/// How what is known of a process is printed.
#[derive(Clone, Copy)]
struct Form {
    json: bool,
    quiet: bool,
}

/// Runs it.
pub fn run(args: Args, address: &Path) -> Result<(), Failure> {
    let form = Form { json: args.as_json, quiet: args.quiet };
    if let Command::Execute { proxy, .. } | Command::Output { proxy, .. } = &args.command
        && proxy.signal_proxy
    {
        return door::run_heeding(async |signals| call(args.command, form, address, Some(signals)).await);
    }
    door::run(call(args.command, form, address, None))
}

async fn call(
    command: Command,
    form: Form,
    address: &Path,
    signals: Option<&mut Signals>,
) -> Result<(), Failure> {
    let mut client = Client::connect(address)
        .await
        .map_err(|e| Failure::from(e).hint("`kando process server` listens; --address says where"))?;
    match command {
        Command::Create(Program { words }) => form.print(&create(&mut client, &words).await?),
        Command::Execute { program, proxy } => {
            let process = create(&mut client, &program.words).await?;
            form.print(&process)?;
            follow(&mut client, process.pid, &proxy, signals).await
        }
        Command::Get { pid } => form.print(&client.get(pid).await?),
        Command::List => client.list(|process| form.print(&process)).await,
        Command::Signal { pid, signal } => form.print(&client.signal(pid, signal).await?),
        Command::Output { pid, proxy } => follow(&mut client, pid, &proxy, signals).await,
    }
}

async fn create(client: &mut Client, words: &[String]) -> Result<Process, Failure> {
    let (program, arguments) = words.split_first().expect("one at least is required");
    Ok(client.create(program, arguments).await?)
}

/// Prints both streams to the end of the process, passing signals on meanwhile.
async fn follow(
    client: &mut Client,
    pid: i64,
    proxy: &Proxy,
    signals: Option<&mut Signals>,
) -> Result<(), Failure> {
    let (mut out, mut err) = (client.clone(), client.clone());
    let print = out.follow(pid, Stream::Stdout, show::raw);
    let complain = err.follow(pid, Stream::Stderr, |bytes| {
        show::pass_on(bytes);
        Ok::<(), Failure>(())
    });
    let streams = async { futures::future::try_join(print, complain).await.map(drop) };
    match signals {
        None => streams.await?,
        Some(signals) => {
            let mut streams = std::pin::pin!(streams);
            loop {
                tokio::select! {
                    ended = &mut streams => break ended?,
                    signal = signals.next() => {
                        // It may have ended meanwhile, which its streams will tell.
                        let _ = client.signal(pid, i64::from(signal)).await;
                    }
                }
            }
        }
    }
    if proxy.exit_proxy { leave_as(&client.get(pid).await?) } else { Ok(()) }
}

/// Ends as the process did.
fn leave_as(process: &Process) -> Result<(), Failure> {
    if process.state() == ProcessState::Succeeded {
        return Ok(());
    }
    // The low eight bits, which is what a shell sees of -1 too; a failure is never 0.
    let code = (process.exit_code & 0xff) as u8;
    Err(Failure::new(Exit::Process(code.max(1)), process.exit_err.clone()))
}

impl Form {
    fn print(self, process: &Process) -> Result<(), Failure> {
        match self {
            Form { quiet: true, .. } => Ok(()),
            Form { json: true, .. } => show::json(&json(process)),
            Form { json: false, .. } => show::line(&format!("Process:  {}", text(process))),
        }
    }
}

/// JSON as protobuf has it: names of the messages, 64-bit numbers as strings, nothing that is 0 or empty.
fn json(process: &Process) -> serde_json::Value {
    let mut fields = serde_json::Map::new();
    let mut field = |name: &str, value: String| drop(fields.insert(name.to_owned(), value.into()));
    if process.pid != 0 {
        field("pid", process.pid.to_string());
    }
    if process.state != 0 {
        field("state", process.state().as_str_name().to_owned());
    }
    if process.exit_code != 0 {
        field("exitCode", process.exit_code.to_string());
    }
    if !process.exit_err.is_empty() {
        field("exitErr", process.exit_err.clone());
    }
    fields.into()
}

/// The same as protobuf's text.
fn text(process: &Process) -> String {
    let mut fields = Vec::new();
    if process.pid != 0 {
        fields.push(format!("pid:{}", process.pid));
    }
    if process.state != 0 {
        fields.push(format!("state:{}", process.state().as_str_name()));
    }
    if process.exit_code != 0 {
        fields.push(format!("exitCode:{}", process.exit_code));
    }
    if !process.exit_err.is_empty() {
        fields.push(format!("exitErr:{:?}", process.exit_err));
    }
    fields.join("  ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    #[test]
    fn a_process_is_printed_as_kanister_prints_it() {
        let running = Process { pid: 1234, state: ProcessState::Running.into(), ..Process::default() };
        assert_eq!(text(&running), "pid:1234  state:PROCESS_STATE_RUNNING");
        assert_eq!(json(&running).to_string(), r#"{"pid":"1234","state":"PROCESS_STATE_RUNNING"}"#);
        let failed = Process {
            pid: 7,
            state: ProcessState::Failed.into(),
            exit_code: 3,
            exit_err: "exit status 3".to_owned(),
        };
        assert_eq!(
            text(&failed),
            r#"pid:7  state:PROCESS_STATE_FAILED  exitCode:3  exitErr:"exit status 3""#
        );
        let want = r#"{"exitCode":"3","exitErr":"exit status 3","pid":"7","state":"PROCESS_STATE_FAILED"}"#;
        let got: serde_json::Value = json(&failed);
        assert_eq!(got, serde_json::from_str::<serde_json::Value>(want).unwrap());
    }

    #[test]
    fn a_failed_process_never_ends_with_0() {
        for (code, want) in [(3, 3), (-1, 255), (0, 1), (256, 1)] {
            let state = ProcessState::Failed.into();
            let process = Process { pid: 1, state, exit_code: code, exit_err: String::new() };
            assert_eq!(leave_as(&process).unwrap_err().exit, Exit::Process(want));
        }
        let state = ProcessState::Succeeded.into();
        assert!(leave_as(&Process { pid: 1, state, ..Process::default() }).is_ok());
    }
}
