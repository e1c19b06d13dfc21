//! The journal: which objects the next commits have to write, in an order of which every prefix is a valid state.
//!
//! An object changed twice before it is written is written once, with its last value, at the place of its first
//! change. The one exception: an allocation that *takes* room moves to the end, behind everything that made the room.
//! So a prefix may give room back early, and never takes it early.

use std::collections::{BTreeMap, VecDeque};

use berth_model::{AllocId, CommandRecord, EventId, JobId, JobVersion, LedgerEntry, Mutation, NodeId, TrustId};

use crate::pipeline::Held;
use crate::size::estimate;
use crate::state::{CommandKey, State};

/// Writes of one commit, the meta record among them: what `berth-store` allows is more.
pub(crate) const MAX_MUTATIONS: usize = 100;
/// Estimated bytes of one commit. Half of what stores allow, for an estimate is not a size.
pub(crate) const MAX_BYTES: usize = 700 << 10;

/// An object that has to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Node(NodeId),
    Job(JobId),
    Version(JobId, JobVersion),
    Alloc(AllocId),
    Command(CommandKey),
    Ledger(EventId),
    Policy,
    Trust(TrustId),
    /// The format, which is among the counters of every commit.
    Format,
}

/// Whether a change takes room on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Room,
    Nothing,
}

/// An object with what belongs into its transaction.
#[derive(Debug)]
struct Unit {
    key: Key,
    /// Entries about it. Where there are too many for one commit, the older go first.
    ledger: VecDeque<LedgerEntry>,
    commands: Vec<CommandRecord>,
    versions: Vec<JobVersion>,
    effects: Vec<Held>,
}

/// What has to be written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    units: BTreeMap<u64, Unit>,
    places: BTreeMap<Key, u64>,
    next: u64,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Notes that an object was changed, made or deleted.
    pub(crate) fn touch(&mut self, key: Key, takes: Takes) {
        let place = self.places.get(&key).copied();
        match (place, takes) {
            (Some(_), Takes::Nothing) => {}
            (Some(place), Takes::Room) => {
                let unit = self.units.remove(&place).expect("every place has its unit");
                self.append(key, unit);
            }
            (None, Takes::Nothing | Takes::Room) => {
                let unit = Unit {
                    key: key.clone(),
                    ledger: VecDeque::new(),
                    commands: Vec::new(),
                    versions: Vec::new(),
                    effects: Vec::new(),
                };
                self.append(key, unit);
            }
        }
    }

    fn append(&mut self, key: Key, unit: Unit) {
        self.next += 1;
        self.units.insert(self.next, unit);
        self.places.insert(key, self.next);
    }

    fn unit(&mut self, key: Key) -> &mut Unit {
        self.touch(key.clone(), Takes::Nothing);
        let place = self.places.get(&key).expect("just touched");
        self.units.get_mut(place).expect("every place has its unit")
    }

    pub(crate) fn tie_ledger(&mut self, with: Key, entry: LedgerEntry) {
        self.unit(with).ledger.push_back(entry);
    }

    pub(crate) fn tie_command(&mut self, with: Key, record: CommandRecord) {
        self.unit(with).commands.push(record);
    }

    pub(crate) fn tie_version(&mut self, job: &JobId, version: JobVersion) {
        self.unit(Key::Job(job.clone())).versions.push(version);
    }

    /// Holds an effect until the object is durable.
    pub(crate) fn hold_for(&mut self, key: Key, effect: Held) {
        self.unit(key).effects.push(effect);
    }

    /// Holds an effect until everything noted so far is durable. Gives it back when there is nothing.
    pub(crate) fn hold_for_all(&mut self, effect: Held) -> Option<Held> {
        match self.units.last_entry() {
            Some(mut last) => {
                last.get_mut().effects.push(effect);
                None
            }
            None => Some(effect),
        }
    }

    /// Forgets everything, when nothing will be written any more.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.units.clear();
    }
}

/// A commit's worth of the journal.
#[derive(Default)]
pub(crate) struct Cut {
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) effects: Vec<Held>,
}

