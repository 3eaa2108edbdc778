//! URLs as Go's `net/url` of 1.26 takes them apart and puts them together.

use std::fmt::Write as _;

use super::{Answer, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::quote::quote;
use crate::types::{Kind, Type};
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    f.fixed("urlParse", strings_of(1), parse_to_dict);
    f.fixed("urlJoin", vec![Type::dict()], join);
}

/// Where in a URL a text stands: decides which bytes are escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
    Path,
    User,
    Fragment,
}

#[derive(Default)]
struct Url {
    scheme: Vec<u8>,
    opaque: Vec<u8>,
    /// Name, and password if there is one.
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    path: Vec<u8>,
    raw_path: Vec<u8>,
    query: Vec<u8>,
    force_query: bool,
    fragment: Vec<u8>,
    omit_host: bool,
}

fn must_escape(b: u8, place: Place) -> bool {
    if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
        return false;
    }
    let host = matches!(place, Place::Host | Place::Zone);
    match b {
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'[' | b']'
        | b'<' | b'>' | b'"'
            if host =>
        {
            false
        }
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match place {
            Place::Path => b == b'?',
            Place::User => matches!(b, b'@' | b'/' | b'?' | b':'),
            Place::Fragment => false,
            Place::Host | Place::Zone => true,
        },
        b'!' | b'(' | b')' | b'*' if place == Place::Fragment => false,
        _ => true,
    }
}

fn escape(s: &[u8], place: Place) -> Vec<u8> {
    let mut out = String::with_capacity(s.len());
    let mut raw = Vec::with_capacity(s.len());
    for b in s {
        if must_escape(*b, place) {
            out.clear();
            let _ = write!(out, "%{b:02X}");
            raw.extend_from_slice(out.as_bytes());
        } else {
            raw.push(*b);
        }
    }
    raw
}

fn hex(b: Option<&u8>) -> Option<u8> {
    b.and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8)
}

fn unescape(s: &[u8], place: Place) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(s.len());
    let mut i = 0;
    while i < s.len() {
        let bad = || format!("invalid URL escape {}", quote(&s[i..(i + 3).min(s.len())]));
        if s[i] != b'%' {
            if matches!(place, Place::Host | Place::Zone) && s[i] < 0x80 && must_escape(s[i], place) {
                return Err(format!("invalid character {} in host name", quote([s[i]])));
            }
            out.push(s[i]);
            i += 1;
            continue;
        }
        let (Some(high), Some(low)) = (hex(s.get(i + 1)), hex(s.get(i + 2))) else { return Err(bad()) };
        let value = high << 4 | low;
        let percent = &s[i..i + 3] == b"%25";
        if place == Place::Host && high < 8 && !percent {
            return Err(bad());
        }
        if place == Place::Zone && !percent && value != b' ' && must_escape(value, Place::Host) {
            return Err(bad());
        }
        out.push(value);
        i += 3;
    }
    Ok(out)
}

fn cut(s: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, s) {
        Some(i) => (&s[..i], Some(&s[i + 1..])),
        None => (s, None),
    }
}

fn scheme(s: &[u8]) -> Result<(&[u8], &[u8]), String> {
    for (i, b) in s.iter().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&s[..i], &s[i + 1..])),
            _ => break,
        }
    }
    Ok((b"", s))
}

impl Url {
    fn parse(text: &[u8]) -> Result<Url, String> {
        let (before, fragment) = cut(text, b'#');
        let mut url =
            Url::parse_before_fragment(before).map_err(|e| format!("parse {}: {e}", quote(before)))?;
        if let Some(fragment) = fragment {
            url.fragment =
                unescape(fragment, Place::Fragment).map_err(|e| format!("parse {}: {e}", quote(text)))?;
        }
        Ok(url)
    }

