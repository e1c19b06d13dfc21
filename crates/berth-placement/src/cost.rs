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

/// What a node costs that would hold `used` of `capacity` with the allocation on it, that holds `same_group` of its group,
/// and whose room would lose `loss` millionths of a device. Both are asked only where they count.
pub(crate) fn of_node(
    policy: Policy,
    used: Resources,
    capacity: Resources,
    same_group: impl FnOnce() -> u32,
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
        costs.add(Term::SameGroup, i64::from(same_group()) * weights.same_group);
    }
    costs
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
