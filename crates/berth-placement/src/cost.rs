//! What a node costs, term by term. What each term means, with unit, range and source, stands at [`Term`]; how much it
//! counts, a policy says.

use std::collections::BTreeMap;

use berth_model::{CostTerm, Preference, Resources, Term, Weights};

use crate::constraint::holds;

/// Every term, in the order in which explanations tell them.
const TERMS: [Term; Term::ALL.len()] = [
    Term::Utilisation,
    Term::Emptiness,
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
/// millionths of a device, which is asked only where it counts. A term without weight does not appear.
pub(crate) fn of_node(
    weights: &Weights,
    used: Resources,
    capacity: Resources,
    same_group: u32,
    loss: impl FnOnce() -> i64,
) -> Costs {
    let mut costs = Costs::default();
    let weight = |term| Some(i64::from(weights.of(term))).filter(|weight| *weight > 0);
    let (fullness, emptiness) = (weight(Term::Utilisation), weight(Term::Emptiness));
    if fullness.or(emptiness).is_some() {
        let full = i64::from(utilisation(used, capacity));
        fullness.into_iter().for_each(|weight| costs.add(Term::Utilisation, full * weight));
        emptiness.into_iter().for_each(|weight| costs.add(Term::Emptiness, (1_000 - full) * weight));
    }
    if let Some(weight) = weight(Term::Fragmentation) {
        costs.add(Term::Fragmentation, loss() * weight);
    }
    if let Some(weight) = weight(Term::SameGroup) {
        costs.add(Term::SameGroup, i64::from(same_group) * weight);
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

/// What a group's own rules cost, as the weights say.
pub(crate) fn add_rules(weights: &Weights, rules: Costs, costs: &mut Costs) {
    for (term, cost) in TERMS.into_iter().zip(rules.0) {
        let weight = i64::from(weights.of(term));
        if let Some(cost) = cost.filter(|_| weight > 0) {
            costs.add(term, cost * weight);
        }
    }
}

/// The last instance failed on the node.
pub(crate) fn add_failed_here(weights: &Weights, costs: &mut Costs) {
    let weight = i64::from(weights.of(Term::FailedHere));
    if weight > 0 {
        costs.add(Term::FailedHere, weight);
    }
}

/// One of the same group on the node is about to go: it does not count.
pub(crate) fn discount_leaving(weights: &Weights, costs: &mut Costs) {
    let at = TERMS.iter().position(|term| *term == Term::SameGroup).expect("every term is in the list");
    costs.0[at] = costs.0[at].map(|cost| (cost - i64::from(weights.of(Term::SameGroup))).max(0));
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
pub(crate) fn reached_from(weights: &Weights, limit: i64) -> Option<u64> {
    let weight = u64::from(weights.of(Term::Utilisation));
    // Room may gain by what is placed: that would pay for some of it.
    let alone = weight > 0 && weights.of(Term::Fragmentation) == 0;
    alone.then(|| u64::try_from(limit).unwrap_or(0).div_ceil(weight))
}

/// Whether how full a node is costs `limit` alone already, so that it costs as much at least. Asked of every node that fits,
/// so it multiplies where [`of_node`] divides.
pub(crate) fn reaches(weights: &Weights, used: Resources, capacity: Resources, limit: i64) -> bool {
    if weights.of(Term::Fragmentation) > 0 {
        // Room may gain by what is placed: that would pay for some of the rest.
        return false;
    }
    let (fullness, emptiness) = (weights.of(Term::Utilisation), weights.of(Term::Emptiness));
    let Some(limit) = limit.checked_sub(1).and_then(|below| u64::try_from(below).ok()) else { return true };
    // The least thousandths of utilisation, or of what is free, that cost so much.
    let weight = u64::from(if fullness > 0 { fullness } else { emptiness });
    let Some(thousandths) = limit.checked_div(weight).map(|below| below + 1) else { return false };
    let mut parts = used.dimensions().into_iter().zip(capacity.dimensions());
    let full = |used: u64, capacity: u64, thousandths: u64| {
        u128::from(used) * 1_000 >= u128::from(capacity.max(1)) * u128::from(thousandths)
    };
    if fullness > 0 {
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
    use berth_model::{BuiltIn, Bytes, CpuMillis, Mbits};

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
            policy in prop_oneof![Just(BuiltIn::Balanced), Just(BuiltIn::Pack)],
        ) {
            let (used, capacity) = (resources(used), resources(used) + resources(room));
            let weights = policy.weights();
            let cost = of_node(&weights, used, capacity, 0, || 0).total();
            prop_assert_eq!(reaches(&weights, used, capacity, limit), cost >= limit);
        }

        /// No node is passed over that costs less, whatever counts beside how full it is.
        #[test]
        fn what_reaches_a_limit_costs_as_much(
            used in (0..40u64, 0..40u64, 0..3u64, 0..2u64),
            room in (0..40u64, 0..40u64, 0..3u64, 0..2u64),
            limit in -3_000..3_000i64,
            (fullness, emptiness, fragmentation, same_group) in (0..3u32, 0..3u32, 0..3u32, 0..500u32),
            (others, loss) in (0..3u32, -200..2_000i64),
        ) {
            let weights = Weights::NONE.with(Term::Utilisation, fullness).with(Term::Emptiness, emptiness);
            let weights = weights.with(Term::Fragmentation, fragmentation).with(Term::SameGroup, same_group);
            let (used, capacity) = (resources(used), resources(used) + resources(room));
            let cost = of_node(&weights, used, capacity, others, || loss).total();
            prop_assert!(!reaches(&weights, used, capacity, limit) || cost >= limit, "{}", cost);
        }
    }
}
