//! Every function a blueprint can call, with its arguments and outputs, and the ones that are gone.
//!
//! Data, not behaviour: the linter reads it, the action runner refuses calls by it, and a test of the
//! functions' own crate holds both in step. Source: Kanister at its head of August 2026, `pkg/function`.

/// What a function takes in an argument, after rendering and Kanister's weak conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text; numbers and booleans become one.
    Text,
    /// A whole number, or a text of one.
    Number,
    /// A boolean, or a text of one.
    Flag,
    /// A list of texts; a single text is a list of one.
    Texts,
    /// Names with texts.
    TextMap,
    /// Free-form.
    Object,
    /// One of these texts, or an empty one.
    OneOf(&'static [&'static str]),
}

impl Shape {
    /// In words, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Text => "a string",
            Shape::Number => "a number",
            Shape::Flag => "true or false",
            Shape::Texts => "a list of strings",
            Shape::TextMap => "a map of strings",
            Shape::Object => "a map",
            Shape::OneOf(_) => "one of the words it knows",
        }
    }
}

/// An argument of a function.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// The key in `args`; case matters.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Without it the call is refused.
    pub required: bool,
}

/// Where a function's outputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Whatever the command prints with `kando output`.
    Printed,
    /// These keys, always.
    Named(&'static [&'static str]),
}

/// A function a phase can name.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// As written in `func`; case matters.
    pub name: &'static str,
    /// All arguments except those of [`Function::overrides_pod`].
    pub arguments: &'static [Argument],
    /// What `.Phases.<phase>.Output` holds afterwards.
    pub outputs: Outputs,
    /// Takes `podOverride`, `podLabels` and `podAnnotations`.
    pub pods: Pods,
    /// Runs a command that can also run as a process of this machine; everything else needs a cluster.
    pub runs_command: bool,
    /// The names of arguments that hold a command line.
    pub commands: &'static [&'static str],
}

/// Which arguments about its pod a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// None.
    No,
    /// `podLabels` and `podAnnotations`.
    Marks,
    /// These and `podOverride`.
    All,
}

impl Function {
    /// The argument of this name, pod arguments included.
    pub fn argument(&self, name: &str) -> Option<Argument> {
        let own = self.arguments.iter().find(|a| a.name == name).copied();
        own.or_else(|| self.pod_arguments().iter().find(|a| a.name == name).copied())
    }

    /// The names of all arguments.
    pub fn argument_names(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.iter().chain(self.pod_arguments()).map(|a| a.name)
    }

    /// Whether the ActionSet's and the blueprint's pod overrides apply.
    pub fn overrides_pod(&self) -> bool {
        self.pods == Pods::All
    }

    fn pod_arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] =
            &[map("podLabels"), map("podAnnotations"), optional("podOverride", Shape::Object)];
        match self.pods {
            Pods::No => &[],
            Pods::Marks => &ALL[..2],
            Pods::All => ALL,
        }
    }
}

/// A function that existed once.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    /// As written in old blueprints.
    pub name: &'static str,
    /// Since when it is gone, and what to use now.
    pub instead: &'static str,
}

/// The function of this name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

/// What became of a function of this name, if there was one.
pub fn removed(name: &str) -> Option<&'static Removed> {
    REMOVED.iter().find(|f| f.name == name)
}

/// The name among `names` that was probably meant.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    /// Jaro-Winkler likeness below which two names have nothing to do with each other.
    const ALIKE_MIN: f64 = 0.8;
    let small = name.to_lowercase();
    names
        .map(|candidate| (candidate, strsim::jaro_winkler(&small, &candidate.to_lowercase())))
        .filter(|(_, likeness)| *likeness >= ALIKE_MIN)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}

