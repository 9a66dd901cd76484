//! The builder beside its slow twin: a compressor that remembers every suffix in a list.
#![cfg(feature = "alloc")]

use pop_dns::{BuildError, Class, Flags, Message, MessageBuilder, NameBuf, RecordType, Section, SliceBuffer};
use proptest::prelude::*;

/// The twin: the octets of each message part are the question's or a record's owner, fixed part and target.
#[derive(Clone, Default)]
struct Twin {
    suffixes: Vec<(Vec<u8>, usize)>,
    octets: Vec<u8>,
}

impl Twin {
    fn write_name(&mut self, name: &NameBuf) {
        let wire = name.as_wire();
        let mut at = 0;
        while wire[at] > 0 {
            let suffix = wire[at..].to_ascii_lowercase();
            if let Some((_, offset)) = self.suffixes.iter().find(|(known, _)| *known == suffix) {
                self.octets.extend((0xC000 | *offset as u16).to_be_bytes());
                return;
            }
            if self.octets.len() <= 0x3FFF {
                self.suffixes.push((suffix, self.octets.len()));
            }
            let end = at + 1 + usize::from(wire[at]);
            self.octets.extend(&wire[at..end]);
            at = end;
        }
        self.octets.push(0);
    }

    fn write_record(&mut self, owner: &NameBuf, target: &NameBuf) {
        self.write_name(owner);
        self.octets.extend([0, 2, 0, 1, 0, 0, 0, 60]);
        let length = self.octets.len();
        self.octets.extend([0, 0]);
        self.write_name(target);
        let octets = (self.octets.len() - length - 2) as u16;
        self.octets[length..length + 2].copy_from_slice(&octets.to_be_bytes());
    }
}

/// Names of few labels that often share suffixes, also in another case, and labels that differ behind their first octets.
fn some_name() -> impl Strategy<Value = NameBuf> {
    let label = prop_oneof![
        3 => "[abAB]",
        2 => prop::sample::select(vec!["example", "Example", "org", "seven77", "eight888", "nine99999"]).prop_map(String::from),
        2 => "long-label-that-differs-[a-c]-late",
        1 => "[a-c]{63}",
        1 => "odd\\\\00[0-9][@`]",
    ];
    prop::collection::vec(label, 0..5).prop_map(|labels| {
        let text = labels.join(".") + ".";
        text.parse().unwrap_or_else(|_| NameBuf::root())
    })
}

fn check(question: &NameBuf, records: &[(NameBuf, NameBuf)], limit: usize) -> Result<(), TestCaseError> {
    let mut builder = MessageBuilder::new(limit);
    builder.set_header(1, Flags(Flags::QR));
    let mut twin = Twin { octets: vec![0; 12], ..Twin::default() };
    builder.question(question.as_wire(), RecordType::NS, Class::IN).unwrap();
    twin.write_name(question);
    twin.octets.extend([0, 2, 0, 1]);
    let mut kept = Vec::new();
    for (owner, target) in records {
        let mut larger = twin.clone();
        larger.write_record(owner, target);
        let written = builder.rrset(Section::Answer, owner.as_wire(), RecordType::NS, 60, [target.as_wire()]);
        if larger.octets.len() <= limit {
            prop_assert_eq!(written, Ok(()));
            twin = larger;
            kept.push((owner, target));
        } else {
            prop_assert_eq!(written, Err(BuildError::Full { limit }));
        }
        prop_assert_eq!(builder.len(), twin.octets.len());
    }
    let wire = builder.finish();
    prop_assert_eq!(&wire[12..], &twin.octets[12..]);
    let message = Message::parse(&wire).unwrap();
    message.check().unwrap();
    for (record, (owner, target)) in message.answers().unwrap().zip(kept) {
        let record = record.unwrap();
        prop_assert!(record.name == owner.as_name());
        let pop_dns::RData::Ns(found) = record.rdata().unwrap() else { panic!("NS") };
        prop_assert!(found == target.as_name());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn octet_for_octet_what_a_full_compressor_writes(
        question in some_name(),
        records in prop::collection::vec((some_name(), some_name()), 0..60),
        limit in prop_oneof![Just(65_535_usize), 512_usize..3000],
    ) {
        check(&question, &records, limit)?;
    }
}

/// Far more names than the first table holds, and than a pointer reaches.
#[test]
fn thousands_of_names_are_compressed_in_full() {
    let records: Vec<(NameBuf, NameBuf)> = (0..2200)
        .map(|index| {
            let (zone, host) = (index % 7, index / 3);
            let name = |text: String| text.parse().unwrap();
            (name(format!("z{zone}.example")), name(format!("host-with-a-long-name-{host}.Z{zone}.EXAMPLE")))
        })
        .collect();
    check(&"example".parse().unwrap(), &records, 65_535).unwrap();
}

/// What cannot be written leaves no trace: what comes after is compressed as if it had never been tried.
#[test]
fn a_record_that_does_not_fit_leaves_nothing_to_point_to() {
    let mut octets = [0; 70];
    let mut builder = MessageBuilder::over(SliceBuffer::new(&mut octets), 70);
    builder.question(b"\x01a\x07example\x00", RecordType::NS, Class::IN).unwrap();
    let long = b"\x3fxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x01b\x07example\x00";
    let refused = builder.rrset(Section::Answer, b"\x01a\x07example\x00", RecordType::NS, 1, [&long[..]]);
    assert_eq!(refused, Err(BuildError::Full { limit: 70 }));
    builder
        .rrset(Section::Answer, b"\x01b\x07example\x00", RecordType::NS, 1, [&b"\x01b\x07example\x00"[..]])
        .unwrap();
    let wire = builder.into_buffer().into_written();
    // b.example: a label and a pointer to example at 14; the target is all of it, at 27.
    assert_eq!(wire[27..31], [1, b'b', 0xC0, 14]);
    assert_eq!(wire[41..], [0xC0, 27]);
}

/// A name with octets behind its end, or with a pointer, is none.
#[test]
fn names_that_are_none_are_refused() {
    let mut builder = MessageBuilder::new(512);
    for bad in [&b"\x01a\x00\x00"[..], b"\x01a\xc0\x0c", b"\x01", b"\x40a\x00", b"", &[1; 255]] {
        assert!(builder.question(bad, RecordType::A, Class::IN).is_err(), "{bad:02x?}");
        let record = builder.rrset(Section::Answer, bad, RecordType::A, 1, [&[192, 0, 2, 1][..]]);
        assert!(record.is_err(), "{bad:02x?}");
        assert!(builder.is_empty());
    }
    builder.question(b"\x01a\x00", RecordType::A, Class::IN).unwrap();
    let bad = builder.rrset(Section::Answer, b"\x01a\x00\x00", RecordType::A, 1, [&[192, 0, 2, 1][..]]);
    assert!(bad.is_err(), "though the name before it was written last");
}
