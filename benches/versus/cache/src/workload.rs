//! Streams of keys, made before the clock starts.

/// A small generator (splitmix64), the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The key of a rank: neighbours in rank are no neighbours as keys.
#[inline]
#[must_use]
pub fn key(rank: u32) -> u64 {
    u64::from(rank).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// `length` ranks below `keys`, each as likely as the others.
#[must_use]
pub fn uniform(keys: u32, length: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..length).map(|_| ((u128::from(random.next()) * u128::from(keys)) >> 64) as u32).collect()
}

/// `length` ranks below `keys`, rank `r` with probability proportional to `1 / (r + 1)^exponent`.
#[must_use]
pub fn zipf(keys: u32, exponent: f64, length: usize, seed: u64) -> Vec<u32> {
    let mut sums = Vec::with_capacity(keys as usize);
    let mut sum = 0.0;
    for rank in 0..keys {
        sum += (f64::from(rank) + 1.0).powf(-exponent);
        sums.push(sum);
    }
    let mut random = Random::new(seed);
    (0..length)
        .map(|_| {
            let point = random.unit() * sum;
            (sums.partition_point(|&below| below <= point) as u32).min(keys - 1)
        })
        .collect()
}
