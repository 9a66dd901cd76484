//! The way of an upstream's answer through the forwarder, for the fuzzer.

use super::entry::Age;
use super::reply::Extras;
use super::sift::{Rules, sift};
use crate::{
    ClientSubnet, EdnsParts, Flags, Message, MessageBuilder, NameBuf, Query, Rcode, RecordType, Timestamp,
    Transport,
};

/// Sifts `octets` as the answer to a fixed question and answers queries with what is left. Whatever the octets are, what
/// we send is whole, within its limit, about the question, and lives no longer than the rules say.
///
/// # Panics
/// If it is not.
pub fn fuzz_answer(octets: &[u8]) {
    let name: NameBuf = "www.example.org".parse().expect("a name");
    let rules = Rules { ttl_min: 1, ttl_max: 86_400, negative_ttl_max: 3600, flags: Flags::AD };
    let subnet = ClientSubnet::new([198, 51, 100, 0].into(), 24);
    crate::client::fuzz_answer(octets);
    // What the client does not take for an answer never comes here.
    if Message::parse(octets).and_then(|message| message.check()).is_err() {
        return;
    }
    for (qtype, subnet) in [(RecordType::A, None), (RecordType::CNAME, Some(subnet))] {
        let Ok(entry) = sift(octets, &name, qtype, subnet, &rules, Timestamp::ZERO) else { continue };
        assert!(entry.lifetime <= rules.ttl_max && entry.scope <= 24);
        let mut builder = MessageBuilder::query(7, &"WWW.example.ORG".parse().expect("a name"), qtype);
        let plain = builder.finish();
        let mut builder = MessageBuilder::query(7, &"www.EXAMPLE.org".parse().expect("a name"), qtype);
        let edns = EdnsParts { udp_payload: 1232, client_subnet: subnet, ..EdnsParts::default() };
        builder.edns(&edns, Rcode::NOERROR).expect("there is room");
        for query in [plain, builder.finish()] {
            let query = Query::parse(&query).expect("a query");
            for transport in [Transport::Udp, Transport::Tcp] {
                let mut answer = Vec::new();
                let extras = Extras { subnet, error: Some(3) };
                let now = Timestamp::from_nanos(1_000_000_000);
                let _ = entry.answer(&query, now, Age::Stale, &extras, transport, &mut answer);
                let limit = super::reply::limit(&query, transport);
                let message = Message::parse(&answer).expect("a message");
                message.check().expect("whole");
                assert!(answer.len() <= limit);
                let question = message.questions().next().expect("a question").expect("whole");
                assert_eq!(question.name.as_wire(), query.name.as_wire());
                let first = message.answers().expect("answers").next();
                if let Some(first) = first {
                    let first = first.expect("whole");
                    assert!(
                        first.name == name.as_name()
                            || first.rtype == RecordType::DNAME
                            || first.rtype == RecordType::RRSIG
                    );
                }
            }
        }
    }
}
