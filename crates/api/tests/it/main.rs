//! Tests of Kanister's shapes as others see them: YAML and JSON in, YAML and JSON out.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod definitions;
mod ours;
mod shapes;
