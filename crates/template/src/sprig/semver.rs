//! Semantic versions as Masterminds/semver 1.5.0 reads and compares them.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use super::{Answer, strings_of, text};
use crate::call::{Function, Functions};
use crate::error::Fail;
use crate::types::{Field, Type};
use crate::value::Value;

const TAIL: &str = r"(-([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?";

static VERSION: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!(r"^v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?{TAIL}$")));

/// A version in a constraint; the bars in the classes are there in the original too.
const LOOSE: &str = r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?";

static CONSTRAINT: LazyLock<Regex> = LazyLock::new(|| {
    let space = r"[\t\n\x0C\r ]*";
    compile(&format!(r"^{space}(=<|=>|<=|>=|!=|~>|=|>|<|~|\^|){space}({LOOSE}{TAIL}){space}$"))
});

static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    let space = r"[\t\n\x0C\r ]";
    compile(&format!(r"{space}*({LOOSE}{TAIL}){space}+-{space}+({LOOSE}{TAIL}){space}*"))
});

static PRERELEASE: LazyLock<Regex> = LazyLock::new(|| compile(r"^[0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*$"));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns above are valid")
}

pub(super) fn install(f: &mut Functions) {
    f.fixed("semver", strings_of(1), |_, a| {
        Version::parse(text(&a[0])).map(|v| Value::pointer(v.to_value())).map_err(Fail::text)
    });
    f.fixed("semverCompare", strings_of(2), |_, a| {
        let ors = constraints(text(&a[0])).map_err(Fail::text)?;
        let version = Version::parse(text(&a[1])).map_err(Fail::text)?;
        Ok(Value::bool(ors.iter().any(|ands| ands.iter().all(|c| c.allows(&version)))))
    });
}

/// A parsed version.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    major: i64,
    minor: i64,
    patch: i64,
    pre: String,
    metadata: String,
    original: String,
}

fn version_type() -> Type {
    static SHARED: LazyLock<Type> = LazyLock::new(|| {
        let field = |name: &str, ty: Type| Field { unexported: true, json: None, ..Field::new(name, ty) };
        Type::structure(
            "semver.Version",
            vec![
                field("major", Type::int64()),
                field("minor", Type::int64()),
                field("patch", Type::int64()),
                field("pre", Type::string()),
                field("metadata", Type::string()),
                field("original", Type::string()),
            ],
        )
    });
    SHARED.clone()
}

impl Version {
    fn parse(s: &[u8]) -> Result<Version, String> {
        let s = std::str::from_utf8(s).map_err(|_| "Invalid Semantic Version".to_owned())?;
        let m = VERSION.captures(s).ok_or("Invalid Semantic Version")?;
        let part = |i: usize| m.get(i).map_or("", |p| p.as_str());
        let number = |i: usize| {
            match part(i).trim_start_matches('.') {
            "" => Ok(0),
            digits => digits.parse::<i64>().map_err(|_| {
                format!("Error parsing version segment: strconv.ParseInt: parsing \"{digits}\": value out of range")
            }),
        }
        };
        Ok(Version {
            major: number(1)?,
            minor: number(2)?,
            patch: number(3)?,
            pre: part(5).to_owned(),
            metadata: part(7).to_owned(),
            original: s.to_owned(),
        })
    }

    fn to_value(&self) -> Value {
        Value::structure(
            version_type(),
            vec![
                Value::int64(self.major),
                Value::int64(self.minor),
                Value::int64(self.patch),
                Value::str(&self.pre),
                Value::str(&self.metadata),
                Value::str(&self.original),
            ],
        )
    }

    /// The version in a value that [`Version::to_value`] made.
    pub(crate) fn from_value(value: &Value) -> Option<Version> {
        let fields = value.field_values();
        if fields.len() != 6 || *value.ty() != version_type() {
            return None;
        }
        let string = |i: usize| String::from_utf8_lossy(text(&fields[i])).into_owned();
        Some(Version {
            major: fields[0].as_int()?,
            minor: fields[1].as_int()?,
            patch: fields[2].as_int()?,
            pre: string(3),
            metadata: string(4),
            original: string(5),
        })
    }

