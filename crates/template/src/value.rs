//! A value with Go's dynamic type: the nil pointer, the missing key and the typed zero stay apart.

#![allow(
    clippy::mutable_key_type,
    reason = "maps are shared and change, but Go refuses them as keys, and their order ignores what they hold"
)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::call::Function;
use crate::time::Time;
use crate::types::{Kind, Type};

/// A Go string: bytes that are usually, not always, UTF-8.
pub type GoStr = Arc<[u8]>;

/// The entries of a map, in the order in which Go's templates visit them.
pub type Entries = BTreeMap<MapKey, Value>;

/// What a value holds, apart from its type.
#[derive(Clone)]
pub(crate) enum Data {
    Invalid,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Complex(f64, f64),
    Str(GoStr),
    /// `[]byte`, and every other slice of `uint8`.
    Bytes(Option<GoStr>),
    List(Option<Arc<[Value]>>),
    Map(Option<Arc<Mutex<Entries>>>),
    Struct(Arc<[Value]>),
    Pointer(Option<Arc<Value>>),
    Func(Option<Arc<Function>>),
    Time(Time),
}

/// A value as a template sees it. Cheap to clone; maps are shared, as in Go.
#[derive(Clone)]
pub struct Value {
    ty: Type,
    pub(crate) data: Data,
}

impl std::fmt::Debug for Value {
    /// Only the type: values carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({})", self.ty)
    }
}

/// A map key, ordered as Go's `fmt` orders keys.
#[derive(Clone, Debug)]
pub struct MapKey(pub Value);

impl PartialEq for MapKey {
    fn eq(&self, other: &MapKey) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MapKey {}

impl PartialOrd for MapKey {
    fn partial_cmp(&self, other: &MapKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MapKey {
    fn cmp(&self, other: &MapKey) -> Ordering {
        compare_keys(&self.0, &other.0)
    }
}

fn compare_keys(a: &Value, b: &Value) -> Ordering {
    match (&a.data, &b.data) {
        (Data::Invalid, Data::Invalid) => return Ordering::Equal,
        (Data::Invalid, _) => return Ordering::Less,
        (_, Data::Invalid) => return Ordering::Greater,
        _ => {}
    }
    if a.ty != b.ty {
        let rank = |v: &Value| (!v.ty.is_predeclared(), type_rank(v.kind()));
        return rank(a).cmp(&rank(b)).then_with(|| a.ty.name().cmp(b.ty.name()));
    }
    match (&a.data, &b.data) {
        (Data::Bool(x), Data::Bool(y)) => x.cmp(y),
        (Data::Int(x), Data::Int(y)) => x.cmp(y),
        (Data::Uint(x), Data::Uint(y)) => x.cmp(y),
        (Data::Float(x), Data::Float(y)) => x.partial_cmp(y).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan())),
        (Data::Str(x), Data::Str(y)) => x.cmp(y),
        (Data::List(Some(x)), Data::List(Some(y))) | (Data::Struct(x), Data::Struct(y)) => x
            .iter()
            .zip(y.iter())
            .map(|(p, q)| compare_keys(p, q))
            .find(|o| o.is_ne())
            .unwrap_or(x.len().cmp(&y.len())),
        (Data::Pointer(Some(x)), Data::Pointer(Some(y))) => Arc::as_ptr(x).addr().cmp(&Arc::as_ptr(y).addr()),
        (Data::Pointer(x), Data::Pointer(y)) => x.is_some().cmp(&y.is_some()),
        _ => Ordering::Equal,
    }
}

/// Keys of different types stand in the order in which Go's linker lays out the types.
fn type_rank(kind: Kind) -> usize {
    use Kind::*;
    const ORDER: [Kind; 14] =
        [String, Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64, Int, Uint, Float32, Float64, Bool];
    ORDER.iter().position(|k| *k == kind).unwrap_or(ORDER.len())
}

/// Locks a map's entries; a panic elsewhere cannot leave them half written.
pub(crate) fn lock(map: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    map.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Value {
    pub(crate) fn new(ty: Type, data: Data) -> Value {
        Value { ty, data }
    }

    /// Untyped nil: Go's nil interface.
    pub fn nil() -> Value {
        Value::new(Type::invalid(), Data::Invalid)
    }

    /// A `bool`.
    pub fn bool(b: bool) -> Value {
        Value::new(Type::bool(), Data::Bool(b))
    }

    /// An `int`.
    pub fn int(i: i64) -> Value {
        Value::new(Type::int(), Data::Int(i))
    }

    /// An `int64`.
    pub fn int64(i: i64) -> Value {
        Value::new(Type::int64(), Data::Int(i))
    }

    /// A `float64`.
    pub fn float64(f: f64) -> Value {
        Value::new(Type::float64(), Data::Float(f))
    }

    /// A `string`.
    pub fn str(bytes: impl AsRef<[u8]>) -> Value {
        Value::new(Type::string(), Data::Str(Arc::from(bytes.as_ref())))
    }

    pub(crate) fn go_str(bytes: GoStr) -> Value {
        Value::new(Type::string(), Data::Str(bytes))
    }

    /// A `[]byte`.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Value {
        Value::new(Type::bytes(), Data::Bytes(Some(Arc::from(bytes.as_ref()))))
    }

    /// A `time.Time`.
    pub fn time(t: Time) -> Value {
        Value::new(Type::time(), Data::Time(t))
    }

    /// A signed integer of the given type; wraps to its width.
    pub fn int_of(ty: Type, i: i64) -> Value {
        let wrapped = match ty.kind() {
            Kind::Int8 => i64::from(i as i8),
            Kind::Int16 => i64::from(i as i16),
            Kind::Int32 => i64::from(i as i32),
            _ => i,
        };
        Value::new(ty, Data::Int(wrapped))
    }

    /// An unsigned integer of the given type; wraps to its width.
    pub fn uint_of(ty: Type, u: u64) -> Value {
        let wrapped = match ty.kind() {
            Kind::Uint8 => u64::from(u as u8),
            Kind::Uint16 => u64::from(u as u16),
            Kind::Uint32 => u64::from(u as u32),
            _ => u,
        };
        Value::new(ty, Data::Uint(wrapped))
    }

    /// A float of the given type; rounds to its width.
    pub fn float_of(ty: Type, f: f64) -> Value {
        let rounded = if ty.kind() == Kind::Float32 { f64::from(f as f32) } else { f };
        Value::new(ty, Data::Float(rounded))
    }

    /// A string of the given type, such as `json.Number`.
    pub fn str_of(ty: Type, bytes: impl AsRef<[u8]>) -> Value {
        Value::new(ty, Data::Str(Arc::from(bytes.as_ref())))
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::list_of(Type::any_list(), items)
    }

    /// A slice or array of the given type. Of `uint8` it becomes bytes.
    pub fn list_of(ty: Type, items: Vec<Value>) -> Value {
        if ty.kind() == Kind::Slice && ty.elem().is_some_and(|e| e.kind() == Kind::Uint8) {
            let bytes: Vec<u8> = items.iter().map(|v| v.as_uint().unwrap_or_default() as u8).collect();
            return Value::new(ty, Data::Bytes(Some(Arc::from(bytes))));
        }
        Value::new(ty, Data::List(Some(Arc::from(items))))
    }

    /// A `[]string`.
    pub fn strings<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::list_of(Type::string_list(), items.into_iter().map(Value::str).collect())
    }

