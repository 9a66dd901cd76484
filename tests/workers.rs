//! Several runtimes serve one PoP: each has sockets of its own, none takes another's, and they end together.
#![cfg(feature = "serve")]

#[path = "../examples/cli/crew.rs"]
mod crew;

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crew::CrewError;
use pop_edge::{Origin, Pop, RunError};

const WORKERS: usize = 16;

fn shared() -> Pop {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Pop::cdn("test").http(address).host("*", Origin::http("127.0.0.1:1"));
    builder.share_ports().build().expect("it builds")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Serves on `WORKERS` threads that begin at one moment, and drains as soon as all of them were let go.
fn check(binds_first: bool) {
    let (pop, first) = (shared(), runtime());
    if binds_first {
        first.block_on(pop.bind()).expect("loopback");
    }
    let (start, begun) = (Barrier::new(WORKERS), AtomicUsize::new(0));
    let run = |own: tokio::runtime::Runtime| {
        start.wait();
        own.block_on(async {
            let until = async {
                begun.fetch_add(1, Ordering::SeqCst);
                // All have their sockets before the first may end.
                while begun.load(Ordering::SeqCst) < WORKERS && !pop.handle().is_draining() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let result = pop.run_until(until).await;
            // One that failed lets nobody wait for it.
            pop.handle().drain();
            result
        })
    };
    let results: Vec<Result<(), RunError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..WORKERS).map(|_| scope.spawn(|| run(runtime()))).collect();
        let own = run(first);
        let others = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        std::iter::once(own).chain(others).collect()
    });
    for result in results {
        result.expect("every worker serves");
    }
}

#[test]
fn workers_that_begin_at_once_each_get_sockets() {
    for _ in 0..20 {
        check(false);
        check(true);
    }
}

#[test]
fn a_worker_that_fails_ends_all_and_is_told_of() {
    let pop = shared();
    let serve = || runtime().block_on(pop.run()).map_err(|error| error.to_string());
    let count = AtomicUsize::new(0);
    let one_fails = || match count.fetch_add(1, Ordering::SeqCst) {
        2 => Err("no room".to_owned()),
        _ => serve(),
    };
    let ended = crew::together(&pop.handle(), 3, one_fails, serve);
    assert!(matches!(&ended, Err(CrewError::Failed(error)) if error == "no room"), "{ended:?}");
}

#[test]
fn a_worker_that_panics_ends_all_and_is_told_of() {
    let pop = shared();
    let serve = || runtime().block_on(pop.run()).map_err(|error| error.to_string());
    let count = AtomicUsize::new(0);
    let one_panics = || {
        assert!(count.fetch_add(1, Ordering::SeqCst) != 2, "this one is meant");
        serve()
    };
    let ended = crew::together(&pop.handle(), 3, one_panics, serve);
    assert!(matches!(ended, Err(CrewError::Panicked)), "{ended:?}");
    let own = crew::together(&shared().handle(), 0, || Ok::<_, String>(()), || Err("ours".into()));
    assert!(matches!(&own, Err(CrewError::Failed(error)) if error == "ours"), "{own:?}");
}
