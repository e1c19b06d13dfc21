//! What a group requires of where others are, counted from the placements themselves.

use berth_model::{Alloc, Domain, GroupSpec, Node, Peer, Relation, Sense, Strength};

use crate::findings::Finding;
use crate::plan::{Granted, PlanView};

/// An allocation that holds a place, of a job that a rule may be about.
#[derive(Clone, Copy, Debug)]
pub struct Occupant<'a> {
    /// The allocation.
    pub alloc: &'a Alloc,
    /// Where it is.
    pub node: &'a Node,
    /// The group that it runs.
    pub group: &'a GroupSpec,
}

pub(crate) fn check_rules(granted: &Granted<'_>, view: &PlanView<'_>, findings: &mut Vec<Finding>) {
    let (alloc, node) = (granted.alloc, granted.node);
    for rule in &granted.group.rules.at_most {
        let same = view.occupants.iter().filter(|other| is_sibling(other, alloc) && share(&rule.per, other.node, node));
        let (found, allowed) = (same.count() as u64, rule.count);
        if !is_in_a_part(&rule.per, node) || found > u64::from(allowed) {
            let (alloc, node, per) = (alloc.id, node.id, rule.per.clone());
            findings.push(Finding::TooManyTogether { alloc, node, per, found, allowed });
        }
    }
    for relation in granted.group.rules.relations.iter().filter(|rule| rule.strength == Strength::Required) {
        if is_broken(relation, granted, view) {
            findings.push(Finding::RelationBroken { alloc: alloc.id, node: node.id, relation: relation.clone() });
        }
    }
    for other in view.occupants.iter().filter(|other| other.alloc.id != alloc.id) {
        let mut shuns = other.group.rules.relations.iter().filter(|rule| {
            (rule.sense, rule.strength) == (Sense::Apart, Strength::Required)
                && is_one(&rule.to, alloc, other.alloc)
                && share(&rule.within, other.node, node)
        });
        if shuns.next().is_some() {
            findings.push(Finding::Shunned { alloc: alloc.id, node: node.id, by: other.alloc.id });
        }
    }
}

fn is_broken(relation: &Relation, granted: &Granted<'_>, view: &PlanView<'_>) -> bool {
    let others = || {
        view.occupants
            .iter()
            .filter(|other| other.alloc.id != granted.alloc.id && is_one(&relation.to, other.alloc, granted.alloc))
    };
    let together = others().any(|other| share(&relation.within, other.node, granted.node));
    match relation.sense {
        Sense::Apart => together,
        Sense::Near if together => false,
        // The first of a group that seeks itself may go anywhere. Whether there was one before is told by those that this
        // plan did not place.
        Sense::Near => {
            let seeks_itself = is_one(&relation.to, granted.alloc, granted.alloc);
            let placed_now = |alloc: &Alloc| view.granted.iter().any(|granted| granted.alloc.id == alloc.id);
            !seeks_itself || others().any(|other| !placed_now(other.alloc))
        }
    }
}

/// Whether `alloc` is one of those that a rule of `of` names.
fn is_one(peer: &Peer, alloc: &Alloc, of: &Alloc) -> bool {
    alloc.job.namespace == of.job.namespace
        && alloc.job.name == peer.job
        && match &peer.group {
            Some(group) => alloc.group == *group,
            None => true,
        }
}

fn is_sibling(other: &Occupant<'_>, alloc: &Alloc) -> bool {
    (&other.alloc.job, &other.alloc.group) == (&alloc.job, &alloc.group)
}

fn is_in_a_part(domain: &Domain, node: &Node) -> bool {
    match domain {
        Domain::Node => true,
        Domain::Attribute(key) => node.fingerprint.attributes.contains_key(key),
    }
}

/// Whether two nodes are in the same part of the cluster.
fn share(domain: &Domain, left: &Node, right: &Node) -> bool {
    match domain {
        Domain::Node => left.id == right.id,
        Domain::Attribute(key) => {
            let value = |node: &Node| node.fingerprint.attributes.get(key).cloned();
            value(left).is_some() && value(left) == value(right)
        }
    }
}
