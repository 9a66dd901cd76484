//! Waiting and shaping, on tokio's paused clock: time passes only while everybody sleeps.
#![cfg(all(feature = "tokio", not(loom)))]

use std::sync::Arc;
use std::time::Duration;

use pop_ratelimit::tokio::{Lane, Patience, Shaped};
use pop_ratelimit::{Quota, TokenBucket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const MINUTE: Patience = Patience::new(Duration::from_secs(60));

fn paused<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // Spawning needs nothing but this thread.
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

#[test]
fn waiters_are_served_in_the_order_of_their_coming() {
    paused(async {
        let bucket = Arc::new(TokenBucket::new(Quota::per_second(100).burst(1)));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let start = Instant::now();
        let waiters: Vec<_> = (0..50)
            .map(|number| {
                let (bucket, order) = (Arc::clone(&bucket), Arc::clone(&order));
                tokio::task::spawn_local(async move {
                    bucket.until_ready(1, MINUTE).await.unwrap();
                    order.lock().unwrap().push((number, start.elapsed()));
                })
            })
            .collect();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        let order = order.lock().unwrap();
        assert!(order.iter().enumerate().all(|(place, (number, _))| place == *number));
        // No two within ten milliseconds: nobody was let through together.
        assert!(order.windows(2).all(|pair| pair[1].1 - pair[0].1 >= Duration::from_millis(10)));
        assert!((490..=540).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    });
}

#[test]
fn who_gives_up_gives_back() {
    paused(async {
        let bucket = TokenBucket::new(Quota::per_second(10).burst(10));
        bucket.until_ready(10, MINUTE).await.unwrap();
        // Reserved, and given up after 100 ms.
        let given_up = tokio::time::timeout(Duration::from_millis(100), bucket.until_ready(8, MINUTE)).await;
        assert!(given_up.is_err());
        let start = Instant::now();
        bucket.until_ready(2, MINUTE).await.unwrap();
        assert!((100..=102).contains(&start.elapsed().as_millis()), "as if the other had never come");
    });
}

#[test]
fn impatience_and_long_queues_are_told_at_once() {
    paused(async {
        let bucket = TokenBucket::new(Quota::per_second(1).burst(1));
        bucket.until_ready(1, MINUTE).await.unwrap();
        let start = Instant::now();
        let error = bucket.until_ready(1, Patience::new(Duration::from_millis(900))).await.unwrap_err();
        assert_eq!(error.decision().retry_after(), Some(Duration::from_secs(1)));
        assert!(bucket.until_ready(1, MINUTE.queue(0)).await.is_err());
        assert!(bucket.until_ready(2, MINUTE).await.unwrap_err().decision().retry_after().is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
        bucket.until_ready(1, MINUTE.queue(1)).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 1);
    });
}

/// Bytes that a writer gets through in two seconds.
async fn written_in_two_seconds(lane: Lane) -> u64 {
    let mut shaped = Shaped::new(tokio::io::sink(), Lane::open(), lane);
    let end = Instant::now() + Duration::from_secs(2);
    let (bytes, mut total) = (vec![0; 64 * 1024], 0);
    while let Ok(written) = tokio::time::timeout_at(end, shaped.write(&bytes)).await {
        total += written.unwrap() as u64;
    }
    total
}

#[test]
fn shaping_is_within_two_percent_from_a_megabit_to_a_gigabit() {
    for megabits in [1, 10, 100, 1000] {
        let quota = Quota::bits_per_second(megabits * 1_000_000);
        let bucket = Arc::new(TokenBucket::new(quota));
        let total = paused(written_in_two_seconds(Lane::new([bucket])));
        let ideal = megabits * 250_000;
        let deviation = total as f64 / ideal as f64 - 1.0;
        assert!(deviation.abs() <= 0.02, "{megabits} Mb/s: off by {deviation:+.4}");
        assert!(total <= ideal + quota.burst_size(), "never above the bound");
    }
}

#[test]
fn connections_share_fairly_and_none_exceeds_its_own() {
    paused(async {
        let all = Arc::new(TokenBucket::new(Quota::bits_per_second(40_000_000)));
        let slow = Arc::new(TokenBucket::new(Quota::bits_per_second(4_000_000)));
        let lanes = (0..5).map(|number| match number {
            0 => Lane::new([Arc::clone(&all), Arc::clone(&slow)]),
            _ => Lane::new([Arc::clone(&all)]),
        });
        let tasks: Vec<_> =
            lanes.map(|lane| tokio::task::spawn_local(written_in_two_seconds(lane))).collect();
        let mut totals = Vec::new();
        for task in tasks {
            totals.push(task.await.unwrap() as f64);
        }
        let sum: f64 = totals.iter().sum();
        assert!((sum / 10_000_000.0 - 1.0).abs() <= 0.02, "{totals:?}");
        assert!((totals[0] / 1_000_000.0 - 1.0).abs() <= 0.03, "its own level holds: {totals:?}");
        // The other four get the same.
        let mean = (sum - totals[0]) / 4.0;
        assert!(totals[1..].iter().all(|total| (total / mean - 1.0).abs() <= 0.03), "{totals:?}");
    });
}

#[test]
fn reading_is_shaped_too_and_nothing_is_lost() {
    paused(async {
        let (mut sender, receiver) = tokio::io::duplex(1 << 16);
        let bucket = Arc::new(TokenBucket::new(Quota::bits_per_second(8_000_000)));
        let mut shaped = Shaped::new(receiver, Lane::new([bucket]), Lane::open());
        let sent: Vec<u8> = (0..500_000_u32).map(|number| number as u8).collect();
        let copy = sent.clone();
        let start = Instant::now();
        tokio::task::spawn_local(async move { sender.write_all(&copy).await });
        let mut received = Vec::new();
        shaped.read_to_end(&mut received).await.unwrap();
        assert!(received == sent);
        let seconds = start.elapsed().as_secs_f64();
        assert!((0.48..=0.505).contains(&seconds), "half a megabyte at a megabyte a second: {seconds}");
    });
}

#[test]
fn a_lane_of_zero_is_an_error_and_not_a_hang() {
    paused(async {
        let blocked = Arc::new(TokenBucket::new(Quota::BLOCKED));
        let mut shaped = Shaped::new(tokio::io::sink(), Lane::open(), Lane::new([blocked]));
        assert!(shaped.write(b"x").await.is_err());
    });
}
