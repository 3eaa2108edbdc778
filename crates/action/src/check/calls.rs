//! Functions and their arguments, against the catalog.

use serde_json::Value as Json;

use super::shape::kind_of;
use super::{
    ARGUMENT_TYPE, MISSING_ARGUMENT, PhaseRef, REMOVED_FUNCTION, Sheet, UNKNOWN_ARGUMENT, UNKNOWN_FUNCTION,
    escaped,
};
use crate::catalog::{self, Argument, Shape, nearest};

/// The function exists and is given what it takes.
pub(super) fn check(sheet: &mut Sheet<'_>, phase: &PhaseRef<'_>) {
    let at = format!("{}/func", phase.pointer);
    if phase.func.is_empty() {
        return;
    }
    if phase.func.contains("{{") {
        return sheet.value(UNKNOWN_FUNCTION, &at, "the name of a function is not rendered: write it out");
    }
    let Some(function) = catalog::function(phase.func) else {
        let rule = if catalog::removed(phase.func).is_some() { REMOVED_FUNCTION } else { UNKNOWN_FUNCTION };
        return sheet.value(rule, &at, crate::machine::unknown_function(phase.func));
    };
    let empty = cistern_api::Object::new();
    let args = match &phase.json["args"] {
        Json::Object(args) => args,
        Json::Null => &empty,
        _ => return,
    };
    let mut templated = false;
    for (key, value) in args {
        let pointer = format!("{}/args/{}", phase.pointer, escaped(key));
        if key.contains("{{") {
            templated = true;
            continue;
        }
        match function.argument(key) {
            Some(argument) => shape(sheet, &pointer, argument, value),
            None => sheet.key(UNKNOWN_ARGUMENT, &pointer, unknown(function, key)),
        }
    }
    for argument in function.arguments.iter().filter(|a| a.required && !templated) {
        if args.get(argument.name).is_none_or(Json::is_null) {
            let message = format!(
                "{} needs the argument `{}`: {}",
                function.name,
                argument.name,
                argument.shape.name()
            );
            sheet.value(MISSING_ARGUMENT, &phase.pointer, message);
        }
    }
}

fn unknown(function: &catalog::Function, key: &str) -> String {
    let hint = match nearest(key, function.argument_names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it takes {}", function.argument_names().collect::<Vec<_>>().join(", ")),
    };
    format!("{} takes no argument `{key}`; {hint}", function.name)
}

/// What can never become the shape the argument needs, whatever the templates in it come to.
fn shape(sheet: &mut Sheet<'_>, pointer: &str, argument: Argument, value: &Json) {
    let fits = match (argument.shape, value) {
        (_, Json::Null) | (Shape::Texts, Json::String(_) | Json::Bool(_) | Json::Number(_)) => true,
        (Shape::Text, value) => !value.is_array() && !value.is_object(),
        (Shape::OneOf(words), Json::String(text)) => {
            text.is_empty() || text.contains("{{") || words.contains(&text.as_str())
        }
        (Shape::OneOf(_), _) => false,
        (Shape::Number, Json::String(text)) => {
            text.contains("{{") || text.trim().is_empty() || text.trim().parse::<i64>().is_ok()
        }
        (Shape::Number, value) => value.is_i64() || value.is_boolean(),
        (Shape::Flag, Json::String(text)) => text.contains("{{") || FLAGS.contains(&text.as_str()),
        (Shape::Flag, value) => value.is_boolean() || value.is_number(),
        (Shape::Texts, Json::Array(items)) => items.iter().all(|item| !item.is_array() && !item.is_object()),
        (Shape::Texts, _) => false,
        (Shape::TextMap | Shape::Object, Json::Object(_)) => true,
        // A text that a template makes of JSON, as `podOverride: '{{ … | toJson }}'`, is no map.
        (Shape::TextMap | Shape::Object, _) => false,
    };
    if !fits {
        let found = match value {
            Json::String(text) => format!("the string {text:?}"),
            Json::Array(_) if argument.shape == Shape::Texts => "a list with lists or maps in it".to_owned(),
            other => kind_of(other).to_owned(),
        };
        let wanted = match argument.shape {
            Shape::OneOf(words) => words.join(" or "),
            shape => shape.name().to_owned(),
        };
        let message = format!("`{}` must be {wanted}, found {found}", argument.name);
        sheet.value(ARGUMENT_TYPE, pointer, message);
    }
}

/// What Kanister's decoder takes for a boolean.
const FLAGS: [&str; 13] =
    ["", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
