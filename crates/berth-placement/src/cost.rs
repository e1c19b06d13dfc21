//! The named cost terms, and the policies that weigh them. What each term means, with unit, range and source, stands at
//! [`Term`].

use std::collections::BTreeMap;

use berth_model::{CostTerm, Policy, Preference, Resources, Term};

use crate::constraint::holds;

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
    /// For each thousandth that a group's own rules weigh.
    rules: i64,
}

/// `Spread` puts the instances of a group on different nodes first (two on a node cost as much as half a node's
/// fill), and evens the load second. `Pack` only fills. Both leave a node where the last instance failed, unless
/// everything else is worse than two full nodes. `Fragmentation` keeps room that others can use, and counts in
/// millionths of a device. What a group's own rules prefer has the weights that its job gives.
fn weights(policy: Policy) -> Weights {
    match policy {
        Policy::Spread => Weights { fragmentation: 0, utilisation: 1, same_group: 500, failed_here: 2_000, rules: 1 },
        Policy::Pack => Weights { fragmentation: 0, utilisation: -1, same_group: 0, failed_here: 2_000, rules: 1 },
        Policy::Fragmentation => {
            Weights { fragmentation: 1, utilisation: 0, same_group: 0, failed_here: 2_000_000, rules: 1_000 }
        }
    }
}

/// Every term, in the order in which explanations tell them.
const TERMS: [Term; 8] = [
    Term::Utilisation,
    Term::Fragmentation,
    Term::SameGroup,
    Term::FailedHere,
    Term::Preference,
    Term::Affinity,
    Term::AntiAffinity,
    Term::Spread,
];

/// What a node costs, term by term; a term that does not apply has none. Made for every node of every class, so it
/// allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Costs([Option<i64>; TERMS.len()]);

impl Costs {
    /// So much more of a term.
    pub(crate) fn add(&mut self, term: Term, cost: i64) {
        let at = TERMS.iter().position(|known| *known == term).expect("every term is in the list");
        *self.0[at].get_or_insert(0) += cost;
    }

    /// The sum that decides.
    pub(crate) fn total(&self) -> i64 {
        self.0.iter().flatten().sum()
    }

    /// The terms by name.
    pub(crate) fn terms(&self) -> Vec<CostTerm> {
        TERMS.iter().zip(self.0).filter_map(|(term, cost)| Some(CostTerm { term: *term, cost: cost? })).collect()
    }
}

/// What a node costs that would hold `used` of `capacity` with the allocation on it, and whose room would lose `loss`
/// millionths of a device, which is asked only where it counts.
pub(crate) fn of_node(
    policy: Policy,
    used: Resources,
    capacity: Resources,
    same_group: u32,
    loss: impl FnOnce() -> i64,
) -> Costs {
    let weights = weights(policy);
    let mut costs = Costs::default();
    if weights.utilisation != 0 {
        let full = i64::from(utilisation(used, capacity));
        let utilisation = if weights.utilisation < 0 { 1_000 - full } else { full };
        costs.add(Term::Utilisation, utilisation * weights.utilisation.abs());
    }
    if weights.fragmentation != 0 {
        costs.add(Term::Fragmentation, loss() * weights.fragmentation);
    }
    if weights.same_group != 0 {
        costs.add(Term::SameGroup, i64::from(same_group) * weights.same_group);
    }
    costs
}

/// Whether an emptier node costs less.
pub(crate) fn likes_even_load(policy: Policy) -> bool {
    weights(policy).utilisation > 0
}

/// What it costs that two of a group are on one node.
pub(crate) fn of_a_pair(policy: Policy) -> i64 {
    weights(policy).same_group
}

/// What a node lacks of what a group prefers.
pub(crate) fn add_preferences(preferences: &[Preference], attributes: &BTreeMap<String, String>, costs: &mut Costs) {
    for preference in preferences {
        let missed = !holds(&preference.constraint, attributes);
        costs.add(Term::Preference, if missed { i64::from(preference.weight.0) } else { 0 });
    }
}

