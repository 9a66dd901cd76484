//! Limits from outside: what may be sent to whom, asked once the answer is known.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Outcome;
use super::exchange::{Exchange, refuse};
use super::names::Names;
use crate::zone::Zone;
use crate::{HEADER_OCTETS, Rcode, Timestamp};

/// An answer over UDP that is about to go to an address which may be forged.
#[derive(Clone, Copy, Debug)]
pub struct LimitQuery<'a> {
    /// Where it goes.
    pub client: IpAddr,
    /// What it is counted under, in lower-case wire format: the name asked for or, where that does not exist or is not
    /// ours, the zone that says so, or the root. Random names below one zone count together.
    pub name: &'a [u8],
    /// Its response code.
    pub rcode: Rcode,
    /// Octets of the query.
    pub query_octets: usize,
    /// Octets of the answer: what a forged query is amplified to.
    pub answer_octets: usize,
    /// When.
    pub now: Timestamp,
}

/// What a limit decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a limit that nobody keeps limits nothing"]
pub enum Limit {
    /// The answer is sent.
    Send,
    /// An answer no larger than the query is sent that makes a real client come back with TCP (TC), or with the cookie it
    /// gets (BADCOOKIE, RFC 7873 §5.2.3) if it sent one.
    Slip,
    /// Nothing is sent.
    Drop,
}

type Judge = dyn Fn(&LimitQuery<'_>) -> Limit + Send + Sync;

/// A closure that limits.
#[derive(Clone)]
pub(super) struct Limiter(pub(super) Arc<Judge>);

impl Limiter {
    /// Asks about an answer, and does what it says.
    pub(super) fn judge(
        &self,
        exchange: &Exchange<'_, '_>,
        zones: &Names<Arc<Zone>>,
        rcode: Rcode,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let query = exchange.query;
        let zone = || zones.longest(query.lower(), false).0;
        let name = match rcode {
            Rcode::NOERROR => query.lower_wire(),
            _ => zone().map_or(&[0][..], |zone| zone.origin().as_wire()),
        };
        let asked = LimitQuery {
            client: exchange.client,
            name,
            rcode,
            query_octets: query.octets(),
            answer_octets: answer.len(),
            now: exchange.now,
        };
        match self.0(&asked) {
            Limit::Send => Outcome::Answered(rcode),
            Limit::Drop => {
                answer.clear();
                Outcome::Silent
            }
            Limit::Slip if exchange.opt.cookie.is_some() => {
                refuse(query, exchange.opt, exchange.limit, Rcode::BADCOOKIE, answer)
            }
            Limit::Slip => {
                answer.truncate(query.question_end());
                // TC, and no record left.
                answer[2] |= 2;
                answer[HEADER_OCTETS - 6..HEADER_OCTETS].fill(0);
                exchange.opt.finish(query, rcode, exchange.limit, answer);
                Outcome::Answered(rcode)
            }
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}
