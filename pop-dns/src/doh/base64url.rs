//! Base 64 for URLs, without padding (RFC 4648 §5, RFC 8484 §6).

/// The octets of `text`; `None` if it is not in this form, padding and stray bits at the end included.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut word = 0_u32;
        for &symbol in group {
            word = word << 6 | u32::from(digit(symbol)?);
        }
        let bits = 6 * group.len();
        if bits % 8 == 6 || word & ((1 << (bits % 8)) - 1) != 0 {
            return None;
        }
        let aligned = (word >> (bits % 8)).to_be_bytes();
        octets.extend_from_slice(&aligned[4 - bits / 8..]);
    }
    Some(octets)
}

const fn digit(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

/// The text of `octets`.
#[cfg(any(feature = "tls", test))]
pub(crate) fn encode(octets: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, &octet| word << 8 | u32::from(octet)) << (8 * (3 - group.len()));
        let symbols = (0..=group.len()).map(|index| SYMBOLS[(word >> (18 - 6 * index) & 63) as usize]);
        text.extend(symbols.map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The twin: bit by bit.
    fn encode_slowly(octets: &[u8]) -> String {
        const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits: Vec<bool> =
            octets.iter().flat_map(|o| (0..8).rev().map(move |bit| o >> bit & 1 == 1)).collect();
        let digit =
            |bits: &[bool]| (0..6).fold(0, |all, at| all << 1 | usize::from(*bits.get(at).unwrap_or(&false)));
        bits.chunks(6).map(|bits| char::from(SYMBOLS[digit(bits)])).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&octets);
            prop_assert_eq!(&text, &encode_slowly(&octets));
            prop_assert_eq!(decode(text.as_bytes()), Some(octets));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["A", "AAAAA", "AB", "AAB", "AA==", "A+AA", "A/AA", "AA A", "AAA\n"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
