//! Single flight under a thundering herd: a hundred threads ask, one loads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pop_cache::Cache;

fn main() {
    let cache: Cache<&str, String> = Cache::builder(100).build();
    let loads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let page = cache.get_or_insert_with("/", |path| {
                    loads.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                    Ok::<_, String>(format!("<h1>{path}</h1>"))
                });
                assert_eq!(page.as_deref(), Ok("<h1>/</h1>"));
            });
        }
    });
    println!("100 asked, {} loaded", loads.load(Ordering::Relaxed));
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}
