//! The board: what every node offers and holds. Kept up to date by its owner, change by change.
//!
//! It decides nothing. A hold that would not fit is taken all the same: what runs, runs.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    AllocId, DeviceId, DeviceKind, Domain, Fingerprint, GroupName, GroupSpec, JobId, NodeId, Peer, Placement, Port,
    Relation, Resources, Sense, Strength, Thousandths,
};

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
}

fn shunned(relation: &Relation) -> Option<(Peer, Domain)> {
    let required = relation.sense == Sense::Apart && relation.strength == Strength::Required;
    required.then(|| (relation.to.clone(), relation.within.clone()))
}

/// How many allocations of something a node holds.
pub(crate) type ByNode = BTreeMap<NodeId, u32>;

/// A number for machines that no class can tell apart but by what is held there: a class looks at each sort once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortId(u64);

/// What classes ask of a machine, room apart: its attributes, and the kind and attributes of each device.
type Sort = (BTreeMap<String, String>, Vec<(DeviceKind, BTreeMap<String, String>)>);

/// The sorts of all nodes, each with how many are of it.
#[derive(Clone, Debug, Default)]
struct Sorts {
    known: BTreeMap<Sort, (SortId, u32)>,
    next: u64,
}

impl Sorts {
    fn sort(fingerprint: &Fingerprint) -> Sort {
        let devices = fingerprint.devices.iter().map(|device| (device.kind.clone(), device.attributes.clone()));
        (fingerprint.attributes.clone(), devices.collect())
    }

    /// A node more is like this.
    fn enter(&mut self, fingerprint: &Fingerprint) -> SortId {
        let (sort, nodes) = self.known.entry(Sorts::sort(fingerprint)).or_insert_with(|| {
            self.next += 1;
            (SortId(self.next), 0)
        });
        *nodes += 1;
        *sort
    }

    /// A node less is like this.
    fn leave(&mut self, fingerprint: &Fingerprint) {
        let sort = Sorts::sort(fingerprint);
        if let Some((_, nodes)) = self.known.get_mut(&sort) {
            *nodes -= 1;
            if *nodes == 0 {
                self.known.remove(&sort);
            }
        }
    }
}

/// One node with the sum of what is held on it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sort: SortId,
    pub(crate) eligibility: Eligibility,
    pub(crate) used: Resources,
    /// How many hold the port. More than one only while something that was given up still runs.
    pub(crate) ports: BTreeMap<Port, u32>,
    /// How much of each device is taken, in thousandths, in the order of the fingerprint.
    pub(crate) devices: Vec<u32>,
    /// Who holds something here.
    holders: BTreeSet<AllocId>,
}

impl Seat {
    fn new(fingerprint: Fingerprint, sort: SortId, eligibility: Eligibility) -> Seat {
        Seat {
            sort,
            devices: vec![0; fingerprint.devices.len()],
            fingerprint,
            eligibility,
            used: Resources::default(),
            ports: BTreeMap::new(),
            holders: BTreeSet::new(),
        }
    }

    /// Who holds something here.
    pub(crate) fn holders(&self) -> impl Iterator<Item = AllocId> {
        self.holders.iter().copied()
    }

    pub(crate) fn free(&self) -> Resources {
        self.fingerprint.resources - self.used
    }

    /// The node as if it were empty, not lost, and with room on its disk: what does not fit there does not fit by waiting.
    pub(crate) fn emptied(&self) -> Seat {
        Seat::new(self.fingerprint.clone(), self.sort, Eligibility::Ready)
    }

    pub(crate) fn take(&mut self, hold: &Hold) {
        self.used = self.used + hold.resources;
        for port in &hold.ports {
            *self.ports.entry(*port).or_default() += 1;
        }
        for (device, share) in &hold.devices {
            if let Some(taken) = self.taken_of(device) {
                *taken += u32::from(share.0);
            }
        }
    }

    /// How much is taken of a device. None: the machine has it no more.
    fn taken_of(&mut self, device: &DeviceId) -> Option<&mut u32> {
        let at = self.fingerprint.devices.iter().position(|known| known.id == *device)?;
        self.devices.get_mut(at)
    }

    pub(crate) fn give_back(&mut self, hold: &Hold) {
        self.used = self.used - hold.resources;
        for port in &hold.ports {
            match self.ports.get_mut(port) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    self.ports.remove(port);
                }
            }
        }
        for (device, share) in &hold.devices {
            if let Some(taken) = self.taken_of(device) {
                *taken = taken.saturating_sub(u32::from(share.0));
            }
        }
    }
}

/// Every node, and what is held on it.
#[derive(Clone, Debug, Default)]
pub struct Board {
    seats: BTreeMap<NodeId, Seat>,
    holds: BTreeMap<AllocId, Hold>,
    /// How many allocations of each group a node holds.
    groups: BTreeMap<JobId, BTreeMap<GroupName, ByNode>>,
    /// By the job that is shunned: by which job, whom of it and within what, and where that one is.
    shunning: BTreeMap<JobId, BTreeMap<(JobId, Peer, Domain), ByNode>>,
    /// How many nodes have each value of each attribute.
    values: BTreeMap<String, BTreeMap<String, u32>>,
    /// Made by [`Board::emptied`]: where others would be is not known.
    imagined: bool,
    sorts: Sorts,
    /// What the policy `fragmentation` expects.
    outlook: Outlook,
}

