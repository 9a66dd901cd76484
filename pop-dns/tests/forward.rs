//! The forwarder's answers: from upstreams, from the cache, stale ones, and for whom.
#![cfg(feature = "tokio")]

mod subscriber;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pop_dns::forward::Reach;
use pop_dns::{Flags, Message, MessageBuilder, Query, Rcode, RecordType, Section};
use subscriber::{SUBSCRIBER, Said, ask, ask_as, builder, later, query};
use upstream::{Upstream, address, answer, answer_with, now};

const SOA: (Section, &str, RecordType, u32, &str) =
    (Section::Authority, "example.org", RecordType::SOA, 600, "ns host 1 3600 600 86400 300");

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
