//! Dense numbers for things with names, as the optimiser wants them. The lowest free number is given first.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(super) struct Numbers<K> {
    numbers: BTreeMap<K, u32>,
    names: Vec<Option<K>>,
    free: BTreeSet<u32>,
}

impl<K: Ord + Clone> Numbers<K> {
    pub(super) fn new() -> Numbers<K> {
        Numbers { numbers: BTreeMap::new(), names: Vec::new(), free: BTreeSet::new() }
    }

    pub(super) fn get(&self, name: &K) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> Option<&K> {
        self.names.get(number as usize)?.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.numbers.iter().map(|(name, number)| (name, *number))
    }

    /// The number of a name that has none yet.
    pub(super) fn give(&mut self, name: K) -> u32 {
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.names.push(None);
            u32::try_from(self.names.len() - 1).expect("fewer names than 32 bits tell")
        });
        self.names[number as usize] = Some(name.clone());
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn take_back(&mut self, name: &K) -> Option<u32> {
        let number = self.numbers.remove(name)?;
        self.names[number as usize] = None;
        self.free.insert(number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_given_back_is_given_next() {
        let mut numbers = Numbers::new();
        let given: Vec<u32> = ["a", "b", "c"].into_iter().map(|name| numbers.give(name)).collect();
        assert_eq!(given, [0, 1, 2]);
        assert_eq!(numbers.take_back(&"b"), Some(1));
        assert_eq!((numbers.get(&"b"), numbers.name(1)), (None, None));
        assert_eq!(numbers.give("d"), 1);
        assert_eq!(numbers.name(1), Some(&"d"));
    }
}