    fn parse_before_fragment(text: &[u8]) -> Result<Url, String> {
        if text.iter().any(|b| *b < b' ' || *b == 0x7F) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Url::default();
        if text == b"*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        let (scheme, mut rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        if rest.ends_with(b"?") && memchr::memchr_iter(b'?', rest).count() == 1 {
            url.force_query = true;
            rest = &rest[..rest.len() - 1];
        } else {
            let (path, query) = cut(rest, b'?');
            rest = path;
            url.query = query.unwrap_or_default().to_vec();
        }
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let authority = rest.starts_with(b"//") && (!url.scheme.is_empty() || !rest.starts_with(b"///"));
        if authority {
            let body = &rest[2..];
            let end = memchr::memchr(b'/', body).unwrap_or(body.len());
            rest = &body[end..];
            url.authority(&body[..end])?;
        } else if !url.scheme.is_empty() && rest.starts_with(b"/") {
            url.omit_host = true;
        }
        url.path = unescape(rest, Place::Path)?;
        if escape(&url.path, Place::Path) != rest {
            url.raw_path = rest.to_vec();
        }
        Ok(url)
    }

    fn authority(&mut self, s: &[u8]) -> Result<(), String> {
        let at = memchr::memrchr(b'@', s);
        self.host = host(&s[at.map_or(0, |i| i + 1)..])?;
        let Some(at) = at else { return Ok(()) };
        let info = &s[..at];
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(b);
        if !info.iter().all(allowed) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let (name, password) = cut(info, b':');
        let password = password.map(|p| unescape(p, Place::User)).transpose()?;
        self.user = Some((unescape(name, Place::User)?, password));
        Ok(())
    }

    fn user_text(&self) -> Vec<u8> {
        match &self.user {
            None => Vec::new(),
            Some((name, None)) => escape(name, Place::User),
            Some((name, Some(password))) => {
                [escape(name, Place::User), b":".to_vec(), escape(password, Place::User)].concat()
            }
        }
    }

    fn hostname(&self) -> Vec<u8> {
        let host = &self.host;
        let port = memchr::memrchr(b':', host).filter(|i| host[i + 1..].iter().all(u8::is_ascii_digit));
        let bare = &host[..port.unwrap_or(host.len())];
        match bare.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")) {
            Some(inner) => inner.to_vec(),
            None => bare.to_vec(),
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            self.write_hierarchy(&mut out);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if self.force_query || !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(escape(&self.fragment, Place::Fragment));
        }
        out
    }

    fn write_hierarchy(&self, out: &mut Vec<u8>) {
        let named = !self.host.is_empty() || self.user.is_some();
        if named || !self.scheme.is_empty() && !self.omit_host {
            if named || !self.path.is_empty() {
                out.extend_from_slice(b"//");
            }
            if self.user.is_some() {
                out.extend(self.user_text());
                out.push(b'@');
            }
            out.extend(escape(&self.host, Place::Host));
        }
        let path = match self.path.as_slice() {
            b"*" => b"*".to_vec(),
            path if self.raw_path.is_empty() => escape(path, Place::Path),
            _ => self.raw_path.clone(),
        };
        if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
            out.push(b'/');
        }
        if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
            out.extend_from_slice(b"./");
        }
        out.extend(path);
    }
}

/// Host and port, checked and unescaped.
fn host(s: &[u8]) -> Result<Vec<u8>, String> {
    let port_ok =
        |port: &[u8]| port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit);
    let bad_port = |port: &[u8]| format!("invalid port {} after host", quote(port));
    match memchr::memrchr(b'[', s) {
        Some(0) => {
            let close = memchr::memrchr(b']', s).ok_or("missing ']' in host")?;
            let port = &s[close + 1..];
            if !port_ok(port) {
                return Err(bad_port(port));
            }
            let name = &s[1..close];
            let plain = match memchr::memmem::find(name, b"%25") {
                Some(zone) => {
                    [unescape(&name[..zone], Place::Host)?, unescape(&name[zone..], Place::Zone)?].concat()
                }
                None => unescape(name, Place::Host)?,
            };
            let address = plain.split(|b| *b == b'%').next().unwrap_or_default();
            let address =
                std::str::from_utf8(address).ok().and_then(|a| a.parse::<std::net::Ipv6Addr>().ok());
            if address.is_none() {
                return Err("invalid IP-literal".to_owned());
            }
            Ok([b"[", plain.as_slice(), b"]", port].concat())
        }
        Some(_) => Err("invalid IP-literal".to_owned()),
        None => {
            let port = memchr::memchr(b':', s).map_or(b"".as_slice(), |i| &s[i..]);
            if !port_ok(port) {
                return Err(bad_port(port));
            }
            unescape(s, Place::Host)
        }
    }
}

fn parse_to_dict(_: &Context<'_>, a: &[Value]) -> Answer {
    let url = Url::parse(text(&a[0])).map_err(|e| Fail::text(format!("unable to parse url: {e}")))?;
    Ok(Value::dict([
        ("scheme", Value::str(&url.scheme)),
        ("host", Value::str(&url.host)),
        ("hostname", Value::str(url.hostname())),
        ("path", Value::str(&url.path)),
        ("query", Value::str(&url.query)),
        ("opaque", Value::str(&url.opaque)),
        ("fragment", Value::str(&url.fragment)),
        ("userinfo", Value::str(url.user_text())),
    ]))
}

fn join(_: &Context<'_>, a: &[Value]) -> Answer {
    let part = |key: &str| -> Result<Vec<u8>, Fail> {
        match a[0].entry(&Value::str(key)) {
            None => Ok(Vec::new()),
            Some(value) if value.kind() == Kind::String => Ok(text(&value).to_vec()),
            Some(value) if !value.is_valid() => {
                Err(Fail::text("runtime error: invalid memory address or nil pointer dereference"))
            }
            Some(value) => {
                let kind = value.kind().name();
                Err(Fail::text(format!(
                    "unable to parse {key} key, must be of type string, but {kind} found"
                )))
            }
        }
    };
    let mut url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        ..Url::default()
    };
    let info = part("userinfo")?;
    if !info.is_empty() {
        let parsed = Url::parse(&[b"proto://", info.as_slice(), b"@host"].concat());
        url.user = parsed.map_err(|e| Fail::text(format!("unable to parse userinfo in dict: {e}")))?.user;
    }
    Ok(Value::str(url.text()))
}
