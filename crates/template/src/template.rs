//! A parsed template and how to render it.

use std::sync::Arc;

use crate::call::{Context, Functions, World};
use crate::error::Error;
use crate::exec;
use crate::limits::{Budget, Limits};
use crate::parse::{self, Trees};
use crate::value::Value;

/// What a missing map key means: Go's `missingkey` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// An invalid value, printed `<no value>`.
    #[default]
    Default,
    /// The zero value of the map's element type.
    Zero,
    /// An error.
    Error,
}

/// How to render.
#[derive(Clone)]
pub struct Options {
    /// What a missing map key means.
    pub missing_key: MissingKey,
    /// Bounds on output, memory, work and nesting.
    pub limits: Limits,
    /// Clock, dice and environment.
    pub world: World,
}

impl Options {
    /// Go's defaults, in the given world.
    pub fn new(world: World) -> Options {
        Options { missing_key: MissingKey::Default, limits: Limits::default(), world }
    }

    /// The same with another meaning of missing keys.
    #[must_use]
    pub fn missing_key(mut self, missing_key: MissingKey) -> Options {
        self.missing_key = missing_key;
        self
    }
}

/// A template, ready to be rendered any number of times.
pub struct Template {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) trees: Trees,
    pub(crate) functions: Arc<Functions>,
}

impl Template {
    /// Reads a template. The name appears in messages; Go's "template.New(name)".
    ///
    /// # Errors
    /// The text is not a template, or names functions that do not exist.
    pub fn parse(name: &str, text: &str, functions: &Arc<Functions>) -> Result<Template, Error> {
        let trees = parse::parse(name, text, &|f| functions.get(f).is_some())?;
        Ok(Template { name: name.to_owned(), text: text.to_owned(), trees, functions: Arc::clone(functions) })
    }

    /// Renders with `data` as dot. The output is usually UTF-8, but templates can cut runes apart.
    ///
    /// # Errors
    /// Whatever stops Go's execution, and the limits.
    pub fn render(&self, data: &Value, options: &Options) -> Result<Vec<u8>, Error> {
        let budget = Budget::new(options.limits.clone());
        let context = Context { budget: &budget, world: &options.world };
        exec::run(self, data, options.missing_key, &context)
    }
}
