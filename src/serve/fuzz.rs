//! The scanners of connections, for the fuzzer: however the octets are cut, they find the same.

use super::frames::FrameScanner;
use super::head::{Finding, HeadScanner};

/// Feeds `octets` to the scanner of HTTP/1 heads in one go, and in pieces of `cut` octets.
///
/// # Panics
/// If the scanner finds something else in the pieces than in the whole.
pub fn heads(octets: &[u8], cut: usize) {
    let mut whole = HeadScanner::new();
    let found = whole.scan(octets);
    let mut pieces = HeadScanner::new();
    let mut last = Finding::Plain;
    for piece in octets.chunks(cut.max(1)) {
        match pieces.scan(piece) {
            Finding::Plain => {}
            finding => last = finding,
        }
    }
    assert_eq!(last, found);
    assert_eq!((pieces.phase(), pieces.heads()), (whole.phase(), whole.heads()));
}

/// The same for the scanner of HTTP/2 frames, after its preface.
///
/// # Panics
/// As [`heads`].
pub fn frames(octets: &[u8], cut: usize) {
    const CREDIT: u64 = 100;
    let mut whole = FrameScanner::after_preface(CREDIT);
    let found = whole.scan(octets);
    let mut pieces = FrameScanner::after_preface(CREDIT);
    let in_pieces = octets.chunks(cut.max(1)).try_for_each(|piece| pieces.scan(piece));
    assert_eq!(in_pieces, found);
    // Who is out of credit is read no further.
    if found.is_ok() {
        assert_eq!((pieces.phase(), pieces.heads()), (whole.phase(), whole.heads()));
    }
}
