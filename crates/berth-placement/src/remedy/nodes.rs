//! Nodes that are mended, and nodes that are added.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    Act, Constraint, Device, DeviceAmount, DeviceSpec, Domain, Driver, Fault, Fingerprint, NodeId, NodeShape, Operator,
    Ordering, Port, Remedy,
};

use super::trial::imagined_node;
use super::{Case, Demand, Offer, Trial};
use crate::board::{Eligibility, Seat};
use crate::filter::{self, Class};

/// How many nodes an offer may be of, where one is not enough.
const COUNTS: [u32; 4] = [2, 3, 4, 8];
/// Values of an attribute that parts of the cluster have, and that a new node is tried with.
const VALUES: usize = 8;
/// A part of the cluster that is not there yet.
const NEW_PART: &str = "new";

/// The node of the lowest id that would be enough if it took work again.
pub(super) fn repair(trial: &mut Trial, case: Case<'_>) -> Vec<Offer> {
    let only = case.wants.last().and_then(|want| want.only);
    let broken = trial.board().seats().iter().filter_map(|(node, seat)| Some((*node, fault(seat)?)));
    let broken: Vec<(NodeId, Fault)> = broken.filter(|(node, _)| only.is_none_or(|only| only == *node)).collect();
    if broken.is_empty() {
        return Vec::new();
    }
    // All at once, to see with one look which of them are worth a trial.
    broken.iter().for_each(|(node, _)| trial.repair(*node));
    let hopeful = trial.field(case.class, 1).and_then(|field| {
        let fits = |(node, _): &&(NodeId, Fault)| field.fits_on(trial.board(), *node);
        broken.iter().find(fits).copied()
    });
    trial.undo();
    let Some((node, fault)) = hopeful else { return Vec::new() };
    trial.repair(node);
    let on = trial.place_after_others(case, case.class);
    trial.undo();
    let act = Act::Repair { node, fault };
    let remedy = on.map(|on| Remedy { act, node: Some(on), preempts: Vec::new() });
    remedy.map(|remedy| Offer { demand: Demand::MENDED, remedy }).into_iter().collect()
}

fn fault(seat: &Seat) -> Option<Fault> {
    match seat.eligibility {
        Eligibility::Ready => None,
        Eligibility::Lost => Some(Fault::Lost),
        Eligibility::DiskFull => Some(Fault::DiskFull),
        Eligibility::Draining => Some(Fault::Draining),
    }
}

/// As few nodes as are enough, of a shape that would do.
pub(super) fn add(trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
    if case.wants.last()?.only.is_some() {
        return None;
    }
    let shape = shape(trial, case.class);
    let parts = parts(trial, case.class);
    let one = parts.iter().find_map(|part| try_to_add(trial, case, &shape, part, 1));
    one.or_else(|| COUNTS.iter().find_map(|count| try_to_add(trial, case, &shape, &None, *count)))
}

/// An attribute that tells parts of the cluster, with the value that a new node might have. None: as the shape is.
type Part = Option<(String, String)>;

fn try_to_add(trial: &mut Trial, case: Case<'_>, shape: &NodeShape, part: &Part, count: u32) -> Option<Offer> {
    let mut shape = shape.clone();
    shape.attributes.extend(part.clone());
    let added: Vec<NodeId> = (0..count).map(imagined_node).collect();
    added.iter().for_each(|node| trial.add(*node, &fingerprint(&shape)));
    let node = trial.place_after_others(case, case.class);
    trial.undo();
    let node = Some(node?).filter(|node| !added.contains(node));
    let remedy = Remedy { act: Act::AddNodes { count, shape: Box::new(shape) }, node, preempts: Vec::new() };
    Some(Offer { demand: Demand::bought(count), remedy })
}

fn fingerprint(shape: &NodeShape) -> Fingerprint {
    Fingerprint {
        name: NEW_PART.parse().expect("it is a name"),
        address: String::new(),
        resources: shape.resources,
        attributes: shape.attributes.clone(),
        devices: shape.devices.clone(),
        dynamic_ports: shape.dynamic_ports,
        agent_version: String::new(),
    }
}

