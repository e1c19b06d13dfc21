//! A map whose copies share what none of them has changed since: copying it is copying a pointer for some dozens of entries.

use std::sync::Arc;

/// Entries that are shared together, at most.
const MOST: usize = 64;

/// A map in order of keys.
#[derive(Clone, Debug)]
pub(crate) struct Shared<K, V> {
    /// For each part, a key that is not above any in it and above all in the parts before: found without a look at these.
    from: Vec<K>,
    parts: Vec<Arc<Vec<(K, V)>>>,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Shared { from: Vec::new(), parts: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Shared<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(key, value)| (key, value))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let part = self.parts.get(self.part_of(key))?;
        let at = place(part, key).ok()?;
        Some(&part[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let number = self.part_of(key);
        let part = self.parts.get_mut(number)?;
        let at = place(part, key).ok()?;
        Some(&mut Arc::make_mut(part)[at].1)
    }

    /// The value of a key, which is made where there is none.
    pub(crate) fn or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        if self.get(key).is_none() {
            self.insert(key.clone(), V::default());
        }
        self.get_mut(key).expect("it is there, or was put there")
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let number = self.part_of(&key);
        let Some(part) = self.parts.get_mut(number) else {
            self.from.push(key.clone());
            self.parts.push(Arc::new(vec![(key, value)]));
            return;
        };
        match place(part, &key) {
            Ok(at) => Arc::make_mut(part)[at].1 = value,
            Err(at) => {
                if key < self.from[number] {
                    self.from[number] = key.clone();
                }
                Arc::make_mut(part).insert(at, (key, value));
                self.split(number);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let number = self.part_of(key);
        let part = self.parts.get_mut(number)?;
        let at = place(part, key).ok()?;
        let (_, value) = Arc::make_mut(part).remove(at);
        if part.is_empty() {
            self.from.remove(number);
            self.parts.remove(number);
        } else {
            self.join(number);
            number.checked_sub(1).into_iter().for_each(|before| self.join(before));
        }
        Some(value)
    }

    /// The part in which a key is, if it is anywhere.
    fn part_of(&self, key: &K) -> usize {
        self.from.partition_point(|from| from <= key).saturating_sub(1)
    }

    /// Makes two parts of one that is too large. Keys that only rise leave full ones behind.
    fn split(&mut self, number: usize) {
        if self.parts[number].len() <= MOST {
            return;
        }
        let is_last = number + 1 == self.parts.len();
        let rest = Arc::make_mut(&mut self.parts[number]).split_off(if is_last { MOST } else { MOST / 2 });
        self.from.insert(number + 1, rest[0].0.clone());
        self.parts.insert(number + 1, Arc::new(rest));
    }

    /// Makes one part of two that are small.
    fn join(&mut self, number: usize) {
        let Some(next) = self.parts.get(number + 1) else { return };
        if self.parts[number].len() + next.len() > MOST / 2 {
            return;
        }
        self.from.remove(number + 1);
        let next = self.parts.remove(number + 1);
        Arc::make_mut(&mut self.parts[number]).extend(next.iter().cloned());
    }
}

fn place<K: Ord, V>(part: &[(K, V)], key: &K) -> Result<usize, usize> {
    part.binary_search_by(|(known, _)| known.cmp(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn assert_same(shared: &Shared<u16, u32>, known: &BTreeMap<u16, u32>) {
        assert!(shared.iter().eq(known.iter()));
        assert_eq!(shared.is_empty(), known.is_empty());
        assert!(shared.parts.iter().all(|part| !part.is_empty() && part.len() <= MOST));
    }

    proptest! {
        /// It says what a plain map says, and a copy what was when it was made.
        #[test]
        fn it_is_a_map_and_copies_stay_as_they_were(
            changes in proptest::collection::vec((0..4u8, 0..400u16, any::<u32>()), 0..1_500),
            copied_at in 0..1_500usize,
        ) {
            let (mut shared, mut known) = (Shared::default(), BTreeMap::new());
            let mut copies = (shared.clone(), known.clone());
            for (number, (what, key, value)) in changes.into_iter().enumerate() {
                if number == copied_at {
                    copies = (shared.clone(), known.clone());
                }
                // Few come at first, and few are left in the end.
                match what.wrapping_add(u8::from(number > 750)) {
                    0 | 1 => {
                        shared.insert(key, value);
                        known.insert(key, value);
                    }
                    2 => {
                        *shared.or_default(&key) ^= value;
                        *known.entry(key).or_default() ^= value;
                    }
                    _ => prop_assert_eq!(shared.remove(&key), known.remove(&key)),
                }
                prop_assert_eq!(shared.get(&key), known.get(&key));
            }
            assert_same(&shared, &known);
            assert_same(&copies.0, &copies.1);
        }
    }

    #[test]
    fn rising_keys_leave_full_parts_and_small_ones_are_joined() {
        let mut shared = Shared::default();
        (0..6_400u32).for_each(|key| shared.insert(key, key));
        assert_eq!(shared.parts.len(), 100);
        assert!((0..6_400u32).filter(|key| key % 64 > 0).all(|key| shared.remove(&key) == Some(key)));
        assert!(shared.parts.len() <= 7, "{}", shared.parts.len());
        assert!((0..6_400u32).step_by(64).all(|key| shared.remove(&key) == Some(key)));
        assert!(shared.is_empty());
    }
}
