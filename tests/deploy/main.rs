//! What is in `deploy/`: the chart, the manifests printed from it, alerts and dashboards, each held to what the
//! program and a Kubernetes API server really take.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod chart;
mod consistent;
mod guide;
mod helm;
mod known;
mod least;
mod metrics;
mod restricted;
#[path = "../support/mod.rs"]
mod support;
