//! How one device fills up: from whatever is free on it, one shape after another, until nothing more comes.
//!
//! A chain over the free steps of a device. In each state the next shape is drawn with a probability that grows with
//! its share of the mix and with what it brings (its size, less its price, plus what the rest is worth then); the
//! process may also stop. The worth of a state is the free energy of that draw, a maximum smoothed by `heat`.

use super::fixed::{CERTAIN, CERTAIN_BITS, decay, ln_sum};
use super::mix::STEPS;

/// A number for every count of free steps, from none to a whole device.
pub(super) type BySteps<T> = [T; STEPS + 1];

/// `ln 0.1`: that a device is given nothing more is a tenth as likely as that it is given anything at all.
const STOP: i64 = -150_902;

/// Devices are counted in 4,096ths, so that flows can be split.
pub(super) const DEVICE_BITS: u32 = 12;

/// All shapes of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Their steps, at least one.
    pub steps: usize,
    /// How much they are preferred, in nats.
    pub logit: i64,
}

/// The worth of each state, in nats, never falling with the room.
pub(super) fn worths(sizes: &[Size], chances: &mut Vec<u32>) -> BySteps<i64> {
    let mut worth = [0; STEPS + 1];
    chances.clear();
    chances.resize((STEPS + 1) * sizes.len(), 0);
    if sizes.is_empty() {
        return worth;
    }
    for (free, row) in chances.chunks_exact_mut(sizes.len()).enumerate() {
        let logit = |size: &Size| free.checked_sub(size.steps).map(|rest| size.logit + worth[rest]);
        let best = sizes.iter().filter_map(logit).fold(STOP, i64::max);
        let mut sum = decay(best - STOP);
        for (size, chance) in sizes.iter().zip(row.iter_mut()) {
            let odds = logit(size).map_or(0, |logit| decay(best - logit));
            sum += odds;
            *chance = u32::try_from(odds).expect("at most CERTAIN");
        }
        worth[free] = best + ln_sum(sum) - STOP;
        let scale = (1 << (2 * CERTAIN_BITS)) / sum;
        for chance in row {
            let scaled = (u64::from(*chance) * scale) >> CERTAIN_BITS;
            *chance = u32::try_from(scaled.min(CERTAIN)).expect("at most CERTAIN");
        }
    }
    worth
}

/// How much of each size goes into the supply, in 4,096ths of a placement. `chances` are those of the same sizes.
pub(super) fn flows(sizes: &[Size], chances: &[u32], supply: &BySteps<u64>) -> Vec<u64> {
    let mut flows = vec![0; sizes.len()];
    if sizes.is_empty() {
        return flows;
    }
    let mut waiting = *supply;
    for (free, row) in chances.chunks_exact(sizes.len()).enumerate().rev() {
        let here = waiting[free];
        if here == 0 {
            continue;
        }
        for ((size, chance), flow) in sizes.iter().zip(row).zip(flows.iter_mut()) {
            let part = (here * u64::from(*chance)) >> CERTAIN_BITS;
            if part > 0 {
                *flow += part;
                waiting[free - size.steps] += part;
            }
        }
    }
    flows
}

/// The logarithm of a sum of exponentials, and each one's share of the sum in `CERTAIN`ths.
pub(super) fn merge(logits: &[i64], shares: &mut Vec<u64>) -> i64 {
    shares.clear();
    let Some(best) = logits.iter().copied().max() else { return i64::MIN };
    shares.extend(logits.iter().map(|logit| decay(best - logit)));
    let sum: u64 = shares.iter().sum();
    let scale = (1 << (2 * CERTAIN_BITS)) / sum;
    for share in shares {
        *share = (*share * scale) >> CERTAIN_BITS;
    }
    best + ln_sum(sum)
}

#[cfg(test)]
mod tests {
    use super::super::fixed::ONE_NAT;
    use super::*;

    const DEVICE: u64 = 1 << DEVICE_BITS;

    fn size(steps: usize, nats: i64) -> Size {
        Size { steps, logit: nats * ONE_NAT }
    }

    #[test]
    fn room_is_worth_what_fits_into_it() {
        let worth = worths(&[size(40, 4)], &mut Vec::new());
        assert_eq!(worth[39], 0, "nothing fits");
        assert_eq!(worth[40], worth[79], "the second one does not fit yet");
        assert!(worth[80] > worth[79] * 19 / 10, "two are worth about twice as much as one");
    }

    #[test]
    fn worth_never_falls_with_the_room() {
        let worth = worths(&[size(40, 4), size(33, 2), size(81, 7)], &mut Vec::new());
        assert!(worth.windows(2).all(|pair| pair[0] <= pair[1]), "{worth:?}");
    }

    #[test]
    fn flows_are_bounded_by_the_room() {
        let (sizes, mut chances) = ([size(40, 4), size(30, 3)], Vec::new());
        worths(&sizes, &mut chances);
        let mut supply = [0; STEPS + 1];
        supply[100] = 10 * DEVICE;
        supply[29] = 10 * DEVICE;
        let flows = flows(&sizes, &chances, &supply);
        let steps = flows[0] * 40 + flows[1] * 30;
        assert!(steps <= 10 * DEVICE * 100, "no more than there is");
        assert!(steps > 10 * DEVICE * 95, "and nearly all of it, with 40 + 30 + 30");
    }

    #[test]
    fn shares_of_a_merge_sum_up_to_one() {
        let mut shares = Vec::new();
        let merged = merge(&[0, 0, ONE_NAT], &mut shares);
        assert_eq!(shares[0], shares[1]);
        assert!(shares[2] > 2 * shares[0]);
        let sum: u64 = shares.iter().sum();
        assert!(CERTAIN - sum < 10);
        assert!(merged > ONE_NAT);
    }
}
