//! The forwarder, asked as a subscriber asks, with upstreams that do as they are told.
#![cfg(feature = "tokio")]

mod upstream;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pop_dns::forward::{Action, Forwarder, ForwarderBuilder, ForwarderError, Lists, Reach, Strangers};
use pop_dns::server::{Handled, Handler};
use pop_dns::{
    ClientSubnet, EdnsOption, EdnsParts, Flags, Message, MessageBuilder, Outcome, Query, Rcode, RecordType,
    Section, Timestamp, Transport,
};
use upstream::{Upstream, address, answer, answer_with, now};

const SUBSCRIBER: &str = "192.0.2.7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn builder(upstream: &Upstream) -> ForwarderBuilder {
    Forwarder::builder().upstream(upstream.address).allow((ip("192.0.2.0"), 24))
}

/// A query with EDNS, and perhaps for a block.
fn query(name: &str, qtype: RecordType, subnet: Option<(&str, u8)>) -> Vec<u8> {
    let mut builder = MessageBuilder::query(77, &name.parse().unwrap(), qtype);
    let client_subnet = subnet.map(|(address, length)| ClientSubnet::new(ip(address), length));
    let edns = EdnsParts { udp_payload: 1232, client_subnet, ..EdnsParts::default() };
    builder.edns(&edns, Rcode::NOERROR).unwrap();
    builder.finish()
}

async fn ask_as(forwarder: &Forwarder, client: &str, query: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    match forwarder.handle(query, ip(client), Timestamp::ZERO, Transport::Udp, &mut answer) {
        Handled::Done(Outcome::Silent) => None,
        Handled::Done(Outcome::Answered(_)) => Some(answer),
        Handled::Later(later) => later.await,
        Handled::Many(_) => unreachable!("a forwarder transfers nothing"),
    }
}

/// What an answer says: its code, its records, its extended error.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    rcode: Rcode,
    records: Vec<(String, u32)>,
    error: Option<u16>,
}

impl Said {
    fn new(octets: &[u8]) -> Self {
        let message = Message::parse(octets).unwrap();
        message.check().unwrap();
        assert_eq!(message.header().id, 77);
        assert!(message.header().flags.has(Flags::QR | Flags::RA));
        let records = message.answers().unwrap().map(|record| {
            let record = record.unwrap();
            (record.rdata().unwrap().to_string(), record.ttl)
        });
        let edns = message.edns().unwrap();
        let error = edns.and_then(|edns| {
            edns.typed_options().find_map(|option| match option {
                Ok(EdnsOption::ExtendedError { code, .. }) => Some(code),
                _ => None,
            })
        });
        Self { rcode: message.header().flags.rcode(), records: records.collect(), error }
    }

    fn data(&self) -> Vec<&str> {
        self.records.iter().map(|(data, _)| data.as_str()).collect()
    }
}

async fn ask(forwarder: &Forwarder, name: &str) -> Said {
    Said::new(&ask_as(forwarder, SUBSCRIBER, &query(name, RecordType::A, None)).await.unwrap())
}

async fn later(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

const SOA: (Section, &str, RecordType, u32, &str) =
    (Section::Authority, "example.org", RecordType::SOA, 600, "ns host 1 3600 600 86400 300");

#[tokio::test]
async fn it_does_not_start_without_upstreams_or_subscribers() {
    let upstream: std::net::SocketAddr = "127.0.0.1:53".parse().unwrap();
    let error = Forwarder::builder().upstream(upstream).build().unwrap_err();
    assert_eq!(error, ForwarderError::NobodyAllowed);
    let error = Forwarder::builder().allow((ip("192.0.2.0"), 24)).build().unwrap_err();
    assert_eq!(error, ForwarderError::NoUpstream);
    let many = (0..65).fold(Forwarder::builder(), |builder, _| builder.upstream(upstream));
    assert_eq!(many.build().unwrap_err(), ForwarderError::TooManyUpstreams { count: 65 });
}

#[test]
fn it_says_that_it_needs_a_runtime() {
    let upstream: std::net::SocketAddr = "127.0.0.1:53".parse().unwrap();
    let built = Forwarder::builder().upstream(upstream).allow((ip("192.0.2.0"), 24)).build();
    assert_eq!(built.unwrap_err(), ForwarderError::NoRuntime);
}

#[tokio::test]
async fn strangers_are_refused_or_not_heard() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let query = query("www.example.org", RecordType::A, None);
    let forwarder = builder(&upstream).build().unwrap();
    let told = Said::new(&ask_as(&forwarder, "192.0.3.7", &query).await.unwrap());
    assert_eq!((told.rcode, told.error), (Rcode::REFUSED, Some(18)));
    let forwarder = builder(&upstream).strangers(Strangers::Drop).build().unwrap();
    assert_eq!(ask_as(&forwarder, "192.0.3.7", &query).await, None);
    assert_eq!(ask_as(&forwarder, "192.0.3.7", &query[..5]).await, None);
    assert_eq!((upstream.queries(), forwarder.stats().strangers), (0, 2));
}

