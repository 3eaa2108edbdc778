//! The Go types that Kanister's templates see: names, fields and JSON tags as in its packages `param`,
//! `v1alpha1` and Kubernetes' `v1`, and values of them made from JSON as Go's decoder makes them.

use std::sync::LazyLock;

use base64::Engine as _;
use cistern_api::wire::ProfileArgument;
use cistern_template::{Field, Kind, Time, Type, Value};
use serde_json::Value as Json;

/// Every type that a place in the template root can have.
pub struct Types {
    /// `param.TemplateParams`, the root itself.
    pub root: Type,
    /// `param.StatefulSetParams`
    pub stateful_set: Type,
    /// `param.DeploymentConfigParams`
    pub deployment_config: Type,
    /// `param.DeploymentParams`
    pub deployment: Type,
    /// `param.PVCParams`
    pub pvc: Type,
    /// `param.NamespaceParams`
    pub namespace: Type,
    /// `v1alpha1.Artifact`
    pub artifact: Type,
    /// `v1.ConfigMap`
    pub config_map: Type,
    /// `v1.Secret`
    pub secret: Type,
    /// `param.Profile`
    pub profile: Type,
    /// `param.Profile` that shows as a reference to a file in JSON: [`ProfileArgument::file_reference`].
    pub profile_by_file: Type,
    /// `param.Credential`
    pub credential: Type,
    /// `param.KeyPair`
    pub key_pair: Type,
    /// `param.KopiaServerCreds`
    pub kopia_server: Type,
    /// `v1alpha1.Location`
    pub location: Type,
    /// `param.Phase`
    pub phase: Type,
}

/// The hidden field of a profile that is shown as a reference.
const PROFILE_FILE_FIELD: &str = "file";

/// All types, made once.
pub fn types() -> &'static Types {
    static TYPES: LazyLock<Types> = LazyLock::new(make);
    &TYPES
}

fn field(name: &str, ty: &Type) -> Field {
    Field::new(name, ty.clone())
}

fn tagged(name: &str, ty: &Type, tag: &str) -> Field {
    field(name, ty).tagged(tag)
}

fn to(ty: &Type) -> Type {
    Type::pointer(ty.clone())
}

fn by_name(ty: &Type) -> Type {
    Type::map(Type::string(), ty.clone())
}

fn make() -> Types {
    let (config_map, secret) = kubernetes();
    let workload = |name: &str| {
        let names = Type::string_list();
        let fields = vec![
            field("Name", &Type::string()),
            field("Namespace", &Type::string()),
            field("Pods", &names),
            field("Containers", &Type::slice(names.clone())),
            field("PersistentVolumeClaims", &by_name(&Type::string_map())),
        ];
        Type::structure(name, fields)
    };
    let named = |name: &str| {
        Type::structure(name, vec![field("Name", &Type::string()), field("Namespace", &Type::string())])
    };
    let artifact = Type::structure(
        "v1alpha1.Artifact",
        vec![
            tagged("KeyValue", &Type::string_map(), "keyValue,omitempty"),
            tagged("KopiaSnapshot", &Type::string(), "kopiaSnapshot,omitempty"),
        ],
    );
    let phase = Type::structure(
        "param.Phase",
        vec![
            field("Secrets", &by_name(&secret)),
            field("ConfigMaps", &by_name(&config_map)),
            field("Output", &Type::dict()),
        ],
    );
    let profile = profile(&secret);
    let mut types = Types {
        root: Type::any(),
        stateful_set: workload("param.StatefulSetParams"),
        deployment_config: workload("param.DeploymentConfigParams"),
        deployment: workload("param.DeploymentParams"),
        pvc: named("param.PVCParams"),
        namespace: named("param.NamespaceParams"),
        artifact,
        config_map,
        secret,
        profile: profile.profile,
        profile_by_file: profile.by_file,
        credential: profile.credential,
        key_pair: profile.key_pair,
        kopia_server: profile.kopia_server,
        location: profile.location,
        phase,
    };
    types.root = root(&types);
    types
}

fn root(t: &Types) -> Type {
    let fields = vec![
        field("StatefulSet", &to(&t.stateful_set)),
        field("DeploymentConfig", &to(&t.deployment_config)),
        field("Deployment", &to(&t.deployment)),
        field("PVC", &to(&t.pvc)),
        field("Namespace", &to(&t.namespace)),
        field("ArtifactsIn", &by_name(&t.artifact)),
        field("ConfigMaps", &by_name(&t.config_map)),
        field("Secrets", &by_name(&t.secret)),
        field("Time", &Type::string()),
        field("Profile", &to(&t.profile)),
        field("Options", &Type::string_map()),
        field("Object", &Type::dict()),
        field("CurrentPhase", &to(&t.phase)),
        field("Phases", &by_name(&to(&t.phase))),
        field("DeferPhase", &to(&t.phase)),
        field("PodOverride", &Type::named("v1alpha1.JSONMap", &Type::dict())),
        field("PodAnnotations", &Type::string_map()),
        field("PodLabels", &Type::string_map()),
    ];
    Type::structure("param.TemplateParams", fields)
}

