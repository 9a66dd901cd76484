//! The cost of a hit, without sockets: `hit layer N` through the cache's layer, `hit lookup N` through a map that copies
//! the stored fields and sets `Age`, `hit none N` through neither. Run it under `valgrind --tool=callgrind` or
//! `perf stat -e instructions:u` with two values of N: the difference is the hits alone.

use std::hint::black_box;

use bytes::Bytes;
use http_body_util::Empty;
use pop_cache::http::HttpCache;
use tower_layer::Layer;
use tower_service::Service;
use versus_http::{LookUp, Origin, page, request};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let usage = "usage: hit layer|lookup|none N";
    let [_, what, rounds] = arguments.as_slice() else { panic!("{usage}") };
    let rounds: usize = rounds.parse().expect(usage);
    let bytes = 1024;
    let ask = || request(Empty::<Bytes>::new());
    match what.as_str() {
        "layer" => {
            let cache = HttpCache::builder(64 << 20).build().expect("settings that work");
            let mut service = cache.layer().layer(Origin { bytes });
            let first = service.call(ask()).await.expect("an answer");
            let _ = http_body_util::BodyExt::collect(first.into_body()).await;
            tokio::task::yield_now().await;
            for _ in 0..rounds {
                black_box(service.call(black_box(ask())).await.expect("an answer"));
            }
            assert_eq!(cache.handle().stats().hits as usize, rounds, "all of them hits");
        }
        "lookup" => {
            let lookup = LookUp::new("/index.html", bytes);
            for _ in 0..rounds {
                black_box(lookup.answer(black_box(&ask())));
            }
        }
        "none" => {
            let page = page(bytes);
            for _ in 0..rounds {
                black_box(black_box(&ask()));
            }
            drop(page);
        }
        _ => panic!("{usage}"),
    }
}