#[tokio::test]
async fn answers_are_cached_and_age() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let forwarder = builder(&upstream).build().unwrap();
    for (spelled, after, ttl, queries) in [
        ("www.example.org", 0, 60, 1),
        ("WWW.example.ORG", 10, 50, 1),
        ("www.example.org", 49, 1, 1),
        ("www.example.org", 1, 60, 2),
    ] {
        later(Duration::from_secs(after)).await;
        let octets = ask_as(&forwarder, SUBSCRIBER, &query(spelled, RecordType::A, None)).await.unwrap();
        assert_eq!(Said::new(&octets).records, [("192.0.2.1".to_owned(), ttl)], "{spelled} after {after}");
        let question = Message::parse(&octets).unwrap().questions().next().unwrap().unwrap();
        assert_eq!(question.name.to_string(), format!("{spelled}."), "the spelling comes back");
        assert_eq!(upstream.queries(), queries);
    }
    let stats = forwarder.stats();
    assert_eq!((stats.queries, stats.hits, stats.misses, stats.cached_entries), (4, 2, 2, 1));
}

#[tokio::test]
async fn fifty_at_once_are_one_query() {
    let upstream =
        Upstream::start(|query, _, _| vec![(Duration::from_millis(50), address(query, 0, "192.0.2.1"))])
            .await;
    let forwarder = builder(&upstream).build().unwrap();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { ask(&forwarder, "www.example.org").await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().data(), ["192.0.2.1"]);
    }
    assert_eq!((upstream.queries(), forwarder.stats().coalesced), (1, 49));
    // With a TTL of zero it served those who asked meanwhile, and nobody after them.
    assert_eq!(forwarder.stats().cached_entries, 0);
    ask(&forwarder, "www.example.org").await;
    assert_eq!(upstream.queries(), 2);
}

