//! Redis: `redis-cli --rdb -`, and a new server on what comes back.

use crate::shell;
use crate::support::home::{Home, wait_until};
use crate::support::{assert_sound, listed, program, skip};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server on a socket in a folder; gone when dropped.
struct Redis<'f> {
    folder: &'f Path,
    child: Child,
}

impl Redis<'_> {
    /// Starts one on the `dump.rdb` of the folder; `None` where Redis is not installed, which is said.
    fn start(folder: &Path) -> Option<Redis<'_>> {
        let (Some(server), Some(_)) = (program("redis-server"), program("redis-cli")) else {
            skip("redis", "it is not installed: apt-get install redis-server redis-tools");
            return None;
        };
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new(server);
        command.args(["--port", "0", "--save", "", "--dbfilename", "dump.rdb", "--dir"]).arg(folder);
        command.arg("--enable-debug-command").arg("yes").arg("--unixsocket").arg(folder.join("socket"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let redis = Redis { folder, child };
        wait_until("Redis answers", || redis.cli(&["ping"]) == "PONG");
        Some(redis)
    }

    fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.arg("-s").arg(self.folder.join("socket")).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Redis<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys of every kind.
const FILL: &str = "for i = 1, 5000 do redis.call('set', 'key:' .. i, string.rep('value ' .. i, 20)) end \
                    redis.call('hset', 'hash', 'a', 1, 'b', '\\0\\255') redis.call('rpush', 'list', 1, 2, 3) \
                    redis.call('sadd', 'set', 'x', 'y') redis.call('zadd', 'zset', 1.5, 'm', 2, 'n') \
                    redis.call('xadd', 'stream', '1-1', 'f', 'v') redis.call('set', 'expires', 1, 'ex', 86400)";

#[test]
fn a_dump_of_redis_comes_back() {
    let home = Home::new();
    let (live, restored) = (home.path("live"), home.path("restored"));
    let Some(server) = Redis::start(&live) else { return };
    server.cli(&["eval", FILL, "0"]);
    let socket = live.join("socket");
    shell(&home, &[], &format!("redis-cli -s {} --rdb - | \"$0\" push redis", socket.display()));
    let digest = server.cli(&["debug", "digest"]);
    assert!(digest.len() == 40 && digest.contains(|c| c != '0'), "{digest}");
    assert_eq!(listed(&home)[0]["completeness"], "complete", "{:?}", listed(&home));
    std::fs::create_dir_all(&restored).unwrap();
    home.ok(&["pull", "redis", "-o", "restored/dump.rdb"], b"");
    let again = Redis::start(&restored).unwrap();
    assert_eq!(again.cli(&["debug", "digest"]), digest);
    assert_eq!(again.cli(&["dbsize"]), "5006");
    assert_sound(&home);
}
