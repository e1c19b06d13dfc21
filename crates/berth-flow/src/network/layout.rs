//! How the residual network lies in memory: where arcs lead, and which of them a search finds at a node.
//!
//! A *leaf* is a node that no flow can enter and that takes none, as the tasks of a scheduler are. Its arcs
//! are listed apart at their heads, so that a search can pass through it without looking at it.

use std::ops::Range;

use super::bits::Bits;
use super::lists::{Entry, Fill, Lists, Span};

/// No node, no arc.
pub(super) const NONE: u32 = u32::MAX;

/// Where an arc leads and what it costs: what a search reads of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// [`NONE`] if the arc was removed.
    pub(super) tail: u32,
    pub(super) head: u32,
    pub(super) cost: i64,
}

impl Course {
    /// Of an arc that was removed, or is not listed yet.
    pub(super) const REMOVED: Course = Course { tail: NONE, head: NONE, cost: 0 };
}

/// Where a node's arcs are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// The arcs that leave it.
    pub(super) out: Span,
    /// Those that enter it from leaves.
    pub(super) leaves: Span,
    /// Those that enter it from other nodes.
    pub(super) into: Span,
}

/// What a search walks on.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) ends: Vec<Ends>,
    pub(super) arcs: Vec<Course>,
    /// The arcs from this number on have come since arcs were listed last, and are not listed yet.
    listed: u32,
    /// The lists of arcs that leave a node.
    pub(super) out: Lists<u32>,
    /// The lists of arcs that enter a node.
    pub(super) into: Lists<Entry>,
    /// The nodes that nothing enters.
    pub(super) leaves: Bits,
    /// The leaves whose arcs have successive numbers, and so lie together.
    bundled: Bits,
    /// The arcs that can take more flow.
    pub(super) open: Bits,
    /// The arcs whose flow can shrink.
    pub(super) live: Bits,
    /// For each leaf the only arc of its that is live; [`NONE`] if none is, [`SEVERAL`] if some are.
    pub(super) sole: Vec<u32>,
    pub(super) news: News,
}

/// What a search must hear that remembers what it has seen of leaves.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// Anything may have changed, prices too.
    is_all: bool,
    /// Leaves with arcs that came, have another cost, or took or gave flow without regard to prices.
    leaves: Vec<u32>,
}

impl Default for News {
    /// Before the first search nothing is known.
    fn default() -> News {
        News { is_all: true, leaves: Vec::new() }
    }
}

impl News {
    pub(super) fn tell_all(&mut self) {
        *self = News::default();
    }
}

/// The room that is left for more of what there are so many of, so that the first changes move nothing. What nobody has
/// touched takes no memory yet.
pub(super) fn spare(count: usize) -> usize {
    count / 16
}

/// More than one arc.
const SEVERAL: u32 = u32::MAX - 1;

impl Layout {
    /// With these arcs, and exactly the lists, still empty, that they need: the arcs with their lower bounds, and
    /// the supplies of all nodes.
    pub(super) fn of(arcs: Vec<Course>, lowers: &[i64], supplies: &[i64]) -> Layout {
        let mut entered = vec![0_u32; supplies.len()];
        let mut can_be_entered = Bits::default();
        let live = |arc: &&Course| arc.tail != NONE;
        for arc in arcs.iter().filter(live) {
            entered[arc.head as usize] += 1;
        }
        for (arc, lower) in arcs.iter().zip(lowers) {
            if *lower < 0 {
                can_be_entered.insert(arc.tail);
            }
        }
        let is_leaf =
            |node: u32| entered[node as usize] == 0 && supplies[node as usize] >= 0 && !can_be_entered.has(node);
        // How many arcs leave a node, and how many enter it from leaves.
        let mut counts = vec![(0_u32, 0_u32); supplies.len()];
        for arc in arcs.iter().filter(live) {
            counts[arc.tail as usize].0 += 1;
            counts[arc.head as usize].1 += u32::from(is_leaf(arc.tail));
        }
        let mut layout = Layout::default();
        layout.reserve(supplies.len(), arcs.len());
        for (node, (out, leaves)) in (0..).zip(counts) {
            if is_leaf(node) {
                layout.leaves.insert(node);
            }
            let into = entered[node as usize] - leaves;
            let (out, leaves, into) = (layout.out.span(out), layout.into.span(leaves), layout.into.span(into));
            layout.add_node(Ends { out, leaves, into });
        }
        layout.arcs = arcs;
        layout
    }

