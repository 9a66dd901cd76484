//! A resolver with zones of its own: what the authority refuses, because it is of none of its zones, the forwarder
//! answers.

use std::net::IpAddr;

use pop_dns::forward::Forwarder;
use pop_dns::server::{Handled, Handler, Respond, Swap};
use pop_dns::{Outcome, Rcode, Timestamp, Transport};

/// Own zones first, then the forwarder.
#[derive(Debug)]
pub(crate) struct Resolver {
    authority: Option<Swap>,
    forwarder: Forwarder,
}

impl Resolver {
    pub(crate) fn new(authority: Option<Swap>, forwarder: Forwarder) -> Self {
        Self { authority, forwarder }
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
        if let Some(authority) = &self.authority {
            let outcome = authority.respond(query, client, now, transport, answer);
            if outcome != Outcome::Answered(Rcode::REFUSED) {
                return Handled::Done(outcome);
            }
        }
        self.forwarder.handle(query, client, now, transport, answer)
    }
}
