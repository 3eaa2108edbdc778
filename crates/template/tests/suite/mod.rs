//! The case file: typed fixtures, templates, and what real Go made of them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use cistern_template::{
    Environment, Error, ErrorKind, Field, Function, Functions, Kind, MissingKey, Options, Template, Time,
    Type, Value, World,
};
use serde_json::Value as Json;

/// 2026-01-02 03:04:05 UTC: what `now` is while the cases run.
const NOW_UNIX_SECS: i64 = 1_767_323_045;

/// One template with Go's answer.
pub struct Case {
    pub id: String,
    pub cat: String,
    pub tier: u8,
    pub template: String,
    data: String,
    missing_key: MissingKey,
    funcs: String,
    env: HashMap<String, String>,
    want: Want,
}

enum Want {
    Output(Vec<u8>),
    Pattern(String),
    Error { parse: bool, key: Option<String>, message: String },
}

/// How a case ended.
pub enum Verdict {
    Output,
    /// An error where Go has one; the text, if it is not Go's.
    Error {
        same: Option<String>,
    },
    Failed(String),
}

/// All cases of a file and what they need.
pub struct Suite {
    pub cases: Vec<Case>,
    pub verbose: bool,
    fixtures: Json,
    types: HashMap<String, Type>,
    functions: HashMap<&'static str, Arc<Functions>>,
}

struct Variables(HashMap<String, String>);

impl Environment for Variables {
    fn variable(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn address(&self, host: &str) -> Result<String, String> {
        Err(format!("lookup {host}: no such host"))
    }
}

impl Suite {
    #[expect(clippy::disallowed_methods, reason = "the case file is chosen by the one who runs the tests")]
    pub fn load() -> Suite {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/templates/cases.json");
        let path = std::env::var("TEMPLATE_CASES").unwrap_or_else(|_| default.to_owned());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("read the cases in {path}: {e}"));
        let file: Json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("the cases in {path}: {e}"));
        let cases = file["cases"].as_array().expect("a list of cases").iter().map(case).collect();
        let functions = HashMap::from([
            ("ksprig", Arc::new(Functions::sprig())),
            ("none", Arc::new(Functions::builtins())),
            ("k8s", Arc::new(Functions::kubectl())),
        ]);
        let verbose = std::env::var("TEMPLATE_VERBOSE").is_ok();
        Suite { cases, verbose, fixtures: file["fixtures"].clone(), types: types(&file["types"]), functions }
    }

    /// A fixture, made anew: functions such as `set` change it.
    pub fn fixture(&self, name: &str) -> Value {
        self.value(&self.fixtures[name])
    }

    /// Renders a case and compares.
    pub fn run(&self, case: &Case) -> Verdict {
        let functions = &self.functions[case.funcs.as_str()];
        let mut world = World::at(Time::unix(NOW_UNIX_SECS, 0));
        world.environment = Some(Arc::new(Variables(case.env.clone())));
        let options = Options::new(world).missing_key(case.missing_key);
        let data = self.fixture(&case.data);
        let result =
            Template::parse("config", &case.template, functions).and_then(|t| t.render(&data, &options));
        case.judge(&result)
    }

    fn ty(&self, name: &str) -> Type {
        type_named(name, &self.types)
    }

    fn value(&self, json: &Json) -> Value {
        let text = |key: &str| json[key].as_str().unwrap_or_default();
        let kind = text("k");
        let declared = json["t"].as_str().map(|t| self.ty(t));
        let ty = declared.unwrap_or_else(|| match kind {
            "slice" => Type::slice(self.ty(text("e"))),
            "map" => Type::map(self.ty(text("key")), self.ty(text("e"))),
            "array" => Type::array(json["v"].as_array().map_or(0, Vec::len), self.ty(text("e"))),
            "bytes" => Type::bytes(),
            "time" => Type::time(),
            "nil" => Type::any(),
            other => self.ty(other),
        });
        if kind == "nil" {
            return Value::nil();
        }
        if json["nil"].as_bool() == Some(true) {
            return Value::zero(&ty);
        }
        let number = text("v");
        match kind {
            "bool" => Value::bool(json["v"].as_bool().expect("a bool")).retyped(&ty),
            "string" => match json["b64"].as_str() {
                Some(b64) => Value::str_of(ty, decode(b64)),
                None => Value::str_of(ty, number),
            },
            "bytes" => Value::bytes(decode(text("b64"))).retyped(&ty),
            "time" => Value::time(time(number)),
            "slice" | "array" => Value::list_of(
                ty,
                json["v"].as_array().expect("items").iter().map(|v| self.value(v)).collect(),
            ),
            "map" => {
                let entries = json["v"].as_array().expect("entries").iter();
                Value::map_of(ty, entries.map(|e| (self.value(&e[0]), self.value(&e[1]))))
            }
            "ptr" => Value::pointer(self.value(&json["v"])).retyped(&ty),
            "struct" => {
                let fields = json["v"].as_array().expect("fields").iter();
                Value::structure(ty, fields.map(|f| self.value(&f["v"])).collect())
            }
            "func" => function(ty),
            _ if ty.kind().is_int() => Value::int_of(ty, number.parse().expect("an integer")),
            _ if ty.kind().is_uint() => Value::uint_of(ty, number.parse().expect("an unsigned integer")),
            _ if ty.kind().is_float() => Value::float_of(ty, number.parse().expect("a float")),
            other => panic!("no such kind in a fixture: {other}"),
        }
    }
}

