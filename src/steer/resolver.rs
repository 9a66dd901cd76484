//! A resolver with zones of its own: what the authority refuses, because it is of none of its zones, the forwarder
//! answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pop_dns::forward::Forwarder;
use pop_dns::server::{Handled, Handler, Respond, Swap};
use pop_dns::{Outcome, Rcode, Timestamp, Transport};

/// Own zones first, then the forwarder.
#[derive(Debug)]
pub(crate) struct Resolver {
    authority: Option<Swap>,
    /// Without zones the authority is not asked.
    has_zones: Arc<AtomicBool>,
    forwarder: Forwarder,
}

impl Resolver {
    pub(crate) fn new(authority: Option<Swap>, has_zones: Arc<AtomicBool>, forwarder: Forwarder) -> Self {
        Self { authority, has_zones, forwarder }
    }
}

impl Handler for Resolver {
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        if let Some(authority) = &self.authority
            // Relaxed: only a word, and what it is about comes through the swap.
            && self.has_zones.load(Ordering::Relaxed)
        {
            let outcome = authority.respond(query, client, now, transport, answer);
            if outcome != Outcome::Answered(Rcode::REFUSED) {
                return Handled::Done(outcome);
            }
        }
        self.forwarder.handle(query, client, now, transport, answer)
    }
}
