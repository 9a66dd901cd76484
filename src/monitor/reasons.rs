//! Counts by reason: words that stand in the program, so there are few, and each is known by its first use.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most reasons that are told apart; what comes after them is counted as `other`.
const REASONS_MAX: usize = 64;

/// A count for each reason. Finding one is a walk over those before it: this is for what is refused or fails.
#[derive(Debug)]
pub(super) struct Reasons {
    slots: [(OnceLock<&'static str>, AtomicU64); REASONS_MAX],
    other: AtomicU64,
}

impl Default for Reasons {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| (OnceLock::new(), AtomicU64::new(0))),
            other: AtomicU64::new(0),
        }
    }
}

impl Reasons {
    pub(super) fn count(&self, reason: &'static str) {
        // Slots are taken from the first on and never given back, so whoever finds one taken by another goes on.
        let own = self.slots.iter().find(|(word, _)| *word.get_or_init(|| reason) == reason);
        own.map_or(&self.other, |(_, count)| count).fetch_add(1, Ordering::Relaxed);
    }

    /// Each reason so far, with its count.
    #[cfg(feature = "metrics")]
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = self.slots.iter().map_while(|(word, count)| Some((*word.get()?, count)));
        let all = known.chain([("other", &self.other)]);
        all.map(|(word, count)| (word, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_one_count_and_the_last_ones_share() {
        let reasons = Reasons::default();
        let words: Vec<&'static str> =
            (0..REASONS_MAX + 3).map(|number| &*format!("reason-{number}").leak()).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| words.iter().for_each(|word| reasons.count(word)));
            }
        });
        let read: Vec<_> = reasons.read().collect();
        assert_eq!(read.len(), REASONS_MAX + 1);
        assert!(read[..REASONS_MAX].iter().all(|(_, count)| *count == 4), "{read:?}");
        assert_eq!(read[REASONS_MAX], ("other", 12));
    }
}
