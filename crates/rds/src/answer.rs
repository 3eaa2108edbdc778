//! Answers of the service, as far as they are read. What is not named here is passed over.

use crate::MADE_BY;
use cistern_functions::databases::{Database, Endpoint, Snapshot};
use cistern_functions::ports::{Refusal, Why};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What was found, of an answer to a question that names one thing.
///
/// # Errors
/// [`Why::Absent`] where nothing was found, [`Why::Invalid`] where this is no answer of the service.
pub(crate) fn first<T: DeserializeOwned>(action: &str, answer: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(answer).ok();
    let read: Option<Answer<T>> = text.and_then(|text| quick_xml::de::from_str(text).ok());
    let strange =
        || Refusal::new(Why::Invalid, format!("RDS answered {action} with what is no answer to it"));
    let found = read.ok_or_else(strange)?.result.list.items.into_iter().next();
    found.ok_or_else(|| Refusal::new(Why::Absent, "is not there"))
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(
        alias = "DescribeDBInstancesResult",
        alias = "DescribeDBClustersResult",
        alias = "DescribeDBSnapshotsResult",
        alias = "DescribeDBClusterSnapshotsResult"
    )]
    result: Found<T>,
}

#[derive(Deserialize)]
struct Found<T> {
    #[serde(
        alias = "DBInstances",
        alias = "DBClusters",
        alias = "DBSnapshots",
        alias = "DBClusterSnapshots"
    )]
    list: List<T>,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(
        alias = "DBInstance",
        alias = "DBCluster",
        alias = "DBSnapshot",
        alias = "DBClusterSnapshot",
        default = "Vec::new"
    )]
    items: Vec<T>,
}

#[derive(Deserialize)]
pub(crate) struct Instance {
    #[serde(rename = "DBInstanceStatus", default)]
    status: String,
    #[serde(rename = "Endpoint")]
    endpoint: Option<Address>,
    #[serde(rename = "AllocatedStorage", default)]
    allocated_gib: i64,
    #[serde(rename = "DBInstanceClass", default)]
    class: String,
    #[serde(rename = "VpcSecurityGroups", default)]
    security_groups: Groups,
    #[serde(rename = "DBSubnetGroup", default)]
    subnet_group: SubnetGroup,
    #[serde(rename = "TagList", default)]
    tags: Tags,
}

#[derive(Deserialize)]
pub(crate) struct Cluster {
    #[serde(rename = "Status", default)]
    status: String,
    #[serde(rename = "VpcSecurityGroups", default)]
    security_groups: Groups,
    #[serde(rename = "DBSubnetGroup", default)]
    subnet_group: String,
    #[serde(rename = "DBClusterMembers", default)]
    members: Members,
    #[serde(rename = "TagList", default)]
    tags: Tags,
}

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "Address", default)]
    host: String,
    #[serde(rename = "Port", default)]
    port: u16,
}

#[derive(Default, Deserialize)]
struct SubnetGroup {
    #[serde(rename = "DBSubnetGroupName", default)]
    name: String,
}

#[derive(Default, Deserialize)]
struct Groups {
    #[serde(rename = "VpcSecurityGroupMembership", default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "VpcSecurityGroupId", default)]
    id: String,
}

impl Groups {
    fn ids(self) -> Vec<String> {
        self.groups.into_iter().map(|group| group.id).filter(|id| !id.is_empty()).collect()
    }
}

#[derive(Default, Deserialize)]
struct Members {
    #[serde(rename = "DBClusterMember", default)]
    members: Vec<InCluster>,
}

#[derive(Deserialize)]
struct InCluster {
    #[serde(rename = "DBInstanceIdentifier", default)]
    id: String,
}

#[derive(Default, Deserialize)]
struct Tags {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "Key", default)]
    key: String,
    #[serde(rename = "Value", default)]
    value: String,
}

impl Tags {
    fn made_by(self) -> Option<String> {
        self.tags.into_iter().find(|tag| tag.key == MADE_BY).map(|tag| tag.value)
    }
}

impl From<Instance> for Database {
    fn from(found: Instance) -> Database {
        let listens = |address: &Address| !address.host.is_empty();
        Database {
            status: found.status,
            endpoint: found.endpoint.filter(listens).map(|a| Endpoint { host: a.host, port: a.port }),
            allocated_gib: found.allocated_gib,
            class: found.class,
            security_groups: found.security_groups.ids(),
            subnet_group: found.subnet_group.name,
            members: Vec::new(),
            made_by: found.tags.made_by(),
        }
    }
}

impl From<Cluster> for Database {
    fn from(found: Cluster) -> Database {
        Database {
            status: found.status,
            security_groups: found.security_groups.ids(),
            subnet_group: found.subnet_group,
            members: found.members.members.into_iter().map(|member| member.id).collect(),
            made_by: found.tags.made_by(),
            ..Database::default()
        }
    }
}

