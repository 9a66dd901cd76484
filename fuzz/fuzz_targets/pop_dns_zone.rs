//! Master files: no panic, and a zone that loads is written as text and loads again with the same records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::zone::Zone;
use pop_dns::{NameBuf, RawRData};

fuzz_target!(|text: &[u8]| {
    let origin: NameBuf = "example.org".parse().expect("a name");
    let Ok(zone) = Zone::parse(text, origin.clone()) else { return };
    let mut again = String::new();
    for record in zone.iter() {
        let rdata = RawRData::new(record.rtype, record.rdata);
        again.push_str(&format!("{} {} IN {} {rdata}\n", record.owner, record.ttl, record.rtype));
    }
    let again = Zone::parse(again.as_bytes(), origin).unwrap_or_else(|error| panic!("{error}\n{again}"));
    let lines = |zone: &Zone| {
        let mut lines: Vec<_> =
            zone.iter().map(|record| (record.owner.to_string(), record.rtype, record.ttl, record.rdata.to_vec())).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&zone), lines(&again));
});
