//! Cookies (RFC 7873), and server cookies that any server with the same secret can check (RFC 9018).

use core::net::IpAddr;

use super::option;
use crate::ParseError;

/// Octets of a client cookie (RFC 7873 §4).
const CLIENT_OCTETS: usize = 8;
/// Octets of the server cookie of RFC 9018 §4: version, three reserved, time, hash.
const SERVER_OCTETS: usize = 16;
/// The version that RFC 9018 defines.
const VERSION: u8 = 1;
/// RFC 9018 §4.3: a cookie is taken for an hour, seconds.
const AGE_MAX: i32 = 3600;
/// RFC 9018 §4.3: clocks of servers may differ by five minutes, seconds.
const AHEAD_MAX: i32 = 300;
/// RFC 9018 §4.3: a cookie older than half an hour is renewed, seconds.
const AGE_RENEWED: i32 = 1800;

/// The contents of a cookie option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie<'m> {
    /// What the client chose.
    pub client: [u8; CLIENT_OCTETS],
    /// What a server gave it: empty, or 8 to 32 octets.
    pub server: &'m [u8],
}

impl<'m> Cookie<'m> {
    /// Reads the contents of an option.
    ///
    /// # Errors
    /// [`ParseError::Option`] for lengths other than 8 and 16 to 40 octets (RFC 7873 §5.2.2).
    pub fn parse(contents: &'m [u8]) -> Result<Self, ParseError> {
        match contents.split_first_chunk() {
            Some((client, server)) if matches!(server.len(), 0 | 8..=32) => {
                Ok(Self { client: *client, server })
            }
            _ => Err(ParseError::Option { code: option::COOKIE }),
        }
    }
}

/// What a server makes of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a cookie that nobody judges protects nobody"]
pub enum CookieVerdict {
    /// The client was here before, at this address.
    Valid {
        /// Whether the cookie has reached the age at which the answer carries a new one.
        renew: bool,
    },
    /// The client sent its own cookie alone.
    ClientOnly,
    /// Forged, for another address, too old, or from a server with another secret.
    Invalid,
}

/// The secret from which a server makes its cookies, shared by all servers of an anycast address.
#[derive(Clone, Copy)]
pub struct CookieSecret {
    current: [u64; 2],
    /// What cookies were made with before, and are still taken.
    previous: Option<[u64; 2]>,
}

impl CookieSecret {
    /// A secret of 128 bits.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self { current: halves(secret), previous: None }
    }

    /// A secret from the operating system's randomness, for a server that shares its address with no other.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        Self { current: [state.hash_one(0_u8), state.hash_one(1_u8)], previous: None }
    }

    /// A secret that takes the place of another: cookies are made with this one, and those made with the other are taken
    /// until they are too old (RFC 9018 §5). An anycast address rolls over in two steps: first every server learns the new
    /// secret as `previous` of the old one, then each makes it the current.
    #[must_use]
    pub fn with_previous(self, previous: [u8; 16]) -> Self {
        Self { previous: Some(halves(previous)), ..self }
    }

    /// The contents of the option to answer with: the client's cookie and one of ours made at `now`, in seconds
    /// since 1970 modulo 2^32. Costs one SipHash.
    #[must_use]
    pub fn make(
        &self,
        client: [u8; CLIENT_OCTETS],
        address: IpAddr,
        now: u32,
    ) -> [u8; CLIENT_OCTETS + SERVER_OCTETS] {
        let mut contents = [0; CLIENT_OCTETS + SERVER_OCTETS];
        contents[..8].copy_from_slice(&client);
        contents[8] = VERSION;
        contents[12..16].copy_from_slice(&now.to_be_bytes());
        let hash = hash(self.current, &contents[..16], address);
        contents[16..].copy_from_slice(&hash);
        contents
    }

    /// Judges a cookie that came from `address` at `now`.
    pub fn check(&self, cookie: &Cookie<'_>, address: IpAddr, now: u32) -> CookieVerdict {
        if cookie.server.is_empty() {
            return CookieVerdict::ClientOnly;
        }
        let Ok(server) = <&[u8; SERVER_OCTETS]>::try_from(cookie.server) else {
            return CookieVerdict::Invalid;
        };
        let mut head = [0; 16];
        head[..8].copy_from_slice(&cookie.client);
        head[8..].copy_from_slice(&server[..8]);
        // Every octet is compared, whatever the first difference.
        let made_with = |secret| {
            let hash = hash(secret, &head, address);
            hash.iter().zip(&server[8..]).fold(0, |all, (one, two)| all | (one ^ two)) == 0
        };
        let by_current = made_with(self.current);
        let ours = by_current || self.previous.is_some_and(made_with);
        // RFC 1982: the difference of two times modulo 2^32, with its sign.
        let made = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        let age = now.wrapping_sub(made) as i32;
        if !ours || server[0] != VERSION || !(-AHEAD_MAX..=AGE_MAX).contains(&age) {
            return CookieVerdict::Invalid;
        }
        CookieVerdict::Valid { renew: age > AGE_RENEWED || !by_current }
    }
}

