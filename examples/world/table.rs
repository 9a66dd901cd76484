//! The last table: a page for each city, with PoPs and without.

use std::time::Duration;

use crate::geography::{CITIES, POPS};

/// The best time of each city so far, with and without.
#[derive(Debug)]
pub struct Rows {
    with: Vec<Duration>,
    without: Vec<Duration>,
}

impl Default for Rows {
    fn default() -> Self {
        Self { with: vec![Duration::MAX; CITIES.len()], without: vec![Duration::MAX; CITIES.len()] }
    }
}

/// Median and p90 over the cities, and how many are slower with PoPs.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub with: (Duration, Duration),
    pub without: (Duration, Duration),
    pub slower: usize,
}

impl Rows {
    /// Takes a round in: the best window counts.
    pub fn take(&mut self, with: &[Duration], without: &[Duration]) {
        let best = |kept: &mut Vec<Duration>, new: &[Duration]| {
            kept.iter_mut().zip(new).for_each(|(kept, &new)| *kept = new.min(*kept));
        };
        best(&mut self.with, with);
        best(&mut self.without, without);
    }

    /// One line a city; `pops` says where each is sent.
    pub fn lines(&self, pops: &[usize]) -> Vec<String> {
        let mut lines =
            vec![format!("{:<14} {:>4} {:>10} {:>12} {:>8}", "city", "PoP", "with PoPs", "without", "times")];
        for (index, city) in CITIES.iter().enumerate() {
            let (with, without) = (self.with[index], self.without[index]);
            lines.push(format!(
                "{:<14} {:>4} {:>7} ms {:>9} ms {:>8.1}",
                city.name,
                POPS[pops[index]].iata,
                with.as_millis(),
                without.as_millis(),
                without.as_secs_f64() / with.as_secs_f64().max(1e-9)
            ));
        }
        lines
    }

    pub fn summary(&self) -> Summary {
        let slower = self.with.iter().zip(&self.without).filter(|(with, without)| with > without).count();
        Summary { with: quantiles(&self.with), without: quantiles(&self.without), slower }
    }
}

fn quantiles(times: &[Duration]) -> (Duration, Duration) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    (sorted[sorted.len() / 2], sorted[sorted.len() * 9 / 10])
}
