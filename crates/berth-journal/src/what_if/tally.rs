//! What a run of decisions came to: where things went, how long they waited, and how full the nodes were.

use std::collections::{BTreeMap, BTreeSet};

use berth_control::{Core, Effect};
use berth_model::{
    Alloc, AllocId, AllocState, CpuMillis, DeviceAmount, Millis, Mutation, Node, NodeId, NodeName, Timestamp,
};

use super::slot::Slot;

/// Of cpu (thousandths of a core), memory (bytes) and devices (thousandths of one).
type Amounts = [u128; 3];

/// What was placed in a slot, one after the other.
pub type Placed = BTreeMap<Slot, Vec<NodeId>>;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Allocations that were placed.
    pub placed: u64,
    /// How long these had waited, in all; the back-off after a failure is a part of it.
    pub waited: Millis,
    /// How long the one that waited longest has waited, placed or not.
    pub longest_wait: Millis,
    /// Allocations that wait at the end.
    pub waiting: u64,
    /// How much of the processor time was given out, in thousandths, over the whole time.
    pub cpu: u64,
    /// How much of the memory.
    pub memory: u64,
    /// How much of the devices; `None` where there are none.
    pub devices: Option<u64>,
    /// Nodes with any work on them, in thousandths of one, over the whole time.
    pub nodes_in_use: u64,
}

/// Follows the commits of one core.
#[derive(Debug)]
pub struct Tally {
    since: Timestamp,
    now: Timestamp,
    nodes: BTreeMap<NodeId, Amounts>,
    held: BTreeMap<AllocId, (NodeId, Amounts)>,
    in_use: BTreeMap<NodeId, u64>,
    seen: BTreeSet<AllocId>,
    placed: Placed,
    measures: Measures,
    given_out: Amounts,
    there: Amounts,
    /// These, summed up over milliseconds.
    given_out_sum: Amounts,
    there_sum: Amounts,
    in_use_sum: u128,
}

impl Tally {
    /// Over what a core begins with; what is placed by then counts as given out, and not as placed.
    pub fn of(core: &Core, now: Timestamp) -> Tally {
        let mut tally = Tally {
            since: now,
            now,
            nodes: BTreeMap::new(),
            held: BTreeMap::new(),
            in_use: BTreeMap::new(),
            seen: BTreeSet::new(),
            placed: Placed::new(),
            measures: Measures::default(),
            given_out: [0; 3],
            there: [0; 3],
            given_out_sum: [0; 3],
            there_sum: [0; 3],
            in_use_sum: 0,
        };
        for node in core.nodes().values() {
            tally.node(node);
        }
        for alloc in core.allocs().values() {
            tally.hold(alloc, core);
            tally.seen.extend(alloc.placement().map(|_| alloc.id));
        }
        tally
    }

    /// Takes what a step came to.
    pub fn step(&mut self, now: Timestamp, effects: &[Effect], core: &Core) {
        self.pass_to(now);
        let commits = effects.iter().filter_map(|effect| match effect {
            Effect::Commit { mutations, .. } => Some(mutations),
            _ => None,
        });
        for mutation in commits.flatten() {
            match mutation {
                Mutation::PutNode(node) => self.node(node),
                Mutation::DeleteNode(id) => self.forget_node(*id),
                Mutation::PutAlloc(alloc) => {
                    self.place(alloc);
                    self.hold(alloc, core);
                }
                Mutation::DeleteAlloc(id) => self.release(*id),
                _ => {}
            }
        }
    }

    /// Everything, and where things went.
    pub fn finish(mut self, now: Timestamp, core: &Core) -> (Measures, Placed) {
        self.pass_to(now);
        let waiting = core.allocs().values().filter(|alloc| matches!(alloc.state, AllocState::Waiting { .. }));
        for alloc in waiting {
            self.measures.waiting += 1;
            self.measures.longest_wait = self.measures.longest_wait.max(self.now.since(alloc.created));
        }
        let millis = u128::from(self.now.since(self.since).0);
        let part = |of: usize| thousandths(self.given_out_sum[of], self.there_sum[of]);
        self.measures.cpu = part(0);
        self.measures.memory = part(1);
        self.measures.devices = (self.there_sum[2] > 0).then(|| part(2));
        self.measures.nodes_in_use = thousandths(self.in_use_sum, millis);
        (self.measures, self.placed)
    }

    fn pass_to(&mut self, now: Timestamp) {
        let passed = u128::from(now.since(self.now).0);
        self.now = self.now.max(now);
        for of in 0..3 {
            self.given_out_sum[of] += self.given_out[of] * passed;
            self.there_sum[of] += self.there[of] * passed;
        }
        self.in_use_sum += self.in_use.len() as u128 * passed;
    }

