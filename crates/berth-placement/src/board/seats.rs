//! Nodes in a row, in order of id, with the sum of what is held on each. What every look needs lies close together:
//! looking at all nodes is reading memory from front to back.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_model::{AllocId, DeviceId, Fingerprint, NodeId, Port, Preemptible, Priority, Resources, Timestamp};
use imbl::OrdMap;

use super::attributes::Place;
use super::roll::Roll;
use super::{Eligibility, Hold, SortId};
use crate::filter;
use crate::outlook::Stock;

/// What others have to know of an allocation that they would make go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its priority.
    pub priority: Priority,
    /// Whether it goes for others at all.
    pub preemptible: Preemptible,
    /// When it was made.
    pub since: Timestamp,
}

/// One who holds something on a node.
#[derive(Clone, Debug)]
struct Holder {
    resources: Resources,
    standing: Option<Standing>,
}

/// All on a node who are alike in whether and for whom they go.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    pub(crate) youngest: Standing,
    /// What they hold.
    pub(crate) sum: Resources,
    /// The most that one of them holds, dimension by dimension.
    pub(crate) largest: Resources,
}

/// One node with the sum of what is held on it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) used: Resources,
    /// What its fingerprint says.
    pub(crate) capacity: Resources,
    pub(crate) eligibility: Eligibility,
    /// By its devices.
    pub(crate) sort: SortId,
    /// How many hold the port. More than one only while something that was given up still runs.
    pub(crate) ports: BTreeMap<Port, u32>,
    /// How much of each device is taken, in thousandths, in the order of the fingerprint.
    pub(crate) devices: Vec<u32>,
    pub(crate) fingerprint: Arc<Fingerprint>,
    /// What its room is worth, kind of device by kind of device; the outlook of its board keeps them.
    pub(crate) stocks: Vec<Stock>,
    /// Who holds something here.
    holders: BTreeMap<AllocId, Holder>,
    /// Those of them that have a standing, the lowest priority first.
    levels: Vec<Level>,
}

impl Seat {
    pub(super) fn new(fingerprint: Arc<Fingerprint>, sort: SortId, eligibility: Eligibility) -> Seat {
        Seat {
            used: Resources::default(),
            capacity: fingerprint.resources,
            eligibility,
            sort,
            ports: BTreeMap::new(),
            devices: vec![0; fingerprint.devices.len()],
            fingerprint,
            stocks: Vec::new(),
            holders: BTreeMap::new(),
            levels: Vec::new(),
        }
    }

    /// Who holds something here.
    pub(crate) fn holders(&self) -> impl Iterator<Item = AllocId> {
        self.holders.keys().copied()
    }

