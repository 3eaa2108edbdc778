//! What templates get to see: texts in, what Go makes of them out.

use cistern_api::{ActionSpec, Artifact, ObjectReference};
use cistern_template::Time;
use serde_json::json;

use super::*;
use crate::render::Renderer;

fn action() -> ActionSpec {
    let artifact = Artifact {
        key_value: BTreeMap::from([("path".to_owned(), "/old".to_owned())]),
        kopia_snapshot: "{\"id\":\"1\"}".to_owned(),
    };
    ActionSpec {
        object: ObjectReference { kind: "StatefulSet".to_owned(), ..ObjectReference::named("app", "db") },
        artifacts: BTreeMap::from([("dump".to_owned(), artifact)]),
        options: BTreeMap::from([("there".to_owned(), "1".to_owned())]),
        pod_override: json!({ "containers": [] }).as_object().cloned(),
        ..ActionSpec::default()
    }
}

fn material() -> Material {
    let profile = json!({
        "Location": { "type": "s3Compliant", "bucket": "b", "endpoint": "", "prefix": "p", "region": "r" },
        "Credential": { "Type": "keyPair", "KeyPair": { "ID": "AK<&>", "Secret": "SK" }, "Secret": null,
            "KopiaServerSecret": null },
        "SkipSSLVerify": true,
    });
    Material {
        object: json!({ "metadata": { "name": "db", "labels": { "a/b": "c" } }, "spec": { "replicas": 3, "ratio": 0.5 } }),
        workload: Some(Workload {
            name: "db".to_owned(),
            namespace: "app".to_owned(),
            pods: vec!["db-0".to_owned(), "db-1".to_owned()],
            containers: vec![vec!["main".to_owned()], vec!["main".to_owned(), "side".to_owned()]],
            volumes: BTreeMap::from([(
                "db-0".to_owned(),
                BTreeMap::from([("data-db-0".to_owned(), "/data".to_owned())]),
            )]),
            ..Workload::default()
        }),
        profile: Some(ResolvedProfile { json: profile, file: None, repository: None }),
        secrets: BTreeMap::from([(
            "aws".to_owned(),
            json!({ "metadata": { "name": "creds", "creationTimestamp": "2024-02-29T13:14:15Z" },
                "data": { "key": "bXk=" }, "type": "Opaque" }),
        )]),
        config_maps: BTreeMap::from([("place".to_owned(), json!({ "data": { "path": "s3://b" } }))]),
        time: "2026-01-02T03:04:05.12Z".to_owned(),
    }
}

fn render(material: &Material, text: &str) -> String {
    let mut views = PhaseViews::default();
    let output = json!({ "id": "7", "n": 3 }).as_object().cloned();
    views.phases.insert("dump".to_owned(), PhaseView { output, ..PhaseView::default() });
    views.phases.insert("now".to_owned(), PhaseView::default());
    let root = root(&action(), material, &views);
    match Renderer::new(&root, Time::unix(0, 0)).text("t", text) {
        Ok(text) => text,
        Err(error) => format!("ERROR {}", error.reason),
    }
}

