//! The commands of docs/operators.md: chart, flags and files that they name are there.

use crate::helm::{helm, program, root};
use regex::Regex;
use std::fs;
use std::process::Command;

fn guide() -> String {
    fs::read_to_string(root().join("docs/operators.md")).unwrap()
}

/// The lines of its blocks of commands.
fn commands() -> Vec<String> {
    let guide = guide();
    let blocks = guide.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines =
        blocks.flat_map(str::lines).map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
    lines.collect()
}

/// The words of a line, as a shell divides it; quotes are all the guide uses.
fn words(line: &str) -> Vec<String> {
    let word = Regex::new(r"'([^']*)'|(\S+)").unwrap();
    let words = word.captures_iter(line);
    words.map(|word| word.get(1).or(word.get(2)).unwrap().as_str().to_owned()).collect()
}

#[test]
fn what_helm_is_told_it_understands() {
    let Some(program) = program("helm in the guide") else { return };
    let mut installed = 0;
    for line in commands().iter().filter(|line| line.starts_with("helm upgrade")) {
        let dropped = ["helm", "upgrade", "--install", "--create-namespace", "--reuse-values"];
        let words: Vec<String> = words(line).into_iter().filter(|w| !dropped.contains(&w.as_str())).collect();
        let mut arguments = vec!["template"];
        arguments.extend(words.iter().map(String::as_str));
        let told = helm(program, &arguments, &[]);
        assert!(told.status.success(), "{line}: {}", String::from_utf8_lossy(&told.stderr));
        installed += 1;
    }
    assert_eq!(installed, 2);
    let guide = guide();
    let set = Regex::new(r"`--set ([\w.]+=\w+)`").unwrap();
    let values: Vec<&str> = set.captures_iter(&guide).map(|set| set.get(1).unwrap().as_str()).collect();
    assert!(values.len() >= 5, "{values:?}");
    for value in values {
        let told = helm(program, &["template", "cistern", "deploy/chart"], &[value]);
        assert!(told.status.success(), "{value}: {}", String::from_utf8_lossy(&told.stderr));
    }
}

#[test]
fn what_the_program_is_told_it_understands() {
    let mut told = 0;
    for line in commands().iter().filter(|line| line.starts_with("kanctl ") || line.starts_with("cistern ")) {
        let words = words(line);
        let verbs = words.iter().take_while(|word| !word.starts_with('-')).map(String::as_str);
        let verbs: Vec<&str> = verbs.skip_while(|word| *word == "cistern").collect();
        let help = Command::new(env!("CARGO_BIN_EXE_cistern")).args(&verbs).arg("--help").output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success() && !text.is_empty(), "{line}: {verbs:?}");
        for flag in words.iter().filter(|word| word.starts_with('-')) {
            let known = Regex::new(&format!(r"(?m)(^|[\s,]){}([\s,=]|$)", regex::escape(flag))).unwrap();
            assert!(known.is_match(&text), "{line}: {flag} is not in\n{text}");
        }
        told += 1;
    }
    assert!(told >= 7, "{told}");
}

#[test]
fn files_that_are_named_are_there() {
    let ours = Regex::new(r"\b(deploy|blueprints)/[\w./-]*\w").unwrap();
    let guide = guide();
    let named: Vec<&str> = ours.find_iter(&guide).map(|path| path.as_str()).collect();
    assert!(named.len() >= 8, "{named:?}");
    for path in named {
        assert!(root().join(path).exists(), "{path}");
    }
    let pages = Regex::new(r"\]\((\w[\w-]*\.md)").unwrap();
    for page in pages.captures_iter(&guide) {
        assert!(root().join("docs").join(&page[1]).exists(), "{}", &page[1]);
    }
}
