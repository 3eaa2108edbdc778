//! Our blueprints: all of them read and checked, and those whose database is installed run for real.

#![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the tests of databases use all of it")]
#[path = "../databases/etcd_server.rs"]
mod etcd_server;
#[allow(dead_code, reason = "the tests of databases use all of it")]
#[path = "../databases/mysql_server.rs"]
mod mysql_server;
#[allow(dead_code, reason = "the tests of databases use all of it")]
#[path = "../databases/postgres_server.rs"]
mod postgres_server;

mod etcd;
mod mariadb;
mod paper;
mod postgres;
mod redis;
mod stage;
mod time_log;