/// Takes as much from the front of the journal as one commit holds.
pub(crate) fn cut(state: &mut State) -> Cut {
    let mut journal = std::mem::take(&mut state.journal);
    let mut cut = Cut { mutations: vec![Mutation::PutMeta(state.meta)], effects: Vec::new() };
    let mut bytes = estimate(&cut.mutations[0]);
    while let Some(entry) = journal.units.first_entry() {
        let mut written = write(state, entry.get());
        let size: usize = written.iter().map(estimate).sum();
        let fits = cut.mutations.len() + written.len() <= MAX_MUTATIONS && bytes + size <= MAX_BYTES;
        if fits {
            let unit = entry.remove();
            journal.places.remove(&unit.key);
            if let Some(counters) = counters(state, &unit.key) {
                cut.mutations[0] = counters;
            }
            cut.effects.extend(unit.effects);
            cut.mutations.append(&mut written);
            bytes += size;
            continue;
        }
        if cut.mutations.len() == 1 {
            split(state, entry.into_mut(), &mut cut.mutations);
        }
        break;
    }
    state.journal = journal;
    cut
}

/// The counters with the format that goes out with the commit which tells of it: not before, since it cannot be taken back.
fn counters(state: &mut State, goes_out: &Key) -> Option<Mutation> {
    let format = state.finalising.take_if(|_| *goes_out == Key::Format)?;
    state.meta.format = format;
    Some(Mutation::PutMeta(state.meta))
}

/// A unit that is too large for any commit goes out in parts: older versions, the entries about the object, the object,
/// and only then the records of commands. A record must not be there before what it answers for; the other way round, a
/// client that never got its answer asks again, and asks for what is so already.
fn split(state: &State, unit: &mut Unit, mutations: &mut Vec<Mutation>) {
    let mut bytes = 0;
    let mut push = |mutations: &mut Vec<Mutation>, write: Mutation| {
        bytes += estimate(&write);
        mutations.push(write);
        mutations.len() < MAX_MUTATIONS && bytes < MAX_BYTES / 2
    };
    let mut room = true;
    while let Some(version) = room.then(|| unit.versions.pop()).flatten() {
        let kept = version_of(state, &unit.key, version);
        room = kept.is_none_or(|write| push(mutations, write));
    }
    while let Some(entry) = room.then(|| unit.ledger.pop_front()).flatten() {
        room = push(mutations, Mutation::PutLedger(entry));
    }
    if room && !unit.commands.is_empty() {
        room = object(state, &unit.key).is_none_or(|write| push(mutations, write));
        while room && !unit.commands.is_empty() {
            room = push(mutations, Mutation::PutCommand(unit.commands.remove(0)));
        }
    }
    assert!(mutations.len() > 1, "the object {:?} alone is larger than a commit", unit.key);
}

fn version_of(state: &State, key: &Key, version: JobVersion) -> Option<Mutation> {
    let Key::Job(id) = key else { return None };
    let spec = state.versions.get(&(id.clone(), version))?;
    Some(Mutation::PutJobVersion(version, Box::new(spec.clone())))
}

/// The writes of a unit: the object as it is now, and what belongs to it.
fn write(state: &State, unit: &Unit) -> Vec<Mutation> {
    // An entry that was forgotten before it was written must not come back behind its own deletion.
    let entries = unit.ledger.iter().filter(|entry| state.ledger.contains_key(&entry.id));
    let mut writes: Vec<Mutation> = entries.cloned().map(Mutation::PutLedger).collect();
    writes.extend(unit.versions.iter().filter_map(|version| version_of(state, &unit.key, *version)));
    writes.extend(object(state, &unit.key));
    writes.extend(unit.commands.iter().cloned().map(Mutation::PutCommand));
    writes
}

/// The object as it is now. None: it is among the counters, which every commit has.
fn object(state: &State, key: &Key) -> Option<Mutation> {
    Some(match key {
        Key::Node(id) => state.nodes.get(id).map_or(Mutation::DeleteNode(*id), |n| Mutation::PutNode(n.clone())),
        Key::Job(id) => state
            .jobs
            .get(id)
            .map_or_else(|| Mutation::DeleteJob(id.clone()), |job| Mutation::PutJob(Box::new(job.clone()))),
        Key::Version(job, version) => Mutation::DeleteJobVersion(job.clone(), *version),
        Key::Alloc(id) => state
            .allocs
            .get(id)
            .map_or_else(|| Mutation::DeleteAlloc(*id), |alloc| Mutation::PutAlloc(Box::new(alloc.clone()))),
        Key::Command((principal, namespace, key)) => {
            Mutation::DeleteCommand(principal.clone(), namespace.clone(), key.clone())
        }
        Key::Ledger(id) => Mutation::DeleteLedger(*id),
        Key::Policy => {
            Mutation::PutPolicy(Box::new(state.set_policy().expect("only a policy that was set is written")))
        }
        Key::Trust(id) => state
            .trust
            .get(id)
            .map_or_else(|| Mutation::DeleteTrust(id.clone()), |trust| Mutation::PutTrust(Box::new(trust.clone()))),
        Key::Format => return None,
    })
}
