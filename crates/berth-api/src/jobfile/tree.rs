//! A document as a tree whose every node knows its place, from YAML text or from a JSON value.
//!
//! It deliberately gives plain scalars no type: the schema's field says what a scalar has to be, so
//! that `version: 1.10` stays `1.10` and `country: no` stays `no` where text is wanted.

use std::collections::BTreeMap;
use std::rc::Rc;

use berth_model::limits;
use serde::de::DeserializeSeed as _;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::error::{Fault, Faults, Place, quoted};
use super::json;

/// Nested lists and maps; a job file needs eight.
pub(super) const DEPTH: usize = 24;

pub(super) struct Node {
    pub line: usize,
    pub column: usize,
    pub value: Value,
    /// Bytes of text below, aliases written out: bounds what a small file can mean.
    weight: usize,
}

pub(super) enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
}

pub(super) struct Key {
    pub text: String,
    pub line: usize,
    pub column: usize,
}

impl Node {
    pub fn new(at: (usize, usize), value: Value) -> Rc<Node> {
        let below: usize = match &value {
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().fold(0, |sum, n| sum.saturating_add(n.weight)),
            Value::Map(entries) => {
                entries.iter().fold(0, |sum, (k, n)| sum.saturating_add(k.text.len()).saturating_add(n.weight))
            }
        };
        Rc::new(Node { line: at.0, column: at.1, value, weight: below.saturating_add(1) })
    }

    /// What it is, for a message.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar { text, plain: true } if is_null(text) => "nothing".to_owned(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

/// How YAML writes that there is nothing.
pub(super) fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

fn fault(at: (usize, usize), message: impl Into<String>) -> Fault {
    let place = Place { line: at.0, column: at.1, path: String::new() };
    Fault { place: Some(place), message: message.into(), nearest: None }
}

/// What a file is, in the words of messages.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// The file.
    pub file: &'static str,
    /// What it is about.
    pub of: &'static str,
    /// Its first keys.
    pub keys: &'static str,
}

/// Of a job.
pub(super) const JOB: Words = Words { file: "job file", of: "job", keys: "`job` and `groups`" };

/// The tree of a YAML text of one document. Twice-given keys go to `faults`; an `Err` ends the reading.
pub(super) fn of_yaml(text: &str, words: Words, faults: &mut Faults) -> Result<Rc<Node>, Fault> {
    if text.len() > limits::JOB_BYTES {
        let (found, most) = (text.len(), limits::JOB_BYTES);
        let message = format!("{found} bytes are too many: a {} has at most {most}", words.file);
        return Err(fault((1, 1), message));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    let mut composer = Composer { words, open: Vec::new(), anchors: BTreeMap::new(), root: None, faults };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|e| {
            let at = (e.marker().line(), e.marker().col() + 1);
            fault(at, in_our_words(&e.info()))
        })?;
        composer.take(event, span)?;
    }
    let empty = || fault((1, 1), format!("the file is empty: expected a map with {}", words.keys));
    let root = composer.root.ok_or_else(empty)?;
    if root.weight > limits::JOB_BYTES {
        return Err(fault((1, 1), format!("the aliases of this file expand to more than {} bytes", limits::JOB_BYTES)));
    }
    Ok(root)
}

/// What the parser found, told with what to do about it; as the parser tells it where that says enough.
fn in_our_words(found: &str) -> String {
    let known = [
        ("tabs disallowed", "indent with blanks, not with a tab"),
        (
            "mapping values are not allowed",
            "a `:` is out of place: check the indentation of this line and the one before, and quote text that holds `: `",
        ),
        ("unclosed bracket", "a bracket that opens here is never closed"),
        (
            "multiline quoted scalar",
            "a quoted text that began above is not closed, or goes on too far to the left: close its quotes",
        ),
        ("unknown anchor", "this `*name` names nothing: no `&name` stands before it"),
        ("unknown escape", "unknown escape in double quotes: write `\\\\` for a backslash, or use single quotes"),
    ];
    if found.contains("recursion limit") {
        return format!("nested deeper than {DEPTH} lists and maps");
    }
    let ours = known.iter().find(|(theirs, _)| found.contains(theirs)).map_or(found, |(_, ours)| *ours);
    format!("not valid YAML: {ours}")
}

