//! A throw-away PostgreSQL server on a socket.

use crate::support::home::wait_until;
use crate::support::{is_root, program, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A server; gone when dropped.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Starts one; `None` where PostgreSQL is not installed, which is said.
    pub fn start() -> Option<Postgres> {
        let Some(programs) = programs() else {
            skip("postgresql", "it is not installed: apt-get install postgresql");
            return None;
        };
        let server = Postgres { folder: TempDir::new().unwrap(), programs };
        if is_root() {
            // PostgreSQL refuses to be run by root.
            checked(Command::new("chown").arg("postgres").arg(server.folder.path()).output());
        }
        server.run("initdb", &["-U", "postgres", "--no-locale", "-E", "UTF8", "-A", "trust"]);
        let options = format!(
            "-k {} -c listen_addresses= -c fsync=off -c full_page_writes=off -c shared_buffers=32MB -c \
             autovacuum=off",
            server.socket()
        );
        let log = server.folder.path().join("log");
        server.run("pg_ctl", &["-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"]);
        Some(server)
    }

    /// What leads the tools to it.
    pub fn variables(&self) -> [(&'static str, &str); 2] {
        [("PGHOST", self.socket()), ("PGUSER", "postgres")]
    }

    fn socket(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Runs one of the server's own programs on its data.
    fn run(&self, name: &str, args: &[&str]) -> Output {
        let own = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new(program("runuser").expect("Debian has it"));
            command.args(["-u", "postgres", "--"]).arg(own);
            command
        } else {
            Command::new(own)
        };
        command.arg("-D").arg(self.folder.path().join("cluster")).args(args);
        // A server that inherits a pipe would keep whoever reads it waiting.
        checked(command.current_dir("/tmp").stdin(std::process::Stdio::null()).output())
    }

    /// What a query prints.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut command = Command::new(program("psql").expect("it comes with the server"));
        command.envs(self.variables()).args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
        ]);
        let output = checked(command.args(["-c", text]).output());
        String::from_utf8(output.stdout).unwrap()
    }

    /// A database with a script run in it.
    pub fn create(&self, database: &str, script: &str) {
        self.sql("postgres", &format!("create database {database}"));
        if !script.is_empty() {
            self.sql(database, script);
        }
    }

    /// A line per table: its name, its rows, and a digest over all of them in an order of their own.
    pub fn checksums(&self, database: &str) -> String {
        let all = "select string_agg(format('select %L, count(*), md5(string_agg(md5(t::text), '''' order by \
                   md5(t::text))) from %s t', c.oid::regclass, c.oid::regclass), ' union all ' order by \
                   c.oid::regclass::text) from pg_class c join pg_namespace n on n.oid = relnamespace where relkind \
                   in ('r', 'm') and nspname in ('public', 'odd names')";
        let query = self.sql(database, all);
        assert!(!query.trim().is_empty(), "{database} has tables");
        self.sql(database, &query)
    }

    /// Waits until a backend does what `condition` says.
    pub fn wait_for_backend(&self, condition: &str) {
        let count = format!("select count(*) from pg_stat_activity where {condition}");
        wait_until(condition, || self.sql("postgres", &count).trim() != "0");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.folder.path().join("cluster/postmaster.pid").exists() {
            self.run("pg_ctl", &["-m", "immediate", "-w", "-t", "60", "stop"]);
        }
    }
}

/// The newest server's programs; Debian keeps them out of the PATH.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |p: &Path| p.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|e| Some(e.ok()?.path())).max_by_key(|p| number(p))?.join("bin");
    newest.join("initdb").exists().then_some(newest)
}

fn checked(output: std::io::Result<Output>) -> Output {
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
