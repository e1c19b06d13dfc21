//! Makes the flow feasible and of least cost again: successive shortest paths on the residual network that
//! was kept, from the places that changed.
//!
//! Source: Ahuja, Magnanti, Orlin, *Network Flows* (1993), 9.7 (successive shortest paths with potentials).

use std::cmp::Reverse;

use super::bits::Bits;
use super::layout::Layout;
use super::lists::Span;
use super::patience::Patience;
use super::prices::NegativeCycle;
use super::rebuild::ids;
use super::search::{Found, Search, Way};
use super::{Left, Network, Pending};
use crate::problem::NodeId;
use crate::solution::{Budget, Outcome};

/// A price as far from 0 as this is a reason to start again; one solve takes it no further than the double.
pub(super) const FAR: i64 = 1 << 61;

/// A change of an arc's flow takes the time of so many looks at an arc.
const STEPS_PER_SHIFT: u64 = 8;

/// What a solve still has to route.
struct Work {
    /// Nodes with an excess, in the order in which they are served.
    sources: Vec<u32>,
    /// Nodes with a deficit, those with the most entries first.
    deficits: Vec<u32>,
}

impl Network {
    /// Brings flow and prices up to date after changes; solves from scratch what was never solved.
    pub fn resolve(&mut self, budget: Budget) -> Outcome {
        let mut search = std::mem::take(&mut self.search);
        search.steps = 0;
        if budget == Budget::UNLIMITED && self.pending.is_kept() && self.is_much(self.unbalanced_units() / 2) {
            self.forget();
        }
        let outcome = self.resolve_with(&mut search, budget);
        self.search = search;
        outcome
    }

    fn resolve_with(&mut self, search: &mut Search, budget: Budget) -> Outcome {
        self.list_arcs();
        // Prices drift while costs change for ever; far from an overflow they start again at 0.
        if self.pending.left == Left::Unsettled || search.extreme > FAR {
            search.extreme = 0;
            self.forget();
        }
        let pending = std::mem::take(&mut self.pending);
        let work = match self.prepare(search, &pending) {
            Ok(work) => work,
            Err(NegativeCycle(cycle)) => {
                self.pending.left = Left::Unsettled;
                return Outcome::Unbounded { cycle, steps: search.steps };
            }
        };
        let is_cold = pending.left != Left::Repairable;
        // Other costs have moved no units until now.
        if budget == Budget::UNLIMITED && !is_cold && self.is_much(self.units(&work.sources)) {
            return self.start_again(search);
        }
        let began = search.steps;
        let patience = match budget {
            Budget::UNLIMITED if !is_cold => Patience::with_repair(self.expected_from_scratch()),
            Budget::UNLIMITED if self.can_be_scaled() => Patience::Paths { size: self.size() },
            _ => Patience::Endless,
        };
        let Some(outcome) = self.route(search, &work, budget, patience) else {
            return if is_cold { self.solve_by_scaling(search) } else { self.start_again(search) };
        };
        if is_cold {
            self.steps_from_scratch = search.steps - began;
        }
        self.pending = pending;
        self.pending.left = Left::Repairable;
        self.pending.fresh.clear();
        self.pending.suspects.clear();
        self.pending.unbalanced.clear();
        if !matches!(outcome, Outcome::Optimal { .. }) {
            self.pending.unbalanced.extend(work.sources.into_iter().chain(work.deficits));
        }
        outcome
    }

    /// The steps of a solve from scratch: as many as the last one took, or as such a network takes at least.
    fn expected_from_scratch(&self) -> u64 {
        self.steps_from_scratch.max(self.least_from_scratch())
    }

    /// The steps of a solve from scratch where nobody is in anybody's way.
    fn least_from_scratch(&self) -> u64 {
        self.size() * 9 / 2
    }

    /// Whether so many units have to be moved that a repair, which moves each by itself, takes longer than a start from
    /// scratch, which moves all in a good order: a twentieth, or half of them where nobody is in anybody's way.
    fn is_much(&self, moved: u64) -> bool {
        let share = if self.steps_from_scratch > self.least_from_scratch() { 20 } else { 2 };
        self.supplied > 0 && moved.saturating_mul(share) >= self.supplied.unsigned_abs()
    }

    /// What changes have left at nodes, too much and too little together.
    fn unbalanced_units(&self) -> u64 {
        let mut unbalanced = self.pending.unbalanced.clone();
        unbalanced.sort_unstable();
        unbalanced.dedup();
        self.units(&unbalanced)
    }

    /// What these nodes have too much or too little.
    fn units(&self, nodes: &[u32]) -> u64 {
        nodes.iter().map(|id| self.excesses[*id as usize].unsigned_abs()).sum()
    }

    /// Without the ids that are free: those depend on history.
    fn size(&self) -> u64 {
        (self.arc_count() + self.node_count()) as u64
    }

