//! Go's `encoding/json` for values: `toJson` and `toPrettyJson`.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::error::Fail;
use crate::limits::Budget;
use crate::methods;
use crate::number::format_float;
use crate::sprig::semver::Version;
use crate::text;
use crate::time::Time;
use crate::time_format;
use crate::types::{Field, Kind};
use crate::value::{Data, Value};

/// Why there is no JSON.
pub(crate) enum NoJson {
    /// Go's encoder refuses the value; sprig makes an empty text of that.
    Unsupported,
    Limit(Fail),
}

impl From<Fail> for NoJson {
    fn from(fail: Fail) -> NoJson {
        NoJson::Limit(fail)
    }
}

/// `json.Marshal`, or `json.MarshalIndent` with two spaces.
pub(crate) fn encode(value: &Value, pretty: bool, budget: &Budget) -> Result<Vec<u8>, NoJson> {
    let mut encoder = Encoder { out: Vec::new(), pretty, level: 0, depth: 0, budget };
    encoder.value(value)?;
    Ok(encoder.out)
}

/// RFC 3339 with as many fractional digits as needed.
pub(crate) fn rfc3339(t: &Time) -> String {
    let text = time_format::format(t, b"2006-01-02T15:04:05.999999999Z07:00");
    String::from_utf8_lossy(&text).into_owned()
}

struct Encoder<'a> {
    out: Vec<u8>,
    pretty: bool,
    /// Of indentation.
    level: usize,
    /// Of nesting, pointers included.
    depth: usize,
    budget: &'a Budget,
}

type Encoded = Result<(), NoJson>;

