//! Blueprints, ActionSets, profiles and phase outputs made of anything.

use cistern_action::check::check;
use cistern_api::wire::{OutputParser, Piece, ProfileArgument, ProfileJson, RepositoryJson, SnapshotJson};
use cistern_api::{ActionSet, Blueprint, Profile, yaml};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// YAML as values and as Kanister's resources: what is read and written again reads the same.
pub fn yaml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(e) => return within(text, e.place),
    };
    for document in &documents {
        within(text, document.place(""));
        let printed = yaml::print(document.value()).expect("JSON can be written as YAML");
        let again = yaml::decode::<serde_json::Value>(&printed);
        assert_eq!(again.as_ref(), Ok(document.value()), "written as:\n{printed}");
        resource::<ActionSet>(text, document);
        resource::<Blueprint>(text, document);
        resource::<Profile>(text, document);
    }
}

fn resource<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &str, document: &yaml::Document) {
    match document.decode::<T>() {
        Err(e) => within(text, e.place),
        Ok(read) => {
            let printed = yaml::print(&read).expect("what was read can be written");
            assert_eq!(yaml::decode::<T>(&printed).as_ref(), Ok(&read), "written as:\n{printed}");
        }
    }
}

/// A complaint points into the text, or to the line behind it.
fn within(text: &str, place: Option<yaml::Place>) {
    let Some(place) = place else { return };
    let lines =
        text.chars().filter(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count();
    assert!((1..=lines + 2).contains(&place.line) && place.column >= 1, "{place} of {lines} lines");
}

/// The linter: the same complaints again, each within the text.
pub fn lint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let complaints = check(text);
    assert_eq!(check(text), complaints);
    for complaint in complaints {
        within(text, complaint.place);
        assert!(!complaint.message.is_empty());
    }
}

/// The JSON that `kando` is given: a profile, what stands beside it, a snapshot's reference.
pub fn profile(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(read) = ProfileJson::parse(text) {
        assert_eq!(ProfileJson::parse(&read.to_json()), Ok(read));
    }
    if let Ok(read) = SnapshotJson::parse(text) {
        assert_eq!(SnapshotJson::parse(&read.to_json()), Ok(read));
    }
    let _ = ProfileArgument::parse(text);
    let _ = RepositoryJson::beside(text);
}

/// A pod's log: the same outputs and the same text, however it is cut into pieces.
pub fn output(input: &[u8]) {
    let Some((seed, log)) = input.split_first() else { return };
    let whole = read(std::iter::once(log));
    let step = usize::from(*seed) % 31 + 1;
    assert_eq!(read(log.chunks(step)), whole, "cut every {step} bytes");
}

/// Outputs and text in order; text in one, because a long line comes in pieces. `None` where the log is refused.
fn read<'l>(chunks: impl Iterator<Item = &'l [u8]>) -> Option<Vec<String>> {
    let mut parser = OutputParser::new();
    let mut found = Vec::new();
    for chunk in chunks {
        found.extend(parser.push(chunk).ok()?);
    }
    found.extend(parser.finish().ok()?);
    let shown = found.into_iter().map(|piece| match piece {
        Piece::Text(text) => format!("text {text}"),
        Piece::Output(output) => format!("output {output:?}"),
    });
    Some(shown.collect())
}