#[tokio::test]
async fn negative_answers_are_kept_as_long_as_the_soa_says() {
    let upstream = Upstream::start(|query, _, _| {
        let rcode =
            if query[13] == b'x' | 0x20 || query[13] == b'X' { Rcode::NXDOMAIN } else { Rcode::NOERROR };
        let soa: &[_] = if query[13].eq_ignore_ascii_case(&b'n') { &[] } else { &[SOA] };
        now(answer(query, rcode, soa))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    for (name, rcode, repeats) in [
        ("x.example.org", Rcode::NXDOMAIN, 1),
        ("empty.example.org", Rcode::NOERROR, 1),
        // RFC 2308 §5: without a SOA it is not kept.
        ("no-soa.example.org", Rcode::NOERROR, 2),
    ] {
        let before = upstream.queries();
        for _ in 0..2 {
            let said = ask(&forwarder, name).await;
            assert_eq!((said.rcode, said.records.len()), (rcode, 0), "{name}");
        }
        assert_eq!(upstream.queries() - before, repeats, "{name}");
    }
    // The lower of the SOA's TTL and its minimum field.
    later(Duration::from_secs(299)).await;
    let before = upstream.queries();
    ask(&forwarder, "x.example.org").await;
    assert_eq!(upstream.queries(), before);
    later(Duration::from_secs(1)).await;
    ask(&forwarder, "x.example.org").await;
    assert_eq!(upstream.queries(), before + 1);
}

#[tokio::test]
async fn lifetimes_stay_within_their_bounds() {
    let upstream = Upstream::start(|query, _, _| {
        now(match query[13].to_ascii_lowercase() {
            b's' => address(query, 5, "192.0.2.1"),
            b'l' => address(query, 1_000_000, "192.0.2.1"),
            _ => answer(query, Rcode::NXDOMAIN, &[SOA]),
        })
    })
    .await;
    let bounded = builder(&upstream).ttl(30, 100).negative_ttl_max(40).build().unwrap();
    for (name, lifetime) in [("short.example.org", 30), ("long.example.org", 100), ("none.example.org", 40)] {
        let said = ask(&bounded, name).await;
        assert!(said.records.iter().all(|(_, ttl)| *ttl == lifetime), "{name}: {said:?}");
        let before = upstream.queries();
        // Not so near to the end that it would be renewed.
        later(Duration::from_secs(u64::from(lifetime) - 20)).await;
        ask(&bounded, name).await;
        assert_eq!(upstream.queries(), before, "{name}");
        later(Duration::from_secs(20)).await;
        ask(&bounded, name).await;
        assert_eq!(upstream.queries(), before + 1, "{name}");
    }
}

#[tokio::test]
async fn stale_data_outlive_their_upstream() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let forwarder = builder(&upstream).build().unwrap();
    ask(&forwarder, "www.example.org").await;
    upstream.stop();
    later(Duration::from_secs(61)).await;
    // Refused at once by the closed port: the stale answer comes at once, marked (RFC 8914), good for 30 s (RFC 8767).
    let said = ask(&forwarder, "www.example.org").await;
    assert_eq!(said.records, [("192.0.2.1".to_owned(), 30)]);
    assert_eq!(said.error, Some(3));
    // Nobody asks upstream again for a while.
    let asked = forwarder.stats().upstream_queries;
    assert_eq!(ask(&forwarder, "www.example.org").await.error, Some(3));
    assert_eq!(forwarder.stats().upstream_queries, asked);
    assert_eq!(forwarder.stats().stale, 2);
    later(Duration::from_secs(86_400)).await;
    let said = ask(&forwarder, "www.example.org").await;
    assert_eq!((said.rcode, said.error), (Rcode::SERVFAIL, Some(22)), "a day is the end of it");
}

#[tokio::test]
async fn a_slow_upstream_is_not_waited_for_if_something_stale_is_there() {
    let upstream = Upstream::start(|query, _, nth| {
        let delay = Duration::from_millis(if nth == 0 { 0 } else { 3000 });
        vec![(delay, address(query, 60, if nth == 0 { "192.0.2.1" } else { "192.0.2.2" }))]
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    ask(&forwarder, "www.example.org").await;
    later(Duration::from_secs(61)).await;
    assert_eq!(ask(&forwarder, "www.example.org").await.error, Some(3));
    // The query upstream goes on, and what it brings is kept.
    while forwarder.stats().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&forwarder, "www.example.org").await.data(), ["192.0.2.2"]);
}

#[tokio::test]
async fn failures_are_remembered_and_tried_again_later() {
    let upstream = Upstream::start(|query, _, _| now(answer(query, Rcode::SERVFAIL, &[]))).await;
    let forwarder = builder(&upstream).build().unwrap();
    let said = ask(&forwarder, "www.example.org").await;
    assert_eq!((said.rcode, upstream.queries()), (Rcode::SERVFAIL, 3), "one query and two more");
    let said = ask(&forwarder, "www.example.org").await;
    assert_eq!((said.rcode, said.error, upstream.queries()), (Rcode::SERVFAIL, Some(13), 3));
    later(Duration::from_secs(2)).await;
    ask(&forwarder, "www.example.org").await;
    assert_eq!((upstream.queries(), forwarder.stats().failures_remembered), (6, 1));
}

#[tokio::test]
async fn an_answer_for_one_region_never_reaches_another() {
    let upstream = Upstream::start(|query, _, _| {
        let subnet = Query::parse(query).unwrap().client_subnet;
        let (text, scope) = match subnet.map(|subnet| subnet.block().0.to_string()).as_deref() {
            Some("198.51.100.0") => ("203.0.113.1", Some(24)),
            Some("198.51.0.0" | "198.51.101.0") => ("203.0.113.2", Some(20)),
            Some("8.8.8.0") => ("203.0.113.8", Some(0)),
            Some(_) => ("203.0.113.3", Some(24)),
            None => ("203.0.113.4", None),
        };
        let record = (Section::Answer, "@", RecordType::A, 600, text);
        now(answer_with(query, Rcode::NOERROR, &[record], scope))
    })
    .await;
    let forwarder = builder(&upstream).client_subnet(24, 56).build().unwrap();
    let from = |name: &'static str, block: Option<(&'static str, u8)>| {
        let forwarder = forwarder.clone();
        async move {
            let query = query(name, RecordType::A, block);
            let octets = ask_as(&forwarder, SUBSCRIBER, &query).await.unwrap();
            let scope = Message::parse(&octets).unwrap().edns().unwrap().unwrap().client_subnet().unwrap();
            (Said::new(&octets).data()[0].to_owned(), scope.map(|subnet| subnet.scope()))
        }
    };
    let www = "www.example.org";
    let queries = |expected: usize| assert_eq!(upstream.queries(), expected);
    // In each row: who asks, what is right there, and how many questions upstream there were by then.
    for (block, expected, scope, asked) in [
        (("198.51.100.9", 32), "203.0.113.1", 24, 1),
        (("198.51.100.77", 32), "203.0.113.1", 24, 1),
        (("198.51.101.1", 32), "203.0.113.2", 20, 2),
        // Within the /20 that the last answer was for, and not within the /24 of the first.
        (("198.51.102.1", 24), "203.0.113.2", 20, 2),
        (("198.51.100.1", 24), "203.0.113.1", 24, 2),
        (("198.51.128.1", 24), "203.0.113.3", 24, 3),
        (("198.51.129.1", 24), "203.0.113.3", 24, 4),
    ] {
        assert_eq!(from(www, Some(block)).await, (expected.to_owned(), Some(scope)), "{block:?}");
        queries(asked);
    }
    // A client that wants its block kept secret gets what is right for the upstream's own place, and nobody else
    // gets that.
    assert_eq!(from(www, Some(("0.0.0.0", 0))).await.0, "203.0.113.3");
    queries(5);
    assert_eq!(from(www, Some(("0.0.0.0", 0))).await.0, "203.0.113.3");
    queries(5);
    assert_eq!(from(www, Some(("100.100.1.1", 24))).await.0, "203.0.113.3");
    queries(6);
    // What an upstream gives with scope 0 is for everybody who tells a block.
    assert_eq!(from("all.example.org", Some(("8.8.8.8", 24))).await, ("203.0.113.8".into(), Some(0)));
    assert_eq!(from("all.example.org", Some(("198.51.100.9", 24))).await, ("203.0.113.8".into(), Some(0)));
    queries(7);
}

