//! Tests of the phase-output line: written as Go writes it, found wherever and however it arrives.

use super::*;
use proptest::prelude::*;

fn parse_all(chunks: &[&[u8]]) -> Result<Vec<Piece>, OutputError> {
    let mut parser = OutputParser::new();
    let mut pieces = Vec::new();
    for chunk in chunks {
        pieces.extend(parser.push(chunk)?);
    }
    pieces.extend(parser.finish()?);
    Ok(pieces)
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn output(key: &str, value: &str) -> Piece {
    Piece::Output(PhaseOutput { key: key.to_owned(), value: value.to_owned() })
}

#[test]
fn the_line_is_go_s_to_the_byte() {
    assert_eq!(
        output_line("s3path", "/a/b.gz").unwrap(),
        "###Phase-output###: {\"key\":\"s3path\",\"value\":\"/a/b.gz\"}\n"
    );
    assert_eq!(
        output_line("k", "a<b>&\"\\\n\t\u{1}\u{2028}ü").unwrap(),
        "###Phase-output###: {\"key\":\"k\",\"value\":\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\t\\u0001\\u2028ü\"}\n"
    );
}

#[test]
fn a_key_no_template_could_name_is_refused() {
    assert_eq!(output_line("", "v").unwrap_err().to_string(), "Key should not be empty");
    for key in ["a b", "a-b", "ü", "a.b", "a\n"] {
        assert_eq!(output_line(key, "v"), Err(KeyError::Character), "{key:?}");
    }
    assert!(output_line("aZ_09", "").is_ok());
}

#[test]
fn lines_are_log_and_outputs() {
    let log = b"one\r\n\n###Phase-output###: {\"key\":\"a\",\"value\":\"1\"}\r\ntwo";
    assert_eq!(parse_all(&[log]).unwrap(), [text("one"), output("a", "1"), text("two")]);
}

#[test]
fn the_marker_may_stand_anywhere_and_only_the_first_counts() {
    let log =
        b"progress 50%###Phase-output###:{\"KEY\":\"a\",\"Value\":\"###Phase-output###: x\",\"else\":1}";
    assert_eq!(parse_all(&[log]).unwrap(), [text("progress 50%"), output("a", "###Phase-output###: x")]);
}

#[test]
fn a_marker_with_nothing_after_it_is_ignored() {
    assert_eq!(parse_all(&[b"###Phase-output###:   \n###Phase-output###:"]).unwrap(), []);
}

#[test]
fn the_last_line_needs_no_newline() {
    assert_eq!(
        parse_all(&[b"###Phase-output###: {\"key\":\"a\",\"value\":\"1\"}"]).unwrap(),
        [output("a", "1")]
    );
}

#[test]
fn a_line_that_ends_in_the_beginning_of_a_marker_is_a_line() {
    assert_eq!(
        parse_all(&[b"# comment #\n##Phase-output###: x\n"]).unwrap(),
        [text("# comment #"), text("##Phase-output###: x")]
    );
}

#[test]
fn what_is_no_key_and_value_is_refused_with_the_reason() {
    let cases = [
        (r#"{"key":"a","value":1}"#, "`value` must be a string, found a number"),
        (r#"{"key":{},"value":"x"}"#, "`key` must be a string, found an object"),
        (r#"["a","b"]"#, "expected an object, found a list"),
        (r#"{"key":"a"} trailing"#, "not JSON: trailing characters at line 1 column 13"),
        (r#"{"key":"a""#, "not JSON: EOF"),
    ];
    for (json, expected) in cases {
        let error = parse_all(&[format!("{MARKER} {json}\n").as_bytes()]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("kando output KEY VALUE"), "{json}: {error}");
    }
}

#[test]
fn a_long_line_comes_in_pieces_and_a_marker_in_its_midst_is_found() {
    // So that the marker lies across the place where the first piece ends.
    for before in [TEXT_BYTES_MAX - 1, TEXT_BYTES_MAX - 10, TEXT_BYTES_MAX, 3 * TEXT_BYTES_MAX + 5] {
        let mut line = vec![b'x'; before];
        line.extend_from_slice(output_line("k", "v").unwrap().as_bytes());
        for size in [line.len(), 4096, 7] {
            let pieces = parse_all(&line.chunks(size).collect::<Vec<_>>()).unwrap();
            let logged: usize = pieces.iter().map(|p| if let Piece::Text(t) = p { t.len() } else { 0 }).sum();
            assert_eq!(logged, before, "chunks of {size}");
            assert!(pieces.iter().all(|p| !matches!(p, Piece::Text(t) if t.len() > TEXT_BYTES_MAX)));
            assert_eq!(pieces.last(), Some(&output("k", "v")), "chunks of {size}");
        }
    }
}

#[test]
fn an_endless_line_is_never_held() {
    let mut parser = OutputParser::new();
    for _ in 0..100 {
        parser.push(&vec![b'#'; TEXT_BYTES_MAX - 1]).unwrap();
        assert!(parser.line.len() <= 2 * TEXT_BYTES_MAX, "{}", parser.line.len());
    }
}

#[test]
fn an_endless_output_is_refused() {
    let mut parser = OutputParser::new();
    parser.push(MARKER.as_bytes()).unwrap();
    let error = (0..100).find_map(|_| parser.push(&[b'x'; TEXT_BYTES_MAX]).err());
    assert_eq!(error, Some(OutputError::TooLong));
}

#[test]
fn no_character_of_a_long_line_is_torn() {
    let line = "ü€😀".repeat(TEXT_BYTES_MAX / 4);
    let pieces = parse_all(&[line.as_bytes()]).unwrap();
    let joined: String =
        pieces.iter().map(|p| if let Piece::Text(t) = p { t.as_str() } else { "" }).collect();
    assert!(pieces.len() > 1);
    assert_eq!(joined, line);
}

proptest! {
    #[test]
    fn any_value_survives_and_chunk_borders_do_not_matter(
        before in "[^\n\r#]{0,20}", value in any::<String>(), size in 1usize..40
    ) {
        let line = format!("{before}{}", output_line("key", &value).unwrap());
        let whole = parse_all(&[line.as_bytes()]).unwrap();
        let chunked = parse_all(&line.as_bytes().chunks(size).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(&whole, &chunked);
        prop_assert_eq!(whole.last(), Some(&output("key", &value)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
        let _ = parse_all(&bytes.chunks(size).collect::<Vec<_>>());
        let marked = [MARKER.as_bytes(), &bytes].concat();
        let _ = parse_all(&marked.chunks(size).collect::<Vec<_>>());
    }
}
