//! Enough of a shell's grammar to tell pipes, commands and words apart; what a word comes to is not asked.

use std::ops::Range;

/// Stands for a byte of a template action, which may come to anything.
pub(super) const TEMPLATE: char = '\u{1}';

/// Commands joined by `|`.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) commands: Vec<Command>,
}

/// A command: assignments, program, arguments, in their order.
#[derive(Debug, Default)]
pub(super) struct Command {
    pub(super) words: Vec<Word>,
}

/// A word without its quotes, and where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) offset_bytes: usize,
    pub(super) end_bytes: usize,
}

impl Command {
    /// The program and its place among the words, past assignments and what only starts another program.
    pub(super) fn program(&self) -> Option<(usize, &Word)> {
        const STARTERS: [&str; 12] =
            ["sudo", "exec", "time", "nice", "env", "command", "if", "while", "then", "do", "else", "!"];
        let assigns = |word: &Word| {
            word.text.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
        };
        self.words.iter().enumerate().find(|(_, word)| {
            !assigns(word) && !STARTERS.contains(&word.text.as_str()) && !is_redirection(&word.text)
        })
    }
}

fn is_redirection(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(['<', '>'])
}

/// The text with every template action replaced by as many [`TEMPLATE`] bytes.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, action) = rest.split_at(start);
        let end = action_end(action);
        masked.push_str(before);
        masked.extend(std::iter::repeat_n(TEMPLATE, end));
        rest = &action[end..];
    }
    masked.push_str(rest);
    masked
}

/// Where the action that begins here ends, in bytes; braces inside its strings do not count.
fn action_end(action: &str) -> usize {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (i, c) in action.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if action[i..].starts_with("}}") => return i + 2,
            None => {}
        }
    }
    action.len()
}

/// All pipelines of a script, in their order.
pub(super) fn pipelines(script: &str) -> Vec<Pipeline> {
    let mut reader = Reader {
        script,
        at: 0,
        pipelines: vec![],
        pipeline: Pipeline::default(),
        command: Command::default(),
        heredocs: vec![],
    };
    reader.read();
    reader.pipelines
}

struct Reader<'s> {
    script: &'s str,
    at: usize,
    pipelines: Vec<Pipeline>,
    pipeline: Pipeline,
    command: Command,
    /// Ends of here-documents that begin after this line.
    heredocs: Vec<String>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.script[self.at..]
    }

    fn read(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '\\' if self.rest().starts_with("\\\n") => self.at += 2,
                '\n' => {
                    self.at += 1;
                    // A pipe at the end of a line goes on in the next.
                    if !self.command.words.is_empty() {
                        self.end_pipeline();
                    }
                    self.skip_heredocs();
                }
                c if c.is_whitespace() => self.at += c.len_utf8(),
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                '|' if self.rest().starts_with("||") => self.separator(2),
                '|' => {
                    self.at += if self.rest().starts_with("|&") { 2 } else { 1 };
                    self.end_command();
                }
                '&' if self.rest().starts_with("&&") => self.separator(2),
                '&' if self.rest().starts_with("&>") => {
                    self.at += 1;
                    self.word();
                }
                '&' | ';' | '(' | ')' => self.separator(1),
                '{' | '}' if self.alone() => self.separator(1),
                '<' if self.rest().starts_with("<<") && !self.rest().starts_with("<<<") => self.heredoc(),
                '<' if self.rest().starts_with("<<<") => self.here_string(),
                // The number of a descriptor may stand before it.
                '0'..='9' if self.after_digits().starts_with("<<") => {
                    self.at += self.rest().len() - self.after_digits().len();
                }
                _ => self.word(),
            }
        }
        self.end_pipeline();
    }

    /// A here-string reaches its program through standard input: it is no argument.
    fn here_string(&mut self) {
        self.at += 3;
        self.skip_blanks();
        self.plain_word();
    }

    fn after_digits(&self) -> &str {
        self.rest().trim_start_matches(|c: char| c.is_ascii_digit())
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    /// A brace of a group, not one of a word.
    fn alone(&self) -> bool {
        self.rest()[1..].chars().next().is_none_or(|c| c.is_whitespace() || c == ';')
    }

    fn separator(&mut self, bytes: usize) {
        self.at += bytes;
        self.end_pipeline();
    }

    fn end_command(&mut self) {
        if !self.command.words.is_empty() {
            self.pipeline.commands.push(std::mem::take(&mut self.command));
        }
    }

    fn end_pipeline(&mut self) {
        self.end_command();
        if !self.pipeline.commands.is_empty() {
            self.pipelines.push(std::mem::take(&mut self.pipeline));
        }
    }

    fn heredoc(&mut self) {
        self.at += 2;
        if self.rest().starts_with('-') {
            self.at += 1;
        }
        self.skip_blanks();
        let end = self.plain_word();
        self.heredocs.push(end.text);
    }

    fn skip_heredocs(&mut self) {
        for end in std::mem::take(&mut self.heredocs) {
            while !self.rest().is_empty() {
                let line = self.rest().split_inclusive('\n').next().unwrap_or_default();
                let over = line.trim() == end;
                self.at += line.len();
                if over {
                    break;
                }
            }
        }
    }

    fn word(&mut self) {
        let before = self.at;
        let word = self.plain_word();
        if self.at == before {
            // A character that begins no word: go on, whatever it means.
            self.at += self.rest().chars().next().map_or(1, char::len_utf8);
            return;
        }
        // Commands inside `$( … )` count as commands of their own.
        for inner in substitutions(&self.script[before..self.at]) {
            let text = &self.script[before + inner.start..before + inner.end];
            for mut pipeline in pipelines(text) {
                for word in pipeline.commands.iter_mut().flat_map(|c| &mut c.words) {
                    word.offset_bytes += before + inner.start;
                    word.end_bytes += before + inner.start;
                }
                self.pipelines.push(pipeline);
            }
        }
        self.command.words.push(word);
    }

    /// Goes past one word; quotes are taken off, nothing is expanded.
    fn plain_word(&mut self) -> Word {
        let start = self.at;
        let mut text = String::new();
        let mut quote: Option<char> = None;
        let mut nesting = 0_usize;
        while let Some(c) = self.rest().chars().next() {
            // `2>&1` is one word.
            let joined = c == '&' && text.ends_with(['<', '>']);
            let ends = c.is_whitespace() || (matches!(c, '|' | '&' | ';' | '(' | ')') && !joined);
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') if nesting == 0 => quote = None,
                (None, '\'' | '"') if nesting == 0 => quote = Some(c),
                (None | Some('"'), '$') if self.rest().starts_with("$(") => {
                    nesting += 1;
                    text.push('$');
                    self.at += 1;
                    text.push('(');
                }
                (_, '(') if nesting > 0 => {
                    nesting += 1;
                    text.push(c);
                }
                (_, ')') if nesting > 0 => {
                    nesting -= 1;
                    text.push(c);
                }
                (None | Some('"'), '\\') => {
                    self.at += 1;
                    let Some(next) = self.rest().chars().next() else { break };
                    if next != '\n' {
                        text.push(next);
                    }
                    self.at += next.len_utf8();
                    continue;
                }
                (None, _) if nesting == 0 && ends => break,
                _ => text.push(c),
            }
            self.at += c.len_utf8();
        }
        Word { text, offset_bytes: start, end_bytes: self.at }
    }
}

