//! Several PoPs over a real store: purges, the second cache, and the store going away. Without `redis-server` each test
//! says so and passes, but not in CI.
#![cfg(feature = "redis")]

#[path = "support/store.rs"]
mod store;
mod support;

use std::time::{Duration, Instant};

use pop_edge::cache::http::{CacheKey, Purge, PurgeMode};
use pop_edge::fabric::FabricBuilder;
use pop_edge::ratelimit::Quota;
use pop_edge::{Fabric, Pop, PopBuilder};
use store::Store;
use support::{PATIENCE, Reply, Running, Scripted, eventually, get, loopback, start};

async fn fresh() -> Scripted {
    Scripted::start(|asked| {
        Reply::ok("Cache-Control: max-age=600\nSurrogate-Key: all pages", &format!("for {}", asked.line()))
    })
    .await
}

/// Nothing that uses this depends on how fast a loaded machine answers.
fn patient(store: &Store) -> FabricBuilder {
    Fabric::connect(store.url()).prefix("test").deadline(PATIENCE)
}

fn fabric(store: &Store) -> Fabric {
    patient(store).build().expect("a fabric")
}

fn spec(name: &str, origin: &Scripted, fabric: &Fabric) -> PopBuilder {
    Pop::cdn(name).http(loopback()).host("*", origin.origin()).fabric(fabric.clone())
}

/// A PoP that has joined: it has purged what it might have missed.
async fn joined(name: &str, origin: &Scripted, fabric: &Fabric) -> Running {
    let pop = start(spec(name, origin, fabric).share_ports()).await;
    assert!(eventually(|| fabric.stats().flushes == 1).await, "{:?}", fabric.stats());
    pop
}

async fn warm(pop: &Running, path: &str) {
    get(pop.http(), path).await;
    assert!(get(pop.http(), path).await.is_hit());
}

fn key(path: &str) -> Purge {
    let url = format!("http://www.example.org{path}").parse().expect("a URI");
    Purge::Key(CacheKey::from_uri(&url).expect("a key"))
}

fn tag() -> Purge {
    Purge::Tag("pages".into())
}

#[tokio::test]
async fn a_purge_reaches_all_four_though_one_was_away() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let fabrics: Vec<Fabric> = (0..4).map(|_| fabric(&store)).collect();
    let mut pops = Vec::new();
    for (index, fabric) in fabrics.iter().enumerate() {
        pops.push(joined(&format!("pop{index}"), &origin, fabric).await);
        warm(&pops[index], "/a").await;
    }
    // The last one hears nothing for a while; what it stores, it keeps.
    pops[3].task.abort();
    assert!(eventually(|| !fabrics[3].stats().is_connected).await);
    let purges = [
        key("/a"),
        tag(),
        Purge::Prefix("http://www.example.org/".into()),
        Purge::Host("www.example.org".into()),
        Purge::All,
    ];
    for (count, purge) in (1..).zip(&purges) {
        warm(&pops[0], "/a").await;
        assert_eq!(pops[0].handle.purge(purge, PurgeMode::Remove), 1, "{purge:?}");
        fabrics[0].delivered().await;
        for index in 1..3 {
            assert!(eventually(|| fabrics[index].stats().purges_applied == count).await, "PoP {index}");
            assert!(!get(pops[index].http(), "/a").await.is_hit(), "{purge:?}, PoP {index}");
        }
    }
    let handle = pops[3].handle.clone();
    let held = || handle.caches()[0].stats().weight;
    assert!(held() > 0 && fabrics[3].stats().purges_applied == 0);
    let again = pops[3].pop.clone();
    pops[3].task = tokio::spawn(async move { again.run().await });
    assert!(eventually(|| fabrics[3].stats().purges_applied == 5).await, "{:?}", fabrics[3].stats());
    assert_eq!((held(), fabrics[3].stats().flushes), (0, 1), "it went on from its place");
    // Who purged has not purged twice.
    assert_eq!((fabrics[0].stats().purges_applied, fabrics[0].stats().purges_sent), (0, 5));
}

#[tokio::test]
async fn soft_purges_are_soft_everywhere() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let (one, two) = (fabric(&store), fabric(&store));
    let (first, second) = (joined("one", &origin, &one).await, joined("two", &origin, &two).await);
    warm(&second, "/a").await;
    first.handle.purge(&tag(), PurgeMode::MarkStale);
    assert!(eventually(|| two.stats().purges_applied == 1).await);
    assert!(second.handle.caches()[0].stats().weight > 0, "it is stale, not gone");
    assert!(!get(second.http(), "/a").await.is_hit());
}