    fn start_again(&mut self, search: &mut Search) -> Outcome {
        self.forget();
        self.resolve_with(search, Budget::UNLIMITED)
    }

    fn solve_by_scaling(&mut self, search: &mut Search) -> Outcome {
        self.forget();
        let scaled = self.scale(&mut search.steps);
        self.steps_from_scratch = search.steps;
        if let Err(mut cut) = scaled {
            cut.retain(|node| self.is_node(node.0));
            self.pending.left = Left::Unsettled;
            return Outcome::Infeasible { cut, steps: search.steps };
        }
        self.pending.left = Left::Repairable;
        // What is missing somewhere although nothing is left elsewhere.
        self.pending.unbalanced = ids(self.nodes.len()).filter(|id| self.excesses[*id as usize] != 0).collect();
        self.resolve_with(search, Budget::UNLIMITED)
    }

    /// Gives new nodes prices, makes every arc obey the rule of reduced costs, and says what is left to route.
    fn prepare(&mut self, search: &mut Search, pending: &Pending) -> Result<Work, NegativeCycle> {
        let mut unbalanced = pending.unbalanced.clone();
        if pending.left == Left::Repairable {
            self.price_fresh(&pending.fresh);
            self.obey(search, &pending.suspects, &mut unbalanced)?;
        } else {
            // No leaf carries flow that could be on the wrong arc.
            let is_inner = |id: &u32| self.is_arc(*id) && !self.layout.leaves.has(self.layout.arcs[*id as usize].tail);
            let inner: Vec<_> = ids(self.rooms.len()).filter(is_inner).collect();
            self.obey(search, &inner, &mut unbalanced)?;
            unbalanced = ids(self.nodes.len()).collect();
            let deficits: Vec<_> = unbalanced.iter().copied().filter(|id| self.excesses[*id as usize] < 0).collect();
            self.layout.news.tell_all();
            search.hear(&mut self.layout, self.limits.largest_cost());
            search.price_all(&mut self.layout, &mut self.nodes, &deficits);
        }
        unbalanced.retain(|id| self.excesses[*id as usize] != 0);
        unbalanced.sort_unstable();
        unbalanced.dedup();
        let missing = unbalanced.iter().copied().filter(|id| self.excesses[*id as usize] < 0).collect();
        let mut deficits = self.settle(missing);
        deficits.retain(|id| self.excesses[*id as usize] < 0);
        deficits.sort_unstable_by_key(|id| (Reverse(self.layout.ends[*id as usize].into.len()), *id));
        deficits.dedup();
        unbalanced.retain(|id| self.excesses[*id as usize] > 0);
        Ok(Work { sources: self.in_order_of_service(unbalanced), deficits })
    }

