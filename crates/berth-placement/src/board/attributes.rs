//! The attributes of all nodes, attribute by attribute: what is asked of a value is asked once, however many nodes have it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's place among the seats.
pub(crate) type Place = usize;

/// Every attribute that some node has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    columns: BTreeMap<String, Arc<Column>>,
    nodes: usize,
}

/// One attribute of every node. Values are numbered from 1; 0 is that of a node without it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    of: Vec<u32>,
    numbers: BTreeMap<String, u32>,
    /// How many nodes have each value, by number.
    counts: Vec<u32>,
    /// Numbers that no value has any more.
    idle: Vec<u32>,
}

impl Attributes {
    /// A node comes to stand at `place`; those from there on stand one further.
    pub(super) fn insert(&mut self, place: Place, attributes: &BTreeMap<String, String>) {
        for column in self.columns.values_mut().map(Arc::make_mut) {
            column.of.insert(place, 0);
            column.counts[0] += 1;
        }
        self.nodes += 1;
        self.set(place, attributes);
    }

    /// The node at `place` has these now.
    pub(super) fn set(&mut self, place: Place, attributes: &BTreeMap<String, String>) {
        for (key, column) in &mut self.columns {
            Arc::make_mut(column).put(place, attributes.get(key));
        }
        for (key, value) in attributes.iter().filter(|(key, _)| !self.columns.contains_key(*key)).collect::<Vec<_>>() {
            let mut column = Column::unset(self.nodes);
            column.put(place, Some(value));
            self.columns.insert(key.clone(), Arc::new(column));
        }
        self.columns.retain(|_, column| !column.numbers.is_empty());
    }

    /// The node at `place` goes; those after it stand one nearer.
    pub(super) fn remove(&mut self, place: Place) {
        self.set(place, &BTreeMap::new());
        for column in self.columns.values_mut().map(Arc::make_mut) {
            column.of.remove(place);
            column.counts[0] -= 1;
        }
        self.nodes -= 1;
    }

    /// None: no node has the attribute.
    pub(crate) fn column(&self, key: &str) -> Option<&Column> {
        self.columns.get(key).map(|column| &**column)
    }
}

impl Column {
    fn unset(nodes: usize) -> Column {
        let count = u32::try_from(nodes).expect("fewer nodes than 32 bits tell");
        Column { of: vec![0; nodes], numbers: BTreeMap::new(), counts: vec![count], idle: Vec::new() }
    }

    fn put(&mut self, place: Place, value: Option<&String>) {
        let number = value.map_or(0, |value| self.number(value));
        let before = std::mem::replace(&mut self.of[place], number);
        self.counts[number as usize] += 1;
        self.counts[before as usize] -= 1;
        if before != 0 && self.counts[before as usize] == 0 {
            self.numbers.retain(|_, number| *number != before);
            self.idle.push(before);
        }
    }

    fn number(&mut self, value: &String) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.idle.pop().unwrap_or_else(|| {
            self.counts.push(0);
            u32::try_from(self.counts.len() - 1).expect("no more values than nodes")
        });
        self.numbers.insert(value.clone(), number);
        number
    }

    /// The number of the value that the node at `place` has.
    pub(crate) fn at(&self, place: Place) -> u32 {
        self.of[place]
    }

    /// Every value that some node has.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().map(String::as_str)
    }

    /// What `judge` makes of each value, by number. A number that no node's value has counts as good.
    pub(crate) fn judged(&self, judge: impl Fn(Option<&str>) -> bool) -> Vec<bool> {
        let mut verdicts = vec![true; self.counts.len()];
        verdicts[0] = self.counts[0] == 0 || judge(None);
        for (value, number) in &self.numbers {
            verdicts[*number as usize] = judge(Some(value));
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn is_b(value: Option<&str>) -> bool {
        value == Some("b")
    }

    #[test]
    fn columns_follow_nodes_that_come_change_and_go() {
        let mut all = Attributes::default();
        all.insert(0, &attributes(&[("x", "a")]));
        all.insert(0, &attributes(&[("x", "b"), ("y", "1")]));
        all.insert(2, &attributes(&[]));
        let asked = |all: &Attributes| {
            let column = all.column("x").expect("some node has it");
            let verdicts = column.judged(is_b);
            (0..3).map(|place| verdicts[column.at(place) as usize]).collect::<Vec<_>>()
        };
        assert_eq!(asked(&all), [true, false, false]);
        all.set(1, &attributes(&[("x", "b")]));
        assert_eq!(asked(&all), [true, true, false]);
        assert_eq!(all.column("x").expect("two nodes have it").values().collect::<Vec<_>>(), ["b"]);
        all.remove(0);
        assert!(all.column("y").is_none(), "the only node that had it is gone");
        all.insert(2, &attributes(&[("x", "c")]));
        assert_eq!(asked(&all), [true, false, false]);
    }

    #[test]
    fn a_value_that_nobody_lacks_is_good_for_those_without() {
        let mut all = Attributes::default();
        all.insert(0, &attributes(&[("x", "b")]));
        assert!(all.column("x").expect("it is there").judged(is_b).into_iter().all(|good| good));
    }
}
