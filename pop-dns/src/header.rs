//! The first twelve octets of a message, and the codes in it.

use core::fmt;

use crate::ParseError;

/// Octets of a header (RFC 1035 §4.1.1).
pub const HEADER_OCTETS: usize = 12;

/// A message header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What the client chose to tell answers apart.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD and RCODE, as on the wire.
    pub flags: Flags,
    /// Questions, answers, authority and additional records, as the header claims.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below twelve octets.
    pub fn parse(message: &[u8]) -> Result<Self, ParseError> {
        let Some(octets) = message.first_chunk::<HEADER_OCTETS>() else {
            return Err(ParseError::Truncated { offset: message.len() });
        };
        let word = |index: usize| u16::from_be_bytes([octets[index], octets[index + 1]]);
        Ok(Self { id: word(0), flags: Flags(word(2)), counts: [word(4), word(6), word(8), word(10)] })
    }

    /// The twelve octets.
    #[must_use]
    pub fn to_wire(self) -> [u8; HEADER_OCTETS] {
        let mut wire = [0; HEADER_OCTETS];
        let words = [self.id, self.flags.0].into_iter().chain(self.counts);
        for (octets, word) in wire.chunks_exact_mut(2).zip(words) {
            octets.copy_from_slice(&word.to_be_bytes());
        }
        wire
    }
}

/// The second word of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const QR: u16 = 1 << 15;
    /// The answer is authoritative.
    pub const AA: u16 = 1 << 10;
    /// The answer did not fit.
    pub const TC: u16 = 1 << 9;
    /// Recursion is desired.
    pub const RD: u16 = 1 << 8;
    /// Recursion is available.
    pub const RA: u16 = 1 << 7;
    /// The data are authentic (RFC 4035).
    pub const AD: u16 = 1 << 5;
    /// Checking is disabled (RFC 4035).
    pub const CD: u16 = 1 << 4;

    /// Whether all bits of `mask` are set.
    #[must_use]
    pub const fn has(self, mask: u16) -> bool {
        self.0 & mask == mask
    }

    /// These flags and `mask`.
    #[must_use]
    pub const fn with(self, mask: u16) -> Self {
        Self(self.0 | mask)
    }

    /// The opcode.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11) as u8 & 15)
    }

    /// The lower four bits of the response code; EDNS has the upper eight.
    #[must_use]
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & 15)
    }

    /// These flags with another opcode.
    #[must_use]
    pub const fn with_opcode(self, opcode: Opcode) -> Self {
        Self((self.0 & !(15 << 11)) | ((opcode.0 as u16 & 15) << 11))
    }

    /// These flags with the lower four bits of another response code.
    #[must_use]
    pub const fn with_rcode(self, rcode: Rcode) -> Self {
        Self((self.0 & !15) | (rcode.0 & 15))
    }
}

macro_rules! codes {
    ($(#[$meta:meta])* $type:ident($number:ty), $prefix:literal: $($(#[$item:meta])* $name:ident = $value:literal $text:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $number);

        impl $type {
            $($(#[$item])* pub const $name: Self = Self($value);)*

            /// The mnemonic of the registry, if there is one here.
            #[must_use]
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }

            /// From a mnemonic, in any case, or the generic form with a number (RFC 3597 §5).
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($text) { return Some(Self::$name); })*
                let (head, number) = text.split_at_checked($prefix.len())?;
                let plain = !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit());
                if head.eq_ignore_ascii_case($prefix) && plain { number.parse().ok().map(Self) } else { None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.write_str(text),
                    None => write!(f, concat!($prefix, "{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// What kind of message this is (RFC 1035 §4.1.1; IANA registry).
    Opcode(u8), "OPCODE":
    /// A standard query.
    QUERY = 0 "QUERY",
    /// A zone has changed (RFC 1996).
    NOTIFY = 4 "NOTIFY",
    /// A dynamic update (RFC 2136).
    UPDATE = 5 "UPDATE",
}

codes! {
    /// How it went. Twelve bits with EDNS (RFC 6891 §6.1.3).
    Rcode(u16), "RCODE":
    /// No error.
    NOERROR = 0 "NOERROR",
    /// The query cannot be understood.
    FORMERR = 1 "FORMERR",
    /// The server failed.
    SERVFAIL = 2 "SERVFAIL",
    /// The name does not exist.
    NXDOMAIN = 3 "NXDOMAIN",
    /// Not implemented.
    NOTIMP = 4 "NOTIMP",
    /// Refused by policy.
    REFUSED = 5 "REFUSED",
    /// Not authoritative for the zone (RFC 2136).
    NOTAUTH = 9 "NOTAUTH",
    /// An EDNS version that is not known (RFC 6891).
    BADVERS = 16 "BADVERS",
    /// A bad or missing server cookie (RFC 7873).
    BADCOOKIE = 23 "BADCOOKIE",
}

codes! {
    /// The class of a record or question.
    Class(u16), "CLASS":
    /// The internet.
    IN = 1 "IN",
    /// Chaos, where servers keep their names.
    CH = 3 "CH",
    /// Nothing there (RFC 2136).
    NONE = 254 "NONE",
    /// Any class, in questions.
    ANY = 255 "ANY",
}

codes! {
    /// The type of a record or question (IANA registry).
    RecordType(u16), "TYPE":
    /// An IPv4 address.
    A = 1 "A",
    /// A name server.
    NS = 2 "NS",
    /// The canonical name of an alias.
    CNAME = 5 "CNAME",
    /// The start of authority of a zone.
    SOA = 6 "SOA",
    /// A pointer to another name.
    PTR = 12 "PTR",
    /// A mail exchange.
    MX = 15 "MX",
    /// Text strings.
    TXT = 16 "TXT",
    /// An IPv6 address (RFC 3596).
    AAAA = 28 "AAAA",
    /// A service's host and port (RFC 2782).
    SRV = 33 "SRV",
    /// Another name for a whole subtree (RFC 6672).
    DNAME = 39 "DNAME",
    /// EDNS (RFC 6891).
    OPT = 41 "OPT",
    /// The digest of a child's key (RFC 4034).
    DS = 43 "DS",
    /// A signature (RFC 4034).
    RRSIG = 46 "RRSIG",
    /// The next name (RFC 4034).
    NSEC = 47 "NSEC",
    /// A key (RFC 4034).
    DNSKEY = 48 "DNSKEY",
    /// Which authorities may issue certificates (RFC 8659).
    CAA = 257 "CAA",
    /// An incremental zone transfer, in questions (RFC 1995).
    IXFR = 251 "IXFR",
    /// A zone transfer, in questions.
    AXFR = 252 "AXFR",
    /// Any type, in questions (RFC 8482).
    ANY = 255 "ANY",
}
