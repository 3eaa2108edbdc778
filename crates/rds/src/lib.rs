//! Amazon RDS behind the port [`Databases`]: its Query API, version 2014-10-31.
//!
//! | file | subject |
//! |---|---|
//! | `lib.rs` | who is asked, and what each verb of the port asks |
//! | `answer.rs` | answers in XML |
//! | `refusal.rs` | what the service's codes mean |
//!
//! # Guarantees
//! * A request is sent once. Whoever repeats it knows by the identifier what it may have done before.
//! * What is made in the place of something else carries who made it, as the tag [`MADE_BY`].
//!
//! **What is absent on purpose:** waiting, retries, the environment (callers hand over every credential).

mod answer;
mod refusal;

use answer::{Cluster, Instance, Taken};
use async_trait::async_trait;
use cistern_functions::databases::{Access, Account, Database, Databases, Form, Member, Restored, Snapshot};
use cistern_functions::ports::Refusal;
use cistern_store::aws::Service;
use cistern_store::{Options, Secret};
use serde::de::DeserializeOwned;

/// The tag of a database that says which call made it.
pub const MADE_BY: &str = "cistern.dev/made-by";
/// Version of the API.
const VERSION: &str = "2014-10-31";

/// The way to accounts with RDS.
#[derive(Clone, Debug)]
pub struct Amazon {
    surroundings: Options,
}

impl Amazon {
    /// `surroundings` are the program's own: a region, a role of the pod or machine, the way out. `endpoint` is where
    /// RDS is, if not at AWS.
    pub fn new(surroundings: Options, endpoint: Option<String>) -> Amazon {
        Amazon { surroundings: Options { endpoint, s3_endpoint: None, ..surroundings } }
    }
}

impl Databases for Amazon {
    fn reach(&self, access: &Access) -> Result<Box<dyn Account>, String> {
        let mut options = Options {
            region: Some(access.region.clone()).filter(|region| !region.is_empty()),
            assume_role_arn: Some(access.role.clone()).filter(|role| !role.is_empty()),
            ..Options::default()
        };
        if let Some(key) = &access.key {
            let secret = |text: &str| Some(Secret::new(text.to_owned())).filter(|_| !text.is_empty());
            options.access_key_id = Some(key.id.clone());
            options.secret_access_key = secret(key.secret.reveal());
            options.session_token = secret(key.session_token.reveal());
        }
        let options = options.or(self.surroundings.clone());
        if options.region.is_none() {
            return Err(
                "no region is named: say `region` in the arguments or in the profile's location".to_owned()
            );
        }
        match Service::new("rds", &options) {
            Ok(service) => Ok(Box::new(Rds { service })),
            Err(error) => Err(format!("RDS cannot be asked: {}", error.why)),
        }
    }
}

struct Rds {
    service: Service,
}

/// Names and values of a request.
type Fields = Vec<(String, String)>;

fn form(action: &str, fields: &[(&str, &str)]) -> Fields {
    let fixed = [("Action", action), ("Version", VERSION)];
    // An identifier that is empty is sent as such: without one the service would speak of all it has.
    fixed.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn list(form: &mut Fields, name: &str, items: &[String]) {
    form.extend(items.iter().zip(1..).map(|(item, i)| (format!("{name}.{i}"), item.clone())));
}

fn made_by(form: &mut Fields, trace: &str) {
    form.push(("Tags.Tag.1.Key".to_owned(), MADE_BY.to_owned()));
    form.push(("Tags.Tag.1.Value".to_owned(), trace.to_owned()));
}

impl Rds {
    async fn tell(&self, form: Fields) -> Result<(), Refusal> {
        self.service.ask(&form).await.map(drop).map_err(|failure| refusal::of(&failure))
    }

    async fn look<T: DeserializeOwned>(&self, action: &str, name: &str, id: &str) -> Result<T, Refusal> {
        let answer = self.service.ask(&form(action, &[(name, id)])).await;
        answer::first(action, &answer.map_err(|failure| refusal::of(&failure))?)
    }
}

#[async_trait]
impl Account for Rds {
    async fn database(&self, of: Form, id: &str) -> Result<Database, Refusal> {
        match of {
            Form::Instance => {
                let found: Instance = self.look("DescribeDBInstances", "DBInstanceIdentifier", id).await?;
                Ok(found.into())
            }
            Form::Cluster => {
                let found: Cluster = self.look("DescribeDBClusters", "DBClusterIdentifier", id).await?;
                Ok(found.into())
            }
        }
    }

    async fn snapshot(&self, of: Form, id: &str) -> Result<Snapshot, Refusal> {
        let (action, name) = match of {
            Form::Instance => ("DescribeDBSnapshots", "DBSnapshotIdentifier"),
            Form::Cluster => ("DescribeDBClusterSnapshots", "DBClusterSnapshotIdentifier"),
        };
        let found: Taken = self.look(action, name, id).await?;
        Ok(found.into())
    }

    async fn create_snapshot(&self, of: Form, database: &str, id: &str) -> Result<(), Refusal> {
        self.tell(match of {
            Form::Instance => {
                form("CreateDBSnapshot", &[("DBInstanceIdentifier", database), ("DBSnapshotIdentifier", id)])
            }
            Form::Cluster => form(
                "CreateDBClusterSnapshot",
                &[("DBClusterIdentifier", database), ("DBClusterSnapshotIdentifier", id)],
            ),
        })
        .await
    }

    async fn delete_snapshot(&self, of: Form, id: &str) -> Result<(), Refusal> {
        self.tell(match of {
            Form::Instance => form("DeleteDBSnapshot", &[("DBSnapshotIdentifier", id)]),
            Form::Cluster => form("DeleteDBClusterSnapshot", &[("DBClusterSnapshotIdentifier", id)]),
        })
        .await
    }

    async fn restore(&self, of: Form, wish: &Restored) -> Result<(), Refusal> {
        let (engine, version) = &wish.engine;
        let mut fields = match of {
            Form::Instance => form(
                "RestoreDBInstanceFromDBSnapshot",
                &[("DBInstanceIdentifier", &*wish.id), ("DBSnapshotIdentifier", &wish.snapshot)],
            ),
            Form::Cluster => form(
                "RestoreDBClusterFromSnapshot",
                &[
                    ("DBClusterIdentifier", &*wish.id),
                    ("SnapshotIdentifier", &wish.snapshot),
                    ("Engine", engine),
                    ("EngineVersion", version),
                ],
            ),
        };
        if !wish.subnet_group.is_empty() {
            fields.push(("DBSubnetGroupName".to_owned(), wish.subnet_group.clone()));
        }
        list(&mut fields, "VpcSecurityGroupIds.VpcSecurityGroupId", &wish.security_groups);
        made_by(&mut fields, &wish.made_by);
        self.tell(fields).await
    }

    async fn create_member(&self, wish: &Member) -> Result<(), Refusal> {
        let mut fields = form(
            "CreateDBInstance",
            &[
                ("DBInstanceIdentifier", &*wish.id),
                ("DBClusterIdentifier", &wish.cluster),
                ("DBInstanceClass", &wish.class),
                ("Engine", &wish.engine),
            ],
        );
        made_by(&mut fields, &wish.made_by);
        self.tell(fields).await
    }

    async fn delete_database(&self, of: Form, id: &str) -> Result<(), Refusal> {
        let skip = ("SkipFinalSnapshot", "true");
        self.tell(match of {
            Form::Instance => form("DeleteDBInstance", &[("DBInstanceIdentifier", id), skip]),
            Form::Cluster => form("DeleteDBCluster", &[("DBClusterIdentifier", id), skip]),
        })
        .await
    }
}
