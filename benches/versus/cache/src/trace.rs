//! Request traces: read from files, or made by a seeded generator.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

/// A sequence of requests. Keys are numbered in the order of their first appearance, so that a simulator can keep
/// what it knows of a key in a plain vector.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What to call it in tables.
    pub name: String,
    /// One key a request.
    pub keys: Vec<u32>,
    /// How many different keys there are: the footprint.
    pub unique: u32,
}

impl Trace {
    /// Renumbers the keys in the order of their first appearance.
    #[must_use]
    pub fn new<T: Eq + std::hash::Hash>(name: &str, keys: impl IntoIterator<Item = T>) -> Self {
        let mut numbers: HashMap<T, u32, ahash::RandomState> = HashMap::default();
        let keys = keys
            .into_iter()
            .map(|key| {
                let next = numbers.len() as u32;
                *numbers.entry(key).or_insert(next)
            })
            .collect();
        Self { name: name.into(), keys, unique: numbers.len() as u32 }
    }

    /// Reads little-endian `u32` keys (`.u32`), or text with one key a line; either may be gzipped (`.gz`).
    ///
    /// # Errors
    /// The file cannot be read, is not valid gzip, or has no request.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let file = io::BufReader::new(std::fs::File::open(path)?);
        let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(inner) = name.strip_suffix(".gz") {
            name = inner.into();
            flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut bytes)?;
        } else {
            io::BufReader::new(file).read_to_end(&mut bytes)?;
        }
        let trace = if let Some(stem) = name.strip_suffix(".u32") {
            let words =
                bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            Self::new(stem, words)
        } else {
            let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
            Self::new(&name, lines.filter(|line| !line.is_empty()))
        };
        if trace.keys.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request in the trace"));
        }
        Ok(trace)
    }

    /// The traces that need no file: each stresses one weakness.
    #[must_use]
    pub fn synthetic() -> Vec<Self> {
        const KEYS: usize = 100_000;
        const REQUESTS: usize = 2_000_000;
        let mut traces = Vec::new();
        for (name, exponent) in [("zipf-0.7", 0.7), ("zipf-0.9", 0.9), ("zipf-1.0", 1.0), ("zipf-1.2", 1.2)] {
            let mut random = Random(7);
            let zipf = Zipf::new(KEYS, exponent);
            traces.push(Self::new(name, (0..REQUESTS).map(|_| zipf.draw(&mut random))));
        }
        traces.push(Self::one_hit_wonders(KEYS, REQUESTS));
        traces.push(Self::shifting(KEYS, REQUESTS));
        traces.push(Self::loops(KEYS / 5, REQUESTS / 2));
        traces.push(Self::scans(KEYS, REQUESTS));
        traces.push(Self::twice(KEYS, REQUESTS / 4));
        traces.push(Self::phases(KEYS / 2, REQUESTS));
        traces.push(Self::looped_pool(KEYS / 4, REQUESTS / 2));
        traces
    }

    /// Half of the requests are for keys that never come again.
    fn one_hit_wonders(keys: usize, requests: usize) -> Self {
        let (mut random, zipf) = (Random(11), Zipf::new(keys, 0.9));
        let mut once = keys;
        Self::new(
            "one-hit-wonders",
            (0..requests).map(|_| {
                if random.below(2) == 0 {
                    zipf.draw(&mut random)
                } else {
                    once += 1;
                    once
                }
            }),
        )
    }

    /// The popular set moves on by one key every twenty requests.
    fn shifting(keys: usize, requests: usize) -> Self {
        let (mut random, zipf) = (Random(13), Zipf::new(keys / 5, 0.9));
        Self::new("shifting", (0..requests).map(|at| at / 20 + zipf.draw(&mut random)))
    }

    /// The same keys in the same order, for ever.
    fn loops(keys: usize, requests: usize) -> Self {
        Self::new("loops", (0..requests).map(|at| at % keys))
    }

    /// A Zipf load through which a scan of new keys runs at full speed every so often.
    fn scans(keys: usize, requests: usize) -> Self {
        let (mut random, zipf) = (Random(17), Zipf::new(keys, 1.0));
        let mut scanned = keys;
        Self::new(
            "scans",
            (0..requests).map(|at| {
                if at % 100_000 < 30_000 {
                    scanned += 1;
                    scanned
                } else {
                    zipf.draw(&mut random)
                }
            }),
        )
    }

    /// Each key is asked for twice, and then never again, with many others between.
    fn twice(keys: usize, requests: usize) -> Self {
        let mut random = Random(29);
        let apart = keys / 10;
        Self::new(
            "twice",
            (0..requests).map(|at| {
                let new = at / 2;
                if at % 2 == 0 { new } else { new.saturating_sub(apart + random.below(apart / 10)) }
            }),
        )
    }

    /// By turns a Zipf load, a loop, and keys that are asked for again soon or never.
    fn phases(keys: usize, requests: usize) -> Self {
        let (mut random, zipf) = (Random(19), Zipf::new(keys, 1.0));
        let phase = requests / 8;
        let mut newest = 2 * keys;
        Self::new(
            "phases",
            (0..requests).map(|at| match at / phase % 4 {
                0 | 2 => zipf.draw(&mut random),
                1 => keys + at % (keys / 4),
                _ if random.below(3) == 0 => {
                    newest += 1;
                    newest
                }
                _ => {
                    newest
                        - (random.below(1 << 16) * random.below(1 << 16) / (1 << 16)) * (keys / 8) / (1 << 16)
                }
            }),
        )
    }

    /// An index whose pages are hot, and a table that is read in a loop: the case that LRU-K and LIRS were made for.
    fn looped_pool(keys: usize, requests: usize) -> Self {
        let mut random = Random(23);
        let hot = keys / 100;
        let mut at = 0;
        Self::new(
            "looped-pool",
            (0..requests).map(|turn| {
                if turn % 2 == 0 {
                    random.below(hot)
                } else {
                    at = (at + 1) % keys;
                    hot + at
                }
            }),
        )
    }
}

/// A generator of random numbers (xorshift64*): the same numbers for the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A number of [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks by a power law.
#[derive(Clone, Debug)]
pub struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    /// Rank `i` (from 0) is drawn in proportion to `1 / (i + 1)^exponent`.
    #[must_use]
    pub fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulated: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        cumulated.iter_mut().for_each(|part| *part /= sum);
        Self { cumulated }
    }

    /// A rank.
    pub fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit();
        self.cumulated.partition_point(|&part| part < at).min(self.cumulated.len() - 1)
    }
}
