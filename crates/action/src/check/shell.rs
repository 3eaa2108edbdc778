//! The shell in commands: pipes into kando that hide failures, compression in front of it, secrets among
//! the arguments.

mod words;

use cistern_template::{ReadStep, Template};
use serde_json::Value as Json;

use super::{Action, COMPRESSED, PIPEFAIL, PhaseRef, SECRET_ARGUMENT, Sheet, escaped};
use crate::catalog;
use crate::render::{TEMPLATE_NAME, functions};
use words::{Command, Pipeline, TEMPLATE, Word};

/// Shells whose `-c` text is looked into.
const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "ksh", "zsh"];
/// Programs that compress what they read.
const COMPRESSORS: [&str; 8] = ["gzip", "pigz", "bzip2", "xz", "zstd", "lz4", "lzop", "compress"];
/// Ends of option names that take secrets; `--secret-name` does not.
const SECRET_WORDS: [&str; 7] =
    ["password", "passwd", "passphrase", "secret", "token", "secret-key", "access-key"];
/// Commands of the shell itself: their arguments are seen by no other process.
const BUILTINS: [&str; 9] = ["echo", "printf", "export", "set", "test", "[", "[[", "read", "declare"];

/// A shell text, or one word of a command that runs without a shell.
pub(super) struct Script<'b> {
    /// Where it stands.
    pub(super) pointer: String,
    /// The text.
    pub(super) text: &'b str,
    /// The shell was started with `-o pipefail`.
    pipefail: bool,
    /// Text for a shell; else an argument on its own.
    shell: bool,
}

/// An output that a script puts out.
pub(super) struct PutOut {
    /// The key; `None` where the shell or a template makes it.
    pub(super) key: Option<String>,
    /// Where the key stands in the script.
    pub(super) offset_bytes: usize,
}

/// The pipes and arguments of every command of an action.
pub(super) fn check(sheet: &mut Sheet<'_>, action: &Action<'_>) {
    for phase in action.phases() {
        for script in scripts(&phase) {
            let masked = words::masked(script.text);
            let secrets = secret_reads(script.text);
            if !script.shell {
                argument(sheet, &script, &masked, &secrets);
                continue;
            }
            let mut pipefail = script.pipefail;
            for pipeline in words::pipelines(&masked) {
                pipefail |= pipeline.commands.iter().any(sets_pipefail);
                pipe(sheet, &script, &pipeline, pipefail);
                for command in &pipeline.commands {
                    arguments(sheet, &script, command, &secrets);
                }
            }
        }
    }
}

/// The commands of a phase.
pub(super) fn scripts<'b>(phase: &PhaseRef<'b>) -> Vec<Script<'b>> {
    let names = catalog::function(phase.func).map_or(&[][..], |function| function.commands);
    let mut scripts = Vec::new();
    for name in names {
        let pointer = format!("{}/args/{}", phase.pointer, escaped(name));
        match &phase.json["args"][name] {
            Json::Array(words) => command(&pointer, words, &mut scripts),
            Json::String(text) => scripts.push(Script { pointer, text, pipefail: false, shell: false }),
            _ => {}
        }
    }
    scripts
}

/// The words of a command: what a shell is given with `-c` is a script, everything else an argument.
fn command<'b>(pointer: &str, words: &'b [Json], scripts: &mut Vec<Script<'b>>) {
    let text = |i: usize| words.get(i).and_then(Json::as_str).unwrap_or_default();
    let program = text(0).rsplit('/').next().unwrap_or_default();
    let mut script = None;
    let mut pipefail = false;
    if SHELLS.contains(&program) {
        for i in 1..words.len() {
            let word = text(i);
            pipefail |= word == "pipefail" && text(i - 1).starts_with('-') && text(i - 1).ends_with('o');
            if script.is_none() && word.starts_with('-') && !word.starts_with("--") && word.contains('c') {
                // `-c` may stand before other options; the text is the first word that is none.
                let rest = (i + 1..words.len()).find(|&j| !text(j).starts_with('-') && !is_value(words, j));
                script = rest;
            }
        }
    }
    for i in 0..words.len() {
        let shell = script == Some(i);
        scripts.push(Script { pointer: format!("{pointer}/{i}"), text: text(i), pipefail, shell });
    }
}

