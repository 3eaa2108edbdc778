//! What the suite of cases does not show: limits, the environment switch, own functions, shared maps.

#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use std::sync::Arc;
use std::time::Duration;

use cistern_template::{
    Environment, Error, ErrorKind, Fail, Function, Functions, Limits, MissingKey, Options, Template, Time,
    Type, Value, World,
};

fn options() -> Options {
    Options::new(World::at(Time::unix(1_700_000_000, 0)))
}

fn render_with(text: &str, data: &Value, options: &Options) -> Result<String, Error> {
    let functions = Arc::new(Functions::sprig());
    let out = Template::parse("t", text, &functions)?.render(data, options)?;
    Ok(String::from_utf8(out).unwrap())
}

fn render(text: &str) -> Result<String, Error> {
    render_with(text, &Value::nil(), &options())
}

/// Runs in a thread with the stack that an async worker has, and fails if it takes too long.
fn render_in_a_worker(text: String, options: Options) -> Result<String, Error> {
    let (done, result) = std::sync::mpsc::channel();
    let worker = std::thread::Builder::new().stack_size(2 << 20);
    worker.spawn(move || done.send(render_with(&text, &Value::nil(), &options))).unwrap();
    result.recv_timeout(Duration::from_secs(60)).expect("the template neither hangs nor kills the thread")
}

fn limit(text: &str) {
    let e = render_in_a_worker(text.to_owned(), options()).unwrap_err();
    assert_eq!(*e.kind(), ErrorKind::Limit, "{text}: {e}");
}

#[test]
fn values_are_bounded() {
    for text in [
        r#"{{ repeat 1000000000 "abc" }}"#,
        r#"{{ until 1000000000 }}"#,
        r#"{{ untilStep 0 9223372036854775807 4611686018427387904 | len }}{{ untilStep 1 2000000000 1 }}"#,
        r#"{{ indent 1000000000 "a" }}"#,
        r#"{{ $x := repeat 8000 "\n" }}{{ indent 8000 $x }}"#,
        r#"{{ $x := repeat 8000 "a" }}{{ replace "" $x $x }}"#,
        r#"{{ $x := repeat 8000 "a" }}{{ regexReplaceAll "" $x $x }}"#,
        r#"{{ join (repeat 100000 "ab") (until 100000) }}"#,
        r#"{{ wrapWith 1 (repeat 100000 "ab") (repeat 100000 "a") }}"#,
        r#"{{ randAlpha 1000000000 }}"#,
        r#"{{ printf (repeat 100 "%1000000d") 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 }}"#,
        r#"{{ printf "%999999d%999999.999999f%999999s%999999v%999999q%999999d%999999d%999999d%999999d" 1 2.0 "a" 1 1 1 1 1 1 }}{{ printf (repeat 40 "%999999[1]d") 1 }}"#,
    ] {
        limit(text);
    }
}