    /// A `map[string]interface {}`.
    pub fn dict<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::map_of(Type::dict(), entries.into_iter().map(|(k, v)| (Value::str(k), v)))
    }

    /// A map of the given type.
    pub fn map_of(ty: Type, entries: impl IntoIterator<Item = (Value, Value)>) -> Value {
        let entries: Entries = entries.into_iter().map(|(k, v)| (MapKey(k), v)).collect();
        Value::new(ty, Data::Map(Some(Arc::new(Mutex::new(entries)))))
    }

    /// A struct of the given type, its fields in order.
    ///
    /// # Panics
    /// When the number of values is not the number of fields.
    pub fn structure(ty: Type, fields: Vec<Value>) -> Value {
        assert_eq!(ty.fields().len(), fields.len(), "one value per field of {ty}");
        Value::new(ty, Data::Struct(Arc::from(fields)))
    }

    /// A pointer to a value.
    pub fn pointer(to: Value) -> Value {
        Value::new(Type::pointer(to.ty.clone()), Data::Pointer(Some(Arc::new(to))))
    }

    /// A function that templates can `call`.
    pub fn func(ty: Type, function: Function) -> Value {
        Value::new(ty, Data::Func(Some(Arc::new(function))))
    }

    /// The zero value of a type: nil pointers and maps, empty strings, structs of zeros.
    pub fn zero(ty: &Type) -> Value {
        let data = match ty.kind() {
            Kind::Invalid | Kind::Interface => return Value::nil(),
            Kind::Bool => Data::Bool(false),
            k if k.is_int() => Data::Int(0),
            k if k.is_uint() => Data::Uint(0),
            Kind::Float32 | Kind::Float64 => Data::Float(0.0),
            Kind::Complex128 => Data::Complex(0.0, 0.0),
            Kind::String => Data::Str(Arc::from([].as_slice())),
            Kind::Slice if ty.elem().is_some_and(|e| e.kind() == Kind::Uint8) => Data::Bytes(None),
            Kind::Slice => Data::List(None),
            Kind::Array => {
                let elem = ty.elem().cloned().unwrap_or_else(Type::any);
                Data::List(Some((0..ty.array_len()).map(|_| Value::zero(&elem)).collect()))
            }
            Kind::Map => Data::Map(None),
            Kind::Pointer => Data::Pointer(None),
            Kind::Func => Data::Func(None),
            _ if *ty == Type::time() => Data::Time(Time::zero()),
            _ => Data::Struct(ty.fields().iter().map(|f| Value::zero(&f.ty)).collect()),
        };
        Value::new(ty.clone(), data)
    }

    /// A value as Kubernetes' decoder makes it from JSON: whole numbers are `int64`, others `float64`.
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::nil(),
            serde_json::Value::Bool(b) => Value::bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Value::int64(i),
                None => Value::float64(n.as_f64().unwrap_or_default()),
            },
            serde_json::Value::String(s) => Value::str(s),
            serde_json::Value::Array(items) => Value::list(items.iter().map(Value::from_json).collect()),
            serde_json::Value::Object(map) => Value::dict(map.iter().map(|(k, v)| (k, Value::from_json(v)))),
        }
    }

    /// The dynamic type.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// The kind of the dynamic type.
    pub fn kind(&self) -> Kind {
        self.ty.kind()
    }

    /// False for untyped nil.
    pub fn is_valid(&self) -> bool {
        !matches!(self.data, Data::Invalid)
    }

    /// Untyped nil, or a nil pointer, map, slice or function.
    pub fn is_nil(&self) -> bool {
        matches!(
            self.data,
            Data::Invalid
                | Data::Bytes(None)
                | Data::List(None)
                | Data::Map(None)
                | Data::Pointer(None)
                | Data::Func(None)
        )
    }

    /// The bytes of a string kind.
    pub fn as_str(&self) -> Option<&GoStr> {
        if let Data::Str(s) = &self.data { Some(s) } else { None }
    }

    /// A signed integer.
    pub fn as_int(&self) -> Option<i64> {
        if let Data::Int(i) = self.data { Some(i) } else { None }
    }

    /// An unsigned integer.
    pub fn as_uint(&self) -> Option<u64> {
        if let Data::Uint(u) = self.data { Some(u) } else { None }
    }

    /// A float.
    pub fn as_float(&self) -> Option<f64> {
        if let Data::Float(f) = self.data { Some(f) } else { None }
    }

    /// A bool.
    pub fn as_bool(&self) -> Option<bool> {
        if let Data::Bool(b) = self.data { Some(b) } else { None }
    }

    /// The bytes of a `[]byte`; nil is empty.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Data::Bytes(b) = &self.data { Some(b.as_deref().unwrap_or_default()) } else { None }
    }

    /// The point in time of a `time.Time`.
    pub fn as_time(&self) -> Option<&Time> {
        if let Data::Time(t) = &self.data { Some(t) } else { None }
    }

    /// The time a struct embeds.
    pub fn embedded_time(&self) -> Option<&Time> {
        crate::methods::time_of(self)
    }

    /// The entries of a map kind; `None` for other kinds and for nil.
    pub(crate) fn as_map(&self) -> Option<&Arc<Mutex<Entries>>> {
        if let Data::Map(Some(m)) = &self.data { Some(m) } else { None }
    }

    /// The length of a string, list or map; `None` for other kinds.
    pub fn len(&self) -> Option<usize> {
        Some(match &self.data {
            Data::Str(s) => s.len(),
            Data::Bytes(b) => b.as_ref().map_or(0, |b| b.len()),
            Data::List(l) => l.as_ref().map_or(0, |l| l.len()),
            Data::Map(m) => m.as_ref().map_or(0, |m| lock(m).len()),
            _ => return None,
        })
    }

    /// Whether the length is zero; false for kinds without length.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The element at `i` of a list, or the byte of a string.
    pub fn item(&self, i: usize) -> Option<Value> {
        let byte = |b: u8| Value::new(Type::basic(Kind::Uint8), Data::Uint(u64::from(b)));
        match &self.data {
            Data::Str(s) => s.get(i).copied().map(byte),
            Data::Bytes(Some(b)) => {
                let elem = self.ty.elem().cloned().unwrap_or_else(|| Type::basic(Kind::Uint8));
                b.get(i).map(|b| Value::new(elem, Data::Uint(u64::from(*b))))
            }
            Data::List(Some(l)) => l.get(i).cloned(),
            _ => None,
        }
    }

    /// All elements of a list kind; `None` for other kinds.
    pub fn items(&self) -> Option<Vec<Value>> {
        if !self.kind().is_list() {
            return None;
        }
        Some((0..self.len().unwrap_or(0)).filter_map(|i| self.item(i)).collect())
    }

    /// The elements from `start` to `end` of a list or string, keeping the type.
    pub(crate) fn sub(&self, start: usize, end: usize) -> Value {
        let data = match &self.data {
            Data::Str(s) => Data::Str(Arc::from(&s[start..end])),
            Data::Bytes(b) => Data::Bytes(b.as_ref().map(|b| Arc::from(&b[start..end]))),
            Data::List(l) => Data::List(l.as_ref().map(|l| Arc::from(&l[start..end]))),
            other => other.clone(),
        };
        let ty = match self.kind() {
            Kind::Array => Type::slice(self.ty.elem().cloned().unwrap_or_else(Type::any)),
            _ => self.ty.clone(),
        };
        Value::new(ty, data)
    }

    /// The entry under a key, if there is one.
    pub fn entry(&self, key: &Value) -> Option<Value> {
        lock(self.as_map()?).get(&MapKey(key.clone())).cloned()
    }

    /// The entries of a map in Go's printing order; empty for nil and for other kinds.
    pub fn entries(&self) -> Vec<(Value, Value)> {
        self.as_map()
            .map(|m| lock(m).iter().map(|(k, v)| (k.0.clone(), v.clone())).collect())
            .unwrap_or_default()
    }

    /// What a pointer points to; `None` for nil and for other kinds.
    pub fn pointee(&self) -> Option<&Value> {
        if let Data::Pointer(Some(p)) = &self.data { Some(p) } else { None }
    }

    /// A struct's field by its Go name, embedded structs included; `None` where there is none.
    pub fn field(&self, name: &str) -> Option<Value> {
        let mut at = self.clone();
        for i in self.ty.find_field(name)? {
            at = at.field_values().get(i).cloned()?;
        }
        Some(at)
    }

    /// The values of a struct's fields.
    pub(crate) fn field_values(&self) -> &[Value] {
        if let Data::Struct(fields) = &self.data { fields } else { &[] }
    }

    /// A copy that shares no map with this value: what a template sets there, this value does not see.
    #[must_use]
    pub fn detached(&self) -> Value {
        let data = match &self.data {
            Data::List(Some(items)) => Data::List(Some(items.iter().map(Value::detached).collect())),
            Data::Struct(fields) => Data::Struct(fields.iter().map(Value::detached).collect()),
            Data::Pointer(Some(to)) => Data::Pointer(Some(Arc::new(to.detached()))),
            Data::Map(Some(_)) => {
                let entries = self.entries().into_iter().map(|(k, v)| (k, v.detached()));
                return Value::map_of(self.ty.clone(), entries);
            }
            other => other.clone(),
        };
        Value::new(self.ty.clone(), data)
    }

    /// This value under another type of the same kind.
    #[must_use]
    pub fn retyped(&self, ty: &Type) -> Value {
        Value::new(ty.clone(), self.data.clone())
    }
}