struct Open {
    at: (usize, usize),
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<(Key, Rc<Node>)>, key: Option<Rc<Node>> },
}

struct Composer<'a> {
    words: Words,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    faults: &'a mut Faults,
}

impl Composer<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = (span.start.line().max(1), span.start.col() + 1);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let Words { file, of, .. } = self.words;
                return Err(fault(at, format!("a second document begins here: a {file} holds one {of}")));
            }
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.node(Node::new(at, value), anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => self.push(at, anchor, OpenKind::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                self.push(at, anchor, OpenKind::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| {
                    fault(at, "this alias stands within what it names: a value cannot contain itself")
                })?;
                self.node(node, 0)?;
            }
            // Starts and ends of stream and document carry nothing.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, at: (usize, usize), anchor: usize, kind: OpenKind) -> Result<(), Fault> {
        if self.open.len() >= DEPTH {
            return Err(fault(at, format!("nested deeper than {DEPTH} lists and maps")));
        }
        self.open.push(Open { at, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let open = self.open.pop().expect("the parser ends only what it began");
        let value = match open.kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map { entries, .. } => Value::Map(self.merged(entries)),
        };
        self.node(Node::new(open.at, value), open.anchor)
    }

    fn node(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), Fault> {
        if node.weight > limits::JOB_BYTES {
            let message = format!("the aliases of this file expand to more than {} bytes", limits::JOB_BYTES);
            return Err(fault((node.line, node.column), message));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { key: slot @ None, .. }) => *slot = Some(node),
            Some(OpenKind::Map { entries, key }) => {
                let key = key.take().expect("the arm before took the empty slot");
                let Value::Scalar { text, .. } = &key.value else {
                    return Err(fault((key.line, key.column), "a key must be a word, not a list or map"));
                };
                let key = Key { text: text.clone(), line: key.line, column: key.column };
                entries.push((key, node));
            }
        }
        Ok(())
    }

    /// Drops keys given twice, and writes out `<<: *defaults`: its entries where the map has none of its own.
    fn merged(&mut self, entries: Vec<(Key, Rc<Node>)>) -> Vec<(Key, Rc<Node>)> {
        let mut own: Vec<(Key, Rc<Node>)> = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut merges = Vec::new();
        for (key, node) in entries {
            if let Some(first) = seen.insert(key.text.clone(), key.line) {
                let message = format!("the key {} is given twice; the first is in line {first}", quoted(&key.text));
                self.faults.add(Place::default(), fault((key.line, key.column), message));
            } else if key.text == "<<" {
                merges.push(node);
            } else {
                own.push((key, node));
            }
        }
        for node in merges {
            let Value::Map(extra) = &node.value else {
                let message = format!("`<<` merges a map such as `<<: *defaults`, found {}", node.describe());
                self.faults.add(Place::default(), fault((node.line, node.column), message));
                continue;
            };
            for (key, value) in extra {
                if seen.insert(key.text.clone(), key.line).is_none() {
                    let key = Key { text: key.text.clone(), line: key.line, column: key.column };
                    own.push((key, Rc::clone(value)));
                }
            }
        }
        own
    }
}

/// The tree of a JSON value; its nodes have no line.
pub(super) fn of_json(value: &serde_json::Value) -> Result<Rc<Node>, Fault> {
    bounded(json::Tree::within(DEPTH).deserialize(value), JOB)
}

/// The tree of a JSON text; its nodes have no line.
pub(super) fn of_json_text(text: &str, words: Words) -> Result<Rc<Node>, Fault> {
    if text.len() > limits::JOB_BYTES {
        return Err(fault((0, 0), format!("the {} is larger than {} bytes", words.of, limits::JOB_BYTES)));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let root = json::Tree::within(DEPTH).deserialize(&mut reader);
    bounded(root.and_then(|root| reader.end().map(|()| root)), words)
}

fn bounded(root: serde_json::Result<Rc<Node>>, words: Words) -> Result<Rc<Node>, Fault> {
    let root = root.map_err(|error| fault((0, 0), format!("the {} is not JSON: {error}", words.file)))?;
    if root.weight > limits::JOB_BYTES {
        return Err(fault((0, 0), format!("the {} is larger than {} bytes", words.of, limits::JOB_BYTES)));
    }
    Ok(root)
}
