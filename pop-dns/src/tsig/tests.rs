use super::*;
use crate::{MessageBuilder, NameBuf, RecordType};

const NOW: u64 = 1_700_000_000;

fn key() -> Key {
    Key::new(&"Transfer.example".parse().unwrap(), Algorithm::HmacSha256, b"a secret of thirty-two octets...")
}

fn query() -> Vec<u8> {
    MessageBuilder::query(7, &"example.org".parse().unwrap(), RecordType::AXFR).finish()
}

fn rejected(query: &[u8], now: u64) -> Box<Rejection> {
    Transaction::check_query(&[key()].into_iter().collect(), query, now).unwrap_err()
}

#[test]
fn both_sides_believe_each_other_under_every_algorithm() {
    for algorithm in
        [Algorithm::HmacSha1, Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512]
    {
        let key = Key::new(&"k".parse().unwrap(), algorithm, b"secret");
        let ring: Keyring = [key.clone()].into_iter().collect();
        let (plain, mut wire) = (query(), query());
        let mut ours = Transaction::sign_query(&key, &mut wire, NOW);
        assert_eq!(wire.len(), plain.len() + key.record_octets() - 6, "BADTIME's other data apart");
        let mut theirs = Transaction::check_query(&ring, &wire, NOW + 300).unwrap().unwrap();
        for _ in 0..3 {
            let mut answer = query();
            answer[2] |= 0x80;
            theirs.sign(&mut answer, NOW);
            assert_eq!(ours.check(&answer, NOW), Ok(Checked::Signed));
        }
        assert_eq!(ours.finish(), Ok(()));
    }
}

#[test]
fn no_octet_can_be_changed() {
    let mut wire = query();
    let _ = Transaction::sign_query(&key(), &mut wire, NOW);
    let ring: Keyring = [key()].into_iter().collect();
    for at in 0..wire.len() {
        for bit in [1, 0x80] {
            let mut changed = wire.clone();
            changed[at] ^= bit;
            // The identifier of the message is not covered, its first one is (§4.3.2); names may change their case.
            let same = at < 2 || changed.eq_ignore_ascii_case(&wire);
            let believed = matches!(Transaction::check_query(&ring, &changed, NOW), Ok(Some(_)));
            assert!(same || !believed, "octet {at}");
        }
    }
}

#[test]
fn a_forwarded_message_may_have_another_identifier() {
    let mut wire = query();
    let _ = Transaction::sign_query(&key(), &mut wire, NOW);
    wire[..2].copy_from_slice(&[9, 9]);
    let ring: Keyring = [key()].into_iter().collect();
    assert!(Transaction::check_query(&ring, &wire, NOW).unwrap().is_some());
}

#[test]
fn reasons_are_told_apart() {
    let mut wire = query();
    let mut ours = Transaction::sign_query(&key(), &mut wire, NOW);
    // BADTIME, which is signed: the other side learns our time.
    let late = rejected(&wire, NOW + 301);
    assert_eq!(late.error, TsigError::Time { signed: NOW, now: NOW + 301 });
    assert_eq!(late.rcode(), Rcode::NOTAUTH);
    let mut answer = query();
    late.sign(&mut answer, NOW + 301);
    assert_eq!(ours.clone().check(&answer, NOW), Err(TsigError::Refused(Rcode::BADTIME)));
    // BADSIG and BADKEY, which are not.
    let mut changed = wire.clone();
    changed[13] ^= 1;
    let wrong = rejected(&changed, NOW);
    assert_eq!(wrong.error, TsigError::Signature);
    let mut answer = query();
    wrong.sign(&mut answer, NOW);
    assert_eq!(ours.check(&answer, NOW), Err(TsigError::Refused(Rcode::BADSIG)));
    let mut other = query();
    let stranger = Key::new(&"other".parse().unwrap(), Algorithm::HmacSha256, b"secret");
    let _ = Transaction::sign_query(&stranger, &mut other, NOW);
    assert_eq!(rejected(&other, NOW).error, TsigError::UnknownKey);
    // Another algorithm is another key.
    let mut other = query();
    let sha1 = Key::new(key().name(), Algorithm::HmacSha1, b"a secret of thirty-two octets...");
    let _ = Transaction::sign_query(&sha1, &mut other, NOW);
    assert_eq!(rejected(&other, NOW).error, TsigError::UnknownKey);
    // Not signed at all is no error here: whether it has to be is not for us to say.
    let ring: Keyring = [key()].into_iter().collect();
    assert!(Transaction::check_query(&ring, &query(), NOW).unwrap().is_none());
}

