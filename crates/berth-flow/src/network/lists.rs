//! For each node the lists of its arcs, all in one pool.
//!
//! A list is in four parts: *full* arcs, arcs *between* their bounds, *empty* ones at their lower bound, and
//! *fixed* ones whose bounds are equal. Flow can be taken back from the first two and added to the middle
//! two, so both are one slice: a hub of 150,000 arcs that carries little flow is searched against its arcs
//! in the time of those few.

use std::ops::Range;

use super::layout::{NONE, spare};
use super::slacks::Memo;

/// Where an arc's flow is between its bounds; the parts of a list, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fill {
    Full,
    Between,
    Empty,
    Fixed,
}

/// A node's part of a [`Lists`] pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
    room: u32,
    /// Where the parts end that are followed by another.
    ends: [u32; 3],
}

impl Span {
    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    /// Makes all full arcs, and those between their bounds, empty ones.
    pub(super) fn empty(&mut self) {
        self.ends[..Fill::Empty as usize].fill(0);
    }

    /// Whether it has never had room for an arc.
    pub(super) fn is_unused(self) -> bool {
        self.room == 0
    }
}

/// What lies in a list for each arc.
pub(super) trait Slot: Copy {
    fn new(arc: u32) -> Self;
    fn arc(self) -> u32;
}

impl Slot for u32 {
    fn new(arc: u32) -> u32 {
        arc
    }

    fn arc(self) -> u32 {
        self
    }
}

/// An arc, and what the search remembers of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) arc: u32,
    pub(super) memo: Memo,
}

impl Slot for Entry {
    fn new(arc: u32) -> Entry {
        Entry { arc, memo: Memo::default() }
    }

    fn arc(self) -> u32 {
        self.arc
    }
}

/// The arcs at each node, all in one pool. An arc is in one list only.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists<T> {
    pool: Vec<T>,
    /// The place of each arc in its list.
    places: Vec<u32>,
}

impl<T: Slot> Lists<T> {
    /// Makes room for so many arcs, for those that lists have room for beside them, and for lists that move.
    pub(super) fn reserve(&mut self, arcs: usize) {
        self.places.reserve_exact(arcs + spare(arcs));
        self.pool.reserve_exact(arcs + 2 * spare(arcs));
    }

    /// An empty list with room for so many arcs, and some more.
    pub(super) fn span(&mut self, arcs: u32) -> Span {
        let (start, room) = (self.pool.len(), arcs + arcs / 16);
        self.pool.resize(start + room as usize, T::new(NONE));
        Span { start: u32::try_from(start).expect("arcs are counted by 31 bits"), room, ..Span::default() }
    }

    pub(super) fn all(&self, span: Span) -> &[T] {
        self.slice(span, 0, span.len)
    }

    /// The arcs whose flow can shrink.
    pub(super) fn live(&self, span: Span) -> &[T] {
        self.slice(span, 0, span.ends[Fill::Between as usize])
    }

    /// The arcs whose flow can grow.
    pub(super) fn open(&self, span: Span) -> &[T] {
        self.slice(span, span.ends[Fill::Full as usize], span.ends[Fill::Empty as usize])
    }

    fn slice(&self, span: Span, from: u32, to: u32) -> &[T] {
        &self.pool[(span.start + from) as usize..(span.start + to) as usize]
    }

    /// Where the arcs are whose flow can shrink.
    pub(super) fn live_places(&self, span: Span) -> Range<usize> {
        span.start as usize..(span.start + span.ends[Fill::Between as usize]) as usize
    }

    /// Where the arcs are whose flow can grow.
    pub(super) fn open_places(&self, span: Span) -> Range<usize> {
        (span.start + span.ends[Fill::Full as usize]) as usize..(span.start + span.ends[Fill::Empty as usize]) as usize
    }

    pub(super) fn is_full_place(&self, span: Span, place: usize) -> bool {
        place < (span.start + span.ends[Fill::Full as usize]) as usize
    }

    pub(super) fn is_empty_place(&self, span: Span, place: usize) -> bool {
        place >= (span.start + span.ends[Fill::Between as usize]) as usize
    }

    /// Adds an arc.
    #[inline]
    pub(super) fn insert(&mut self, span: &mut Span, arc: u32, fill: Fill) {
        if span.len == span.room {
            self.widen(span);
        }
        if self.places.len() <= arc as usize {
            self.places.resize(arc as usize + 1, NONE);
        }
        self.pool[(span.start + span.len) as usize] = T::new(arc);
        self.places[arc as usize] = span.len;
        span.len += 1;
        // Most of a network's arcs come so, and where no fixed one is behind it, it is where it belongs.
        if fill == Fill::Empty && span.ends[Fill::Empty as usize] + 1 == span.len {
            span.ends[Fill::Empty as usize] = span.len;
        } else {
            self.refill(span, arc, Fill::Fixed, fill);
        }
    }

    /// Moves the list to the end of the pool, with room for more.
    fn widen(&mut self, span: &mut Span) {
        let (from, to) = (span.start as usize, self.pool.len());
        self.pool.extend_from_within(from..from + span.len());
        let room = span.len + (span.len / 4).max(4);
        self.pool.resize(to + room as usize, T::new(NONE));
        *span = Span { start: u32::try_from(to).expect("arcs are counted by 31 bits"), room, ..*span };
    }

    /// Takes an arc off the list.
    pub(super) fn remove(&mut self, span: &mut Span, arc: u32, fill: Fill) {
        self.refill(span, arc, fill, Fill::Fixed);
        let last = span.len - 1;
        self.swap(*span, self.places[arc as usize], last);
        span.len = last;
    }

    /// Moves an arc from one part of the list to another.
    pub(super) fn refill(&mut self, span: &mut Span, arc: u32, from: Fill, to: Fill) {
        for part in from as usize..to as usize {
            span.ends[part] -= 1;
            self.swap(*span, self.places[arc as usize], span.ends[part]);
        }
        for part in (to as usize..from as usize).rev() {
            self.swap(*span, self.places[arc as usize], span.ends[part]);
            span.ends[part] += 1;
        }
    }

    fn swap(&mut self, span: Span, one: u32, other: u32) {
        if one == other {
            return;
        }
        let (a, b) = ((span.start + one) as usize, (span.start + other) as usize);
        self.pool.swap(a, b);
        self.places[self.pool[a].arc() as usize] = one;
        self.places[self.pool[b].arc() as usize] = other;
    }
}

impl Lists<Entry> {
    pub(super) fn entry(&self, place: usize) -> Entry {
        self.pool[place]
    }

    pub(super) fn remember(&mut self, place: usize, memo: Memo) {
        self.pool[place].memo = memo;
    }

    /// Nothing is known of an arc any more.
    pub(super) fn forget(&mut self, span: Span, arc: u32) {
        self.remember((span.start + self.places[arc as usize]) as usize, Memo::default());
    }

    /// Nothing is known of any arc.
    pub(super) fn forget_all(&mut self) {
        self.pool.iter_mut().for_each(|entry| entry.memo = Memo::default());
    }
}