#[tokio::test]
async fn a_new_run_goes_on_where_the_last_one_stopped() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let (one, two) = (fabric(&store), fabric(&store));
    let first = joined("one", &origin, &one).await;
    drop(joined("two", &origin, &two).await);
    first.handle.purge(&tag(), PurgeMode::Remove);
    first.handle.purge(&key("/b"), PurgeMode::MarkStale);
    one.delivered().await;
    let again = fabric(&store);
    let _pop = start(spec("two", &origin, &again)).await;
    assert!(eventually(|| again.stats().purges_applied == 2).await, "{:?}", again.stats());
    assert_eq!(again.stats().flushes, 0);
}

#[tokio::test]
async fn whoever_was_away_for_too_long_purges_everything() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let (one, two) = (fabric(&store), fabric(&store));
    let (first, mut second) = (joined("one", &origin, &one).await, joined("two", &origin, &two).await);
    warm(&second, "/a").await;
    second.task.abort();
    assert!(eventually(|| !two.stats().is_connected).await);
    first.handle.purge(&key("/other"), PurgeMode::Remove);
    first.handle.purge(&key("/another"), PurgeMode::Remove);
    one.delivered().await;
    store.ask(&["XTRIM", "test:purges", "MAXLEN", "1"]).await;
    let again = second.pop.clone();
    second.task = tokio::spawn(async move { again.run().await });
    assert!(eventually(|| two.stats().flushes == 2).await, "{:?}", two.stats());
    assert!(!get(second.http(), "/a").await.is_hit());
    // And it goes on from there.
    first.handle.purge(&tag(), PurgeMode::Remove);
    assert!(eventually(|| two.stats().purges_applied == 1).await, "{:?}", two.stats());
    // A store that has lost everything is a place that is gone.
    let flushes = || (one.stats().flushes, two.stats().flushes);
    let before = flushes();
    store.ask(&["FLUSHALL"]).await;
    assert!(eventually(|| flushes().0 > before.0 && flushes().1 > before.1).await, "{:?}", two.stats());
}

#[tokio::test]
async fn what_cannot_be_read_purges_everything() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let fabric = fabric(&store);
    let pop = joined("one", &origin, &fabric).await;
    let entries: [&[&[u8]]; 4] =
        [&[b"n", b""], &[b"n", b"\xff\x00\xff"], &[b"other", b"x"], &[b"n", &[1; 70_000]]];
    for (count, entry) in (1..).zip(entries) {
        warm(&pop, "/a").await;
        store.ask_octets(&[&[&b"XADD"[..], b"test:purges", b"*"], entry].concat()).await;
        assert!(eventually(|| fabric.stats().purges_unreadable == count).await, "{:?}", fabric.stats());
        assert!(!get(pop.http(), "/a").await.is_hit());
    }
}

#[tokio::test]
async fn without_the_store_requests_go_on_and_purges_wait() {
    let Some(mut store) = Store::start().await else { return };
    let origin = fresh().await;
    let (one, two) = (fabric(&store), fabric(&store));
    let (first, second) = (joined("one", &origin, &one).await, joined("two", &origin, &two).await);
    warm(&first, "/a").await;
    warm(&second, "/a").await;
    store.kill();
    assert_eq!(first.handle.purge(&tag(), PurgeMode::Remove), 1);
    assert!(eventually(|| one.stats().losses == 1 && !one.stats().is_connected).await, "{:?}", one.stats());
    assert_eq!((one.stats().purges_waiting, one.stats().purges_sent), (1, 0));
    warm(&first, "/b").await;
    assert!(get(second.http(), "/a").await.is_hit(), "it has not heard");
    assert!(first.handle.metrics().contains("pop_fabric_purges_waiting 1\n"));
    assert!(store.revive().await);
    one.delivered().await;
    assert!(eventually(|| two.stats().purges_applied == 1).await, "{:?}", two.stats());
    assert!(!get(second.http(), "/a").await.is_hit());
    assert!(eventually(|| one.stats().is_connected && two.stats().is_connected).await);
    assert_eq!(two.stats().flushes, 1, "the store kept the stream, and nothing was missed");
}

#[tokio::test]
async fn a_store_that_is_not_there_keeps_no_pop_from_running() {
    let origin = fresh().await;
    let nowhere = Fabric::connect("redis://127.0.0.1:1/").second_cache(1 << 20).build().expect("a fabric");
    let pop = start(spec("one", &origin, &nowhere)).await;
    warm(&pop, "/a").await;
    assert_eq!(pop.handle.purge(&Purge::All, PurgeMode::Remove), 1);
    let stats = nowhere.stats();
    assert_eq!((stats.is_connected, stats.purges_waiting, stats.tier_misses), (false, 1, 1), "{stats:?}");
}