/// The insides of `$( … )` in a word.
fn substitutions(word: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = word[at..].find("$(").map(|i| at + i) {
        let mut nesting = 0;
        let close = word[start + 1..].char_indices().find_map(|(i, c)| {
            match c {
                '(' => nesting += 1,
                ')' => nesting -= 1,
                _ => {}
            }
            (nesting == 0).then_some(start + 1 + i)
        });
        let end = close.unwrap_or(word.len());
        // Arithmetic is no command.
        if !word[start..].starts_with("$((") {
            found.push(start + 2..end.max(start + 2));
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> Vec<String> {
        let command = |c: &Command| c.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
        let pipeline = |p: &Pipeline| p.commands.iter().map(command).collect::<Vec<_>>().join(" | ");
        pipelines(script).iter().map(pipeline).collect()
    }

    #[test]
    fn commands_and_pipes_are_told_apart() {
        for (script, want) in [
            ("a b | c -d", vec!["a b | c -d"]),
            ("a |\n  b\nc", vec!["a | b", "c"]),
            ("a \\\n | b", vec!["a | b"]),
            ("a && b || c; d & e", vec!["a", "b", "c", "d", "e"]),
            ("x=\"$(a | b)\" c", vec!["a | b", "x=$(a | b) c"]),
            ("echo 'a | b' \"c ; d\" # e | f\ng", vec!["echo a | b c ; d", "g"]),
            ("cat <<EOF | b\nx | y\nEOF\nc", vec!["cat | b", "c"]),
            ("a -d <<< 'secret' | b", vec!["a -d | b"]),
            ("a 0<<< 'secret' 7 <<'EOF' | b\nx | y\nEOF\nc 3", vec!["a 7 | b", "c 3"]),
            ("{ a; b; } | c", vec!["a", "b", "c"]),
            ("a 2>&1 | b", vec!["a 2>&1 | b"]),
            ("a &>/dev/null | b", vec!["a >/dev/null | b"]),
        ] {
            assert_eq!(shown(script), want, "{script}");
        }
    }

    #[test]
    fn offsets_point_at_the_words() {
        let script = "first \"$(inner word)\" last";
        for word in pipelines(script).iter().flat_map(|p| &p.commands).flat_map(|c| &c.words) {
            let there = &script[word.offset_bytes..word.end_bytes];
            assert_eq!(there.trim_matches('"'), word.text);
        }
    }

    #[test]
    fn a_template_is_one_opaque_piece() {
        let text = "a {{ index .X \"}}|\" }} b";
        let masked = masked(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked.replace(TEMPLATE, ""), "a  b");
    }
}
