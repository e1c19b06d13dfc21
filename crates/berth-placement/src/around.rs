//! What the rules of a group make of where others are.
//!
//! A rule counts allocations per part of the cluster: its own group's, a peer's, or those of a group that shuns this
//! one. Rules over nodes are looked at node by node; rules over an attribute are looked at once per combination of the
//! values of all attributes that the class's rules name, see [`crate::field`].

use std::collections::BTreeMap;

use berth_model::{
    AtMost, Domain, Filter, Fingerprint, GroupName, JobId, NodeId, Relation, Rules, Sense, Spread, Strength, Term,
};

use crate::board::{Board, Hold};
use crate::cost::Costs;
use crate::filter::Class;

/// One rule with its counts.
struct Rule<'a> {
    what: What<'a>,
    per: Domain,
    counts: Counts,
    /// Whether it counts the class's own allocations.
    own: bool,
}

enum What<'a> {
    AtMost(&'a AtMost),
    Relation(&'a Relation),
    Spread {
        rule: &'a Spread,
        /// Parts that it names no target of.
        others: u32,
    },
    /// Allocations of this job are here that want none of the class near.
    Shunned(JobId),
}

/// How many there are in each part.
#[derive(Clone, Debug, Default)]
struct Counts {
    by_node: BTreeMap<NodeId, u32>,
    by_value: BTreeMap<String, u32>,
    total: u32,
}

impl Counts {
    fn add(&mut self, board: &Board, per: &Domain, node: NodeId, count: u32) {
        let Some(seat) = board.seats().get(&node) else { return };
        self.total += count;
        match per {
            Domain::Node => *self.by_node.entry(node).or_default() += count,
            Domain::Attribute(key) => {
                let Some(value) = seat.fingerprint.attributes.get(key) else { return };
                match self.by_value.get_mut(value) {
                    Some(known) => *known += count,
                    None => drop(self.by_value.insert(value.clone(), count)),
                }
            }
        }
    }

    fn remove_one(&mut self, per: &Domain, node: NodeId, fingerprint: &Fingerprint) {
        self.total = self.total.saturating_sub(1);
        let count = match per {
            Domain::Node => self.by_node.get_mut(&node),
            Domain::Attribute(key) => fingerprint.attributes.get(key).and_then(|value| self.by_value.get_mut(value)),
        };
        if let Some(count) = count {
            *count = count.saturating_sub(1);
        }
    }
}

/// How many a rule counts in one part. None: the node is in no part of the rule's.
type Here = Option<u32>;

/// All rules of a class, with what they count now.
pub(crate) struct Around<'a> {
    rules: Vec<Rule<'a>>,
    /// Allocations that the group is to have.
    wanted: u32,
}

