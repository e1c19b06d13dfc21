//! JSON into a tree: as strict as YAML about keys that are given twice, which JSON's own reader would let pass.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::quoted;
use super::tree::{DEPTH, Key, Node, Value};

/// Reads one value with at most so many lists and maps around what is in it.
#[derive(Clone, Copy)]
pub(super) struct Tree {
    depth: usize,
}

impl Tree {
    pub fn within(depth: usize) -> Tree {
        Tree { depth }
    }

    fn below<E: Error>(self) -> Result<Tree, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(Tree::within).ok_or_else(|| E::custom(format!("nested deeper than {DEPTH} lists and maps")))
    }
}

fn node<E>(value: Value) -> Result<Rc<Node>, E> {
    Ok(Node::new((0, 0), value))
}

fn plain<E>(value: impl ToString) -> Result<Rc<Node>, E> {
    node(Value::Scalar { text: value.to_string(), plain: true })
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Rc<Node>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rc<Node>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Rc<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job")
    }

    fn visit_unit<E>(self) -> Result<Rc<Node>, E> {
        plain("null")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Rc<Node>, E> {
        plain(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Rc<Node>, E> {
        plain(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Rc<Node>, E> {
        plain(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Rc<Node>, E> {
        plain(value)
    }

    fn visit_str<E>(self, text: &str) -> Result<Rc<Node>, E> {
        node(Value::Scalar { text: text.to_owned(), plain: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rc<Node>, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(below)? {
            items.push(item);
        }
        node(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rc<Node>, A::Error> {
        let below = self.below()?;
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(text) = map.next_key::<String>()? {
            if !seen.insert(text.clone()) {
                return Err(A::Error::custom(format!("the key {} is given twice", quoted(&text))));
            }
            let value = map.next_value_seed(below)?;
            entries.push((Key { text, line: 0, column: 0 }, value));
        }
        node(Value::Map(entries))
    }
}
