//! Changes in place: each is checked at the door, applied in the time of what it touches, and left for the
//! next solve to mend.

use super::layout::{Course, Ends, spare};
use super::route::FAR;
use super::search::Label;
use super::{ENDLESS, Inner, Left, Network, REMOVED, Room};
use crate::change::Change;
use crate::error::ChangeError;
use crate::problem::{Arc, ArcId, Instance, NodeId, UNLIMITED};

/// The most that all supplies and finite bounds may sum up to: no excess can overflow.
const MOST_AMOUNT: i64 = 1 << 60;
/// The most that a path through all nodes may cost: no price can overflow.
const MOST_PATH: i64 = 1 << 58;
/// The number of ids for nodes, and for arcs.
const MOST_IDS: u32 = 1 << 31;

/// Sums and maxima over all that was ever declared, kept so that later arithmetic cannot overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// The sum of all supplies and finite bounds, without their signs.
    amount: i64,
    /// The largest cost that an arc ever had, without its sign.
    cost: i64,
}

/// What a change made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Nothing new.
    Done,
    /// This node.
    Node(NodeId),
    /// This arc.
    Arc(ArcId),
}

/// How much the bounds of an arc count towards [`MOST_AMOUNT`].
fn bounds_weight(lower: i64, capacity: i64) -> i64 {
    let above = if capacity == UNLIMITED { 0 } else { capacity.saturating_abs() };
    lower.saturating_abs().saturating_add(above)
}

/// The flow closest to none that fits between the bounds.
pub(super) fn first_flow(lower: i64, capacity: i64) -> i64 {
    0.clamp(lower, capacity)
}

impl Limits {
    /// The largest cost that an arc ever had, without its sign.
    pub(super) fn largest_cost(self) -> i64 {
        self.cost
    }

    fn take(&mut self, less: i64, more: i64) -> Result<(), ChangeError> {
        let sum = (self.amount - less).saturating_add(more);
        if sum > MOST_AMOUNT {
            return Err(ChangeError::AmountTooLarge { amount: more, limit: MOST_AMOUNT });
        }
        self.amount = sum;
        Ok(())
    }

    fn take_cost(&mut self, cost: i64, nodes: usize) -> Result<(), ChangeError> {
        let cost = self.cost.max(cost.saturating_abs());
        let path = i128::from(cost) * (nodes as i128 + 1);
        if path > i128::from(MOST_PATH) {
            return Err(ChangeError::CostTooLarge { cost, nodes: nodes as u64, limit: MOST_PATH });
        }
        self.cost = cost;
        Ok(())
    }
}

impl Network {
    /// The network of an instance, with the instance's ids and no flow yet.
    ///
    /// # Errors
    /// What the first arc or node does that is refused is refused.
    pub fn from_instance(instance: &Instance) -> Result<Network, ChangeError> {
        let mut network = Network::new();
        network.reserve(instance.supplies.len(), instance.arcs.len());
        for supply in &instance.supplies {
            network.add_node(*supply)?;
        }
        for arc in &instance.arcs {
            network.add_arc(*arc)?;
        }
        network.list_arcs();
        Ok(network)
    }

    /// Makes room for so many nodes and arcs, and some more.
    pub(crate) fn reserve(&mut self, nodes: usize, arcs: usize) {
        let (nodes, arcs) = (nodes + spare(nodes), arcs + spare(arcs));
        self.nodes.reserve_exact(nodes);
        self.excesses.reserve_exact(nodes);
        self.supplies.reserve_exact(nodes);
        self.layout.arcs.reserve_exact(arcs);
        self.rooms.reserve_exact(arcs);
    }

    /// Adds nodes without a supply until there are so many.
    pub(crate) fn grow_to(&mut self, nodes: usize) -> Result<(), ChangeError> {
        while self.nodes.len() < nodes {
            self.add_node(0)?;
        }
        Ok(())
    }

