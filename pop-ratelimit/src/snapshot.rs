//! A keyed limiter saved as bytes and brought back: debts survive a restart.
//!
//! ```text
//! magic "poprl2\0\0" · quota (tokens, period ns, burst) · scale check · lines · seeds × 4 · count
//! then for each slot in debt: line u32 · index u8 · word u64 (the distance to the high mark, credit, tag)
//! ```
//! All numbers little-endian. Only slots that owe something are written.

use core::fmt;
use core::hash::Hash;
use core::time::Duration;
use std::vec::Vec;

use crate::keyed::{Line, SLOTS_PER_LINE};
use crate::slot;
use crate::sync::Ordering;
use crate::{KeyedLimiter, Quota, Timestamp};

const MAGIC: [u8; 8] = *b"poprl2\0\0";
const HEADER_BYTES: usize = 8 + 8 * 9;
const ENTRY_BYTES: usize = 13;

/// A snapshot that cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It does not begin as a snapshot does.
    Magic,
    /// It ends at this offset, in the middle of something, or goes on after its end.
    Length {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// Its quota is out of bounds.
    Quota,
    /// Its table is larger than the caller's bound.
    Memory {
        /// Bytes it asks for.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// The entry at this offset names a slot that does not exist, or owes more than a debt can be.
    Entry {
        /// Where it stands.
        offset: usize,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "not a snapshot of a keyed limiter"),
            Self::Length { have, want } => write!(f, "snapshot of {have} bytes, {want} expected"),
            Self::Quota => write!(f, "snapshot with a quota out of bounds"),
            Self::Memory { bytes, bytes_max } => {
                write!(f, "snapshot of a table of {bytes} bytes, at most {bytes_max} allowed")
            }
            Self::Entry { offset } => write!(f, "snapshot with an impossible entry at byte {offset}"),
        }
    }
}

impl core::error::Error for SnapshotError {}

