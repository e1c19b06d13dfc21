//! How much of the GPUs is allocated while more and more is asked for.

use serde::Serialize;

/// Allocated against arrived GPU capacity, noted after every arrival.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// Thousandths of GPUs.
    capacity: u64,
    arrived: u64,
    allocated: u64,
    /// By arrived percent: the sum of what was allocated, and how often it was noted.
    noted: Vec<(u128, u64)>,
}

/// One point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// What has been asked for, in whole percent of the capacity, rounded.
    pub arrived_pct: u64,
    /// The mean of what was allocated at these arrivals, in percent of the capacity.
    pub allocated_pct: f64,
}

/// Beyond this, in percent, arrivals are not noted: an order of so many copies says nothing of packing.
const ARRIVED_MOST: u64 = 1_000;

impl Curve {
    pub(super) fn new(capacity: u64) -> Curve {
        Curve { capacity: capacity.max(1), arrived: 0, allocated: 0, noted: Vec::new() }
    }

    /// An arrival of so many thousandths, of which so many were allocated.
    pub(super) fn note(&mut self, arrived: u64, allocated: u64) {
        self.arrived += arrived;
        self.allocated += allocated;
        // Half a percent more, cut: rounded.
        let percent = (200 * self.arrived + self.capacity) / (2 * self.capacity);
        let Some(at) = usize::try_from(percent).ok().filter(|_| percent <= ARRIVED_MOST) else { return };
        if self.noted.len() <= at {
            self.noted.resize(at + 1, (0, 0));
        }
        self.noted[at].0 += u128::from(self.allocated);
        self.noted[at].1 += 1;
    }

    /// The points, by what had arrived; percents at which nothing arrived are left out.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let cell = |(arrived_pct, (sum, count)): (u64, &(u128, u64))| {
            let mean = *sum as f64 / *count as f64;
            Cell { arrived_pct, allocated_pct: 100.0 * mean / self.capacity as f64 }
        };
        (0..).zip(&self.noted).filter(|(_, (_, count))| *count > 0).map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_mean_over_the_arrivals_of_its_percent() {
        let mut curve = Curve::new(1_000);
        curve.note(4, 4); // 0.4 %: rounds to 0
        curve.note(3, 3); // 0.7 %: rounds to 1
        curve.note(5, 0); // 1.2 %: rounds to 1
        curve.note(3, 3); // 1.5 %: rounds to 2
        let cells = curve.cells();
        let found: Vec<(u64, u64)> =
            cells.iter().map(|cell| (cell.arrived_pct, (cell.allocated_pct * 1_000.0).round() as u64)).collect();
        assert_eq!(found, [(0, 400), (1, 700), (2, 1_000)]);
    }
}
