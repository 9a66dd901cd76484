//! A rate as a fixed-point number: units of virtual time per nanosecond, one multiplication deep.

/// Units per nanosecond, and nanoseconds per unit, for arithmetic one multiplication deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Whole units per nanosecond: zero below a billion units a second.
    pub(crate) whole: u64,
    /// The rest: `fraction / 2^(64 + shift)`, with the highest bit set or zero, so the error is below 2⁻⁶³, upwards.
    pub(crate) fraction: u64,
    pub(crate) shift: u32,
    /// Nanoseconds per unit: `reciprocal / 2^reciprocal_shift`, rounded up; zero if nothing comes.
    pub(crate) reciprocal: u64,
    pub(crate) reciprocal_shift: u32,
}

impl Rate {
    pub(crate) const NONE: Self =
        Self { whole: 0, fraction: 0, shift: 0, reciprocal: 0, reciprocal_shift: 0 };

    /// `numerator / denominator` units per nanosecond.
    ///
    /// Rounded up: so whole results at whole nanoseconds come out whole, and a token that is due after exactly one
    /// second is there after exactly one second. The excess stays below half a nanosecond in 146 years.
    pub(crate) const fn new(numerator: u128, denominator: u128) -> Self {
        if numerator == 0 {
            return Self::NONE;
        }
        let (mantissa, exponent) = ratio(numerator, denominator);
        let (fraction, fraction_exponent) = ratio(numerator % denominator, denominator);
        let reciprocal = (1_u128 << 126).div_ceil(mantissa as u128) as u64;
        let whole = (numerator / denominator) as u64;
        // A fraction that rounds up to one is a whole.
        let (whole, fraction, shift) = match fraction_exponent.checked_sub(64) {
            // Not one unit in the 584 years that 64 bits of nanoseconds hold.
            Some(64..) => (whole, 0, 0),
            Some(shift) => (whole, fraction, shift),
            None => (whole + 1, 0, 0),
        };
        Self { whole, fraction, shift, reciprocal, reciprocal_shift: 126_u32.saturating_sub(exponent) }
    }

    /// Units per count of a counter that makes `nanos_per_count / 2⁶⁴` nanoseconds a count.
    #[cfg(feature = "std")]
    pub(crate) const fn by_count(self, nanos_per_count: u128) -> Self {
        // Both as a mantissa of 64 bits: the product is off by a part in 2⁶², upwards, which is half a tick in centuries.
        let (by_nanos, nanos_exponent) = if self.whole == 0 {
            (self.fraction, 64 + self.shift)
        } else {
            ratio((self.whole as u128) << 64 | self.fraction as u128 >> self.shift, 1 << 64)
        };
        let (nanos, count_exponent) = ratio(nanos_per_count, 1 << 64);
        if by_nanos == 0 {
            return Self::NONE;
        }
        let product = by_nanos as u128 * nanos as u128;
        let exponent = nanos_exponent + count_exponent;
        let whole = if exponent < 128 { product >> exponent } else { 0 };
        let rest = if exponent < 128 { product & ((1 << exponent) - 1) } else { product };
        let zeros = rest.leading_zeros();
        let Some(shift) = (exponent + zeros).checked_sub(128) else { return Self::NONE };
        if rest == 0 || shift >= 64 {
            return Self { whole: whole as u64, ..Self::NONE };
        }
        let fraction = match (rest << zeros >> 64) as u64 {
            u64::MAX => u64::MAX,
            fraction => fraction + 1,
        };
        Self { whole: whole as u64, fraction, shift, ..Self::NONE }
    }

    #[inline]
    pub(crate) const fn units_in(self, nanos: u64) -> u64 {
        let part = ((nanos as u128 * self.fraction as u128) >> 64) as u64 >> self.shift;
        nanos.wrapping_mul(self.whole).wrapping_add(part)
    }
}

/// `numerator / denominator` as `mantissa / 2^exponent` with the mantissa's highest bit set, rounded up; zero is
/// `(0, 64)`.
const fn ratio(numerator: u128, denominator: u128) -> (u64, u32) {
    if numerator == 0 {
        return (0, 64);
    }
    // A denominator of more than 62 bits loses its last ones: the ratio goes up by less than one part in 2⁶¹.
    let cut = (128 - denominator.leading_zeros()).saturating_sub(62);
    let denominator = denominator >> cut;
    let zeros = numerator.leading_zeros();
    // At least 2^127 over less than 2^62: the quotient has more than 64 bits.
    let quotient = (numerator << zeros).div_ceil(denominator);
    let excess = 64 - quotient.leading_zeros();
    match quotient.div_ceil(1 << excess) {
        // Rounding reached the next power of two.
        0x1_0000_0000_0000_0000 => (1 << 63, zeros + cut - excess - 1),
        mantissa => (mantissa as u64, zeros + cut - excess),
    }
}