struct ProfileTypes {
    profile: Type,
    by_file: Type,
    credential: Type,
    key_pair: Type,
    kopia_server: Type,
    location: Type,
}

fn profile(secret: &Type) -> ProfileTypes {
    let text = Type::string();
    let location = Type::structure(
        "v1alpha1.Location",
        vec![
            tagged("Type", &Type::named("v1alpha1.LocationType", &text), "type"),
            tagged("Bucket", &text, "bucket"),
            tagged("Endpoint", &text, "endpoint"),
            tagged("Prefix", &text, "prefix"),
            tagged("Region", &text, "region"),
        ],
    );
    let key_pair = Type::structure("param.KeyPair", vec![field("ID", &text), field("Secret", &text)]);
    let kopia_server = Type::structure(
        "param.KopiaServerCreds",
        vec![
            field("Username", &text),
            field("Hostname", &text),
            field("Password", &text),
            field("Cert", &text),
            field("ConnectOptions", &by_name(&Type::int())),
        ],
    );
    let credential = Type::structure(
        "param.Credential",
        vec![
            field("Type", &Type::named("param.CredentialType", &text)),
            field("KeyPair", &to(&key_pair)),
            field("Secret", &to(secret)),
            field("KopiaServerSecret", &to(&kopia_server)),
        ],
    );
    let mut fields = vec![
        field("Location", &location),
        field("Credential", &credential),
        field("SkipSSLVerify", &Type::bool()),
    ];
    let profile = Type::structure("param.Profile", fields.clone());
    let mut file = field(PROFILE_FILE_FIELD, &text);
    file.unexported = true;
    fields.push(file);
    let by_file = Type::structure("param.Profile", fields);
    by_file.set_json_marshaler(profile_reference);
    ProfileTypes { profile, by_file, credential, key_pair, kopia_server, location }
}

/// The JSON of a profile that is kept in a file.
fn profile_reference(profile: &Value) -> String {
    let path = profile.field(PROFILE_FILE_FIELD).unwrap_or_else(Value::nil);
    let path = String::from_utf8_lossy(path.as_str().map_or(&[][..], |s| s)).into_owned();
    ProfileArgument::file_reference(&path).to_string()
}

/// `v1.ConfigMap` and `v1.Secret`.
fn kubernetes() -> (Type, Type) {
    let text = Type::string();
    let type_meta = Type::structure(
        "v1.TypeMeta",
        vec![tagged("Kind", &text, "kind,omitempty"), tagged("APIVersion", &text, "apiVersion,omitempty")],
    );
    let object_meta = object_meta();
    let head = || {
        vec![
            field("TypeMeta", &type_meta).embedded().tagged(",inline"),
            field("ObjectMeta", &object_meta).embedded().tagged("metadata,omitempty"),
            tagged("Immutable", &to(&Type::bool()), "immutable,omitempty"),
        ]
    };
    let mut config_map = head();
    config_map.push(tagged("Data", &Type::string_map(), "data,omitempty"));
    config_map.push(tagged("BinaryData", &by_name(&Type::bytes()), "binaryData,omitempty"));
    let mut secret = head();
    secret.push(tagged("Data", &by_name(&Type::bytes()), "data,omitempty"));
    secret.push(tagged("StringData", &Type::string_map(), "stringData,omitempty"));
    secret.push(tagged("Type", &Type::named("v1.SecretType", &text), "type,omitempty"));
    (Type::structure("v1.ConfigMap", config_map), Type::structure("v1.Secret", secret))
}

