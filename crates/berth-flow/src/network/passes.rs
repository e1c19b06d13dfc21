//! Passes along a node's arcs from leaves, and the hops through these leaves that may be short enough.

use std::iter::Take;
use std::ops::Range;

use super::layout::{Course, Layout, NONE};
use super::lists::Entry;
use super::slacks::Memo;

/// So many hops are made before other nodes at the same distance have their turn: each leads to several more.
const LEAF_CHUNK: usize = 16;
/// So many memos, which lie together, are read in the time of an arc.
const MEMOS_PER_STEP: usize = 8;

/// A pass along a node's arcs from leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pass {
    pub(super) node: u32,
    /// How many were passed.
    pub(super) done: usize,
    /// An earlier pass has looked at those whose slack could be less than this.
    pub(super) seen: i64,
    /// The least slack that those can have which were left out because they cannot be near enough.
    pub(super) rest: i64,
}

impl Pass {
    pub(super) fn first(node: u32) -> Pass {
        Pass { node, done: 0, seen: 0, rest: i64::MAX }
    }

    /// Goes on to the next leaves, by their places, whose slack may be at most so much, as it is bounded by what is
    /// remembered of them. Returns their hops and the steps that all this took.
    pub(super) fn gather(
        &mut self,
        layout: &Layout,
        places: Range<usize>,
        most: i64,
        bound: impl Fn(Memo) -> i64,
    ) -> (Hops, u64) {
        let mut hops = Hops { hops: [Hop::NONE; LEAF_CHUNK], count: 0 };
        let mut place = places.start + self.done;
        while place < places.end && !hops.is_full() {
            let Entry { arc, memo } = layout.into.entry(place);
            let bound = bound(memo);
            if bound > most {
                self.rest = self.rest.min(bound);
            } else if bound >= self.seen {
                hops.push(arc, place);
            }
            place += 1;
        }
        let passed = place - places.start - self.done;
        self.done = place - places.start;
        (hops, (passed / MEMOS_PER_STEP) as u64)
    }
}

/// A way through a leaf, by its arc at the node from which a search comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) arc: u32,
    /// Where the arc is in the list of its head.
    pub(super) place: usize,
    /// Forward: the first of the leaf's arcs. Backward: the leaf, and then the only arc of its that carries flow.
    pub(super) next: u32,
    /// Backward: that arc.
    pub(super) course: Course,
}

impl Hop {
    const NONE: Hop = Hop { arc: NONE, place: 0, next: NONE, course: Course::REMOVED };
}

/// The hops that come next. What they read is scattered in memory, and each read tells where the next one is: it is done
/// for all of them stage by stage, so that they wait for memory together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hops {
    hops: [Hop; LEAF_CHUNK],
    pub(super) count: usize,
}

impl Hops {
    fn push(&mut self, arc: u32, place: usize) {
        self.hops[self.count] = Hop { arc, place, ..Hop::NONE };
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        self.count == LEAF_CHUNK
    }

    pub(super) fn each(&mut self, read: impl FnMut(&mut Hop)) {
        self.hops[..self.count].iter_mut().for_each(read);
    }
}

impl IntoIterator for Hops {
    type Item = Hop;
    type IntoIter = Take<std::array::IntoIter<Hop, LEAF_CHUNK>>;

    fn into_iter(self) -> Self::IntoIter {
        self.hops.into_iter().take(self.count)
    }
}
