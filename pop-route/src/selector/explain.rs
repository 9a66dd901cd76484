//! Why a client is sent where it is.

use core::fmt;
use core::net::IpAddr;
use std::sync::Arc;

use super::candidates::{Candidate, Fate, candidates};
use super::control::Control;
use super::rank::{AnycastGain, anycast_gain};
use super::snapshot::{Choice, PICKS_MAX, Reason, Via};
use crate::{Prefix, SITES_MAX, Site, SiteId, SiteMap};

/// A choice with everything that led to it. `Display` reads like a router's "show"; with the feature `serde` it
/// serializes for machines, names of sites included.
///
/// It costs three allocations, whatever the number of sites; names are looked up in the map when it is read.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The client's block.
    pub client: (IpAddr, u8),
    /// The prefix of the client table that matched.
    pub matched: Option<Prefix>,
    /// The client's country and autonomous system, as the tables say.
    pub country: Option<String>,
    /// See `country`.
    pub asn: Option<u32>,
    /// Why the first is the first.
    pub reason: Reason,
    /// By which address the client should come.
    pub via: Via,
    /// For how wide a prefix the answer holds.
    pub scope: u8,
    /// Seconds for which it may be kept.
    pub ttl: u32,
    /// What anycast would cost, where the client can be caught by it.
    pub anycast: Option<AnycastGain>,
    /// Where the clients of this class go when they are split: parts of them, by weight or because a site is full.
    pub split: Vec<(SiteId, f64)>,
    /// Every site: those chosen first, in order; then what else is eligible, the nearest first; then the rest.
    pub candidates: Vec<Candidate>,
    sites: Arc<SiteMap>,
}

pub(super) fn explain(control: &Control, choice: &Choice, client: (IpAddr, u8)) -> Explanation {
    let (class, facts, matched) = control.class_of(Prefix::host(client.0));
    let found = candidates(control, facts, class.measured_prefix());
    let anycast = anycast_gain(&control.policy.anycast, facts, &found, class.has_left_anycast());
    let split = if class.parts().len() > 1 { class.parts().to_vec() } else { Vec::new() };
    Explanation {
        client,
        matched,
        country: facts.country.clone(),
        asn: facts.asn,
        reason: choice.reason(),
        via: choice.via(),
        scope: choice.scope,
        ttl: choice.ttl,
        anycast,
        split,
        candidates: in_order(choice, &found),
        sites: Arc::clone(&control.sites),
    }
}

/// Candidates, which come in order of ids, as they are listed.
///
/// Numbers are sorted, not candidates: the place among the chosen, eligible or not, round trip, id. Of a round trip there is
/// room for all but the last sixteen bits, some parts in a hundred thousand million: nearer ones come by id.
fn in_order(choice: &Choice, found: &[Candidate]) -> Vec<Candidate> {
    const SPURNED: u64 = 1 << 59;
    const PLACE: u32 = 60;
    let mut keys: Vec<u64> = found
        .iter()
        .map(|candidate| {
            // The bits of floats from zero up are in their order; the highest is clear.
            let millis = candidate.millis.to_bits() >> 16 << ID_BITS;
            let spurned = if candidate.fate == Fate::Eligible { 0 } else { SPURNED };
            (PICKS_MAX as u64) << PLACE | spurned | millis | u64::from(candidate.site.0)
        })
        .collect();
    for (place, site) in (0..).zip(choice.sites()) {
        keys[site.index()] = keys[site.index()] & !(15 << PLACE) | place << PLACE;
    }
    keys.sort_unstable();
    keys.into_iter().map(|key| found[(key & ((1 << ID_BITS) - 1)) as usize]).collect()
}

/// Bits that hold the id of any site.
const ID_BITS: u32 = SITES_MAX.trailing_zeros();
const _: () = assert!(SITES_MAX.is_power_of_two() && 48 - 1 + ID_BITS <= 59 && PICKS_MAX < 16);

impl Explanation {
    /// The name of a site of this explanation; of a stranger's, a question mark.
    #[must_use]
    pub fn name(&self, site: SiteId) -> &str {
        self.sites.get(site).map_or("?", Site::name)
    }

