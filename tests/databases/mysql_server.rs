//! A throw-away MariaDB server on a socket.

use crate::support::home::wait_until;
use crate::support::{is_root, program, skip};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A server; gone when dropped.
pub struct Mariadb {
    folder: TempDir,
    child: Child,
}

impl Mariadb {
    /// Starts one; `None` where MariaDB is not installed, which is said.
    pub fn start() -> Option<Mariadb> {
        let found = ["mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"].map(program);
        let [Some(server), Some(install), Some(_), Some(_)] = found else {
            skip("mariadb", "it is not installed: apt-get install mariadb-server-core mariadb-client");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let data = format!("--datadir={}", folder.path().join("data").display());
        let mut command = Command::new(install);
        // Its temporary tables have names that two installations at once would share.
        let scratch = format!("--tmpdir={}", folder.path().display());
        command.args(["--no-defaults", &data, &scratch]);
        command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        let installed = as_root(&mut command).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let mut command = Command::new(server);
        let socket = format!("--socket={}", folder.path().join("socket").display());
        command.args([
            "--no-defaults",
            &data,
            &socket,
            &scratch,
            "--skip-networking",
            "--innodb-flush-log-at-trx-commit=0",
        ]);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        as_root(&mut command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Mariadb { child: command.spawn().unwrap(), folder };
        wait_until("MariaDB answers", || server.client("", "select 1").status().unwrap().success());
        Some(server)
    }

    /// Path of the socket.
    pub fn socket(&self) -> String {
        self.folder.path().join("socket").display().to_string()
    }

    fn client(&self, database: &str, text: &str) -> Command {
        let mut command = Command::new(program("mariadb").expect("looked for at the start"));
        command.args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4", "--batch", "-N"]);
        command.arg(format!("--socket={}", self.socket())).args(["-e", text]);
        command.args(Some(database).filter(|d| !d.is_empty()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What a query prints.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut command = self.client(database, text);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A line per table: its name, its rows and its checksum.
    pub fn checksums(&self, database: &str) -> String {
        let tables = format!(
            "select table_name from information_schema.tables where table_schema = '{database}' and table_type = \
             'BASE TABLE' order by 1"
        );
        let tables = self.sql("", &tables);
        assert!(!tables.is_empty(), "{database} has tables");
        let of = |t: &str| {
            self.sql(database, &format!("select '{t}', count(*) from `{t}`; checksum table `{t}` extended"))
        };
        tables.lines().map(|table| of(table).replace(database, "")).collect()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Root must say that it is meant.
fn as_root(command: &mut Command) -> &mut Command {
    if is_root() { command.arg("--user=root") } else { command }
}
