//! Bounds that make most hops through leaves unnecessary.
//!
//! A hop through a leaf, from an arc that carries flow to another one, has a *slack*: what it adds to the
//! length of a path. It shrinks by no more than the price of the node where the flow is has risen, and that of
//! the other one has fallen. So sums are kept of how much any price has fallen, and, by *class* of nodes, of
//! how much prices have risen. A slack that was `s` when these were `d` is at least `s + d - e` when they are
//! `e`: what is remembered is `s + d`. As long as that bound is more than what a path may still cost, the leaf
//! need not be looked at again.
//!
//! An arc that carries flow is passed forward only, from the node where the flow is: there its price itself
//! stands for the rises. One that carries none is passed backward only; what is remembered of it tells the
//! class of the node where the flow is.

/// Bits that tell the class.
const CLASS_BITS: u32 = 12;
/// The others.
const VALUE_BITS: u32 = u32::BITS - CLASS_BITS;
/// For costs of so many bits nothing is cut off.
const EXACT_BITS: u32 = 16;

/// More than this is remembered as this: what is cut off can be put back then.
const MOST_KEY: i64 = 1 << 62;

/// What is remembered of a slack. That it may be nothing at all is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Memo(u32);

/// How slacks are remembered, and by how much they may have shrunk since.
#[derive(Clone, Debug)]
pub(super) struct Slacks {
    /// By class, how much prices have risen.
    rises: Vec<i64>,
    /// How much prices have fallen.
    falls: i64,
    /// Bits that are cut off, so that what is remembered is small enough.
    shift: u32,
    is_worn_out: bool,
}

impl Default for Slacks {
    fn default() -> Slacks {
        Slacks::new(0)
    }
}

fn class(node: u32) -> usize {
    node as usize % (1 << CLASS_BITS)
}

impl Slacks {
    /// For a network with costs up to this.
    pub(super) fn new(largest_cost: i64) -> Slacks {
        let bits = i64::BITS - largest_cost.leading_zeros();
        let shift = bits.saturating_sub(EXACT_BITS);
        Slacks { rises: vec![0; 1 << CLASS_BITS], falls: 0, shift, is_worn_out: false }
    }

    /// Notes that the price of a node has risen.
    pub(super) fn rise(&mut self, node: u32, by: i64) {
        let rises = &mut self.rises[class(node)];
        *rises += by;
        self.is_worn_out |= *rises >> self.shift >= 1 << (VALUE_BITS - 2);
    }

    /// Notes that prices have fallen, none by more than this.
    pub(super) fn fall(&mut self, by: i64) {
        self.falls += by;
        self.is_worn_out |= self.falls >> self.shift >= 1 << (VALUE_BITS - 2);
    }

    /// Whether prices have moved so much that slacks cannot be remembered well.
    pub(super) fn is_worn_out(&self) -> bool {
        self.is_worn_out
    }

    /// What to remember of a hop forward with this slack from a node with this price.
    pub(super) fn memo_forward(&self, slack: i64, price: i64) -> Memo {
        let key = slack.saturating_add(price).saturating_add(self.falls);
        Memo(self.value(key, u32::MAX))
    }

    /// The least that the slack of a hop forward can be by now, from a node that has this price.
    pub(super) fn bound_forward(&self, Memo(memo): Memo, price: i64) -> i64 {
        if memo == 0 {
            return 0;
        }
        (i64::from(memo) << self.shift).saturating_sub(price).saturating_sub(self.falls).max(0)
    }

    /// What to remember of a hop backward with this slack to the node where the flow is.
    pub(super) fn memo_backward(&self, slack: i64, node: u32) -> Memo {
        let class = class(node);
        let key = slack.saturating_add(self.falls).saturating_add(self.rises[class]);
        Memo(self.value(key, (1 << VALUE_BITS) - 1) << CLASS_BITS | class as u32)
    }

    /// A key without the bits that are cut off, and not more than can be remembered.
    fn value(&self, key: i64, most: u32) -> u32 {
        let value = key.clamp(0, MOST_KEY) >> self.shift;
        u32::try_from(value).unwrap_or(u32::MAX).min(most)
    }

    /// The least that the slack of a hop backward can be by now.
    pub(super) fn bound_backward(&self, Memo(memo): Memo) -> i64 {
        let value = i64::from(memo >> CLASS_BITS) << self.shift;
        value.saturating_sub(self.falls).saturating_sub(self.rises[class(memo)]).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Slacks;

    #[test]
    fn a_bound_is_never_more_than_the_slack() {
        for largest_cost in [0, 1000, 1 << 30, 1 << 57] {
            for slack in [0, 1, 999, 1 << 31, 1 << 57, 1 << 61] {
                let mut slacks = Slacks::new(largest_cost);
                for price in [-(1 << 61), -5, 0, 5, 1 << 33, 1 << 62] {
                    let memo = slacks.memo_forward(slack, price);
                    assert!(slacks.bound_forward(memo, price) <= slack);
                }
                let (forward, backward) = (slacks.memo_forward(slack, 7), slacks.memo_backward(slack, 3));
                assert!(slacks.bound_backward(backward) <= slack);
                slacks.fall(2);
                slacks.rise(3, 4);
                assert!(slacks.bound_forward(forward, 7 + 4) <= (slack - 6).max(0));
                assert!(slacks.bound_backward(backward) <= (slack - 6).max(0));
            }
        }
    }

    #[test]
    fn small_slacks_are_remembered_exactly() {
        let slacks = Slacks::new(5000);
        assert_eq!(slacks.bound_forward(slacks.memo_forward(700, 1200), 1200), 700);
        assert_eq!(slacks.bound_forward(slacks.memo_forward(700, 1200), 1300), 600);
        assert_eq!(slacks.bound_backward(slacks.memo_backward(700, 9)), 700);
    }
}
