//! The controller on a real Kubernetes API: kube-apiserver and etcd on the loopback, or any cluster.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]
#![allow(dead_code, reason = "each story uses a part of what it stands on")]

mod api;
mod certificates;
mod deaths;
mod drain;
mod kanctl;
mod orders;
mod plane;
mod pods;
mod postgres;
mod running;
mod server;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod webhook;
mod world;
