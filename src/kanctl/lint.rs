//! `kanctl lint`: every complaint about blueprints, for people, programs and code hosts.

use super::input::Input;
use crate::failure::Failure;
use crate::show;
use cistern_action::check::{Complaint, RULES, Severity, check};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// Where SARIF 2.1.0 is defined (OASIS, errata 01).
const SARIF_SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Tell everything that is wrong with blueprints
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files with blueprints; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "filename")]
    files: Vec<PathBuf>,
    /// The same, as kubectl has it
    #[arg(long, short, value_name = "FILE", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// How to print: lines for people, JSON, or SARIF for code hosts
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", conflicts_with = "json")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'f> {
    complaints: &'f [Found],
    errors: usize,
    warnings: usize,
}

/// A complaint in a file, as it is printed.
#[derive(Serialize)]
struct Found {
    file: String,
    line: usize,
    column: usize,
    severity: &'static str,
    rule: &'static str,
    path: String,
    message: String,
}

impl Found {
    fn new(file: &str, complaint: Complaint) -> Found {
        Found {
            file: file.to_owned(),
            line: complaint.place.map_or(1, |place| place.line),
            column: complaint.place.map_or(1, |place| place.column),
            severity: complaint.rule.severity.name(),
            rule: complaint.rule.id,
            path: complaint.path,
            message: complaint.message,
        }
    }

    fn line(&self) -> String {
        let Found { file, line, column, severity, rule, message, .. } = self;
        format!("{file}:{line}:{column}: {severity}: {} [{rule}]", show::harmless(message))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut found = Vec::new();
    for path in args.filename.iter().chain(&args.files) {
        let input = Input::read(path)?;
        found.extend(check(&input.text).into_iter().map(|complaint| Found::new(&input.name, complaint)));
    }
    let count = |severity: Severity| found.iter().filter(|f| f.severity == severity.name()).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match if args.json { Format::Json } else { args.format } {
        Format::Text => {
            for complaint in &found {
                show::line(&complaint.line())?;
            }
        }
        Format::Json => {
            show::json(&Report { complaints: &found, errors, warnings })?;
        }
        Format::Sarif => show::line(&sarif(&found).to_string())?,
    }
    if errors > 0 || (args.strict && warnings > 0) {
        return Err(Failure::other(format!(
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        )));
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A log of SARIF 2.1.0 with one run.
#[expect(
    clippy::disallowed_methods,
    reason = "the macro unwraps JSON of texts and numbers, which cannot fail"
)]
fn sarif(found: &[Found]) -> Json {
    let rules: Vec<Json> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.summary },
                "defaultConfiguration": { "level": rule.severity.name() },
            })
        })
        .collect();
    let results: Vec<Json> = found
        .iter()
        .map(|f| {
            json!({
                "ruleId": f.rule,
                "ruleIndex": RULES.iter().position(|rule| rule.id == f.rule),
                "level": f.severity,
                "message": { "text": f.message },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": { "uri": f.file },
                        "region": { "startLine": f.line, "startColumn": f.column },
                    },
                    "logicalLocations": [{ "fullyQualifiedName": f.path }],
                }],
            })
        })
        .collect();
    json!({
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kanctl lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}
