//! What the assignment costs: a sum of parts, of which only those are looked at again that have changed.

/// One part for each node, or for each class.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    costs: Vec<i64>,
    /// Whether it has changed since it was looked at.
    is_stale: Vec<bool>,
    stale: Vec<usize>,
    sum: i128,
}

impl Parts {
    /// A part has changed.
    pub(super) fn touch(&mut self, at: usize) {
        if self.costs.len() <= at {
            self.costs.resize(at + 1, 0);
            self.is_stale.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_stale[at], true) {
            self.stale.push(at);
        }
    }

    /// The sum of all parts, of which one costs what `cost` says.
    pub(super) fn sum(&mut self, cost: impl Fn(usize) -> i64) -> i128 {
        for at in self.stale.drain(..) {
            self.is_stale[at] = false;
            let cost = cost(at);
            self.sum += i128::from(cost) - i128::from(std::mem::replace(&mut self.costs[at], cost));
        }
        self.sum
    }
}
