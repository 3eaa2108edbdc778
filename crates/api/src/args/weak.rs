//! A deserializer over JSON values that converts weakly instead of refusing.

use crate::Object;
use crate::wire::kind_of;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Number, Value};
use std::fmt;

/// A value that takes the type it is asked for.
#[derive(Clone, Copy)]
pub enum Weak<'a> {
    Value(&'a Value),
    Object(&'a Object),
}

/// What is wrong, without the value itself.
#[derive(Debug)]
pub struct WeakError(pub String);

impl fmt::Display for WeakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WeakError {}

impl serde::de::Error for WeakError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    // Serde's own wording would show the value.
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self(format!("expected {expected}, found {}", kind_of_unexpected(&found)))
    }
}

fn kind_of_unexpected(found: &serde::de::Unexpected<'_>) -> &'static str {
    use serde::de::Unexpected as U;
    match found {
        U::Bool(_) => "a boolean",
        U::Unsigned(_) | U::Signed(_) | U::Float(_) => "a number",
        U::Char(_) | U::Str(_) | U::Bytes(_) => "a string",
        U::Unit | U::Option => "null",
        U::Seq => "a list",
        U::Map => "an object",
        _ => "something else",
    }
}

impl<'a> Weak<'a> {
    fn wrong(self, expected: &str) -> WeakError {
        let found = match self {
            Self::Value(value) => kind_of(value),
            Self::Object(_) => "an object",
        };
        WeakError(format!("expected {expected}, found {found}"))
    }

    /// The items of a list, or the one value that stands for a list of one.
    fn items(self) -> Vec<Weak<'a>> {
        match self {
            Self::Value(Value::Array(items)) => items.iter().map(Weak::Value).collect(),
            Self::Value(Value::Null) => Vec::new(),
            Self::Value(Value::Object(object)) if object.is_empty() => Vec::new(),
            single => vec![single],
        }
    }

    /// The fields of a mapping, or of a list of them laid over one another.
    fn fields(self) -> Result<Vec<(&'a str, Weak<'a>)>, WeakError> {
        let mut fields: Vec<(&str, Weak<'_>)> = Vec::new();
        let objects: Vec<&Object> = match self {
            Self::Object(object) | Self::Value(Value::Object(object)) => vec![object],
            Self::Value(Value::Null) => Vec::new(),
            Self::Value(Value::Array(items)) => items
                .iter()
                .map(|i| i.as_object().ok_or_else(|| self.wrong("a mapping")))
                .collect::<Result<_, _>>()?,
            _ => return Err(self.wrong("a mapping")),
        };
        for (name, value) in objects.into_iter().flatten() {
            match fields.iter_mut().find(|(have, _)| *have == name.as_str()) {
                Some(field) => field.1 = Weak::Value(value),
                None => fields.push((name, Weak::Value(value))),
            }
        }
        Ok(fields)
    }

    fn text(self) -> Result<String, WeakError> {
        match self {
            Self::Value(Value::String(text)) => Ok(text.clone()),
            Self::Value(Value::Null) => Ok(String::new()),
            Self::Value(Value::Bool(flag)) => Ok(u8::from(*flag).to_string()),
            // Rust and Go both write the shortest decimal that reads back as the same number.
            Self::Value(Value::Number(number)) => Ok(decimal(number)),
            _ => Err(self.wrong("a text")),
        }
    }

    fn flag(self) -> Result<bool, WeakError> {
        let no_boolean = || WeakError("expected true or false, found another text".to_owned());
        match self {
            Self::Value(Value::Bool(flag)) => Ok(*flag),
            Self::Value(Value::Null) => Ok(false),
            Self::Value(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Self::Value(Value::String(text)) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
                "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
                _ => Err(no_boolean()),
            },
            _ => Err(self.wrong("true or false")),
        }
    }

    fn whole(self) -> Result<i128, WeakError> {
        let expected = "a whole number";
        match self {
            Self::Value(Value::Number(number)) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(n), _, _) => Ok(n.into()),
                (_, Some(n), _) => Ok(n.into()),
                #[expect(clippy::cast_possible_truncation, reason = "a fraction is cut off, as Go does")]
                (_, _, Some(n)) if n.abs() < 1e18 => Ok(n as i128),
                _ => Err(WeakError(format!("expected {expected}, found one that is too large"))),
            },
            Self::Value(Value::Bool(flag)) => Ok((*flag).into()),
            Self::Value(Value::Null) => Ok(0),
            Self::Value(Value::String(text)) => {
                go_integer(text).ok_or_else(|| WeakError(format!("expected {expected}, found another text")))
            }
            _ => Err(self.wrong(expected)),
        }
    }

    fn float(self) -> Result<f64, WeakError> {
        match self {
            Self::Value(Value::Number(number)) => number.as_f64().ok_or_else(|| self.wrong("a number")),
            Self::Value(Value::Bool(flag)) => Ok(u8::from(*flag).into()),
            Self::Value(Value::Null) => Ok(0.0),
            Self::Value(Value::String(text)) if text.is_empty() => Ok(0.0),
            Self::Value(Value::String(text)) => {
                let digits =
                    if underscores_divide_digits(text) { text.replace('_', "") } else { text.clone() };
                digits.parse().map_err(|_| WeakError("expected a number, found another text".to_owned()))
            }
            _ => Err(self.wrong("a number")),
        }
    }
}

