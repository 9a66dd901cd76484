//! A listener that keeps a second index in step with the cache: sessions by user, each told of once when it goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pop_cache::{Cache, RemovalCause};

type Counts = Arc<Mutex<HashMap<&'static str, usize>>>;

fn main() {
    let counts = Counts::default();
    let told = Arc::clone(&counts);
    let sessions: Cache<u64, &'static str> = Cache::builder(100)
        .time_to_live(Duration::from_millis(50))
        .on_removal(move |_: &u64, user: &&'static str, cause| {
            let mut counts = told.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(*user).or_default() -= 1;
            if cause == RemovalCause::Explicit {
                println!("{user} has logged out");
            }
        })
        .build();
    let log_in = |session, user| {
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default() += 1;
        sessions.insert(session, user).expect("it fits");
    };
    (0..150).for_each(|session| log_in(session, if session % 3 == 0 { "ada" } else { "grace" }));
    sessions.remove(&149);
    let open: usize = counts.lock().unwrap_or_else(PoisonError::into_inner).values().sum();
    println!("{open} open, {:?}", sessions.stats());
    assert_eq!(open, sessions.len());

    std::thread::sleep(Duration::from_millis(60));
    sessions.reclaim();
    let open: usize = counts.lock().unwrap_or_else(PoisonError::into_inner).values().sum();
    assert_eq!((open, sessions.len()), (0, 0));
}
