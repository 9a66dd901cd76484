//! The flag that names a TSIG key.

use pop_dns::NameBuf;
use pop_dns::tsig::{Algorithm, Key};

/// `ALGORITHM:NAME:SECRET`, the secret in hexadecimal.
pub(crate) fn key(text: &str) -> Result<Key, String> {
    let expected = || "expected ALGORITHM:NAME:SECRET, as hmac-sha256:transfer:00ff".to_owned();
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().ok_or_else(expected);
    let algorithm = Algorithm::from_text(part()?).ok_or_else(expected)?;
    let name: NameBuf = part()?.parse().map_err(|_| expected())?;
    let digits = part()?.as_bytes();
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let octet = |pair: &[u8]| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    let secret = digits.chunks(2).map(octet).collect::<Option<Vec<u8>>>().ok_or_else(expected)?;
    Ok(Key::new(&name, algorithm, &secret))
}
