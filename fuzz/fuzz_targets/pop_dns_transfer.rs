//! Transfers: messages, a length before each, that make a zone, changes, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::transfer::{Incoming, Progress, Received};
use pop_dns::zone::Zone;
use pop_dns::{Frame, Message, first_frame};

fuzz_target!(|stream: &[u8]| {
    let origin = "example.org".parse().expect("a name");
    let Some((&choice, mut stream)) = stream.split_first() else { return };
    let have = (choice & 1 == 1).then_some(1);
    let mut incoming = Incoming::new(&origin, have);
    while let Frame::Complete { message, consumed } = first_frame(stream) {
        stream = &stream[consumed..];
        let Ok(message) = Message::parse(message) else { return };
        match incoming.push(&message) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(Received::Changes(changes))) => {
                let text = b"@ 300 SOA ns host 1 3600 600 86400 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n";
                let zone = Zone::parse(text, origin).expect("a zone");
                if let Ok(changed) = changes.apply(&zone) {
                    assert_eq!(changed.serial(), changes.serials().1);
                }
                return;
            }
            Ok(Progress::Done(Received::Zone(zone))) => {
                assert_eq!(zone.origin(), &origin);
                assert!(zone.iter().all(|record| record.owner.to_name_buf().is_ok_and(|owner| owner.is_within(&origin))));
                return;
            }
            Ok(Progress::Current) | Err(_) => return,
        }
    }
});