fn decimal(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => format!("{float}"),
        _ => number.to_string(),
    }
}

/// Go's `ParseInt` with base 0: the prefix tells the base, `_` may stand between digits, empty is 0.
fn go_integer(text: &str) -> Option<i128> {
    if text.is_empty() {
        return Some(0);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let (radix, digits) = match unsigned.get(..2) {
        Some("0x") => (16, &unsigned[2..]),
        Some("0o") => (8, &unsigned[2..]),
        Some("0b") => (2, &unsigned[2..]),
        _ if unsigned.len() > 1 && unsigned.starts_with('0') => (8, &unsigned[1..]),
        _ => (10, unsigned.as_str()),
    };
    let misplaced =
        digits.contains("__") || digits.ends_with('_') || (radix == 10 && digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if misplaced || !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(&digits, radix).ok()?);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Whether every `_` stands between two digits.
fn underscores_divide_digits(digits: &str) -> bool {
    digits.split('_').all(|part| !part.is_empty())
        && digits.match_indices('_').all(|(at, _)| {
            let bytes = digits.as_bytes();
            bytes[at - 1].is_ascii_hexdigit() && bytes[at + 1].is_ascii_hexdigit()
        })
}

impl<'a> IntoDeserializer<'a, WeakError> for Weak<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Whole numbers of one type: converted, then checked against its range.
macro_rules! whole {
    ($($method:ident $visit:ident $type:ty)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
            let number = <$type>::try_from(self.whole()?)
                .map_err(|_| WeakError(format!("expected a number from {} to {}", <$type>::MIN, <$type>::MAX)))?;
            visitor.$visit(number)
        }
    )* };
}

impl<'de> Deserializer<'de> for Weak<'de> {
    type Error = WeakError;

    whole! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        // Nothing is asked for, so nothing is converted.
        match self {
            Self::Object(_) | Self::Value(Value::Object(_)) => self.deserialize_map(visitor),
            Self::Value(Value::Array(_)) => self.deserialize_seq(visitor),
            Self::Value(value) => value.deserialize_any(visitor).map_err(WeakError::custom),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_bool(self.flag()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        match self {
            Self::Value(Value::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_seq(SeqDeserializer::new(self.items().into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_map(MapDeserializer::new(self.fields()?.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WeakError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, WeakError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WeakError> {
        visitor.visit_enum(self.text()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WeakError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}
