//! What a forwarder does not do, and how much of everything it does at most.
#![cfg(feature = "tokio")]

mod subscriber;
mod upstream;

use std::time::Duration;

use pop_dns::forward::{Action, Forwarder, ForwarderError, Lists, Reach, Strangers};
use pop_dns::server::{Handled, Handler};
use pop_dns::{Message, Query, Rcode, RecordType, Section, Timestamp, Transport};
use subscriber::{SUBSCRIBER, Said, ask, ask_as, builder, ip, later, query};
use upstream::{Upstream, address, answer, now};

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

/// Two upstreams for one forwarder, of which the first that is asked about a name never answers; the other does.
async fn one_of_two_is_silent() -> (Upstream, Upstream) {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let script = move || {
        let asked = std::sync::Arc::clone(&asked);
        move |query: &[u8], _: Transport, _: usize| {
            let name = Query::parse(query).unwrap().lower_wire().to_vec();
            let first = asked.lock().unwrap().insert(name);
            if first { Vec::new() } else { now(address(query, 60, "192.0.2.1")) }
        }
    };
    (Upstream::start(script()).await, Upstream::start(script()).await)
}

/// The second upstream is asked when the first has taken longer than it should, before it counts as silent.
#[tokio::test]
async fn who_is_slow_is_raced_by_another() {
    let (one, two) = one_of_two_is_silent().await;
    let forwarder = builder(&one).upstream(two.address).build().unwrap();
    assert_eq!(ask(&forwarder, "www.example.org").await.data(), ["192.0.2.1"]);
    let stats = forwarder.stats();
    // A third query where the machine is slower than the second upstream may be; each of them is a hedge.
    assert!((1..=2).contains(&stats.hedges), "{stats:?}");
    assert_eq!((stats.upstream_queries, stats.misses, stats.servfails), (1 + stats.hedges, 1, 0));
    assert!(one.queries() > 0 && two.queries() > 0, "both were asked");
}

/// What hedging may cost: a hundred queries that were saved up, and then one in ten. All others wait until the first
/// upstream counts as silent.
#[tokio::test]
async fn hedging_adds_a_tenth_at_most() {
    const NAMES: u32 = 200;
    let (one, two) = one_of_two_is_silent().await;
    let forwarder = builder(&one).upstream(two.address).waiting_per_network(NAMES).build().unwrap();
    let asking: Vec<_> = (0..NAMES)
        .map(|name| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { ask(&forwarder, &format!("{name}.example.org")).await })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap();
    }
    let (stats, names) = (forwarder.stats(), u64::from(NAMES));
    assert!((100..=100 + names / 10).contains(&stats.hedges), "{stats:?}");
    assert!(stats.misses == names && stats.upstream_queries <= 3 * names, "{stats:?}");
}
