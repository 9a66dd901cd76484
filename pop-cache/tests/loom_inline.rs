//! Models of the inline sets: every interleaving that loom finds for two or three threads.
//!
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" CARGO_TARGET_DIR=target/loom cargo test -p pop-cache
//! --no-default-features --test loom_inline --release`
#![cfg(all(loom, not(shuttle)))]

use loom::sync::Arc;
use loom::thread;
use pop_cache::InlineCache;

type Torn = InlineCache<u64, (u64, u64)>;

fn cache(capacity: usize) -> Arc<Torn> {
    let cache = Arc::new(InlineCache::new(capacity));
    cache.insert(1, (1, 1));
    cache
}

/// Waiting for a writer is a loop, so the number of forced switches is bounded: three reach every state of two threads
/// that each pass the lock twice.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A reader sees the pair before or after an overwriting insert, never halves of both.
#[test]
fn a_read_is_whole() {
    check(|| {
        let cache = cache(2);
        let writer = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.insert(1, (2, 2))
        });
        let seen = cache.peek(&1).expect("one or the other");
        assert!(seen == (1, 1) || seen == (2, 2), "{seen:?}");
        writer.join().unwrap();
        assert_eq!(cache.peek(&1), Some((2, 2)));
    });
}

/// While a way changes hands from key to key, a reader of either finds its own value or nothing.
#[test]
fn a_way_that_changes_hands_shows_no_stranger() {
    check(|| {
        let cache = cache(1);
        let writer = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.insert(2, (2, 2))
        });
        let (first, second) = (cache.peek(&1), cache.peek(&2));
        assert!(first.is_none_or(|value| value == (1, 1)));
        assert!(second.is_none_or(|value| value == (2, 2)));
        writer.join().unwrap();
        assert_eq!((cache.peek(&1), cache.peek(&2)), (None, Some((2, 2))));
    });
}

/// Two writers of one set exclude each other: both changes count, and two new keys take two ways.
#[test]
fn writers_exclude_each_other() {
    check(|| {
        let cache = cache(3);
        let other = thread::spawn({
            let cache = Arc::clone(&cache);
            move || {
                cache.update(1, |found| found.map(|(count, check)| (count + 1, check + 1)));
                cache.insert(2, (2, 2));
            }
        });
        cache.update(1, |found| found.map(|(count, check)| (count + 1, check + 1)));
        cache.insert(3, (3, 3));
        other.join().unwrap();
        assert_eq!([1, 2, 3].map(|key| cache.peek(&key)), [3, 2, 3].map(|value| Some((value, value))));
    });
}

/// Two inserts of one absent key leave it once.
#[test]
fn a_key_is_there_once() {
    check(|| {
        let cache: Arc<Torn> = Arc::new(InlineCache::new(3));
        let other = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.insert(1, (2, 2))
        });
        let mine = cache.insert(1, (3, 3));
        let others = other.join().unwrap();
        assert!(mine.is_none() != others.is_none(), "one was first, the other replaced it");
        assert_eq!(cache.len(), 1);
    });
}

/// Heat that a reader sets and a writer takes away at once never touches tags: the pair is still found, once.
#[test]
fn heat_does_not_disturb_tags() {
    check(|| {
        let cache = cache(2);
        let reader = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.get(&1)
        });
        cache.insert(2, (2, 2));
        assert_eq!(reader.join().unwrap(), Some((1, 1)));
        assert_eq!((cache.len(), cache.peek(&1)), (2, Some((1, 1))));
    });
}
