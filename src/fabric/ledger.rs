//! Which purges a PoP knows of, and where in the stream each stands. Pure.
//!
//! The second cache is never purged. A record in it says how far its writer had read the stream; a reader who knows of a
//! later purge that concerns the record does not take it. So nobody has to find anything in the store, and no record
//! that somebody wrote late, with content from before a purge, is ever taken by a reader who has heard of the purge. (One
//! who has not will hear of it, and purge its memory then.)

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use pop_cache::http::{CacheKey, Purge, PurgeMode};

/// So many purges are remembered. Records from before them are not taken any more.
const KNOWN_MAX: usize = 1024;
/// So many purges wait for a store that is away; more become one of everything.
pub(super) const OUTGOING_MAX: usize = 1024;

/// A place in the stream: milliseconds of the store's clock, and a count within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) millis: u64,
    pub(super) count: u64,
}

impl Position {
    const END: Self = Self { millis: u64::MAX, count: u64::MAX };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.count)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, count) = text.split_once('-').ok_or(())?;
        Ok(Self { millis: millis.parse().map_err(drop)?, count: count.parse().map_err(drop)? })
    }
}

/// A purge of our own on its way to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) number: u64,
    pub(super) what: Purge,
    pub(super) mode: PurgeMode,
}

/// What is known of purges.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How far the stream was read; `None` before the beginning.
    cursor: Option<Position>,
    /// What happened up to here is not known in full.
    floor: Position,
    /// A record from before the position is not taken if the purge concerns it.
    known: VecDeque<(Position, Purge)>,
    outgoing: VecDeque<Outgoing>,
    next: u64,
    /// Purges that are known already, with how many caches will still tell of each.
    excused: VecDeque<(Purge, usize)>,
}

impl Ledger {
    pub(super) fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// How many of our own purges the others have yet to be told.
    pub(super) fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes a purge of our own in, before anything is purged: from now on no record is taken that it concerns.
    pub(super) fn announce(&mut self, what: &Purge, mode: PurgeMode) {
        let (mut what, mut mode) = (what.clone(), mode);
        if self.outgoing.len() >= OUTGOING_MAX {
            // Too much purged is slow, too little is wrong.
            what = Purge::All;
            if self.outgoing.iter().any(|other| other.mode == PurgeMode::Remove) {
                mode = PurgeMode::Remove;
            }
            self.outgoing.clear();
        }
        self.outgoing.push_back(Outgoing { number: self.next, what, mode });
        self.next += 1;
    }

    /// The next purge to tell.
    pub(super) fn next(&self) -> Option<Outgoing> {
        self.outgoing.front().cloned()
    }

    /// The purge of this number stands in the stream.
    pub(super) fn told(&mut self, number: u64, position: Position) {
        if let Some(own) = self.outgoing.pop_front_if(|own| own.number == number) {
            self.learn(position, own.what);
        }
    }

    /// Begins to read after `cursor`; what happened up to `floor` is not known.
    pub(super) fn begin(&mut self, cursor: Position, floor: Position) {
        self.cursor = Some(cursor);
        self.floor = self.floor.max(floor);
    }

    /// Begins anew after `cursor`, where nothing from before it is known. Our own purges are still to be told.
    pub(super) fn anew(self, cursor: Position) -> Self {
        Self { cursor: Some(cursor), floor: cursor, known: VecDeque::new(), ..self }
    }

    /// Takes in what somebody has purged.
    pub(super) fn learn(&mut self, position: Position, what: Purge) {
        if self.known.len() == KNOWN_MAX
            && let Some((oldest, _)) = self.known.pop_front()
        {
            self.floor = self.floor.max(oldest);
        }
        self.known.push_back((position, what));
    }

    /// Everything up to here is read.
    pub(super) fn advance(&mut self, cursor: Position) {
        debug_assert!(self.cursor.is_none_or(|before| before <= cursor), "the stream only grows");
        self.cursor = Some(cursor);
    }

    /// So many caches are about to make a purge that is known here: what they tell of it is nothing new.
    pub(super) fn excuse(&mut self, what: &Purge, caches: usize) {
        if caches > 0 {
            if self.excused.len() == KNOWN_MAX {
                self.excused.pop_front();
            }
            self.excused.push_back((what.clone(), caches));
        }
    }

