//! Tries every flow. For graphs of a few arcs.

use berth_flow::{Instance, UNLIMITED};

/// The least cost over all flows; `None` where there is none.
///
/// An arc without a limit is tried up to all that any sum of supplies and bounds could make of it: more runs
/// in a circle, and a negative circle without a limit must not be there.
pub fn least_cost(instance: &Instance) -> Option<i128> {
    let finite = |capacity: i64| if capacity == UNLIMITED { 0 } else { capacity.abs() };
    let most: i64 = instance.supplies.iter().map(|supply| supply.abs()).sum::<i64>()
        + instance.arcs.iter().map(|arc| arc.lower.abs().max(finite(arc.capacity))).sum::<i64>();
    let mut search = Search { instance, most, rest: instance.supplies.clone(), best: None };
    search.go(0, 0);
    search.best
}

struct Search<'a> {
    instance: &'a Instance,
    most: i64,
    /// By node: supply minus what leaves so far, net.
    rest: Vec<i64>,
    best: Option<i128>,
}

impl Search<'_> {
    fn go(&mut self, at: usize, cost: i128) {
        let Some(arc) = self.instance.arcs.get(at) else {
            if self.rest.iter().all(|rest| *rest == 0) {
                self.best = Some(self.best.map_or(cost, |best| best.min(cost)));
            }
            return;
        };
        let (tail, head) = (arc.tail.0 as usize, arc.head.0 as usize);
        let capacity = if arc.capacity == UNLIMITED { self.most } else { arc.capacity };
        for flow in arc.lower..=capacity {
            self.rest[tail] -= flow;
            self.rest[head] += flow;
            self.go(at + 1, cost + i128::from(arc.cost) * i128::from(flow));
            self.rest[tail] += flow;
            self.rest[head] -= flow;
        }
    }
}
