//! Messages: whatever can be walked can be written again and reads the same; the walk does work linear in the octets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::{Message, MessageBuilder, Section};

/// Labels of all names of a message, pointers followed: each entry takes octets of its own, and no name more than 127.
const LABELS_AN_OCTET: usize = 64;

fuzz_target!(|octets: &[u8]| {
    let Ok(message) = Message::parse(octets) else { return };
    let mut labels = 0;
    let mut whole = true;
    for question in message.questions() {
        let Ok(question) = question else { return };
        labels += question.name.labels().count();
    }
    let Ok(records) = message.records() else { return };
    for record in records {
        let Ok(record) = record else { return };
        labels += record.name.labels().count();
        labels += record.raw_rdata().names().flatten().map(|name| name.labels().count()).sum::<usize>();
        whole &= record.rdata().is_ok();
    }
    assert!(labels <= LABELS_AN_OCTET * octets.len(), "{labels} labels in {} octets", octets.len());
    assert_eq!(message.check().is_ok(), whole && message.check().is_ok());
    if message.check().is_err() {
        return;
    }
    // Written anew: the same records, in no more octets than without compression.
    let mut builder = MessageBuilder::new(65_535);
    builder.set_header(message.header().id, message.header().flags);
    for question in message.questions() {
        let question = question.expect("checked");
        let name = question.name.to_name_buf().expect("checked");
        if builder.question(name.as_wire(), question.qtype, question.qclass).is_err() {
            return;
        }
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        for record in message.section(section).expect("checked") {
            let record = record.expect("checked");
            if builder.records(section, record.name, record.class, record.ttl, [record.raw_rdata()]).is_err() {
                return;
            }
        }
    }
    let again = builder.finish();
    let again = Message::parse(&again).expect("a header was written");
    again.check().expect("what was written can be read");
    assert_eq!(again.header().counts, message.header().counts);
    for (one, two) in message.records().expect("checked").zip(again.records().expect("checked")) {
        let (one, two) = (one.expect("checked"), two.expect("checked"));
        assert!(one.name == two.name && one.rtype == two.rtype && one.ttl == two.ttl && one.class == two.class);
        let plain = |record: &pop_dns::Record<'_>| {
            let mut wire = Vec::new();
            record.raw_rdata().write_uncompressed(&mut wire).map(|()| wire)
        };
        assert_eq!(plain(&one), plain(&two));
    }
});
