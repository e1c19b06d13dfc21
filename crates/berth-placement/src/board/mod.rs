//! The board: what every node offers and holds. Kept up to date by its owner, change by change.
//!
//! It decides nothing. A hold that would not fit is taken all the same: what runs, runs.

mod attributes;
mod roll;
mod seats;
mod sorts;

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_model::{
    AllocId, DeviceId, Domain, Fingerprint, GroupName, GroupSpec, JobId, NodeId, Peer, Placement, Port, Priority,
    Relation, Resources, Sense, Strength, Thousandths,
};
use imbl::OrdMap;

pub(crate) use attributes::{Attributes, Column, Place};
pub(crate) use roll::{Ask, Going, Lanes, Row, Told, fullness_of};
pub use seats::Standing;
pub(crate) use seats::{Seat, Seats};
pub(crate) use sorts::SortId;
use sorts::Sorts;

use crate::filter::Class;
use crate::outlook::Outlook;

/// Whether a node may be given new allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It may.
    Ready,
    /// It is lost.
    Lost,
    /// Its disk is full.
    DiskFull,
    /// It is being emptied, or has been.
    Draining,
}

/// What one allocation holds on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The node.
    pub node: NodeId,
    /// Its job.
    pub job: JobId,
    /// Its group.
    pub group: GroupName,
    /// What it was promised.
    pub resources: Resources,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Its devices, and how much of each.
    pub devices: Vec<(DeviceId, Thousandths)>,
    /// Those whom it must not have near, and within what.
    pub shuns: Vec<(Peer, Domain)>,
    /// What those know of it who would make it go. Nobody does of whom nothing is said.
    pub standing: Option<Standing>,
}

impl Hold {
    /// What an allocation of a group holds where it was placed.
    pub fn of(job: &JobId, group: &GroupSpec, placement: &Placement) -> Hold {
        let granted = group.devices().flat_map(|spec| {
            let ids = placement.devices.get(&spec.name).into_iter().flatten();
            ids.map(|id| (id.clone(), spec.amount.of_each()))
        });
        Hold {
            node: placement.node,
            job: job.clone(),
            group: group.name.clone(),
            resources: group.resources(),
            ports: placement.ports.values().copied().collect(),
            devices: granted.collect(),
            shuns: group.rules.relations.iter().filter_map(shunned).collect(),
            standing: None,
        }
    }

    /// What is kept free on a node for an allocation of a group that will be placed there when others have gone: its
    /// resources and fixed ports.
    pub fn reserved(job: &JobId, group: &GroupSpec, node: NodeId) -> Hold {
        Hold {
            node,
            job: job.clone(),
            group: group.name.clone(),
            resources: group.resources(),
            ports: group.ports().filter_map(|spec| spec.fixed).collect(),
            devices: Vec::new(),
            shuns: group.rules.relations.iter().filter_map(shunned).collect(),
            standing: None,
        }
    }

    /// The job that is meant by somebody whom it shuns.
    fn shunned_job(&self, peer: &Peer) -> JobId {
        JobId { namespace: self.job.namespace.clone(), name: peer.job.clone() }
    }

    /// Whether it must not have this group near within `domain`.
    pub(crate) fn shuns(&self, job: &JobId, group: &GroupName, domain: &Domain) -> bool {
        let same_namespace = self.job.namespace == job.namespace;
        same_namespace && self.shuns.iter().any(|(peer, within)| within == domain && peer.is(&job.name, group))
    }

    /// Whether it must not have this group near within anything.
    pub(crate) fn shuns_any(&self, job: &JobId, group: &GroupName) -> bool {
        let same_namespace = self.job.namespace == job.namespace;
        same_namespace && self.shuns.iter().any(|(peer, _)| peer.is(&job.name, group))
    }
}

fn shunned(relation: &Relation) -> Option<(Peer, Domain)> {
    let required = relation.sense == Sense::Apart && relation.strength == Strength::Required;
    required.then(|| (relation.to.clone(), relation.within.clone()))
}

/// How many allocations of something a node holds.
pub(crate) type ByNode = OrdMap<NodeId, u32>;

