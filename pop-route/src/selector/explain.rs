//! Why a client is sent where it is.

use core::fmt;
use core::net::IpAddr;

use super::compile::candidates;
use super::{Choice, Control, Reason};
use crate::{Prefix, SiteId, SiteMap};

/// What became of a site for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It may serve.
    Eligible,
    /// The client's fence does not permit its country.
    FencedOut,
    /// An operator took it down.
    AdminDown,
    /// Its probes fail.
    Unhealthy,
    /// It takes no new clients.
    Draining,
}

/// A site as it looks from a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The site.
    pub site: SiteId,
    /// What became of it.
    pub fate: Fate,
    /// Round trip in milliseconds, measured or by distance; infinite if nothing is known.
    pub millis: f64,
    /// Whether it was measured.
    pub measured: bool,
    /// Samples so far, also while they are too few to count.
    pub samples: u32,
}

/// A choice with everything that led to it. `Display` reads like a router's "show".
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The client's block.
    pub client: (IpAddr, u8),
    /// The prefix of the client table that matched.
    pub matched: Option<Prefix>,
    /// Why the first is the first.
    pub reason: Reason,
    /// For how wide a prefix the answer holds.
    pub scope: u8,
    /// Every site, eligible ones first, each with its name.
    pub candidates: Vec<(String, Candidate)>,
}

pub(super) fn explain(
    sites: &SiteMap,
    control: &Control,
    choice: &Choice,
    client: (IpAddr, u8),
) -> Explanation {
    let class = choice.snapshot.class(choice.class);
    let mut found = candidates(sites, control, class.prefix);
    let rank = |site| class.ranking.iter().position(|&ranked| ranked == site).unwrap_or(usize::MAX);
    found.sort_by_key(|candidate| (rank(candidate.site), candidate.site));
    Explanation {
        client,
        matched: class.prefix,
        reason: class.reason,
        scope: choice.scope,
        candidates: found
            .into_iter()
            .map(|candidate| (sites.site(candidate.site).name().to_owned(), candidate))
            .collect(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}/{}", self.client.0, self.client.1)?;
        match self.matched {
            Some(prefix) => write!(f, ", known as {prefix}")?,
            None => f.write_str(", unknown")?,
        }
        writeln!(f, "; decided by {}, scope /{}", reason(self.reason), self.scope)?;
        for (index, (name, candidate)) in self.candidates.iter().enumerate() {
            let mark = if index == 0 && candidate.fate == Fate::Eligible { '>' } else { ' ' };
            write!(f, " {mark} {name:<8} ")?;
            match candidate.millis {
                millis if millis.is_finite() => write!(f, "{millis:>7.1} ms ")?,
                _ => f.write_str("      ? ms ")?,
            }
            let source = if candidate.measured { "measured" } else { "distance" };
            writeln!(f, "{source:<8} {:>4} samples  {}", candidate.samples, fate(candidate.fate))?;
        }
        Ok(())
    }
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Measured => "measured round trip",
        Reason::Distance => "distance",
        Reason::Unknown => "order, nothing is known",
        Reason::Panic => "panic, no site is well",
        Reason::FencedOut => "fence, no site is permitted",
    }
}

const fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Eligible => "eligible",
        Fate::FencedOut => "fenced out",
        Fate::AdminDown => "down by admin",
        Fate::Unhealthy => "unhealthy",
        Fate::Draining => "draining",
    }
}
