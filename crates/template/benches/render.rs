//! How long it takes to render what blueprints typically hold: one action, and a whole script.

use std::hint::black_box;
use std::sync::Arc;

use cistern_template::{Functions, MissingKey, Options, Template, Time, Type, Value, World};
use criterion::{Criterion, criterion_group, criterion_main};

const ACTION: &str = "{{ .Phases.backup.Secrets.db.Data.password | toString | quote }}";

const SCRIPT: &str = r#"set -o pipefail
export PGPASSWORD='{{ index .Phases.backup.Secrets.db.Data "password" | toString }}'
{{- if .Options.compress }}
filter="gzip -c"
{{- else }}
filter=cat
{{- end }}
{{ range $i, $pod := .StatefulSet.Pods }}
dump {{ $i }} {{ $pod | upper | replace "-" "_" }} | $filter | kando location push --profile '{{ toJson .Profile }}' \
  --path "{{ $.Time | date "2006-01-02" }}/{{ $pod }}" -
{{- end }}
"#;

fn data() -> Value {
    let secret = Value::dict([(
        "Data",
        Value::map_of(
            Type::map(Type::string(), Type::bytes()),
            [(Value::str("password"), Value::bytes("s3cr3t")), (Value::str("user"), Value::bytes("admin"))],
        ),
    )]);
    Value::dict([
        ("Time", Value::str("2024-02-29T13:14:15Z")),
        ("Options", Value::dict([("compress", Value::str("yes"))])),
        ("StatefulSet", Value::dict([("Pods", Value::strings(["my-db-0", "my-db-1", "my-db-2"]))])),
        ("Phases", Value::dict([("backup", Value::dict([("Secrets", Value::dict([("db", secret)]))]))])),
    ])
}

fn render(c: &mut Criterion) {
    let functions = Arc::new(Functions::sprig());
    let profile = Value::dict([("Location", Value::dict([("bucket", Value::str("b"))]))]);
    let data = data();
    let script = SCRIPT.replace(".Profile", "$.Profile");
    let data = {
        let mut entries: Vec<(Value, Value)> = data.entries();
        entries.push((Value::str("Profile"), profile));
        Value::map_of(Type::dict(), entries)
    };
    let options = Options::new(World::at(Time::unix(1_700_000_000, 0))).missing_key(MissingKey::Error);
    for (name, text) in [("action", ACTION), ("script", script.as_str())] {
        c.bench_function(&format!("parse and render one {name}"), |b| {
            b.iter(|| {
                let template =
                    Template::parse("config", black_box(text), &functions).expect("it is a template");
                template.render(&data, &options).expect("it renders")
            });
        });
    }
    c.bench_function("make the table of functions", |b| b.iter(Functions::sprig));
}

criterion_group!(benches, render);
criterion_main!(benches);
