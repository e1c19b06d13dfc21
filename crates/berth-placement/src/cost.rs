//! The named cost terms, and the policies that weigh them.

use berth_model::{CostTerm, Policy, Resources, Term};

/// What a policy gives for each term. A term without weight does not appear in explanations.
struct Weights {
    /// For each millionth of a device that the room loses of its worth.
    fragmentation: i64,
    /// For each thousandth of utilisation; negative where full nodes are liked.
    utilisation: i64,
    /// For each allocation of the same group that is there already.
    same_group: i64,
    /// For a node where the last instance failed.
    failed_here: i64,
}

/// `Spread` puts the instances of a group on different nodes first (two on a node cost as much as half a node's
/// fill), and evens the load second. `Pack` only fills. Both leave a node where the last instance failed, unless
/// everything else is worse than two full nodes. `Fragmentation` keeps room that others can use, and counts in
/// millionths of a device.
fn weights(policy: Policy) -> Weights {
    match policy {
        Policy::Spread => Weights { fragmentation: 0, utilisation: 1, same_group: 500, failed_here: 2_000 },
        Policy::Pack => Weights { fragmentation: 0, utilisation: -1, same_group: 0, failed_here: 2_000 },
        Policy::Fragmentation => Weights { fragmentation: 1, utilisation: 0, same_group: 0, failed_here: 2_000_000 },
    }
}

/// The terms of a node that would hold `used` of `capacity` with the allocation on it, and whose room would lose
/// `loss` millionths of a device.
pub(crate) fn terms(policy: Policy, used: Resources, capacity: Resources, same_group: u32, loss: i64) -> Vec<CostTerm> {
    let weights = weights(policy);
    let mut terms = Vec::new();
    if weights.utilisation != 0 {
        let full = i64::from(utilisation(used, capacity));
        let utilisation = if weights.utilisation < 0 { 1_000 - full } else { full };
        terms.push(CostTerm { term: Term::Utilisation, cost: utilisation * weights.utilisation.abs() });
    }
    if weights.fragmentation != 0 {
        terms.push(CostTerm { term: Term::Fragmentation, cost: loss * weights.fragmentation });
    }
    if weights.same_group != 0 {
        terms.push(CostTerm { term: Term::SameGroup, cost: i64::from(same_group) * weights.same_group });
    }
    terms
}

/// The term of a node where the last instance failed.
pub(crate) fn failed_here(policy: Policy) -> CostTerm {
    CostTerm { term: Term::FailedHere, cost: weights(policy).failed_here }
}

/// One of the same group on the node is about to go: it does not count.
pub(crate) fn discount_leaving(policy: Policy, terms: &mut [CostTerm]) {
    if let Some(term) = terms.iter_mut().find(|term| term.term == Term::SameGroup) {
        term.cost = (term.cost - weights(policy).same_group).max(0);
    }
}

/// The sum that decides.
pub(crate) fn total(terms: &[CostTerm]) -> i64 {
    terms.iter().map(|t| t.cost).sum()
}

/// How full the fullest dimension is, in thousandths.
fn utilisation(used: Resources, capacity: Resources) -> u32 {
    let part = |used: u64, capacity: u64| -> u32 {
        if used == 0 {
            return 0;
        }
        let thousandths = u128::from(used) * 1_000 / u128::from(capacity.max(1));
        u32::try_from(thousandths.min(1_000)).expect("at most 1,000")
    };
    part(used.cpu.0, capacity.cpu.0)
        .max(part(used.memory.0, capacity.memory.0))
        .max(part(used.disk.0, capacity.disk.0))
        .max(part(used.network.0, capacity.network.0))
}
