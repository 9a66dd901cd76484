//! A scanner that follows HTTP/1 framing along with hyper, to know two things that hyper does not tell: whether a
//! request has two framings (hyper drops `Content-Length` beside `Transfer-Encoding`, so no service sees it), and
//! whether the client is in the middle of a head, which has a deadline.
//!
//! It never decides where a message ends: hyper does. Where the scanner loses the thread it says
//! [`Finding::Lost`], and the connection ends with the next answer. So it can only make us stricter.
//!
//! ```text
//! Head ── blank line ──▶ Head            no body
//!      ── blank line ──▶ Length(n) ─ n octets ─▶ Head
//!      ── blank line ──▶ ChunkSize ─ size line ─▶ ChunkData(n) ─ n + CRLF ─▶ ChunkSize
//!                            └─ size 0 ─▶ Trailers ─ blank line ─▶ Head
//! ```

use memchr::memchr_iter;

use super::io::Phase;

/// What the scanner has found in the octets it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing out of the ordinary.
    Plain,
    /// A head with `Transfer-Encoding` and `Content-Length`.
    TwoFramings,
    /// Octets that cannot be followed.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    Trailers,
    Lost,
}

/// Longest start of a line that is looked at: enough for the two names, a colon, and a value.
const LINE_START_BYTES: usize = 128;

/// The scanner of one connection.
#[derive(Debug)]
pub(super) struct HeadScanner {
    state: State,
    /// The start of a line that the last octets did not finish.
    partial: Vec<u8>,
    /// Whether the current line has octets before those of `partial`'s bound.
    is_first_line: bool,
    has_octets: bool,
    length: Option<u64>,
    is_chunked: bool,
    heads: u64,
}

impl HeadScanner {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
            is_first_line: true,
            has_octets: false,
            length: None,
            is_chunked: false,
            heads: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.has_octets => Phase::Head,
            State::Head => Phase::Between,
            _ => Phase::Body,
        }
    }

    /// Heads that have come to their end.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes octets in, in the order they come.
    pub(super) fn scan(&mut self, mut octets: &[u8]) -> Finding {
        let mut finding = Finding::Plain;
        while !octets.is_empty() {
            match self.state {
                State::Lost => return Finding::Lost,
                State::Length(left) => {
                    let taken = left.min(octets.len() as u64);
                    octets = &octets[taken as usize..];
                    self.state = if taken == left { State::Head } else { State::Length(left - taken) };
                }
                State::ChunkData(left) => {
                    let taken = left.min(octets.len() as u64);
                    octets = &octets[taken as usize..];
                    self.state =
                        if taken == left { State::ChunkSize } else { State::ChunkData(left - taken) };
                }
                State::Head | State::ChunkSize | State::Trailers => {
                    let (found, rest) = self.lines(octets);
                    if found != Finding::Plain {
                        finding = found;
                    }
                    octets = rest;
                }
            }
        }
        finding
    }

    /// Takes lines in, until one changes the state or they are all taken, and returns what is left.
    fn lines<'a>(&mut self, octets: &'a [u8]) -> (Finding, &'a [u8]) {
        let before = self.state;
        let mut start = 0;
        for end in memchr_iter(b'\n', octets) {
            let line = &octets[start..=end];
            start = end + 1;
            let found = if self.partial.is_empty() {
                self.line(line)
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.partial);
                let found = self.line(&whole);
                self.partial = whole;
                self.partial.clear();
                found
            };
            if found != Finding::Plain || self.state != before {
                return (found, &octets[start..]);
            }
        }
        self.keep(&octets[start..]);
        (Finding::Plain, &[])
    }

    fn keep(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.has_octets = true;
        let room = LINE_START_BYTES - self.partial.len().min(LINE_START_BYTES);
        self.partial.extend_from_slice(&octets[..octets.len().min(room)]);
        // The end of the line must not be lost: it tells a blank line from a long one.
        if octets.len() > room
            && octets.last() == Some(&b'\n')
            && let Some(last) = self.partial.last_mut()
        {
            *last = b'\n';
        }
        debug_assert!(self.partial.len() <= LINE_START_BYTES);
    }

    #[inline]
    fn line(&mut self, line: &[u8]) -> Finding {
        let is_blank = matches!(line, b"\n" | b"\r\n");
        match self.state {
            State::Head if is_blank => return self.head_ended(),
            State::Head => {
                self.has_octets = true;
                if !self.is_first_line && !self.field(line) {
                    return self.lose();
                }
                self.is_first_line = false;
            }
            State::ChunkSize if is_blank => {}
            State::ChunkSize => match chunk_size(line) {
                Some(0) => self.state = State::Trailers,
                Some(size) => self.state = State::ChunkData(size),
                None => return self.lose(),
            },
            State::Trailers if is_blank => self.next_message(),
            _ => {}
        }
        Finding::Plain
    }

    /// Whether the field, if it tells a framing, can be followed: a length behind so much white space that it may have
    /// been cut off cannot.
    fn field(&mut self, line: &[u8]) -> bool {
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') if is_named(line, b"content-length:") => {
                if line.len() >= LINE_START_BYTES {
                    return false;
                }
                // hyper refuses what is no number and what differs.
                let value = line[b"content-length:".len()..].trim_ascii();
                self.length =
                    std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).or(Some(0));
            }
            Some(b't') if is_named(line, b"transfer-encoding:") => self.is_chunked = true,
            _ => {}
        }
        true
    }

    fn head_ended(&mut self) -> Finding {
        if self.is_first_line {
            // An empty line before a request line (RFC 9112 §2.2).
            self.has_octets = false;
            return Finding::Plain;
        }
        let (length, is_chunked) = (self.length.take(), self.is_chunked);
        self.heads += 1;
        self.next_message();
        if is_chunked {
            self.state = State::ChunkSize;
            return if length.is_some() { Finding::TwoFramings } else { Finding::Plain };
        }
        if let Some(length) = length.filter(|&length| length > 0) {
            self.state = State::Length(length);
        }
        Finding::Plain
    }

    fn next_message(&mut self) {
        (self.state, self.is_first_line, self.has_octets) = (State::Head, true, false);
        (self.length, self.is_chunked) = (None, false);
    }

    #[cold]
    fn lose(&mut self) -> Finding {
        self.state = State::Lost;
        Finding::Lost
    }
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The digits of the largest chunk; with more, zeros before them included, a line cannot be followed.
const CHUNK_DIGITS_MAX: usize = 16;

