//! Exponentials and logarithms in integers: the same bits on every machine.
//!
//! An exponent is in nats with 16 bits after the point (`ONE_NAT`), a probability in `CERTAIN`ths, a power of two.

/// One nat.
pub(super) const ONE_NAT: i64 = 1 << 16;
/// The probability of what is certain.
pub(super) const CERTAIN: u64 = 1 << CERTAIN_BITS;
/// The binary logarithm of `CERTAIN`.
pub(super) const CERTAIN_BITS: u32 = 31;

/// Exponents are looked up in 256ths of a nat: what that loses is well below the noise of any mix.
const STEP_BITS: u32 = 8;
/// Nats until an exponential is under one `CERTAIN`th.
const NATS: usize = 22;
/// `exp(-1/256)` in `CERTAIN`ths.
const ONE_STEP: u64 = 2_139_111_403;
/// `ln 2` in nats.
const LN_2: i64 = 45_426;

static DECAY: [u32; NATS << STEP_BITS] = decay_table();
static LN: [i64; 257] = ln_table();

const fn decay_table() -> [u32; NATS << STEP_BITS] {
    // 31 more bits while multiplying, so that the errors of 5,632 steps do not add up.
    let mut table = [0; NATS << STEP_BITS];
    let mut wide: u128 = (CERTAIN as u128) << 31;
    let mut at = 0;
    while at < table.len() {
        table[at] = (wide >> 31) as u32;
        wide = (wide * ONE_STEP as u128) >> CERTAIN_BITS;
        at += 1;
    }
    table
}

/// `ln(1 + i/256)` in nats, by the series of the area tangent: `ln x = 2 (t + t³/3 + t⁵/5 + …)`, `t = (x-1)/(x+1)`.
const fn ln_table() -> [i64; 257] {
    const BITS: u32 = 40;
    let mut table = [0; 257];
    let mut at = 0;
    while at <= 256 {
        let t = ((at as i128) << BITS) / (512 + at as i128);
        let square = (t * t) >> BITS;
        let (mut power, mut sum, mut odd) = (t, 0, 1);
        while odd < 41 {
            sum += power / odd;
            power = (power * square) >> BITS;
            odd += 2;
        }
        table[at] = ((2 * sum) >> (BITS - 16)) as i64;
        at += 1;
    }
    table
}

/// `exp(-nats)` in `CERTAIN`ths. `nats` is not negative.
pub(super) fn decay(nats: i64) -> u64 {
    debug_assert!(nats >= 0, "a decay never grows");
    usize::try_from(nats >> STEP_BITS).ok().and_then(|at| DECAY.get(at)).map_or(0, |found| u64::from(*found))
}

/// The natural logarithm of a number, in nats. Of 0 it says what it says of 1.
pub(super) fn ln(number: u64) -> i64 {
    let Some(bits) = number.checked_ilog2() else { return 0 };
    // The 16 bits below the leading one: 8 to look up, 8 to go between two entries.
    let mantissa = if bits >= 16 { number >> (bits - 16) } else { number << (16 - bits) } & 0xffff;
    let (at, between) = ((mantissa >> 8) as usize, (mantissa & 0xff) as i64);
    i64::from(bits) * LN_2 + LN[at] + (((LN[at + 1] - LN[at]) * between) >> 8)
}

/// The natural logarithm of a sum of probabilities that is at least one, in nats.
pub(super) fn ln_sum(sum: u64) -> i64 {
    ln(sum) - i64::from(CERTAIN_BITS) * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousandths of a nat.
    const CLOSE: i64 = ONE_NAT / 1_000;

    #[test]
    fn logarithms_of_products_are_sums() {
        for (left, right) in [(1, 1), (2, 3), (7, 11), (1_000, 999), (123_456_789, 987_654_321)] {
            assert!((ln(left * right) - ln(left) - ln(right)).abs() < CLOSE, "{left} times {right}");
        }
        assert_eq!(ln(1), 0);
        assert_eq!(ln(1 << 20), 20 * LN_2);
    }

    #[test]
    fn a_decay_is_the_inverse_of_a_logarithm() {
        assert_eq!(decay(0), CERTAIN);
        assert_eq!(decay(i64::MAX), 0);
        for divisor in [2, 3, 10, 1_000, 50_000] {
            let found = decay(ln(divisor));
            // A 256th of a nat is four thousandths of the result.
            let (least, most) = (CERTAIN / divisor, CERTAIN / divisor * 1_005 / 1_000 + 2);
            assert!((least..=most).contains(&found), "exp(-ln {divisor}) is {found}, not in {least}..={most}");
        }
    }
}