    /// `Version.String`
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{}.{}.{}", self.major, self.minor, self.patch);
        if !self.pre.is_empty() {
            out = format!("{out}-{}", self.pre);
        }
        if !self.metadata.is_empty() {
            out = format!("{out}+{}", self.metadata);
        }
        out
    }

    /// The next version of some kind: without prerelease and metadata, under the same prefix.
    fn next(&self, major: i64, minor: i64, patch: i64) -> Value {
        self.renamed(Version {
            major,
            minor,
            patch,
            pre: String::new(),
            metadata: String::new(),
            ..self.clone()
        })
    }

    fn renamed(&self, mut next: Version) -> Value {
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{prefix}{}", next.text());
        next.to_value()
    }

    /// The methods that Go defines on the version itself rather than on a pointer to it.
    pub(crate) const VALUE_METHODS: [&'static str; 5] =
        ["IncMajor", "IncMinor", "IncPatch", "SetPrerelease", "SetMetadata"];

    pub(crate) fn method(self, name: &str) -> Option<Function> {
        let get = |value: Value| Some(Function::new(Vec::new(), move |_, _| Ok(value.clone())));
        let pointer = || vec![Type::pointer(version_type())];
        let other = |v: &Value| {
            v.pointee()
                .and_then(Version::from_value)
                .ok_or_else(|| Fail::text("runtime error: invalid memory address or nil pointer dereference"))
        };
        match name {
            "Major" => get(Value::int64(self.major)),
            "Minor" => get(Value::int64(self.minor)),
            "Patch" => get(Value::int64(self.patch)),
            "Prerelease" => get(Value::str(&self.pre)),
            "Metadata" => get(Value::str(&self.metadata)),
            "Original" => get(Value::str(&self.original)),
            "String" => get(Value::str(self.text())),
            "MarshalJSON" => get(Value::bytes(crate::quote::quote(self.text()))),
            "IncMajor" => get(self.next(self.major.wrapping_add(1), 0, 0)),
            "IncMinor" => get(self.next(self.major, self.minor.wrapping_add(1), 0)),
            "IncPatch" => {
                let step = i64::from(self.pre.is_empty());
                get(self.next(self.major, self.minor, self.patch.wrapping_add(step)))
            }
            "SetPrerelease" | "SetMetadata" => {
                let pre = name == "SetPrerelease";
                Some(Function::new(strings_of(1), move |_, a| self.with_tail(text(&a[0]), pre)))
            }
            "Compare" => Some(Function::new(pointer(), move |_, a| {
                Ok(Value::int(self.compare(&other(&a[0])?) as i64))
            })),
            "LessThan" => Some(Function::new(pointer(), move |_, a| {
                Ok(Value::bool(self.compare(&other(&a[0])?).is_lt()))
            })),
            "GreaterThan" => Some(Function::new(pointer(), move |_, a| {
                Ok(Value::bool(self.compare(&other(&a[0])?).is_gt()))
            })),
            "Equal" => Some(Function::new(pointer(), move |_, a| {
                Ok(Value::bool(self.compare(&other(&a[0])?).is_eq()))
            })),
            _ => None,
        }
    }

    fn with_tail(&self, tail: &[u8], pre: bool) -> Answer {
        let tail = String::from_utf8_lossy(tail).into_owned();
        if !tail.is_empty() && !PRERELEASE.is_match(&tail) {
            let what = if pre { "Invalid Prerelease string" } else { "Invalid Metadata string" };
            return Err(Fail::text(what));
        }
        let mut next = self.clone();
        if pre {
            next.pre = tail;
        } else {
            next.metadata = tail;
        }
        Ok(self.renamed(next))
    }

    fn compare(&self, other: &Version) -> Ordering {
        let numbers = (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch));
        numbers.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_prerelease(&self.pre, &other.pre),
        })
    }
}