impl<K: ?Sized> KeyedLimiter<K> {
    /// Every debt at `now`, as bytes. Others may go on checking meanwhile; each slot is read once.
    ///
    /// The bytes contain the secret of the hash: whoever reads them can choose keys that meet in one line.
    #[must_use]
    pub fn snapshot_at(&self, now: Timestamp) -> Vec<u8> {
        let time = self.timeline.current();
        let (virtual_now, horizon) = (time.at(now), time.horizon);
        let quota = time.quota;
        let mut bytes = Vec::from(MAGIC);
        let header = [quota.tokens(), quota.period_nanos(), quota.burst_size(), self.lines.len() as u64];
        header.iter().chain(&self.seeds).for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(0_u64.to_le_bytes());
        let mut count = 0_u64;
        for (line, Line(slots)) in self.lines.iter().enumerate() {
            for (index, slot) in slots.iter().enumerate() {
                let word = slot.load(Ordering::Relaxed);
                let ahead = slot::ahead(word, virtual_now, horizon);
                if ahead > 0 {
                    bytes.extend((line as u32).to_le_bytes());
                    bytes.push(index as u8);
                    bytes.extend(slot::relative(word, ahead as u64).to_le_bytes());
                    count += 1;
                }
            }
        }
        bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        bytes
    }
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// A limiter that stands where the one of the snapshot stood, `away` later, at `now` of the new clock. Its table
    /// has the size of the old one, at most `memory_bytes_max`.
    ///
    /// # Errors
    /// [`SnapshotError`] for anything but a whole snapshot of a table within the bound. Nothing is allocated before
    /// the length is known to be right.
    pub fn restore_at(
        snapshot: &[u8],
        now: Timestamp,
        away: Duration,
        memory_bytes_max: usize,
    ) -> Result<Self, SnapshotError> {
        let (header, entries) = snapshot
            .split_at_checked(HEADER_BYTES)
            .ok_or(SnapshotError::Length { have: snapshot.len(), want: HEADER_BYTES })?;
        if header[..8] != MAGIC {
            return Err(SnapshotError::Magic);
        }
        let word = |index: usize| u64_at(header, 8 + 8 * index);
        let (lines, count) = (word(3), word(8));
        let want = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_BYTES));
        if want != Some(entries.len()) {
            let want = want.and_then(|want| want.checked_add(HEADER_BYTES)).unwrap_or(usize::MAX);
            return Err(SnapshotError::Length { have: snapshot.len(), want });
        }
        let bytes = lines.saturating_mul(size_of::<Line>() as u64);
        if lines == 0 || bytes > memory_bytes_max as u64 || lines > u64::from(u32::MAX) {
            return Err(SnapshotError::Memory { bytes, bytes_max: memory_bytes_max });
        }
        let quota = quota(word(0), word(1), word(2)).ok_or(SnapshotError::Quota)?;
        let limiter = Self::with_seeds(quota, lines as usize, [word(4), word(5), word(6), word(7)]);
        limiter.fill(entries, now, away)?;
        Ok(limiter)
    }

    fn fill(&self, entries: &[u8], now: Timestamp, away: Duration) -> Result<(), SnapshotError> {
        let time = self.timeline.current();
        let (virtual_now, horizon) = (time.at(now), time.horizon);
        let refilled = time.units_in(away);
        for (number, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
            let impossible = SnapshotError::Entry { offset: HEADER_BYTES + number * ENTRY_BYTES };
            let line = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
            let (index, word) = (usize::from(entry[4]), u64_at(entry, 5));
            let ahead = slot::unscaled(word);
            if line >= self.lines.len() || index >= SLOTS_PER_LINE || ahead > horizon as u64 {
                return Err(impossible);
            }
            if let Some(left) = ahead.checked_sub(refilled).filter(|&left| left > 0) {
                let word = slot::relative(word, virtual_now.wrapping_add(left));
                self.lines[line].0[index].store(word, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

fn quota(tokens: u64, period_nanos: u64, burst: u64) -> Option<Quota> {
    let stored = Quota::from_parts(tokens, period_nanos, burst);
    if stored == Quota::UNLIMITED {
        return Some(stored);
    }
    Quota::new(tokens, Duration::from_nanos(period_nanos)).ok()?.try_burst(burst).ok()
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_survive_a_restart_on_another_clock() {
        let before = KeyedLimiter::<str>::new(Quota::per_second(1).burst(10), 4096);
        let now = Timestamp::from_nanos(77_000_000_000);
        assert!(before.check_at("alice", now, 10).is_allowed());
        assert!(before.check_at("bob", now, 1).is_allowed());
        let bytes = before.snapshot_at(now);
        assert_eq!(bytes.len(), HEADER_BYTES + 2 * ENTRY_BYTES);

        let away = Duration::from_secs(3);
        let after = KeyedLimiter::<str>::restore_at(&bytes, Timestamp::ZERO, away, 1 << 20).unwrap();
        assert_eq!(after.quota(), before.quota());
        assert!(after.check_at("alice", Timestamp::ZERO, 3).is_allowed());
        assert!(!after.check_at("alice", Timestamp::ZERO, 1).is_allowed());
        assert!(after.check_at("bob", Timestamp::ZERO, 10).is_allowed());
    }

    #[test]
    fn what_is_not_a_snapshot_is_refused() {
        let limiter = KeyedLimiter::<u8>::new(Quota::per_second(1), 4096);
        assert!(limiter.check_at(&1, Timestamp::ZERO, 1).is_allowed());
        let bytes = limiter.snapshot_at(Timestamp::ZERO);
        let check = |bytes: &[u8], memory| {
            KeyedLimiter::<u8>::restore_at(bytes, Timestamp::ZERO, Duration::ZERO, memory).unwrap_err()
        };
        assert!(matches!(check(&bytes[..40], 4096), SnapshotError::Length { have: 40, .. }));
        assert!(matches!(check(&bytes[..bytes.len() - 1], 4096), SnapshotError::Length { .. }));
        assert!(matches!(check(&bytes, 4095), SnapshotError::Memory { bytes: 4096, .. }));
        let spoilt = |offset: usize, value: u8| {
            let mut spoilt = bytes.clone();
            spoilt[offset] = value;
            check(&spoilt, 4096)
        };
        assert_eq!(spoilt(0, b'x'), SnapshotError::Magic);
        assert_eq!(spoilt(HEADER_BYTES + 4, 8), SnapshotError::Entry { offset: HEADER_BYTES });
        assert_eq!(spoilt(8 + 16 + 7, 0x7f), SnapshotError::Quota);
        assert!(matches!(spoilt(HEADER_BYTES - 1, 0xff), SnapshotError::Length { .. }));
    }
}