/// What a group's own rules cost, as the policy weighs it.
pub(crate) fn add_rules(policy: Policy, rules: Costs, costs: &mut Costs) {
    for (term, cost) in TERMS.into_iter().zip(rules.0) {
        if let Some(cost) = cost {
            costs.add(term, cost * weights(policy).rules);
        }
    }
}

/// The last instance failed on the node.
pub(crate) fn add_failed_here(policy: Policy, costs: &mut Costs) {
    costs.add(Term::FailedHere, weights(policy).failed_here);
}

/// One of the same group on the node is about to go: it does not count.
pub(crate) fn discount_leaving(policy: Policy, costs: &mut Costs) {
    let at = TERMS.iter().position(|term| *term == Term::SameGroup).expect("every term is in the list");
    costs.0[at] = costs.0[at].map(|cost| (cost - weights(policy).same_group).max(0));
}

/// How full the fullest dimension is, in thousandths.
fn utilisation(used: Resources, capacity: Resources) -> u32 {
    let parts = used.dimensions().into_iter().zip(capacity.dimensions());
    let fullest = parts.map(|(used, capacity)| share(used, capacity.max(1), 1_000)).max().unwrap_or(0);
    u32::try_from(fullest.min(1_000)).expect("at most 1,000")
}

/// `part` of `whole` in so many parts, rounded down.
pub(crate) fn share(part: u64, whole: u64, parts: u64) -> u64 {
    match part.checked_mul(parts) {
        Some(product) => product / whole,
        None => u64::try_from(u128::from(part) * u128::from(parts) / u128::from(whole)).unwrap_or(u64::MAX),
    }
}

/// From how many thousandths on how full a node is costs `limit` alone already. None: no fullness does.
pub(crate) fn reached_from(policy: Policy, limit: i64) -> Option<u64> {
    let weight = u64::try_from(weights(policy).utilisation).ok().filter(|weight| *weight > 0)?;
    Some(u64::try_from(limit).unwrap_or(0).div_ceil(weight))
}

/// Whether how full a node is costs `limit` alone already. Asked of every node that fits, so it multiplies where
/// [`of_node`] divides.
pub(crate) fn reaches(policy: Policy, used: Resources, capacity: Resources, limit: i64) -> bool {
    let weight = weights(policy).utilisation;
    let Some(limit) = limit.checked_sub(1).and_then(|below| u64::try_from(below).ok()) else { return true };
    // The least thousandths of utilisation, or of what is free, that cost so much.
    let Some(thousandths) = limit.checked_div(weight.unsigned_abs()).map(|below| below + 1) else { return false };
    let mut parts = used.dimensions().into_iter().zip(capacity.dimensions());
    let full = |used: u64, capacity: u64, thousandths: u64| {
        u128::from(used) * 1_000 >= u128::from(capacity.max(1)) * u128::from(thousandths)
    };
    if weight > 0 {
        thousandths <= 1_000 && parts.any(|(used, capacity)| full(used, capacity, thousandths))
    } else {
        // Free by so much: in no dimension is it fuller than the rest.
        thousandths <= 1_000 && parts.all(|(used, capacity)| !full(used, capacity, 1_001 - thousandths))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use berth_model::{Bytes, CpuMillis, Mbits};

    fn resources((cpu, memory, disk, network): (u64, u64, u64, u64)) -> Resources {
        Resources { cpu: CpuMillis(cpu), memory: Bytes(memory), disk: Bytes(disk), network: Mbits(network) }
    }

    proptest! {
        /// What is asked in the short way is what the long way says.
        #[test]
        fn a_limit_is_reached_as_the_cost_says(
            used in (0..40u64, 0..u64::MAX / 2, 0..3u64, 0..2u64),
            room in (0..40u64, 0..u64::MAX / 2, 0..3u64, 0..2u64),
            limit in -3..1_005i64,
            policy in prop_oneof![Just(Policy::Spread), Just(Policy::Pack)],
        ) {
            let (used, capacity) = (resources(used), resources(used) + resources(room));
            let cost = of_node(policy, used, capacity, 0, || 0).total();
            prop_assert_eq!(reaches(policy, used, capacity, limit), cost >= limit);
        }
    }
}
