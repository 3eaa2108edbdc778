//! The blueprint for Redis: backup, damage, restore into the running server, compare.

use crate::stage::Stage;
use crate::support::home::wait_until;
use crate::support::{assert_sound, listed_names, program, skip};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PASSWORD: &str = "it's $(a) \"b\"";

/// A server on a socket; gone when dropped.
struct Redis {
    folder: TempDir,
    child: Child,
}

impl Redis {
    /// Starts one; `None` where Redis is not installed, which is said.
    fn start() -> Option<Redis> {
        let (Some(server), Some(_)) = (program("redis-server"), program("redis-cli")) else {
            skip("redis", "it is not installed: apt-get install redis-server redis-tools");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(server);
        command.args([
            "--port",
            "0",
            "--save",
            "",
            "--enable-debug-command",
            "yes",
            "--requirepass",
            PASSWORD,
        ]);
        command.arg("--unixsocket").arg(folder.path().join("socket")).arg("--dir").arg(folder.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let redis = Redis { folder, child };
        wait_until("Redis answers", || redis.cli(&["ping"]) == "PONG");
        Some(redis)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn cli(&self, args: &[&str]) -> String {
        cli(&self.socket(), args)
    }
}

fn cli(socket: &Path, args: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    let output = command.env("REDISCLI_AUTH", PASSWORD).arg("-s").arg(socket).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys of several kinds.
const FILL: &str = "for i = 1, 3000 do redis.call('set', 'key:' .. i, string.rep('value ' .. i, 20)) end \
                    redis.call('hset', 'hash', 'a', 1, 'b', '\\0\\255') redis.call('zadd', 'zset', 1.5, 'm') \
                    redis.call('xadd', 'stream', '1-1', 'f', 'v')";

#[test]
fn the_whole_server_as_one_stream() {
    let Some(server) = Redis::start() else { return };
    server.cli(&["eval", FILL, "0"]);
    server.cli(&["config", "set", "masterauth", "of others"]);
    let flags = format!("flags=-s {}", server.socket().display());
    let stage = Stage::new("redis/blueprint.yaml", "StatefulSet", "", PASSWORD, &["host=localhost", &flags]);
    let digest = server.cli(&["debug", "digest"]);
    assert_eq!(digest.len(), 40, "{digest}");
    stage.backup("redis");
    assert_eq!(listed_names(&stage.home).len(), 1);
    server.cli(&["flushall"]);
    server.cli(&["set", "other", "1"]);
    assert_ne!(server.cli(&["debug", "digest"]), digest);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    stage.follow_ok("restore", &["address=127.0.0.1", &format!("port={port}")]);
    assert_eq!(server.cli(&["debug", "digest"]), digest);
    // It is on its own again, and writable.
    assert!(server.cli(&["info", "replication"]).contains("role:master"));
    assert_eq!(server.cli(&["config", "get", "masterauth"]), "masterauth\nof others");
    assert_eq!(server.cli(&["set", "more", "1"]), "OK");
    assert_sound(&stage.home);
    stage.delete();

    stage.log_in("", "wrong");
    let ran = stage.try_backup();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(listed_names(&stage.home), Vec::<String>::new());
}
