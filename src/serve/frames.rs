//! A budget for HTTP/2 control frames. hyper answers PING and SETTINGS for as long as they come; a client that sends
//! little else keeps us busy for nothing.
//!
//! Only frame headers are read (RFC 9113 §4.1), nine octets each. Each connection starts with a credit; a request
//! adds some, data in either direction adds some, so that window updates of a long download are paid for.

use super::io::Phase;

const HEADER_OCTETS: usize = 9;
const PREFACE_OCTETS: usize = 24;
/// Credit for each request.
const PER_REQUEST: u64 = 4;
/// Octets of data, sent or received, for one more frame of credit.
const DATA_OCTETS: u64 = 4096;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The client has spent its credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// The frames of one connection, after the preface.
#[derive(Debug)]
pub(super) struct FrameScanner {
    /// Octets of the preface that have not come.
    preface: usize,
    header: [u8; HEADER_OCTETS],
    /// Octets of the header that have come.
    filled: usize,
    /// Octets of the payload that have not.
    payload: usize,
    credit: u64,
    data: u64,
    is_within_headers: bool,
    heads: u64,
}

impl FrameScanner {
    /// A scanner for a connection that begins with the preface.
    pub(super) fn after_preface(credit: u64) -> Self {
        Self { preface: PREFACE_OCTETS, ..Self::new(credit) }
    }

    fn new(credit: u64) -> Self {
        Self {
            preface: 0,
            header: [0; HEADER_OCTETS],
            filled: 0,
            payload: 0,
            credit,
            data: 0,
            is_within_headers: false,
            heads: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.payload > 0 && self.header[3] == DATA {
            Phase::Body
        } else if self.preface > 0 || self.filled > 0 || self.payload > 0 || self.is_within_headers {
            Phase::Head
        } else {
            Phase::Between
        }
    }

    /// Frames that have begun, but for those that go on with a block of fields.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Credits what we sent.
    pub(super) fn sent(&mut self, octets: usize) {
        self.earn(octets);
    }

    /// Takes octets in, in the order they come.
    pub(super) fn scan(&mut self, mut octets: &[u8]) -> Result<(), Exhausted> {
        let skipped = self.preface.min(octets.len());
        self.preface -= skipped;
        octets = &octets[skipped..];
        while !octets.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(octets.len());
                octets = &octets[taken..];
                self.payload -= taken;
                continue;
            }
            let taken = (HEADER_OCTETS - self.filled).min(octets.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&octets[..taken]);
            self.filled += taken;
            octets = &octets[taken..];
            if self.filled == HEADER_OCTETS {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Exhausted> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.heads += u64::from(kind != CONTINUATION);
        match kind {
            HEADERS | CONTINUATION => {
                self.is_within_headers = flags & END_HEADERS == 0;
                if kind == HEADERS {
                    self.credit = self.credit.saturating_add(PER_REQUEST);
                    return Ok(());
                }
            }
            DATA if self.payload > 0 => {
                self.earn(self.payload);
                return Ok(());
            }
            _ => {}
        }
        self.credit = self.credit.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    fn earn(&mut self, octets: usize) {
        self.data += octets as u64;
        self.credit = self.credit.saturating_add(self.data / DATA_OCTETS);
        self.data %= DATA_OCTETS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut octets = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 1];
        octets.resize(HEADER_OCTETS + payload, 0);
        octets
    }

    #[test]
    fn control_frames_have_an_end() {
        let mut scanner = FrameScanner::new(10);
        let ping = frame(6, 0, 8);
        let passed = (0..100).take_while(|_| scanner.scan(&ping).is_ok()).count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn work_pays_for_them() {
        let mut scanner = FrameScanner::new(0);
        for _ in 0..1000 {
            assert_eq!(scanner.scan(&frame(HEADERS, END_HEADERS, 20)), Ok(()));
            for _ in 0..PER_REQUEST {
                assert_eq!(scanner.scan(&frame(8, 0, 4)), Ok(()));
            }
        }
        assert_eq!(scanner.scan(&frame(8, 0, 4)), Err(Exhausted));
        let mut scanner = FrameScanner::new(0);
        scanner.sent(8192);
        assert_eq!(scanner.scan(&frame(8, 0, 4)), Ok(()));
        assert_eq!(scanner.scan(&frame(8, 0, 4)), Ok(()));
        assert_eq!(scanner.scan(&frame(8, 0, 4)), Err(Exhausted));
    }

    #[test]
    fn frames_may_come_in_pieces() {
        let mut scanner = FrameScanner::new(1);
        let mut octets = frame(HEADERS, 0, 3);
        octets.extend(frame(CONTINUATION, END_HEADERS, 3));
        for octet in &octets[..octets.len() - 1] {
            assert_eq!(scanner.scan(&[*octet]), Ok(()));
            assert_ne!(scanner.phase(), Phase::Between);
        }
        assert_eq!(scanner.scan(&octets[octets.len() - 1..]), Ok(()));
        assert_eq!(scanner.phase(), Phase::Between);
        assert_eq!(scanner.credit, 4);
    }

    #[test]
    fn empty_data_frames_are_control_frames() {
        let mut scanner = FrameScanner::new(1);
        assert_eq!(scanner.scan(&frame(DATA, 0, 0)), Ok(()));
        assert_eq!(scanner.scan(&frame(DATA, 0, 0)), Err(Exhausted));
    }
}
