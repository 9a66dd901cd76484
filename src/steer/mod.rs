//! DNS: zones that a PoP answers, and the names in them whose addresses the selector chooses.

mod resolver;

#[cfg(feature = "route")]
use std::sync::Arc;

use pop_dns::Authority;
#[cfg(feature = "route")]
use pop_dns::NameBuf;
use pop_dns::zone::Zone;

pub(crate) use resolver::Resolver;

/// The authority of a PoP: its zones, its own name as server id, and its geographic names.
pub(crate) fn authority(
    pop: &str,
    zones: Vec<Zone>,
    #[cfg(feature = "route")] geo: &[NameBuf],
    #[cfg(feature = "route")] selector: Option<&Arc<pop_route::Selector>>,
) -> Authority {
    let authority = Authority::new(zones).server_id(pop);
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

    /// Chooses a site for who asks, and answers with the site's addresses.
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