/// Every node, and what is held on it. Copies share what none of them has changed: questions and plans make many.
#[derive(Clone, Debug, Default)]
pub struct Board {
    seats: Seats,
    holds: OrdMap<AllocId, Arc<Hold>>,
    /// How many allocations of each group a node holds.
    groups: OrdMap<JobId, BTreeMap<GroupName, ByNode>>,
    /// By the job that is shunned: by which job, whom of it and within what, and where that one is.
    shunning: OrdMap<JobId, BTreeMap<(JobId, Peer, Domain), ByNode>>,
    attributes: Attributes,
    sorts: Sorts,
    /// Made by [`Board::emptied`]: where others would be is not known.
    imagined: bool,
    /// What the policy `fragmentation` expects.
    outlook: Outlook,
}

impl Board {
    /// Adds a node, or tells what has changed about it. What it holds stays.
    pub fn put_node(&mut self, id: NodeId, fingerprint: &Fingerprint, eligibility: Eligibility) {
        let place = match self.seats.place(id) {
            Ok(place) => place,
            Err(place) => {
                let sort = self.sorts.enter(&fingerprint.devices);
                let mut seat = Seat::new(Arc::new(fingerprint.clone()), sort, eligibility);
                self.outlook.see(&mut seat);
                self.seats.insert(place, id, seat);
                self.attributes.insert(place, &fingerprint.attributes);
                return;
            }
        };
        let known = self.seats.change_at(place, |seat| {
            seat.eligibility = eligibility;
            Arc::clone(&seat.fingerprint)
        });
        if *known == *fingerprint {
            return;
        }
        if known.attributes != fingerprint.attributes {
            self.attributes.set(place, &fingerprint.attributes);
        }
        self.sorts.leave(&known.devices);
        let sort = self.sorts.enter(&fingerprint.devices);
        self.seats.change_at(place, |seat| {
            seat.refit(Arc::new(fingerprint.clone()), sort, &self.holds);
            self.outlook.see(seat);
        });
    }

    /// Forgets a node and what it held.
    pub fn remove_node(&mut self, id: NodeId) {
        let Ok(place) = self.seats.place(id) else { return };
        for alloc in self.seats.at(place).1.holders().collect::<Vec<_>>() {
            self.release(alloc);
        }
        self.attributes.remove(place);
        self.sorts.leave(&self.seats.at(place).1.fingerprint.devices);
        self.seats.remove(place);
    }

    /// So many allocations of the class are expected, in proportion to what else is expected: the policy
    /// `fragmentation` keeps room for them. Each class that is asked for adds to it once, or a known mix is told at once.
    pub fn expect(&mut self, class: Class<'_>, weight: u64) {
        self.outlook.expect(class.group, weight);
    }

    /// Has the prices of the policy `fragmentation` follow what has changed.
    pub(crate) fn follow(&mut self) {
        self.outlook.follow(&mut self.seats);
    }

    pub(crate) fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// An allocation holds this now, in place of whatever it held before. Without effect on a node that is not there.
    pub fn hold(&mut self, alloc: AllocId, hold: Hold) {
        if let Some(known) = self.holds.get_mut(&alloc) {
            if known.standing != hold.standing {
                Arc::make_mut(known).standing = hold.standing;
                self.seats.change(known.node, |seat| seat.set_standing(alloc, hold.standing));
            }
            if **known == hold {
                return;
            }
        }
        self.release(alloc);
        let seated = self.seats.change(hold.node, |seat| {
            seat.seat(alloc, &hold);
            self.outlook.weigh(seat);
        });
        if seated.is_none() {
            return;
        }
        let groups = self.groups.entry(hold.job.clone()).or_default();
        *groups.entry(hold.group.clone()).or_default().entry(hold.node).or_default() += 1;
        for (peer, domain) in &hold.shuns {
            let key = (hold.job.clone(), peer.clone(), domain.clone());
            let shunned = self.shunning.entry(hold.shunned_job(peer)).or_default();
            *shunned.entry(key).or_default().entry(hold.node).or_default() += 1;
        }
        self.holds.insert(alloc, Arc::new(hold));
    }