#[test]
fn sums_of_values_are_bounded() {
    limit(r#"{{ $x := "a" }}{{ range until 100 }}{{ $x = cat $x $x }}{{ end }}"#);
    limit(r#"{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ $x }}"#);
    limit(r#"{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ toJson $x }}"#);
    limit(
        r#"{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ deepEqual $x (list $x) }}{{ deepCopy $x }}"#,
    );
    limit(
        r#"{{ $d := dict }}{{ range until 100000 }}{{ range until 1000 }}{{ $_ := set $d (printf "%p%d" $d .) (repeat 1000 "a") }}{{ end }}{{ end }}"#,
    );
}

#[test]
fn work_is_bounded() {
    limit("{{ range 10000000000 }}{{ end }}");
    limit("{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}");
    limit(r#"{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}"#);
    let few = Options { limits: Limits { steps: 1_000_000, ..Limits::default() }, ..options() };
    let e = render_with(r#"{{ genPrivateKey "rsa" }}"#, &Value::nil(), &few).unwrap_err();
    assert_eq!(*e.kind(), ErrorKind::Limit, "making a key is a lot of work");
}

#[test]
fn output_is_bounded() {
    let few = Options { limits: Limits { output_bytes: 10, ..Limits::default() }, ..options() };
    assert_eq!(render_with("0123456789", &Value::nil(), &few).unwrap(), "0123456789");
    let e = render_with("0123456789{{ 1 }}", &Value::nil(), &few).unwrap_err();
    assert_eq!(
        e.to_string(),
        r#"template: t:1:13: executing "t" at <{{1}}>: the output is larger than 10 bytes"#
    );
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, middle: &str, close: &str, n: usize| open.repeat(n) + middle + &close.repeat(n);
    for n in [100_000, 199] {
        for text in [
            format!("{{{{ {} }}}}", deep("(", "1", ")", n)),
            deep("{{if true}}", "x", "{{end}}", n),
            deep("{{range 1}}", "x", "{{end}}", n),
            deep("{{with 1}}", "x", "{{end}}", n),
            deep("{{if true}}a{{else if true}}", "x", "", n) + "{{end}}",
            deep(r#"{{block "a" .}}"#, "x", "{{end}}", n),
            format!("{{{{ {} }}}}", deep("(not ", "1", ")", n)),
            format!("{{{{ {} }}}}", deep("(print (list ", "1", "))", n / 2)),
        ] {
            // Whether it is refused or rendered: it comes to an end, on a small stack.
            let _ = render_in_a_worker(text, options());
        }
    }
    let values = "{{ $x := list }}{{ range until 100000 }}{{ $x = list $x }}{{ end }}";
    assert_eq!(render_in_a_worker(values.to_owned(), options()).unwrap(), "");
    limit(&format!("{values}{{{{ $x }}}}"));
    limit(&format!("{values}{{{{ toJson $x }}}}"));
    limit(&format!("{values}{{{{ deepCopy $x }}}}"));
    limit(&format!(
        "{values}{{{{ deepEqual $x (list $x) }}}}{{{{ has $x (list $x) }}}}{{{{ printf \"%v\" $x }}}}"
    ));
}

#[test]
fn a_dict_cannot_contain_itself() {
    let text = r#"{{ $d := dict "a" 1 }}{{ $_ := set $d "b" (list $d) }}{{ $d }}"#;
    assert!(render(text).unwrap_err().to_string().contains("a dict cannot contain itself"));
    let text = r#"{{ $d := dict "a" (dict) }}{{ merge $d.a (dict "x" $d) }}"#;
    assert!(render(text).unwrap_err().to_string().contains("a dict cannot contain itself"));
    assert_eq!(render(r#"{{ $d := dict "a" 1 }}{{ merge $d $d }}"#).unwrap(), "map[a:1]");
}

struct Machine;

impl Environment for Machine {
    fn variable(&self, name: &str) -> String {
        format!("<{name}>")
    }

    fn address(&self, host: &str) -> Result<String, String> {
        if host == "here" { Ok("127.0.0.1".to_owned()) } else { Err(format!("lookup {host}: no such host")) }
    }
}

#[test]
fn the_machine_is_out_of_reach_unless_switched_on() {
    for text in [r#"{{ env "HOME" }}"#, r#"{{ expandenv "$HOME" }}"#, r#"{{ getHostByName "here" }}"#] {
        let e = render(text).unwrap_err();
        assert_eq!(*e.kind(), ErrorKind::Exec);
        assert!(e.to_string().contains("is switched off here"), "{e}");
    }
    let mut open = options();
    open.world.environment = Some(Arc::new(Machine));
    let text = r#"{{ env "HOME" }} {{ expandenv "a${B}$C-$" }} {{ getHostByName "here" }}"#;
    assert_eq!(render_with(text, &Value::nil(), &open).unwrap(), "<HOME> a<B><C>-$ 127.0.0.1");
    let e = render_with(r#"{{ getHostByName "there" }}"#, &Value::nil(), &open).unwrap_err();
    assert!(e.to_string().ends_with("error calling getHostByName: lookup there: no such host"), "{e}");
}

#[test]
fn the_world_decides_what_is_now_and_what_is_random() {
    let mut world = World::at(Time::unix(1_700_000_000, 0));
    world.dice = Arc::new(|buf| buf.fill(7));
    let text =
        r#"{{ now | unixEpoch }} {{ ago 1699990000 }} {{ uuidv4 }} {{ randAlpha 3 | eq (randAlpha 3) }}"#;
    let out = render_with(text, &Value::nil(), &Options::new(world)).unwrap();
    assert_eq!(out, "1700000000 2h46m40s 07070707-0707-4707-8707-070707070707 true");
}

#[test]
fn functions_can_be_added() {
    let mut functions = Functions::builtins();
    functions.insert(
        "half",
        Function::new(vec![Type::int()], |_, a| match a[0].as_int() {
            Some(n) if n % 2 == 0 => Ok(Value::int(n / 2)),
            _ => Err(Fail::text("odd")),
        }),
    );
    let functions = Arc::new(functions);
    let run =
        |text: &str| Template::parse("t", text, &functions).and_then(|t| t.render(&Value::nil(), &options()));
    assert_eq!(run("{{ half 8 }}").unwrap(), b"4");
    assert_eq!(
        run("{{ half 3 }}").unwrap_err().to_string(),
        r#"template: t:1:3: executing "t" at <half 3>: error calling half: odd"#
    );
    assert!(run(r#"{{ half "8" }}"#).unwrap_err().to_string().ends_with(r#"expected integer; found "8""#));
    assert_eq!(run("{{ upper }}").unwrap_err().to_string(), r#"template: t:1: function "upper" not defined"#);
}

#[test]
fn sprig_has_its_150_functions_and_no_later_ones() {
    let names = Functions::sprig();
    let builtins = Functions::builtins();
    let added = names.names().iter().filter(|n| !builtins.names().contains(n)).count();
    // `slice` is a builtin that sprig replaces.
    assert_eq!(added + 1, 150);
    for later in ["fromJson", "get", "dig", "bcrypt", "htpasswd", "mustRegexMatch", "sha512sum", "toYaml"] {
        assert!(
            render(&format!("{{{{ {later} 1 }}}}")).unwrap_err().to_string().contains("not defined"),
            "{later}"
        );
    }
}

#[test]
fn maps_are_shared_with_the_data() {
    let data = Value::dict([("d", Value::dict([("a", Value::int(1))]))]);
    let apart = data.detached();
    let out = render_with(r#"{{ $_ := set .d "b" 2 }}{{ .d }}"#, &apart, &options()).unwrap();
    assert_eq!(out, "map[a:1 b:2]");
    assert_eq!(render_with("{{ .d }}", &data, &options()).unwrap(), "map[a:1]");
    let out = render_with(r#"{{ $_ := set .d "b" 2 }}{{ .d }}"#, &data, &options()).unwrap();
    assert_eq!(out, "map[a:1 b:2]");
    assert_eq!(render_with("{{ .d }}", &data, &options()).unwrap(), "map[a:1 b:2]");
}

#[test]
fn a_missing_key_is_named() {
    let strict = options().missing_key(MissingKey::Error);
    let data = Value::dict([("a", Value::dict([("b", Value::nil())]))]);
    let e = render_with("x\n{{ .a.c }}", &data, &strict).unwrap_err();
    assert_eq!(e.missing_key(), Some("c"));
    assert_eq!(e.to_string(), r#"template: t:2:5: executing "t" at <.a.c>: map has no entry for key "c""#);
    let e = render_with("{{ .a.b.c }}", &data, &strict).unwrap_err();
    assert_eq!((e.missing_key(), e.kind()), (None, &ErrorKind::Exec));
}

#[test]
fn certificates_are_signed_by_their_authority() {
    let text = r#"{{ $ca := genCA "the-ca" 365 }}{{ $c := genSignedCert "host" (list "10.0.0.1") (list "a.example") 30 $ca }}{{ $ca.Cert }}|{{ $c.Cert }}|{{ (buildCustomCert (b64enc $c.Cert) (b64enc $c.Key)).Key | eq $c.Key }}"#;
    let out = render(text).unwrap();
    let parts: Vec<&str> = out.split('|').collect();
    let der = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
    let (ca, cert) = (der(parts[0]), der(parts[1]));
    let ca = x509_parser::parse_x509_certificate(&ca).unwrap().1;
    let cert = x509_parser::parse_x509_certificate(&cert).unwrap().1;
    assert!(ca.is_ca() && !cert.is_ca());
    assert_eq!(cert.issuer(), ca.subject());
    assert_eq!(cert.subject().to_string(), "CN=host");
    assert!(ca.verify_signature(None).is_ok(), "the authority signs itself");
    assert!(cert.verify_signature(Some(ca.public_key())).is_ok(), "the authority signs the certificate");
    assert!(cert.verify_signature(None).is_err());
    assert_eq!(cert.validity().not_after.timestamp() - cert.validity().not_before.timestamp(), 30 * 86_400);
    let names = cert.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 2);
    assert_eq!(parts[2], "true");
}

#[test]
fn debug_shows_no_values() {
    let secret = Value::dict([("password", Value::str("hunter2"))]);
    assert_eq!(format!("{secret:?}"), "Value(map[string]interface {})");
}
