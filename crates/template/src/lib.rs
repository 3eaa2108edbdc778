//! Go's `text/template` with the functions of sprig 2.22.0, and Kubernetes-flavoured JSONPath: a language,
//! for programs that must render what was written for Go.
//!
//! **What is absent on purpose:** no file, no socket, no clock, no environment variable. Time and dice come
//! in with [`World`]; what a template may use is bounded by [`Limits`].
//!
//! Values keep Go's dynamic types ([`Value`]): a nil pointer, a missing key and a typed zero value are three
//! things, and a template can tell them apart.
//!
//! ```
//! use std::sync::Arc;
//! use cistern_template::{Functions, Options, Template, Time, Value, World};
//!
//! let functions = Arc::new(Functions::sprig());
//! let template = Template::parse("greeting", "Hello {{ .name | upper }}", &functions)?;
//! let options = Options::new(World::at(Time::unix(0, 0)));
//! let out = template.render(&Value::dict([("name", Value::str("you"))]), &options)?;
//! assert_eq!(out, b"Hello YOU");
//! # Ok::<(), cistern_template::Error>(())
//! ```

mod builtin;
mod call;
mod compare;
mod dialect;
mod error;
mod escape;
mod eval;
mod exec;
mod json;
mod jsonpath;
mod jsonpath_parse;
mod layout;
mod lex;
mod limits;
mod literal;
mod methods;
mod node;
mod number;
mod parse;
mod print;
mod printf;
mod quote;
mod re2;
mod reads;
mod sprig;
mod template;
mod text;
mod time;
mod time_format;
mod time_parse;
mod types;
mod value;

pub use call::{Context, Dice, Environment, Function, Functions, World};
pub use error::{Error, ErrorKind, Fail};
pub use jsonpath::JsonPath;
pub use limits::Limits;
pub use reads::{Read, ReadStep};
pub use template::{MissingKey, Options, Template};
pub use time::Time;
pub use types::{Field, Kind, MarshalJson, Type};
pub use value::{GoStr, MapKey, Value};
