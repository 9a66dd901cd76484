//! DNS: zones that a PoP answers, and the names in them whose addresses the selector chooses.

mod resolver;

#[cfg(feature = "route")]
use std::sync::Arc;

#[cfg(feature = "route")]
use pop_dns::NameBuf;
use pop_dns::zone::Zone;
use pop_dns::{Authority, CookiePolicy, CookieSecret, Limit, ResponseRateLimit};

pub(crate) use resolver::Resolver;

/// Answers of one kind a second to one network, and which of those beyond are sent truncated, so that a resolver whose
/// network is forged comes by TCP.
const ANSWERS_PER_SECOND: u32 = 200;
const SLIP: u8 = 2;

/// The authority of a PoP: its zones, its own name as server id, its geographic names; no amplifier, and cookies for those
/// who would rather prove their address. Loopback cannot be forged from outside, and is not limited.
pub(crate) fn authority(
    pop: &str,
    zones: Vec<Zone>,
    #[cfg(feature = "route")] geo: &[NameBuf],
    #[cfg(feature = "route")] selector: Option<&Arc<pop_route::Selector>>,
) -> Authority {
    let limit = ResponseRateLimit::new(ANSWERS_PER_SECOND, SLIP);
    let authority = Authority::new(zones)
        .server_id(pop)
        .cookies(CookieSecret::random(), CookiePolicy::Offer)
        .limit(move |asked| if asked.client.is_loopback() { Limit::Send } else { limit.check(asked) });
    #[cfg(feature = "route")]
    if let Some(selector) = selector {
        let hook = geo::Hook::new(selector);
        return geo.iter().fold(authority, |authority, name| {
            let hook = hook.clone();
            authority.dynamic(name, move |query| hook.answer(query))
        });
    }
    authority
}

/// Whether a name lies in one of the zones.
#[cfg(feature = "route")]
pub(crate) fn has_zone(zones: &[Zone], name: &NameBuf) -> bool {
    zones.iter().any(|zone| name.is_within(zone.origin()))
}

#[cfg(feature = "route")]
mod geo {
    use super::Arc;
    use pop_dns::{DynamicAnswer, DynamicQuery};
    use pop_route::{Choice, Selector};

    /// Chooses a site for whoever asks, and answers with the site's addresses.
    #[derive(Clone)]
    pub(super) struct Hook {
        selector: Arc<Selector>,
        /// By site: its addresses as records, made once.
        sites: Arc<[DynamicAnswer]>,
        /// For clients whose fence leaves no site.
        nothing: DynamicAnswer,
    }

    impl Hook {
        pub(super) fn new(selector: &Arc<Selector>) -> Self {
            let answer = |(_, site): (_, &pop_route::Site)| {
                DynamicAnswer::addresses(site.addresses().iter().copied(), 0, 0)
            };
            Self {
                selector: Arc::clone(selector),
                sites: selector.sites().iter().map(answer).collect(),
                nothing: DynamicAnswer::addresses([], 0, 0),
            }
        }

        /// One longest-prefix match; the records are a reference count. Sites without an address are passed over.
        pub(super) fn answer(&self, query: &DynamicQuery<'_>) -> DynamicAnswer {
            let choice = self.selector.select(query.client.block);
            let Choice { scope, ttl, .. } = choice;
            let sites = choice.sites().iter().filter_map(|site| self.sites.get(site.index()));
            let mut answers = sites.filter(|answer| answer.types().next().is_some());
            let answer = answers.next().unwrap_or(&self.nothing);
            answer.clone().with_ttl(ttl).with_scope(scope)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pop_dns::{Outcome, Timestamp, Transport};

    /// How many of 400 queries of one second are answered in full.
    fn answered(client: [u8; 4], transport: Transport) -> usize {
        let zone = "$ORIGIN example.org.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n";
        let zone = Zone::parse(zone.as_bytes(), "example.org".parse().unwrap()).unwrap();
        let authority = authority(
            "test",
            vec![zone],
            #[cfg(feature = "route")]
            &[],
            #[cfg(feature = "route")]
            None,
        );
        // ns.example.org, A, IN.
        let query = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x02ns\x07example\x03org\0\0\x01\0\x01";
        let mut answer = Vec::new();
        let mut respond = |_: &usize| {
            let outcome = authority.respond(query, client.into(), Timestamp::ZERO, transport, &mut answer);
            // The header's TC bit.
            matches!(outcome, Outcome::Answered(_)) && answer[2] & 2 == 0
        };
        (0..400).filter(&mut respond).count()
    }

    #[test]
    fn a_pop_is_no_amplifier() {
        let second = ANSWERS_PER_SECOND as usize;
        let udp = answered([192, 0, 2, 1], Transport::Udp);
        assert!((second..second + 2).contains(&udp), "{udp}");
        assert_eq!(answered([192, 0, 2, 1], Transport::Tcp), 400, "nobody forges a connection");
        assert_eq!(answered([127, 0, 0, 1], Transport::Udp), 400);
    }
}
