//! What a server has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{HEADER_OCTETS, LABELS_MAX, Outcome, Rcode, RecordType, Transport};

/// Response codes that are counted by themselves: NOERROR to REFUSED.
const RCODES: usize = 6;

/// Types that are counted by themselves, in the order of [`Counts::types`].
pub const COUNTED_TYPES: [RecordType; 15] = [
    RecordType::A,
    RecordType::NS,
    RecordType::CNAME,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::MX,
    RecordType::TXT,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::NAPTR,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::SVCB,
    RecordType::HTTPS,
    RecordType::ANY,
];
const TYPES: usize = COUNTED_TYPES.len();

/// From a type to its place among those counted; all of them are below 256.
const PLACES: [u8; 256] = {
    let mut places = [TYPES as u8; 256];
    let mut place = 0;
    while place < TYPES {
        places[COUNTED_TYPES[place].0 as usize] = place as u8;
        place += 1;
    }
    places
};

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
    types: [AtomicU64; TYPES + 1],
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
    /// What was no query, or came from where nothing may be sent, or was dropped by a limit.
    pub silent: u64,
    /// Connections closed because there were too many.
    pub refused_connections: u64,
    /// Answers with NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, and all others.
    pub rcodes: [u64; 7],
    /// Answers to questions of the [`COUNTED_TYPES`], and to all others.
    pub types: [u64; 16],
}

impl Counts {
    /// Each counted type with its answers; `None` stands for all other types.
    pub fn by_type(&self) -> impl Iterator<Item = (Option<RecordType>, u64)> {
        COUNTED_TYPES.into_iter().map(Some).chain([None]).zip(self.types)
    }
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
            types: std::array::from_fn(|index| read(&self.types[index])),
        }
    }

    /// Counts a batch of outcomes, each with a message that has its question: summed up first, so that workers meet here
    /// once a batch and not once a query.
    pub(super) fn count_udp<'m>(&self, outcomes: impl Iterator<Item = (Outcome, &'m [u8])>) {
        self.count(&self.udp, outcomes);
    }

    /// Counts one that came by anything but UDP.
    pub(crate) fn count_stream(&self, transport: Transport, outcome: Outcome, message: &[u8]) {
        let by_transport = match transport {
            Transport::Tls => &self.tls,
            Transport::Https => &self.https,
            _ => &self.tcp,
        };
        self.count(by_transport, std::iter::once((outcome, message)));
    }

    fn count<'m>(&self, transport: &AtomicU64, outcomes: impl Iterator<Item = (Outcome, &'m [u8])>) {
        let (mut all, mut silent) = (0, 0);
        let (mut rcodes, mut types) = ([0; RCODES + 1], [0; TYPES + 1]);
        for (outcome, message) in outcomes {
            all += 1;
            match outcome {
                Outcome::Silent => silent += 1,
                Outcome::Answered(Rcode(code)) => {
                    rcodes[usize::from(code).min(RCODES)] += 1;
                    types[place(message)] += 1;
                }
            }
        }
        let counters = [(transport, all), (&self.silent, silent)].into_iter();
        for (counter, number) in
            counters.chain(self.rcodes.iter().zip(rcodes)).chain(self.types.iter().zip(types))
        {
            if number > 0 {
                counter.fetch_add(number, Ordering::Relaxed);
            }
        }
    }
}

/// Where the type of a message's question is counted: behind its name, which is the first and so not compressed. What
/// cannot be read counts as another type.
#[inline]
fn place(message: &[u8]) -> usize {
    let mut at = HEADER_OCTETS;
    for _ in 0..=LABELS_MAX {
        match message.get(at) {
            Some(0) => {
                return match message.get(at + 1..at + 3) {
                    Some(&[0, low]) => PLACES[usize::from(low)].into(),
                    _ => TYPES,
                };
            }
            Some(&length) => at += 1 + usize::from(length),
            None => break,
        }
    }
    TYPES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageBuilder;

    #[test]
    fn outcomes_count_by_code_type_and_transport() {
        let counters = Counters::default();
        let query = |qtype| MessageBuilder::query(1, &"a.example".parse().unwrap(), qtype).finish();
        let (a, https, odd) = (query(RecordType::A), query(RecordType::HTTPS), query(RecordType::LOC));
        let noerror = Outcome::Answered(Rcode::NOERROR);
        let batch = [(noerror, &a[..]), (noerror, &https), (Outcome::Silent, &[]), (noerror, &a)];
        counters.count_udp(batch.into_iter());
        counters.count_stream(Transport::Tls, Outcome::Answered(Rcode::BADCOOKIE), &odd);
        counters.count_stream(Transport::Tcp, Outcome::Answered(Rcode::FORMERR), &a[..14]);
        let counts = counters.read();
        assert_eq!((counts.udp, counts.tcp, counts.tls, counts.https, counts.silent), (4, 1, 1, 0, 1));
        assert_eq!(counts.rcodes, [3, 1, 0, 0, 0, 0, 1]);
        let seen: Vec<_> = counts.by_type().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [(Some(RecordType::A), 2), (Some(RecordType::HTTPS), 1), (None, 2)]);
    }
}