/// A snapshot, of an instance or a cluster: the fields are the same.
#[derive(Deserialize)]
pub(crate) struct Taken {
    #[serde(rename = "Status", default)]
    status: String,
    #[serde(rename = "PercentProgress", default)]
    percent: i64,
    #[serde(rename = "AllocatedStorage", default)]
    allocated_gib: i64,
    #[serde(rename = "Engine", default)]
    engine: String,
    #[serde(rename = "EngineVersion", default)]
    engine_version: String,
}

impl From<Taken> for Snapshot {
    fn from(found: Taken) -> Snapshot {
        let Taken { status, percent, allocated_gib, engine, engine_version } = found;
        Snapshot { status, percent, allocated_gib, engine, engine_version }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    const INSTANCE: &str = "<DescribeDBInstancesResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\">\
        <DescribeDBInstancesResult><DBInstances><DBInstance><BackupRetentionPeriod>7</BackupRetentionPeriod>\
        <DBInstanceStatus>available</DBInstanceStatus><VpcSecurityGroups><VpcSecurityGroupMembership><Status>active\
        </Status><VpcSecurityGroupId>sg-1</VpcSecurityGroupId></VpcSecurityGroupMembership>\
        <VpcSecurityGroupMembership><VpcSecurityGroupId>sg-2</VpcSecurityGroupId></VpcSecurityGroupMembership>\
        </VpcSecurityGroups><DBSecurityGroups/><AllocatedStorage>20</AllocatedStorage><DBSubnetGroup><VpcId>vpc-1\
        </VpcId><DBSubnetGroupName>inner</DBSubnetGroupName></DBSubnetGroup><Endpoint><Port>5433</Port><Address>\
        db.x.eu-1.rds.amazonaws.com</Address></Endpoint><DBInstanceClass>db.t3.micro</DBInstanceClass><TagList><Tag>\
        <Key>team</Key><Value>a</Value></Tag><Tag><Key>cistern.dev/made-by</Key><Value>u1-0-0</Value></Tag></TagList>\
        </DBInstance></DBInstances></DescribeDBInstancesResult><ResponseMetadata><RequestId>r</RequestId>\
        </ResponseMetadata></DescribeDBInstancesResponse>";

    #[test]
    fn an_instance_is_read() {
        let found: Database = first::<Instance>("DescribeDBInstances", INSTANCE.as_bytes()).unwrap().into();
        let endpoint = Endpoint { host: "db.x.eu-1.rds.amazonaws.com".to_owned(), port: 5433 };
        let wanted = Database {
            status: "available".to_owned(),
            endpoint: Some(endpoint),
            allocated_gib: 20,
            class: "db.t3.micro".to_owned(),
            security_groups: vec!["sg-1".to_owned(), "sg-2".to_owned()],
            subnet_group: "inner".to_owned(),
            members: Vec::new(),
            made_by: Some("u1-0-0".to_owned()),
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_instance_that_is_being_made_says_little() {
        let text = "<R><DescribeDBInstancesResult><DBInstances><DBInstance><DBInstanceStatus>creating\
            </DBInstanceStatus><Endpoint/><TagList/><VpcSecurityGroups/></DBInstance></DBInstances>\
            </DescribeDBInstancesResult></R>";
        let found: Database = first::<Instance>("DescribeDBInstances", text.as_bytes()).unwrap().into();
        assert_eq!(found, Database { status: "creating".to_owned(), ..Database::default() });
    }

    #[test]
    fn a_cluster_names_its_members() {
        let text = "<R><DescribeDBClustersResult><DBClusters><DBCluster><Status>available</Status><Endpoint>c.x\
            </Endpoint><DBSubnetGroup>inner</DBSubnetGroup><DBClusterMembers><DBClusterMember><IsClusterWriter>true\
            </IsClusterWriter><DBInstanceIdentifier>c-1</DBInstanceIdentifier></DBClusterMember></DBClusterMembers>\
            </DBCluster></DBClusters></DescribeDBClustersResult></R>";
        let found: Database = first::<Cluster>("DescribeDBClusters", text.as_bytes()).unwrap().into();
        assert_eq!((found.members, found.subnet_group), (vec!["c-1".to_owned()], "inner".to_owned()));
    }

    #[test]
    fn nothing_found_is_absent_and_nonsense_is_said() {
        let none = "<R><DescribeDBSnapshotsResult><DBSnapshots/></DescribeDBSnapshotsResult></R>";
        let why = |text: &str| first::<Taken>("DescribeDBSnapshots", text.as_bytes()).err().unwrap().why;
        assert_eq!(why(none), Why::Absent);
        assert_eq!(why("<html>a proxy's page</html>"), Why::Invalid);
        assert_eq!(why("{}"), Why::Invalid);
    }
}
