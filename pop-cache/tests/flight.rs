//! Single flight: one load for a key, whatever becomes of whoever loads.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pop_cache::Cache;

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nobody hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_of_tasks_fetches_once() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let fetches = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (cache, fetches) = (cache.clone(), Arc::clone(&fetches));
            tokio::spawn(async move {
                let fetch = |key: &u32| {
                    let key = *key;
                    async move {
                        fetches.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Ok::<u32, ()>(key * 2)
                    }
                };
                cache.get_or_fetch(21, fetch).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(soon(task).await.unwrap(), Ok(42));
    }
    assert_eq!((fetches.load(Ordering::Relaxed), cache.stats().loads), (1, 1));
}

/// What the loader says goes to everyone who waits, with its own causes.
#[tokio::test]
async fn an_error_reaches_all_who_wait_with_its_cause() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let fetch = |_: &u32| async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err::<u32, _>(Arc::new(io::Error::new(io::ErrorKind::TimedOut, "origin away")))
                };
                cache.get_or_fetch(1, fetch).await
            })
        })
        .collect();
    let mut errors = Vec::new();
    for task in tasks {
        errors.push(soon(task).await.unwrap().unwrap_err());
    }
    assert!(errors.iter().all(|error| error.kind() == io::ErrorKind::TimedOut));
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "one and the same");
    assert_eq!(cache.stats().loads_failed, 1);
}

#[tokio::test]
async fn whoever_leads_may_be_cancelled_again_and_again() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let starts = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (cache, starts) = (cache.clone(), Arc::clone(&starts));
            tokio::spawn(async move {
                let fetch = |_: &u32| async move {
                    // The last of them is the one that comes to an end.
                    if starts.fetch_add(1, Ordering::SeqCst) < 9 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<u32, ()>(5)
                };
                cache.get_or_fetch(1, fetch).await
            })
        })
        .collect();
    let mut tasks = std::collections::VecDeque::from(tasks);
    for led in 1..=9 {
        soon(async {
            while starts.load(Ordering::SeqCst) < led {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(cache.get(&1), None);
        // They lead in the order in which they came; if not, another is cancelled while it waits, which is as well.
        let leader = tasks.pop_front().expect("ten of them");
        leader.abort();
        assert!(soon(leader).await.unwrap_err().is_cancelled());
    }
    assert_eq!(soon(tasks.pop_front().expect("the last")).await.unwrap(), Ok(5));
    assert_eq!((starts.load(Ordering::SeqCst), cache.get(&1)), (10, Some(5)));
}

#[tokio::test]
async fn a_fetch_that_panics_hands_over() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move {
            let fetch = |_: &u32| async {
                tokio::task::yield_now().await;
                if true {
                    panic!("on purpose");
                }
                Ok::<u32, ()>(0)
            };
            cache.get_or_fetch(1, fetch).await
        }
    });
    tokio::task::yield_now().await;
    let waiter = soon(cache.get_or_fetch(1, |_| async { Ok::<_, ()>(5) })).await;
    assert!(soon(leader).await.unwrap_err().is_panic());
    assert_eq!((waiter, cache.get(&1)), (Ok(5), Some(5)));
}

#[tokio::test]
async fn a_waiter_that_leaves_disturbs_nobody() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_fetch(1, |_| async { gone.await.map(|()| 5).map_err(|_| ()) }).await }
    });
    tokio::task::yield_now().await;
    let wait =
        |cache: Cache<u32, u32>| async move { cache.get_or_fetch(1, |_| async { Ok::<_, ()>(6) }).await };
    let (leaves, stays) = (tokio::spawn(wait(cache.clone())), tokio::spawn(wait(cache.clone())));
    tokio::task::yield_now().await;
    leaves.abort();
    assert!(soon(leaves).await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    assert_eq!(soon(leader).await.unwrap(), Ok(5));
    assert_eq!(soon(stays).await.unwrap(), Ok(5), "one load, the leader's");
}

/// No runtime: a future run by hand, which waits for a thread that loads, and the other way round.
#[test]
fn threads_and_futures_wait_for_each_other_on_no_runtime() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn run<T>(future: impl Future<Output = T>) -> T {
        let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(thread::current()))));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park_timeout(PATIENCE),
            }
        }
    }
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let loading = Barrier::new(2);
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            cache.get_or_insert_with(1, |_| {
                loading.wait();
                thread::sleep(Duration::from_millis(20));
                Ok::<_, ()>(1)
            })
        });
        loading.wait();
        assert_eq!(run(cache.get_or_fetch(1, |_| async { Ok::<_, ()>(99) })), Ok(1));
        assert_eq!(leader.join().unwrap(), Ok(1));

        let leader = scope.spawn(|| {
            run(cache.get_or_fetch(2, |_| async {
                loading.wait();
                thread::sleep(Duration::from_millis(20));
                Ok::<_, ()>(2)
            }))
        });
        loading.wait();
        assert_eq!(cache.get_or_insert_with(2, |_| Ok::<_, ()>(99)), Ok(2));
        assert_eq!(leader.join().unwrap(), Ok(2));
    });
}

/// A value, and how many of its kind are alive; its clone panics when told to.
struct Value(Arc<AtomicI64>, Arc<AtomicI64>);

impl Value {
    fn new(alive: &Arc<AtomicI64>, clones: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive), Arc::clone(clones))
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        assert!(self.1.fetch_sub(1, Ordering::SeqCst) != 1, "a clone panics on purpose");
        Self::new(&self.0, &self.1)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A loader that panics, or a value whose copy does, at each point in turn: nothing leaks, and the next one loads.
#[test]
fn panics_around_a_load_leak_nothing() {
    let (alive, clones) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let cache: Cache<u64, Value> = Cache::builder(4).build();
    let mut panics = 0;
    for turn in 0..60_u64 {
        clones.store(turn as i64 % 6, Ordering::SeqCst);
        let load = || {
            cache.get_or_insert_with(turn / 3, |_| {
                assert!(turn % 7 != 0, "the loader panics on purpose");
                Ok::<_, ()>(Value::new(&alive, &clones))
            })
        };
        panics += usize::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).is_err());
        assert!(cache.weight() + cache.retired_weight() <= 4);
        clones.store(0, Ordering::SeqCst);
        assert!(cache.get_or_insert_with(turn / 3, |_| Ok::<_, ()>(Value::new(&alive, &clones))).is_ok());
        assert!(cache.contains_key(&(turn / 3)));
    }
    assert!(panics > 10, "{panics}");
    cache.reclaim();
    assert_eq!(alive.load(Ordering::SeqCst), cache.len() as i64);
    drop(cache);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}
