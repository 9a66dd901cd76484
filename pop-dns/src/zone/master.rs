//! Master files (RFC 1035 §5, RFC 2308 §4): directives and records.

use std::path::{Path, PathBuf};

use super::lexer::{Entry, Lexer};
use super::{Zone, ZoneBuilder, ZoneError, ZoneProblem};
use crate::name::parse_name;
use crate::rdata::parse_ttl;
use crate::{Class, NameBuf, NameError, RDataTextError, RecordType, Token, parse_rdata};

/// `$INCLUDE` in an included file, and so on.
const INCLUDE_DEPTH_MAX: usize = 8;
/// Records that one `$GENERATE` may make.
const GENERATE_MAX: u32 = 1 << 16;

/// A place in the file and what is wrong there.
type Failure = ((usize, usize), ZoneProblem);

pub(super) fn load(text: &[u8], path: Option<&Path>, origin: NameBuf) -> Result<Zone, ZoneError> {
    let mut loader = Loader {
        zone: ZoneBuilder::new(&origin),
        rdata: Vec::new(),
        root: path.and_then(Path::parent).map(Path::to_owned),
    };
    loader.file(text, path, origin, 0)?;
    loader.zone.finish().map_err(|problem| ZoneError {
        file: path.map(Path::to_owned),
        line: 0,
        column: 0,
        problem,
    })
}

struct Loader {
    zone: ZoneBuilder,
    /// RDATA of the record at hand.
    rdata: Vec<u8>,
    /// The folder that `$INCLUDE` may read from.
    root: Option<PathBuf>,
}

/// The owner of the record at hand, in wire format; empty before the first.
#[derive(Default)]
struct Owner {
    wire: Vec<u8>,
}

impl Owner {
    fn parse(&mut self, text: &[u8], origin: &NameBuf) -> Result<(), NameError> {
        self.wire.clear();
        parse_name(text, Some(origin), &mut self.wire)
    }
}

/// What one record leaves to the next in the same file.
struct Context {
    origin: NameBuf,
    owner: Owner,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
}

