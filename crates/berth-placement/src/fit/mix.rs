//! What is asked for, as a distribution: shapes with weights.

use std::collections::BTreeMap;

/// How finely the room on a device is told apart: in hundredths.
pub(super) const STEPS: usize = 100;
/// Thousandths of a device in one step.
const STEP: u16 = 10;

/// Nodes that constraints cannot tell apart, by number. At most [`ClassSet::MOST`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeClass(u8);

impl NodeClass {
    /// The class with this number. Numbers beyond the last class are the last class: such nodes share their prices.
    pub fn new(number: usize) -> NodeClass {
        NodeClass(u8::try_from(number.min(ClassSet::MOST - 1)).expect("below 64"))
    }

    /// Its number.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of node classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassSet(u64);

impl ClassSet {
    /// How many classes are told apart.
    pub const MOST: usize = 64;
    /// Every class.
    pub const ALL: ClassSet = ClassSet(u64::MAX);

    /// The set of these.
    pub fn of(classes: impl IntoIterator<Item = NodeClass>) -> ClassSet {
        ClassSet(classes.into_iter().fold(0, |set, class| set | 1 << class.0))
    }

    /// Whether the class is in it.
    pub fn contains(self, class: NodeClass) -> bool {
        self.0 >> class.0 & 1 == 1
    }
}

/// What is asked of a node's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// No device.
    Nothing,
    /// So many thousandths of one device, 1 to 999.
    Share(u16),
    /// So many whole devices, at least one.
    Whole(u16),
}

impl Ask {
    /// How many devices take part.
    pub(super) fn devices(self) -> u16 {
        match self {
            Ask::Nothing => 0,
            Ask::Share(_) => 1,
            Ask::Whole(count) => count,
        }
    }

    /// Thousandths of each device that takes part.
    pub(super) fn thousandths(self) -> u16 {
        match self {
            Ask::Nothing => 0,
            Ask::Share(thousandths) => thousandths.min(WHOLE),
            Ask::Whole(_) => WHOLE,
        }
    }

    /// Steps of each device that takes part, rounded up.
    pub(super) fn steps(self) -> usize {
        usize::from(self.thousandths().div_ceil(STEP))
    }
}

/// Thousandths of a whole device.
pub(super) const WHOLE: u16 = 1_000;

/// Whole steps of room in so many free thousandths.
pub(super) fn steps_free(thousandths: u16) -> usize {
    usize::from(thousandths.min(WHOLE) / STEP)
}

/// What one allocation asks of a node, as far as fit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Millicores.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Devices.
    pub ask: Ask,
    /// Which constraints it has, by a number that the caller gives them.
    pub wish: usize,
}

/// Shapes with weights: a distribution that is known, or that is learned by adding each arrival once.
///
/// Bounded: at [`Mix::MOST`] shapes the lightest one makes room. At a total weight of [`Mix::MEMORY`] all weights are
/// halved, so that what is learned follows what changes.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    weights: BTreeMap<Shape, u64>,
    total: u64,
}

impl Mix {
    /// The most shapes that are kept apart.
    pub const MOST: usize = 512;
    /// The most weight that is remembered.
    pub const MEMORY: u64 = 1 << 16;

    /// Adds to the weight of a shape. Shapes without devices have no weight: nothing is kept free for them.
    pub fn add(&mut self, shape: Shape, weight: u64) {
        let weight = weight.min(Self::MEMORY);
        if shape.ask.devices() == 0 || weight == 0 {
            return;
        }
        if self.weights.len() >= Self::MOST && !self.weights.contains_key(&shape) {
            let lightest = self.weights.iter().min_by_key(|(_, weight)| **weight).map(|(shape, _)| *shape);
            let lost = lightest.and_then(|shape| self.weights.remove(&shape)).unwrap_or(0);
            self.total -= lost;
        }
        *self.weights.entry(shape).or_default() += weight;
        self.total += weight;
        while self.total > Self::MEMORY {
            self.weights.retain(|_, weight| {
                *weight /= 2;
                *weight > 0
            });
            self.total = self.weights.values().sum();
        }
    }

    /// How much weight there is.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Every shape with its weight, in a fixed order.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&Shape, u64)> {
        self.weights.iter().map(|(shape, weight)| (shape, *weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(thousandths: u16) -> Shape {
        Shape { cpu: 1_000, memory: 1 << 30, ask: Ask::Share(thousandths), wish: 0 }
    }

    #[test]
    fn a_mix_is_bounded_and_keeps_what_is_asked_for_most() {
        let mut mix = Mix::default();
        mix.add(share(500), 1_000);
        for cpu in 0..10_000 {
            mix.add(Shape { cpu, ..share(100) }, 1);
        }
        assert!(mix.shapes().count() <= Mix::MOST);
        assert!(mix.shapes().any(|(shape, weight)| *shape == share(500) && weight == 1_000));
    }

    #[test]
    fn a_mix_forgets_what_is_no_longer_asked_for() {
        let mut mix = Mix::default();
        mix.add(share(500), 1_000);
        (0..20).for_each(|_| mix.add(share(100), Mix::MEMORY / 2));
        assert_eq!(mix.shapes().map(|(shape, _)| *shape).collect::<Vec<_>>(), [share(100)]);
        assert!(mix.total <= Mix::MEMORY);
    }

    #[test]
    fn what_asks_for_no_device_is_not_in_the_mix() {
        let mut mix = Mix::default();
        mix.add(Shape { ask: Ask::Nothing, ..share(1) }, 7);
        assert_eq!(mix.shapes().count(), 0);
    }

    #[test]
    fn steps_never_promise_more_than_there_is() {
        assert_eq!((Ask::Share(471).steps(), steps_free(479)), (48, 47));
        assert_eq!((Ask::Whole(8).steps(), steps_free(1_000)), (100, 100));
    }
}
