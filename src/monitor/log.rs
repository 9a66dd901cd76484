//! The access log: one event a finished exchange, target `pop_edge::access`, level INFO.
//!
//! No field of a request is logged but method, host, path and version: no query, no cookies, no credentials. Control
//! characters, quotes and backslashes are escaped, so that nobody writes lines of his own into the log.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::Method;

use crate::exchange::{Line, Record, Trail};

/// Octets of a path that are logged.
const PATH_OCTETS_MAX: usize = 1024;

/// What the log will say of a request; `None` while nobody reads the log.
pub(crate) fn line(
    client: IpAddr,
    method: &Method,
    host: &str,
    path: &str,
    version: http::Version,
) -> Option<Box<Line>> {
    if !tracing::enabled!(target: "pop_edge::access", tracing::Level::INFO) {
        return None;
    }
    let end = (0..=path.len().min(PATH_OCTETS_MAX)).rev().find(|&end| path.is_char_boundary(end));
    Some(Box::new(Line {
        client,
        method: method.clone(),
        host: host.to_owned(),
        path: path[..end.unwrap_or(0)].to_owned(),
        version,
        reason: None,
        trail: None,
    }))
}

pub(super) fn write(record: &Record<'_>, line: &Line) {
    let trail = line.trail.as_ref();
    tracing::info!(
        target: "pop_edge::access",
        client = %line.client,
        method = %Escaped(line.method.as_str()),
        host = %Escaped(&line.host),
        path = %Escaped(&line.path),
        version = ?line.version,
        status = record.status.as_u16(),
        bytes = record.bytes,
        micros = u64::try_from(record.elapsed.as_micros()).unwrap_or(u64::MAX),
        cache = record.source.as_str(),
        reason = line.reason,
        backend = trail.and_then(Trail::backend),
        origin_micros = trail
            .and_then(Trail::origin_first_byte)
            .map(|elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
        attempts = trail.map(Trail::attempts),
        failure = record.failure,
    );
}

/// Text with everything escaped that could end a line, a field or a terminal's patience.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\\' => {
                    formatter.write_char('\\')?;
                    formatter.write_char(character)?;
                }
                ' '..='~' => formatter.write_char(character)?,
                _ => write!(formatter, "{}", character.escape_unicode())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line() {
        assert_eq!(Escaped("/a b").to_string(), "/a b");
        assert_eq!(Escaped("a\r\nb\"\\\x1b").to_string(), "a\\u{d}\\u{a}b\\\"\\\\\\u{1b}");
        assert_eq!(Escaped("é").to_string(), "\\u{e9}");
    }
}
