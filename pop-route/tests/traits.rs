//! What is shared between threads can be.

use pop_route::{
    Announcer, Choice, ClientAtlas, Explanation, LiveTable, Maglev, PrefixSnapshot, PrefixTable, Rendezvous,
    ScopedSnapshot, Selector, SiteMap, Snapshot,
};

#[test]
fn handles_cross_threads() {
    const fn check<T: Send + Sync + core::fmt::Debug>() {}
    check::<Selector>();
    check::<Snapshot>();
    check::<Choice>();
    check::<Explanation>();
    check::<SiteMap>();
    check::<ClientAtlas>();
    check::<PrefixTable<String>>();
    check::<PrefixSnapshot<String>>();
    check::<ScopedSnapshot<String>>();
    check::<LiveTable<String>>();
    check::<Maglev>();
    check::<Rendezvous>();
    check::<Announcer>();
}