    fn node(&mut self, node: &Node) {
        self.forget_node(node.id);
        if node.is_eligible() {
            let resources = &node.fingerprint.resources;
            let devices = node.fingerprint.devices.len() as u128 * 1000;
            let amounts = [u128::from(resources.cpu.0), u128::from(resources.memory.0), devices];
            add(&mut self.there, &amounts);
            self.nodes.insert(node.id, amounts);
        }
    }

    fn forget_node(&mut self, id: NodeId) {
        if let Some(amounts) = self.nodes.remove(&id) {
            subtract(&mut self.there, &amounts);
        }
    }

    /// Counts an allocation when it is first seen with a place.
    fn place(&mut self, alloc: &Alloc) {
        let Some(placement) = alloc.placement() else { return };
        if !self.seen.insert(alloc.id) {
            return;
        }
        self.placed.entry(Slot::of(alloc)).or_default().push(placement.node);
        let waited = self.now.since(alloc.created);
        self.measures.placed += 1;
        self.measures.waited = Millis(self.measures.waited.0 + waited.0);
        self.measures.longest_wait = self.measures.longest_wait.max(waited);
    }

    fn hold(&mut self, alloc: &Alloc, core: &Core) {
        self.release(alloc.id);
        let Some(node) = alloc.occupies() else { return };
        let group = core.job_version(&alloc.job, alloc.version).and_then(|spec| spec.group(&alloc.group));
        let Some(group) = group else { return };
        let resources = group.resources();
        let devices = group.devices().map(|device| match device.amount {
            DeviceAmount::Count(count) => u128::from(count) * 1000,
            DeviceAmount::Share(share) => u128::from(share.0),
        });
        let CpuMillis(cpu) = resources.cpu;
        let amounts = [u128::from(cpu), u128::from(resources.memory.0), devices.sum()];
        add(&mut self.given_out, &amounts);
        *self.in_use.entry(node).or_default() += 1;
        self.held.insert(alloc.id, (node, amounts));
    }

    fn release(&mut self, id: AllocId) {
        let Some((node, amounts)) = self.held.remove(&id) else { return };
        subtract(&mut self.given_out, &amounts);
        let left = self.in_use.get_mut(&node).expect("it is in use by this one");
        *left -= 1;
        if *left == 0 {
            self.in_use.remove(&node);
        }
    }
}

fn add(sum: &mut Amounts, amounts: &Amounts) {
    for (sum, amount) in sum.iter_mut().zip(amounts) {
        *sum += amount;
    }
}

fn subtract(sum: &mut Amounts, amounts: &Amounts) {
    for (sum, amount) in sum.iter_mut().zip(amounts) {
        *sum -= amount;
    }
}

/// A part in thousandths of the whole; 0 of nothing.
fn thousandths(part: u128, whole: u128) -> u64 {
    u64::try_from((part * 1000).checked_div(whole).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Where an allocation went, by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The slot.
    pub slot: Slot,
    /// Which of its instances that were placed, from 0.
    pub number: usize,
    /// Where it went then; `None`: it did not come to it.
    pub then: Option<NodeName>,
    /// Where it would have gone.
    pub instead: Option<NodeName>,
}

/// Placements held against each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placements {
    /// On the same node.
    pub same: u64,
    /// On another node, or by one of the two alone.
    pub other: u64,
    /// The first of these, by slot.
    pub first: Vec<Elsewhere>,
}

/// Placements that are told one by one.
const TOLD: usize = 1_000;

impl Placements {
    /// Holds two runs against each other; nodes have the names that the first core knows.
    pub fn compare(then: &Placed, instead: &Placed, core: &Core) -> Placements {
        let name = |node: Option<&NodeId>| {
            let node = core.nodes().get(node?);
            node.map(|node| node.fingerprint.name.clone())
        };
        let mut compared = Placements::default();
        let slots: BTreeSet<&Slot> = then.keys().chain(instead.keys()).collect();
        for slot in slots {
            let nodes = |placed: &'_ Placed| placed.get(slot).cloned().unwrap_or_default();
            let (then, instead) = (nodes(then), nodes(instead));
            for number in 0..then.len().max(instead.len()) {
                let (then, instead) = (then.get(number), instead.get(number));
                if then == instead {
                    compared.same += 1;
                    continue;
                }
                compared.other += 1;
                if compared.first.len() < TOLD {
                    let (then, instead) = (name(then), name(instead));
                    compared.first.push(Elsewhere { slot: slot.clone(), number, then, instead });
                }
            }
        }
        compared
    }
}
