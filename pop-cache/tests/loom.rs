//! Models of the lock-free protocols, every interleaving of them. Run with
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" CARGO_TARGET_DIR=target/loom
//! cargo test -p pop-cache --no-default-features --test loom --release`.
#![cfg(all(loom, not(shuttle)))]

use loom::sync::Arc;
use loom::thread;
use pop_cache::model::{Bound, Model};

/// Runs two threads over one model, at most two preemptions deep, and looks at what is left.
fn model(prepare: fn(&Model), first: fn(&Model), second: fn(&Model), check: fn(&Model)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 50_000;
    builder.check(move || {
        let model = Arc::new(Model::new());
        prepare(&model);
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || second(&other));
        first(&model);
        thread.join().unwrap();
        check(&model);
    });
}

#[test]
fn two_inserts_of_one_key_leave_one_entry() {
    model(
        |_| {},
        |model| model.insert(1, 10),
        |model| model.insert(1, 20),
        |model| {
            model.reclaim();
            assert_eq!(model.counts(), (1, 1));
            assert!(matches!(model.get(1), Some(10 | 20)));
        },
    );
}

#[test]
fn inserts_of_two_keys_with_one_tag_leave_both() {
    model(
        |_| {},
        |model| model.insert(1, 10),
        |model| model.insert(5, 50),
        |model| {
            assert_eq!(model.counts(), (2, 2));
            assert_eq!((model.get(1), model.get(5)), (Some(10), Some(50)));
        },
    );
}

#[test]
fn an_insert_and_a_remove_take_turns() {
    model(
        |model| model.insert(1, 10),
        |model| model.insert(1, 20),
        |model| assert!(model.remove(1) || model.get(1).is_none_or(|value| value == 20)),
        |model| {
            model.reclaim();
            let (entries, alive) = model.counts();
            assert_eq!(entries, alive);
            assert!(matches!(model.get(1), None | Some(20)));
        },
    );
}

#[test]
fn a_get_never_reads_what_is_reclaimed() {
    model(
        |model| model.insert(1, 10),
        |model| assert!(matches!(model.get(1), None | Some(10))),
        |model| {
            model.remove(1);
            model.reclaim();
        },
        |model| {
            model.reclaim();
            assert_eq!(model.counts(), (0, 0));
        },
    );
}

#[test]
fn a_get_sees_the_old_value_or_the_new() {
    model(
        |model| model.insert(1, 10),
        |model| assert!(matches!(model.get(1), Some(10 | 20))),
        |model| {
            model.insert(1, 20);
            model.reclaim();
        },
        |model| assert_eq!(model.get(1), Some(20)),
    );
}

#[test]
fn an_entry_is_evicted_or_removed_once() {
    model(
        |model| model.insert(1, 10),
        |model| {
            let _first = model.evict(0);
        },
        |model| {
            let _first = model.remove(1);
        },
        |model| {
            model.reclaim();
            assert_eq!(model.counts(), (0, 0));
        },
    );
}

#[test]
fn what_is_handed_over_stays_found() {
    model(
        |model| model.insert(1, 10),
        |model| assert_eq!(model.get(1), Some(10)),
        |model| {
            model.grow();
            model.help();
            model.help();
            model.reclaim();
        },
        |model| {
            assert_eq!(model.get(1), Some(10));
            assert_eq!(model.counts(), (1, 1));
        },
    );
}

#[test]
fn an_insert_survives_the_hand_over() {
    model(
        |_| {},
        |model| model.insert(1, 10),
        |model| {
            model.grow();
            model.help();
        },
        |model| {
            assert_eq!(model.get(1), Some(10));
            assert_eq!(model.counts(), (1, 1));
        },
    );
}

#[test]
fn a_removal_is_not_undone_by_a_late_hand_over() {
    model(
        |model| {
            model.insert(1, 10);
            model.grow();
        },
        |model| {
            assert!(model.remove(1));
            model.reclaim();
        },
        |model| model.help(),
        |model| {
            assert_eq!(model.get(1), None);
            assert_eq!(model.counts().0, 0);
        },
    );
}

#[test]
fn what_expires_is_found_whenever_it_came() {
    model(
        |model| model.insert_until(1, 20, 20),
        |model| model.insert_until(2, 10, 10),
        |model| {
            model.expire(10);
        },
        |model| {
            while model.expire(10) {}
            assert_eq!((model.get(2), model.get(1)), (None, Some(20)));
            while model.expire(20) {}
            assert_eq!(model.get(1), None);
        },
    );
}

#[test]
fn two_that_expire_take_an_entry_out_once() {
    let expire = |model: &Model| {
        model.expire(10);
    };
    model(
        |model| model.insert_until(1, 10, 10),
        expire,
        expire,
        |model| {
            model.reclaim();
            assert_eq!(model.counts(), (0, 0));
        },
    );
}

#[test]
fn a_replaced_entry_leaves_its_successor_its_own_time() {
    model(
        |model| model.insert_until(1, 10, 10),
        |model| model.insert_until(1, 20, 20),
        |model| {
            model.expire(10);
        },
        |model| {
            while model.expire(10) {}
            assert_eq!(model.get(1), Some(20));
            while model.expire(20) {}
            assert_eq!(model.get(1), None);
        },
    );
}

#[test]
fn reservations_never_pass_the_bound() {
    loom::model(|| {
        let bound = Arc::new(Bound::new(3));
        let other = Arc::clone(&bound);
        let thread = thread::spawn(move || {
            let got = other.claim(1, 2).unwrap_or(0);
            assert!(other.reserved() <= 3);
            other.release(got);
            got
        });
        let got = bound.claim(2, 3);
        assert!(bound.reserved() <= 3);
        let given_back = thread.join().unwrap();
        // Whoever was refused had met what the other held.
        assert!(got.is_some() || given_back == 2);
        assert_eq!(bound.reserved(), got.unwrap_or(0));
    });
}

#[test]
fn a_smaller_bound_holds_for_whoever_claims_after_it() {
    loom::model(|| {
        let bound = Arc::new(Bound::new(4));
        let other = Arc::clone(&bound);
        let thread = thread::spawn(move || other.resize(1));
        let first = bound.claim(2, 2);
        thread.join().unwrap();
        assert_eq!(bound.claim(2, 2), None);
        assert_eq!(bound.reserved(), first.unwrap_or(0));
    });
}
