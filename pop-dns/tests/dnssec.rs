//! Signatures: those of others are right, ours are too, and nobody makes us check for ever.
#![cfg(feature = "dnssec")]

use std::net::IpAddr;

use pop_dns::dnssec::{
    Budget, DsDigest, EntryPoint, Set, Signed, SigningKey, VerifyError, ZonemdError, ds_matches, key_tag,
    sign_set, verify_set, verify_zone,
};
use pop_dns::zone::Zone;
use pop_dns::{
    Authority, DynamicAnswer, EdnsParts, Message, MessageBuilder, NameBuf, RData, Rcode, RecordType, Section,
    Timestamp, Token, Transport, parse_rdata,
};

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

fn rdata(rtype: &str, text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let tokens = text.split_whitespace().map(|word| Token { octets: word.as_bytes(), quoted: false });
    parse_rdata(RecordType::from_text(rtype).unwrap(), tokens, &NameBuf::root(), &mut wire).unwrap();
    wire
}

/// 2026-06-01, within the signatures of the zones under `data`.
const NOW: u32 = 1_780_272_000;

/// Every set that ldns-signzone signed.
#[test]
fn signatures_of_another_signer_are_right() {
    for text in [&include_bytes!("data/signed-nsec.zone")[..], include_bytes!("data/signed-nsec3.zone")] {
        let origin = name("signed.example");
        let zone = Zone::parse(text, origin.clone()).unwrap();
        let records: Vec<_> = zone.iter().collect();
        let keys: Vec<&[u8]> =
            records.iter().filter(|r| r.rtype == RecordType::DNSKEY).map(|record| record.rdata).collect();
        let mut checked = 0;
        for signature in records.iter().filter(|record| record.rtype == RecordType::RRSIG) {
            let Ok(RData::Rrsig(rrsig)) = RData::parse(RecordType::RRSIG, signature.rdata, 0) else {
                panic!()
            };
            let of_set = |r: &&pop_dns::zone::ZoneRecord<'_>| {
                r.owner == signature.owner && r.rtype == rrsig.type_covered
            };
            let set: Vec<&[u8]> = records.iter().filter(of_set).map(|record| record.rdata).collect();
            let set = Set { owner: signature.owner, rtype: rrsig.type_covered, rdata: &set };
            let verify = |signature: &[u8], now, budget: &mut Budget| {
                verify_set(&set, &[signature], origin.as_name(), &keys, now, budget)
            };
            assert_eq!(
                verify(signature.rdata, NOW, &mut Budget::default()),
                Ok(()),
                "{} {}",
                set.owner,
                set.rtype
            );
            let mut broken = signature.rdata.to_vec();
            *broken.last_mut().unwrap() ^= 1;
            assert_eq!(verify(&broken, NOW, &mut Budget::default()), Err(VerifyError::Bogus));
            assert_eq!(
                verify(signature.rdata, NOW - 86_400 * 365, &mut Budget::default()),
                Err(VerifyError::Time)
            );
            checked += 1;
        }
        assert!(checked > 20);
    }
}

