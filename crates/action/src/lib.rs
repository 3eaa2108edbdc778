//! What to do next: Kanister's actions as a state machine, the values their templates see, the catalog of
//! functions, and the linter.
//!
//! **What is absent on purpose:** no `async`, no client, no clock, no log, no file, no environment. What was
//! seen comes in, the next step goes out; who carries it out is somebody else.

pub mod catalog;
pub mod check;
pub mod follow;
pub mod machine;
pub mod outputs;
pub mod params;
pub mod profile;
pub mod render;
pub mod types;