    fn reserve(&mut self, nodes: usize, arcs: usize) {
        self.ends.reserve_exact(nodes + spare(nodes));
        self.sole.reserve_exact(nodes + spare(nodes));
        self.out.reserve(arcs);
        self.into.reserve(arcs);
    }

    pub(super) fn add_node(&mut self, ends: Ends) {
        self.ends.push(ends);
        self.sole.push(NONE);
    }

    /// The arcs that are not listed yet.
    pub(super) fn unlisted(&self) -> Range<u32> {
        self.listed..u32::try_from(self.arcs.len()).expect("arcs are counted by 31 bits")
    }

    /// The first arc of the leaf to which `id` belongs, if they lie together, else [`NONE`].
    pub(super) fn first_of_leaf(&self, id: u32) -> u32 {
        let leaf = self.arcs[id as usize].tail;
        if !self.bundled.has(leaf) {
            return NONE;
        }
        let mut first = id as usize;
        while first > 0 && self.arcs[first - 1].tail == leaf {
            first -= 1;
        }
        first as u32
    }

    /// All arcs of the leaf to which `id` belongs, of which `first` is the first if they lie together.
    pub(super) fn each_of_leaf<'a>(&'a self, id: u32, first: u32, mut visit: impl FnMut(u32, &'a Course)) {
        let leaf = self.arcs[id as usize].tail;
        if first == NONE {
            for id in self.out.all(self.ends[leaf as usize].out) {
                visit(*id, &self.arcs[*id as usize]);
            }
            return;
        }
        for (arc, id) in self.arcs[first as usize..].iter().zip(first..) {
            if arc.tail != leaf {
                break;
            }
            visit(id, arc);
        }
    }

    /// The live arcs of the leaf to which `id` belongs.
    pub(super) fn live_of_leaf(&self, id: u32) -> &[u32] {
        let leaf = self.arcs[id as usize].tail as usize;
        match &self.sole[leaf] {
            &NONE => &[],
            &SEVERAL => self.out.live(self.ends[leaf].out),
            sole => std::slice::from_ref(sole),
        }
    }

    /// Whether an arc can take more flow, and whether it has some that can shrink.
    pub(super) fn fill(&self, id: u32) -> Fill {
        match (self.live.has(id), self.open.has(id)) {
            (true, true) => Fill::Between,
            (true, false) => Fill::Full,
            (false, true) => Fill::Empty,
            (false, false) => Fill::Fixed,
        }
    }

    /// Makes room for the arcs that leave the tail of this one, if nothing left it so far: those of a new node mostly
    /// come together.
    pub(super) fn make_room(&mut self, id: u32) {
        let tail = self.arcs[id as usize].tail;
        let out = &mut self.ends[tail as usize].out;
        if out.is_unused() {
            let together = self.arcs[id as usize..].iter().take_while(|arc| arc.tail == tail);
            *out = self.out.span(u32::try_from(together.count()).expect("arcs are counted by 31 bits"));
        }
    }

    /// Lists an arc at both its ends, if it was not removed.
    pub(super) fn link(&mut self, id: u32, fill: Fill) {
        let Course { tail, head, .. } = self.arcs[id as usize];
        self.listed = self.listed.max(id + 1);
        if tail == NONE {
            return;
        }
        let is_at_tail = |id: u32| id < self.listed && self.arcs[id as usize].tail == tail;
        let beside = |id: Option<u32>| id.is_some_and(is_at_tail);
        let alone = self.ends[tail as usize].out.len() == 0;
        if alone || self.bundled.has(tail) && (beside(id.checked_sub(1)) || beside(id.checked_add(1))) {
            self.bundled.insert(tail);
        } else {
            self.bundled.remove(tail);
        }
        // What sends nothing is passed through by no search.
        if !self.out.live(self.ends[tail as usize].out).is_empty() {
            self.tell(tail);
        }
        self.out.insert(&mut self.ends[tail as usize].out, id, fill);
        self.into.insert(entries(&mut self.ends, &self.leaves, tail, head), id, fill);
        self.note_fill(id, fill);
        if fill != Fill::Empty {
            self.note_live(tail);
        }
    }

