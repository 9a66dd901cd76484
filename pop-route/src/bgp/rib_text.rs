//! Tables in text, a route a line, fields with `|` between: the form that `bgpdump -m` and its kin write.
//!
//! ```text
//! TABLE_DUMP2|time|B|peer address|peer AS|prefix|AS path|origin|next hop|local pref|MED|communities|…
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use super::{AS_PATH_MAX, Origin, Route, Segment};
use crate::Prefix;

/// Lines of a table at most: some sixty full views.
pub const RIB_LINES_MAX: usize = 64_000_000;
/// Communities of a route at most; more are left out.
const COMMUNITIES_MAX: usize = 256;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibRow {
    /// Where the route leads.
    pub prefix: Prefix,
    /// The system that told it.
    pub peer_as: u32,
    /// The route.
    pub route: Route,
}

/// Reads one line.
///
/// ```
/// let line = "TABLE_DUMP2|1700000000|B|192.0.2.1|64500|198.51.100.0/24|64500 64510|IGP|192.0.2.1|0|0||NAG||";
/// let row = pop_route::parse_rib_line(line).expect("a route");
/// assert_eq!((row.prefix.length(), row.route.origin_as()), (24, Some(64510)));
/// ```
///
/// # Errors
/// [`RibError`] with the field, counted from 1, and line 1.
pub fn parse_rib_line(line: &str) -> Result<RibRow, RibError> {
    let fields: Vec<&str> = line.trim_end().splitn(16, '|').collect();
    let error = |column: usize, expected| RibError { line: 1, column, expected };
    if fields.len() < 8 {
        return Err(error(fields.len(), "at least 8 fields with | between"));
    }
    let kind = fields[2];
    if !fields[0].starts_with("TABLE_DUMP") || kind != "B" {
        return Err(error(1, "TABLE_DUMP or TABLE_DUMP2, and B in field 3"));
    }
    let peer: IpAddr = fields[3].parse().map_err(|_| error(4, "the peer's address"))?;
    let peer_as = fields[4].parse().map_err(|_| error(5, "the peer's AS number"))?;
    let prefix = fields[5].parse().map_err(|_| error(6, "a prefix"))?;
    let as_path = path(fields[6]).ok_or_else(|| error(7, "an AS path of at most 1024 systems"))?;
    let origin = match fields[7] {
        "IGP" => Origin::Igp,
        "EGP" => Origin::Egp,
        "INCOMPLETE" => Origin::Incomplete,
        _ => return Err(error(8, "IGP, EGP or INCOMPLETE")),
    };
    let number = |index: usize, expected| match fields.get(index) {
        None | Some(&"") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| error(index + 1, expected)),
    };
    // Dumps write 0 where no preference was told: all of them are equal then.
    let local_pref = number(9, "a local preference")?.unwrap_or(0);
    let med = number(10, "a MED")?;
    let communities = fields.get(11).map(|text| communities(text)).unwrap_or_default();
    let router_id = match peer {
        IpAddr::V4(peer) => peer,
        // The text does not tell; the last bits of the address are as good as any.
        IpAddr::V6(peer) => Ipv4Addr::from_bits(peer.to_bits() as u32),
    };
    let route = Route { local_pref, origin, med, peer, communities, as_path, ..Route::new([], router_id) };
    Ok(RibRow { prefix, peer_as, route })
}

/// Reads a whole table; empty lines and lines that begin with `#` are passed over.
///
/// # Errors
/// [`RibError`] of the first line that is none, with its number.
pub fn routes_of_text(text: &str) -> impl Iterator<Item = Result<RibRow, RibError>> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .take(RIB_LINES_MAX)
        .map(|(number, line)| parse_rib_line(line).map_err(|error| RibError { line: number, ..error }))
}

/// `64500 64501 {64502,64503}`.
fn path(text: &str) -> Option<Vec<Segment>> {
    let (mut segments, mut sequence, mut count) = (Vec::new(), Vec::new(), 0);
    for word in text.split_ascii_whitespace() {
        match word.strip_prefix('{').map(|word| word.strip_suffix('}')) {
            Some(set) => {
                let systems: Option<Vec<u32>> =
                    set?.split(',').take(AS_PATH_MAX + 1).map(|system| system.parse().ok()).collect();
                let systems = systems?;
                count += systems.len();
                if !sequence.is_empty() {
                    segments.push(Segment::Sequence(core::mem::take(&mut sequence)));
                }
                segments.push(Segment::Set(systems));
            }
            None => {
                sequence.push(word.parse().ok()?);
                count += 1;
            }
        }
        if count > AS_PATH_MAX {
            return None;
        }
    }
    if !sequence.is_empty() {
        segments.push(Segment::Sequence(sequence));
    }
    Some(segments)
}

/// `64500:1 64500:2`; words of another form (large communities, names) are passed over.
fn communities(text: &str) -> Vec<(u16, u16)> {
    let pair = |word: &str| {
        let (one, other) = word.split_once(':')?;
        Some((one.parse().ok()?, other.parse().ok()?))
    };
    text.split_ascii_whitespace().filter_map(pair).take(COMMUNITIES_MAX).collect()
}

/// A line that is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RibError {
    /// The line, from 1.
    pub line: usize,
    /// The field, from 1.
    pub column: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for RibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, field {}: expected {}", self.line, self.column, self.expected)
    }
}

impl core::error::Error for RibError {}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "TABLE_DUMP2|1700000000|B|2001:db8::1|64500|2001:db8:7::/48|64500 64501 {64502,64503}|INCOMPLETE|2001:db8::1|120|7|64500:1 no-export 64500:2|AG|x|";

    #[test]
    fn a_line_with_everything() {
        let row = parse_rib_line(LINE).unwrap();
        assert_eq!((row.route.local_pref, row.route.med, row.route.path_length()), (120, Some(7), 3));
        assert_eq!((row.route.neighbour(), row.route.origin_as()), (Some(64500), None));
        assert_eq!(row.route.communities, [(64500, 1), (64500, 2)]);
    }

    #[test]
    fn bad_lines_say_where() {
        let check = |from: &str, to: &str, column: usize| {
            let text = format!("# a table\n\n{LINE}\n{}\n", LINE.replacen(from, to, 1));
            let results: Vec<_> = routes_of_text(&text).collect();
            assert!(results[0].is_ok());
            let error = *results[1].as_ref().unwrap_err();
            assert_eq!((error.line, error.column), (4, column), "{error}");
        };
        check("TABLE_DUMP2", "BGP4MP", 1);
        check("|2001:db8::1|", "|x|", 4);
        check("|64500|", "|-1|", 5);
        check("/48", "/129", 6);
        check("{64502,64503}", "{64502,", 7);
        check("64501", &"1 ".repeat(AS_PATH_MAX), 7);
        check("INCOMPLETE", "IBGP", 8);
        check("|120|", "|many|", 10);
        check("|7|", "|-7|", 11);
        check(LINE, "TABLE_DUMP2|x", 2);
    }
}
