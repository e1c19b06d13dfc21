//! Follows a problem from one instance to the next: what to change in a network that is kept.
//!
//! Nodes are the same where their numbers are. Arcs have no names: the first arc from one node to another is
//! the first one there in the next instance too, the second the second, and so on.

use crate::change::Change;
use crate::network::Network;
use crate::problem::{Arc, ArcId, Instance, NodeId, Problem};

/// Knows which arc of a network is which of the instance that the network has followed so far.
///
/// It counts ids as a [`Network`] gives them out: all changes must be applied in order, and no others.
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
    /// For a network that was made from an instance or a file, and not changed since.
    pub fn new(network: &Network) -> Follower {
        let next = number(network.arcs().count());
        Follower { ids: (0..next).map(ArcId).collect(), free: Vec::new(), next }
    }

    /// The arcs of the instance in their order, by their ids in the network.
    pub fn arcs(&self) -> &[ArcId] {
        &self.ids
    }

    /// The changes that make `after` of the network.
    ///
    /// What goes comes first, so that what comes finds the freed numbers and room within the limits.
    ///
    /// # Panics
    /// Where the network is not what was followed so far.
    pub fn follow(&mut self, network: &Network, after: &Instance) -> Vec<Change> {
        let before = |id: &ArcId| network.arc(*id).expect("the network must be as it was followed");
        let matching = matching(self.ids.iter().map(before), &after.arcs);
        let mut changes = Vec::new();
        for &place in &matching.gone {
            let arc = self.ids[place as usize];
            self.free.push(arc);
            changes.push(Change::RemoveArc { arc });
        }
        let supplies: Vec<i64> = network.nodes().map(|(_, supply)| supply).collect();
        change_nodes(&supplies, &after.supplies, &mut changes);
        let mut ids = Vec::with_capacity(after.arcs.len());
        for (arc, origin) in after.arcs.iter().zip(&matching.origins) {
            ids.push(match origin {
                Some(place) => {
                    let id = self.ids[*place as usize];
                    change_arc(id, &before(&id), arc, &mut changes);
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
fn matching(before: impl Iterator<Item = Arc> + Clone, after: &[Arc]) -> Matching {
    // Most files differ late: as far as the ends are the same in step, so are all counts of parallels.
    let common = before.clone().zip(after).take_while(|(old, new)| ends(old) == ends(new)).count();
    let mut origins: Vec<Option<u32>> = (0..number(common)).map(Some).collect();
    origins.resize(after.len(), None);
    let (old, new) = (sorted(before, common), sorted(after.iter().copied(), common));
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
fn sorted(arcs: impl Iterator<Item = Arc>, from: usize) -> Vec<(u64, u32)> {
    let mut sorted: Vec<(u64, u32)> = arcs.zip(0..).skip(from).map(|(arc, place)| (ends(&arc), place)).collect();
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

    fn apply(network: &mut Network, changes: &[Change]) {
        for change in changes {
            network.apply(change).unwrap();
        }
    }

    /// What the network is by now, with the arcs where the follower says that they are.
    fn followed(network: &Network, follower: &Follower) -> Instance {
        let supplies = network.nodes().map(|(_, supply)| supply).collect();
        let arcs = follower.arcs().iter().map(|id| network.arc(*id).unwrap()).collect();
        assert_eq!(network.arcs().count(), follower.arcs().len());
        Instance { supplies, arcs }
    }

    #[test]
    fn nothing_changes_where_nothing_differs() {
        let same = instance(&[1, -1], &[arc(0, 1, 5, 1), arc(0, 1, 5, 1)]);
        let network = Network::from_instance(&same).unwrap();
        let mut follower = Follower::new(&network);
        assert_eq!(follower.follow(&network, &same), []);
        assert_eq!(follower.arcs(), [ArcId(0), ArcId(1)]);
    }

    #[test]
    fn only_what_differs_changes() {
        let before = instance(&[1, -1, 0], &[arc(0, 1, 5, 1), arc(1, 2, 5, 1), arc(0, 1, 6, 2)]);
        let after = instance(&[2, -1], &[arc(0, 1, 5, 3), arc(0, 1, UNLIMITED, 2), arc(1, 1, 1, 1)]);
        let mut network = Network::from_instance(&before).unwrap();
        let mut follower = Follower::new(&network);
        let changes = [
            Change::RemoveArc { arc: ArcId(1) },
            Change::RemoveNode { node: NodeId(2) },
            Change::SetSupply { node: NodeId(0), supply: 2 },
            Change::SetCost { arc: ArcId(0), cost: 3 },
            Change::SetBounds { arc: ArcId(2), lower: 0, capacity: UNLIMITED },
            Change::AddArc(arc(1, 1, 1, 1)),
        ];
        assert_eq!(follower.follow(&network, &after), changes);
        apply(&mut network, &changes);
        assert_eq!(follower.arcs(), [ArcId(0), ArcId(2), ArcId(1)]);
        let back = follower.follow(&network, &before);
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
            let mut network = Network::from_instance(&instances[0]).unwrap();
            let mut follower = Follower::new(&network);
            for after in &instances[1..] {
                let changes = follower.follow(&network, after);
                apply(&mut network, &changes);
                prop_assert_eq!(&followed(&network, &follower), after);
            }
        }
    }
}
