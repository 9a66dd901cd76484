//! What a server has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Outcome, Rcode, Transport};

/// Response codes that are counted by themselves: NOERROR to REFUSED.
const RCODES: usize = 6;

/// What a server has done so far. Counters and nothing else: relaxed, ordered with nothing, and read one by one.
#[derive(Debug, Default)]
pub struct Counters {
    udp: AtomicU64,
    tcp: AtomicU64,
    tls: AtomicU64,
    https: AtomicU64,
    silent: AtomicU64,
    pub(super) refused_connections: AtomicU64,
    rcodes: [AtomicU64; RCODES + 1],
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries by UDP.
    pub udp: u64,
    /// Queries by TCP.
    pub tcp: u64,
    /// Queries by TLS.
    pub tls: u64,
    /// Queries by HTTP.
    pub https: u64,
    /// What was no query, or came from where nothing may be sent.
    pub silent: u64,
    /// Connections closed because there were too many.
    pub refused_connections: u64,
    /// Answers with NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, and all others.
    pub rcodes: [u64; 7],
}

impl Counters {
    /// All of them now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            udp: read(&self.udp),
            tcp: read(&self.tcp),
            tls: read(&self.tls),
            https: read(&self.https),
            silent: read(&self.silent),
            refused_connections: read(&self.refused_connections),
            rcodes: std::array::from_fn(|index| read(&self.rcodes[index])),
        }
    }

    /// Counts a batch: summed up first, so that workers meet here once a batch and not once a query.
    pub(super) fn count_udp(&self, outcomes: impl Iterator<Item = Outcome>) {
        self.count(&self.udp, outcomes);
    }

    /// Counts one that came by anything but UDP.
    pub(crate) fn count_stream(&self, transport: Transport, outcome: Outcome) {
        let by_transport = match transport {
            Transport::Tls => &self.tls,
            Transport::Https => &self.https,
            _ => &self.tcp,
        };
        self.count(by_transport, std::iter::once(outcome));
    }

    fn count(&self, transport: &AtomicU64, outcomes: impl Iterator<Item = Outcome>) {
        let (mut all, mut silent, mut rcodes) = (0, 0, [0; RCODES + 1]);
        for outcome in outcomes {
            all += 1;
            match outcome {
                Outcome::Silent => silent += 1,
                Outcome::Answered(Rcode(code)) => rcodes[usize::from(code).min(RCODES)] += 1,
            }
        }
        let counters =
            [(transport, all), (&self.silent, silent)].into_iter().chain(self.rcodes.iter().zip(rcodes));
        for (counter, number) in counters {
            if number > 0 {
                counter.fetch_add(number, Ordering::Relaxed);
            }
        }
    }
}
