//! When a site that sees nothing of the others should send clients away.

use core::time::Duration;

use crate::Timestamp;

/// The local controller of FastRoute (Flavel et al., NSDI 2015): a site above its high mark sends away a part of its
/// clients that grows step by step, and takes them back step by step when it is below its low mark. Between the two
/// marks nothing moves, and no step comes before the last one has had time to show (answers live in caches for their
/// TTL), so a step of load is followed without swinging.
///
/// ```
/// use std::time::Duration;
/// use pop_route::{LocalShed, Timestamp};
///
/// let mut shed = LocalShed::new(0.9, 0.7, 0.1, Duration::from_secs(30));
/// let at = |seconds| Timestamp::ZERO.saturating_add(Duration::from_secs(seconds));
/// assert_eq!(shed.observe(0.95, at(0)), 0.1, "above the high mark");
/// assert_eq!(shed.observe(0.95, at(10)), 0.1, "too soon to judge");
/// assert_eq!(shed.observe(0.80, at(40)), 0.1, "between the marks");
/// assert_eq!(shed.observe(0.50, at(80)), 0.0, "below the low mark");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalShed {
    high: f64,
    low: f64,
    step: f64,
    settle: Duration,
    part: f64,
    stepped: Option<Timestamp>,
}

impl LocalShed {
    /// Marks of utilisation (load over capacity), the part of all clients that a step moves, and how long a step takes
    /// to show: the TTL of answers or longer. A low mark above the high one counts as the high one; the step is kept
    /// within 0.01 and 1.
    #[must_use]
    pub const fn new(high: f64, low: f64, step: f64, settle: Duration) -> Self {
        let low = low.min(high);
        // A step that is not a number would never move anything.
        let step = if step >= 0.01 { step.min(1.0) } else { 0.01 };
        Self { high, low, step, settle, part: 0.0, stepped: None }
    }

    /// Takes a utilisation in and returns the part of clients to send away, from 0 to 1. Not a number changes nothing.
    pub fn observe(&mut self, utilisation: f64, now: Timestamp) -> f64 {
        if self.stepped.is_some_and(|stepped| now.saturating_since(stepped) < self.settle) {
            return self.part;
        }
        let part = if utilisation > self.high {
            (self.part + self.step).min(1.0)
        } else if utilisation < self.low {
            (self.part - self.step).max(0.0)
        } else {
            self.part
        };
        if part != self.part {
            (self.part, self.stepped) = (part, Some(now));
        }
        self.part
    }

    /// The part of clients to send away.
    #[must_use]
    pub const fn part(&self) -> f64 {
        self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_load_is_followed_without_swinging() {
        let mut shed = LocalShed::new(0.9, 0.6, 0.1, Duration::from_secs(10));
        let mut parts = Vec::new();
        for second in 0..600 {
            // The site is asked for one and a half times what it can carry.
            let part = shed.observe(1.5 * (1.0 - shed.part()), Timestamp::from_nanos(second * 1_000_000_000));
            if parts.last() != Some(&part) {
                parts.push(part);
            }
        }
        assert!(parts.is_sorted(), "{parts:?}");
        assert!((parts.last().unwrap() - 0.4).abs() < 1e-9, "{parts:?}");
    }

    #[test]
    fn nonsense_moves_nobody() {
        let mut shed = LocalShed::new(0.9, 0.6, f64::NAN, Duration::ZERO);
        assert_eq!(shed.observe(f64::NAN, Timestamp::ZERO), 0.0);
        assert_eq!(shed.observe(f64::INFINITY, Timestamp::ZERO), 0.01);
    }
}
