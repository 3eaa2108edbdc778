//! Templates made of anything: no panic, no hang, bounded memory. Run longer with `PROPTEST_CASES`.

use std::sync::Arc;
use std::sync::LazyLock;

use cistern_template::{Functions, JsonPath, Limits, MissingKey, Options, Template, Time, Value, World};
use proptest::prelude::*;

#[allow(dead_code, reason = "only the fixtures are used here")]
mod suite;

static SUITE: LazyLock<suite::Suite> = LazyLock::new(suite::Suite::load);
static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(Functions::sprig()));

fn options(missing_key: MissingKey) -> Options {
    let limits = Limits {
        output_bytes: 1 << 20,
        value_bytes: 1 << 20,
        total_bytes: 16 << 20,
        steps: 200_000,
        ..Limits::default()
    };
    Options { limits, missing_key, ..Options::new(World::at(Time::unix(1_700_000_000, 0))) }
}

/// Renders and looks only at the bounds.
fn survive(text: &str) {
    let Ok(template) = Template::parse("fuzz", text, &FUNCTIONS) else { return };
    for missing_key in [MissingKey::Error, MissingKey::Zero] {
        let data = SUITE.fixture("lang");
        if let Ok(out) = template.render(&data, &options(missing_key)) {
            assert!(out.len() <= 1 << 20, "{} bytes of output", out.len());
        }
    }
}

/// Functions, without those that take long to make keys.
fn function() -> impl Strategy<Value = String> {
    let names: Vec<String> =
        FUNCTIONS.names().into_iter().filter(|n| !n.starts_with("gen")).map(str::to_owned).collect();
    prop::sample::select(names)
}

fn operand() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        ".",
        "$",
        "nil",
        "true",
        ".Str",
        ".Uni",
        ".Int",
        ".Neg",
        ".Big",
        ".U64",
        ".FBig",
        ".FSmall",
        ".Bytes",
        ".BytesBin",
        ".SS",
        ".SA",
        ".SNil",
        ".SSS",
        ".M",
        ".MI",
        ".MAny",
        ".MNil",
        ".O",
        ".P",
        ".PNil",
        ".PInt",
        ".Time",
        ".TimeZ",
        ".Dur",
        ".JN",
        ".Arr",
        ".Add",
        ".Var",
        ".nope",
        ".M.nope.x",
        "(dict 1 2)",
        "(list)",
        "\"%[2]*.[1]*f %v %+d %#x %q\"",
        "\"a{2,1000}\"",
        "\"(a|b)*?\"",
        "\"[^a-z]\"",
        "\"2006-01-02 MST .000\"",
        "\"1.2.x || >=3 - 4\"",
        "\"http://[::1%25x]:80/%zz?#\"",
        "\"\\xff\\u00e9\"",
    ])
    .prop_map(str::to_owned);
    let number = any::<i64>().prop_map(|n| n.to_string());
    let small = (-20i64..1_000_000).prop_map(|n| n.to_string());
    let float = any::<f64>().prop_map(|f| format!("{f:?}"));
    let text = any::<String>().prop_map(|s| format!("{s:?}"));
    prop_oneof![6 => fixed, 1 => number, 3 => small, 1 => float, 2 => text]
}

fn expression() -> impl Strategy<Value = String> {
    let call = |argument: BoxedStrategy<String>| {
        (function(), prop::collection::vec(argument, 0..5))
            .prop_map(|(f, args)| format!("{f} {}", args.join(" ")))
    };
    let leaf = prop_oneof![operand(), call(operand().boxed())].boxed();
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let argument = prop_oneof![operand(), inner.clone().prop_map(|e| format!("({e})"))].boxed();
        prop_oneof![
            call(argument),
            (inner.clone(), function()).prop_map(|(e, f)| format!("{e} | {f}")),
            inner.prop_map(|e| format!("({e}).Name")),
        ]
    })
}

fn template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        expression().prop_map(|e| format!("{{{{ {e} }}}}")),
        expression().prop_map(|e| format!("{{{{- $x := {e} -}}}}{{{{ $x }}}}")),
        "[a-z{} \n]{0,5}",
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            (expression(), inner.clone(), inner.clone())
                .prop_map(|(e, a, b)| format!("{{{{ if {e} }}}}{a}{{{{ else }}}}{b}{{{{ end }}}}")),
            (expression(), inner.clone())
                .prop_map(|(e, a)| format!("{{{{ range $i, $v := {e} }}}}{a}{{{{ $v }}}}{{{{ end }}}}")),
            (expression(), inner.clone())
                .prop_map(|(e, a)| format!("{{{{ with {e} }}}}{a}{{{{ break }}}}{{{{ end }}}}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a}{b}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_templates(text in template()) {
        survive(&text);
    }

    #[test]
    fn any_text(text in any::<String>(), inside in any::<String>()) {
        survive(&text);
        survive(&format!("{{{{ {inside} }}}}"));
        let _ = JsonPath::parse(&text).map(|p| p.render(&Value::nil(), &Limits::default()));
    }

    #[test]
    fn text_of_the_right_letters(
        text in r#"(\{\{-? ?|-?\}\}|\{|\}|\$x|\$|\.|\(|\)|\||:=|=|,|"|'|`|\\|if |else |end|range |with |define |block |template |break|continue|nil|true|0x|1e|_|i|[0-9]|é| |\n|/\*|\*/|-|print|index)*"#
    ) {
        survive(&text);
    }

    #[test]
    fn damaged_cases(i in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in any::<String>(), cut in 0usize..5) {
        let text = &i.get(&SUITE.cases).template;
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, with.chars().take(3));
        let text: String = chars.into_iter().collect();
        if !text.contains("gen") {
            survive(&text);
        }
    }

    #[test]
    fn any_path(path in r#"\{?(\.|\.\.|\$|@|\[|\]|\?\(|\)|'|"|\*|:|,|-|[0-9]|a|name|range |end|\{|\}|==|!=|<|>| |\\)*\}?"#) {
        let data = SUITE.fixture("k8s_obj");
        let _ = JsonPath::parse(&path).map(|p| p.render(&data, &Limits::default()));
        let _ = JsonPath::substitute(&path, &data, &Limits::default());
    }
}