/// RFC 9018 §4.4: SipHash-2-4 over client cookie, version, reserved, time and the client's address.
fn hash(secret: [u64; 2], head: &[u8], address: IpAddr) -> [u8; 8] {
    let mut input = [0; 32];
    input[..16].copy_from_slice(head);
    let octets = match address {
        IpAddr::V4(address) => {
            input[16..20].copy_from_slice(&address.octets());
            20
        }
        IpAddr::V6(address) => {
            input[16..].copy_from_slice(&address.octets());
            32
        }
    };
    siphash(secret, &input[..octets]).to_le_bytes()
}

/// The secret stays one.
impl core::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}

fn halves(octets: [u8; 16]) -> [u64; 2] {
    let word = u128::from_le_bytes(octets);
    [word as u64, (word >> 64) as u64]
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012).
pub(crate) fn siphash([k0, k1]: [u64; 2], input: &[u8]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = input.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = input.len() as u8;
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        state[3] ^= word;
        round(&mut state);
        round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xFF;
    (0..4).for_each(|_| round(&mut state));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v1);
    *v0 = v0.wrapping_add(*v3);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] =
        [0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf];
    const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
    const NOW: u32 = 1_559_731_985;

    /// RFC 9018 appendix A.1.
    #[test]
    fn the_example_of_the_rfc() {
        let address = "198.51.100.100".parse().unwrap();
        let made = CookieSecret::new(SECRET).make(CLIENT, address, NOW);
        assert_eq!(made[8..], 0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480_u128.to_be_bytes());
    }

    #[test]
    fn a_cookie_is_good_for_its_address_and_its_hour() {
        let (here, there) = ("198.51.100.100".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let secret = CookieSecret::new(SECRET);
        let made = secret.make(CLIENT, here, NOW);
        let cookie = Cookie::parse(&made).unwrap();
        let valid = |renew| CookieVerdict::Valid { renew };
        for (address, now, verdict) in [
            (here, NOW, valid(false)),
            (here, NOW + 1801, valid(true)),
            (here, NOW + 3600, valid(true)),
            (here, NOW + 3601, CookieVerdict::Invalid),
            (here, NOW - 300, valid(false)),
            (here, NOW - 301, CookieVerdict::Invalid),
            (there, NOW, CookieVerdict::Invalid),
        ] {
            assert_eq!(secret.check(&cookie, address, now), verdict, "{address} {now}");
        }
        assert_eq!(CookieSecret::new([0; 16]).check(&cookie, here, NOW), CookieVerdict::Invalid);
        assert_eq!(secret.check(&Cookie::parse(&CLIENT).unwrap(), here, NOW), CookieVerdict::ClientOnly);
    }

    #[test]
    fn odd_lengths_are_malformed() {
        for octets in 0..=48 {
            let contents = [0; 48];
            let well = matches!(octets, 8 | 16..=40);
            assert_eq!(Cookie::parse(&contents[..octets]).is_ok(), well, "{octets}");
        }
    }
}