impl Board {
    /// Adds a node, or tells what has changed about it. What it holds stays.
    pub fn put_node(&mut self, id: NodeId, fingerprint: &Fingerprint, eligibility: Eligibility) {
        let known = self.seats.get(&id).map(|seat| &seat.fingerprint.attributes);
        if known != Some(&fingerprint.attributes) {
            self.forget_values(id);
            for (key, value) in &fingerprint.attributes {
                *self.values.entry(key.clone()).or_default().entry(value.clone()).or_default() += 1;
            }
        }
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.eligibility = eligibility;
            if seat.fingerprint == *fingerprint {
                return;
            }
            self.sorts.leave(&seat.fingerprint);
        }
        let mut seat = Seat::new(fingerprint.clone(), self.sorts.enter(fingerprint), eligibility);
        // The devices may be others: what is held of them is counted anew.
        let holders = self.seats.remove(&id).map(|seat| seat.holders).unwrap_or_default();
        for hold in holders.iter().filter_map(|alloc| self.holds.get(alloc)) {
            seat.take(hold);
        }
        seat.holders = holders;
        self.outlook.see(id, &seat);
        self.seats.insert(id, seat);
    }

    /// Forgets a node and what it held.
    pub fn remove_node(&mut self, id: NodeId) {
        let holders = self.seats.get(&id).map(|seat| seat.holders.clone()).unwrap_or_default();
        for alloc in holders {
            self.release(alloc);
        }
        self.forget_values(id);
        self.outlook.forget(id);
        if let Some(seat) = self.seats.remove(&id) {
            self.sorts.leave(&seat.fingerprint);
        }
    }

    fn forget_values(&mut self, id: NodeId) {
        let Some(seat) = self.seats.get(&id) else { return };
        for (key, value) in &seat.fingerprint.attributes {
            let Some(values) = self.values.get_mut(key) else { continue };
            take_one(values, value);
            if values.is_empty() {
                self.values.remove(key);
            }
        }
    }

    /// So many allocations of the class are expected, in proportion to what else is expected: the policy
    /// `fragmentation` keeps room for them. Each class that is asked for adds to it once, or a known mix is told at once.
    pub fn expect(&mut self, class: Class<'_>, weight: u64) {
        self.outlook.expect(class.group, weight);
    }

    /// Has the prices of the policy `fragmentation` follow what has changed.
    pub(crate) fn follow(&mut self) {
        self.outlook.follow(&self.seats);
    }

    pub(crate) fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// An allocation holds this now, in place of whatever it held before. Without effect on a node that is not there.
    pub fn hold(&mut self, alloc: AllocId, hold: Hold) {
        if self.holds.get(&alloc) == Some(&hold) {
            return;
        }
        self.release(alloc);
        let Some(seat) = self.seats.get_mut(&hold.node) else { return };
        seat.take(&hold);
        seat.holders.insert(alloc);
        self.outlook.weigh(hold.node, seat);
        let groups = self.groups.entry(hold.job.clone()).or_default();
        *groups.entry(hold.group.clone()).or_default().entry(hold.node).or_default() += 1;
        for (peer, domain) in &hold.shuns {
            let key = (hold.job.clone(), peer.clone(), domain.clone());
            let shunned = self.shunning.entry(hold.shunned_job(peer)).or_default();
            *shunned.entry(key).or_default().entry(hold.node).or_default() += 1;
        }
        self.holds.insert(alloc, hold);
    }

    /// An allocation holds nothing any more. Says whether it did.
    pub fn release(&mut self, alloc: AllocId) -> bool {
        let Some(hold) = self.holds.remove(&alloc) else { return false };
        if let Some(seat) = self.seats.get_mut(&hold.node) {
            seat.give_back(&hold);
            seat.holders.remove(&alloc);
            self.outlook.weigh(hold.node, seat);
        }
        take_from(&mut self.groups, &hold.job, &hold.group, hold.node);
        for (peer, domain) in &hold.shuns {
            let key = (hold.job.clone(), peer.clone(), domain.clone());
            take_from(&mut self.shunning, &hold.shunned_job(peer), &key, hold.node);
        }
        true
    }

    /// The board as if nothing were held and no node lost.
    pub(crate) fn emptied(&self) -> Board {
        let seats = self.seats.iter().map(|(node, seat)| (*node, seat.emptied())).collect();
        Board { seats, values: self.values.clone(), imagined: true, ..Board::default() }
    }

    /// What an allocation holds.
    pub fn held(&self, alloc: AllocId) -> Option<&Hold> {
        self.holds.get(&alloc)
    }

    pub(crate) fn seats(&self) -> &BTreeMap<NodeId, Seat> {
        &self.seats
    }

    /// Whether it tells nothing of where others are.
    pub(crate) fn is_imagined(&self) -> bool {
        self.imagined
    }

    /// How many of the group a node holds.
    pub(crate) fn same_group(&self, job: &JobId, group: &GroupName, node: NodeId) -> u32 {
        let on = self.groups.get(job).and_then(|groups| groups.get(group));
        on.and_then(|nodes| nodes.get(&node)).copied().unwrap_or(0)
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
                self.values.get(key).into_iter().flat_map(BTreeMap::keys).filter(|value| counted(value)).count()
            }
        };
        u32::try_from(parts).unwrap_or(u32::MAX)
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) | None => {
            counts.remove(key);
        }
    }
}

/// One less on a node, and nothing kept of what is nowhere.
fn take_from<A: Ord, B: Ord>(all: &mut BTreeMap<A, BTreeMap<B, ByNode>>, outer: &A, inner: &B, node: NodeId) {
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