    /// What became of the site with this name.
    #[must_use]
    pub fn candidate(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| self.name(candidate.site) == name)
    }

    fn write_client(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}/{}", self.client.0, self.client.1)?;
        match self.matched {
            Some(prefix) => write!(f, ", known as {prefix}")?,
            None => f.write_str(", unknown")?,
        }
        if let Some(country) = &self.country {
            write!(f, " in {country}")?;
        }
        if let Some(asn) = self.asn {
            write!(f, " of AS{asn}")?;
        }
        writeln!(f, "; decided by {}, scope /{}, {} s", reason(self.reason), self.scope, self.ttl)
    }

    fn write_anycast(&self, f: &mut fmt::Formatter<'_>, gain: &AnycastGain) -> fmt::Result {
        // Rounded before a zero is added, so that no gain is shown as a negative zero.
        let best = (-gain.gain_millis * 10.0).round() / 10.0 + 0.0;
        write!(f, "  anycast {:.1} ms, best {best:+.1} ms", gain.anycast_millis)?;
        match gain.proven_millis {
            Some(proven) => write!(f, ", proven gain {proven:.1} ms")?,
            None => f.write_str(", no proof")?,
        }
        writeln!(f, ": {}", if gain.leaves { "leave" } else { "stay" })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_client(f)?;
        if let Some(gain) = &self.anycast {
            self.write_anycast(f, gain)?;
        }
        if !self.split.is_empty() {
            f.write_str("  split")?;
            for &(site, part) in &self.split {
                write!(f, " {} {:.1}%", self.name(site), part * 100.0)?;
            }
            writeln!(f)?;
        }
        let nobody = self.reason == Reason::FencedOut;
        let names = self.candidates.iter().map(|candidate| self.name(candidate.site).len());
        let width = names.max().unwrap_or(0);
        for (index, candidate) in self.candidates.iter().enumerate() {
            let mark = if index == 0 && !nobody { '>' } else { ' ' };
            write!(f, " {mark} {:<width$} ", self.name(candidate.site))?;
            match candidate.millis {
                millis if millis.is_finite() => write!(f, "{millis:>7.1} ms ")?,
                _ => f.write_str("      ? ms ")?,
            }
            let source = if candidate.measured { "measured" } else { "distance" };
            write!(f, "{source:<8} {:>4} samples", candidate.samples)?;
            if candidate.measured {
                write!(f, " ±{:.1}", candidate.error_millis)?;
            }
            writeln!(f, "  {}", fate(candidate.fate))?;
        }
        Ok(())
    }
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Measured => "measured round trip",
        Reason::Distance => "distance",
        Reason::Unknown => "order, nothing is known",
        Reason::Anycast => "anycast, nothing is proven better",
        Reason::Capacity => "capacity, the nearest is full",
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

#[cfg(feature = "serde")]
impl serde::Serialize for Explanation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        #[derive(serde::Serialize)]
        struct Named<'a> {
            name: &'a str,
            #[serde(flatten)]
            candidate: &'a Candidate,
        }
        let candidates: Vec<Named<'_>> = self
            .candidates
            .iter()
            .map(|candidate| Named { name: self.name(candidate.site), candidate })
            .collect();
        let split: Vec<(&str, f64)> =
            self.split.iter().map(|&(site, part)| (self.name(site), part)).collect();
        let mut out = serializer.serialize_struct("Explanation", 11)?;
        out.serialize_field("client", &self.client)?;
        out.serialize_field("matched", &self.matched)?;
        out.serialize_field("country", &self.country)?;
        out.serialize_field("asn", &self.asn)?;
        out.serialize_field("reason", &self.reason)?;
        out.serialize_field("via", &self.via)?;
        out.serialize_field("scope", &self.scope)?;
        out.serialize_field("ttl", &self.ttl)?;
        out.serialize_field("anycast", &self.anycast)?;
        out.serialize_field("split", &split)?;
        out.serialize_field("candidates", &candidates)?;
        out.end()
    }
}
