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
        let value = (slack + price + self.falls) >> self.shift;
        Memo(u32::try_from(value.max(0)).unwrap_or(u32::MAX))
    }

    /// The least that the slack of a hop forward can be by now, from a node that has this price.
    pub(super) fn bound_forward(&self, Memo(memo): Memo, price: i64) -> i64 {
        if memo == 0 {
            return 0;
        }
        ((i64::from(memo) << self.shift) - price - self.falls).max(0)
    }

    /// What to remember of a hop backward with this slack to the node where the flow is.
    pub(super) fn memo_backward(&self, slack: i64, node: u32) -> Memo {
        let class = class(node);
        let value = (slack + self.falls + self.rises[class]) >> self.shift;
        let value = u32::try_from(value).unwrap_or(u32::MAX).min((1 << VALUE_BITS) - 1);
        Memo(value << CLASS_BITS | class as u32)
    }

    /// The least that the slack of a hop backward can be by now.
    pub(super) fn bound_backward(&self, Memo(memo): Memo) -> i64 {
        let value = i64::from(memo >> CLASS_BITS) << self.shift;
        (value - self.falls - self.rises[class(memo)]).max(0)
    }
}
