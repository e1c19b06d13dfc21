//! Placing the allocations of a class, one after the other, over nodes that were evaluated once.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    AllocId, CostTerm, DecisionId, Explanation, Filter, Filtered, NodeId, Placement, Policy, Port, PortName, Resources,
    Shortfall, Verdict, WaitReason,
};

use crate::board::{Board, Hold, Seat};
use crate::cost;
use crate::filter::{self, Class};

/// An allocation that is to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub alloc: AllocId,
    /// The one node it is for, as with system jobs.
    pub only: Option<NodeId>,
    /// The numbers of its ports, where they are decided already.
    pub ports: Option<BTreeMap<PortName, Port>>,
    /// Where earlier instances failed of late.
    pub avoid: Vec<NodeId>,
    /// The node of the instance that this one replaces, while that still holds its place there. It does not count as
    /// another of the same group: it is about to go.
    pub leaving: Option<NodeId>,
}

/// What came of placing a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The placed, in the order in which they were asked for.
    pub placed: Vec<(AllocId, Placement)>,
    /// Each reason for waiting with those who wait for it.
    pub waiting: Vec<(WaitReason, Vec<AllocId>)>,
}

/// Places `wants` in their order. What is placed is held on the board from then on.
pub fn place(board: &mut Board, class: Class<'_>, wants: &[Want], policy: Policy, decision: DecisionId) -> Outcome {
    let mut outcome = Outcome::default();
    if board.seats().is_empty() {
        if !wants.is_empty() {
            outcome.waiting.push((WaitReason::NoNodes, wants.iter().map(|w| w.alloc).collect()));
        }
        return outcome;
    }
    let mut field = Field::evaluate(board, class, policy);
    let mut stuck = Vec::new();
    for want in wants {
        if let Some(port) = taken_port(board, want) {
            let filtered = Filtered::from([(Filter::PortTaken(port), 1)]);
            let reason = WaitReason::NoNodeFits { decision, filtered, nearest: None, verdict: Verdict::Waiting };
            outcome.waiting.push((reason, vec![want.alloc]));
            continue;
        }
        match field.choose(want) {
            Some((node, explanation)) => {
                let placement = field.take(board, want, node, explanation, decision);
                outcome.placed.push((want.alloc, placement));
            }
            None => match want.only {
                Some(node) => outcome.waiting.push((field.why_not_on(board, node, decision), vec![want.alloc])),
                None => stuck.push(want.alloc),
            },
        }
    }
    if !stuck.is_empty() {
        outcome.waiting.push((field.why_nowhere(board, decision), stuck));
    }
    outcome
}

/// The first of the decided ports that is taken on the one node that is wanted.
fn taken_port(board: &Board, want: &Want) -> Option<Port> {
    let seat = board.seats().get(&want.only?)?;
    want.ports.as_ref()?.values().copied().find(|port| seat.ports.contains_key(port))
}

/// Why an allocation of the class is not placed, with the numbers of this moment. None: there is room for it.
pub fn why_waiting(
    board: &Board,
    class: Class<'_>,
    only: Option<NodeId>,
    policy: Policy,
    decision: DecisionId,
) -> Option<WaitReason> {
    if board.seats().is_empty() {
        return Some(WaitReason::NoNodes);
    }
    let field = Field::evaluate(board, class, policy);
    match only {
        Some(node) if field.fits_on(node) => None,
        Some(node) => Some(field.why_not_on(board, node, decision)),
        None if field.open.is_empty() => Some(field.why_nowhere(board, decision)),
        None => None,
    }
}

/// Whether an allocation of the class would fit on the node of `holder` if `holder` were gone.
pub fn fits_in_place_of(board: &Board, class: Class<'_>, only: Option<NodeId>, holder: AllocId) -> bool {
    let Some(hold) = board.held(holder) else { return false };
    if only.is_some_and(|node| node != hold.node) {
        return false;
    }
    let Some(seat) = board.seats().get(&hold.node) else { return false };
    let mut without = seat.clone();
    without.give_back(hold);
    filter::first(&without, class, class.group.resources()).is_none()
}

