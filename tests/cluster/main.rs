//! The controller on a real Kubernetes API: kube-apiserver and etcd on the loopback, or any cluster.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]
#![allow(dead_code, reason = "parts of it wait for their stories")]

mod api;
mod certificates;
mod plane;
mod pods;
#[path = "../support/mod.rs"]
mod support;
mod world;
