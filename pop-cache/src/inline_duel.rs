//! Which of two ways to evict suits the load: a few sets of the inline cache do always the one, a few always the other, and
//! the rest what missed less (set dueling: Qureshi, Jaleel, Patt, Steely, Emer, ISCA '07).

use crate::inline_set::Hand;
use crate::sync::{AtomicU32, Ordering};

/// Of so many sets one leads for each side.
const SETS: usize = 16;
/// The score at which sides change, and the score's end: so many misses of leaders more on one side.
const MIDDLE: u32 = 512;
const SCORE_MAX: u32 = 1023;

/// The score: above the middle, hands that stay have missed more.
#[repr(align(128))]
pub(crate) struct Duel {
    score: AtomicU32,
}

impl Duel {
    pub(crate) fn new() -> Self {
        Self { score: AtomicU32::new(MIDDLE) }
    }

    /// What the hand of a set does, at a miss in it. One miss in eight keeps the score: a store that may undo another's,
    /// since a score is a hint.
    #[inline]
    pub(crate) fn hand(&self, set: usize) -> Hand {
        // Relaxed: the number is all there is to it.
        let score = self.score.load(Ordering::Relaxed);
        match set % SETS {
            0 => {
                self.score.store((score + 1).min(SCORE_MAX), Ordering::Relaxed);
                Hand::Stays
            }
            8 => {
                self.score.store(score.saturating_sub(1), Ordering::Relaxed);
                Hand::GoesOn
            }
            _ if score > MIDDLE => Hand::GoesOn,
            _ => Hand::Stays,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follow_whoever_misses_less() {
        let duel = Duel::new();
        assert_eq!(duel.hand(3), Hand::Stays);
        (0..3).for_each(|_| assert_eq!(duel.hand(16), Hand::Stays));
        assert_eq!(duel.hand(3), Hand::GoesOn);
        (0..2000).for_each(|_| assert_eq!(duel.hand(8), Hand::GoesOn));
        assert_eq!(duel.hand(3), Hand::Stays);
        (0..2000).for_each(|_| assert_eq!(duel.hand(0), Hand::Stays));
        assert_eq!(duel.hand(3), Hand::GoesOn, "the score has ends");
    }
}
