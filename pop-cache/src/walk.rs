//! A look at every entry of an index, while others change it and while it grows.

use crate::index::{Found, Index, Regrown};
use crate::table::WORDS;

/// Every entry that is there from the first step to the last comes once. Those that come or go meanwhile may come or
/// not, but none comes twice.
pub(crate) struct Walk<'i, K, V> {
    index: &'i Index<K, V>,
    /// Buckets that the table had at the last step.
    buckets: usize,
    place: usize,
    word: usize,
    /// A bucket was handed over halfway through: its heirs end here.
    heirs_end: usize,
    /// What came of this bucket, and of its heirs.
    seen: Vec<u32>,
}

impl<K, V> Index<K, V> {
    pub(crate) fn walk(&self) -> Walk<'_, K, V> {
        Walk {
            index: self,
            buckets: self.buckets(),
            place: 0,
            word: 0,
            heirs_end: 0,
            seen: Vec::with_capacity(WORDS),
        }
    }
}

impl<K, V> Walk<'_, K, V> {
    /// The table is so many times as large: what was in a bucket is in so many in its place.
    fn regrown(&mut self, buckets: usize) {
        let times = buckets / self.buckets;
        self.buckets = buckets;
        let is_halfway = self.word > 0 || self.place < self.heirs_end;
        self.heirs_end = if self.place < self.heirs_end {
            self.heirs_end * times
        } else {
            (self.place + usize::from(is_halfway)) * times
        };
        self.place *= times;
        self.word = 0;
    }
}

impl<'i, K, V> Iterator for Walk<'i, K, V> {
    type Item = Found<'i, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.place < self.buckets {
            if self.word == WORDS {
                self.word = 0;
                self.place += 1;
                if self.place >= self.heirs_end {
                    self.seen.clear();
                }
                continue;
            }
            match self.index.entry_at(self.place, self.word, self.buckets) {
                Err(Regrown(buckets)) => self.regrown(buckets),
                Ok(found) => {
                    self.word += 1;
                    if let Some(found) = found
                        && !self.seen.contains(&found.handle)
                    {
                        self.seen.push(found.handle);
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}