fn compare_prerelease(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('.').collect(), b.split('.').collect());
    (0..a.len().max(b.len()))
        .map(|i| compare_part(a.get(i).unwrap_or(&""), b.get(i).unwrap_or(&"")))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare_part(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    if a.is_empty() || b.is_empty() {
        return if a.is_empty() { Ordering::Less } else { Ordering::Greater };
    }
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Err(_), Err(_)) => a.cmp(b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        // Different texts of the same number, such as 1 and 01: never equal.
        (Ok(x), Ok(y)) => {
            if x > y {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
    }
}

struct Constraint {
    operator: String,
    version: Version,
    /// Some part is a wildcard or missing.
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

/// Alternatives of conjunctions.
fn constraints(s: &[u8]) -> Result<Vec<Vec<Constraint>>, String> {
    let s = String::from_utf8_lossy(s);
    let mut rewritten = s.to_string();
    for m in RANGE.captures_iter(&s) {
        let part = |i: usize| m.get(i).map_or("", |p| p.as_str());
        let bounds = format!(">= {}, <= {}", part(1), part(9));
        rewritten = rewritten.replacen(part(0), &bounds, 1);
    }
    rewritten.split("||").map(|ands| ands.split(',').map(Constraint::parse).collect()).collect()
}

fn is_wildcard(s: &str) -> bool {
    matches!(s, "x" | "X" | "*")
}

impl Constraint {
    fn parse(s: &str) -> Result<Constraint, String> {
        let m = CONSTRAINT.captures(s).ok_or_else(|| format!("improper constraint: {s}"))?;
        let part = |i: usize| m.get(i).map_or("", |p| p.as_str());
        let (major, minor, patch, tail) = (part(3), part(4), part(5), part(6));
        let mut text = part(2).to_owned();
        let (mut dirty, mut minor_dirty, mut patch_dirty) = (false, false, false);
        if is_wildcard(major) {
            text = "0.0.0".to_owned();
            dirty = true;
        } else if minor.is_empty() || is_wildcard(&minor[1..]) {
            minor_dirty = true;
            dirty = true;
            text = format!("{major}.0.0{tail}");
        } else if patch.len() > 1 && is_wildcard(&patch[1..]) {
            dirty = true;
            patch_dirty = true;
            text = format!("{major}{minor}.0{tail}");
        }
        let version = Version::parse(text.as_bytes()).map_err(|_| "constraint Parser Error".to_owned())?;
        Ok(Constraint { operator: part(1).to_owned(), version, dirty, minor_dirty, patch_dirty })
    }

    fn allows(&self, v: &Version) -> bool {
        let own = &self.version;
        let order = v.compare(own);
        // Prereleases match only constraints that name a prerelease.
        let hidden = !v.pre.is_empty() && own.pre.is_empty();
        match self.operator.as_str() {
            "!=" if self.dirty => {
                !hidden && (own.major != v.major || own.minor != v.minor && !self.minor_dirty)
            }
            "!=" => order.is_ne(),
            _ if hidden => false,
            ">" => order.is_gt(),
            ">=" | "=>" => order.is_ge(),
            "<" if !self.dirty => order.is_lt(),
            "<=" | "=<" if !self.dirty => order.is_le(),
            "<" | "<=" | "=<" => v.major <= own.major && (v.minor <= own.minor || self.minor_dirty),
            "^" => order.is_ge() && v.major == own.major,
            "~" | "~>" => self.tilde(v),
            _ if self.dirty => self.tilde(v),
            _ => order.is_eq(),
        }
    }

    fn tilde(&self, v: &Version) -> bool {
        let own = &self.version;
        if v.compare(own).is_lt() {
            return false;
        }
        let zero = own.major == 0 && own.minor == 0 && own.patch == 0;
        if zero && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        v.major == own.major && (v.minor == own.minor || self.minor_dirty)
    }
}
