//! Placing the allocations of a class, one after the other, over nodes that were evaluated once.

use berth_model::{
    AllocId, DecisionId, Explanation, Filter, Filtered, Gang, NodeId, Placement, Policy, Term, Verdict, WaitReason,
};

use crate::around::Around;
use crate::board::{Board, Hold};
use crate::field::{Field, enough_for};
use crate::filter::{self, Class};
use crate::whole::{all_fit_empty, never_on, one_fits_empty};

/// An allocation that is to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub alloc: AllocId,
    /// The one node it is for, as with system jobs.
    pub only: Option<NodeId>,
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
pub fn place(board: &mut Board, class: Class<'_>, wants: &[Want], policy: &Policy, decision: DecisionId) -> Outcome {
    let mut outcome = Outcome::default();
    if board.seats().is_empty() {
        if !wants.is_empty() {
            outcome.waiting.push((WaitReason::NoNodes, wants.iter().map(|w| w.alloc).collect()));
        }
        return outcome;
    }
    if policy.spec.counts(Term::Fragmentation) {
        board.follow();
    }
    let mut field = Field::evaluate(board, class, policy, enough_for(wants));
    let mut stuck = Vec::new();
    for want in wants {
        match field.choose(board, want) {
            Some((node, explanation)) => {
                let placement = take(board, &mut field, class, want, node, explanation, decision);
                outcome.placed.push((want.alloc, placement));
            }
            None => match want.only {
                Some(node) => {
                    outcome.waiting.push((why_not_on(&field, board, class, node, decision), vec![want.alloc]))
                }
                None => stuck.push(want.alloc),
            },
        }
    }
    if !stuck.is_empty() {
        outcome.waiting.push((why_nowhere(&field, board, class, policy, decision), stuck));
    }
    if class.group.rules.gang == Gang::Whole && !outcome.waiting.is_empty() {
        hold_back(board, class, wants, decision, &mut outcome);
    }
    outcome
}

/// Not all of a gang fit: none is placed.
fn hold_back(board: &mut Board, class: Class<'_>, wants: &[Want], decision: DecisionId, outcome: &mut Outcome) {
    let waiting = std::mem::take(&mut outcome.waiting);
    let Some((first_stuck, _)) = waiting.into_iter().next() else { return };
    let fit = count(outcome.placed.len());
    for (alloc, _) in outcome.placed.drain(..) {
        board.release(alloc);
    }
    let reason = gang_reason(board, class, wants.len(), fit, first_stuck, decision);
    outcome.waiting.push((reason, wants.iter().map(|want| want.alloc).collect()));
}