/// Every node as the class sees it.
struct Field<'a> {
    class: Class<'a>,
    policy: Policy,
    wanted: Resources,
    standings: BTreeMap<NodeId, Standing>,
    /// The nodes that fit, by cost and id.
    open: BTreeSet<(i64, NodeId)>,
    filtered: Filtered,
}

enum Standing {
    Fits { terms: Vec<CostTerm>, cost: i64 },
    Filtered(Filter),
}

impl<'a> Field<'a> {
    fn evaluate(board: &Board, class: Class<'a>, policy: Policy) -> Self {
        let mut field = Field {
            class,
            policy,
            wanted: class.group.resources(),
            standings: BTreeMap::new(),
            open: BTreeSet::new(),
            filtered: Filtered::new(),
        };
        let same_group = board.same_group(&class.job.id, &class.group.name);
        for (node, seat) in board.seats() {
            let same = same_group.and_then(|counts| counts.get(node)).copied().unwrap_or(0);
            field.put(*node, seat, same);
        }
        field
    }

    fn put(&mut self, node: NodeId, seat: &Seat, same_group: u32) {
        let standing = match filter::first(seat, self.class, self.wanted) {
            Some(filter) => {
                *self.filtered.entry(filter.clone()).or_default() += 1;
                Standing::Filtered(filter)
            }
            None => {
                let used = seat.used + self.wanted;
                let terms = cost::terms(self.policy, used, seat.fingerprint.resources, same_group);
                let cost = cost::total(&terms);
                self.open.insert((cost, node));
                Standing::Fits { terms, cost }
            }
        };
        self.standings.insert(node, standing);
    }

    /// The cheapest node for `want`, with the reasons. Nodes to avoid are dearer by a penalty, not forbidden.
    fn choose(&self, want: &Want) -> Option<(NodeId, Explanation)> {
        if let Some(only) = want.only {
            return match self.standings.get(&only)? {
                Standing::Fits { terms, .. } => Some((only, self.explain(1, Filtered::new(), terms.clone(), None))),
                Standing::Filtered(_) => None,
            };
        }
        let special: BTreeSet<NodeId> = want.avoid.iter().copied().chain(want.leaving).collect();
        let mut ranked: Vec<(i64, NodeId)> = Vec::new();
        ranked.extend(self.open.iter().filter(|(_, node)| !special.contains(node)).take(2));
        for node in special {
            if let Some(Standing::Fits { .. }) = self.standings.get(&node) {
                ranked.push((cost::total(&self.terms(node, want)), node));
            }
        }
        ranked.sort_unstable();
        let (_, node) = *ranked.first()?;
        let runner_up = ranked.get(1).map(|(_, other)| (*other, self.terms(*other, want)));
        let considered = u32::try_from(self.standings.len()).unwrap_or(u32::MAX);
        Some((node, self.explain(considered, self.filtered.clone(), self.terms(node, want), runner_up)))
    }

    fn explain(
        &self,
        considered: u32,
        filtered: Filtered,
        chosen: Vec<CostTerm>,
        runner_up: Option<(NodeId, Vec<CostTerm>)>,
    ) -> Explanation {
        Explanation { policy: self.policy, considered, filtered, chosen, runner_up }
    }

    fn terms(&self, node: NodeId, want: &Want) -> Vec<CostTerm> {
        let mut terms = match self.standings.get(&node) {
            Some(Standing::Fits { terms, .. }) => terms.clone(),
            Some(Standing::Filtered(_)) | None => Vec::new(),
        };
        if want.leaving == Some(node) {
            cost::discount_leaving(self.policy, &mut terms);
        }
        if want.avoid.contains(&node) {
            terms.push(cost::failed_here(self.policy));
        }
        terms
    }

