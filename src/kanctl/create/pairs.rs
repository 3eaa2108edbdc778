//! Flags of the form `key=value,key=value`: options, labels, annotations, references.

use crate::failure::Failure;
use cistern_api::ObjectReference;
use std::collections::BTreeMap;

/// Longest name of a label or annotation, and longest value of a label; source: Kubernetes, "Labels and
/// Selectors", syntax and character set.
const NAME_BYTES_MAX: usize = 63;
/// Longest prefix of a label's or annotation's name.
const PREFIX_BYTES_MAX: usize = 253;

/// Options. A value may hold commas inside quotes, as in CSV.
pub fn options(flags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut options = BTreeMap::new();
    for flag in flags {
        for pair in csv_fields(flag).map_err(|e| wrong("--options", flag, &e))? {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => options.insert(key.to_owned(), value.to_owned()),
                _ => return Err(wrong("--options", &pair, "expected key=value")),
            };
        }
    }
    Ok(options)
}

/// The fields of one line of CSV.
fn csv_fields(line: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let mut records = reader.records();
    match (records.next(), records.next()) {
        (None, _) => Ok(Vec::new()),
        (Some(Ok(record)), None) => Ok(record.iter().map(str::to_owned).collect()),
        (Some(Err(e)), _) => Err(e.to_string()),
        (Some(Ok(_)), Some(_)) => Err("expected one line".to_owned()),
    }
}

/// Labels: names and values as a cluster takes them.
pub fn labels(flag: &str, text: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let pairs = annotations(flag, text)?;
    for (key, value) in &pairs {
        if !value.is_empty() && !is_name(value) {
            let expected = format!(
                "the value of `{key}` must have at most 63 letters, digits, `-`, `_`, `.`, and begin and end with a letter or digit"
            );
            return Err(wrong(flag, value, &expected));
        }
    }
    Ok(pairs)
}

/// Annotations: names as a cluster takes them, values as they come.
pub fn annotations(flag: &str, text: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for pair in text.unwrap_or_default().split(',').filter(|p| !p.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(wrong(flag, pair, "expected key=value"));
        };
        if !is_qualified(key) {
            let expected =
                "the key must be [prefix/]name: at most 63 letters, digits, `-`, `_`, `.` after the prefix";
            return Err(wrong(flag, key, expected));
        }
        pairs.insert(key.to_owned(), value.to_owned());
    }
    Ok(pairs)
}

/// References `ref=namespace/name` to config maps or secrets.
pub fn references(flag: &str, pairs: &[String]) -> Result<BTreeMap<String, ObjectReference>, Failure> {
    let mut references = BTreeMap::new();
    for pair in pairs {
        let expected = "expected reference=namespace/name";
        let (key, target) = pair.split_once('=').ok_or_else(|| wrong(flag, pair, expected))?;
        match target.split('/').collect::<Vec<_>>()[..] {
            [namespace, name] if !key.is_empty() && !namespace.is_empty() && !name.is_empty() => {
                references.insert(key.to_owned(), ObjectReference::named(namespace, name));
            }
            _ => return Err(wrong(flag, pair, expected)),
        }
    }
    Ok(references)
}

/// A profile `[namespace/]name`; without namespace it is in this one.
pub fn profile(text: &str, namespace: &str) -> Result<ObjectReference, Failure> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok(ObjectReference::named(namespace, name)),
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectReference::named(namespace, name))
        }
        _ => Err(wrong("--profile", text, "expected [namespace/]name")),
    }
}

/// A flag's value that cannot be taken.
pub fn wrong(flag: &str, value: &str, problem: &str) -> Failure {
    Failure::usage(format!("cannot take {flag} {value}: {problem}"))
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => {
            let parts = || prefix.split('.').all(|part| is_name(part) && !part.contains('_'));
            prefix.len() <= PREFIX_BYTES_MAX && parts() && prefix == prefix.to_lowercase() && is_name(name)
        }
    }
}

fn is_name(text: &str) -> bool {
    let ends = text.bytes().next().zip(text.bytes().last());
    text.len() <= NAME_BYTES_MAX
        && ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn options_split_at_commas_and_keep_those_in_quotes() {
        let read = options(&owned(&["a=1,b=2", "\"c=x,y\",d=", "e=--socket=/s"])).expect("well written");
        assert_eq!(read, pairs(&[("a", "1"), ("b", "2"), ("c", "x,y"), ("d", ""), ("e", "--socket=/s")]));
        for flag in ["a", "=b", "a=1\nb=2"] {
            assert!(options(&owned(&[flag])).is_err(), "{flag:?}");
        }
    }

    #[test]
    fn labels_follow_kubernetes() {
        let read = labels("--labels", Some("app=db,example.com/tier=a_b.c,empty=")).expect("well written");
        assert_eq!(read, pairs(&[("app", "db"), ("empty", ""), ("example.com/tier", "a_b.c")]));
        let long = format!("a={}", "x".repeat(64));
        for flag in ["a", "a=-b", "-a=b", "a/b/c=d", "/a=b", "A.B/c=d", "a=b c", "ü=b", long.as_str()] {
            assert!(labels("--labels", Some(flag)).is_err(), "{flag:?}");
        }
        assert_eq!(
            annotations("--podannotations", Some("a=any thing/at all")).expect("well written").len(),
            1
        );
    }

    #[test]
    fn references_name_namespace_and_name() {
        let read = references("--secrets", &owned(&["aws=kanister/aws-creds"])).expect("well written");
        assert_eq!(read["aws"], ObjectReference::named("kanister", "aws-creds"));
        for pair in ["aws", "aws=creds", "aws=a/b/c", "=a/b", "aws=/b", "aws=a/"] {
            assert!(references("--secrets", &owned(&[pair])).is_err(), "{pair}");
        }
    }

    #[test]
    fn a_profile_without_namespace_is_in_that_of_the_call() {
        assert_eq!(profile("p", "kanister").expect("well written"), ObjectReference::named("kanister", "p"));
        assert_eq!(profile("x/p", "kanister").expect("well written"), ObjectReference::named("x", "p"));
        for text in ["", "/p", "x/", "a/b/c"] {
            assert!(profile(text, "kanister").is_err(), "{text}");
        }
    }
}