fn decode(b64: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(b64).expect("base64")
}

/// A time; the one fixture that is not in UTC is in Berlin's summer.
fn time(text: &str) -> Time {
    let t = Time::from_rfc3339(text).expect("a time in RFC 3339");
    if text.ends_with("+02:00") { t.in_fixed_zone("CEST", 7200) } else { t }
}

/// Kubernetes' `metav1.Time` writes itself: whole seconds, `null` for none.
fn time_json(value: &Value) -> String {
    let shown = value.embedded_time().expect("metav1.Time embeds a time");
    if shown.is_zero() { "null".to_owned() } else { format!("\"{}\"", shown.rfc3339_secs()) }
}

/// The functions that the fixture `lang` has.
fn function(ty: Type) -> Value {
    let number = |v: &Value| v.as_int().unwrap_or_default();
    let body = match ty.name() {
        "func(int, int) int" => Function::new(vec![Type::int(), Type::int()], move |_, a| {
            Ok(Value::int(number(&a[0]) + number(&a[1])))
        }),
        "func() string" => Function::new(Vec::new(), |_, _| Ok(Value::str("fn0"))),
        "func(string, ...int) int" => Function::variadic(vec![Type::string(), Type::int()], |_, a| {
            Ok(Value::int((a[0].len().unwrap_or(0) + a.len() - 1) as i64))
        }),
        other => panic!("no such function in a fixture: {other}"),
    };
    Value::func(ty, body)
}

/// Builds the named types; structs are opened first because they name each other.
fn types(json: &Json) -> HashMap<String, Type> {
    let all = json.as_object().expect("types by name");
    let mut types = HashMap::new();
    for (name, decl) in all {
        match decl["kind"].as_str().expect("a kind") {
            "struct" => types.insert(name.clone(), Type::open_structure(name)),
            "go-std" => None,
            underlying => {
                types.insert(name.clone(), Type::named(name, &type_named(underlying, &HashMap::new())))
            }
        };
    }
    for (name, decl) in all {
        let Some(fields) = decl["fields"].as_array() else { continue };
        let fields = fields.iter().map(|f| field(f, &types)).collect();
        types[name].close_structure(fields);
        if name == "v1.Time" {
            types[name].set_json_marshaler(time_json);
        }
    }
    types
}

fn field(json: &Json, types: &HashMap<String, Type>) -> Field {
    let ty = type_named(json["type"].as_str().expect("a type"), types);
    let mut field = Field::new(json["n"].as_str().expect("a name"), ty);
    let tag = json["json"].as_str();
    if json["embedded"].as_bool() == Some(true) {
        field = field.embedded();
    }
    if let Some(tag) = tag {
        field = field.tagged(tag);
    }
    field.unexported = json["unexported"].as_bool() == Some(true);
    field
}