    /// Keeps a journal of changes from now on.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// The changes since the last call, in order; none if no journal is kept.
    pub fn take_journal(&mut self) -> Vec<Change> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, change: Change) {
        if let Some(journal) = &mut self.journal {
            journal.push(change);
        }
    }

    /// Applies a change that is given as data.
    ///
    /// # Errors
    /// As the method of the change's name.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, ChangeError> {
        match *change {
            Change::AddNode { supply } => return self.add_node(supply).map(Applied::Node),
            Change::AddArc(arc) => return self.add_arc(arc).map(Applied::Arc),
            Change::RemoveNode { node } => self.remove_node(node)?,
            Change::SetSupply { node, supply } => self.set_supply(node, supply)?,
            Change::RemoveArc { arc } => self.remove_arc(arc)?,
            Change::SetBounds { arc, lower, capacity } => self.set_bounds(arc, lower, capacity)?,
            Change::SetCost { arc, cost } => self.set_cost(arc, cost)?,
        }
        Ok(Applied::Done)
    }

    /// Adds a node that supplies (or, negative, takes) so many units.
    ///
    /// # Errors
    /// Amounts, costs or ids that are more than the network can hold.
    pub fn add_node(&mut self, supply: i64) -> Result<NodeId, ChangeError> {
        self.limits.take_cost(0, self.nodes.len() + 1)?;
        let id = next_id(&self.free_nodes, self.nodes.len())?;
        self.limits.take(0, supply.saturating_abs())?;
        let node = Inner { price: 0, label: Label::NEVER };
        if self.free_nodes.pop().is_some() {
            // The lists keep their room.
            self.nodes[id as usize] = node;
            self.excesses[id as usize] = supply;
            self.supplies[id as usize] = supply;
        } else {
            self.nodes.push(node);
            self.excesses.push(supply);
            self.supplies.push(supply);
            self.layout.add_node(Ends::default());
        }
        self.supplied += supply.max(0);
        // A node that takes is no leaf: paths end there.
        if supply < 0 {
            self.layout.leaves.remove(id)
        } else {
            self.layout.leaves.insert(id)
        }
        self.pending.add_fresh(id);
        self.pending.add_unbalanced([id]);
        self.note(Change::AddNode { supply });
        Ok(NodeId(id))
    }

    /// Removes a node and all its arcs.
    ///
    /// # Errors
    /// No such node.
    pub fn remove_node(&mut self, node: NodeId) -> Result<(), ChangeError> {
        self.known_node(node)?;
        self.list_arcs();
        loop {
            let (layout, ends) = (&self.layout, self.layout.ends[node.index()]);
            let entering = layout.into.all(ends.into).last().or(layout.into.all(ends.leaves).last());
            let Some(arc) = layout.out.all(ends.out).last().copied().or(entering.map(|entry| entry.arc)) else { break };
            self.drop_arc(arc);
        }
        self.limits.amount -= self.supplies[node.index()].saturating_abs();
        self.supplied -= self.supplies[node.index()].max(0);
        self.supplies[node.index()] = REMOVED;
        self.excesses[node.index()] = 0;
        self.free_nodes.push(node.0);
        self.note(Change::RemoveNode { node });
        Ok(())
    }

    /// Changes what a node supplies.
    ///
    /// # Errors
    /// No such node, or an amount that is more than the network can hold.
    pub fn set_supply(&mut self, node: NodeId, supply: i64) -> Result<(), ChangeError> {
        self.known_node(node)?;
        let old = self.supplies[node.index()];
        self.limits.take(old.saturating_abs(), supply.saturating_abs())?;
        if supply < 0 {
            self.become_inner(node.0);
        }
        self.supplies[node.index()] = supply;
        self.supplied += supply.max(0) - old.max(0);
        self.excesses[node.index()] += supply - old;
        self.pending.add_unbalanced([node.0]);
        self.note(Change::SetSupply { node, supply });
        Ok(())
    }

    /// Adds an arc.
    ///
    /// # Errors
    /// An unknown node, crossed bounds, or amounts, costs or ids that are more than the network can hold.
    pub fn add_arc(&mut self, arc: Arc) -> Result<ArcId, ChangeError> {
        let Arc { tail, head, lower, capacity, cost } = arc;
        self.known_node(tail)?;
        self.known_node(head)?;
        ordered(lower, capacity)?;
        let id = next_id(&self.free_arcs, self.rooms.len())?;
        self.limits.take_cost(cost, self.nodes.len())?;
        self.limits.take(0, bounds_weight(lower, capacity))?;
        let flow = first_flow(lower, capacity);
        let up = if capacity == UNLIMITED { ENDLESS } else { capacity - flow };
        let room = Room { up, down: flow - lower };
        let course = Course { tail: tail.0, head: head.0, cost };
        self.become_inner(head.0);
        if lower < 0 {
            self.become_inner(tail.0);
        }
        if self.free_arcs.pop().is_some() {
            self.rooms[id as usize] = room;
            self.layout.arcs[id as usize] = course;
            self.layout.link(id, room.fill());
        } else {
            // Many often come at once: they are listed together, before the next solve.
            self.rooms.push(room);
            self.layout.arcs.push(course);
        }
        self.set_lower(id, lower);
        if flow != 0 {
            self.cost += i128::from(cost) * i128::from(flow);
            self.excesses[tail.index()] -= flow;
            self.excesses[head.index()] += flow;
            self.pending.add_unbalanced([tail.0, head.0]);
        }
        self.pending.add_suspects([id]);
        self.note(Change::AddArc(arc));
        Ok(ArcId(id))
    }

    /// Removes an arc; what flows through it waits at its tail again.
    ///
    /// # Errors
    /// No such arc.
    pub fn remove_arc(&mut self, arc: ArcId) -> Result<(), ChangeError> {
        self.known_arc(arc)?;
        self.drop_arc(arc.0);
        self.note(Change::RemoveArc { arc });
        Ok(())
    }

    fn drop_arc(&mut self, arc: u32) {
        self.list_arcs();
        let Arc { tail, head, lower, capacity, cost } = self.declared(arc);
        let flow = self.flow_of(arc);
        self.excesses[tail.index()] += flow;
        self.excesses[head.index()] -= flow;
        if flow != 0 {
            self.pending.add_unbalanced([tail.0, head.0]);
        }
        self.cost -= i128::from(cost) * i128::from(flow);
        self.layout.unlink(arc);
        self.rooms[arc as usize] = Room { up: 0, down: 0 };
        self.limits.amount -= bounds_weight(lower, capacity);
        self.set_lower(arc, 0);
        self.free_arcs.push(arc);
    }

    /// Changes an arc's bounds; the flow moves as little as it must.
    ///
    /// # Errors
    /// No such arc, crossed bounds, or amounts that are more than the network can hold.
    pub fn set_bounds(&mut self, arc: ArcId, lower: i64, capacity: i64) -> Result<(), ChangeError> {
        self.known_arc(arc)?;
        ordered(lower, capacity)?;
        let old = self.declared(arc.0);
        self.limits.take(bounds_weight(old.lower, old.capacity), bounds_weight(lower, capacity))?;
        self.list_arcs();
        let flow = self.flow_of(arc.0);
        // Before the first solve nothing flows that need not.
        let fits =
            if self.pending.left == Left::Nothing { first_flow(lower, capacity) } else { flow.clamp(lower, capacity) };
        if lower < 0 {
            self.become_inner(old.tail.0);
        }
        self.push(arc.0, fits - flow);
        self.pending.add_unbalanced([old.tail.0, old.head.0]);
        self.set_lower(arc.0, lower);
        let up = if capacity == UNLIMITED { ENDLESS } else { capacity - fits };
        self.rooms[arc.index()] = Room { up, down: fits - lower };
        self.layout.refill(arc.0, self.rooms[arc.index()].fill());
        self.pending.add_suspects([arc.0]);
        self.note(Change::SetBounds { arc, lower, capacity });
        Ok(())
    }

    /// Changes what a unit of flow on an arc costs.
    ///
    /// # Errors
    /// No such arc, or a cost that is more than the network can hold.
    pub fn set_cost(&mut self, arc: ArcId, cost: i64) -> Result<(), ChangeError> {
        self.known_arc(arc)?;
        self.limits.take_cost(cost, self.nodes.len())?;
        let course = &mut self.layout.arcs[arc.index()];
        let more = i128::from(cost) - i128::from(course.cost);
        course.cost = cost;
        let tail = course.tail;
        self.layout.tell(tail);
        self.cost += more * i128::from(self.flow_of(arc.0));
        self.pending.add_suspects([arc.0]);
        self.note(Change::SetCost { arc, cost });
        Ok(())
    }

    /// Makes a leaf a node like others, with a price of its own.
    fn become_inner(&mut self, leaf: u32) {
        if !self.layout.leaves.has(leaf) {
            return;
        }
        self.nodes[leaf as usize].price = self.price_of(leaf).clamp(-FAR, FAR);
        // They were only ever compared with each other, and now suit any price.
        self.pending.add_suspects(self.layout.out.all(self.layout.ends[leaf as usize].out).iter().copied());
        self.layout.open_to_arcs(leaf);
    }

    fn set_lower(&mut self, arc: u32, lower: i64) {
        if lower != 0 && self.lowers.len() <= arc as usize {
            self.lowers.resize(self.rooms.len(), 0);
        }
        if let Some(slot) = self.lowers.get_mut(arc as usize) {
            *slot = lower;
        }
    }

    fn known_node(&self, node: NodeId) -> Result<(), ChangeError> {
        if self.is_node(node.0) { Ok(()) } else { Err(ChangeError::UnknownNode(node)) }
    }

    fn known_arc(&self, arc: ArcId) -> Result<(), ChangeError> {
        if self.is_arc(arc.0) { Ok(()) } else { Err(ChangeError::UnknownArc(arc)) }
    }
}

fn ordered(lower: i64, capacity: i64) -> Result<(), ChangeError> {
    if lower <= capacity { Ok(()) } else { Err(ChangeError::BoundsCrossed { lower, capacity }) }
}

fn next_id(free: &[u32], used: usize) -> Result<u32, ChangeError> {
    if let Some(id) = free.last() {
        return Ok(*id);
    }
    u32::try_from(used).ok().filter(|id| *id < MOST_IDS).ok_or(ChangeError::Full { limit: MOST_IDS })
}
