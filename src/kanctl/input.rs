//! Files that commands of kanctl read: bounded, `-` for standard input, errors with file, line and column.

use crate::failure::Failure;
use cistern_api::yaml::{self, Document};
use serde::de::DeserializeOwned;
use std::io::Read as _;
use std::path::Path;

/// The name that means standard input.
const STDIN: &str = "-";

/// A text that was read, and the name to call it by in messages.
pub struct Input {
    /// Name of the file, or `standard input`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Input {
    /// Reads a file, or standard input where the path is `-`.
    pub fn read(path: &Path) -> Result<Input, Failure> {
        let stdin = path == Path::new(STDIN);
        let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
        let failed = |e: std::io::Error| Failure::usage(format!("cannot read {name}: {e}"));
        let mut text = String::new();
        let limit = yaml::TEXT_BYTES_MAX as u64 + 1;
        let read = if stdin {
            std::io::stdin().lock().take(limit).read_to_string(&mut text)
        } else {
            std::fs::File::open(path).map_err(failed)?.take(limit).read_to_string(&mut text)
        };
        read.map_err(failed)?;
        Ok(Input { name, text })
    }

    /// The documents of the text.
    pub fn documents(&self) -> Result<Vec<Document>, Failure> {
        yaml::parse(&self.text).map_err(|e| self.wrong(&e))
    }

    /// The one object the text holds.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        yaml::decode(&self.text).map_err(|e| self.wrong(&e))
    }

    /// An error at its place: `file:line:column: what`.
    pub fn wrong(&self, error: &yaml::YamlError) -> Failure {
        let place = error.place.map(|p| format!(":{}:{}", p.line, p.column)).unwrap_or_default();
        let path = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
        Failure::usage(format!("{}{place}: {path}{}", self.name, error.problem))
    }
}