/// Two PoPs with a second cache; what the first fetched is there for the second.
async fn shared(store: &Store, origin: &Scripted) -> [(Running, Fabric); 2] {
    let with = || patient(store).second_cache(1 << 20).build().expect("a fabric");
    let (one, two) = (with(), with());
    let pops = (joined("one", origin, &one).await, joined("two", origin, &two).await);
    get(pops.0.http(), "/a").await;
    assert!(eventually(|| one.stats().tier_writes == 1).await, "{:?}", one.stats());
    [(pops.0, one), (pops.1, two)]
}

const NAME: &str = "test:object:http://www.example.org/a";

#[tokio::test]
async fn what_one_fetched_the_other_has() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let [(_first, _one), (second, two)] = shared(&store, &origin).await;
    let answer = get(second.http(), "/a").await;
    assert!(
        answer.field("cache-status").is_some_and(|status| status.contains("detail=tier")),
        "{}",
        answer.head
    );
    assert_eq!((origin.asked().len(), two.stats().tier_hits), (1, 1));
    // From now on it is in its own memory.
    assert!(get(second.http(), "/a").await.is_hit());
    assert_eq!(two.stats().tier_hits, 1);
    let left: i64 = store.ask(&["PTTL", NAME]).await.trim().parse().expect("a number");
    assert!((1..=600_000 + 86_400_000).contains(&left), "{left}");
}

#[tokio::test]
async fn what_was_purged_is_not_in_the_second_cache_either() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let [(first, one), (second, two)] = shared(&store, &origin).await;
    // A value from before the purge is put back after it, as a slow writer would.
    store.ask(&["COPY", NAME, "kept"]).await;
    first.handle.purge(&tag(), PurgeMode::Remove);
    one.delivered().await;
    assert!(eventually(|| two.stats().purges_applied == 1).await);
    for (pop, fabric) in [(&second, &two), (&first, &one)] {
        store.ask(&["COPY", "kept", NAME, "REPLACE"]).await;
        assert!(!get(pop.http(), "/a").await.is_hit());
        assert_eq!((fabric.stats().tier_hits, fabric.stats().tier_rejected), (0, 1), "{:?}", fabric.stats());
    }
    assert_eq!(origin.asked().len(), 3);
}

#[tokio::test]
async fn torn_foreign_and_long_values_are_misses() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let [(_first, one), (second, two)] = shared(&store, &origin).await;
    store.ask(&["COPY", NAME, "kept"]).await;
    let last = store.ask(&["STRLEN", NAME]).await.trim().parse::<usize>().expect("a number") - 1;
    let spoilers: [&[&str]; 5] = [
        &["SETRANGE", NAME, "40", "X"],
        &["SETRANGE", NAME, &last.to_string(), "\u{1}\u{1}"],
        &["SET", NAME, "something else"],
        &["SETRANGE", NAME, "2097152", "far"],
        &["COPY", NAME, "test:object:http://www.example.org/b", "REPLACE"],
    ];
    for (count, spoiler) in (1..).zip(spoilers) {
        store.ask(&["COPY", "kept", NAME, "REPLACE"]).await;
        store.ask(spoiler).await;
        let path = if spoiler[0] == "COPY" { "/b" } else { "/a" };
        let written = two.stats().tier_writes;
        assert!(!get(second.http(), path).await.is_hit(), "{spoiler:?}");
        assert_eq!((two.stats().tier_rejected, two.stats().tier_hits), (count, 0), "{spoiler:?}");
        // What it fetched is written before the next value is spoilt.
        assert!(eventually(|| two.stats().tier_writes > written).await, "{spoiler:?}");
        second.handle.caches()[0].purge(&key("/a"), PurgeMode::Remove);
    }
    // Another type under the name is an error of the store, and a miss.
    store.ask(&["DEL", NAME]).await;
    store.ask(&["LPUSH", NAME, "x"]).await;
    assert!(!get(second.http(), "/a").await.is_hit());
    assert!(two.stats().failures >= 1 && two.stats().is_connected, "{:?}", two.stats());
    drop(one);
}