/// RFC 8080 §6.1.
#[test]
fn the_ed25519_example_of_the_rfc() {
    let owner = name("example.com");
    let key = rdata("DNSKEY", "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=");
    assert_eq!(key_tag(&key), 3613);
    let ds = rdata("DS", "3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b");
    let Ok(RData::Ds(ds)) = RData::parse(RecordType::DS, &ds, 0) else { panic!() };
    assert!(ds_matches(&ds, owner.as_name(), &key));
    assert!(!ds_matches(&ds, name("example.net").as_name(), &key));
    assert_eq!(DsDigest::Sha256.of(owner.as_name(), &key).unwrap(), ds.digest);
    let signature = rdata(
        "RRSIG",
        "MX 15 2 3600 1440021600 1438207200 3613 example.com. \
         oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    );
    let mx = rdata("MX", "10 mail.example.com.");
    let set = Set { owner: owner.as_name(), rtype: RecordType::MX, rdata: &[&mx] };
    let verified =
        verify_set(&set, &[&signature], owner.as_name(), &[&key], 1_439_000_000, &mut Budget::default());
    assert_eq!(verified, Ok(()));
}

fn keys() -> Vec<SigningKey> {
    let random = ring::rand::SystemRandom::new();
    let ecdsa = ring::signature::EcdsaKeyPair::generate_pkcs8(
        &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &random,
    );
    let ed25519 = ring::signature::Ed25519KeyPair::generate_pkcs8(&random);
    [ecdsa.unwrap(), ed25519.unwrap()]
        .iter()
        .map(|der| SigningKey::from_pkcs8(der.as_ref(), EntryPoint::No).unwrap())
        .collect()
}

#[test]
fn what_we_sign_verifies_and_order_and_case_do_not_matter() {
    for key in keys() {
        let (zone, owner) = (name("example.org"), name("*.Sub.example.org"));
        let (one, two) = (rdata("NS", "NS1.example.net."), rdata("NS", "ns2.example.net."));
        let times = Signed { original_ttl: 300, inception: NOW - 10, expiration: NOW + 10 };
        let set = Set { owner: owner.as_name(), rtype: RecordType::NS, rdata: &[&one, &two] };
        let signature = sign_set(&key, zone.as_name(), &set, times).unwrap();
        // A name that the wildcard makes, the records in another order and another case.
        let made = name("x.y.sub.EXAMPLE.org");
        let lower = rdata("NS", "ns1.example.net.");
        let seen = Set { owner: made.as_name(), rtype: RecordType::NS, rdata: &[&two, &lower] };
        let keys = [key.dnskey()];
        let verify = |set: &Set<'_>, now| {
            verify_set(set, &[&signature], zone.as_name(), &keys, now, &mut Budget::default())
        };
        assert_eq!(verify(&seen, NOW), Ok(()));
        assert_eq!(verify(&seen, NOW + 11), Err(VerifyError::Time));
        let fewer = Set { rdata: &[&two], ..seen };
        assert_eq!(verify(&fewer, NOW), Err(VerifyError::Bogus));
        let above = name("org");
        assert_eq!(verify(&Set { owner: above.as_name(), ..seen }, NOW), Err(VerifyError::NoKey));
        assert!(matches!(
            SigningKey::from_pkcs8(b"nonsense", EntryPoint::No),
            Err(pop_dns::dnssec::KeyError::Pkcs8)
        ));
    }
}

/// KeyTrap (CVE-2023-50387): many signatures, and many keys with one tag.
#[test]
fn checks_are_bounded() {
    let key = &keys()[0];
    let zone = name("example.org");
    let address = [192, 0, 2, 1];
    let set = Set { owner: zone.as_name(), rtype: RecordType::A, rdata: &[&address] };
    let times = Signed { original_ttl: 300, inception: NOW - 10, expiration: NOW + 10 };
    let good = sign_set(key, zone.as_name(), &set, times).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let mut signatures: Vec<&[u8]> = vec![&bad; 16];
    signatures.push(&good);
    let verify = |signatures: &[&[u8]], keys: &[&[u8]]| {
        verify_set(&set, signatures, zone.as_name(), keys, NOW, &mut Budget::default())
    };
    assert_eq!(verify(&signatures, &[key.dnskey()]), Err(VerifyError::Budget));
    assert_eq!(verify(&signatures[1..], &[key.dnskey()]), Ok(()), "the sixteenth is still checked");
    let keys = vec![key.dnskey(); 9];
    assert_eq!(verify(&[&good], &keys), Err(VerifyError::Collisions));
    assert_eq!(verify(&[&good], &keys[1..]), Ok(()));
    // The budget is the message's, not the set's.
    let mut budget = Budget::default();
    let bad_only = [&bad[..]; 8];
    for _ in 0..2 {
        let verified = verify_set(&set, &bad_only, zone.as_name(), &[key.dnskey()], NOW, &mut budget);
        assert_eq!(verified, Err(VerifyError::Bogus));
    }
    let verified = verify_set(&set, &[&good], zone.as_name(), &[key.dnskey()], NOW, &mut budget);
    assert_eq!(verified, Err(VerifyError::Budget));
}

