//! What an operator can decide about deciding.

use core::time::Duration;

/// Settings of the pipeline. The defaults are careful ones: anycast stays unless it is proven slower by ten
/// milliseconds, sites are filled to what they can carry, nothing is split among neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How long an answer may be kept.
    pub ttl: Duration,
    /// How long it may be kept while things are in flux: in panic, or while load spills.
    pub ttl_unsettled: Duration,
    /// Sites whose round trip is within this of the best are equally near: clients are split among them by weight.
    /// Zero sends everybody to the best.
    pub band: Duration,
    /// When to send clients past anycast.
    pub anycast: AnycastRule,
    /// When a site is full.
    pub spill: SpillRule,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            ttl_unsettled: Duration::from_secs(10),
            band: Duration::ZERO,
            anycast: AnycastRule::default(),
            spill: SpillRule::default(),
        }
    }
}

/// Clients stay on anycast until a site is proven to be nearer: the lower end of the confidence interval of the gain
/// must reach `gain`. They go back when it no longer reaches `keep`, or when nothing is proven any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnycastRule {
    /// The proven gain from which they leave anycast.
    pub gain: Duration,
    /// The proven gain below which they come back; less than `gain`, so that nobody swings.
    pub keep: Duration,
    /// They leave as well when some of them, `tail_part` or more, are caught where they are proven to lose this much: a mean
    /// hides the few who go around the world. They come back below half of it.
    pub tail: Duration,
    /// See `tail`: the part of the clients that a catching site must have to count.
    pub tail_part: f64,
    /// Standard errors that the proof allows for: 2 for some 97.5 % one-sided confidence.
    pub sigmas: f64,
}

impl Default for AnycastRule {
    fn default() -> Self {
        Self {
            gain: Duration::from_millis(10),
            keep: Duration::from_millis(5),
            tail: Duration::from_millis(25),
            tail_part: 0.005,
            sigmas: 2.0,
        }
    }
}

/// What happens to clients of a site that is asked for more than it can carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpillRule {
    /// The part of its capacity from which a site spills.
    pub high: f64,
    /// The part down to which a site spills that has begun to, and below which it stops.
    pub low: f64,
    /// The part up to which other sites are filled first, before any is filled to `high`.
    pub comfort: f64,
}

impl Default for SpillRule {
    fn default() -> Self {
        Self { high: 1.0, low: 0.95, comfort: 0.8 }
    }
}