const fn required(name: &'static str, shape: Shape) -> Argument {
    Argument { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Argument {
    Argument { name, shape, required: false }
}

const fn need(name: &'static str) -> Argument {
    required(name, Shape::Text)
}

const fn text(name: &'static str) -> Argument {
    optional(name, Shape::Text)
}

const fn flag(name: &'static str) -> Argument {
    optional(name, Shape::Flag)
}

const fn map(name: &'static str) -> Argument {
    optional(name, Shape::TextMap)
}

const fn command(name: &'static str) -> Argument {
    required(name, Shape::Texts)
}

const fn runner(name: &'static str, pods: Pods, arguments: &'static [Argument]) -> Function {
    Function { name, arguments, outputs: Outputs::Printed, pods, runs_command: true, commands: &["command"] }
}

const fn cluster(
    name: &'static str,
    pods: Pods,
    arguments: &'static [Argument],
    outputs: &'static [&'static str],
) -> Function {
    Function { name, arguments, outputs: Outputs::Named(outputs), pods, runs_command: false, commands: &[] }
}

const KEY: Argument = text("encryptionKey");
const INSECURE: Argument = flag("insecureTLS");
/// Where functions over RDS may take their credential from. The last is what Kanister's documentation calls the third.
const CREDENTIALS_SOURCES: &[&str] = &["profile", "secret", "eks_service_account", "serviceaccount"];

/// The functions of the current release, by name.
pub const FUNCTIONS: &[Function] = &[
    cluster(
        "BackupData",
        Pods::No,
        &[
            need("namespace"),
            need("pod"),
            need("container"),
            need("includePath"),
            need("backupArtifactPrefix"),
            KEY,
            INSECURE,
        ],
        &["backupID", "backupTag", "fileCount", "size", "phySize", "version"],
    ),
    cluster(
        "BackupDataAll",
        Pods::No,
        &[
            need("namespace"),
            need("container"),
            need("includePath"),
            need("backupArtifactPrefix"),
            text("pods"),
            KEY,
            INSECURE,
        ],
        &["BackupAllInfo", "version"],
    ),
    cluster(
        "BackupDataStats",
        Pods::All,
        &[
            need("namespace"),
            need("backupArtifactPrefix"),
            need("backupID"),
            text("image"),
            text("statsMode"),
            KEY,
        ],
        &["mode", "fileCount", "size", "version"],
    ),
    cluster(
        "CheckRepository",
        Pods::All,
        &[need("backupArtifactPrefix"), text("image"), KEY, INSECURE],
        &["passwordIncorrect", "repoUnavailable", "version"],
    ),
    cluster(
        "CopyVolumeData",
        Pods::All,
        &[
            need("namespace"),
            need("volume"),
            need("dataArtifactPrefix"),
            text("image"),
            text("mountPath"),
            KEY,
            INSECURE,
        ],
        &[
            "backupID",
            "backupRoot",
            "backupArtifactLocation",
            "backupTag",
            "fileCount",
            "size",
            "phySize",
            "version",
        ],
    ),
    cluster(
        "CreateCSISnapshot",
        Pods::No,
        &[need("pvc"), need("namespace"), need("snapshotClass"), text("name"), map("labels")],
        &["name", "pvc", "namespace", "restoreSize", "snapshotContent"],
    ),
    cluster(
        "CreateCSISnapshotStatic",
        Pods::No,
        &[need("name"), need("namespace"), need("driver"), need("snapshotHandle"), need("snapshotClass")],
        &["name", "namespace", "restoreSize", "snapshotContent"],
    ),
    cluster(
        "CreateRDSSnapshot",
        Pods::No,
        &[
            need("instanceID"),
            text("dbEngine"),
            optional("credentialsSource", Shape::OneOf(CREDENTIALS_SOURCES)),
            text("credentialsSecret"),
            text("region"),
        ],
        &["snapshotID", "instanceID", "securityGroupID", "allocatedStorage", "dbSubnetGroup"],
    ),
    cluster("DeleteCSISnapshot", Pods::No, &[need("name"), need("namespace")], &[]),
    cluster("DeleteCSISnapshotContent", Pods::No, &[need("name")], &[]),
    cluster(
        "DeleteData",
        Pods::All,
        &[
            need("namespace"),
            need("backupArtifactPrefix"),
            text("backupID"),
            text("backupTag"),
            text("image"),
            flag("reclaimSpace"),
            KEY,
            INSECURE,
        ],
        &["spaceFreed"],
    ),
    cluster(
        "DeleteDataAll",
        Pods::All,
        &[
            need("namespace"),
            need("backupArtifactPrefix"),
            need("backupInfo"),
            text("image"),
            flag("reclaimSpace"),
            KEY,
            INSECURE,
        ],
        &["spaceFreed"],
    ),
    cluster(
        "DeleteRDSSnapshot",
        Pods::No,
        &[
            need("snapshotID"),
            text("dbEngine"),
            optional("credentialsSource", Shape::OneOf(CREDENTIALS_SOURCES)),
            text("credentialsSecret"),
            text("region"),
        ],
        &[],
    ),
    cluster(
        "ExportRDSSnapshotToLocation",
        Pods::Marks,
        &[
            need("namespace"),
            need("instanceID"),
            need("snapshotID"),
            required("dbEngine", Shape::OneOf(&["PostgreSQL"])),
            text("username"),
            text("password"),
            text("backupArtifactPrefix"),
            optional("databases", Shape::Texts),
            optional("securityGroupID", Shape::Texts),
            text("dbSubnetGroup"),
            optional("credentialsSource", Shape::OneOf(CREDENTIALS_SOURCES)),
            text("credentialsSecret"),
            text("region"),
        ],
        &["backupID", "snapshotID", "instanceID", "securityGroupID"],
    ),
    runner("KubeExec", Pods::No, &[need("namespace"), need("pod"), text("container"), command("command")]),
    runner(
        "KubeExecAll",
        Pods::No,
        &[need("namespace"), need("pods"), need("containers"), command("command")],
    ),
    cluster(
        "KubeOps",
        Pods::No,
        &[need("operation"), text("spec"), text("namespace"), optional("objectReference", Shape::Object)],
        &["apiVersion", "group", "resource", "kind", "name", "namespace"],
    ),
    runner("KubeTask", Pods::All, &[need("image"), command("command"), text("namespace")]),
    cluster("LocationDelete", Pods::No, &[need("artifact")], &[]),
    Function {
        name: "MultiContainerRun",
        arguments: &[
            need("backgroundImage"),
            command("backgroundCommand"),
            need("outputImage"),
            command("outputCommand"),
            text("namespace"),
            text("initImage"),
            optional("initCommand", Shape::Texts),
            text("sharedVolumeMedium"),
            text("sharedVolumeSizeLimit"),
            text("sharedVolumeDir"),
        ],
        outputs: Outputs::Printed,
        pods: Pods::All,
        runs_command: true,
        commands: &["initCommand", "backgroundCommand", "outputCommand"],
    },
    runner(
        "PrepareData",
        Pods::All,
        &[
            need("namespace"),
            need("image"),
            command("command"),
            map("volumes"),
            text("serviceaccount"),
            flag("failOnError"),
        ],
    ),
    cluster(
        "RestoreCSISnapshot",
        Pods::No,
        &[
            need("name"),
            need("pvc"),
            need("namespace"),
            need("storageClass"),
            need("restoreSize"),
            optional("accessModes", Shape::Texts),
            text("volumeMode"),
            map("labels"),
        ],
        &[],
    ),
    Function {
        outputs: Outputs::Printed,
        ..cluster(
            "RestoreData",
            Pods::All,
            &[
                need("namespace"),
                need("image"),
                need("backupArtifactPrefix"),
                text("backupTag"),
                text("backupIdentifier"),
                text("pod"),
                map("volumes"),
                text("restorePath"),
                text("backupPath"),
                KEY,
                INSECURE,
            ],
            &[],
        )
    },
    Function {
        outputs: Outputs::Printed,
        ..cluster(
            "RestoreDataAll",
            Pods::All,
            &[
                need("namespace"),
                need("image"),
                need("backupArtifactPrefix"),
                need("backupInfo"),
                text("restorePath"),
                text("pods"),
                KEY,
                INSECURE,
            ],
            &[],
        )
    },
    cluster(
        "RestoreRDSSnapshot",
        Pods::Marks,
        &[
            need("instanceID"),
            text("snapshotID"),
            text("backupArtifactPrefix"),
            text("backupID"),
            text("username"),
            text("password"),
            text("namespace"),
            text("dbEngine"),
            optional("securityGroupID", Shape::Texts),
            text("dbSubnetGroup"),
            optional("credentialsSource", Shape::OneOf(CREDENTIALS_SOURCES)),
            text("credentialsSecret"),
            text("region"),
        ],
        &["endpoint"],
    ),
    cluster(
        "ScaleWorkload",
        Pods::No,
        &[
            required("replicas", Shape::Number),
            text("namespace"),
            text("name"),
            text("kind"),
            flag("waitForReady"),
        ],
        &["originalReplicaCount"],
    ),
    cluster("Wait", Pods::No, &[need("timeout"), required("conditions", Shape::Object)], &[]),
    cluster("WaitV2", Pods::No, &[need("timeout"), required("conditions", Shape::Object)], &[]),
];

/// Functions of earlier releases.
pub const REMOVED: &[Removed] = &[
    Removed {
        name: "CreateVolumeSnapshot",
        instead: "removed in Kanister 0.115: use CreateCSISnapshot, one phase per volume",
    },
    Removed {
        name: "WaitForSnapshotCompletion",
        instead: "removed in Kanister 0.115: CreateCSISnapshot returns when the snapshot is ready",
    },
    Removed {
        name: "CreateVolumeFromSnapshot",
        instead: "removed in Kanister 0.115: use RestoreCSISnapshot, one phase per volume",
    },
    Removed { name: "DeleteVolumeSnapshot", instead: "removed in Kanister 0.115: use DeleteCSISnapshot" },
    Removed {
        name: "BackupDataUsingKopiaServer",
        instead: "removed after Kanister 0.119 together with RepositoryServer: use BackupData, or a dump \
                  that KubeTask pipes into `kando location push`",
    },
    Removed {
        name: "RestoreDataUsingKopiaServer",
        instead: "removed after Kanister 0.119 together with RepositoryServer: use RestoreData, or KubeTask \
                  with `kando location pull`",
    },
    Removed {
        name: "DeleteDataUsingKopiaServer",
        instead: "removed after Kanister 0.119 together with RepositoryServer: use DeleteData, or KubeTask \
                  with `kando location delete`",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_whole_and_sorted() {
        let names: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), 28);
        assert!(names.is_sorted(), "{names:?}");
        for function in FUNCTIONS {
            let mut arguments: Vec<&str> = function.argument_names().collect();
            arguments.sort_unstable();
            let count = arguments.len();
            arguments.dedup();
            assert_eq!(arguments.len(), count, "{} names an argument twice", function.name);
            for command in function.commands {
                let argument = function.argument(command).expect("a command is an argument");
                assert_eq!(argument.shape, Shape::Texts);
            }
        }
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = || FUNCTIONS.iter().map(|f| f.name);
        assert_eq!(nearest("KubeTsk", names()), Some("KubeTask"));
        assert_eq!(nearest("kubetask", names()), Some("KubeTask"));
        assert_eq!(nearest("Quux", names()), None);
    }
}
