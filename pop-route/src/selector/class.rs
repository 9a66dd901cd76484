//! Clients of whom the same is known, and what is decided for them.

use super::rank::Ranking;
use crate::{Prefix, SiteId, Timestamp};

/// The class, and the facts, of clients of whom nothing is known.
pub(super) const UNKNOWN: u32 = 0;

/// What a prefix of the client table leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) facts: u32,
    pub(super) class: u32,
    pub(super) demand: f64,
}

/// Clients that get the same decision.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) facts: u32,
    /// The prefix whose measurements count; `None` while nothing is measured.
    pub(super) measured: Option<Prefix>,
    pub(super) demand: f64,
    pub(super) ranking: Ranking,
    /// Where its clients go after spilling, parts adding up to one.
    pub(super) parts: Vec<(SiteId, f64)>,
    pub(super) evaluated: Timestamp,
    pub(super) decision: u32,
    pub(super) stale: bool,
}

impl Class {
    pub(super) fn new(facts: u32, measured: Option<Prefix>) -> Self {
        Self {
            facts,
            measured,
            demand: 0.0,
            ranking: Ranking::default(),
            parts: Vec::new(),
            evaluated: Timestamp::ZERO,
            decision: u32::MAX,
            stale: true,
        }
    }

    pub(super) fn is_split(&self) -> bool {
        let first = self.ranking.sites.first().map(|(site, _)| *site);
        self.parts.len() > 1 || self.parts.first().map(|(site, _)| *site) != first
    }

    pub(super) fn has_left_anycast(&self) -> bool {
        self.ranking.left
    }

    pub(super) fn parts(&self) -> &[(SiteId, f64)] {
        &self.parts
    }

    pub(super) const fn measured_prefix(&self) -> Option<Prefix> {
        self.measured
    }
}

impl Ranking {
    /// Where the clients go before load is looked at.
    pub(super) fn parts(&self) -> Vec<(SiteId, f64)> {
        match (&self.shares[..], self.sites.first()) {
            ([], Some(&(first, _))) => vec![(first, 1.0)],
            (shares, _) => shares.to_vec(),
        }
    }
}
