//! Who would have to go for an allocation that fits nowhere.
//!
//! On every node that suits, the cheapest set of allocations without which there would be room; of all nodes the cheapest
//! of these sets. The search goes through sets in order of the price of their members, gives up what cannot become
//! cheaper than the best so far, and tries at most [`STEPS`] sets in all: a node with very many small candidates may then
//! be left with a set that is sufficient and not the cheapest.

use std::collections::BTreeMap;

use berth_model::{AllocId, GroupName, JobId, NodeId};

use crate::around::Around;
use crate::board::{Board, Eligibility, Hold, Seat};
use crate::filter::{self, Class};

/// Sets that are tried in one call.
const STEPS: u32 = 20_000;

/// What may be done to others.
pub trait Prices {
    /// What it costs that an allocation ends; none where it must not. At least 1.
    fn price(&self, alloc: AllocId) -> Option<u64>;
    /// How many more of a group may end at once.
    fn left(&self, job: &JobId, group: &GroupName) -> u32;
    /// How many more may end at once in the whole cluster.
    fn left_in_all(&self) -> u32;
}

/// A place for which others have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Where.
    pub node: NodeId,
    /// Who has to go; at least one.
    pub victims: Vec<AllocId>,
    /// The sum of their prices.
    pub price: u64,
}

/// The cheapest eviction that makes room for one allocation of the class. Ties fall to the lower node id.
pub fn evict(board: &Board, class: Class<'_>, only: Option<NodeId>, prices: &impl Prices) -> Option<Eviction> {
    let around = Around::of(board, class);
    let mut steps = STEPS;
    let mut best: Option<Eviction> = None;
    for (node, seat) in board.seats() {
        let suits = seat.eligibility == Eligibility::Ready && filter::admits(&seat.fingerprint, class);
        if only.is_some_and(|only| only != *node) || !suits || !around.allows(*node, &seat.fingerprint) {
            continue;
        }
        let most = best.as_ref().map_or(u64::MAX, |best| best.price);
        if let Some((price, victims)) = cheapest(board, seat, class, prices, most, &mut steps) {
            best = Some(Eviction { node: *node, victims, price });
        }
    }
    best
}

/// The cheapest set on one node that costs less than `most`.
fn cheapest(
    board: &Board,
    seat: &Seat,
    class: Class<'_>,
    prices: &impl Prices,
    most: u64,
    steps: &mut u32,
) -> Option<(u64, Vec<AllocId>)> {
    let holders = seat.holders().filter_map(|alloc| Some((prices.price(alloc)?, alloc, board.held(alloc)?)));
    let mut candidates: Vec<(u64, AllocId, &Hold)> = holders.filter(|(price, ..)| *price < most).collect();
    candidates.sort_unstable_by_key(|(price, alloc, _)| (*price, *alloc));
    let mut without_all = seat.clone();
    candidates.iter().for_each(|(_, _, hold)| without_all.give_back(hold));
    // Where there is room already, something else is in the way, and who goes makes no difference.
    if has_room(seat, class) || !has_room(&without_all, class) {
        return None;
    }
    let mut search =
        Search { class, prices, candidates, best: None, most, chosen: Vec::new(), of_group: BTreeMap::new(), steps };
    search.extend(&seat.clone(), 0, 0);
    search.best
}

fn has_room(seat: &Seat, class: Class<'_>) -> bool {
    filter::no_room(seat, class, class.group.resources()).is_none()
}

struct Search<'a, P> {
    class: Class<'a>,
    prices: &'a P,
    candidates: Vec<(u64, AllocId, &'a Hold)>,
    best: Option<(u64, Vec<AllocId>)>,
    most: u64,
    chosen: Vec<AllocId>,
    of_group: BTreeMap<(&'a JobId, &'a GroupName), u32>,
    steps: &'a mut u32,
}

impl<P: Prices> Search<'_, P> {
    /// Goes through the sets that have one more than what is chosen, from the candidate `from` on.
    fn extend(&mut self, seat: &Seat, from: usize, price: u64) {
        if self.chosen.len() >= usize::try_from(self.prices.left_in_all()).unwrap_or(usize::MAX) {
            return;
        }
        for at in from..self.candidates.len() {
            let (own, alloc, hold) = self.candidates[at];
            let price = price.saturating_add(own);
            if price >= self.most || *self.steps == 0 {
                return;
            }
            let group = (&hold.job, &hold.group);
            let gone = self.of_group.get(&group).copied().unwrap_or(0);
            if gone >= self.prices.left(group.0, group.1) {
                continue;
            }
            *self.steps -= 1;
            let mut without = seat.clone();
            without.give_back(hold);
            self.chosen.push(alloc);
            if has_room(&without, self.class) {
                self.most = price;
                self.best = Some((price, self.chosen.clone()));
            } else {
                self.of_group.insert(group, gone + 1);
                self.extend(&without, at + 1, price);
                self.of_group.insert(group, gone);
            }
            self.chosen.pop();
        }
    }
}
