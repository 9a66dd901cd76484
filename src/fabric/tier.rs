//! A second cache below the memory of each PoP, which all of them share.
//!
//! ```text
//! value := magic(8) stamp(u64 u64) key_length(u32) key tag_count(u16) { length(u16) tag } record sum(u32)
//! ```
//!
//! Numbers are big-endian; the sum (CRC-32) is over everything before it. A value that is torn, of another version, for
//! another key or longer than it may be is a miss, and so is one from before a purge that concerns it (see
//! [`ledger`](super::ledger)). The store lets values go when they expire; nothing is deleted for a purge.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes};
use pop_cache::http::{CacheKey, Purge, Record, Tier, TierFuture};

use super::Fabric;
use super::ledger::Position;

const MAGIC: &[u8; 8] = b"poptier1";
const SUM_OCTETS: usize = 4;
/// At most so many writes at a time; further records are dropped, and fetched again should they be missed.
const WRITES_MAX: usize = 64;
/// Nothing is kept for longer.
const KEPT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Counts, and the bound on what is under way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) dropped: AtomicU64,
    writing: AtomicUsize,
}

/// The second cache as a [`Tier`]. It answers within the fabric's deadline, and while the store is away at once.
#[derive(Clone)]
pub struct SharedTier {
    fabric: Fabric,
    value_max: usize,
}

impl fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTier").field("value_max", &self.value_max).finish_non_exhaustive()
    }
}

impl SharedTier {
    pub(super) fn new(fabric: Fabric, value_max: usize) -> Self {
        Self { fabric, value_max }
    }

    fn name(&self, key: &CacheKey) -> String {
        format!("{}:object:{key}", self.fabric.inner.prefix)
    }

    async fn fetch(&self, key: &CacheKey) -> Option<Bytes> {
        let inner = &*self.fabric.inner;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let mut question = redis::pipe();
        // Whatever stands under the name, no more than this comes back.
        question.cmd("GETRANGE").arg(self.name(key)).arg(0).arg(self.value_max);
        let value = match inner.link.ask::<(Vec<u8>,)>(&question).await {
            Ok((value,)) if !value.is_empty() => value,
            _ => {
                count(&inner.tally.misses);
                return None;
            }
        };
        let value = (value.len() <= self.value_max).then_some(value);
        let found = value.and_then(|value| unpack(key, Bytes::from(value)));
        match found.filter(|found| inner.feed.admits(found.stamp, key, &found.tags)) {
            Some(found) => {
                count(&inner.tally.hits);
                Some(found.record)
            }
            None => {
                count(&inner.tally.rejected);
                None
            }
        }
    }