/// Whether a word is the value of `-o` before it.
fn is_value(words: &[Json], i: usize) -> bool {
    let before = words.get(i.wrapping_sub(1)).and_then(Json::as_str).unwrap_or_default();
    before.starts_with('-') && before.ends_with('o')
}

/// What a script puts out with `kando output`, or by printing the line itself.
pub(super) fn outputs(script: &Script<'_>) -> Vec<PutOut> {
    let mut found = Vec::new();
    if !script.shell {
        return found;
    }
    let masked = words::masked(script.text);
    if let Some(at) = masked.find(cistern_api::wire::MARKER) {
        found.push(PutOut { key: None, offset_bytes: at });
    }
    for command in words::pipelines(&masked).iter().flat_map(|pipeline| &pipeline.commands) {
        let words = &command.words;
        let plain = |word: &Word| !word.text.contains(['$', '`', TEMPLATE]);
        for (i, pair) in words.windows(2).enumerate() {
            if !is_kando(&pair[0]) || pair[1].text != "output" {
                continue;
            }
            let key = words[i + 2..].iter().find(|word| !word.text.starts_with('-'));
            found.extend(key.map(|word| PutOut {
                key: plain(word).then(|| word.text.clone()),
                offset_bytes: word.offset_bytes,
            }));
        }
        if kando(command, "push").is_some() {
            // Only where the location is a repository; so nobody has to read it.
            let named = |word: &&Word| ["--output-name", "-o"].contains(&word.text.as_str());
            let value = words.iter().position(|word| named(&word)).and_then(|i| words.get(i + 1));
            found.extend(value.map(|_| PutOut { key: None, offset_bytes: 0 }));
        }
    }
    found
}

/// Runs a script or program that comes with the image and may print outputs nobody sees here.
pub(super) fn runs_a_script(script: &Script<'_>) -> bool {
    script.text.contains(".sh") || script.text.contains(".py")
}

fn sets_pipefail(command: &Command) -> bool {
    command.words.first().is_some_and(|word| word.text == "set")
        && command.words.iter().any(|word| word.text == "pipefail")
}

fn is_kando(word: &Word) -> bool {
    word.text == "kando" || word.text.ends_with("/kando")
}

/// Where a command runs `kando location <verb>`.
fn kando<'c>(command: &'c Command, verb: &str) -> Option<&'c Word> {
    let mut words = command.words.iter();
    let word = words.find(|word| is_kando(word))?;
    let rest: Vec<&str> =
        words.map(|word| word.text.as_str()).filter(|word| !word.starts_with('-')).collect();
    (rest.first() == Some(&"location") && rest.get(1) == Some(&verb)).then_some(word)
}

fn pipe(sheet: &mut Sheet<'_>, script: &Script<'_>, pipeline: &Pipeline, pipefail: bool) {
    let commands = &pipeline.commands;
    if commands.len() < 2 {
        return;
    }
    let moves = commands.iter().find_map(|command| kando(command, "push").or_else(|| kando(command, "pull")));
    if let Some(word) = moves.filter(|_| !pipefail) {
        let message = "a failure of any other part of this pipe goes unnoticed; start the script with \
                       `set -o pipefail`, or the shell with `-o pipefail`";
        sheet.inside(PIPEFAIL, &script.pointer, word.offset_bytes, message);
    }
    let Some(at) = commands.iter().position(|command| kando(command, "push").is_some()) else { return };
    for command in &commands[..at] {
        if let Some((word, how)) = compresses(command, &commands[at - 1]) {
            let message = format!(
                "{how} in front of kando: what is compressed cannot be deduplicated, and kando compresses by itself"
            );
            sheet.inside(COMPRESSED, &script.pointer, word.offset_bytes, message);
        }
    }
}

