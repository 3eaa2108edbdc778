//! Signals by their numbers, their names, and what Kanister calls an end by one.

/// Number on Linux, name without `SIG`, and the words of Go, which Kanister's users know.
const SIGNALS: &[(i32, &str, &str)] = &[
    (1, "HUP", "hangup"),
    (2, "INT", "interrupt"),
    (3, "QUIT", "quit"),
    (4, "ILL", "illegal instruction"),
    (5, "TRAP", "trace/breakpoint trap"),
    (6, "ABRT", "aborted"),
    (7, "BUS", "bus error"),
    (8, "FPE", "floating point exception"),
    (9, "KILL", "killed"),
    (10, "USR1", "user defined signal 1"),
    (11, "SEGV", "segmentation fault"),
    (12, "USR2", "user defined signal 2"),
    (13, "PIPE", "broken pipe"),
    (14, "ALRM", "alarm clock"),
    (15, "TERM", "terminated"),
    (18, "CONT", "continued"),
    (19, "STOP", "stopped (signal)"),
    (20, "TSTP", "stopped"),
];

/// The number that `15`, `0xf`, `TERM` or `SIGTERM` stands for.
pub fn number(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok();
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let named = SIGNALS.iter().find(|(_, known, _)| *known == name).map(|(number, ..)| i64::from(*number));
    named.or_else(|| text.parse().ok())
}

/// What the end by a signal is called.
pub(crate) fn words(number: i32) -> String {
    let known = SIGNALS.iter().find(|(known, ..)| *known == number);
    known.map_or_else(|| format!("signal {number}"), |(.., words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    #[test]
    fn a_signal_is_a_number_or_a_name() {
        for text in ["15", "0xf", "TERM", "SIGTERM", "sigterm", "0XF"] {
            assert_eq!(number(text), Some(15), "{text}");
        }
        for text in ["", "SIG", "TERMINATE", "0x", "1.5", "15 "] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("-1"), Some(-1));
    }

    #[test]
    fn names_belong_to_the_numbers_of_this_system() {
        for (number, name, _) in SIGNALS {
            let known = std::process::Command::new("sh").args(["-c", &format!("kill -l {number}")]).output();
            assert_eq!(String::from_utf8(known.unwrap().stdout).unwrap().trim_end(), *name, "{number}");
        }
        assert_eq!(words(9), "killed");
        assert_eq!(words(35), "signal 35");
    }
}
