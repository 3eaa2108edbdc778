//! What a function may ask of managed databases, and how they refuse: the port of the functions over RDS.

use crate::ports::Refusal;
use async_trait::async_trait;
use cistern_api::Sensitive;
use std::fmt::Debug;

/// The way to accounts with databases.
pub trait Databases: Debug + Send + Sync + 'static {
    /// An account in one region; asks nothing of it yet.
    ///
    /// # Errors
    /// In words: what is missing to reach it, or malformed.
    fn reach(&self, access: &Access) -> Result<Box<dyn Account>, String>;
}

/// Whose databases, and by what right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Region of the account; empty is the controller's own.
    pub region: String,
    /// Without one, what the controller itself is given: a role of its service account or its node.
    pub key: Option<AccessKey>,
    /// A role to take with that; empty is none.
    pub role: String,
}

/// A key of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessKey {
    /// Its identity.
    pub id: String,
    /// The key itself.
    pub secret: Sensitive,
    /// Comes with keys that expire; empty is none.
    pub session_token: Sensitive,
}

/// The databases of an account in a region.
///
/// # Contract
/// * Every verb ends: an implementation puts a timeout on each request, and sends it once.
/// * A refusal of `Why::Busy` says nothing about whether a write landed. All others say that it did not.
/// * `Why::Conflict` is a database or snapshot in a state in which it does not do this; states pass.
/// * What has been asked for begins then; that it has come about shows when it is looked at.
#[async_trait]
pub trait Account: Send + Sync {
    /// The database as it is.
    async fn database(&self, form: Form, id: &str) -> Result<Database, Refusal>;
    /// The snapshot as it is.
    async fn snapshot(&self, form: Form, id: &str) -> Result<Snapshot, Refusal>;
    /// Takes a snapshot of a database.
    async fn create_snapshot(&self, form: Form, database: &str, id: &str) -> Result<(), Refusal>;
    /// Deletes a snapshot.
    async fn delete_snapshot(&self, form: Form, id: &str) -> Result<(), Refusal>;
    /// Makes a database out of a snapshot.
    async fn restore(&self, form: Form, wish: &Restored) -> Result<(), Refusal>;
    /// Makes an instance in a cluster.
    async fn create_member(&self, wish: &Member) -> Result<(), Refusal>;
    /// Deletes a database. No last snapshot is taken.
    async fn delete_database(&self, form: Form, id: &str) -> Result<(), Refusal>;
}

/// The two forms of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An instance by itself.
    Instance,
    /// A cluster (Aurora) with instances as members.
    Cluster,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// `available`, `creating`, `deleting` and many more.
    pub status: String,
    /// Where it listens, once it does.
    pub endpoint: Option<Endpoint>,
    /// Its size; 0 where there is none.
    pub allocated_gib: i64,
    /// Instance class, such as `db.t3.medium`; empty for a cluster.
    pub class: String,
    /// Ids of its VPC security groups.
    pub security_groups: Vec<String>,
    /// Name of its subnet group; empty is none.
    pub subnet_group: String,
    /// Identifiers of a cluster's instances.
    pub members: Vec<String>,
    /// The trace of the call that made it, if a call did.
    pub made_by: Option<String>,
}

/// Where a database listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `available`, `creating`, `failed` and more.
    pub status: String,
    /// How much of it is done, in percent.
    pub percent: i64,
    /// Size of the database; 0 where there is none.
    pub allocated_gib: i64,
    /// Engine of the database, such as `aurora-postgresql`.
    pub engine: String,
    /// Its version.
    pub engine_version: String,
}

/// A database to be made out of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Identifier of the new database.
    pub id: String,
    /// The snapshot.
    pub snapshot: String,
    /// Engine and version; needed for a cluster alone.
    pub engine: (String, String),
    /// Name of its subnet group; empty is the account's default.
    pub subnet_group: String,
    /// Ids of its VPC security groups; none is the account's default.
    pub security_groups: Vec<String>,
    /// What [`Database::made_by`] will say.
    pub made_by: String,
}

/// An instance to be made in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Identifier of the new instance.
    pub id: String,
    /// The cluster.
    pub cluster: String,
    /// Engine of the cluster.
    pub engine: String,
    /// Instance class.
    pub class: String,
    /// What [`Database::made_by`] will say.
    pub made_by: String,
}