/// The word that makes a command compress what goes on to kando.
fn compresses<'c>(command: &'c Command, last: &Command) -> Option<(&'c Word, String)> {
    let (at, program) = command.program()?;
    let name = program.text.rsplit('/').next().unwrap_or_default();
    let options = || command.words[at + 1..].iter().filter(|word| word.text.starts_with('-'));
    let decompresses = options().any(|word| word.text == "--decompress" || short(word, 'd'));
    if COMPRESSORS.contains(&name) && std::ptr::eq(command, last) && !decompresses {
        return Some((program, format!("`{name}`")));
    }
    if name == "tar" {
        let first = command.words.get(at + 1);
        let bundled =
            first.filter(|word| !word.text.starts_with("--") && word.text.contains(['z', 'j', 'J']));
        let long =
            options().find(|word| ["--gzip", "--bzip2", "--xz", "--zstd"].contains(&word.text.as_str()));
        return bundled.or(long).map(|word| (word, "a compressed tar".to_owned()));
    }
    let gzip = options().find(|word| word.text == "--gzip")?;
    Some((gzip, format!("`{name} --gzip`")))
}

fn short(word: &Word, letter: char) -> bool {
    !word.text.starts_with("--") && word.text.contains(letter)
}

/// Where a script's templates read a value of a Secret.
fn secret_reads(text: &str) -> Vec<usize> {
    if !text.contains("{{") {
        return Vec::new();
    }
    let Ok(template) = Template::parse(TEMPLATE_NAME, text, functions()) else { return Vec::new() };
    let field = |step: Option<&ReadStep>, name: &str| matches!(step, Some(ReadStep::Field(f) | ReadStep::Key(f)) if f == name);
    let secret = |path: &[ReadStep]| match path.first() {
        Some(ReadStep::Field(root)) if root == "Secrets" => field(path.get(2), "Data"),
        Some(ReadStep::Field(root)) if root == "Phases" => {
            field(path.get(2), "Secrets") && field(path.get(4), "Data")
        }
        Some(ReadStep::Field(root)) if root == "Profile" => field(path.get(1), "Credential"),
        _ => false,
    };
    template.reads().into_iter().filter(|read| secret(&read.path)).map(|read| read.offset_bytes).collect()
}

/// Arguments of a program in a script.
fn arguments(sheet: &mut Sheet<'_>, script: &Script<'_>, command: &Command, secrets: &[usize]) {
    let Some((at, program)) = command.program() else { return };
    if BUILTINS.contains(&program.text.as_str()) {
        return;
    }
    let words = &command.words[at + 1..];
    for (i, word) in words.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| words.get(i));
        if reads_secret(word, secrets) || (word.text.contains(TEMPLATE) && secret_option(word, before)) {
            let message = format!(
                "a secret among the arguments of {} can be read by every process of the machine; hand it over in \
                 the environment or in a file",
                program.text.replace(TEMPLATE, "…")
            );
            sheet.inside(SECRET_ARGUMENT, &script.pointer, word.offset_bytes, message);
        }
    }
}

/// A word of a command that runs without a shell.
fn argument(sheet: &mut Sheet<'_>, script: &Script<'_>, masked: &str, secrets: &[usize]) {
    let word = Word { text: masked.to_owned(), offset_bytes: 0, end_bytes: masked.len() };
    if !secrets.is_empty() || (masked.contains(TEMPLATE) && secret_option(&word, None)) {
        let message = "a secret among the arguments can be read by every process of the machine; hand it over in \
                       the environment or in a file";
        sheet.inside(SECRET_ARGUMENT, &script.pointer, 0, message);
    }
}

fn reads_secret(word: &Word, secrets: &[usize]) -> bool {
    secrets.iter().any(|at| (word.offset_bytes..word.end_bytes).contains(at))
}

/// `--password=…`, `--password …`, `-p…`.
fn secret_option(word: &Word, before: Option<&Word>) -> bool {
    let speaks = |option: &str| {
        let option = option.to_lowercase();
        option.starts_with("--") && SECRET_WORDS.iter().any(|secret| option.ends_with(secret))
    };
    let name = word.text.split('=').next().unwrap_or_default();
    let glued = word.text.starts_with(&format!("-p{TEMPLATE}")) || (word.text.contains('=') && speaks(name));
    glued || before.is_some_and(|before| speaks(&before.text) && !before.text.contains('='))
}
