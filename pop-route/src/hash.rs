//! Hashes and logarithms that give the same answer on every machine and in every release: DNS and HTTP, and all PoPs,
//! must agree on who goes where.

/// Spreads the bits of a number over all of it (the finaliser of splitmix64). A bijection.
#[inline]
pub(crate) const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A salt from a name: FNV-1a, then mixed. For names of an operator, not for keys from the network.
pub(crate) const fn salt(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let (mut hash, mut index) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    mix(hash)
}

/// Bits after the point in [`neg_log2`].
const FRACTION: u32 = 26;
const STEPS: usize = 256;

/// log2(1 + i / 256) with [`FRACTION`] bits, by squaring: integers only, so no platform's `ln` decides.
static LOG2: [u32; STEPS + 1] = {
    let mut table = [0; STEPS + 1];
    let mut step = 0;
    while step < STEPS {
        // One to two, with 62 bits after the point.
        let mut value = (1_u64 << 62) + ((step as u64) << 54);
        let (mut log, mut bit) = (0, 0);
        while bit < FRACTION {
            let square = ((value as u128 * value as u128) >> 62) as u64;
            let carry = square >> 63;
            log = log << 1 | carry as u32;
            value = square >> carry;
            bit += 1;
        }
        table[step] = log;
        step += 1;
    }
    table[STEPS] = 1 << FRACTION;
    table
};

/// −log2 of a fraction of 2^32, with [`FRACTION`] bits after the point; off by less than 3e-6. Zero counts as one.
#[inline]
pub(crate) fn neg_log2(fraction: u32) -> u32 {
    let fraction = fraction.max(1);
    let zeros = fraction.leading_zeros();
    let mantissa = fraction << zeros;
    let step = ((mantissa >> 23) & 0xff) as usize;
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    let between = (u64::from(high - low) * u64::from(mantissa & 0x7f_ffff)) >> 23;
    ((zeros + 1) << FRACTION) - (low + between as u32)
}

/// A node's score for a key in weighted rendezvous hashing: the lowest wins, and wins in proportion to its weight
/// (exponential clocks: −log(u) / weight). Scores compare through [`Score::beats`], without a division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    ticks: u32,
    weight: u32,
}

impl Score {
    #[inline]
    pub(crate) fn new(key: u64, salt: u64, weight: u32) -> Self {
        Self { ticks: neg_log2((mix(key ^ salt) >> 32) as u32), weight }
    }

    #[inline]
    pub(crate) const fn beats(self, other: Self) -> bool {
        self.ticks as u64 * (other.weight as u64) < other.ticks as u64 * self.weight as u64
    }

    /// The better one first.
    pub(crate) fn order(self, other: Self) -> core::cmp::Ordering {
        (u64::from(self.ticks) * u64::from(other.weight))
            .cmp(&(u64::from(other.ticks) * u64::from(self.weight)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_logarithms() {
        for fraction in (1..=u32::MAX - 9973).step_by(9973) {
            let exact = -(f64::from(fraction) / 4_294_967_296.0).log2();
            let ours = f64::from(neg_log2(fraction)) / f64::from(1 << FRACTION);
            assert!((exact - ours).abs() < 3e-6, "{fraction}: {exact} {ours}");
        }
    }
}
