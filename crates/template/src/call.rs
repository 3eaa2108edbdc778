//! Functions that templates call, and what they are given: arguments, limits, the world.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Fail;
use crate::limits::Budget;
use crate::time::Time;
use crate::types::Type;
use crate::value::Value;

/// A value as Go's `reflect` sees it: possibly behind an interface, which messages mention.
#[derive(Clone, Debug)]
pub(crate) struct Ref {
    pub(crate) value: Value,
    /// Read from a place of type `interface {}`.
    pub(crate) iface: bool,
}

impl Ref {
    pub(crate) fn plain(value: Value) -> Ref {
        Ref { value, iface: false }
    }

    pub(crate) fn invalid() -> Ref {
        Ref::plain(Value::nil())
    }

    /// A value read from a place of this type.
    pub(crate) fn of(value: Value, place: &Type) -> Ref {
        Ref { value, iface: place.is_any() }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.iface || self.value.is_valid()
    }

    pub(crate) fn type_name(&self) -> String {
        if self.iface { "interface {}".to_owned() } else { self.value.ty().name().to_owned() }
    }

    /// Follows pointers and interfaces; the flag says that a nil stopped it.
    pub(crate) fn indirect(&self) -> (Ref, bool) {
        let mut at = self.clone();
        loop {
            if at.iface {
                if !at.value.is_valid() {
                    return (at, true);
                }
                at.iface = false;
                continue;
            }
            if at.value.kind() != crate::types::Kind::Pointer {
                return (at, false);
            }
            let Some(to) = at.value.pointee().cloned() else { return (at, true) };
            let iface = at.value.ty().elem().is_some_and(Type::is_any);
            at = Ref { value: to, iface };
        }
    }
}

/// What a template may ask of the machine it runs on. Without one, it may ask nothing.
pub trait Environment: Send + Sync {
    /// The value of an environment variable; unset is empty.
    fn variable(&self, name: &str) -> String;

    /// One address of a host, or why there is none.
    ///
    /// # Errors
    /// The resolver's own words.
    fn address(&self, host: &str) -> Result<String, String>;
}

/// Fills a buffer with random bytes.
pub type Dice = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Clock, dice and environment of one rendering, so that a test can repeat it.
#[derive(Clone)]
pub struct World {
    /// What `now` returns.
    pub now: Time,
    /// Fills a buffer with random bytes.
    pub dice: Dice,
    /// What `env`, `expandenv` and `getHostByName` read; `None` refuses them.
    pub environment: Option<Arc<dyn Environment>>,
}

impl World {
    /// This time, the operating system's randomness, no environment.
    pub fn at(now: Time) -> World {
        let dice = |buf: &mut [u8]| {
            getrandom::fill(buf).expect("an operating system without randomness cannot back anything up");
        };
        World { now, dice: Arc::new(dice), environment: None }
    }
}

/// What every function can reach besides its arguments.
pub struct Context<'a> {
    pub(crate) budget: &'a Budget,
    pub(crate) world: &'a World,
}

type Body = dyn Fn(&Context<'_>, &[Value]) -> Result<Value, Fail> + Send + Sync;

pub(crate) enum Act {
    Values(Box<Body>),
    /// Sees interfaces and untyped nil as they are.
    Refs(fn(&Context<'_>, &[Ref]) -> Result<Ref, Fail>),
    /// A method that no template can call, and Go's reason.
    Unfit(String),
    And,
    Or,
    Call,
}

/// A function with the signature by which Go checks and converts arguments.
pub struct Function {
    pub(crate) params: Vec<Type>,
    pub(crate) variadic: bool,
    pub(crate) act: Act,
}

impl Function {
    /// A function of fixed arity.
    pub fn new(
        params: Vec<Type>,
        body: impl Fn(&Context<'_>, &[Value]) -> Result<Value, Fail> + Send + Sync + 'static,
    ) -> Function {
        Function { params, variadic: false, act: Act::Values(Box::new(body)) }
    }

    /// A function whose last parameter may be given any number of times.
    pub fn variadic(
        params: Vec<Type>,
        body: impl Fn(&Context<'_>, &[Value]) -> Result<Value, Fail> + Send + Sync + 'static,
    ) -> Function {
        Function { params, variadic: true, act: Act::Values(Box::new(body)) }
    }

    pub(crate) fn special(params: Vec<Type>, variadic: bool, act: Act) -> Function {
        Function { params, variadic, act }
    }

    /// How many arguments there must be at least; exactly as many unless variadic.
    pub(crate) fn fixed(&self) -> usize {
        self.params.len() - usize::from(self.variadic)
    }

    /// The type of the `i`th parameter.
    pub(crate) fn param(&self, i: usize) -> &Type {
        &self.params[i.min(self.params.len() - 1)]
    }
}

/// The functions a template may call, by name.
#[derive(Clone, Default)]
pub struct Functions(HashMap<String, Arc<Function>>);

impl Functions {
    /// Only what Go's `text/template` brings itself.
    pub fn builtins() -> Functions {
        let mut functions = Functions::default();
        crate::builtin::install(&mut functions);
        functions
    }

    /// The builtins and the 150 functions of sprig 2.22.0.
    pub fn sprig() -> Functions {
        let mut functions = Functions::builtins();
        crate::sprig::install(&mut functions);
        functions
    }

    /// The builtins and what `kubectl -o go-template` adds: `exists` and `base64decode`.
    pub fn kubectl() -> Functions {
        let mut functions = Functions::builtins();
        crate::dialect::install(&mut functions);
        functions
    }

    /// Adds a function, or replaces one of the same name.
    pub fn insert(&mut self, name: &str, function: Function) {
        self.0.insert(name.to_owned(), Arc::new(function));
    }

    /// Adds a function of fixed arity.
    pub(crate) fn fixed(
        &mut self,
        name: &str,
        params: Vec<Type>,
        body: impl Fn(&Context<'_>, &[Value]) -> Result<Value, Fail> + Send + Sync + 'static,
    ) {
        self.insert(name, Function::new(params, body));
    }

    /// Adds a function whose last parameter may be given any number of times.
    pub(crate) fn variadic(
        &mut self,
        name: &str,
        params: Vec<Type>,
        body: impl Fn(&Context<'_>, &[Value]) -> Result<Value, Fail> + Send + Sync + 'static,
    ) {
        self.insert(name, Function::variadic(params, body));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.0.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
