//! A network in as few words as possible: what the changes make of the problem, ids included, and nothing else.

use berth_flow::{Arc, ArcId, Change, Instance, NodeId, Problem};

/// Nodes and arcs by id, and the ids that were freed, the last one last.
#[derive(Clone, Default, Debug)]
pub struct Kept {
    supplies: Vec<Option<i64>>,
    free_nodes: Vec<usize>,
    arcs: Vec<Option<Arc>>,
    free_arcs: Vec<usize>,
}

impl Kept {
    /// As after adding all of an instance.
    pub fn new(instance: &Instance) -> Kept {
        Kept {
            supplies: instance.supplies.iter().copied().map(Some).collect(),
            arcs: instance.arcs.iter().copied().map(Some).collect(),
            ..Kept::default()
        }
    }

    /// Applies a change. Nodes must have lost their arcs before they go.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::AddNode { supply } => give(&mut self.supplies, &mut self.free_nodes, supply),
            Change::AddArc(arc) => give(&mut self.arcs, &mut self.free_arcs, arc),
            Change::RemoveNode { node } => {
                assert!(self.arcs.iter().flatten().all(|arc| arc.tail != node && arc.head != node));
                assert!(self.supplies[node.0 as usize].take().is_some());
                self.free_nodes.push(node.0 as usize);
            }
            Change::RemoveArc { arc } => {
                assert!(self.arcs[arc.0 as usize].take().is_some());
                self.free_arcs.push(arc.0 as usize);
            }
            Change::SetSupply { node, supply } => *self.supplies[node.0 as usize].as_mut().unwrap() = supply,
            Change::SetBounds { arc, lower, capacity } => {
                let kept = self.arcs[arc.0 as usize].as_mut().unwrap();
                (kept.lower, kept.capacity) = (lower, capacity);
            }
            Change::SetCost { arc, cost } => self.arcs[arc.0 as usize].as_mut().unwrap().cost = cost,
        }
    }

    /// As after a canonical solve: the lowest free ids are given out first.
    pub fn forget_history(&mut self) {
        self.free_nodes.sort_unstable_by(|a, b| b.cmp(a));
        self.free_arcs.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// The same with nodes and arcs numbered without gaps.
    pub fn instance(&self) -> Instance {
        let mut numbers = vec![0; self.supplies.len()];
        for (number, (node, _)) in self.nodes().enumerate() {
            numbers[node.0 as usize] = number as u32;
        }
        let renumbered = |node: NodeId| NodeId(numbers[node.0 as usize]);
        let arcs = self.arcs().map(|(_, arc)| Arc { tail: renumbered(arc.tail), head: renumbered(arc.head), ..arc });
        Instance { supplies: self.supplies.iter().flatten().copied().collect(), arcs: arcs.collect() }
    }
}

fn give<T>(places: &mut Vec<Option<T>>, free: &mut Vec<usize>, thing: T) {
    match free.pop() {
        Some(at) => assert!(places[at].replace(thing).is_none()),
        None => places.push(Some(thing)),
    }
}

impl Problem for Kept {
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)> {
        (0..).map(NodeId).zip(&self.supplies).filter_map(|(id, supply)| supply.map(|supply| (id, supply)))
    }

    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)> {
        (0..).map(ArcId).zip(&self.arcs).filter_map(|(id, arc)| arc.map(|arc| (id, arc)))
    }
}
