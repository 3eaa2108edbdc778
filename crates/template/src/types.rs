//! Go's types as the engine needs them: names for messages, kinds, element types, struct fields.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use crate::value::Value;

/// Go's `reflect.Kind`, without the kinds that no template can meet (channels, unsafe pointers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// No value at all: Go's zero `reflect.Value`.
    Invalid,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint`
    Uint,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `complex128`
    Complex128,
    /// `[n]T`
    Array,
    /// `func(…) …`
    Func,
    /// `interface {}`
    Interface,
    /// `map[K]V`
    Map,
    /// `*T`
    Pointer,
    /// `[]T`
    Slice,
    /// `string`
    String,
    /// `struct`
    Struct,
}

impl Kind {
    /// The word Go prints for this kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint => "uint",
            Kind::Uint8 => "uint8",
            Kind::Uint16 => "uint16",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Float32 => "float32",
            Kind::Float64 => "float64",
            Kind::Complex128 => "complex128",
            Kind::Array => "array",
            Kind::Func => "func",
            Kind::Interface => "interface",
            Kind::Map => "map",
            Kind::Pointer => "ptr",
            Kind::Slice => "slice",
            Kind::String => "string",
            Kind::Struct => "struct",
        }
    }

    /// A signed integer of any width.
    pub fn is_int(self) -> bool {
        matches!(self, Kind::Int | Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64)
    }

    /// An unsigned integer of any width.
    pub fn is_uint(self) -> bool {
        matches!(self, Kind::Uint | Kind::Uint8 | Kind::Uint16 | Kind::Uint32 | Kind::Uint64)
    }

    /// A float of any width.
    pub fn is_float(self) -> bool {
        matches!(self, Kind::Float32 | Kind::Float64)
    }

    /// A slice or an array.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Slice | Kind::Array)
    }

    /// May hold nil.
    pub fn can_be_nil(self) -> bool {
        matches!(self, Kind::Func | Kind::Interface | Kind::Map | Kind::Pointer | Kind::Slice)
    }
}

/// A field of a struct type.
#[derive(Clone)]
pub struct Field {
    /// The Go name.
    pub name: String,
    /// The field's type.
    pub ty: Type,
    /// The name in JSON; `None` leaves the field out (`json:"-"`).
    pub json: Option<String>,
    /// `omitempty`
    pub omit_empty: bool,
    /// Embedded: its fields and methods are promoted.
    pub embedded: bool,
    /// JSON shows the fields of this embedded struct in place.
    pub inline: bool,
    /// Begins with a small letter: templates may not read it, JSON leaves it out.
    pub unexported: bool,
}

impl Field {
    /// An exported field, with the JSON name Go uses when there is no tag.
    pub fn new(name: &str, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            ty,
            json: Some(name.to_owned()),
            omit_empty: false,
            embedded: false,
            inline: false,
            unexported: false,
        }
    }

    /// The same field with a JSON tag as Go writes it: `name,omitempty`, `-`, `,inline`.
    #[must_use]
    pub fn tagged(mut self, tag: &str) -> Field {
        if tag == "-" {
            self.json = None;
            return self;
        }
        let mut parts = tag.split(',');
        let name = parts.next().unwrap_or_default();
        if !name.is_empty() {
            self.json = Some(name.to_owned());
        }
        for option in parts {
            self.omit_empty |= option == "omitempty";
        }
        self.inline = self.embedded && name.is_empty();
        self
    }

    /// An embedded struct; its name is that of its type.
    #[must_use]
    pub fn embedded(mut self) -> Field {
        self.embedded = true;
        self.inline = true;
        self
    }
}

struct TypeDef {
    name: String,
    underlying: String,
    named: bool,
    kind: Kind,
    key: Option<Type>,
    elem: Option<Type>,
    len: usize,
    fields: OnceLock<Vec<Field>>,
    marshal_json: OnceLock<MarshalJson>,
}

/// A type's own `MarshalJSON`: the JSON text of a value.
pub type MarshalJson = fn(&Value) -> String;

/// A Go type. Cheap to clone; two types are equal when their Go expressions are.
#[derive(Clone)]
pub struct Type(Arc<TypeDef>);

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.kind == other.0.kind && self.0.name == other.0.name)
    }
}

impl Eq for Type {}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

static BASIC: LazyLock<HashMap<Kind, Type>> = LazyLock::new(|| {
    use Kind::*;
    [
        Invalid, Bool, Int, Int8, Int16, Int32, Int64, Uint, Uint8, Uint16, Uint32, Uint64, Float32, Float64,
        Complex128, Interface, String,
    ]
    .into_iter()
    .map(|kind| {
        let name = if kind == Interface { "interface {}" } else { kind.name() };
        (kind, Type::make(name.to_owned(), true, kind, None, None))
    })
    .collect()
});

macro_rules! shared_types {
    ($($(#[$doc:meta])* $name:ident = $make:expr;)*) => {
        $($(#[$doc])*
        pub fn $name() -> Type {
            static SHARED: LazyLock<Type> = LazyLock::new(|| $make);
            SHARED.clone()
        })*
    };
}

impl Type {
    fn make(name: String, named: bool, kind: Kind, key: Option<Type>, elem: Option<Type>) -> Type {
        Type(Arc::new(TypeDef {
            underlying: name.clone(),
            name,
            named,
            kind,
            key,
            elem,
            len: 0,
            fields: OnceLock::new(),
            marshal_json: OnceLock::new(),
        }))
    }

    /// A predeclared type: numbers, `bool`, `string`, `interface {}`.
    ///
    /// # Panics
    /// For kinds that need an element type.
    pub fn basic(kind: Kind) -> Type {
        BASIC.get(&kind).expect("only predeclared kinds are asked for").clone()
    }

    shared_types! {
        /// `interface {}`
        any = Type::basic(Kind::Interface);
        /// `string`
        string = Type::basic(Kind::String);
        /// `int`
        int = Type::basic(Kind::Int);
        /// `int64`
        int64 = Type::basic(Kind::Int64);
        /// `float64`
        float64 = Type::basic(Kind::Float64);
        /// `bool`
        bool = Type::basic(Kind::Bool);
        /// `[]uint8`
        bytes = Type::slice(Type::basic(Kind::Uint8));
        /// `[]interface {}`
        any_list = Type::slice(Type::any());
        /// `[]string`
        string_list = Type::slice(Type::string());
        /// `map[string]interface {}`
        dict = Type::map(Type::string(), Type::any());
        /// `map[string]string`
        string_map = Type::map(Type::string(), Type::string());
        /// `time.Time`, whose fields no template can see
        time = Type::structure("time.Time", Vec::new());
        /// `time.Duration`, in nanoseconds
        duration = Type::named("time.Duration", &Type::int64());
        /// The type of "no value"
        invalid = Type::basic(Kind::Invalid);
        /// Go's `reflect.Value` as a parameter type: takes whatever comes, nil included
        reflect_value = Type::structure("reflect.Value", Vec::new());
    }

    /// `[]elem`
    pub fn slice(elem: Type) -> Type {
        Type::make(format!("[]{elem}"), false, Kind::Slice, None, Some(elem))
    }

    /// `[len]elem`
    pub fn array(len: usize, elem: Type) -> Type {
        let mut ty = Type::make(format!("[{len}]{elem}"), false, Kind::Array, None, Some(elem));
        Arc::get_mut(&mut ty.0).expect("just made").len = len;
        ty
    }

    /// `map[key]elem`
    pub fn map(key: Type, elem: Type) -> Type {
        Type::make(format!("map[{key}]{elem}"), false, Kind::Map, Some(key), Some(elem))
    }

    /// `*elem`
    pub fn pointer(elem: Type) -> Type {
        Type::make(format!("*{elem}"), false, Kind::Pointer, None, Some(elem))
    }

    /// A function type, spelled as Go spells it.
    pub fn func(expression: &str) -> Type {
        Type::make(expression.to_owned(), false, Kind::Func, None, None)
    }

    /// A struct type with its fields.
    pub fn structure(name: &str, fields: Vec<Field>) -> Type {
        let ty = Type::open_structure(name);
        ty.close_structure(fields);
        ty
    }

    /// A struct type whose fields come later, for types that contain themselves.
    pub fn open_structure(name: &str) -> Type {
        Type::make(name.to_owned(), true, Kind::Struct, None, None)
    }

    /// Gives an open struct its fields; a second call changes nothing.
    pub fn close_structure(&self, fields: Vec<Field>) {
        let _ = self.0.fields.set(fields);
    }

    /// Gives the type a `MarshalJSON` of its own; a second call changes nothing.
    pub fn set_json_marshaler(&self, marshal: MarshalJson) {
        let _ = self.0.marshal_json.set(marshal);
    }

    pub(crate) fn json_marshaler(&self) -> Option<MarshalJson> {
        self.0.marshal_json.get().copied()
    }

    /// A defined type such as `json.Number` over `string`.
    pub fn named(name: &str, underlying: &Type) -> Type {
        Type(Arc::new(TypeDef {
            name: name.to_owned(),
            underlying: underlying.0.underlying.clone(),
            named: true,
            kind: underlying.0.kind,
            key: underlying.0.key.clone(),
            elem: underlying.0.elem.clone(),
            len: underlying.0.len,
            fields: OnceLock::new(),
            marshal_json: OnceLock::new(),
        }))
    }

    /// The Go expression, as `%T` prints it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The kind of values of this type.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What a slice, array, map or pointer holds.
    pub fn elem(&self) -> Option<&Type> {
        self.0.elem.as_ref()
    }

    /// The key type of a map.
    pub fn key(&self) -> Option<&Type> {
        self.0.key.as_ref()
    }

    /// The length of an array.
    pub fn array_len(&self) -> usize {
        self.0.len
    }

    /// The fields of a struct; empty for every other kind.
    pub fn fields(&self) -> &[Field] {
        self.0.fields.get().map_or(&[], Vec::as_slice)
    }

    /// Whether elements of this type are stored behind an interface.
    pub fn is_any(&self) -> bool {
        self.0.kind == Kind::Interface
    }

    /// Whether this is the parameter type that takes anything, nil included.
    pub(crate) fn is_reflect_value(&self) -> bool {
        self.0.kind == Kind::Struct && self.0.name == "reflect.Value"
    }

    /// A defined type, as opposed to one written out, such as `[]string`.
    pub fn is_defined(&self) -> bool {
        self.0.named
    }

    /// `int`, `string` and so on themselves, not types defined over them.
    pub(crate) fn is_predeclared(&self) -> bool {
        BASIC.get(&self.kind()).is_some_and(|basic| basic == self)
    }

    /// Go's assignability, for the types that occur.
    pub fn assignable_to(&self, target: &Type) -> bool {
        self == target
            || target.kind() == Kind::Interface
            || (self.kind() == target.kind()
                && self.0.underlying == target.0.underlying
                && !(self.0.named && target.0.named))
    }

    /// Whether values can be compared with `==` at all.
    pub fn comparable(&self) -> bool {
        match self.kind() {
            Kind::Slice | Kind::Map | Kind::Func => false,
            Kind::Array => self.elem().is_none_or(Type::comparable),
            Kind::Struct => self.fields().iter().all(|f| f.ty.comparable()),
            _ => true,
        }
    }

    /// The way to a field, through embedded structs: indexes from the outside in.
    pub fn find_field(&self, name: &str) -> Option<Vec<usize>> {
        let mut level: Vec<(Vec<usize>, Type)> = vec![(Vec::new(), self.clone())];
        for _ in 0..8 {
            let mut found = Vec::new();
            let mut next = Vec::new();
            for (path, ty) in &level {
                for (i, field) in ty.fields().iter().enumerate() {
                    let mut here = path.clone();
                    here.push(i);
                    if field.name == name {
                        found.push(here);
                    } else if field.embedded {
                        next.push((here, field.ty.clone()));
                    }
                }
            }
            match found.len() {
                0 => level = next,
                1 => return found.pop(),
                _ => return None,
            }
        }
        None
    }
}
