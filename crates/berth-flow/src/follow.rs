//! Follows a problem from one instance to the next: what to change in a network that is kept.
//!
//! Nodes are the same where their numbers are. Arcs have no names: the first arc from one node to another is
//! the first one there in the next instance too, the second the second, and so on.

use crate::change::Change;
use crate::problem::{Arc, ArcId, Instance, NodeId};

/// Knows which arc of a network is which of the instance that the network has followed so far.
///
/// It counts ids as a [`Network`](crate::Network) gives them out: all changes must be applied in order, and
/// no others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follower {
    /// By the place in the instance.
    ids: Vec<ArcId>,
    /// Ids that were freed, the last one last.
    free: Vec<ArcId>,
    /// The id after the greatest one that was ever given out.
    next: u32,
}

/// What became of the arcs of an instance.
struct Matching {
    /// Of each arc of the new instance: its place in the old one.
    origins: Vec<Option<u32>>,
    /// Places in the old instance that have no counterpart.
    gone: Vec<u32>,
}

impl Follower {
    /// For a network that was made from this instance and not changed since.
    pub fn new(instance: &Instance) -> Follower {
        let next = number(instance.arcs.len());
        Follower { ids: (0..next).map(ArcId).collect(), free: Vec::new(), next }
    }

    /// The arcs of the instance in their order, by their ids in the network.
    pub fn arcs(&self) -> &[ArcId] {
        &self.ids
    }

    /// The changes that make `after` of the network, which is `before` so far.
    ///
    /// What goes comes first, so that what comes finds the freed numbers and room within the limits.
    ///
    /// # Panics
    /// Where `before` is not what was followed so far.
    pub fn follow(&mut self, before: &Instance, after: &Instance) -> Vec<Change> {
        assert_eq!(before.arcs.len(), self.ids.len(), "the instance before must be the one that was followed last");
        let matching = matching(&before.arcs, &after.arcs);
        let mut changes = Vec::new();
        for &place in &matching.gone {
            let arc = self.ids[place as usize];
            self.free.push(arc);
            changes.push(Change::RemoveArc { arc });
        }
        change_nodes(&before.supplies, &after.supplies, &mut changes);
        let mut ids = Vec::with_capacity(after.arcs.len());
        for (arc, origin) in after.arcs.iter().zip(&matching.origins) {
            ids.push(match origin {
                Some(place) => {
                    let id = self.ids[*place as usize];
                    change_arc(id, &before.arcs[*place as usize], arc, &mut changes);
                    id
                }
                None => {
                    changes.push(Change::AddArc(*arc));
                    self.new_id()
                }
            });
        }
        self.ids = ids;
        changes
    }

    fn new_id(&mut self) -> ArcId {
        self.free.pop().unwrap_or_else(|| {
            let id = ArcId(self.next);
            self.next = self.next.checked_add(1).expect("a network refuses more arcs than there are ids");
            id
        })
    }
}

/// An amount of arcs or nodes as ids count them.
fn number(amount: usize) -> u32 {
    u32::try_from(amount).expect("an instance has no more arcs or nodes than there are ids")
}

/// Nodes go from the last one down: freed last, the lowest number is given out first.
fn change_nodes(before: &[i64], after: &[i64], changes: &mut Vec<Change>) {
    let removed = (after.len()..before.len()).rev();
    changes.extend(removed.map(|at| Change::RemoveNode { node: NodeId(number(at)) }));
    for (node, (old, new)) in (0..).map(NodeId).zip(before.iter().zip(after)) {
        if old != new {
            changes.push(Change::SetSupply { node, supply: *new });
        }
    }
    changes.extend(after.iter().skip(before.len()).map(|&supply| Change::AddNode { supply }));
}

fn change_arc(arc: ArcId, before: &Arc, after: &Arc, changes: &mut Vec<Change>) {
    let &Arc { lower, capacity, cost, .. } = after;
    if (before.lower, before.capacity) != (lower, capacity) {
        changes.push(Change::SetBounds { arc, lower, capacity });
    }
    if before.cost != cost {
        changes.push(Change::SetCost { arc, cost });
    }
}

/// Matches arcs by their ends and, among parallels, by their order.
fn matching(before: &[Arc], after: &[Arc]) -> Matching {
    // Most files differ late: as far as the ends are the same in step, so are all counts of parallels.
    let common = before.iter().zip(after).take_while(|(old, new)| ends(old) == ends(new)).count();
    let mut origins: Vec<Option<u32>> = (0..number(common)).map(Some).collect();
    origins.resize(after.len(), None);
    let (old, new) = (sorted(before, common), sorted(after, common));
    let mut gone = Vec::new();
    let mut left = old.iter().peekable();
    for &(ends, place) in &new {
        while let Some(&(_, lost)) = left.next_if(|(old, _)| *old < ends) {
            gone.push(lost);
        }
        if let Some(&(_, origin)) = left.next_if(|(old, _)| *old == ends) {
            origins[place as usize] = Some(origin);
        }
    }
    gone.extend(left.map(|&(_, lost)| lost));
    gone.sort_unstable();
    Matching { origins, gone }
}

fn ends(arc: &Arc) -> u64 {
    u64::from(arc.tail.0) << 32 | u64::from(arc.head.0)
}