impl Encoder<'_> {
    fn write(&mut self, s: impl AsRef<[u8]>) {
        self.out.extend_from_slice(s.as_ref());
    }

    fn value(&mut self, value: &Value) -> Encoded {
        self.budget.step(1)?;
        self.budget.depth(self.depth)?;
        self.budget.room_for(self.out.len())?;
        if let Some(marshal) = value.ty().json_marshaler() {
            self.write(marshal(value));
            return Ok(());
        }
        if matches!(value.data, Data::Struct(_) | Data::Time(_))
            && let Some(t) = methods::time_of(value)
        {
            return self.time(t);
        }
        match &value.data {
            Data::Invalid => self.write("null"),
            Data::Bool(b) => self.write(if *b { "true" } else { "false" }),
            Data::Int(i) => self.write(i.to_string()),
            Data::Uint(u) => self.write(u.to_string()),
            Data::Float(f) => return self.float(*f, if value.kind() == Kind::Float32 { 32 } else { 64 }),
            Data::Str(s) if value.ty().name() == "json.Number" => return self.number(s),
            Data::Str(s) => self.string(s),
            Data::Bytes(None) | Data::List(None) | Data::Map(None) | Data::Pointer(None) => {
                self.write("null")
            }
            Data::Bytes(Some(b)) => {
                let text = base64::engine::general_purpose::STANDARD.encode(b);
                self.write(format!("\"{text}\""));
            }
            Data::List(Some(items)) => {
                let items = std::sync::Arc::clone(items);
                return self.group(b'[', items.iter(), |e, item| e.value(item));
            }
            Data::Map(Some(_)) => return self.map(value),
            Data::Struct(_) => return self.structure(value),
            Data::Pointer(Some(to)) => match Version::from_value(to) {
                Some(version) => self.string(version.text().as_bytes()),
                None => {
                    self.depth += 1;
                    let result = self.value(to);
                    self.depth -= 1;
                    return result;
                }
            },
            Data::Func(_) | Data::Complex(..) | Data::Time(_) => return Err(NoJson::Unsupported),
        }
        Ok(())
    }

    /// `[…]` or `{…}`; empty ones stay on one line.
    fn group<T>(
        &mut self,
        open: u8,
        items: impl Iterator<Item = T>,
        mut each: impl FnMut(&mut Self, T) -> Encoded,
    ) -> Encoded {
        self.out.push(open);
        self.level += 1;
        self.depth += 1;
        let mut any = false;
        for item in items {
            if any {
                self.out.push(b',');
            }
            any = true;
            self.line();
            each(self, item)?;
        }
        self.level -= 1;
        self.depth -= 1;
        if any {
            self.line();
        }
        // '[' and '{' are each two before their partners.
        self.out.push(open + 2);
        Ok(())
    }

    fn line(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + self.level * 2, b' ');
        }
    }

    fn key(&mut self, key: &[u8]) {
        self.string(key);
        self.write(if self.pretty { ": " } else { ":" });
    }

    fn map(&mut self, value: &Value) -> Encoded {
        let key_kind = value.ty().key().map_or(Kind::String, |k| k.kind());
        if key_kind != Kind::String && !key_kind.is_int() && !key_kind.is_uint() {
            return Err(NoJson::Unsupported);
        }
        let mut entries: Vec<(Vec<u8>, Value)> = Vec::new();
        for (key, item) in value.entries() {
            let key = match &key.data {
                Data::Str(s) => s.to_vec(),
                Data::Int(i) => i.to_string().into_bytes(),
                Data::Uint(u) => u.to_string().into_bytes(),
                _ => return Err(NoJson::Unsupported),
            };
            entries.push((key, item));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        self.group(b'{', entries.into_iter(), |e, (key, item)| {
            e.key(&key);
            e.value(&item)
        })
    }

    fn structure(&mut self, value: &Value) -> Encoded {
        let mut fields = Vec::new();
        collect_fields(value, &mut fields);
        let shown = fields.into_iter().filter(|(decl, inner)| !(decl.omit_empty && is_empty(inner)));
        self.group(b'{', shown, |e, (decl, inner)| {
            e.key(decl.json.as_deref().unwrap_or_default().as_bytes());
            e.value(&inner)
        })
    }

    fn time(&mut self, t: &Time) -> Encoded {
        // What RFC 3339 cannot say, Go does not write.
        if !(0..=9999).contains(&t.civil().year) || t.offset_secs().abs() >= 24 * 3600 {
            return Err(NoJson::Unsupported);
        }
        self.write(format!("\"{}\"", rfc3339(t)));
        Ok(())
    }

    fn number(&mut self, s: &[u8]) -> Encoded {
        let text =
            if s.is_empty() { "0" } else { std::str::from_utf8(s).map_err(|_| NoJson::Unsupported)? };
        match serde_json::from_str::<serde_json::Number>(text) {
            Ok(_) if text.trim() == text => self.write(text),
            _ => return Err(NoJson::Unsupported),
        }
        Ok(())
    }

    fn float(&mut self, f: f64, bits: u32) -> Encoded {
        if !f.is_finite() {
            return Err(NoJson::Unsupported);
        }
        let size = f.abs();
        let tiny = if bits == 64 { size < 1e-6 } else { (size as f32) < 1e-6 };
        let huge = if bits == 64 { size >= 1e21 } else { (size as f32) >= 1e21 };
        if size == 0.0 || !(tiny || huge) {
            self.write(format_float(f, b'f', -1, bits));
            return Ok(());
        }
        let text = format_float(f, b'e', -1, bits);
        self.write(text.replace("e-0", "e-"));
        Ok(())
    }

    fn string(&mut self, s: &[u8]) {
        let mut out = String::with_capacity(s.len() + 2);
        out.push('"');
        for (_, c, width) in text::runes(s) {
            let _ = match c {
                text::RUNE_ERROR if width == 1 => write!(out, "\\ufffd"),
                '"' | '\\' => write!(out, "\\{c}"),
                '\x08' => write!(out, "\\b"),
                '\x0C' => write!(out, "\\f"),
                '\n' => write!(out, "\\n"),
                '\r' => write!(out, "\\r"),
                '\t' => write!(out, "\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", u32::from(c)),
                c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)),
                c => {
                    out.push(c);
                    Ok(())
                }
            };
        }
        out.push('"');
        self.write(out);
    }
}

/// The fields JSON shows, those of inlined structs in place.
fn collect_fields(value: &Value, into: &mut Vec<(Field, Value)>) {
    for (decl, inner) in value.ty().fields().iter().zip(value.field_values()) {
        if decl.inline && decl.embedded && inner.kind() == Kind::Struct {
            collect_fields(inner, into);
        } else if !decl.unexported && decl.json.is_some() {
            into.push((decl.clone(), inner.clone()));
        }
    }
}

/// What `omitempty` leaves out.
fn is_empty(value: &Value) -> bool {
    match &value.data {
        Data::Bool(b) => !b,
        Data::Int(i) => *i == 0,
        Data::Uint(u) => *u == 0,
        Data::Float(f) => *f == 0.0,
        Data::Struct(_) | Data::Time(_) => false,
        _ => value.is_nil() || value.is_empty(),
    }
}
