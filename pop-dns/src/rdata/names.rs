//! Where names stand in RDATA whose names are not plain octets: the types that may be compressed on the way in
//! (RFC 3597 §4), on the way out (RFC 1035), and that the canonical form lower-cases (RFC 4034 §6.2).

use crate::RecordType;

/// Octets before the first name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// A fixed number.
    Octets(usize),
    /// NAPTR: two numbers and three character strings.
    Naptr,
}

/// The names of a type's RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) before: Before,
    pub(crate) names: u8,
    /// Only the types of RFC 1035 are compressed by a sender.
    pub(crate) compress: bool,
}

/// How the names of `rtype` stand; `None` where RDATA are copied and compared as they are.
#[inline]
pub(crate) const fn layout(rtype: RecordType) -> Option<Layout> {
    let (before, names, compress) = match rtype {
        RecordType::NS
        | RecordType::MD
        | RecordType::MF
        | RecordType::CNAME
        | RecordType::MB
        | RecordType::MG
        | RecordType::MR
        | RecordType::PTR => (Before::Octets(0), 1, true),
        RecordType::SOA | RecordType::MINFO => (Before::Octets(0), 2, true),
        RecordType::MX => (Before::Octets(2), 1, true),
        RecordType::RP => (Before::Octets(0), 2, false),
        RecordType::AFSDB | RecordType::RT | RecordType::KX => (Before::Octets(2), 1, false),
        RecordType::PX => (Before::Octets(2), 2, false),
        RecordType::SIG | RecordType::RRSIG => (Before::Octets(18), 1, false),
        RecordType::SRV => (Before::Octets(6), 1, false),
        RecordType::NXT | RecordType::DNAME => (Before::Octets(0), 1, false),
        RecordType::NAPTR => (Before::Naptr, 1, false),
        _ => return None,
    };
    Some(Layout { before, names, compress })
}

impl Layout {
    /// Octets of `rdata` before the first name; `None` where it is too short for them.
    #[inline]
    pub(crate) fn prefix(&self, rdata: &[u8]) -> Option<usize> {
        let end = match self.before {
            Before::Octets(octets) => octets,
            Before::Naptr => {
                let mut end = 4;
                for _ in 0..3 {
                    end += 1 + usize::from(*rdata.get(end)?);
                }
                end
            }
        };
        (end <= rdata.len()).then_some(end)
    }
}
