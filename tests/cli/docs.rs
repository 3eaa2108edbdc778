//! The page of commands names all there are.

use crate::home::*;

#[test]
fn every_command_is_on_the_page_of_commands() {
    let home = Home::new();
    let help = String::from_utf8(home.ok(&["--help"], b"").out).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 15, "{help}");
    let page = include_str!("../../docs/commands.md");
    for command in commands {
        let named = page.contains(&format!("| `{command}` |")) || page.contains(&format!("| `{command} "));
        assert!(named, "`{command}` is not in docs/commands.md");
    }
}
