//! Names in presentation format: what is read is written and read again the same, and keeps the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX, NameBuf};

fuzz_target!(|text: &[u8]| {
    let origin: NameBuf = "example.org".parse().expect("a name");
    let Ok(name) = NameBuf::parse(text, Some(&origin)) else { return };
    assert!(name.as_wire().len() <= NAME_OCTETS_MAX);
    assert!(name.labels().all(|label| (1..=LABEL_OCTETS_MAX).contains(&label.len())));
    let again = NameBuf::parse(name.to_string().as_bytes(), None).expect("what was shown can be read");
    assert_eq!(again.as_wire(), name.as_wire());
    assert_eq!(NameBuf::from_wire(name.as_wire()).expect("wire format").as_wire(), name.as_wire());
    assert_eq!(name.to_lower(), name);
});