    /// Puts those first who lose most if they must take their worst arc instead of their best: what comes
    /// last then finds little better than its worst, and need not search for it. Only the second half is in
    /// this order; the first stays in the order of ids, in which neighbours share memory.
    fn in_order_of_service(&self, sources: Vec<u32>) -> Vec<u32> {
        let mut order: Vec<_> = sources.into_iter().map(|id| (self.regret(id), id)).collect();
        let middle = order.len() / 2;
        if middle > 0 {
            let (_, (median, _), _) = order.select_nth_unstable(middle);
            let median = *median;
            order.iter_mut().for_each(|(regret, _)| *regret = median.max(*regret));
        }
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The negative of how much a node has to lose.
    fn regret(&self, id: u32) -> i64 {
        let out = self.layout.out.open(self.layout.ends[id as usize].out);
        let prices = || out.iter().map(|id| self.price_through(*id));
        prices().min().unwrap_or(0) - prices().max().unwrap_or(0)
    }

    /// Takes flow back from nodes that miss some, all along its way as far as that costs nothing. Returns
    /// where deficits are then.
    fn settle(&mut self, missing: Vec<u32>) -> Vec<u32> {
        let mut settled = Vec::new();
        let mut passed = Bits::default();
        for start in missing {
            let (mut open, mut walk) = (vec![start], Vec::new());
            while let Some(node) = open.pop() {
                // Flow that runs in a circle would be taken back a little in each round, for ever.
                if passed.has(node) {
                    settled.push(node);
                    continue;
                }
                passed.insert(node);
                walk.push(node);
                self.settle_at(node, &mut open, &mut settled);
            }
            walk.into_iter().for_each(|node| passed.remove(node));
        }
        settled
    }

    fn settle_at(&mut self, node: u32, open: &mut Vec<u32>, settled: &mut Vec<u32>) {
        while self.excesses[node as usize] < 0 {
            let (layout, out) = (&self.layout, self.layout.ends[node as usize].out);
            let live = layout.out.live(out).iter();
            let dearest = live.max_by_key(|id| self.price_through(**id)).copied();
            // A leaf has no price of its own that could stand against it.
            let is_free =
                |id: &u32| layout.leaves.has(node) || self.price_through(*id) == self.nodes[node as usize].price;
            let Some(id) = dearest.filter(is_free) else {
                settled.push(node);
                break;
            };
            let amount = self.rooms[id as usize].down;
            let head = self.layout.arcs[id as usize].head;
            // A loop gives nothing back.
            self.push(id, if head == node { -amount } else { -amount.min(-self.excesses[node as usize]) });
            open.push(head);
        }
    }

    /// Routes what is left, path by path. `None` if `patience` is over.
    fn route(&mut self, search: &mut Search, work: &Work, budget: Budget, patience: Patience) -> Option<Outcome> {
        let began = search.steps;
        let units: i64 = work.sources.iter().map(|id| self.excesses[*id as usize]).sum();
        let mut routed = 0;
        let mut deficits = work.deficits.clone();
        for node in &deficits {
            search.missing.insert(*node);
        }
        let mut outcome = None;
        let mut patience = patience;
        let mut paths = 0_u64;
        let mut is_slow = false;
        'sources: for source in &work.sources {
            while self.excesses[*source as usize] > 0 {
                if patience.is_over(search.steps - began, routed, units) {
                    is_slow = true;
                    break 'sources;
                }
                if paths > 0 && search.steps >= budget.0 {
                    outcome = Some(Outcome::Unfinished { unrouted: units - routed, steps: search.steps });
                    break 'sources;
                }
                while deficits.last().is_some_and(|id| self.excesses[*id as usize] >= 0) {
                    deficits.pop();
                }
                paths += 1;
                search.hear(&mut self.layout, self.limits.largest_cost());
                match search.path(&mut self.layout, &mut self.nodes, *source, deficits.last().copied()) {
                    Found::Nothing => {
                        let cut = self.cut(search.reached(), Some(*source), |layout, out| layout.out.live(out));
                        outcome = Some(Outcome::Infeasible { cut, steps: search.steps });
                        break 'sources;
                    }
                    Found::Path => routed += self.augment(search, *source),
                }
            }
        }
        for node in &work.deficits {
            search.missing.remove(*node);
        }
        if is_slow || outcome.is_some() {
            return outcome;
        }
        if let Some(node) = work.deficits.iter().find(|node| self.excesses[**node as usize] < 0) {
            search.hear(&mut self.layout, self.limits.largest_cost());
            let reaching = search.reaching(&mut self.layout, &mut self.nodes, *node);
            let cut = self.cut(reaching, None, |layout, out| layout.out.open(out));
            return Some(Outcome::Infeasible { cut, steps: search.steps });
        }
        Some(Outcome::Optimal { cost: self.cost(), steps: search.steps })
    }

    /// These inner nodes, a leaf from which they were reached, and the leaves between: those with an arc, of
    /// the part of their list that is looked at, to one of the nodes.
    fn cut(&self, inner: &[u32], source: Option<u32>, part: fn(&Layout, Span) -> &[u32]) -> Vec<NodeId> {
        let mut inside = Bits::default();
        inner.iter().copied().chain(source).for_each(|node| inside.insert(node));
        let layout = &self.layout;
        let is_between = |leaf: u32| {
            let arcs = part(layout, layout.ends[leaf as usize].out);
            layout.leaves.has(leaf) && arcs.iter().any(|id| inside.has(layout.arcs[*id as usize].head))
        };
        ids(self.nodes.len())
            .filter(|id| self.is_node(*id) && (inside.has(*id) || is_between(*id)))
            .map(NodeId)
            .collect()
    }

    /// Sends as much as it can along the path that was found. Returns how much.
    fn augment(&mut self, search: &mut Search, source: u32) -> i64 {
        let mut path = Vec::new();
        let end = search.trace(&self.nodes, &self.layout.arcs, |id, way| path.push((id, way)));
        search.reprice(&mut self.nodes);
        let rooms = path.iter().map(|(id, way)| match way {
            Way::Along => self.rooms[*id as usize].up,
            Way::Against => self.rooms[*id as usize].down,
        });
        let amount = rooms.min().unwrap_or(0).min(self.excesses[source as usize]).min(-self.excesses[end as usize]);
        search.steps += STEPS_PER_SHIFT * path.len() as u64;
        for (id, way) in path {
            // A leaf that was passed through has its flow elsewhere now.
            if way == Way::Against {
                self.layout.tell(self.layout.arcs[id as usize].tail);
            }
            self.shift(id, if way == Way::Along { amount } else { -amount });
        }
        if self.layout.out.live(self.layout.ends[source as usize].out).len() > 1 {
            self.layout.tell(source);
        }
        self.excesses[source as usize] -= amount;
        self.excesses[end as usize] += amount;
        if self.excesses[end as usize] == 0 {
            search.missing.remove(end);
        }
        amount
    }
}
