//! Templates and paths made of anything, rendered with JSON made of anything.

use cistern_template::{Fail, Function, Functions, JsonPath, Limits, MissingKey, Options};
use cistern_template::{Template, Time, Type, Value, World};
use std::sync::{Arc, LazyLock};

/// Far less than a program would allow, so that no input takes long.
fn limits() -> Limits {
    Limits {
        output_bytes: 1 << 20,
        value_bytes: 1 << 20,
        total_bytes: 16 << 20,
        steps: 50_000,
        ..Limits::default()
    }
}

/// Everything but what makes keys, which takes seconds by design.
static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| {
    let mut functions = Functions::sprig();
    for name in ["genPrivateKey", "genCA", "genSelfSignedCert", "genSignedCert"] {
        functions.insert(name, Function::variadic(vec![Type::any()], |_, _| Err(Fail::text("left out"))));
    }
    Arc::new(functions)
});

/// A text, and after a zero byte what it is rendered with; data nobody gave is a small object.
fn split(input: &[u8]) -> Option<(&str, Value)> {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let text = std::str::from_utf8(parts.next()?).ok()?;
    let data = parts.next().and_then(|json| serde_json::from_slice(json).ok());
    let data = data.unwrap_or_else(|| {
        serde_json::json!({
            "name": "db", "n": 3, "f": 1.5, "t": true, "none": null, "list": [3, "a", {"k": "v"}, []],
            "map": {"a": 1, "b": {"c": "d"}}, "text": "é\n\u{0}<&>\"'"
        })
    });
    Some((text, Value::from_json(&data)))
}

pub fn template(input: &[u8]) {
    let Some((text, data)) = split(input) else { return };
    let Ok(template) = Template::parse("fuzz", text, &FUNCTIONS) else { return };
    for missing_key in [MissingKey::Default, MissingKey::Zero, MissingKey::Error] {
        let world =
            World { dice: Arc::new(|bytes| bytes.fill(7)), ..World::at(Time::unix(1_700_000_000, 0)) };
        let options = Options { limits: limits(), missing_key, world };
        let rendered = template.render(&data, &options);
        if let Ok(out) = &rendered {
            assert!(out.len() <= options.limits.output_bytes, "{} bytes", out.len());
        }
        let again = template.render(&data, &options);
        let said = |r: Result<Vec<u8>, cistern_template::Error>| r.map_err(|e| e.to_string());
        assert_eq!(said(again), said(rendered), "in one world a template says one thing");
    }
}

pub fn jsonpath(input: &[u8]) {
    let Some((text, data)) = split(input) else { return };
    let limits = limits();
    if let Ok(path) = JsonPath::parse(text) {
        for data in [&data, &Value::nil()] {
            if let Ok(out) = path.render(data, &limits) {
                assert!(out.len() <= limits.output_bytes, "{} bytes", out.len());
            }
        }
    }
    if let Ok(out) = JsonPath::substitute(text, &data, &limits) {
        assert!(out.len() <= limits.output_bytes.max(text.len()), "{} bytes", out.len());
    }
}