/// The arcs from a place on, by ends and then by place.
fn sorted(arcs: &[Arc], from: usize) -> Vec<(u64, u32)> {
    let mut sorted: Vec<(u64, u32)> =
        arcs.iter().zip(0..).skip(from).map(|(arc, place): (&Arc, u32)| (ends(arc), place)).collect();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::problem::UNLIMITED;

    fn arc(tail: u32, head: u32, capacity: i64, cost: i64) -> Arc {
        Arc { tail: NodeId(tail), head: NodeId(head), lower: 0, capacity, cost }
    }

    fn instance(supplies: &[i64], arcs: &[Arc]) -> Instance {
        Instance { supplies: supplies.to_vec(), arcs: arcs.to_vec() }
    }

    /// What a network keeps of what it is told, in as few words as possible.
    struct Kept {
        supplies: Vec<Option<i64>>,
        free_nodes: Vec<usize>,
        arcs: Vec<Option<Arc>>,
        free_arcs: Vec<usize>,
    }

    impl Kept {
        fn new(instance: &Instance) -> Kept {
            Kept {
                supplies: instance.supplies.iter().copied().map(Some).collect(),
                free_nodes: Vec::new(),
                arcs: instance.arcs.iter().copied().map(Some).collect(),
                free_arcs: Vec::new(),
            }
        }

        fn apply(&mut self, change: Change) {
            match change {
                Change::AddNode { supply } => {
                    let at = self.free_nodes.pop().unwrap_or(self.supplies.len());
                    self.supplies.resize(self.supplies.len().max(at + 1), None);
                    assert_eq!(self.supplies[at].replace(supply), None);
                }
                Change::RemoveNode { node } => {
                    assert!(self.arcs.iter().flatten().all(|arc| arc.tail != node && arc.head != node));
                    assert!(self.supplies[node.index()].take().is_some());
                    self.free_nodes.push(node.index());
                }
                Change::SetSupply { node, supply } => {
                    assert_ne!(self.supplies[node.index()].replace(supply).unwrap(), supply);
                }
                Change::AddArc(arc) => {
                    let at = self.free_arcs.pop().unwrap_or(self.arcs.len());
                    self.arcs.resize(self.arcs.len().max(at + 1), None);
                    assert_eq!(self.arcs[at].replace(arc), None);
                }
                Change::RemoveArc { arc } => {
                    assert!(self.arcs[arc.index()].take().is_some());
                    self.free_arcs.push(arc.index());
                }
                Change::SetBounds { arc, lower, capacity } => {
                    let kept = self.arcs[arc.index()].as_mut().unwrap();
                    (kept.lower, kept.capacity) = (lower, capacity);
                }
                Change::SetCost { arc, cost } => self.arcs[arc.index()].as_mut().unwrap().cost = cost,
            }
        }

        /// The instance, with the arcs where the follower says that they are.
        fn instance(&self, follower: &Follower) -> Instance {
            let supplies = self.supplies.iter().flatten().copied().collect();
            let arcs = follower.arcs().iter().map(|id| self.arcs[id.index()].unwrap()).collect();
            assert_eq!(self.arcs.iter().flatten().count(), follower.arcs().len());
            Instance { supplies, arcs }
        }
    }

    #[test]
    fn nothing_changes_where_nothing_differs() {
        let same = instance(&[1, -1], &[arc(0, 1, 5, 1), arc(0, 1, 5, 1)]);
        let mut follower = Follower::new(&same);
        assert_eq!(follower.follow(&same, &same), []);
        assert_eq!(follower.arcs(), [ArcId(0), ArcId(1)]);
    }

    #[test]
    fn only_what_differs_changes() {
        let before = instance(&[1, -1, 0], &[arc(0, 1, 5, 1), arc(1, 2, 5, 1), arc(0, 1, 6, 2)]);
        let after = instance(&[2, -1], &[arc(0, 1, 5, 3), arc(0, 1, UNLIMITED, 2), arc(1, 1, 1, 1)]);
        let mut follower = Follower::new(&before);
        let changes = [
            Change::RemoveArc { arc: ArcId(1) },
            Change::RemoveNode { node: NodeId(2) },
            Change::SetSupply { node: NodeId(0), supply: 2 },
            Change::SetCost { arc: ArcId(0), cost: 3 },
            Change::SetBounds { arc: ArcId(2), lower: 0, capacity: UNLIMITED },
            Change::AddArc(arc(1, 1, 1, 1)),
        ];
        assert_eq!(follower.follow(&before, &after), changes);
        assert_eq!(follower.arcs(), [ArcId(0), ArcId(2), ArcId(1)]);
        let back = follower.follow(&after, &before);
        assert_eq!(back[0], Change::RemoveArc { arc: ArcId(1) });
        assert_eq!(back[2], Change::AddNode { supply: 0 });
        assert_eq!(follower.arcs(), [ArcId(0), ArcId(1), ArcId(2)]);
    }

    fn some_instance() -> impl Strategy<Value = Instance> {
        prop::collection::vec(-2_i64..3, 1..6).prop_flat_map(|supplies| {
            let node = 0..supplies.len() as u32;
            let arc =
                (node.clone(), node, 0_i64..3, 0_i64..3).prop_map(|(a, b, capacity, cost)| arc(a, b, capacity, cost));
            let arcs = prop::collection::vec(arc, 0..15);
            arcs.prop_map(move |arcs| Instance { supplies: supplies.clone(), arcs })
        })
    }

    proptest! {
        #[test]
        fn what_follows_is_what_is_asked(instances in prop::collection::vec(some_instance(), 2..6)) {
            let mut kept = Kept::new(&instances[0]);
            let mut follower = Follower::new(&instances[0]);
            for pair in instances.windows(2) {
                for change in follower.follow(&pair[0], &pair[1]) {
                    kept.apply(change);
                }
                prop_assert_eq!(&kept.instance(&follower), &pair[1]);
            }
        }
    }
}
