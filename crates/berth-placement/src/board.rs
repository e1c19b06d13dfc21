//! The board: what every node offers and holds. Kept up to date by its owner, change by change.
//!
//! It decides nothing. A hold that would not fit is taken all the same: what runs, runs.

use std::collections::BTreeMap;

use berth_model::{AllocId, Fingerprint, GroupName, JobId, NodeId, Port, Resources};

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
}

/// One node with the sum of what is held on it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) eligibility: Eligibility,
    pub(crate) used: Resources,
    /// How many hold the port. More than one only while something that was given up still runs.
    pub(crate) ports: BTreeMap<Port, u32>,
}

impl Seat {
    pub(crate) fn free(&self) -> Resources {
        self.fingerprint.resources - self.used
    }

    /// The node as if it were empty, not lost, and with room on its disk: what does not fit there does not fit by waiting.
    pub(crate) fn emptied(&self) -> Seat {
        Seat {
            fingerprint: self.fingerprint.clone(),
            eligibility: Eligibility::Ready,
            used: Resources::default(),
            ports: BTreeMap::new(),
        }
    }

    fn take(&mut self, hold: &Hold) {
        self.used = self.used + hold.resources;
        for port in &hold.ports {
            *self.ports.entry(*port).or_default() += 1;
        }
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
    }
}

/// Every node, and what is held on it.
#[derive(Clone, Debug, Default)]
pub struct Board {
    seats: BTreeMap<NodeId, Seat>,
    holds: BTreeMap<AllocId, Hold>,
    /// How many allocations of each group a node holds.
    groups: BTreeMap<(JobId, GroupName), BTreeMap<NodeId, u32>>,
}

impl Board {
    /// Adds a node, or tells what has changed about it. What it holds stays.
    pub fn put_node(&mut self, id: NodeId, fingerprint: &Fingerprint, eligibility: Eligibility) {
        match self.seats.get_mut(&id) {
            Some(seat) => {
                if seat.fingerprint != *fingerprint {
                    seat.fingerprint = fingerprint.clone();
                }
                seat.eligibility = eligibility;
            }
            None => {
                let seat = Seat {
                    fingerprint: fingerprint.clone(),
                    eligibility,
                    used: Resources::default(),
                    ports: BTreeMap::new(),
                };
                self.seats.insert(id, seat);
            }
        }
    }

    /// Forgets a node and what it held.
    pub fn remove_node(&mut self, id: NodeId) {
        let held: Vec<AllocId> = self.holds.iter().filter(|(_, h)| h.node == id).map(|(a, _)| *a).collect();
        for alloc in held {
            self.release(alloc);
        }
        self.seats.remove(&id);
    }

    /// An allocation holds this now, in place of whatever it held before. Without effect on a node that is not there.
    pub fn hold(&mut self, alloc: AllocId, hold: Hold) {
        if self.holds.get(&alloc) == Some(&hold) {
            return;
        }
        self.release(alloc);
        let Some(seat) = self.seats.get_mut(&hold.node) else { return };
        seat.take(&hold);
        *self.groups.entry((hold.job.clone(), hold.group.clone())).or_default().entry(hold.node).or_default() += 1;
        self.holds.insert(alloc, hold);
    }

    /// An allocation holds nothing any more. Says whether it did.
    pub fn release(&mut self, alloc: AllocId) -> bool {
        let Some(hold) = self.holds.remove(&alloc) else { return false };
        if let Some(seat) = self.seats.get_mut(&hold.node) {
            seat.give_back(&hold);
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