thread_local! {
    static DYING: std::cell::RefCell<Option<Vec<Value>>> = const { std::cell::RefCell::new(None) };
}

impl Drop for Value {
    /// Takes nested values apart one by one: a million nested lists must not end in as many stack frames.
    fn drop(&mut self) {
        if !matches!(
            self.data,
            Data::List(Some(_)) | Data::Map(Some(_)) | Data::Struct(_) | Data::Pointer(Some(_))
        ) {
            return;
        }
        let mut children = Vec::new();
        take_children(&mut self.data, &mut children);
        if children.is_empty() {
            return;
        }
        // Values dropped while a list is being worked off only join that list.
        let outermost = DYING.try_with(|dying| {
            let mut dying = dying.borrow_mut();
            match dying.as_mut() {
                Some(list) => {
                    list.append(&mut children);
                    false
                }
                None => {
                    *dying = Some(std::mem::take(&mut children));
                    true
                }
            }
        });
        if outermost != Ok(true) {
            return;
        }
        while let Ok(Some(value)) = DYING.try_with(|d| d.borrow_mut().as_mut().and_then(Vec::pop)) {
            drop(value);
        }
        let _ = DYING.try_with(|d| d.borrow_mut().take());
    }
}

/// Moves the containers out of a container that nobody else holds.
fn take_children(data: &mut Data, into: &mut Vec<Value>) {
    let nested =
        |v: &Value| matches!(v.data, Data::List(_) | Data::Map(_) | Data::Struct(_) | Data::Pointer(_));
    match data {
        Data::List(Some(items)) | Data::Struct(items) => {
            for item in Arc::get_mut(items).into_iter().flatten().filter(|v| nested(v)) {
                into.push(std::mem::replace(item, Value::nil()));
            }
        }
        Data::Map(Some(map)) => {
            if let Some(map) = Arc::get_mut(map) {
                let entries = map.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                into.extend(std::mem::take(entries).into_values().filter(nested));
            }
        }
        Data::Pointer(Some(to)) => {
            if let Some(to) = Arc::get_mut(to)
                && nested(to)
            {
                into.push(std::mem::replace(to, Value::nil()));
            }
        }
        _ => {}
    }
}