/// The answers are Go's, with Kanister's types and options.
#[test]
fn templates_see_what_go_would_show_them() {
    let material = material();
    for (text, want) in [
        ("{{ .StatefulSet.Name }}/{{ .StatefulSet.Namespace }}", "db/app"),
        ("{{ index .StatefulSet.Pods 1 }} {{ len .StatefulSet.Pods }}", "db-1 2"),
        ("{{ index .StatefulSet.Containers 1 1 }}", "side"),
        (
            "{{ range $pod, $claims := .StatefulSet.PersistentVolumeClaims }}{{ range $c, $at := $claims }}{{ $pod }} {{ $c }} {{ $at }}{{ end }}{{ end }}",
            "db-0 data-db-0 /data",
        ),
        ("{{ if .Deployment }}yes{{ else }}no{{ end }}{{ if .PVC }}yes{{ end }}", "no"),
        (
            "{{ .Object.metadata.name }} {{ index .Object.metadata.labels \"a/b\" }} {{ .Object.spec.replicas }} {{ .Object.spec.ratio }}",
            "db c 3 0.5",
        ),
        (
            "{{ .ArtifactsIn.dump.KeyValue.path }} {{ .ArtifactsIn.dump.KopiaSnapshot }}",
            "/old {\"id\":\"1\"}",
        ),
        (
            "{{ .ConfigMaps.place.Data.path }} {{ .Secrets.aws.Data.key }} {{ .Secrets.aws.Data.key | toString }}",
            "s3://b [109 121] my",
        ),
        (
            "{{ .Secrets.aws.Name }} {{ .Secrets.aws.Type }} {{ .Secrets.aws.CreationTimestamp.Year }}",
            "creds Opaque 2024",
        ),
        (
            "{{ index .Secrets \"none\" | len }}",
            "ERROR template: config:1:27: executing \"config\" at <len>: error calling len: len of type v1.Secret",
        ),
        (
            "{{ .Time }} {{ toDate \"2006-01-02T15:04:05.999999999Z07:00\" .Time | date \"2006-01-02T15-04-05\" }}",
            "2026-01-02T03:04:05.12Z 2026-01-02T03-04-05",
        ),
        (
            "{{ .Profile.Location.Type }} {{ .Profile.Location.Bucket }} {{ .Profile.Credential.KeyPair.ID }} {{ .Profile.SkipSSLVerify }}",
            "s3Compliant b AK<&> true",
        ),
        (
            "{{ toJson .Profile }}",
            r#"{"Location":{"type":"s3Compliant","bucket":"b","endpoint":"","prefix":"p","region":"r"},"Credential":{"Type":"keyPair","KeyPair":{"ID":"AK\u003c\u0026\u003e","Secret":"SK"},"Secret":null,"KopiaServerSecret":null},"SkipSSLVerify":true}"#,
        ),
        (
            "{{ toJson .Secrets.aws }}",
            r#"{"metadata":{"name":"creds","creationTimestamp":"2024-02-29T13:14:15Z"},"data":{"key":"bXk="},"type":"Opaque"}"#,
        ),
        ("{{ .Phases.dump.Output.id }} {{ .Phases.dump.Output.n }}", "7 3"),
        ("{{ .Phases.now.Output.id }}", "ERROR \"id\" not found in .Phases.now.Output; it is empty"),
        ("{{ .Phases.later.Output.id }}", "ERROR \"later\" not found in .Phases; there is dump, now"),
        ("{{ index .Options \"none\" }}|{{ .Options.there }}", "|1"),
        ("{{ .Options.none }}", "ERROR \"none\" not found in .Options; there is there"),
        (
            "{{ hasKey .PodOverride \"containers\" }} {{ printf \"%T\" .PodOverride }}",
            "true v1alpha1.JSONMap",
        ),
        ("{{ if .CurrentPhase }}set{{ end }}{{ if .DeferPhase }}set{{ end }}", "set"),
    ] {
        assert_eq!(render(&material, text), want, "{text}");
    }
}

#[test]
fn a_nil_pointer_says_what_is_missing() {
    let bare = Material { time: "2026-01-02T03:04:05Z".to_owned(), ..Material::default() };
    let said = render(&bare, "{{ .Profile.Location.Bucket }}");
    assert!(said.ends_with("the ActionSet names no profile"), "{said}");
    let said = render(&bare, "{{ .Deployment.Name }}");
    assert!(said.contains("nil pointer") && said.ends_with("of another kind"), "{said}");
}

#[test]
fn a_profile_in_a_file_is_a_reference_in_json_and_itself_everywhere_else() {
    let mut material = material();
    material.profile.as_mut().unwrap().file = Some("/run/p.json".to_owned());
    let text =
        "{{ toJson .Profile }} {{ .Profile.Location.Bucket }} {{ .Profile.Credential.KeyPair.Secret }}";
    assert_eq!(render(&material, text), "{\"cistern.dev/profile-file\":\"/run/p.json\"} b SK");
    assert_eq!(render(&material, "{{ toJson .Profile.Location.Bucket }}"), "\"b\"");
}

#[test]
fn secrets_are_not_in_debug() {
    let shown = format!("{:?}", material());
    assert!(!shown.contains("SK") && !shown.contains("bXk="), "{shown}");
}
