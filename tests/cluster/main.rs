//! The controller on a real Kubernetes API: kube-apiserver and etcd on the loopback, or any cluster.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]
#![allow(dead_code, reason = "each story uses a part of what it stands on")]

mod api;
mod bucket;
mod certificates;
mod commands;
mod deaths;
mod drain;
mod faults;
mod figures;
mod front;
#[path = "../deploy/helm.rs"]
mod helm;
mod images;
mod jobs;
mod kanctl;
mod node;
mod objects;
mod operator;
mod orders;
mod plane;
mod pods;
mod postgres;
mod rds;
mod recipe;
mod repositories;
mod running;
mod scale;
mod server;
mod shop;
mod snapshots;
mod stage;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod tutorials;
mod volumes;
mod waiting;
mod webhook;
mod workloads;
mod world;