/// Hammers one key in three PoPs for a while, and checks after every pass of any of them what all have let pass.
#[tokio::test]
async fn three_pops_never_let_more_pass_than_one_limit() {
    let Some(mut store) = Store::start().await else { return };
    let origin = fresh().await;
    let (rate, burst) = (200, 120);
    let quota = Quota::per_second(rate).burst(burst);
    let mut pops = Vec::new();
    for name in ["one", "two", "three"] {
        let fabric = patient(&store).divide_limits(3, 25).build().expect("a fabric");
        let limit = fabric.limit("api", quota).expect("it divides");
        pops.push((joined(name, &origin, &fabric).await, limit, fabric));
    }
    // When each passed; the moment before the check for the end of a span, after it for the beginning.
    let mut passes = Vec::new();
    let begun = Instant::now();
    let hammer = async |passes: &mut Vec<(Instant, Instant)>, span: Duration| {
        let until = Instant::now() + span;
        while Instant::now() < until {
            for (_, limit, _) in &pops {
                let before = Instant::now();
                if limit.check("key").is_allowed() {
                    passes.push((before, Instant::now()));
                }
            }
            tokio::task::yield_now().await;
        }
    };
    hammer(&mut passes, Duration::from_millis(1500)).await;
    let leased: Vec<u64> = pops.iter().map(|(_, _, fabric)| fabric.stats().tokens_leased).collect();
    assert!(leased.iter().sum::<u64>() > 0, "{leased:?}");
    // A rest in which everything fills up, then all at once.
    tokio::time::sleep(Duration::from_millis(800)).await;
    hammer(&mut passes, Duration::from_millis(500)).await;
    store.kill();
    hammer(&mut passes, Duration::from_millis(500)).await;
    let patience = Instant::now() + PATIENCE;
    while pops[0].2.stats().is_connected && Instant::now() < patience {
        hammer(&mut passes, Duration::from_millis(100)).await;
    }
    hammer(&mut passes, Duration::from_millis(100)).await;
    let stats = pops[0].2.stats();
    assert!(!stats.is_connected && stats.limited_alone > 0 && stats.limited > 0, "{stats:?}");
    // Every span from one pass to another holds no more than the burst and what came meanwhile.
    for (first, (begin, _)) in passes.iter().enumerate() {
        for (last, (_, end)) in passes.iter().enumerate().skip(first) {
            let span = end.duration_since(*begin).as_secs_f64();
            let most = burst as f64 + rate as f64 * span + 1.0;
            assert!((last - first + 1) as f64 <= most, "{} in {span} s", last - first + 1);
        }
    }
    // And not much less than a part of it: the limit is no wall.
    let span = begun.elapsed().as_secs_f64();
    assert!(passes.len() >= burst as usize / 4, "{} in {span} s", passes.len());
    // The home share goes on without the store.
    assert!(passes.len() < (burst as f64 + rate as f64 * span) as usize + 1);
}

#[tokio::test]
async fn a_bucket_that_is_none_grants_nothing_and_hurts_no_other() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let fabric = patient(&store).divide_limits(1, 0).build().expect("a fabric");
    // 1 PoP, nothing at home: half of the burst is leased at a time, one token each hour.
    let limit = fabric.limit("api", Quota::per_hour(1).burst(10)).expect("it divides");
    let name = |key: &str| format!("test:limit:api:1/3600000000/5:{key}");
    for (key, value) in [("odd", "nothing"), ("long", "99999999999999999999999 1"), ("gone", "1 -1")] {
        store.ask(&["SET", &name(key), value]).await;
    }
    store.ask(&["LPUSH", &name("list"), "x"]).await;
    let builder = spec("one", &origin, &fabric).gate(limit.clone());
    let pop = start(builder).await;
    assert!(eventually(|| fabric.stats().is_connected).await);
    for key in ["odd", "list", "long", "gone", "good"] {
        assert!(!limit.check(key).is_allowed(), "{key}: nothing is leased yet");
    }
    assert!(eventually(|| limit.check("good").is_allowed()).await, "{:?}", fabric.stats());
    for key in ["odd", "list", "gone"] {
        assert!(!limit.check(key).is_allowed(), "{key}");
    }
    // Ten for each key and no more, however long one asks; and the gate answers 429.
    let more = (0..1000).filter(|_| limit.check("good").is_allowed()).count();
    assert!(more < 10, "{more}");
    let mut statuses = Vec::new();
    assert!(
        eventually_async(async || {
            statuses.push(get(pop.http(), "/a").await.status);
            statuses.contains(&200) && statuses.last() == Some(&429)
        })
        .await,
        "{statuses:?}"
    );
    assert!(statuses.iter().filter(|&&status| status == 200).count() <= 10);
}

async fn eventually_async(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if holds().await {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_store_that_hangs_is_away() {
    let Some(store) = Store::start().await else { return };
    let origin = fresh().await;
    let quick = patient(&store).deadline(Duration::from_millis(300)).second_cache(1 << 20);
    let fabric = quick.build().expect("a fabric");
    let pop = joined("one", &origin, &fabric).await;
    warm(&pop, "/a").await;
    store.pause(true);
    for path in ["/b", "/c", "/d", "/e"] {
        assert_eq!(get(pop.http(), path).await.status, 200);
    }
    let is_away = eventually(|| fabric.stats().losses >= 1 && !fabric.stats().is_connected).await;
    store.pause(false);
    assert!(is_away, "{:?}", fabric.stats());
    assert!(eventually(|| fabric.stats().is_connected).await, "{:?}", fabric.stats());
}