#[test]
fn cut_signatures_are_taken_where_agreed() {
    let short = key().truncated(16);
    let mut wire = query();
    let mut ours = Transaction::sign_query(&short, &mut wire, NOW);
    assert_eq!(rejected(&wire, NOW).error, TsigError::Truncated { octets: 16 });
    let mut theirs = Transaction::check_query(&[short].into_iter().collect(), &wire, NOW).unwrap().unwrap();
    let mut answer = query();
    theirs.sign(&mut answer, NOW);
    assert_eq!(ours.check(&answer, NOW), Ok(Checked::Signed));
    assert_eq!(key().truncated(1).record_octets(), key().truncated(16).record_octets(), "half at least");
}

#[test]
fn unsigned_messages_are_vouched_for_by_the_next_signature() {
    let ring: Keyring = [key()].into_iter().collect();
    let part = |n: u16| MessageBuilder::query(n, &NameBuf::root(), RecordType::SOA).finish();
    let begin = || {
        let mut wire = query();
        let ours = Transaction::sign_query(&key(), &mut wire, NOW);
        (ours, Transaction::check_query(&ring, &wire, NOW).unwrap().unwrap())
    };
    // The first has to be signed.
    let (mut ours, _) = begin();
    assert_eq!(ours.check(&part(0), NOW), Err(TsigError::Unsigned));
    for (unsigned, lost) in [(1, false), (UNSIGNED_MAX, false), (3, true)] {
        let (mut ours, mut theirs) = begin();
        let mut first = part(0);
        theirs.sign(&mut first, NOW);
        assert_eq!(ours.check(&first, NOW), Ok(Checked::Signed));
        for n in 1..=unsigned {
            let plain = part(n as u16);
            theirs.digest.update(&plain);
            if !(lost && n == 2) {
                assert_eq!(ours.check(&plain, NOW), Ok(Checked::Unsigned));
                assert_eq!(ours.finish(), Err(TsigError::Unsigned));
            }
        }
        let mut last = part(500);
        theirs.sign(&mut last, NOW);
        let expected = if lost { Err(TsigError::Signature) } else { Ok(Checked::Signed) };
        assert_eq!(ours.check(&last, NOW), expected);
        assert_eq!(ours.finish().is_ok(), !lost);
    }
    let (mut ours, mut theirs) = begin();
    let mut first = part(0);
    theirs.sign(&mut first, NOW);
    let _ = ours.check(&first, NOW).unwrap();
    for _ in 0..UNSIGNED_MAX {
        let _ = ours.check(&part(1), NOW).unwrap();
    }
    assert_eq!(ours.check(&part(1), NOW), Err(TsigError::Unsigned), "a hundred without a signature");
}

#[test]
fn a_record_out_of_place_is_malformed() {
    let mut wire = query();
    let _ = Transaction::sign_query(&key(), &mut wire, NOW);
    // Twice the record.
    let record = wire[query().len()..].to_vec();
    let mut twice = wire.clone();
    twice.extend_from_slice(&record);
    twice[11] = 2;
    assert!(matches!(rejected(&twice, NOW).error, TsigError::Malformed(ParseError::Tsig { .. })));
    let mut longer = wire;
    longer.push(0);
    assert_eq!(rejected(&longer, NOW).rcode(), Rcode::FORMERR);
}