/// RFC 8976 appendix A.1.
#[test]
fn the_zone_digest_of_the_rfc() {
    let text = "example. 86400 IN SOA ns1.example. admin.example. 2018031900 1800 900 604800 86400
example. 86400 IN NS ns1.example.
example. 86400 IN NS ns2.example.
example. 86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1.example. 3600 IN A 203.0.113.63
ns2.example. 3600 IN AAAA 2001:db8::63
";
    let zone = |text: &str| Zone::parse(text.as_bytes(), name("example")).unwrap();
    assert_eq!(verify_zone(&zone(text)), Ok(()));
    assert_eq!(verify_zone(&zone(&text.replace("203.0.113.63", "203.0.113.64"))), Err(ZonemdError::Mismatch));
    assert_eq!(verify_zone(&zone(&text.replace("NS ns2", "NS ns3"))), Err(ZonemdError::Mismatch));
    let without: String =
        text.lines().filter(|line| !line.contains("ZONEMD")).map(|line| format!("{line}\n")).collect();
    assert_eq!(verify_zone(&zone(&without)), Err(ZonemdError::None));
    assert_eq!(verify_zone(&zone(&text.replace("1 1 c6", "2 1 c6"))), Err(ZonemdError::Unsupported));
}

/// What a hook chooses is signed when it is asked for; what it does not choose is denied by a record made for it.
#[test]
fn dynamic_answers_are_signed() {
    let origin = name("signed.example");
    let key = keys().remove(1);
    let dnskey = key.dnskey().to_vec();
    let zone = Zone::parse(include_bytes!("data/signed-nsec.zone"), origin.clone()).unwrap();
    let authority = Authority::new([zone])
        .dynamic(&name("www.signed.example"), |_| {
            DynamicAnswer::addresses([IpAddr::from([192, 0, 2, 7])], 30, 24)
        })
        .sign_dynamic(&origin, key);
    for (qtype, section, rtype) in [
        (RecordType::A, Section::Answer, RecordType::A),
        (RecordType::AAAA, Section::Authority, RecordType::NSEC),
    ] {
        for _ in 0..2 {
            let mut builder = MessageBuilder::query(1, &name("WWW.signed.example"), qtype);
            let edns = EdnsParts { udp_payload: 1232, dnssec_ok: true, ..EdnsParts::default() };
            builder.edns(&edns, Rcode::NOERROR).unwrap();
            let mut answer = Vec::new();
            let now = Timestamp::from_nanos(u64::from(NOW) * 1_000_000_000);
            let client = "203.0.113.1".parse().unwrap();
            let _ = authority.respond(&builder.finish(), client, now, Transport::Udp, &mut answer);
            let message = Message::parse(&answer).unwrap();
            message.check().unwrap();
            let records: Vec<_> = message.section(section).unwrap().map(Result::unwrap).collect();
            let www = name("www.signed.example");
            let plain = |wanted: RecordType| -> Vec<Vec<u8>> {
                let of =
                    records.iter().filter(|record| record.rtype == wanted && record.name == www.as_name());
                of.map(|record| {
                    let mut wire = Vec::new();
                    record.raw_rdata().write_uncompressed(&mut wire).unwrap();
                    wire
                })
                .collect()
            };
            let (set, signatures) = (plain(rtype), plain(RecordType::RRSIG));
            let slices = |all: &[Vec<u8>]| -> Vec<Vec<u8>> { all.to_vec() };
            let (set, signatures) = (slices(&set), slices(&signatures));
            let set: Vec<&[u8]> = set.iter().map(|rdata| &rdata[..]).collect();
            let signatures: Vec<&[u8]> = signatures.iter().map(|rdata| &rdata[..]).collect();
            assert_eq!(set.len(), 1);
            let set = Set { owner: www.as_name(), rtype, rdata: &set };
            let mut budget = Budget::default();
            assert_eq!(verify_set(&set, &signatures, origin.as_name(), &[&dnskey], NOW, &mut budget), Ok(()));
            if let Ok(RData::Nsec(nsec)) = RData::parse(RecordType::NSEC, set.rdata[0], 0) {
                assert!(nsec.types.contains(RecordType::A) && !nsec.types.contains(RecordType::AAAA));
            }
        }
    }
}
