//! The authority against a slow and obvious twin: a list of records, searched from end to end.
#![cfg(feature = "std")]

mod proofs;

use std::collections::BTreeSet;

use pop_dns::zone::ZoneBuilder;
use pop_dns::{
    Authority, Message, MessageBuilder, Name, NameBuf, Outcome, RawRData, Rcode, Record, RecordType, Section,
    Timestamp, Transport,
};
use proofs::{Proofs, check_signatures};
use proptest::prelude::*;

const ALIASES_MAX: usize = 8;

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

/// A zone as a list.
struct Twin {
    origin: NameBuf,
    records: Vec<(NameBuf, RecordType, Vec<u8>)>,
}

/// What an answer amounts to: code, records of the answer section, and who stands in the authority section.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    rcode: Rcode,
    answers: BTreeSet<(NameBuf, RecordType, Vec<u8>)>,
    authority: Option<(RecordType, NameBuf)>,
}

impl Twin {
    fn set(&self, owner: &NameBuf, rtype: RecordType) -> Vec<Vec<u8>> {
        let of = self.records.iter().filter(|record| record.0 == *owner && record.1 == rtype);
        of.map(|record| record.2.clone()).collect()
    }

    fn exists(&self, wanted: &NameBuf) -> bool {
        self.records.iter().any(|record| record.0.is_within(wanted))
    }

    /// The names from below the apex down to `wanted`, the apex first.
    fn path(&self, wanted: &NameBuf) -> Vec<NameBuf> {
        let mut path = vec![wanted.clone()];
        while let Some(parent) = path.last().unwrap().parent().filter(|parent| parent.is_within(&self.origin))
        {
            path.push(parent);
        }
        path.reverse();
        path
    }

    fn resolve(&self, qname: &NameBuf, qtype: RecordType) -> Verdict {
        let mut verdict = Verdict { rcode: Rcode::NOERROR, answers: BTreeSet::new(), authority: None };
        let mut wanted = qname.clone();
        let soa = Some((RecordType::SOA, self.origin.clone()));
        'aliases: for followed in 0..ALIASES_MAX {
            if !wanted.is_within(&self.origin) {
                return verdict;
            }
            let path = self.path(&wanted);
            for above in &path {
                if *above != self.origin && !self.set(above, RecordType::NS).is_empty() {
                    if qtype == RecordType::DS && *above == wanted {
                        break;
                    }
                    if followed == 0 {
                        verdict.authority = Some((RecordType::NS, above.clone()));
                    }
                    return verdict;
                }
                if let Some(target) = self.set(above, RecordType::DNAME).first().filter(|_| *above != wanted)
                {
                    verdict.answers.insert((above.clone(), RecordType::DNAME, target.clone()));
                    let kept = wanted.as_wire().len() - above.as_wire().len();
                    let made = [&wanted.as_wire()[..kept], target].concat();
                    let Ok(made) = NameBuf::from_wire(&made) else {
                        verdict.rcode = Rcode::YXDOMAIN;
                        return verdict;
                    };
                    verdict.answers.insert((wanted, RecordType::CNAME, made.as_wire().to_vec()));
                    wanted = made;
                    continue 'aliases;
                }
            }
            let source = if self.exists(&wanted) {
                Some(wanted.clone())
            } else {
                let encloser = path.iter().rfind(|above| self.exists(above)).unwrap();
                encloser.child(b"*").ok().filter(|source| self.exists(source))
            };
            let Some(source) = source else {
                verdict.rcode = Rcode::NXDOMAIN;
                verdict.authority = soa;
                return verdict;
            };
            let found = self.set(&source, qtype);
            if !found.is_empty() {
                verdict.answers.extend(found.into_iter().map(|rdata| (wanted.clone(), qtype, rdata)));
                return verdict;
            }
            let Some(target) = self.set(&source, RecordType::CNAME).first().cloned() else {
                verdict.authority = soa;
                return verdict;
            };
            verdict.answers.insert((wanted, RecordType::CNAME, target.clone()));
            wanted = NameBuf::from_wire(&target).unwrap();
        }
        verdict
    }
}

fn plain(record: &Record<'_>) -> (NameBuf, RecordType, Vec<u8>) {
    let mut rdata = Vec::new();
    record.raw_rdata().write_uncompressed(&mut rdata).unwrap();
    (record.name.to_name_buf().unwrap().to_lower(), record.rtype, rdata)
}

