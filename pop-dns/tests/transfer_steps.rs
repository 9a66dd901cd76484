//! Transfers as records: what they come to, whole and by steps, and what is none.
#![cfg(all(feature = "tokio", feature = "dnssec"))]

mod upstream;
mod zones;

use pop_dns::transfer::{Incoming, Progress, Received, TransferError};
use pop_dns::{Message, MessageBuilder, Rcode, RecordType, Section};
use proptest::prelude::*;
use upstream::Text;
use zones::{SOA_1, SOA_2, SOA_3, host, ns, origin, records, soa, zone};

/// What a transfer of these records comes to, all in one message or each in its own.
fn transfer(have: Option<u32>, records: &[Text<'_>]) -> Result<Progress, TransferError> {
    let query = MessageBuilder::query(1, &origin(), RecordType::IXFR).finish();
    let mut incoming = Incoming::new(&origin(), have);
    let whole = upstream::answer(&query, Rcode::NOERROR, records);
    let at_once = incoming.push(&Message::parse(&whole).unwrap());
    let mut incoming = Incoming::new(&origin(), have);
    let mut last = Ok(Progress::More);
    for record in records {
        let message = upstream::answer(&query, Rcode::NOERROR, &[*record]);
        last = incoming.push(&Message::parse(&message).unwrap());
        if last.is_err() {
            break;
        }
    }
    assert_eq!(
        std::mem::discriminant(at_once.as_ref().unwrap_or(&Progress::More)),
        std::mem::discriminant(last.as_ref().unwrap_or(&Progress::More)),
    );
    at_once
}

#[test]
fn steps_are_summed_up() {
    let ours = zone(1, [1, 2]);
    let steps = [
        soa(SOA_3),
        soa(SOA_1),
        host("host-1.example.org", "10.0.0.1"),
        soa(SOA_2),
        host("host-3.example.org", "10.0.0.3"),
        host("host-4.example.org", "10.0.0.4"),
        soa(SOA_2),
        host("host-4.example.org", "10.0.0.4"),
        soa(SOA_3),
        host("HOST-1.example.org", "10.0.0.1"),
        soa(SOA_3),
    ];
    let Ok(Progress::Done(Received::Changes(changes))) = transfer(Some(1), &steps) else {
        panic!("no changes")
    };
    assert_eq!(changes.serials(), (1, 3));
    assert_eq!(records(&changes.apply(&ours).unwrap()), records(&zone(3, [1, 2, 3])));
    // For another zone they do not fit: another serial, or a record that is not there.
    assert!(matches!(changes.apply(&zone(2, [1, 2])), Err(TransferError::Mismatch)));
    assert!(matches!(changes.apply(&zone(1, [2])), Err(TransferError::Mismatch)));
}

#[test]
fn the_other_forms_of_an_answer() {
    let whole = [soa(SOA_2), ns(), host("host-1.example.org", "10.0.0.1"), soa(SOA_2)];
    assert!(matches!(transfer(Some(1), &whole), Ok(Progress::Done(Received::Zone(_)))));
    assert!(matches!(transfer(None, &whole), Ok(Progress::Done(Received::Zone(_)))));
    assert!(matches!(transfer(Some(2), &[soa(SOA_2)]), Ok(Progress::Current)));
    assert!(matches!(transfer(Some(3), &[soa(SOA_2)]), Ok(Progress::Current)), "ours is newer");
    assert!(matches!(transfer(Some(1), &[soa(SOA_2)]), Ok(Progress::More)));
    // What belongs elsewhere is left out, and harms nothing.
    let stray = [soa(SOA_2), ns(), host("evil.example", "10.0.0.1"), soa(SOA_2)];
    let Ok(Progress::Done(Received::Zone(zone))) = transfer(None, &stray) else { panic!("no zone") };
    assert_eq!(zone.records(), 2);
}

#[test]
fn what_is_no_transfer() {
    for (what, records) in [
        ("no SOA first", vec![ns(), soa(SOA_2)]),
        ("nothing", vec![]),
        ("another SOA at the end", vec![soa(SOA_2), ns(), soa(SOA_3)]),
        ("no name server", vec![soa(SOA_2), soa(SOA_2)]),
        ("something behind the end", vec![soa(SOA_2), ns(), soa(SOA_2), ns()]),
        ("a step from nowhere", vec![soa(SOA_3), soa(SOA_1), soa(SOA_2), soa(SOA_1)]),
    ] {
        let query = MessageBuilder::query(1, &origin(), RecordType::IXFR).finish();
        let message = upstream::answer(&query, Rcode::NOERROR, &records);
        let pushed = Incoming::new(&origin(), Some(1)).push(&Message::parse(&message).unwrap());
        assert!(pushed.is_err(), "{what}: {pushed:?}");
    }
    let query = MessageBuilder::query(1, &origin(), RecordType::AXFR).finish();
    let refused = upstream::answer(&query, Rcode::REFUSED, &[]);
    let pushed = Incoming::new(&origin(), None).push(&Message::parse(&refused).unwrap());
    assert!(matches!(pushed, Err(TransferError::Code(Rcode::REFUSED))));
}

proptest! {
    /// Whatever two zones are, the changes between them, in one step or two, lead from one to the other.
    #[test]
    fn changes_lead_where_they_should(
        sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..40, 0..20), 2..4),
    ) {
        let owner: Vec<String> = (0..40).map(|host| format!("host-{host}.example.org")).collect();
        let data: Vec<String> = (0..40).map(|host| format!("10.0.0.{host}")).collect();
        let a = |host: u32| {
            (Section::Answer, owner[host as usize].as_str(), RecordType::A, 60, data[host as usize].as_str())
        };
        let soas: Vec<String> =
            (1..5).map(|serial| format!("ns.example.org host.example.org {serial} 3600 1 86400 300")).collect();
        let soa = |serial: usize| (Section::Answer, "example.org", RecordType::SOA, 300, soas[serial - 1].as_str());
        let last = sets.len();
        let mut steps = vec![soa(last)];
        for (serial, pair) in (1..).zip(sets.windows(2)) {
            steps.push(soa(serial));
            steps.extend(pair[0].difference(&pair[1]).map(|&host| a(host)));
            steps.push(soa(serial + 1));
            steps.extend(pair[1].difference(&pair[0]).map(|&host| a(host)));
        }
        steps.push(soa(last));
        let Ok(Progress::Done(Received::Changes(changes))) = transfer(Some(1), &steps) else {
            return Err(TestCaseError::fail("no changes"));
        };
        let changed = changes.apply(&zone(1, sets[0].iter().copied())).unwrap();
        let expected = zone(last as u32, sets[last - 1].iter().copied());
        prop_assert_eq!(records(&changed), records(&expected));
    }
}
