//! Events of the YAML parser to JSON values with their places; anchors, merges and limits.

use super::scalar::{self, Scalar};
use super::{DEPTH_MAX, Document, NODES_MAX, Place, Spot, TEXT_BYTES_MAX, YamlError, escape};
use crate::Object;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// All documents of a text.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(problem(None, format!("the text is longer than {TEXT_BYTES_MAX} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut composer = Composer { parser: Parser::new_from_str(text), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        match composer.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(_), _) => {
                let document = composer.document()?;
                if !document.value.is_null() {
                    documents.push(document);
                }
            }
            _ => {}
        }
    }
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Values of all documents so far, those that aliases stand for counted anew.
    nodes: usize,
}

/// What is built up while a document is read.
#[derive(Default)]
struct Building {
    places: BTreeMap<String, Spot>,
    /// Values by anchor, each with the number of values in it.
    anchors: HashMap<usize, (Value, usize)>,
}

/// Where a node stands, and how it is reached.
struct Site<'a> {
    pointer: &'a str,
    key: Option<Place>,
    depth: usize,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => Err(problem(Some(place(e.marker())), format!("not YAML: {}", e.info()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Document, YamlError> {
        let mut building = Building::default();
        let first = self.next()?;
        let value = self.node(first, &Site { pointer: "", key: None, depth: 0 }, &mut building)?;
        Ok(Document { value, places: building.places })
    }

    fn node(
        &mut self,
        (event, span): (Event<'t>, Span),
        site: &Site<'_>,
        b: &mut Building,
    ) -> Result<Value, YamlError> {
        let here = place(&span.start);
        let before = self.nodes;
        self.count(1, here)?;
        if site.depth > DEPTH_MAX {
            return Err(problem(Some(here), format!("nested deeper than {DEPTH_MAX} levels")));
        }
        b.places.insert(site.pointer.to_owned(), Spot { key: site.key, value: here });
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar_value(&text, style, tag.as_deref(), here)?, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(site, b)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(site, b)?, anchor),
            Event::Alias(anchor) => {
                let Some((value, nodes)) = b.anchors.get(&anchor).cloned() else {
                    return Err(problem(Some(here), "an alias stands inside of what it names".to_owned()));
                };
                self.count(nodes, here)?;
                return Ok(value);
            }
            other => return Err(problem(Some(here), format!("not YAML: {other:?} where a value belongs"))),
        };
        if anchor != 0 {
            b.anchors.insert(anchor, (value.clone(), self.nodes - before));
        }
        Ok(value)
    }

    fn sequence(&mut self, site: &Site<'_>, b: &mut Building) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let pointer = format!("{}/{}", site.pointer, items.len());
            let site = Site { pointer: &pointer, key: None, depth: site.depth + 1 };
            items.push(self.node((event, span), &site, b)?);
        }
    }

    fn mapping(&mut self, site: &Site<'_>, b: &mut Building) -> Result<Value, YamlError> {
        let mut object = Object::new();
        let mut own = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(object));
            }
            let here = place(&span.start);
            let key = key(event, here)?;
            let next = self.next()?;
            let depth = site.depth + 1;
            match key {
                Key::Merge => {
                    // Its places are those of the anchor, not of this mapping.
                    let mut aside =
                        Building { anchors: std::mem::take(&mut b.anchors), ..Building::default() };
                    let value = self.node(next, &Site { pointer: "", key: None, depth }, &mut aside)?;
                    b.anchors = aside.anchors;
                    merge(&mut object, value, here)?;
                }
                Key::Name(name) if !own.insert(name.clone()) => {
                    return Err(problem(Some(here), format!("the key `{name}` stands here a second time")));
                }
                Key::Name(name) => {
                    let pointer = format!("{}/{}", site.pointer, escape(&name));
                    let value = self.node(next, &Site { pointer: &pointer, key: Some(here), depth }, b)?;
                    object.insert(name, value);
                }
            }
        }
    }

    fn count(&mut self, nodes: usize, here: Place) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(problem(
                Some(here),
                format!("more than {NODES_MAX} values, aliases counted each time"),
            ));
        }
        Ok(())
    }
}

enum Key {
    Name(String),
    /// `<<`: the fields of the value belong here, over those before it and under those after it.
    Merge,
}

fn key(event: Event<'_>, here: Place) -> Result<Key, YamlError> {
    let Event::Scalar(text, style, _, tag) = event else {
        return Err(problem(Some(here), "a key must be a text, a number or a boolean".to_owned()));
    };
    if style == ScalarStyle::Plain && tag.is_none() && text == "<<" {
        return Ok(Key::Merge);
    }
    match scalar_value(&text, style, tag.as_deref(), here)? {
        Value::String(name) => Ok(Key::Name(name)),
        Value::Null => Err(problem(Some(here), "a key must not be null".to_owned())),
        // Numbers and booleans become their JSON text, as JSON knows no other keys.
        other => Ok(Key::Name(other.to_string())),
    }
}

fn merge(object: &mut Object, value: Value, here: Place) -> Result<(), YamlError> {
    match value {
        Value::Object(fields) => {
            object.extend(fields);
            Ok(())
        }
        // Of a list the first wins.
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.into_iter().rev().try_for_each(|item| merge(object, item, here))
        }
        _ => Err(problem(Some(here), "`<<` takes a mapping or a list of mappings".to_owned())),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>, here: Place) -> Result<Value, YamlError> {
    let written = Scalar { text, plain: style == ScalarStyle::Plain, tag: core_tag(tag) };
    scalar::resolve(&written).map_err(|p| problem(Some(here), p))
}

/// The name of a tag of YAML itself; any other tag makes a text of what it stands on.
fn core_tag(tag: Option<&Tag>) -> Option<Cow<'_, str>> {
    tag.map(
        |tag| {
            if tag.is_yaml_core_schema() { Cow::Borrowed(tag.suffix.as_str()) } else { Cow::Borrowed("str") }
        },
    )
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn problem(place: Option<Place>, problem: String) -> YamlError {
    YamlError { place, path: String::new(), problem }
}