/// That of the first node which would take one if it were empty; where there is none, that of the first node of all with
/// what it lacks. Of attributes only what is asked about.
fn shape(trial: &Trial, class: Class<'_>) -> NodeShape {
    let wanted = class.group.resources();
    let mut seats = trial.board().seats().values();
    let suits = |seat: &&Seat| filter::admits(&seat.fingerprint, class) && wanted.fits_in(&seat.fingerprint.resources);
    let like = seats.clone().find(suits).or_else(|| seats.next()).map(|seat| &seat.fingerprint);
    let known = BTreeMap::new();
    let (resources, attributes, devices, dynamic_ports) = match like {
        Some(like) => (like.resources, &like.attributes, like.devices.clone(), like.dynamic_ports),
        None => (wanted, &known, Vec::new(), (Port(20_000), Port(29_999))),
    };
    let mut shape = NodeShape {
        resources: resources.max_of_each(wanted),
        attributes: asked_about(class, attributes),
        devices,
        dynamic_ports,
    };
    for task in &class.group.tasks {
        let driver = match task.driver {
            Driver::Container(_) => "driver.container",
            Driver::Exec => "driver.exec",
        };
        shape.attributes.insert(driver.to_owned(), "true".to_owned());
    }
    class.constraints().for_each(|constraint| satisfy(constraint, &mut shape.attributes));
    if let Some(least) = class.group.agent_protocol() {
        satisfy(&Constraint::agent_protocol(least), &mut shape.attributes);
    }
    for wish in class.group.devices() {
        add_devices(wish, &mut shape.devices);
    }
    shape
}

fn asked_about(class: Class<'_>, attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut asked: BTreeSet<&str> = class.constraints().map(|constraint| constraint.attribute.as_str()).collect();
    asked.extend(domains(class));
    let known = attributes.iter().filter(|(key, _)| asked.contains(key.as_str()));
    known.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The attributes that the rules of a class name.
fn domains(class: Class<'_>) -> BTreeSet<&str> {
    let rules = &class.group.rules;
    let per = rules.at_most.iter().map(|rule| &rule.per);
    let domains = per.chain(rules.relations.iter().map(|rule| &rule.within));
    domains
        .filter_map(|domain| match domain {
            Domain::Attribute(key) => Some(key.as_str()),
            Domain::Node => None,
        })
        .collect()
}

/// Sees to it that a constraint holds, if a value is easily found of which it does.
fn satisfy(constraint: &Constraint, attributes: &mut BTreeMap<String, String>) {
    if crate::constraint::holds(constraint, attributes) {
        return;
    }
    let value = match &constraint.operator {
        Operator::Is(value) | Operator::Compare(Ordering::AtMost | Ordering::AtLeast, value) => Some(value.clone()),
        Operator::In(values) => values.first().cloned(),
        Operator::Set => Some("true".to_owned()),
        Operator::Compare(Ordering::Greater, bound) => Some(next_number(bound, 1)),
        Operator::Compare(Ordering::Less, bound) => Some(next_number(bound, -1)),
        Operator::Glob(pattern) => Some(pattern.replace('*', "").replace('?', "x")),
        Operator::IsNot(_) | Operator::NotIn(_) | Operator::Unset => None,
    };
    match value {
        Some(value) => drop(attributes.insert(constraint.attribute.clone(), value)),
        None => drop(attributes.remove(&constraint.attribute)),
    }
}

/// A number or version a little above or below; what is neither stays.
fn next_number(text: &str, by: i128) -> String {
    if let Ok(number) = text.parse::<i128>() {
        return number.saturating_add(by).to_string();
    }
    match by {
        1 => format!("{text}.1"),
        _ => "0".to_owned(),
    }
}

/// Adds devices until a wish could be served by them alone.
fn add_devices(wish: &DeviceSpec, devices: &mut Vec<Device>) {
    let suits = |device: &&Device| {
        let holds = |constraint| crate::constraint::holds(constraint, &device.attributes);
        device.kind == wish.kind && wish.constraints.iter().all(holds)
    };
    let wanted = match wish.amount {
        DeviceAmount::Count(_) => wish.amount.devices(),
        DeviceAmount::Share(_) => 1,
    };
    let mut attributes = BTreeMap::new();
    wish.constraints.iter().for_each(|constraint| satisfy(constraint, &mut attributes));
    for nth in devices.iter().filter(suits).count()..wanted {
        let id = format!("{}-{}-{nth}", wish.kind, wish.name).parse().expect("names with dashes are an id");
        devices.push(Device { kind: wish.kind.clone(), id, attributes: attributes.clone(), paths: Vec::new() });
    }
    devices.sort_by(|one, other| one.id.cmp(&other.id));
}

/// The parts of the cluster that a new node is tried in.
fn parts(trial: &Trial, class: Class<'_>) -> Vec<Part> {
    let mut parts = vec![None];
    for key in domains(class) {
        let seats = trial.board().seats().values();
        let known: BTreeSet<&String> = seats.filter_map(|seat| seat.fingerprint.attributes.get(key)).collect();
        parts.push(Some((key.to_owned(), NEW_PART.to_owned())));
        parts.extend(known.into_iter().take(VALUES).map(|value| Some((key.to_owned(), value.clone()))));
    }
    parts
}