    /// Takes in a purge of this PoP's caches that nobody else is told: what was written up to now is not taken.
    pub(super) fn bar(&mut self, what: Purge) {
        if let Some(index) = self.excused.iter().position(|(excused, _)| *excused == what) {
            self.excused[index].1 -= 1;
            if self.excused[index].1 == 0 {
                self.excused.remove(index);
            }
            return;
        }
        let Some(cursor) = self.cursor else { return };
        let position = Position { count: cursor.count.saturating_add(1), ..cursor };
        self.learn(position, what);
    }

    /// Whether a record may be taken whose writer had read as far as `stamp`.
    pub(super) fn admits(&self, stamp: Position, key: &CacheKey, tags: &[String]) -> bool {
        let outgoing = self.outgoing.iter().map(|own| (Position::END, &own.what));
        let known = self.known.iter().map(|(position, what)| (*position, what));
        self.cursor.is_some()
            && stamp >= self.floor
            && !known.chain(outgoing).any(|(position, what)| stamp < position && what.concerns(key, tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Position {
        Position { millis, count: 0 }
    }

    fn key() -> CacheKey {
        CacheKey::from_raw("http://a.example/x")
    }

    fn tag(tag: &str) -> Purge {
        Purge::Tag(tag.into())
    }

    #[test]
    fn positions_read_as_they_are_written() {
        let position = Position { millis: 1_700_000_000_000, count: 7 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in ["", "1", "1-", "-1", "1-2-3", "1-18446744073709551616", "a-b"] {
            assert_eq!(wrong.parse::<Position>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_record_from_before_a_purge_that_concerns_it_is_not_taken() {
        let tags = ["page".to_owned()];
        let mut ledger = Ledger::default();
        assert!(!ledger.admits(Position::END, &key(), &tags), "nothing is known yet");
        ledger.begin(at(10), at(5));
        assert!(ledger.admits(at(5), &key(), &tags) && !ledger.admits(at(4), &key(), &tags));
        ledger.learn(at(20), tag("page"));
        ledger.learn(at(30), tag("other"));
        ledger.advance(at(30));
        assert!(!ledger.admits(at(19), &key(), &tags));
        assert!(ledger.admits(at(20), &key(), &tags), "its writer knew");
        assert!(ledger.admits(at(19), &key(), &[]), "it has not the tag");
    }

    #[test]
    fn our_own_counts_from_the_moment_it_is_made() {
        let tags = ["page".to_owned()];
        let mut ledger = Ledger::default();
        ledger.begin(at(10), at(0));
        ledger.announce(&tag("page"), PurgeMode::Remove);
        assert!(!ledger.admits(at(10), &key(), &tags));
        let own = ledger.next().expect("it waits");
        ledger.told(own.number + 1, at(11));
        assert_eq!(ledger.waiting(), 1, "another was told");
        ledger.told(own.number, at(15));
        assert_eq!(ledger.waiting(), 0);
        assert!(!ledger.admits(at(14), &key(), &tags) && ledger.admits(at(15), &key(), &tags));
        ledger.excuse(&tag("page"), 2);
        ledger.bar(tag("page"));
        ledger.bar(tag("page"));
        assert_eq!((ledger.known.len(), ledger.excused.len()), (1, 0), "two caches told what is known");
        ledger.bar(Purge::All);
        assert!(!ledger.admits(at(10), &key(), &[]) && ledger.admits(at(11), &key(), &[]));
    }

    #[test]
    fn what_is_forgotten_counts_as_everything() {
        let mut ledger = Ledger::default();
        ledger.begin(at(1), at(0));
        for millis in 0..=KNOWN_MAX as u64 {
            ledger.learn(at(100 + millis), tag("other"));
        }
        assert_eq!(ledger.known.len(), KNOWN_MAX);
        assert!(!ledger.admits(at(99), &key(), &[]) && ledger.admits(at(100), &key(), &[]));
        for _ in 0..=OUTGOING_MAX {
            ledger.announce(&tag("other"), PurgeMode::MarkStale);
        }
        let own = ledger.next().expect("one waits");
        assert_eq!((ledger.waiting(), own.what, own.mode), (1, Purge::All, PurgeMode::MarkStale));
    }
}
