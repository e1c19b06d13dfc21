//! Reads a located tree into the schema's types, and goes on after a fault.
//!
//! serde stops at the first error. Here every value of the schema is an [`At`]: its own reading
//! may fail, which is noted with its place, and the next key is read. Unknown keys are noted
//! and skipped. Nothing is guessed: what failed is absent, and any fault fails the whole in the end.

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{Fault, Faults, Place, nearest};
use super::hint;
use super::schema::AT;
use super::tree::{Key, Node, Value, is_null};

/// A node being read, with its path.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    pub node: &'a Node,
    pub path: String,
    pub faults: &'a RefCell<Faults>,
}

impl<'a> Reader<'a> {
    fn place(&self) -> Place {
        Place { line: self.node.line, column: self.node.column, path: self.path.clone() }
    }

    fn expected(&self, what: &str) -> Fault {
        self.instead(format!("expected {what}, found {}", self.node.describe()))
    }

    fn instead(&self, message: String) -> Fault {
        Fault { place: Some(self.place()), message, nearest: None }
    }

    /// Whether this is right but for its quotes.
    fn is_quoted(&self, right: impl Fn(&str) -> bool) -> bool {
        matches!(&self.node.value, Value::Scalar { text, plain: false } if right(text))
    }

    fn below(&self, node: &'a Node, path: String) -> Reader<'a> {
        Reader { node, path, faults: self.faults }
    }

    fn key_path(&self, key: &str) -> String {
        let shown: String = key.chars().take(80).filter(|c| !c.is_control()).collect();
        if self.path.is_empty() { shown } else { format!("{}.{shown}", self.path) }
    }

    fn text(&self, what: &str) -> Result<&'a str, Fault> {
        match &self.node.value {
            Value::Scalar { text, plain } if !(*plain && is_null(text)) => Ok(text),
            Value::Scalar { .. } => {
                Err(self.instead(format!("expected {what}, found nothing{}", hint::no_text(&self.path))))
            }
            Value::List(_) | Value::Map(_) => Err(self.expected(what)),
        }
    }

    fn map<V: Visitor<'a>>(self, known: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value, Fault> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.instead(hint::as_map(&self.path, self.node)));
        };
        visitor.visit_map(Entries { reader: self, entries: entries.iter(), known, value: None })
    }
}

macro_rules! number {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = match &self.node.value {
                Value::Scalar { text, plain: true } if !text.starts_with('+') => text.parse::<u64>().ok(),
                Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
            };
            let place = self.place();
            match number {
                None if self.is_quoted(|text| text.parse::<u64>().is_ok()) => {
                    Err(self.instead(format!("expected a whole number, found text: write {} without quotes", self.node.describe())))
                }
                None => Err(self.expected("a whole number")),
                Some(n) => visitor.visit_u64(n).map_err(|mut e: Fault| {
                    e.message = format!("{n} is too large a number");
                    e.place = Some(place);
                    e
                }),
            }
        }
    )*};
}

impl<'a> de::Deserializer<'a> for Reader<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.map(None, visitor),
        }
    }

    number! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Value::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            Value::Scalar { .. } if self.is_quoted(|text| matches!(text, "true" | "false")) => {
                let message =
                    format!("expected `true` or `false`, found text: write {} without quotes", self.node.describe());
                Err(self.instead(message))
            }
            Value::Scalar { text, .. } => {
                let mut fault = self.expected("`true` or `false`");
                fault.nearest = match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" => Some("true".to_owned()),
                    "no" | "off" | "n" => Some("false".to_owned()),
                    other => nearest(other, ["true", "false"]),
                };
                Err(fault)
            }
            Value::List(_) | Value::Map(_) => Err(self.expected("`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text("text")?)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == AT {
            visitor.visit_seq(Located { reader: self, step: 0 })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::List(items) = &self.node.value else {
            return Err(self.instead(hint::as_list(&self.path, self.node)));
        };
        visitor.visit_seq(Items { reader: self, items: items.iter(), position: 0 })
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let what = format!("one of {}", hint::words(variants));
        let text = self.text(&what)?;
        if variants.contains(&text) {
            return visitor.visit_enum(text.into_deserializer());
        }
        let mut fault = self.expected(&what);
        fault.nearest = hint::meant(text, variants);
        Err(fault)
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The two halves of an [`super::schema::At`]: the value, or nothing where it is wrong, and the number of its place.
struct Located<'a> {
    reader: Reader<'a>,
    step: u8,
}

impl<'a> de::SeqAccess<'a> for Located<'a> {
    type Error = Fault;
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.step += 1;
        if self.step > 1 {
            let id = self.reader.faults.borrow_mut().remember(self.reader.place());
            return seed.deserialize((id as u64).into_deserializer()).map(Some);
        }
        match seed.deserialize(self.reader.clone()) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => {
                self.reader.faults.borrow_mut().add(self.reader.place(), fault);
                Ok(None)
            }
        }
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    items: std::slice::Iter<'a, Rc<Node>>,
    position: usize,
}

impl<'a> de::SeqAccess<'a> for Items<'a> {
    type Error = Fault;
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let path = format!("{}[{}]", self.reader.path, self.position);
        self.position += 1;
        seed.deserialize(self.reader.below(node, path)).map(Some)
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    entries: std::slice::Iter<'a, (Key, Rc<Node>)>,
    known: Option<&'static [&'static str]>,
    value: Option<(&'a Key, &'a Node)>,
}

impl<'a> de::MapAccess<'a> for Entries<'a> {
    type Error = Fault;
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        for (key, node) in self.entries.by_ref() {
            let place = Place { line: key.line, column: key.column, path: self.reader.path.clone() };
            if let Some(known) = self.known.filter(|known| !known.contains(&key.text.as_str())) {
                let (message, nearest) = hint::unknown_key(&key.text, known);
                self.reader.faults.borrow_mut().add(place, Fault { place: None, message, nearest });
                continue;
            }
            self.value = Some((key, node));
            return seed.deserialize(KeyReader { key, place, faults: self.reader.faults }).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (key, node) = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(self.reader.below(node, self.reader.key_path(&key.text)))
    }
}

struct KeyReader<'a> {
    key: &'a Key,
    place: Place,
    faults: &'a RefCell<Faults>,
}

impl<'a> de::Deserializer<'a> for KeyReader<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(&self.key.text)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let id = self.faults.borrow_mut().remember(self.place);
        visitor.visit_seq(LocatedKey { key: &self.key.text, id, step: 0 })
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct LocatedKey<'a> {
    key: &'a str,
    id: usize,
    step: u8,
}

impl<'a> de::SeqAccess<'a> for LocatedKey<'a> {
    type Error = Fault;
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.step += 1;
        if self.step > 1 {
            return seed.deserialize((self.id as u64).into_deserializer()).map(Some);
        }
        seed.deserialize(de::value::BorrowedStrDeserializer::new(self.key)).map(Some)
    }
}