    /// An allocation holds nothing any more. Says whether it did.
    pub fn release(&mut self, alloc: AllocId) -> bool {
        let Some(hold) = self.holds.remove(&alloc) else { return false };
        self.seats.change(hold.node, |seat| {
            seat.unseat(alloc, &hold);
            self.outlook.weigh(seat);
        });
        take_from(&mut self.groups, &hold.job, &hold.group, hold.node);
        for (peer, domain) in &hold.shuns {
            let key = (hold.job.clone(), peer.clone(), domain.clone());
            take_from(&mut self.shunning, &hold.shunned_job(peer), &key, hold.node);
        }
        true
    }

    /// The board as if nothing were held and no node lost.
    pub(crate) fn emptied(&self) -> Board {
        let (seats, attributes) = (self.seats.emptied(), self.attributes.clone());
        Board { seats, attributes, imagined: true, ..Board::default() }
    }

    /// Whether a node has so much free, or would have if all went who go for this priority. Says nothing of ports, devices
    /// and rules.
    pub fn may_have(&self, node: NodeId, wanted: Resources, priority: Priority) -> bool {
        self.seats.get(&node).is_some_and(|seat| seat.may_have(wanted, priority))
    }

    /// What an allocation holds.
    pub fn held(&self, alloc: AllocId) -> Option<&Hold> {
        self.holds.get(&alloc).map(|hold| &**hold)
    }

    /// All that is held.
    pub(crate) fn holds(&self) -> impl Iterator<Item = (AllocId, &Hold)> {
        self.holds.iter().map(|(alloc, hold)| (*alloc, &**hold))
    }

    pub(crate) fn seats(&self) -> &Seats {
        &self.seats
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Whether it tells nothing of where others are.
    pub(crate) fn is_imagined(&self) -> bool {
        self.imagined
    }

    /// How many of the group each node holds that holds any.
    pub(crate) fn group(&self, job: &JobId, group: &GroupName) -> Option<&ByNode> {
        self.groups.get(job)?.get(group)
    }

    /// Where the allocations of a job are, or of one group of it. A node comes once per group.
    pub(crate) fn members(&self, job: &JobId, group: Option<&GroupName>) -> impl Iterator<Item = (NodeId, u32)> {
        let groups = self.groups.get(job).into_iter().flatten();
        let wanted = groups.filter(move |(name, _)| group.is_none_or(|group| group == *name));
        wanted.flat_map(|(_, nodes)| nodes.iter().map(|(node, count)| (*node, *count)))
    }

    /// Those who must not have the group near: which job, within what, and where it is.
    pub(crate) fn shunning(&self, job: &JobId, group: &GroupName) -> impl Iterator<Item = (&JobId, &Domain, &ByNode)> {
        let of_job = self.shunning.get(job).into_iter().flatten();
        let of_group = of_job.filter(|((_, peer, _), _)| peer.is(&job.name, group));
        of_group.map(|((by, _, domain), nodes)| (by, domain, nodes))
    }

    /// How many parts of these there are whose value is `counted`.
    pub(crate) fn parts(&self, domain: &Domain, counted: impl Fn(&str) -> bool) -> u32 {
        let parts = match domain {
            Domain::Node => self.seats.len(),
            Domain::Attribute(key) => {
                let values = self.attributes.column(key).into_iter().flat_map(Column::values);
                values.filter(|value| counted(value)).count()
            }
        };
        u32::try_from(parts).unwrap_or(u32::MAX)
    }
}

fn take_one(counts: &mut ByNode, key: &NodeId) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) | None => {
            counts.remove(key);
        }
    }
}

/// One less on a node, and nothing kept of what is nowhere.
fn take_from<A: Ord + Clone, B: Ord + Clone>(
    all: &mut OrdMap<A, BTreeMap<B, ByNode>>,
    outer: &A,
    inner: &B,
    node: NodeId,
) {
    let Some(groups) = all.get_mut(outer) else { return };
    if let Some(nodes) = groups.get_mut(inner) {
        take_one(nodes, &node);
        if nodes.is_empty() {
            groups.remove(inner);
        }
    }
    if groups.is_empty() {
        all.remove(outer);
    }
}