/// The reason of a gang of which only some fit, from that of the first who does not.
fn gang_reason(
    board: &Board,
    class: Class<'_>,
    gang: usize,
    fit: u32,
    first_stuck: WaitReason,
    decision: DecisionId,
) -> WaitReason {
    let WaitReason::NoNodeFits { decision: _, filtered, nearest, verdict } = first_stuck else { return first_stuck };
    let verdict = match verdict {
        Verdict::Waiting if all_fit_empty(board, class, count(gang)) => Verdict::Waiting,
        Verdict::Waiting | Verdict::Never => Verdict::Never,
    };
    WaitReason::GangIncomplete { decision, fit, wanted: count(gang), filtered, nearest, verdict }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// How many of so many of a class find a place on the board, which holds them from then on.
fn how_many_fit(board: &mut Board, class: Class<'_>, wanted: usize, policy: &Policy, decision: DecisionId) -> usize {
    let mut field = Field::evaluate(board, class, policy, wanted + 1);
    let last = berth_model::Incarnation(u32::MAX);
    (0..wanted)
        .take_while(|nth| {
            let want = Want { alloc: AllocId::new(last, *nth as u64), only: None, avoid: Vec::new(), leaving: None };
            let Some((node, explanation)) = field.choose(board, &want) else { return false };
            take(board, &mut field, class, &want, node, explanation, decision);
            true
        })
        .count()
}

/// Why `waiting` allocations of the class are not placed, with the numbers of this moment. None: there is room for them.
pub fn why_waiting(
    board: &Board,
    class: Class<'_>,
    waiting: usize,
    only: Option<NodeId>,
    policy: &Policy,
    decision: DecisionId,
) -> Option<WaitReason> {
    if board.seats().is_empty() {
        return Some(WaitReason::NoNodes);
    }
    let field = Field::evaluate(board, class, policy, 1);
    if let Some(node) = only {
        return (!field.fits_on(board, node)).then(|| why_not_on(&field, board, class, node, decision));
    }
    match class.group.rules.gang {
        Gang::Free => (!field.has_room()).then(|| why_nowhere(&field, board, class, policy, decision)),
        Gang::Whole => {
            let mut copy = board.clone();
            let fit = how_many_fit(&mut copy, class, waiting, policy, decision);
            (fit < waiting).then(|| {
                let stuck = Field::evaluate(&copy, class, policy, 1);
                let reason = why_nowhere(&stuck, &copy, class, policy, decision);
                gang_reason(board, class, waiting, count(fit), reason, decision)
            })
        }
    }
}

/// Whether an allocation of the class would fit on one of these nodes.
pub fn fits_on_any(board: &Board, class: Class<'_>, mut nodes: impl Iterator<Item = NodeId>) -> bool {
    let around = Around::of(board, class);
    let wanted = class.group.resources();
    nodes.any(|node| {
        let Some(seat) = board.seats().get(&node) else { return false };
        let has_room = filter::no_room(seat, class, wanted).is_none();
        has_room && filter::first(seat, class, wanted).is_none() && around.allows(node, &seat.fingerprint)
    })
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
    if filter::first(&without, class, class.group.resources()).is_some() {
        return false;
    }
    let mut around = Around::of(board, class);
    around.without(class, hold, &seat.fingerprint);
    around.allows(hold.node, &seat.fingerprint)
}

/// Holds the chosen node for `alloc`.
pub(crate) fn take(
    board: &mut Board,
    field: &mut Field<'_>,
    class: Class<'_>,
    want: &Want,
    node: NodeId,
    explanation: Explanation,
    decision: DecisionId,
) -> Placement {
    let seat = board.seats().get(&node).expect("the field was made from the board's nodes");
    let ports = filter::choose_ports(seat, class).expect("a node in the open has its ports free");
    let devices = field.devices(board, seat).grants(seat);
    let placement = Placement { node, ports, devices, decision, explanation };
    let before = field.cost_now(board, node);
    board.hold(want.alloc, Hold::of(&class.job.id, class.group, &placement));
    field.taken(board, node, before);
    placement
}

/// Why the node takes none. Where it never will, it is looked at as if it were empty: what is on it now is not what
/// stands in the way.
fn why_not_on(field: &Field<'_>, board: &Board, class: Class<'_>, node: NodeId, decision: DecisionId) -> WaitReason {
    let Some(seat) = board.seats().get(&node) else {
        // A node that is not on the board was collected: it is as lost as can be.
        let filtered = Filtered::from([(Filter::NodeLost, 1)]);
        return WaitReason::NoNodeFits { decision, filtered, nearest: None, verdict: Verdict::Never };
    };
    let empty = seat.emptied();
    let (verdict, seat, filter) = match (never_on(&empty, class), field.filter_of(board, node)) {
        (Some(filter), _) => (Verdict::Never, &empty, filter),
        (None, Some(filter)) => (Verdict::Waiting, seat, filter),
        (None, None) => (Verdict::Waiting, seat, Filter::NodeLost),
    };
    let lack = matches!(filter, Filter::Exhausted(_)).then(|| filter::shortfall(seat, class, field.wanted)).flatten();
    let nearest = lack.map(|(_, shortfall)| (node, shortfall));
    WaitReason::NoNodeFits { decision, filtered: Filtered::from([(filter, 1)]), nearest, verdict }
}

/// Why no node takes any. Where none ever will, all are looked at as if they were empty. What others do may change: a
/// class that looks for a job that is not there waits.
fn why_nowhere(
    field: &Field<'_>,
    board: &Board,
    class: Class<'_>,
    policy: &Policy,
    decision: DecisionId,
) -> WaitReason {
    if board.seats().values().any(|seat| one_fits_empty(seat, class)) {
        let (filtered, nearest) = (field.filtered(), field.nearest(board));
        return WaitReason::NoNodeFits { decision, filtered, nearest, verdict: Verdict::Waiting };
    }
    let board = board.emptied();
    let field = Field::evaluate(&board, class, policy, 1);
    let nearest = field.nearest(&board);
    WaitReason::NoNodeFits { decision, filtered: field.filtered(), nearest, verdict: Verdict::Never }
}