/// A type from its Go expression.
fn type_named(name: &str, types: &HashMap<String, Type>) -> Type {
    if let Some(ty) = types.get(name) {
        return ty.clone();
    }
    if let Some(elem) = name.strip_prefix("[]") {
        return Type::slice(type_named(elem, types));
    }
    if let Some(elem) = name.strip_prefix('*') {
        return Type::pointer(type_named(elem, types));
    }
    if let Some((key, elem)) = name.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return Type::map(type_named(key, types), type_named(elem, types));
    }
    if name.starts_with("func(") {
        return Type::func(name);
    }
    match name {
        "interface {}" => Type::any(),
        "time.Time" => Type::time(),
        "time.Duration" => Type::duration(),
        _ => Type::basic(basic_kind(name)),
    }
}

fn basic_kind(name: &str) -> Kind {
    use Kind::*;
    [
        Bool, Int, Int8, Int16, Int32, Int64, Uint, Uint8, Uint16, Uint32, Uint64, Float32, Float64,
        Complex128, String,
    ]
    .into_iter()
    .find(|k| k.name() == name)
    .unwrap_or_else(|| panic!("no such type: {name}"))
}

fn case(json: &Json) -> Case {
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let want = if let Some(out) = json["out"].as_str() {
        Want::Output(out.as_bytes().to_vec())
    } else if let Some(b64) = json["out_b64"].as_str() {
        Want::Output(decode(b64))
    } else if let Some(pattern) = json["out_regex"].as_str() {
        Want::Pattern(pattern.to_owned())
    } else {
        let err = &json["err"];
        Want::Error {
            parse: err["stage"] == "parse",
            key: (err["class"] == "undefined-key")
                .then(|| err["kanister"].as_str().unwrap_or_default().to_owned()),
            message: err["msg"].as_str().unwrap_or_default().to_owned(),
        }
    };
    let env = json["env"].as_object().into_iter().flatten();
    Case {
        id: text("id"),
        cat: text("cat"),
        tier: json["tier"].as_u64().expect("a tier") as u8,
        template: text("template"),
        data: text("data"),
        missing_key: match json["missingkey"].as_str() {
            Some("error") => MissingKey::Error,
            Some("zero") => MissingKey::Zero,
            _ => MissingKey::Default,
        },
        funcs: text("funcs"),
        env: env.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
        want,
    }
}

impl Case {
    /// Go's error text.
    pub fn message(&self) -> &str {
        if let Want::Error { message, .. } = &self.want { message } else { "" }
    }

    fn judge(&self, result: &Result<Vec<u8>, Error>) -> Verdict {
        match (&self.want, result) {
            (Want::Output(want), Ok(out)) if want == out => Verdict::Output,
            (Want::Output(want), Ok(out)) => Verdict::Failed(format!(
                "ours {:?}\n  Go's {:?}",
                String::from_utf8_lossy(out),
                String::from_utf8_lossy(want)
            )),
            (Want::Pattern(pattern), Ok(out)) => {
                let out = String::from_utf8_lossy(out);
                // Unanchored at the end: `$` means the end of the text here as in Go.
                let matches = regex::Regex::new(pattern).expect("a pattern").is_match(&out);
                if matches {
                    Verdict::Output
                } else {
                    Verdict::Failed(format!("ours {out:?}\n  Go's like {pattern}"))
                }
            }
            (Want::Output(_) | Want::Pattern(_), Err(e)) => Verdict::Failed(format!("refused: {e}")),
            (Want::Error { message, .. }, Ok(out)) => {
                Verdict::Failed(format!("ours {:?}\n  Go refuses: {message}", String::from_utf8_lossy(out)))
            }
            (Want::Error { parse, key, message }, Err(e)) => {
                if *parse != (*e.kind() == ErrorKind::Parse) {
                    return Verdict::Failed(format!("wrong stage: {e}\n  Go's {message}"));
                }
                let ours = e.missing_key().map(|k| format!("Failed to render template: \"{k}\" not found"));
                if let Some(key) = key
                    && ours.as_ref() != Some(key)
                {
                    return Verdict::Failed(format!("not a missing key: {e}\n  Go's {message}"));
                }
                let ours = e.to_string();
                Verdict::Error { same: (ours != *message).then_some(ours) }
            }
        }
    }
}