#[tokio::test]
async fn nothing_of_the_client_is_told_unless_asked_for() {
    let upstream = Upstream::start(|query, _, _| {
        assert!(Query::parse(query).unwrap().client_subnet.is_none());
        now(address(query, 60, "192.0.2.1"))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    let query = query("www.example.org", RecordType::A, Some(("198.51.100.9", 32)));
    let octets = ask_as(&forwarder, SUBSCRIBER, &query).await.unwrap();
    assert_eq!(Said::new(&octets).data(), ["192.0.2.1"]);
    assert!(Message::parse(&octets).unwrap().edns().unwrap().unwrap().client_subnet().unwrap().is_none());
}

#[tokio::test]
async fn only_the_chain_from_the_question_is_taken() {
    let upstream = Upstream::start(|query, _, _| {
        let records = [
            (Section::Answer, "evil.example", RecordType::A, 600, "203.0.113.66"),
            (Section::Answer, "@", RecordType::CNAME, 600, "a.example.net"),
            (Section::Answer, "b.example.net", RecordType::A, 600, "192.0.2.1"),
            (Section::Answer, "a.example.net", RecordType::CNAME, 30, "b.example.net"),
            (Section::Answer, "a.example.net", RecordType::TXT, 600, "odd"),
            (Section::Authority, "example.net", RecordType::NS, 600, "evil.example"),
            (Section::Additional, "evil.example", RecordType::A, 600, "203.0.113.66"),
        ];
        now(answer(query, Rcode::NOERROR, &records))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    let octets =
        ask_as(&forwarder, SUBSCRIBER, &query("www.example.org", RecordType::A, None)).await.unwrap();
    let said = Said::new(&octets);
    assert_eq!(said.data(), ["a.example.net.", "b.example.net.", "192.0.2.1"]);
    let counts = Message::parse(&octets).unwrap().header().counts;
    assert_eq!(counts, [1, 3, 0, 1], "no authority, and nothing additional but OPT");
    // The chain is as fresh as its weakest link.
    later(Duration::from_secs(30)).await;
    ask(&forwarder, "www.example.org").await;
    assert_eq!(upstream.queries(), 2);
}

#[tokio::test]
async fn chains_without_end_fail() {
    let upstream = Upstream::start(|query, _, _| {
        let owners: Vec<String> = (0..14).map(|step| format!("{step}.example.net")).collect();
        let mut records = vec![(Section::Answer, "@", RecordType::CNAME, 600, owners[0].as_str())];
        for pair in owners.windows(2) {
            records.push((Section::Answer, &pair[0], RecordType::CNAME, 600, &pair[1]));
        }
        now(answer(query, Rcode::NOERROR, &records))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    assert_eq!(ask(&forwarder, "www.example.org").await.rcode, Rcode::SERVFAIL);
    assert_eq!(forwarder.stats().cached_entries, 0);
}

#[tokio::test]
async fn what_is_not_for_a_forwarder() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let forwarder = builder(&upstream).build().unwrap();
    let code = |octets: Option<Vec<u8>>| {
        octets.map(|octets| Message::parse(&octets).unwrap().header().flags.rcode())
    };
    let mut no_recursion = query("www.example.org", RecordType::A, None);
    no_recursion[2] &= !1;
    let mut response = query("www.example.org", RecordType::A, None);
    response[2] |= 0x80;
    let mut notify = query("www.example.org", RecordType::SOA, None);
    notify[2] |= 4 << 3;
    let mut chaos = query("version.bind", RecordType::TXT, None);
    let class = 12 + b"\x07version\x04bind\x00".len() + 3;
    chaos[class] = 3;
    let mut two = query("www.example.org", RecordType::A, None);
    two[5] = 2;
    for (what, octets, expected) in [
        ("recursion not desired", no_recursion, Some(Rcode::REFUSED)),
        ("a transfer", query("example.org", RecordType::AXFR, None), Some(Rcode::NOTIMP)),
        ("a response", response, None),
        ("a notification", notify, Some(Rcode::NOTIMP)),
        ("another class", chaos, Some(Rcode::REFUSED)),
        ("two questions", two, Some(Rcode::FORMERR)),
        ("half a header", vec![0; 7], None),
        ("any", query("example.org", RecordType::ANY, None), Some(Rcode::NOERROR)),
        (
            "a private reverse zone",
            query("1.0.0.10.in-addr.arpa", RecordType::PTR, None),
            Some(Rcode::NXDOMAIN),
        ),
        ("localhost", query("localhost", RecordType::A, None), Some(Rcode::NOERROR)),
    ] {
        assert_eq!(code(ask_as(&forwarder, SUBSCRIBER, &octets).await), expected, "{what}");
    }
    assert_eq!(upstream.queries(), 0);
}

#[tokio::test]
async fn lists_block_allow_and_answer() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let mut lists = Lists::default();
    lists.insert(&"ads.example".parse().unwrap(), Reach::Subtree, Action::NxDomain);
    lists.insert(&"good.ads.example".parse().unwrap(), Reach::Subtree, Action::Allow);
    lists.insert(&"silent.example".parse().unwrap(), Reach::Name, Action::Drop);
    lists.insert(&"portal.example".parse().unwrap(), Reach::Name, Action::addresses([ip("192.0.2.80")]));
    lists.insert(&"none.example".parse().unwrap(), Reach::Name, Action::NoData);
    let forwarder = builder(&upstream).lists(lists).build().unwrap();
    let said = ask(&forwarder, "x.ads.example").await;
    assert_eq!((said.rcode, said.error), (Rcode::NXDOMAIN, Some(15)));
    assert_eq!(ask(&forwarder, "x.good.ads.example").await.data(), ["192.0.2.1"]);
    assert_eq!(ask(&forwarder, "portal.example").await.data(), ["192.0.2.80"]);
    let none = ask(&forwarder, "none.example").await;
    assert_eq!((none.rcode, none.records.len()), (Rcode::NOERROR, 0));
    assert_eq!(ask_as(&forwarder, SUBSCRIBER, &query("silent.example", RecordType::A, None)).await, None);
    assert_eq!(upstream.queries(), 1);
    forwarder.set_lists(Lists::default());
    assert_eq!(ask(&forwarder, "x.ads.example").await.data(), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_network_may_wait_for_so_much_and_no_more() {
    let upstream = Upstream::start(|_, _, _| Vec::new()).await;
    let forwarder =
        builder(&upstream).allow((ip("198.51.100.0"), 24)).waiting_per_network(8).build().unwrap();
    let begin = |client: &'static str, name: String| {
        let mut answer = Vec::new();
        let query = query(&name, RecordType::A, None);
        forwarder.handle(&query, ip(client), Timestamp::ZERO, Transport::Udp, &mut answer)
    };
    let burst: Vec<Handled> = (0..100).map(|n| begin("192.0.2.9", format!("{n}.example.org"))).collect();
    let waiting = burst.iter().filter(|handled| matches!(handled, Handled::Later(_))).count();
    assert_eq!((waiting, forwarder.stats().overdue), (8, 92));
    assert!(matches!(begin("198.51.100.9", "one.example.org".into()), Handled::Later(_)), "others go on");
    drop(burst);
    assert!(matches!(begin("192.0.2.9", "two.example.org".into()), Handled::Later(_)), "places come back");
}

#[tokio::test]
async fn a_dead_upstream_costs_little_and_is_left_alone() {
    let dead = Upstream::start(|_, _, _| Vec::new()).await;
    let alive = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let forwarder = builder(&dead).upstream(alive.address).build().unwrap();
    for name in 0..40 {
        assert_eq!(ask(&forwarder, &format!("{name}.example.org")).await.data(), ["192.0.2.1"]);
    }
    let stats = forwarder.stats();
    assert!(dead.queries() <= 8, "{} queries went into the void", dead.queries());
    assert!(stats.upstream_queries <= 3 * stats.misses);
    let upstreams = forwarder.upstreams();
    assert!(upstreams[1].round_trip.is_some() && !upstreams[1].resting);
}

#[tokio::test]
async fn popular_answers_are_renewed_before_their_end() {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::start(move |query, _, _| {
        let last = counted.fetch_add(1, Ordering::SeqCst) + 1;
        now(address(query, 100, &format!("192.0.2.{last}")))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    ask(&forwarder, "www.example.org").await;
    ask(&forwarder, "www.example.org").await;
    later(Duration::from_secs(89)).await;
    ask(&forwarder, "www.example.org").await;
    assert_eq!(count.load(Ordering::SeqCst), 1, "not yet");
    later(Duration::from_secs(2)).await;
    assert_eq!(ask(&forwarder, "www.example.org").await.records, [("192.0.2.1".to_owned(), 9)]);
    while forwarder.stats().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ask(&forwarder, "www.example.org").await.records, [("192.0.2.2".to_owned(), 100)]);
    assert_eq!(forwarder.stats().prefetches, 1);
}

#[tokio::test]
async fn what_does_not_fit_is_cut_whole() {
    let upstream = Upstream::start(|query, _, _| {
        let texts: Vec<String> = (0..60).map(|last| format!("192.0.2.{last}")).collect();
        let records: Vec<_> =
            texts.iter().map(|text| (Section::Answer, "@", RecordType::A, 60, text.as_str())).collect();
        now(answer(query, Rcode::NOERROR, &records))
    })
    .await;
    let forwarder = builder(&upstream).build().unwrap();
    let plain = MessageBuilder::query(77, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    for _ in 0..2 {
        let octets = ask_as(&forwarder, SUBSCRIBER, &plain).await.unwrap();
        let message = Message::parse(&octets).unwrap();
        assert!(octets.len() <= 512 && message.header().flags.has(Flags::TC));
        assert_eq!(message.header().counts, [1, 0, 0, 0]);
        assert_eq!(ask(&forwarder, "www.example.org").await.records.len(), 60);
    }
    assert_eq!(upstream.queries(), 1);
}

#[tokio::test]
async fn flushing_forgets() {
    let upstream = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let forwarder = builder(&upstream).build().unwrap();
    for name in ["example.org", "www.example.org", "a.www.example.org", "www.example.net"] {
        ask(&forwarder, name).await;
    }
    assert_eq!(forwarder.flush(&"WWW.example.org".parse().unwrap(), Reach::Name), 1);
    assert_eq!(forwarder.flush(&"example.org".parse().unwrap(), Reach::Below), 1);
    assert_eq!(forwarder.flush(&"org".parse().unwrap(), Reach::Subtree), 1);
    assert_eq!(forwarder.flush(&pop_dns::NameBuf::root(), Reach::Subtree), 1);
    assert_eq!((forwarder.stats().cached_entries, forwarder.stats().cached_octets), (0, 0));
}