impl Loader {
    fn file(
        &mut self,
        text: &[u8],
        path: Option<&Path>,
        origin: NameBuf,
        depth: usize,
    ) -> Result<(), ZoneError> {
        let fail = |((line, column), problem): Failure| ZoneError {
            file: path.map(Path::to_owned),
            line,
            column,
            problem,
        };
        let mut context = Context { origin, owner: Owner::default(), default_ttl: None, last_ttl: None };
        let mut lexer = Lexer::new(text);
        let mut entry = Entry::default();
        while lexer.next(&mut entry).map_err(fail)? {
            match entry.tokens[0].octets {
                b"$INCLUDE" => self.include(&entry, &context, depth, fail)?,
                b"$GENERATE" => self.generate(&entry, &mut context).map_err(fail)?,
                _ => self.entry(&entry, &mut context).map_err(fail)?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, context: &mut Context) -> Result<(), Failure> {
        let argument = |expected| match entry.tokens[1..] {
            [argument] => Ok(argument.octets),
            _ => Err((entry.places[1], ZoneProblem::Expected(expected))),
        };
        match entry.tokens[0].octets {
            b"$ORIGIN" => {
                let name = argument("$ORIGIN NAME")?;
                let name = NameBuf::parse(name, Some(&context.origin));
                context.origin = name.map_err(|error| (entry.places[1], ZoneProblem::Name(error)))?;
                Ok(())
            }
            b"$TTL" => {
                let ttl = parse_ttl(argument("$TTL TIME")?);
                let ttl = ttl.ok_or((entry.places[1], ZoneProblem::Expected("a time below 2^31 s")))?;
                context.default_ttl = Some(ttl);
                Ok(())
            }
            [b'$', ..] if !entry.tokens[0].quoted => {
                Err((entry.places[0], ZoneProblem::Expected("$ORIGIN, $TTL, $INCLUDE or $GENERATE")))
            }
            _ => self.record(entry, context),
        }
    }

    fn record(&mut self, entry: &Entry<'_>, context: &mut Context) -> Result<(), Failure> {
        let expected = |place, what| (place, ZoneProblem::Expected(what));
        let mut next = 0;
        if !entry.blank_owner {
            let name = context.owner.parse(entry.tokens[0].octets, &context.origin);
            name.map_err(|error| (entry.places[0], ZoneProblem::Name(error)))?;
            next = 1;
        }
        if context.owner.wire.is_empty() {
            return Err(expected(entry.places[0], "a name on the first record"));
        }
        let mut ttl = None;
        let mut class = None;
        // TTL and class come in either order, each at most once.
        while let Some(token) = entry.tokens.get(next) {
            let text = core::str::from_utf8(token.octets).unwrap_or_default();
            if ttl.is_none() && token.octets.first().is_some_and(u8::is_ascii_digit) {
                let time = parse_ttl(token.octets);
                ttl = Some(time.ok_or_else(|| expected(entry.places[next], "a time below 2^31 s"))?);
            } else if class.is_none()
                && let Some(found) = Class::from_text(text)
            {
                if found != Class::IN {
                    return Err(expected(entry.places[next], "class IN"));
                }
                class = Some(found);
            } else {
                break;
            }
            next += 1;
        }
        let place = entry.places[next];
        let rtype = entry.tokens.get(next).and_then(|token| core::str::from_utf8(token.octets).ok());
        let rtype = rtype.and_then(RecordType::from_text).ok_or_else(|| expected(place, "a record type"))?;
        if matches!(rtype, RecordType::OPT | RecordType::AXFR | RecordType::IXFR | RecordType::ANY) {
            return Err(expected(place, "a record type that can stand in a zone"));
        }
        self.rdata.clear();
        rdata(rtype, entry, next + 1, &context.origin, &mut self.rdata)?;
        let ttl = ttl.or(context.default_ttl).or(context.last_ttl);
        // RFC 1035 leaves the first record without a TTL to the SOA's minimum field.
        let ttl = ttl
            .or_else(|| soa_minimum(rtype, &self.rdata))
            .ok_or_else(|| expected(place, "a TTL, or $TTL before"))?;
        context.last_ttl = Some(ttl);
        let added = self.zone.add_wire(&context.owner.wire, rtype, ttl, &self.rdata);
        added.map_err(|problem| (entry.places[0], problem))
    }

    /// `$INCLUDE FILE [ORIGIN]`. The file may not change our origin or owner.
    fn include(
        &mut self,
        entry: &Entry<'_>,
        context: &Context,
        depth: usize,
        fail: impl Fn(Failure) -> ZoneError,
    ) -> Result<(), ZoneError> {
        let refuse = |what| fail((entry.places[0], ZoneProblem::Include(what)));
        let (file, origin) = match &entry.tokens[1..] {
            [file] => (file, context.origin.clone()),
            [file, origin] => {
                let origin = NameBuf::parse(origin.octets, Some(&context.origin));
                (file, origin.map_err(|error| fail((entry.places[2], ZoneProblem::Name(error))))?)
            }
            _ => return Err(refuse("FILE, and perhaps an origin")),
        };
        if depth >= INCLUDE_DEPTH_MAX {
            return Err(refuse("at most eight files deep"));
        }
        let root = self.root.as_ref().ok_or_else(|| refuse("a zone that comes from a file"))?;
        let name = core::str::from_utf8(file.octets).map_err(|_| refuse("a file name in UTF-8"))?;
        let inside = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            return Err(refuse("a file below the folder of the zone file"));
        }
        let path = root.join(name);
        let text = std::fs::read(&path).map_err(|error| ZoneError::unreadable(&path, &error))?;
        self.file(&text, Some(&path), origin, depth + 1)
    }

    /// `$GENERATE FIRST-LAST[/STEP] OWNER [TTL] [CLASS] TYPE RDATA`, with `$` for the number (BIND's directive).
    fn generate(&mut self, entry: &Entry<'_>, context: &mut Context) -> Result<(), Failure> {
        let range = entry.tokens.get(1).and_then(|token| parse_range(token.octets));
        let (first, last, step) = range.ok_or((
            entry.places[1],
            ZoneProblem::Expected("FIRST-LAST or FIRST-LAST/STEP, at most 65536 of them"),
        ))?;
        for number in (first..=last).step_by(step) {
            let texts: Vec<Vec<u8>> =
                entry.tokens[2..].iter().map(|token| substitute(token.octets, number)).collect();
            let tokens = texts.iter().zip(&entry.tokens[2..]);
            let made = Entry {
                line: entry.line,
                blank_owner: false,
                tokens: tokens.map(|(octets, token)| Token { octets, quoted: token.quoted }).collect(),
                places: entry.places[2..].to_vec(),
            };
            if made.tokens.is_empty() {
                return Err((entry.places[2], ZoneProblem::Expected("an owner, a type and RDATA")));
            }
            self.record(&made, context)?;
        }
        Ok(())
    }
}

fn rdata(
    rtype: RecordType,
    entry: &Entry<'_>,
    first: usize,
    origin: &NameBuf,
    wire: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut taken = 0;
    let tokens = entry.tokens[first.min(entry.tokens.len())..].iter().copied().inspect(|_| taken += 1);
    parse_rdata(rtype, tokens, origin, wire).map_err(|error| {
        // The token that was read last is the one at fault, unless it was the end that came too early.
        let last = match error {
            RDataTextError::Missing { .. } => entry.places.len() - 1,
            _ => (first + taken).saturating_sub(1).min(entry.places.len() - 1),
        };
        (entry.places[last], ZoneProblem::RData(error))
    })?;
    Ok(())
}

fn soa_minimum(rtype: RecordType, rdata: &[u8]) -> Option<u32> {
    (rtype == RecordType::SOA).then(|| rdata.last_chunk::<4>().map(|minimum| u32::from_be_bytes(*minimum)))?
}

fn parse_range(text: &[u8]) -> Option<(u32, u32, usize)> {
    let text = core::str::from_utf8(text).ok()?;
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (first, last) = range.split_once('-')?;
    let (first, last, step): (u32, u32, usize) =
        (first.parse().ok()?, last.parse().ok()?, step.parse().ok()?);
    (first <= last && last - first < GENERATE_MAX && step > 0).then_some((first, last, step))
}

/// Replaces each `$` by the number; `\$` stays a dollar, `${OFFSET,WIDTH,BASE}` is offset, padded and written in
/// base d, o, x or X.
fn substitute(text: &[u8], number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'\\' if rest.first() == Some(&b'$') => {
                out.push(b'$');
                rest = &rest[1..];
            }
            b'$' => match modified(rest, number) {
                Some((digits, tail)) => {
                    out.extend_from_slice(digits.as_bytes());
                    rest = tail;
                }
                None => out.extend_from_slice(number.to_string().as_bytes()),
            },
            _ => out.push(octet),
        }
    }
    out
}

fn modified(rest: &[u8], number: u32) -> Option<(String, &[u8])> {
    let inner = rest.strip_prefix(b"{")?;
    let end = inner.iter().position(|&octet| octet == b'}')?;
    let mut parts = core::str::from_utf8(&inner[..end]).ok()?.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width: usize = parts.next().unwrap_or("0").parse().ok().filter(|&width| width <= 255)?;
    let value = u64::try_from(i64::from(number) + offset).ok()?;
    let digits = match parts.next().unwrap_or("d") {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        _ => return None,
    };
    Some((digits, &inner[end + 1..]))
}
