//! The functions that look at the machine: refused unless the world lets them.

use std::sync::Arc;

use super::{Answer, strings_of, text};
use crate::call::{Context, Environment, Functions};
use crate::error::Fail;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    f.fixed("env", strings_of(1), |c, a| {
        let environment = allowed(c, "env")?;
        Ok(Value::str(environment.variable(&String::from_utf8_lossy(text(&a[0])))))
    });
    f.fixed("expandenv", strings_of(1), expand);
    f.fixed("getHostByName", strings_of(1), |c, a| {
        let environment = allowed(c, "getHostByName")?;
        let host = String::from_utf8_lossy(text(&a[0])).into_owned();
        environment.address(&host).map(Value::str).map_err(Fail::text)
    });
}

fn allowed<'c>(c: &'c Context<'_>, name: &str) -> Result<&'c Arc<dyn Environment>, Fail> {
    c.world.environment.as_ref().ok_or_else(|| {
        Fail::text(format!(
            "{name} is switched off here: it would show the environment of the program that renders; \
             pass the value in as data instead"
        ))
    })
}

/// Go's `os.Expand`.
fn expand(c: &Context<'_>, a: &[Value]) -> Answer {
    let environment = allowed(c, "expandenv")?;
    let s = text(&a[0]);
    let mut out = Vec::with_capacity(s.len());
    let mut at = 0;
    while let Some(dollar) = memchr::memchr(b'$', &s[at..]) {
        out.extend_from_slice(&s[at..at + dollar]);
        at += dollar + 1;
        if at == s.len() {
            out.push(b'$');
            break;
        }
        let (name, width) = variable(&s[at..]);
        match name {
            Some(name) => out.extend(environment.variable(&String::from_utf8_lossy(name)).into_bytes()),
            // "$-" keeps its dollar when nothing that could be a name follows; bad braces are eaten.
            None if width == 0 => out.push(b'$'),
            None => {}
        }
        c.budget.room_for(out.len())?;
        at += width;
    }
    if at < s.len() {
        out.extend_from_slice(&s[at..]);
    }
    Ok(Value::str(out))
}

/// The variable's name at the start and how many bytes it takes; no name and some bytes: bad syntax.
fn variable(s: &[u8]) -> (Option<&[u8]>, usize) {
    let special = |b: u8| matches!(b, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9');
    if s[0] == b'{' {
        if s.len() > 2 && special(s[1]) && s[2] == b'}' {
            return (Some(&s[1..2]), 3);
        }
        return match s[1..].iter().position(|b| *b == b'}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&s[1..=end]), end + 2),
            None => (None, 1),
        };
    }
    if special(s[0]) {
        return (Some(&s[..1]), 1);
    }
    let len = s.iter().take_while(|b| **b == b'_' || b.is_ascii_alphanumeric()).count();
    if len == 0 { (None, 0) } else { (Some(&s[..len]), len) }
}
