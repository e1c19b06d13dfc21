//! Numbers that look random and are the same everywhere: splitmix64 (Steele, Lea, Flood, 2014).

/// A sequence of numbers.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A number from 1 to `most`, most of them small: twice as large, a quarter as likely.
    pub fn heavy(&mut self, most: u64) -> u64 {
        // The inverse of a bounded Pareto distribution with exponent 1, in whole numbers.
        let scale = 1_u128 << 32;
        let u = u128::from(self.below(1 << 32));
        let most = u128::from(most);
        ((most * scale) / (most * scale - u * (most - 1))) as u64
    }

    /// `count` different numbers below `end`, in no order.
    pub fn sample(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..end).collect();
        let count = count.min(end);
        for at in 0..count {
            let other = at + self.below((end - at) as u64) as usize;
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }
}
