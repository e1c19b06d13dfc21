//! What the optimiser is told of nodes and classes: amounts, limits and costs, in its own numbers.
//!
//! Told are the terms of a policy that can be summed over nodes, by the weights of the whole cluster: how full each is
//! (convex, where a policy likes even load), pairs of a group on a node, what groups prefer, waiting and moving. Rules about where *other* jobs are, spread
//! over attributes, which ports and which devices are left out: the bound holds without them, since they only forbid or
//! cost more, and what is proposed is checked with all of them before it is shown.

use berth_model::{Domain, Gang as Together, JobKind, NodeId, Relation, Resources, Sense, Strength, Term, Weights};

use crate::board::Seat;
use crate::filter::Class as Spec;
use crate::optimise::{Amounts, Class, Curve, DIMENSIONS, Gang, Limits, MOST_AMOUNT, NO_LIMIT, Node, ShapeIndex};

/// The optimiser's unit of cost is a millionth of a node's worth, fine enough that rounding does not matter; that of
/// policies is a thousandth.
pub(super) const PER_THOUSANDTH: i64 = 1_000;

/// What it costs, in millionths, that one of the lowest priority waits: more than any place. Each priority more costs a
/// tenth of it.
const WAITING: i64 = 2_000_000;

/// What it costs to move one, in millionths: a service hands over, batch work begins anew.
const MOVING_SERVICE: i64 = 200_000;
const MOVING_BATCH: i64 = 400_000;

/// What it costs to move what is not to be moved, in millionths: more than anything gains.
const NEVER: i64 = 1_000_000_000;

/// Units on a node at most: more than any machine runs.
const SLOTS: u32 = 1 << 16;

/// What use costs by these weights. Even load is the square of how full a dimension is, so that a unit costs more the
/// fuller its node is; where full nodes are liked, use costs nothing, since what is liked there is not convex.
pub(super) fn curve(weights: &Weights) -> Curve {
    if weights.of(Term::Utilisation) <= weights.of(Term::Emptiness) {
        return Curve::flat();
    }
    let corners: Vec<(u32, i64)> = (0..=20u32).map(|at| (50 * at, i64::from(50 * at) * i64::from(50 * at))).collect();
    Curve::new(&corners).expect("squares are convex")
}

/// What it costs, in millionths of a node's worth, that two of a group are on one node: against what a full node costs by these
/// weights, and not more than that one waits.
fn crowding(weights: &Weights) -> i64 {
    let full = weights.of(Term::Utilisation).max(weights.of(Term::Emptiness)).max(1);
    let pair = i64::from(weights.of(Term::SameGroup)) * PER_THOUSANDTH / i64::from(full);
    pair.min(WAITING)
}

/// The amounts of all that a node has, or that one needs. Devices are one dimension, in thousandths, of whatever kind.
fn amounts(resources: Resources, devices: u64) -> Amounts {
    let [cpu, memory, disk, network] = resources.dimensions();
    Amounts([cpu, memory, disk, network, devices, 0].map(|amount| amount.min(MOST_AMOUNT)))
}

/// The dimensions of [`amounts`] that nodes run out of first: cpu, memory and devices.
pub(super) const SCARCE: [bool; DIMENSIONS] = [true, true, false, false, true, false];

/// What one of the class needs.
pub(super) fn demand(spec: Spec<'_>) -> Amounts {
    let devices = spec.group.devices();
    let thousandths = devices.map(|device| device.amount.devices() as u64 * u64::from(device.amount.of_each().0));
    amounts(spec.group.resources(), thousandths.sum())
}

/// A node in its part of the cluster.
pub(super) fn node(seat: &Seat, rack: u32, zone: u32) -> Node {
    let devices = seat.fingerprint.devices.len() as u64 * 1_000;
    Node { capacity: amounts(seat.capacity, devices), slots: SLOTS, rack, zone }
}

/// Units of a class of which none is there yet.
pub(super) fn class(spec: Spec<'_>, shape: ShapeIndex, weights: &Weights, stays: bool) -> Class {
    let moving = match spec.job.kind {
        _ if stays => NEVER,
        JobKind::System => NEVER,
        JobKind::Service => MOVING_SERVICE,
        JobKind::Batch => MOVING_BATCH,
    };
    Class {
        shape,
        demand: demand(spec),
        wanted: 0,
        waiting: WAITING + WAITING / 50 * i64::from(spec.job.priority.0),
        moving,
        crowding: crowding(weights),
        limits: limits(spec),
        gang: match spec.group.rules.gang {
            Together::Free => Gang::Apart,
            Together::Whole => Gang::Together,
        },
    }
}

fn limits(spec: Spec<'_>) -> Limits {
    let rules = &spec.group.rules;
    let at_most = |domain: &Domain| {
        let told = rules.at_most.iter().filter(|limit| limit.per == *domain).map(|limit| limit.count);
        let alone = rules.relations.iter().any(|relation| shuns_itself(spec, relation, domain));
        told.chain(alone.then_some(1)).min().unwrap_or(NO_LIMIT)
    };
    // A fixed port is there once on every node.
    let has_fixed_port = spec.group.ports().any(|port| port.fixed.is_some());
    let node = at_most(&Domain::Node).min(if has_fixed_port { 1 } else { NO_LIMIT });
    Limits { node, rack: at_most(&Domain::rack()), zone: at_most(&Domain::zone()) }
}

fn shuns_itself(spec: Spec<'_>, relation: &Relation, domain: &Domain) -> bool {
    let shuns = relation.sense == Sense::Apart && relation.strength == Strength::Required;
    shuns && relation.within == *domain && relation.to.is(&spec.job.id.name, &spec.group.name)
}

/// The value of an attribute that tells nodes' parts, or what stands for that of a node without it.
pub(super) fn part(seat: &Seat, attribute: &str, node: NodeId) -> Part {
    match seat.fingerprint.attributes.get(attribute) {
        Some(value) => Part::Named(value.clone()),
        None => Part::Alone(node),
    }
}

/// A rack or a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Named(String),
    /// Of a node without the attribute, which is in no part with others.
    Alone(NodeId),
}