    async fn store(&self, key: &CacheKey, record: Record) {
        let inner = &*self.fabric.inner;
        let kept = record.expires.duration_since(SystemTime::now()).unwrap_or_default().min(KEPT_MAX);
        let millis = u64::try_from(kept.as_millis()).unwrap_or(0);
        let value = match inner.feed.cursor() {
            Some(stamp) if millis > 0 && inner.link.is_connected() => {
                pack(key, stamp, &record.tags, &record.bytes, self.value_max)
            }
            _ => None,
        };
        let place = Place::take(&inner.tally.writing);
        let (Some(value), Some(_place)) = (value, place) else {
            inner.tally.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut command = redis::pipe();
        command.cmd("SET").arg(self.name(key)).arg(value).arg("PX").arg(millis).ignore();
        let counter = match inner.link.ask::<()>(&command).await {
            Ok(()) => &inner.tally.writes,
            Err(_) => &inner.tally.dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tier for SharedTier {
    fn get<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, Option<Bytes>> {
        Box::pin(self.fetch(key))
    }

    fn put<'a>(&'a self, key: &'a CacheKey, record: Record) -> TierFuture<'a, ()> {
        Box::pin(self.store(key, record))
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, ()> {
        let inner = &*self.fabric.inner;
        // Should the store not hear of it, this PoP at least takes nothing from before.
        inner.feed.bar(Purge::Key(key.clone()));
        Box::pin(async move {
            let mut command = redis::pipe();
            command.cmd("UNLINK").arg(self.name(key)).ignore();
            let _away = inner.link.ask::<()>(&command).await;
        })
    }

    fn purge<'a>(&'a self, what: &'a Purge) -> TierFuture<'a, ()> {
        self.fabric.inner.feed.bar(what.clone());
        Box::pin(std::future::ready(()))
    }
}

/// A place among those who write.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(writing: &'a AtomicUsize) -> Option<Self> {
        // Relaxed: only a count of what is under way.
        let place = Self(writing);
        (writing.fetch_add(1, Ordering::Relaxed) < WRITES_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A value that reads well.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    stamp: Position,
    tags: Vec<String>,
    record: Bytes,
}

/// The value of a record; `None` if it would be longer than it may be.
fn pack(
    key: &CacheKey,
    stamp: Position,
    tags: &[String],
    record: &[u8],
    value_max: usize,
) -> Option<Vec<u8>> {
    let size = MAGIC.len()
        + 16
        + (4 + key.as_str().len())
        + tags.iter().fold(2, |size, tag| size + 2 + tag.len())
        + record.len()
        + SUM_OCTETS;
    if size > value_max {
        return None;
    }
    let mut value = Vec::with_capacity(size);
    value.extend_from_slice(MAGIC);
    value.put_u64(stamp.millis);
    value.put_u64(stamp.count);
    value.put_u32(u32::try_from(key.as_str().len()).ok()?);
    value.extend_from_slice(key.as_str().as_bytes());
    value.put_u16(u16::try_from(tags.len()).ok()?);
    for tag in tags {
        value.put_u16(u16::try_from(tag.len()).ok()?);
        value.extend_from_slice(tag.as_bytes());
    }
    value.extend_from_slice(record);
    let sum = crc32fast::hash(&value);
    value.put_u32(sum);
    debug_assert_eq!(value.len(), size);
    Some(value)
}

/// What a value says of a key; `None` if it is torn, of another kind, or for another key.
fn unpack(key: &CacheKey, mut value: Bytes) -> Option<Found> {
    let mut sum = value.split_off(value.len().checked_sub(SUM_OCTETS)?);
    if sum.get_u32() != crc32fast::hash(&value) {
        return None;
    }
    let mut take = |octets: usize| (value.len() >= octets).then(|| value.split_to(octets));
    if take(MAGIC.len())? != MAGIC[..] {
        return None;
    }
    let stamp = Position { millis: take(8)?.get_u64(), count: take(8)?.get_u64() };
    let length = usize::try_from(take(4)?.get_u32()).ok()?;
    if take(length)? != *key.as_str().as_bytes() {
        return None;
    }
    let count = take(2)?.get_u16();
    let mut tags = Vec::new();
    for _ in 0..count {
        let length = usize::from(take(2)?.get_u16());
        tags.push(std::str::from_utf8(&take(length)?).ok()?.to_owned());
    }
    Some(Found { stamp, tags, record: value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> CacheKey {
        CacheKey::from_raw("http://a.example/x")
    }

    const STAMP: Position = Position { millis: 5, count: 6 };

    fn value(tags: &[&str], record: &[u8]) -> Vec<u8> {
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        pack(&key(), STAMP, &tags, record, 1 << 20).expect("it fits")
    }

    #[test]
    fn a_value_reads_as_it_was_written_and_torn_it_is_nothing() {
        let value = value(&["one", "two"], b"a record");
        let found = unpack(&key(), Bytes::from(value.clone())).expect("whole");
        assert_eq!(
            (found.stamp, found.tags, &found.record[..]),
            (STAMP, vec!["one".into(), "two".into()], &b"a record"[..])
        );
        assert_eq!(unpack(&CacheKey::from_raw("http://a.example/y"), Bytes::from(value.clone())), None);
        for length in 0..value.len() {
            assert_eq!(unpack(&key(), Bytes::copy_from_slice(&value[..length])), None, "{length}");
        }
        for bit in 0..value.len() * 8 {
            let mut torn = value.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unpack(&key(), Bytes::from(torn)), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let size = value(&["tag"], b"12345").len();
        let pack = |value_max| pack(&key(), STAMP, &["tag".to_owned()], b"12345", value_max);
        assert!(pack(size).is_some() && pack(size - 1).is_none());
    }

    proptest! {
        #[test]
        fn any_octets_under_a_right_sum_are_a_value_or_none(octets: Vec<u8>, honest in 0_usize..60) {
            let mut forged = value(&["tag"], b"")[..honest.min(48)].to_vec();
            forged.extend_from_slice(&octets);
            let sum = crc32fast::hash(&forged);
            forged.put_u32(sum);
            // It may be anything but a panic.
            let _found = unpack(&key(), Bytes::from(forged));
        }
    }
}