fn ask(authority: &Authority, qname: &NameBuf, qtype: RecordType) -> Verdict {
    let query = MessageBuilder::query(1, qname, qtype).finish();
    let mut answer = Vec::new();
    let client = "192.0.2.1".parse().unwrap();
    let outcome = authority.respond(&query, client, Timestamp::ZERO, Transport::Tcp, &mut answer);
    let Outcome::Answered(rcode) = outcome else { panic!("silence") };
    let message = Message::parse(&answer).unwrap();
    message.check().unwrap();
    let answers = message.answers().unwrap().map(|record| plain(&record.unwrap())).collect();
    let authority = message.section(Section::Authority).unwrap().next().map(|record| record.unwrap());
    let authority = authority.map(|record| (record.rtype, record.name.to_name_buf().unwrap()));
    Verdict { rcode, answers, authority }
}

/// A name of up to four labels below the origin.
fn some_name() -> impl Strategy<Value = NameBuf> {
    let label = prop::sample::select(vec!["a", "b", "c", "*", "aa"]);
    prop::collection::vec(label, 0..4).prop_map(|labels| name(&[labels, vec!["z"]].concat().join(".")))
}

fn some_record() -> impl Strategy<Value = (NameBuf, RecordType, Vec<u8>)> {
    let targets = (some_name(), 0..7_u8, any::<u8>());
    (some_name(), targets).prop_map(|(owner, (target, kind, octet))| {
        let target = target.as_wire().to_vec();
        let (rtype, rdata) = match kind {
            0 => (RecordType::A, vec![10, 0, 0, octet]),
            1 => (RecordType::TXT, vec![1, octet]),
            2 => (RecordType::NS, target),
            3 => (RecordType::CNAME, target),
            4 => (RecordType::DNAME, target),
            5 => (RecordType::MX, [&[0, octet][..], &target].concat()),
            _ => (RecordType::AAAA, vec![octet; 16]),
        };
        (owner, rtype, rdata)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_authority_answers_as_its_twin(
        records in prop::collection::vec(some_record(), 0..30),
        questions in prop::collection::vec((some_name(), 0..8_usize), 1..40),
    ) {
        let origin = name("z");
        let mut twin = Twin { origin: origin.clone(), records: Vec::new() };
        let mut builder = ZoneBuilder::new(&origin);
        let soa = b"\x01s\x00\x01m\x00\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05".to_vec();
        let apex = [(origin.clone(), RecordType::SOA, soa), (origin.clone(), RecordType::NS, b"\x01s\x00".to_vec())];
        for (owner, rtype, rdata) in apex.into_iter().chain(records) {
            // What cannot stand beside something else is refused by the builder, and the twin does not get it.
            if builder.add(owner.as_name(), 300, RawRData::new(rtype, &rdata)).is_ok() {
                twin.records.push((owner, rtype, rdata));
            }
        }
        let authority = Authority::new([builder.finish().unwrap()]);
        let types = ["A", "TXT", "NS", "CNAME", "DNAME", "MX", "DS", "SOA"];
        for (qname, qtype) in questions {
            let qtype = RecordType::from_text(types[qtype]).unwrap();
            prop_assert_eq!(ask(&authority, &qname, qtype), twin.resolve(&qname, qtype), "{} {}", qname, qtype);
        }
    }
}

fn closest_encloser(twin: &Twin, wanted: &NameBuf) -> (NameBuf, NameBuf) {
    let path = twin.path(wanted);
    let index = path.iter().rposition(|above| twin.exists(above)).unwrap();
    (path[index].clone(), path[index + 1].clone())
}

fn check_proof(twin: &Twin, message: &Message<'_>, qname: &NameBuf, qtype: RecordType) {
    check_signatures(message);
    let proofs = Proofs::of(message);
    let verdict = twin.resolve(qname, qtype);
    let by_hash = !proofs.nsec3.is_empty();
    // Where aliases lead elsewhere the proof is about another name: those are checked by hand.
    if verdict.answers.iter().any(|answer| answer.1 == RecordType::CNAME || answer.1 == RecordType::DNAME) {
        return;
    }
    let wildcard = |encloser: &NameBuf| encloser.child(b"*").unwrap();
    let covered = |proofs: &Proofs| {
        let (encloser, next) = closest_encloser(twin, qname);
        if by_hash {
            assert!(
                proofs.types_at(&encloser).is_some(),
                "{qname}: no record for the closest encloser {encloser}"
            );
        }
        assert!(proofs.covers(if by_hash { &next } else { qname }), "{qname}: {next} is not covered");
        encloser
    };
    match &verdict.authority {
        Some((RecordType::NS, cut)) => {
            let secure = !twin.set(cut, RecordType::DS).is_empty();
            let types = proofs.types_at(cut);
            assert_eq!(types.is_some(), !secure, "{qname}");
            assert!(types.is_none_or(|types| !types.contains(&RecordType::DS)));
        }
        Some(_) if verdict.rcode == Rcode::NXDOMAIN => {
            let encloser = covered(&proofs);
            assert!(proofs.covers(&wildcard(&encloser)), "{qname}: the wildcard is not covered");
        }
        Some(_) if twin.exists(qname) => match proofs.types_at(qname) {
            Some(types) => assert!(!types.contains(&qtype) && !types.contains(&RecordType::CNAME), "{qname}"),
            None => assert!(!by_hash && proofs.empty(qname), "{qname}: nothing about the name"),
        },
        Some(_) => {
            let encloser = covered(&proofs);
            let types = proofs.types_at(&wildcard(&encloser)).expect("a record for the wildcard");
            assert!(!types.contains(&qtype));
        }
        None if !twin.exists(qname) => {
            let (_, next) = closest_encloser(twin, qname);
            assert!(proofs.covers(if by_hash { &next } else { qname }), "{qname}");
        }
        None => assert!(proofs.nsec.is_empty() && proofs.nsec3.is_empty()),
    }
}

fn check_zone(text: &[u8], denies: &[RecordType]) {
    let origin = name("signed.example");
    let zone = pop_dns::zone::Zone::parse(text, origin.clone()).unwrap();
    // The twin knows nothing of hashed owners, nor of what DNSSEC adds.
    let hidden = |record: &pop_dns::zone::ZoneRecord<'_>| {
        matches!(record.rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3)
    };
    let owned = |owner: Name<'_>| owner.to_name_buf().unwrap();
    let records = zone.iter().filter(|record| !hidden(record));
    let records = records.map(|record| (owned(record.owner), record.rtype, record.rdata.to_vec())).collect();
    let twin = Twin { origin, records };
    let authority = Authority::new([zone]);
    let heads = [
        "",
        "www.",
        "x.www.",
        "nobody.",
        "zzz.",
        "0.",
        "ent.",
        "b.ent.",
        "a.b.ent.",
        "x.b.ent.",
        "x.ent.",
        "wild.",
        "y.wild.",
        "y.y.wild.",
        "*.wild.",
        "alias.",
        "towild.",
        "secure.",
        "x.secure.",
        "insecure.",
        "x.insecure.",
        "ns.insecure.",
        "old.",
        "x.old.",
        "y.old.",
        "mail.",
        "dj8n0rogu9k1ovn11msilfq3k8esi7j7.",
    ];
    let mut denied = BTreeSet::new();
    for head in heads {
        for qtype in ["A", "AAAA", "TXT", "MX", "NS", "DS", "CNAME", "SOA", "NSEC", "ANY", "DNSKEY", "RRSIG"]
        {
            let (qname, qtype) =
                (name(&format!("{head}signed.example")), RecordType::from_text(qtype).unwrap());
            let mut builder = MessageBuilder::query(1, &qname, qtype);
            let edns = pop_dns::EdnsParts { udp_payload: 1232, dnssec_ok: true, ..Default::default() };
            builder.edns(&edns, Rcode::NOERROR).unwrap();
            let mut answer = Vec::new();
            let client = "192.0.2.1".parse().unwrap();
            let _ =
                authority.respond(&builder.finish(), client, Timestamp::ZERO, Transport::Tcp, &mut answer);
            let message = Message::parse(&answer).unwrap();
            message.check().unwrap();
            denied.extend(message.section(Section::Authority).unwrap().map(|record| record.unwrap().rtype));
            if !matches!(qtype.mnemonic(), Some("NSEC" | "ANY" | "RRSIG")) {
                assert_eq!(
                    message.header().flags.rcode(),
                    twin.resolve(&qname, qtype).rcode,
                    "{qname} {qtype}"
                );
                check_proof(&twin, &message, &qname, qtype);
            }
        }
    }
    assert!(denies.iter().all(|rtype| denied.contains(rtype)), "{denied:?}");
}

#[test]
fn absence_is_proved_by_names() {
    check_zone(include_bytes!("data/signed-nsec.zone"), &[RecordType::NSEC, RecordType::DS]);
}

#[test]
fn absence_is_proved_by_hashes() {
    check_zone(include_bytes!("data/signed-nsec3.zone"), &[RecordType::NSEC3, RecordType::DS]);
}
