//! Signed messages: whatever comes is judged without a panic, and what we sign is believed as it is and in no other
//! form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::tsig::{Algorithm, Key, Keyring, Transaction};

const NOW: u64 = 1_700_000_000;

fuzz_target!(|octets: &[u8]| {
    let key = Key::new(&"k.example".parse().expect("a name"), Algorithm::HmacSha256, b"secret");
    let ring: Keyring = [key.clone()].into_iter().collect();
    if let Err(rejection) = Transaction::check_query(&ring, octets, NOW) {
        let mut answer = vec![0; 12];
        rejection.sign(&mut answer, NOW);
        assert!(pop_dns::Message::parse(&answer).expect("a header").records().is_ok());
    }
    // A message that can be walked to its end and has no signature can be signed.
    let Ok(message) = pop_dns::Message::parse(octets) else { return };
    let unsigned = matches!(Transaction::check_query(&ring, octets, NOW), Ok(None));
    if !unsigned || message.check().is_err() || message.header().counts[3] == u16::MAX {
        return;
    }
    let mut signed = octets.to_vec();
    let mut ours = Transaction::sign_query(&key, &mut signed, NOW);
    if signed.len() > pop_dns::MESSAGE_OCTETS_MAX {
        return;
    }
    let mut theirs = Transaction::check_query(&ring, &signed, NOW).expect("well signed").expect("signed");
    let mut answer = octets.to_vec();
    theirs.sign(&mut answer, NOW);
    let _ = ours.check(&answer, NOW).expect("well signed");
    // One bit, chosen by the octets themselves, makes another message of it; but for the identifier and the case of
    // names in the record.
    let sum = octets.iter().fold(2_usize, |sum, &octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
    let at = sum % octets.len();
    if at >= 2 {
        let mut forged = signed.clone();
        forged[at] ^= 1;
        assert!(!matches!(Transaction::check_query(&ring, &forged, NOW), Ok(Some(_))));
    }
});
