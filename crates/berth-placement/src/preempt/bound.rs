//! What it costs at least that room is made on a node.
//!
//! By resources and the least prices alone: ports, devices, budgets and those who are spared can only make it dearer. What
//! it takes is on the seat itself, so that most nodes need no look at who exactly is there.

use berth_model::Resources;

use super::Prices;
use crate::board::Seat;

/// Sets that are tried for one node. With more that would have to be tried the bound is lower than it could be.
const STEPS: u32 = 128;

/// No set of those who may go makes room on the node for less than this. None: not even all of them make room.
pub(super) fn least(seat: &Seat, wanted: Resources, prices: &impl Prices) -> Option<u64> {
    let able = seat.standing().filter_map(|(_, standing, held)| Some((prices.least(standing)?, held)));
    let mut able: Vec<(u64, Resources)> = able.collect();
    able.sort_unstable_by_key(|(price, _)| *price);
    // What is promised beyond what there is has to go as well.
    let lacking = (wanted + seat.used) - seat.capacity;
    let rests = rests(able.iter().map(|(_, held)| *held));
    rests[0].needed(lacking)?;
    let mut bound = Bound { able: &able, rests: &rests, most: u64::MAX, unseen: u64::MAX, steps: STEPS };
    bound.extend(0, lacking, 0);
    (!able.is_empty()).then_some(bound.most.min(bound.unseen))
}

/// What those from a place in a list on hold: the sum, and of each dimension the most that one of them holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Rest {
    sum: Resources,
    largest: Resources,
}

impl Rest {
    /// How many of them have to go at least. None: all of them would not be enough.
    pub(super) fn needed(&self, lacking: Resources) -> Option<usize> {
        if !lacking.fits_in(&self.sum) {
            return None;
        }
        let dimensions = lacking.dimensions().into_iter().zip(self.largest.dimensions());
        let needed = dimensions.map(|(lacking, largest)| lacking.div_ceil(largest.max(1))).fold(1, u64::max);
        usize::try_from(needed).ok()
    }
}

/// Of each place in a list of what is held, and of its end.
pub(super) fn rests(held: impl DoubleEndedIterator<Item = Resources> + ExactSizeIterator) -> Vec<Rest> {
    let mut rests = vec![Rest::default(); held.len() + 1];
    for (at, own) in held.enumerate().rev() {
        let after = rests[at + 1];
        rests[at] = Rest { sum: after.sum + own, largest: after.largest.max_of_each(own) };
    }
    rests
}

struct Bound<'a> {
    /// The least price and the room of each, the cheapest first.
    able: &'a [(u64, Resources)],
    rests: &'a [Rest],
    /// The cheapest set so far.
    most: u64,
    /// What the sets cost at least that were not tried for want of steps.
    unseen: u64,
    steps: u32,
}

impl Bound<'_> {
    /// Goes through the sets that have more than what is chosen, from `from` on.
    fn extend(&mut self, from: usize, lacking: Resources, price: u64) {
        for at in from..self.able.len() {
            let Some(needed) = self.rests[at].needed(lacking) else { return };
            let cheapest = self.able[at..].iter().take(needed).map(|(price, _)| *price);
            let at_least = cheapest.fold(price, u64::saturating_add);
            // Both only rise from here on.
            if at_least >= self.most {
                return;
            }
            if self.steps == 0 {
                self.unseen = self.unseen.min(at_least);
                return;
            }
            let (own, held) = self.able[at];
            // A cheaper one that makes as much room was tried in its place.
            if self.able[from..at].iter().any(|(_, before)| held.fits_in(before)) {
                continue;
            }
            self.steps -= 1;
            let (lacking, price) = (lacking - held, price.saturating_add(own));
            if lacking == Resources::default() {
                self.most = price;
            } else {
                self.extend(at + 1, lacking, price);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_model::testkit::{machine, service};
    use berth_model::{AllocId, GroupName, Incarnation, JobId, NodeId, Preemptible, Priority, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::board::{Board, Eligibility, Hold, Standing};

    const LIFE: Incarnation = Incarnation(1);

    /// All below a priority go, the older the dearer.
    struct Fixed(u8);

    impl Prices for Fixed {
        fn least(&self, of: Standing) -> Option<u64> {
            let may = of.priority.0 < self.0 && of.preemptible == Preemptible::Yes;
            may.then_some(u64::from(of.priority.0) * 100 + 10 + of.since.0)
        }
        fn price(&self, _: AllocId) -> Option<u64> {
            None
        }
        fn left(&self, _: &JobId, _: &GroupName) -> u32 {
            u32::MAX
        }
        fn left_in_all(&self) -> u32 {
            u32::MAX
        }
    }

    /// The cheapest of all sets that make room, one by one.
    fn cheapest_of_all(seat: &Seat, wanted: Resources, prices: &Fixed) -> Option<u64> {
        let able = seat.standing().filter_map(|(_, standing, held)| Some((prices.least(standing)?, held)));
        let able: Vec<(u64, Resources)> = able.collect();
        let sets = (1..1u32 << able.len()).filter_map(|set| {
            let chosen = able.iter().enumerate().filter(|(at, _)| set & (1 << at) > 0);
            let (price, room) =
                chosen.fold((0, Resources::default()), |(price, room), (_, (own, held))| (price + own, room + *held));
            let promised = (seat.used + wanted) - room;
            promised.fits_in(&seat.capacity).then_some(price)
        });
        sets.min()
    }

    proptest! {
        #[test]
        fn no_set_is_cheaper(
            held in proptest::collection::vec((0..6u64, 0..6u64, 0..3u8, 0..9u64, any::<bool>()), 0..11),
            (cpu, memory) in (0..20u64, 0..20u64),
            (wanted_cpu, wanted_memory) in (0..12u64, 0..12u64),
            below in 0..4u8,
        ) {
            let mut board = Board::default();
            let node = NodeId::new(LIFE, 1);
            board.put_node(node, &machine("m").cpu(cpu).memory(memory).0, Eligibility::Ready);
            let few = held.len() <= 6;
            for ((cpu, memory, priority, since, yields), nth) in held.into_iter().zip(1..) {
                let spec = service("one").cpu(cpu).memory(memory);
                let preemptible = if yields { Preemptible::Yes } else { Preemptible::No };
                let standing = Standing { priority: Priority(priority), preemptible, since: Timestamp(since) };
                let hold = Hold::reserved(&spec.0.id, &spec.0.groups[0], node);
                board.hold(AllocId::new(LIFE, nth), Hold { standing: Some(standing), ..hold });
            }
            let wanted = service("vip").cpu(wanted_cpu).memory(wanted_memory).0.groups[0].resources();
            let (_, seat) = board.seats().at(0);
            let (bound, cheapest) = (least(seat, wanted, &Fixed(below)), cheapest_of_all(seat, wanted, &Fixed(below)));
            prop_assert_eq!(bound.is_some(), cheapest.is_some());
            prop_assert!(bound <= cheapest, "{:?} {:?}", bound, cheapest);
            if few {
                prop_assert_eq!(bound, cheapest);
            }
        }
    }
}