    /// Holds the chosen node for `alloc` and evaluates that node anew.
    fn take(
        &mut self,
        board: &mut Board,
        want: &Want,
        node: NodeId,
        explanation: Explanation,
        decision: DecisionId,
    ) -> Placement {
        let seat = board.seats().get(&node).expect("the field was made from the board's nodes");
        let free = || filter::choose_ports(seat, self.class).expect("a node in the open has its ports free");
        let ports = want.ports.clone().unwrap_or_else(free);
        let hold = Hold {
            node,
            job: self.class.job.id.clone(),
            group: self.class.group.name.clone(),
            resources: self.wanted,
            ports: ports.values().copied().collect(),
        };
        board.hold(want.alloc, hold);
        if let Some(Standing::Fits { cost, .. }) = self.standings.get(&node) {
            self.open.remove(&(*cost, node));
        }
        let same = board.same_group(&self.class.job.id, &self.class.group.name);
        let same = same.and_then(|counts| counts.get(&node)).copied().unwrap_or(0);
        let seat = board.seats().get(&node).expect("still there");
        self.put(node, seat, same);
        Placement { node, ports, decision, explanation }
    }

    fn fits_on(&self, node: NodeId) -> bool {
        matches!(self.standings.get(&node), Some(Standing::Fits { .. }))
    }

    /// Why the node takes none. Where it never will, it is looked at as if it were empty: what is on it now is not
    /// what stands in the way.
    fn why_not_on(&self, board: &Board, node: NodeId, decision: DecisionId) -> WaitReason {
        let Some(seat) = board.seats().get(&node) else {
            // A node that is not on the board was collected: it is as lost as can be.
            let filtered = Filtered::from([(Filter::NodeLost, 1)]);
            return WaitReason::NoNodeFits { decision, filtered, nearest: None, verdict: Verdict::Never };
        };
        let empty = seat.emptied();
        let (verdict, seat, filter) = match (filter::first(&empty, self.class, self.wanted), self.standings.get(&node))
        {
            (Some(filter), _) => (Verdict::Never, &empty, filter),
            (None, Some(Standing::Filtered(filter))) => (Verdict::Waiting, seat, filter.clone()),
            (None, Some(Standing::Fits { .. }) | None) => (Verdict::Waiting, seat, Filter::NodeLost),
        };
        let lack = matches!(filter, Filter::Exhausted(_)).then(|| filter::shortfall(seat, self.wanted)).flatten();
        let nearest = lack.map(|(_, shortfall)| (node, shortfall));
        WaitReason::NoNodeFits { decision, filtered: Filtered::from([(filter, 1)]), nearest, verdict }
    }

    /// Why no node takes any. Where none ever will, all are looked at as if they were empty.
    fn why_nowhere(&self, board: &Board, decision: DecisionId) -> WaitReason {
        let fits_empty = |seat: &Seat| filter::first(&seat.emptied(), self.class, self.wanted).is_none();
        if board.seats().values().any(fits_empty) {
            let (filtered, nearest) = (self.filtered.clone(), self.nearest(board));
            return WaitReason::NoNodeFits { decision, filtered, nearest, verdict: Verdict::Waiting };
        }
        let board = board.emptied();
        let field = Field::evaluate(&board, self.class, self.policy);
        let nearest = field.nearest(&board);
        WaitReason::NoNodeFits { decision, filtered: field.filtered, nearest, verdict: Verdict::Never }
    }

    /// Of the nodes that only lack room, the one that lacks least.
    fn nearest(&self, board: &Board) -> Option<(NodeId, Shortfall)> {
        let misses = self.standings.iter().filter_map(|(node, standing)| match standing {
            Standing::Filtered(Filter::Exhausted(_)) => {
                let (lack, shortfall) = filter::shortfall(board.seats().get(node)?, self.wanted)?;
                Some((lack, *node, shortfall))
            }
            Standing::Filtered(_) | Standing::Fits { .. } => None,
        });
        misses.min_by_key(|(lack, node, _)| (*lack, *node)).map(|(_, node, shortfall)| (node, shortfall))
    }
}
