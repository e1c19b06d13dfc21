//! The board: what every node offers and holds. Kept up to date by its owner, change by change.
//!
//! It decides nothing. A hold that would not fit is taken all the same: what runs, runs.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    AllocId, DeviceId, Fingerprint, GroupName, GroupSpec, JobId, NodeId, Placement, Port, Resources, Thousandths,
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
        }
    }
}

/// One node with the sum of what is held on it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) fingerprint: Fingerprint,
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
    fn new(fingerprint: Fingerprint, eligibility: Eligibility) -> Seat {
        Seat {
            devices: vec![0; fingerprint.devices.len()],
            fingerprint,
            eligibility,
            used: Resources::default(),
            ports: BTreeMap::new(),
            holders: BTreeSet::new(),
        }
    }

    pub(crate) fn free(&self) -> Resources {
        self.fingerprint.resources - self.used
    }

    /// The node as if it were empty, not lost, and with room on its disk: what does not fit there does not fit by waiting.
    pub(crate) fn emptied(&self) -> Seat {
        Seat::new(self.fingerprint.clone(), Eligibility::Ready)
    }

    fn take(&mut self, hold: &Hold) {
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
    groups: BTreeMap<(JobId, GroupName), BTreeMap<NodeId, u32>>,
    /// What the policy `fragmentation` expects.
    outlook: Outlook,
}

impl Board {
    /// Adds a node, or tells what has changed about it. What it holds stays.
    pub fn put_node(&mut self, id: NodeId, fingerprint: &Fingerprint, eligibility: Eligibility) {
        let outlook = &mut self.outlook;
        let seat = self.seats.entry(id).or_insert_with(|| {
            outlook.see(id, &fingerprint.devices);
            Seat::new(fingerprint.clone(), eligibility)
        });
        seat.eligibility = eligibility;
        if seat.fingerprint == *fingerprint {
            return;
        }
        self.outlook.see(id, &fingerprint.devices);
        // The devices may be others: what is held of them is counted anew.
        let holders = std::mem::take(&mut seat.holders);
        *seat = Seat::new(fingerprint.clone(), eligibility);
        for hold in holders.iter().filter_map(|alloc| self.holds.get(alloc)) {
            seat.take(hold);
        }
        seat.holders = holders;
    }

    /// Forgets a node and what it held.
    pub fn remove_node(&mut self, id: NodeId) {
        let holders = self.seats.get(&id).map(|seat| seat.holders.clone()).unwrap_or_default();
        for alloc in holders {
            self.release(alloc);
        }
        self.outlook.forget(id);
        self.seats.remove(&id);
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
        *self.groups.entry((hold.job.clone(), hold.group.clone())).or_default().entry(hold.node).or_default() += 1;
        self.holds.insert(alloc, hold);
    }

    /// An allocation holds nothing any more. Says whether it did.
    pub fn release(&mut self, alloc: AllocId) -> bool {
        let Some(hold) = self.holds.remove(&alloc) else { return false };
        if let Some(seat) = self.seats.get_mut(&hold.node) {
            seat.give_back(&hold);
            seat.holders.remove(&alloc);
        }
        let key = (hold.job, hold.group);
        if let Some(counts) = self.groups.get_mut(&key) {
            match counts.get_mut(&hold.node) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    counts.remove(&hold.node);
                }
            }
            if counts.is_empty() {
                self.groups.remove(&key);
            }
        }
        true
    }

    /// The board as if nothing were held and no node lost.
    pub(crate) fn emptied(&self) -> Board {
        let seats = self.seats.iter().map(|(node, seat)| (*node, seat.emptied())).collect();
        Board { seats, ..Board::default() }
    }

    /// What an allocation holds.
    pub fn held(&self, alloc: AllocId) -> Option<&Hold> {
        self.holds.get(&alloc)
    }

    pub(crate) fn seats(&self) -> &BTreeMap<NodeId, Seat> {
        &self.seats
    }

    pub(crate) fn same_group(&self, job: &JobId, group: &GroupName) -> Option<&BTreeMap<NodeId, u32>> {
        self.groups.get(&(job.clone(), group.clone()))
    }
}