/// The size in a chunk's first line (RFC 9112 §7.1); extensions are passed over.
fn chunk_size(line: &[u8]) -> Option<u64> {
    const { assert!(CHUNK_DIGITS_MAX < LINE_START_BYTES, "what is judged is never cut off") };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > CHUNK_DIGITS_MAX {
        return None;
    }
    let text = std::str::from_utf8(&line[..digits]).ok()?;
    let size = u64::from_str_radix(text, 16).ok()?;
    matches!(line.get(digits), None | Some(b'\r' | b'\n' | b';' | b' ' | b'\t')).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(octets: &str, finding: Finding, is_between: bool) {
        // In one go, and octet by octet: the same.
        let mut whole = HeadScanner::new();
        assert_eq!(whole.scan(octets.as_bytes()), finding, "{octets:?}");
        assert_eq!(whole.phase() == Phase::Between, is_between, "{octets:?}");
        let mut slow = HeadScanner::new();
        let found = octets
            .bytes()
            .map(|byte| slow.scan(&[byte]))
            .fold(Finding::Plain, |all, found| if found == Finding::Plain { all } else { found });
        assert_eq!(found, finding, "{octets:?} octet by octet");
        assert_eq!(slow.phase() == Phase::Between, is_between, "{octets:?} octet by octet");
    }

    #[test]
    fn framings() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Finding::Plain, true);
        check("GET / HTTP/1.1\r\nHost: a\r\n", Finding::Plain, false);
        check("\r\nGET / HTTP/1.1\r\n\r\n", Finding::Plain, true);
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Finding::Plain, true);
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", Finding::Plain, false);
        check(
            "POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Finding::TwoFramings,
            true,
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n0\r\n\r\n",
            Finding::TwoFramings,
            true,
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
            Finding::Plain,
            true,
        );
        // A body that looks like a head is no head.
        let body = "\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
        let post =
            format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}GET / HTTP/1.1\r\n\r\n", body.len());
        check(&post, Finding::Plain, true);
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Finding::Lost, false);
        // What hides behind more than is kept of a line is not guessed, however the octets come.
        let zeros = "0".repeat(LINE_START_BYTES);
        let chunk = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}5\r\n");
        check(&chunk, Finding::Lost, false);
        let spaces = " ".repeat(LINE_START_BYTES);
        check(&format!("POST / HTTP/1.1\r\nContent-Length:{spaces}5\r\n\r\n"), Finding::Lost, false);
    }

    #[test]
    fn long_lines_end_where_they_end() {
        let long = "x".repeat(1000);
        check(&format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n\r\n"), Finding::Plain, true);
    }

    proptest! {
        /// However the octets are cut, the scanner finds the same.
        #[test]
        fn cuts_change_nothing(
            lengths in proptest::collection::vec(0_usize..40, 1..5),
            cuts in proptest::collection::vec(1_usize..30, 1..40),
            both in any::<bool>(),
        ) {
            let mut octets = String::new();
            for length in &lengths {
                let body = "\n".repeat(*length);
                if length % 2 == 0 {
                    octets += &format!("PUT /x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
                } else {
                    octets += &format!("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
                }
            }
            if both {
                octets += "PUT /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
            }
            let mut scanner = HeadScanner::new();
            let mut rest = octets.as_bytes();
            let mut found = Finding::Plain;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                rest = later;
                let finding = scanner.scan(now);
                if finding != Finding::Plain { found = finding; }
            }
            prop_assert_eq!(found, if both { Finding::TwoFramings } else { Finding::Plain });
            prop_assert_eq!(scanner.phase() == Phase::Between, !both);
        }
    }
}
