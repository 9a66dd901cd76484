//! The keys of SVCB and HTTPS parameters.

use core::fmt;

/// The key of a parameter (the IANA registry of service parameter keys).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SvcKey(pub u16);

impl SvcKey {
    /// Keys a client must know to use the record.
    pub const MANDATORY: Self = Self(0);
    /// Protocols beside the default.
    pub const ALPN: Self = Self(1);
    /// The default protocol is not served.
    pub const NO_DEFAULT_ALPN: Self = Self(2);
    /// Another port.
    pub const PORT: Self = Self(3);
    /// IPv4 addresses to try at once.
    pub const IPV4HINT: Self = Self(4);
    /// Encrypted ClientHello.
    pub const ECH: Self = Self(5);
    /// IPv6 addresses to try at once.
    pub const IPV6HINT: Self = Self(6);
    /// The path of DNS over HTTPS.
    pub const DOHPATH: Self = Self(7);
    /// The service is an oblivious gateway.
    pub const OHTTP: Self = Self(8);
    /// TLS groups the service supports.
    pub const TLS_SUPPORTED_GROUPS: Self = Self(9);
    /// The path of DNS over CoAP.
    pub const DOCPATH: Self = Self(10);

    const NAMES: [&'static str; 11] = [
        "mandatory",
        "alpn",
        "no-default-alpn",
        "port",
        "ipv4hint",
        "ech",
        "ipv6hint",
        "dohpath",
        "ohttp",
        "tls-supported-groups",
        "docpath",
    ];

    /// The key of a name, or of `key` and a number without leading zeros.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if let Some(known) = (0..).zip(Self::NAMES).find(|(_, name)| *name == text) {
            return Some(Self(known.0));
        }
        let number = text.strip_prefix("key")?;
        let plain = number == "0" || !number.starts_with(['0', '+']);
        // 65535 is reserved and never a key (§14.3.2).
        number.parse().ok().filter(|&key| plain && key != u16::MAX).map(Self)
    }
}

impl fmt::Display for SvcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "key{}", self.0),
        }
    }
}

impl fmt::Debug for SvcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