    /// Who holds something here and has a standing, with what it holds.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (AllocId, Standing, Resources)> {
        self.holders.iter().filter_map(|(alloc, holder)| Some((*alloc, holder.standing?, holder.resources)))
    }

    /// Those that have a standing by priority, the lowest first.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// See [`super::Board::may_have`].
    pub(super) fn may_have(&self, wanted: Resources, priority: Priority) -> bool {
        let goes = |of: Standing| of.priority < priority && of.preemptible == Preemptible::Yes;
        let yielding: Resources = self.levels.iter().filter(|level| goes(level.youngest)).map(|level| level.sum).sum();
        filter::exhausted((self.used + wanted) - yielding, self.capacity).is_none()
    }

    pub(super) fn seat(&mut self, alloc: AllocId, hold: &Hold) {
        self.take(hold);
        self.holders.insert(alloc, Holder { resources: hold.resources, standing: hold.standing });
        if hold.standing.is_some() {
            self.sum_up();
        }
    }

    pub(super) fn unseat(&mut self, alloc: AllocId, hold: &Hold) {
        self.give_back(hold);
        if self.holders.remove(&alloc).is_some_and(|holder| holder.standing.is_some()) {
            self.sum_up();
        }
    }

    pub(super) fn set_standing(&mut self, alloc: AllocId, standing: Option<Standing>) {
        let Some(holder) = self.holders.get_mut(&alloc) else { return };
        if std::mem::replace(&mut holder.standing, standing) != standing {
            self.sum_up();
        }
    }

    fn sum_up(&mut self) {
        self.levels.clear();
        for holder in self.holders.values() {
            let Some(own) = holder.standing else { continue };
            let rank = |of: Standing| (of.priority, of.preemptible);
            match self.levels.binary_search_by_key(&rank(own), |level| rank(level.youngest)) {
                Ok(at) => {
                    let level = &mut self.levels[at];
                    level.youngest.since = level.youngest.since.max(own.since);
                    level.sum = level.sum + holder.resources;
                    level.largest = level.largest.max_of_each(holder.resources);
                }
                Err(at) => {
                    let level = Level { youngest: own, sum: holder.resources, largest: holder.resources };
                    self.levels.insert(at, level);
                }
            }
        }
    }

    /// As another machine says that it is. Who holds what stays.
    pub(super) fn refit(&mut self, fingerprint: Arc<Fingerprint>, sort: SortId, holds: &OrdMap<AllocId, Arc<Hold>>) {
        // The devices may be others: what is held of them is counted anew.
        let (holders, levels) = (std::mem::take(&mut self.holders), std::mem::take(&mut self.levels));
        *self = Seat::new(fingerprint, sort, self.eligibility);
        holders.keys().filter_map(|alloc| holds.get(alloc)).for_each(|hold| self.take(hold));
        (self.holders, self.levels) = (holders, levels);
    }

    pub(crate) fn free(&self) -> Resources {
        self.capacity - self.used
    }

    /// The node as if it were empty, not lost, and with room on its disk: what does not fit there does not fit by waiting.
    pub(crate) fn emptied(&self) -> Seat {
        Seat::new(Arc::clone(&self.fingerprint), self.sort, Eligibility::Ready)
    }

    /// The node with what is taken of it and not by whom: for trying out what there would be if some went.
    pub(crate) fn unnamed(&self) -> Seat {
        let (ports, devices, fingerprint) = (self.ports.clone(), self.devices.clone(), Arc::clone(&self.fingerprint));
        Seat { used: self.used, ports, devices, ..Seat::new(fingerprint, self.sort, self.eligibility) }
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

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats {
    ids: Vec<NodeId>,
    rows: Vec<Arc<Seat>>,
    /// What there is and what is taken on each of them, for looks at all.
    roll: Roll,
}

impl Seats {
    /// Where the node stands, or where it would.
    pub(crate) fn place(&self, id: NodeId) -> Result<Place, Place> {
        self.ids.binary_search(&id)
    }

    pub(super) fn insert(&mut self, place: Place, id: NodeId, seat: Seat) {
        self.ids.insert(place, id);
        self.rows.insert(place, Arc::new(seat));
        self.roll.set_from(place, &self.rows);
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.ids.remove(place);
        self.rows.remove(place);
        self.roll.set_from(place, &self.rows);
    }

    /// Changes what stands at a place.
    pub(super) fn change_at<T>(&mut self, place: Place, change: impl FnOnce(&mut Seat) -> T) -> T {
        let result = change(Arc::make_mut(&mut self.rows[place]));
        self.roll.set(place, &self.rows);
        result
    }

    /// Changes a node, if it is there.
    pub(super) fn change<T>(&mut self, id: NodeId, change: impl FnOnce(&mut Seat) -> T) -> Option<T> {
        let place = self.place(id).ok()?;
        Some(self.change_at(place, change))
    }

    pub(super) fn emptied(&self) -> Seats {
        let rows: Vec<Arc<Seat>> = self.rows.iter().map(|seat| Arc::new(seat.emptied())).collect();
        let mut roll = Roll::default();
        roll.set_from(0, &rows);
        Seats { ids: self.ids.clone(), rows, roll }
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&Seat> {
        let place = self.place(*id).ok()?;
        Some(&self.rows[place])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Seat)> {
        self.ids.iter().zip(self.values())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Seat> + Clone {
        self.rows.iter().map(|seat| &**seat)
    }

    /// The node at a place, with its id.
    pub(crate) fn at(&self, place: Place) -> (NodeId, &Seat) {
        (self.ids[place], &self.rows[place])
    }

    pub(crate) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Has what each room is worth worked out anew.
    pub(crate) fn weigh(&mut self, mut weigh: impl FnMut(&mut Seat)) {
        self.rows.iter_mut().for_each(|seat| weigh(Arc::make_mut(seat)));
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
