//! The formats that are recognised, and their names at rest.

use serde::{Deserialize, Serialize};

/// What a stream is. The serialized names are stable: snapshots carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `pg_dump`: SQL text.
    PgDumpPlain,
    /// `pg_dumpall`: SQL text of a whole cluster.
    PgDumpall,
    /// `pg_dump -Fc`: PostgreSQL's custom archive.
    PgDumpCustom,
    /// `pg_dump -Ft`: PostgreSQL's archive as a tar.
    PgDumpTar,
    /// `pg_basebackup -Ft -D -`.
    PgBasebackup,
    /// `mysqldump`: SQL text.
    Mysqldump,
    /// `mariadb-dump`: SQL text.
    MariadbDump,
    /// `mysqldump --xml` or `mariadb-dump --xml`.
    MysqldumpXml,
    /// `mongodump --archive`.
    MongodumpArchive,
    /// A Redis or Valkey snapshot (RDB).
    RedisRdb,
    /// Any other tar.
    Tar,
    /// gzip that was not unwrapped.
    Gzip,
    /// Zstandard.
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// `mariabackup --stream=xbstream` or `xtrabackup --stream=xbstream`.
    Xbstream,
    /// `sqlite3 … .dump`: SQL text.
    SqliteDump,
    /// `etcdctl snapshot save`, or a bare bbolt database.
    EtcdSnapshot,
    /// `elasticdump` lines of JSON.
    ElasticdumpNdjson,
    /// OpenSSL, age or OpenPGP.
    Encrypted,
    /// None of the above, or a name from a newer version.
    #[serde(other)]
    Unknown,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}
