//! The IANA registries as open newtypes: a code without a name is still a value, printed as RFC 3597 says.

use core::fmt;

/// The longest word of any registry here; a longer one is unknown without a look.
const MNEMONIC_OCTETS_MAX: usize = 16;

/// `text` in upper case; `None` where it cannot be a mnemonic.
fn upper<'b>(text: &str, buffer: &'b mut [u8; MNEMONIC_OCTETS_MAX]) -> Option<&'b str> {
    let copy = buffer.get_mut(..text.len())?;
    copy.copy_from_slice(text.as_bytes());
    copy.make_ascii_uppercase();
    core::str::from_utf8(copy).ok()
}

macro_rules! registry {
    ($(#[$meta:meta])* $name:ident($int:ty), $prefix:literal { $($konst:ident = $value:literal, $text:literal, $doc:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $(#[doc = $doc] pub const $konst: Self = Self($value);)*

            /// The registered mnemonic, if there is one.
            #[must_use]
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }

            /// The code of a mnemonic, or of this registry's prefix and a number, in any case (RFC 3597 §5). Costs
            /// a walk over the registry; allocates nothing.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                let mut buffer = [0; MNEMONIC_OCTETS_MAX];
                let word = upper(text, &mut buffer)?;
                match word {
                    $($text => return Some(Self($value)),)*
                    _ => {}
                }
                let number = word.strip_prefix($prefix)?;
                let plain = !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit());
                if plain { number.parse().ok().map(Self) } else { None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(word) => f.pad(word),
                    None => write!(f, "{}{}", $prefix, self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

    };
}

registry! {
    /// A resource record type (RFC 6895 §3.1; the IANA registry of 2025). Unnamed types print as `TYPE` and
    /// the number (RFC 3597 §5).
    RecordType(u16), "TYPE" {
        A = 1, "A", "A host address (RFC 1035).";
        NS = 2, "NS", "An authoritative name server (RFC 1035).";
        MD = 3, "MD", "A mail destination (obsolete, RFC 1035).";
        MF = 4, "MF", "A mail forwarder (obsolete, RFC 1035).";
        CNAME = 5, "CNAME", "The canonical name of an alias (RFC 1035).";
        SOA = 6, "SOA", "The start of a zone of authority (RFC 1035).";
        MB = 7, "MB", "A mailbox domain name (RFC 1035).";
        MG = 8, "MG", "A mail group member (RFC 1035).";
        MR = 9, "MR", "A mail rename domain name (RFC 1035).";
        NULL = 10, "NULL", "Anything at all (RFC 1035).";
        WKS = 11, "WKS", "A well known service description (RFC 1035).";
        PTR = 12, "PTR", "A domain name pointer (RFC 1035).";
        HINFO = 13, "HINFO", "Host information (RFC 1035).";
        MINFO = 14, "MINFO", "Mailbox or mail list information (RFC 1035).";
        MX = 15, "MX", "A mail exchange (RFC 1035).";
        TXT = 16, "TXT", "Text strings (RFC 1035).";
        RP = 17, "RP", "A responsible person (RFC 1183).";
        AFSDB = 18, "AFSDB", "An AFS cell data base (RFC 1183).";
        X25 = 19, "X25", "An X.25 PSDN address (RFC 1183).";
        ISDN = 20, "ISDN", "An ISDN address (RFC 1183).";
        RT = 21, "RT", "A route through (RFC 1183).";
        NSAP = 22, "NSAP", "An NSAP address (RFC 1706).";
        NSAP_PTR = 23, "NSAP-PTR", "An NSAP pointer (RFC 1348).";
        SIG = 24, "SIG", "A security signature (RFC 2931).";
        KEY = 25, "KEY", "A security key (RFC 2535).";
        PX = 26, "PX", "X.400 mail mapping information (RFC 2163).";
        GPOS = 27, "GPOS", "A geographical position (RFC 1712).";
        AAAA = 28, "AAAA", "An IPv6 address (RFC 3596).";
        LOC = 29, "LOC", "A location (RFC 1876).";
        NXT = 30, "NXT", "A next domain (obsolete, RFC 2535).";
        EID = 31, "EID", "An endpoint identifier (Nimrod).";
        NIMLOC = 32, "NIMLOC", "A Nimrod locator.";
        SRV = 33, "SRV", "A server selection (RFC 2782).";
        ATMA = 34, "ATMA", "An ATM address.";
        NAPTR = 35, "NAPTR", "A naming authority pointer (RFC 3403).";
        KX = 36, "KX", "A key exchanger (RFC 2230).";
        CERT = 37, "CERT", "A certificate (RFC 4398).";
        A6 = 38, "A6", "An IPv6 address with delegation (obsolete, RFC 2874).";
        DNAME = 39, "DNAME", "A redirection of a subtree (RFC 6672).";
        SINK = 40, "SINK", "A kitchen sink.";
        OPT = 41, "OPT", "The EDNS pseudo record (RFC 6891).";
        APL = 42, "APL", "A list of address prefixes (RFC 3123).";
        DS = 43, "DS", "A delegation signer (RFC 4034).";
        SSHFP = 44, "SSHFP", "An SSH key fingerprint (RFC 4255).";
        IPSECKEY = 45, "IPSECKEY", "An IPsec key (RFC 4025).";
        RRSIG = 46, "RRSIG", "A signature over an RRset (RFC 4034).";
        NSEC = 47, "NSEC", "A denial of existence (RFC 4034).";
        DNSKEY = 48, "DNSKEY", "A zone key (RFC 4034).";
        DHCID = 49, "DHCID", "A DHCP identifier (RFC 4701).";
        NSEC3 = 50, "NSEC3", "A hashed denial of existence (RFC 5155).";
        NSEC3PARAM = 51, "NSEC3PARAM", "The parameters of NSEC3 (RFC 5155).";
        TLSA = 52, "TLSA", "A TLS certificate association (RFC 6698).";
        SMIMEA = 53, "SMIMEA", "An S/MIME certificate association (RFC 8162).";
        HIP = 55, "HIP", "A host identity (RFC 8005).";
        NINFO = 56, "NINFO", "Zone status information.";
        RKEY = 57, "RKEY", "A key for NAPTR encryption.";
        TALINK = 58, "TALINK", "A trust anchor link.";
        CDS = 59, "CDS", "A child's DS (RFC 7344).";
        CDNSKEY = 60, "CDNSKEY", "A child's DNSKEY (RFC 7344).";
        OPENPGPKEY = 61, "OPENPGPKEY", "An OpenPGP key (RFC 7929).";
        CSYNC = 62, "CSYNC", "Child-to-parent synchronisation (RFC 7477).";
        ZONEMD = 63, "ZONEMD", "A digest over a zone (RFC 8976).";
        SVCB = 64, "SVCB", "A service binding (RFC 9460).";
        HTTPS = 65, "HTTPS", "A service binding for HTTP (RFC 9460).";
        DSYNC = 66, "DSYNC", "An endpoint for delegation synchronisation (RFC 9859).";
        HHIT = 67, "HHIT", "A hierarchical host identity tag (RFC 9886).";
        BRID = 68, "BRID", "A UAS broadcast remote identification (RFC 9886).";
        SPF = 99, "SPF", "Sender policy (RFC 7208).";
        UINFO = 100, "UINFO", "User information (reserved).";
        UID = 101, "UID", "A user identifier (reserved).";
        GID = 102, "GID", "A group identifier (reserved).";
        UNSPEC = 103, "UNSPEC", "Unspecified data (reserved).";
        NID = 104, "NID", "An ILNP node identifier (RFC 6742).";
        L32 = 105, "L32", "A 32-bit ILNP locator (RFC 6742).";
        L64 = 106, "L64", "A 64-bit ILNP locator (RFC 6742).";
        LP = 107, "LP", "A pointer to ILNP locators (RFC 6742).";
        EUI48 = 108, "EUI48", "A 48-bit extended unique identifier (RFC 7043).";
        EUI64 = 109, "EUI64", "A 64-bit extended unique identifier (RFC 7043).";
        NXNAME = 128, "NXNAME", "The marker of a name that does not exist (RFC 9824).";
        TKEY = 249, "TKEY", "A transaction key (RFC 2930).";
        TSIG = 250, "TSIG", "A transaction signature (RFC 8945).";
        IXFR = 251, "IXFR", "An incremental zone transfer (RFC 1995).";
        AXFR = 252, "AXFR", "A transfer of an entire zone (RFC 5936).";
        MAILB = 253, "MAILB", "Mailbox related records (RFC 1035).";
        MAILA = 254, "MAILA", "Mail agent records (obsolete, RFC 1035).";
        ANY = 255, "ANY", "Some or all records (RFC 8482).";
        URI = 256, "URI", "A URI (RFC 7553).";
        CAA = 257, "CAA", "A certification authority restriction (RFC 8659).";
        AVC = 258, "AVC", "Application visibility and control.";
        DOA = 259, "DOA", "A digital object architecture record.";
        AMTRELAY = 260, "AMTRELAY", "An automatic multicast tunnelling relay (RFC 8777).";
        RESINFO = 261, "RESINFO", "Resolver information (RFC 9606).";
        WALLET = 262, "WALLET", "A public wallet address.";
        CLA = 263, "CLA", "A BP convergence layer adapter.";
        IPN = 264, "IPN", "A BP node number.";
        TA = 32768, "TA", "A DNSSEC trust authority.";
        DLV = 32769, "DLV", "A DNSSEC look-aside validation record (obsolete, RFC 8749).";
    }
}

impl RecordType {
    /// Whether a record of this type may be asked for but never stored: `ANY`, `AXFR` and the rest of the
    /// range that RFC 6895 §3.1 keeps for queries and pseudo records (128–255), and `OPT`.
    #[must_use]
    pub const fn is_pseudo(self) -> bool {
        matches!(self.0, 41 | 128..=255)
    }
}

registry! {
    /// A class (RFC 6895 §3.2). In `OPT` records the field holds a payload size instead.
    Class(u16), "CLASS" {
        IN = 1, "IN", "The Internet.";
        CH = 3, "CH", "Chaosnet, used for questions about the server itself (RFC 4892).";
        HS = 4, "HS", "Hesiod.";
        NONE = 254, "NONE", "No class: a deletion or prerequisite in an update (RFC 2136).";
        ANY = 255, "ANY", "Any class: a query or an update of a whole RRset (RFC 2136).";
    }
}

registry! {
    /// The kind of query (RFC 6895 §2.2). Only the low four bits exist on the wire.
    Opcode(u8), "OPCODE" {
        QUERY = 0, "QUERY", "A standard query (RFC 1035).";
        IQUERY = 1, "IQUERY", "An inverse query (obsolete, RFC 3425).";
        STATUS = 2, "STATUS", "A server status request (RFC 1035).";
        NOTIFY = 4, "NOTIFY", "Word that a zone has changed (RFC 1996).";
        UPDATE = 5, "UPDATE", "A dynamic update (RFC 2136).";
        DSO = 6, "DSO", "Stateful operations (RFC 8490).";
    }
}

registry! {
    /// A response code, extended by EDNS to twelve bits (RFC 6895 §2.3).
    Rcode(u16), "RCODE" {
        NOERROR = 0, "NOERROR", "No error.";
        FORMERR = 1, "FORMERR", "The query could not be understood.";
        SERVFAIL = 2, "SERVFAIL", "The server failed.";
        NXDOMAIN = 3, "NXDOMAIN", "The name does not exist.";
        NOTIMP = 4, "NOTIMP", "The kind of query is not implemented.";
        REFUSED = 5, "REFUSED", "The server refuses by policy.";
        YXDOMAIN = 6, "YXDOMAIN", "A name exists that should not (RFC 2136, 6672).";
        YXRRSET = 7, "YXRRSET", "An RRset exists that should not (RFC 2136).";
        NXRRSET = 8, "NXRRSET", "An RRset that should exist does not (RFC 2136).";
        NOTAUTH = 9, "NOTAUTH", "Not authoritative, or not authorised (RFC 2136, 8945).";
        NOTZONE = 10, "NOTZONE", "A name lies outside the zone (RFC 2136).";
        DSOTYPENI = 11, "DSOTYPENI", "The DSO type is not implemented (RFC 8490).";
        BADVERS = 16, "BADVERS", "An EDNS version not supported (RFC 6891); as a TSIG error, a bad signature.";
        BADKEY = 17, "BADKEY", "A key not recognised (RFC 8945).";
        BADTIME = 18, "BADTIME", "A signature outside its time window (RFC 8945).";
        BADMODE = 19, "BADMODE", "A bad TKEY mode (RFC 2930).";
        BADNAME = 20, "BADNAME", "A duplicate key name (RFC 2930).";
        BADALG = 21, "BADALG", "An algorithm not supported (RFC 2930).";
        BADTRUNC = 22, "BADTRUNC", "A signature cut too short (RFC 8945).";
        BADCOOKIE = 23, "BADCOOKIE", "A missing or wrong server cookie (RFC 7873).";
    }
}

impl Rcode {
    /// `BADSIG`, which shares its number with `BADVERS` (RFC 8945 §5.3).
    pub const BADSIG: Self = Self(16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back() {
        for code in 0..=u16::MAX {
            let rtype = RecordType(code);
            assert_eq!(RecordType::from_text(&rtype.to_string()), Some(rtype));
        }
        assert_eq!(RecordType::from_text("nsap-ptr"), Some(RecordType::NSAP_PTR));
    }

    #[test]
    fn strange_words_are_refused() {
        for word in ["", "TYPE", "TYPE65536", "TYPE+1", "TYPE-1", "AA", "A A", "TYPE1234567890123"] {
            assert_eq!(RecordType::from_text(word), None, "{word}");
        }
    }
}
