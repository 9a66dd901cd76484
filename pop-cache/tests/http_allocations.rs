//! What a hit allocates: the engine's decision nothing, the layer the copy of the stored fields and nothing else.

#![cfg(feature = "tower")]

mod http_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_support::{Edge, chunks, read};
use pop_cache::http::{Exchange, Policy, RequestDirectives, Reuse, Rules};
use tower_service::Service;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's; only a thread's own counter moves beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's obligations are the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let result = work();
    (ALLOCATIONS.get() - before, result)
}

#[test]
fn the_decision_for_a_hit_allocates_nothing() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut response = HeaderMap::new();
    response.insert("cache-control", HeaderValue::from_static("max-age=60, stale-while-revalidate=10"));
    response.insert("vary", HeaderValue::from_static("accept-encoding, accept-language"));
    let mut request = HeaderMap::new();
    request.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    request.insert("accept-language", HeaderValue::from_static("en, de;q=0.5"));
    request.insert("cache-control", HeaderValue::from_static("max-age=100, min-fresh=1"));
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        request_time: now,
        response_time: now,
    };
    let rules = Rules::default();
    let policy = Policy::new(&rules, &exchange);
    let selection = policy.vary().selection(&request, &response);
    let (count, reuse) = allocations(|| {
        assert!(selection.matches(&request));
        let directives = RequestDirectives::parse(&request);
        policy.reuse(&rules, &directives, now + Duration::from_secs(5), None)
    });
    assert!(matches!(reuse, Reuse::Fresh { .. }));
    assert_eq!(count, 0);
}

#[tokio::test]
async fn a_hit_allocates_its_copy_of_the_fields() {
    let edge = Edge::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), |builder| builder);
    edge.script(|_| {
        let response = Response::builder()
            .header("cache-control", "max-age=60")
            .header("vary", "accept-encoding")
            .header("content-type", "text/html")
            .header("x-own", "value");
        Ok(response.body(chunks(&["body"])).expect("a response"))
    });
    let request = || {
        let request =
            Request::builder().uri("http://test.example/page?x=1").header("accept-encoding", "gzip");
        request.body(String::new()).expect("a request")
    };
    let mut service = edge.service.clone();
    for _ in 0..2 {
        read(service.call(request()).await.expect("an answer")).await.expect("whole");
    }
    let stored = service.call(request()).await.expect("an answer").headers().clone();
    let (copy, _) = allocations(|| stored.clone());
    assert!(copy > 0);
    let asked = request();
    let (count, future) = allocations(|| service.call(asked));
    assert_eq!(count, copy, "the fields, and nothing else");
    let answer = future.await.expect("an answer");
    assert_eq!(answer.body().cache_status().ttl, Some(60));
    assert_eq!(edge.seen().len(), 1);
}