fn object_meta() -> Type {
    let text = Type::string();
    let uid = Type::named("v1.UID", &text);
    let time = Type::structure("v1.Time", vec![field("Time", &Type::time()).embedded()]);
    time.set_json_marshaler(time_json);
    let flag = to(&Type::bool());
    let owner = Type::structure(
        "v1.OwnerReference",
        vec![
            tagged("APIVersion", &text, "apiVersion"),
            tagged("Kind", &text, "kind"),
            tagged("Name", &text, "name"),
            tagged("UID", &uid, "uid"),
            tagged("Controller", &flag, "controller,omitempty"),
            tagged("BlockOwnerDeletion", &flag, "blockOwnerDeletion,omitempty"),
        ],
    );
    let fields_v1 = Type::structure("v1.FieldsV1", vec![tagged("Raw", &Type::bytes(), "-")]);
    let managed = Type::structure(
        "v1.ManagedFieldsEntry",
        vec![
            tagged("Manager", &text, "manager,omitempty"),
            tagged("Operation", &text, "operation,omitempty"),
            tagged("APIVersion", &text, "apiVersion,omitempty"),
            tagged("Time", &to(&time), "time,omitempty"),
            tagged("FieldsType", &text, "fieldsType,omitempty"),
            tagged("FieldsV1", &to(&fields_v1), "fieldsV1,omitempty"),
            tagged("Subresource", &text, "subresource,omitempty"),
        ],
    );
    Type::structure(
        "v1.ObjectMeta",
        vec![
            tagged("Name", &text, "name,omitempty"),
            tagged("GenerateName", &text, "generateName,omitempty"),
            tagged("Namespace", &text, "namespace,omitempty"),
            tagged("SelfLink", &text, "selfLink,omitempty"),
            tagged("UID", &uid, "uid,omitempty"),
            tagged("ResourceVersion", &text, "resourceVersion,omitempty"),
            tagged("Generation", &Type::int64(), "generation,omitempty"),
            tagged("CreationTimestamp", &time, "creationTimestamp,omitempty"),
            tagged("DeletionTimestamp", &to(&time), "deletionTimestamp,omitempty"),
            tagged("DeletionGracePeriodSeconds", &to(&Type::int64()), "deletionGracePeriodSeconds,omitempty"),
            tagged("Labels", &Type::string_map(), "labels,omitempty"),
            tagged("Annotations", &Type::string_map(), "annotations,omitempty"),
            tagged("OwnerReferences", &Type::slice(owner), "ownerReferences,omitempty"),
            tagged("Finalizers", &Type::string_list(), "finalizers,omitempty"),
            tagged("ManagedFields", &Type::slice(managed), "managedFields,omitempty"),
        ],
    )
}

/// `metav1.Time` in JSON: whole seconds in UTC, null when never set.
fn time_json(value: &Value) -> String {
    match value.embedded_time() {
        Some(time) if !time.is_zero() => format!("\"{}\"", time.rfc3339_secs()),
        _ => "null".to_owned(),
    }
}

/// A value of a Go type, decoded from JSON as Go's `encoding/json` does. What does not fit stays zero.
pub fn decode(ty: &Type, json: &Json) -> Value {
    match (ty.kind(), json) {
        (_, Json::Null) => Value::zero(ty),
        (Kind::Interface, _) => Value::from_json(json),
        (Kind::Pointer, _) => ty.elem().map_or_else(Value::nil, |elem| Value::pointer(decode(elem, json))),
        (Kind::Slice, Json::String(text)) if *ty == Type::bytes() => {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_or_else(|_| Value::zero(ty), Value::bytes)
        }
        (Kind::Slice, Json::Array(items)) => {
            let elem = ty.elem().cloned().unwrap_or_else(Type::any);
            Value::list_of(ty.clone(), items.iter().map(|item| decode(&elem, item)).collect())
        }
        (Kind::Map, Json::Object(map)) => {
            let elem = ty.elem().cloned().unwrap_or_else(Type::any);
            let entries = map.iter().map(|(k, v)| (Value::str(k), decode(&elem, v)));
            Value::map_of(ty.clone(), entries)
        }
        (Kind::Struct, _) => structure(ty, json),
        (Kind::String, Json::String(text)) => Value::str_of(ty.clone(), text),
        (Kind::Bool, Json::Bool(b)) => Value::bool(*b),
        (kind, Json::Number(n)) if kind.is_int() => Value::int_of(ty.clone(), n.as_i64().unwrap_or_default()),
        _ => Value::zero(ty),
    }
}

fn structure(ty: &Type, json: &Json) -> Value {
    if *ty == Type::time() {
        let time = json.as_str().and_then(Time::from_rfc3339);
        return time.map_or_else(|| Value::zero(ty), Value::time);
    }
    let value = |field: &Field| {
        if field.embedded && (field.inline || field.json.is_none() || field.ty == Type::time()) {
            return decode(&field.ty, json);
        }
        let member = field.json.as_ref().and_then(|name| json.get(name));
        member.map_or_else(|| Value::zero(&field.ty), |j| decode(&field.ty, j))
    };
    Value::structure(ty.clone(), ty.fields().iter().map(value).collect())
}