    /// Takes an arc off the lists of its ends.
    pub(super) fn unlink(&mut self, id: u32) {
        let (Course { tail, head, .. }, fill) = (self.arcs[id as usize], self.fill(id));
        self.bundled.remove(tail);
        self.out.remove(&mut self.ends[tail as usize].out, id, fill);
        self.into.remove(entries(&mut self.ends, &self.leaves, tail, head), id, fill);
        self.arcs[id as usize] = Course::REMOVED;
        self.note_live(tail);
    }

    /// Moves an arc to the parts of its lists where it belongs.
    pub(super) fn refill(&mut self, id: u32, to: Fill) {
        let (Course { tail, head, .. }, from) = (self.arcs[id as usize], self.fill(id));
        if from == to {
            return;
        }
        self.out.refill(&mut self.ends[tail as usize].out, id, from, to);
        let entries = entries(&mut self.ends, &self.leaves, tail, head);
        self.into.refill(entries, id, from, to);
        self.into.forget(*entries, id);
        self.note_fill(id, to);
        self.note_live(tail);
    }

    /// Takes all arcs that are not fixed as empty ones.
    pub(super) fn empty(&mut self) {
        self.news.tell_all();
        for Ends { out, leaves, into } in &mut self.ends {
            out.empty();
            leaves.empty();
            into.empty();
        }
        self.open.include(&self.live);
        self.live = Bits::default();
        self.sole.fill(NONE);
    }

    fn note_fill(&mut self, id: u32, fill: Fill) {
        match fill {
            Fill::Full | Fill::Between => self.live.insert(id),
            Fill::Empty | Fill::Fixed => self.live.remove(id),
        }
        match fill {
            Fill::Between | Fill::Empty => self.open.insert(id),
            Fill::Full | Fill::Fixed => self.open.remove(id),
        }
    }

    /// Tells that an arc that leaves this node is not what it was.
    pub(super) fn tell(&mut self, node: u32) {
        if !self.news.is_all && self.leaves.has(node) {
            self.news.leaves.push(node);
        }
    }

    /// Forgets what is remembered of leaves of which there is news. Returns whether all is forgotten.
    pub(super) fn hear(&mut self) -> bool {
        let News { is_all, mut leaves } = std::mem::replace(&mut self.news, News { is_all: false, leaves: Vec::new() });
        if is_all {
            self.into.forget_all();
            return true;
        }
        leaves.sort_unstable();
        leaves.dedup();
        for leaf in leaves.into_iter().filter(|leaf| self.leaves.has(*leaf)) {
            for id in self.out.all(self.ends[leaf as usize].out) {
                self.into.forget(self.ends[self.arcs[*id as usize].head as usize].leaves, *id);
            }
        }
        false
    }

    fn note_live(&mut self, node: u32) {
        self.sole[node as usize] = match self.out.live(self.ends[node as usize].out) {
            [] => NONE,
            [sole] => *sole,
            [..] => SEVERAL,
        };
    }

    /// Makes a leaf a node like others, because something is about to enter it.
    pub(super) fn open_to_arcs(&mut self, leaf: u32) {
        let out = self.out.all(self.ends[leaf as usize].out).to_vec();
        self.leaves.remove(leaf);
        for id in out {
            let (head, fill) = (self.arcs[id as usize].head, self.fill(id));
            let ends = &mut self.ends[head as usize];
            self.into.remove(&mut ends.leaves, id, fill);
            self.into.insert(&mut ends.into, id, fill);
        }
    }
}

/// The list, at its head, of an arc from `tail` to `head`.
fn entries<'a>(ends: &'a mut [Ends], leaves: &Bits, tail: u32, head: u32) -> &'a mut Span {
    let ends = &mut ends[head as usize];
    if leaves.has(tail) { &mut ends.leaves } else { &mut ends.into }
}
