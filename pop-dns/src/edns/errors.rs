//! The codes of extended errors (RFC 8914; the IANA registry of extended DNS error codes).

use core::fmt;

/// An extended error code, open: one without a name is still a value.
///
/// ```
/// use pop_dns::ExtendedError;
///
/// assert_eq!(ExtendedError::STALE_ANSWER.to_string(), "Stale Answer");
/// assert_eq!(ExtendedError(4711).to_string(), "EDE 4711");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedError(pub u16);

macro_rules! errors {
    ($($konst:ident = $code:literal, $purpose:literal;)*) => {
        impl ExtendedError {
            $(#[doc = $purpose] pub const $konst: Self = Self($code);)*

            /// What the registry calls it.
            #[must_use]
            pub const fn purpose(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($purpose),)*
                    _ => None,
                }
            }
        }
    };
}

errors! {
    OTHER = 0, "Other Error";
    UNSUPPORTED_DNSKEY_ALGORITHM = 1, "Unsupported DNSKEY Algorithm";
    UNSUPPORTED_DS_DIGEST_TYPE = 2, "Unsupported DS Digest Type";
    STALE_ANSWER = 3, "Stale Answer";
    FORGED_ANSWER = 4, "Forged Answer";
    DNSSEC_INDETERMINATE = 5, "DNSSEC Indeterminate";
    DNSSEC_BOGUS = 6, "DNSSEC Bogus";
    SIGNATURE_EXPIRED = 7, "Signature Expired";
    SIGNATURE_NOT_YET_VALID = 8, "Signature Not Yet Valid";
    DNSKEY_MISSING = 9, "DNSKEY Missing";
    RRSIGS_MISSING = 10, "RRSIGs Missing";
    NO_ZONE_KEY_BIT_SET = 11, "No Zone Key Bit Set";
    NSEC_MISSING = 12, "NSEC Missing";
    CACHED_ERROR = 13, "Cached Error";
    NOT_READY = 14, "Not Ready";
    BLOCKED = 15, "Blocked";
    CENSORED = 16, "Censored";
    FILTERED = 17, "Filtered";
    PROHIBITED = 18, "Prohibited";
    STALE_NXDOMAIN_ANSWER = 19, "Stale NXDOMAIN Answer";
    NOT_AUTHORITATIVE = 20, "Not Authoritative";
    NOT_SUPPORTED = 21, "Not Supported";
    NO_REACHABLE_AUTHORITY = 22, "No Reachable Authority";
    NETWORK_ERROR = 23, "Network Error";
    INVALID_DATA = 24, "Invalid Data";
    SIGNATURE_EXPIRED_BEFORE_VALID = 25, "Signature Expired before Valid";
    TOO_EARLY = 26, "Too Early";
    UNSUPPORTED_NSEC3_ITERATIONS_VALUE = 27, "Unsupported NSEC3 Iterations Value";
    UNABLE_TO_CONFORM_TO_POLICY = 28, "Unable to conform to policy";
    SYNTHESIZED = 29, "Synthesized";
    INVALID_QUERY_TYPE = 30, "Invalid Query Type";
    RATE_LIMITED = 31, "Rate Limited";
    OVER_QUOTA = 32, "Over Quota";
}

impl fmt::Display for ExtendedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.purpose() {
            Some(purpose) => f.write_str(purpose),
            None => write!(f, "EDE {}", self.0),
        }
    }
}

impl fmt::Debug for ExtendedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self})", self.0)
    }
}