impl<'a> Around<'a> {
    /// No rules at all.
    pub(crate) fn none() -> Around<'static> {
        Around { rules: Vec::new(), wanted: 0 }
    }

    /// The rules of a class with what they count on the board.
    pub(crate) fn of(board: &Board, class: Class<'a>) -> Around<'a> {
        let Rules { at_most, relations, spread, preferences: _, gang: _ } = &class.group.rules;
        let mut around = Around { rules: Vec::new(), wanted: class.group.count };
        let own = (&class.job.id, &class.group.name);
        for rule in at_most {
            around.add(board, What::AtMost(rule), rule.per.clone(), own);
        }
        for rule in spread {
            let others = board.parts(&rule.over, |value| !rule.targets.contains_key(value));
            around.add(board, What::Spread { rule, others }, rule.over.clone(), own);
        }
        for rule in relations {
            let is_own = rule.to.is(&class.job.id.name, &class.group.name);
            if board.is_imagined() && !is_own {
                continue;
            }
            let mut counts = Counts::default();
            let job = JobId { namespace: class.job.id.namespace.clone(), name: rule.to.job.clone() };
            for (node, count) in board.members(&job, rule.to.group.as_ref()) {
                counts.add(board, &rule.within, node, count);
            }
            around.rules.push(Rule { what: What::Relation(rule), per: rule.within.clone(), counts, own: is_own });
        }
        for (job, within, nodes) in board.shunning(&class.job.id, &class.group.name) {
            let mut counts = Counts::default();
            for (node, count) in nodes.iter() {
                counts.add(board, within, *node, *count);
            }
            around.rules.push(Rule { what: What::Shunned(job.clone()), per: within.clone(), counts, own: false });
        }
        around
    }

    fn add(&mut self, board: &Board, what: What<'a>, per: Domain, (job, group): (&JobId, &GroupName)) {
        let mut counts = Counts::default();
        for (node, count) in board.members(job, Some(group)) {
            counts.add(board, &per, node, count);
        }
        self.rules.push(Rule { what, per, counts, own: true });
    }

    /// The attributes that tell the parts of rules over attributes.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .rules
            .iter()
            .filter_map(|rule| match &rule.per {
                Domain::Attribute(key) => Some(key.clone()),
                Domain::Node => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Whether the class looks for its own kind and there is none yet: the first one changes what holds everywhere.
    pub(crate) fn seeks_itself(&self) -> bool {
        self.rules.iter().any(|rule| rule.own && rule.counts.total == 0 && rule.is_near())
    }

    /// Whether what the class itself holds changes what its rules say.
    pub(crate) fn counts_itself(&self) -> bool {
        self.rules.iter().any(|rule| rule.own)
    }

    /// Whether a rule over nodes may keep the class off some.
    pub(crate) fn filters_nodes(&self) -> bool {
        self.rules.iter().any(|rule| rule.per == Domain::Node && rule.may_break())
    }

    /// One of the class was placed.
    pub(crate) fn placed(&mut self, board: &Board, node: NodeId) {
        for rule in self.rules.iter_mut().filter(|rule| rule.own) {
            rule.counts.add(board, &rule.per, node, 1);
        }
    }

    /// As if an allocation were not there.
    pub(crate) fn without(&mut self, class: Class<'_>, hold: &Hold, fingerprint: &Fingerprint) {
        for rule in &mut self.rules {
            let counts = match &rule.what {
                What::AtMost(_) | What::Spread { .. } => hold.job == class.job.id && hold.group == class.group.name,
                What::Relation(relation) => {
                    hold.job.namespace == class.job.id.namespace && relation.to.is(&hold.job.name, &hold.group)
                }
                What::Shunned(by) => hold.job == *by && hold.shuns(&class.job.id, &class.group.name, &rule.per),
            };
            if counts {
                rule.counts.remove_one(&rule.per, hold.node, fingerprint);
            }
        }
    }

    /// The first rule over nodes that does not hold on the node, by its number.
    pub(crate) fn broken_on(&self, node: NodeId) -> Option<usize> {
        let here = |rule: &Rule<'_>| rule.counts.by_node.get(&node).copied().unwrap_or(0);
        self.rules.iter().position(|rule| rule.per == Domain::Node && rule.is_broken(Some(here(rule))))
    }

    /// The first rule over attributes that does not hold for these values of [`Around::keys`], by its number.
    pub(crate) fn broken_in(&self, keys: &[String], values: &[Option<String>]) -> Option<usize> {
        self.rules.iter().position(|rule| rule.per != Domain::Node && rule.is_broken(rule.in_part(keys, values)))
    }

    /// Whether all rules hold on a node.
    pub(crate) fn allows(&self, node: NodeId, fingerprint: &Fingerprint) -> bool {
        let keys = self.keys();
        let values: Vec<_> = keys.iter().map(|key| fingerprint.attributes.get(key).cloned()).collect();
        self.broken_on(node).is_none() && self.broken_in(&keys, &values).is_none()
    }

    /// What the rules over nodes cost on the node.
    pub(crate) fn costs_on(&self, node: NodeId, costs: &mut Costs) {
        for rule in self.rules.iter().filter(|rule| rule.per == Domain::Node) {
            let here = rule.counts.by_node.get(&node).copied().unwrap_or(0);
            rule.cost(None, Some(here), self.wanted, costs);
        }
    }

    /// What the rules over attributes cost for these values of [`Around::keys`].
    pub(crate) fn costs_in(&self, keys: &[String], values: &[Option<String>], costs: &mut Costs) {
        for rule in self.rules.iter().filter(|rule| rule.per != Domain::Node) {
            let value = rule.value(keys, values);
            rule.cost(value, rule.in_part(keys, values), self.wanted, costs);
        }
    }

    /// The filter that a rule is.
    pub(crate) fn filter(&self, rule: usize) -> Filter {
        match &self.rules[rule].what {
            What::AtMost(rule) => Filter::AtMost((*rule).clone()),
            What::Relation(rule) => Filter::Relation((*rule).clone()),
            What::Shunned(by) => Filter::Shunned(by.clone()),
            What::Spread { .. } => unreachable!("a spread is never broken"),
        }
    }
}

impl Rule<'_> {
    fn is_near(&self) -> bool {
        match self.what {
            What::Relation(relation) => relation.sense == Sense::Near,
            What::AtMost(_) | What::Spread { .. } | What::Shunned(_) => false,
        }
    }

    /// How many it counts in the part that these values tell.
    fn in_part(&self, keys: &[String], values: &[Option<String>]) -> Here {
        let value = self.value(keys, values)?;
        Some(self.counts.by_value.get(value).copied().unwrap_or(0))
    }

    fn value<'v>(&self, keys: &[String], values: &'v [Option<String>]) -> Option<&'v str> {
        let Domain::Attribute(key) = &self.per else { return None };
        let at = keys.iter().position(|known| known == key)?;
        values.get(at)?.as_deref()
    }

    fn may_break(&self) -> bool {
        match &self.what {
            What::AtMost(_) | What::Shunned(_) => true,
            What::Relation(relation) => relation.strength == Strength::Required,
            What::Spread { .. } => false,
        }
    }

    fn is_broken(&self, here: Here) -> bool {
        match &self.what {
            What::AtMost(rule) => here.is_none_or(|here| here >= rule.count),
            What::Relation(Relation { strength: Strength::Required, sense: Sense::Near, .. }) => {
                let first = self.own && self.counts.total == 0;
                !first && here.is_none_or(|here| here == 0)
            }
            What::Relation(Relation { strength: Strength::Required, sense: Sense::Apart, .. }) | What::Shunned(_) => {
                here.is_some_and(|here| here > 0)
            }
            What::Relation(Relation { strength: Strength::Preferred(_), .. }) | What::Spread { .. } => false,
        }
    }

    fn cost(&self, value: Option<&str>, here: Here, wanted: u32, costs: &mut Costs) {
        match &self.what {
            What::Relation(Relation { strength: Strength::Preferred(weight), sense, .. }) => {
                let together = here.is_some_and(|here| here > 0);
                let weight = i64::from(weight.0);
                match sense {
                    Sense::Near => costs.add(Term::Affinity, if together { 0 } else { weight }),
                    Sense::Apart => costs.add(Term::AntiAffinity, if together { weight } else { 0 }),
                }
            }
            What::Spread { rule, others } => {
                let fill = here.map_or(MOST_FILLED, |here| fill(rule, *others, value, here, wanted));
                costs.add(Term::Spread, i64::from(rule.weight.0) * fill / 1000);
            }
            What::Relation(Relation { strength: Strength::Required, .. }) | What::AtMost(_) | What::Shunned(_) => {}
        }
    }
}

/// A part that has ten times what it should, or is none, is as full as can be.
const MOST_FILLED: i64 = 10_000;

/// How much of what a part should have it would have with one more, in thousandths.
fn fill(rule: &Spread, others: u32, value: Option<&str>, here: u32, wanted: u32) -> i64 {
    let named = value.and_then(|value| rule.targets.get(value));
    let (percent, parts) = match named {
        Some(percent) => (u64::from(*percent), 1),
        None => {
            let sum: u64 = rule.targets.values().map(|percent| u64::from(*percent)).sum();
            (100_u64.saturating_sub(sum), u64::from(others.max(1)))
        }
    };
    let should = u64::from(wanted.max(1)) * percent;
    let fill = (u64::from(here) + 1) * 100_000 * parts;
    fill.checked_div(should).map_or(MOST_FILLED, |fill| i64::try_from(fill).unwrap_or(MOST_FILLED).min(MOST_FILLED))
}
