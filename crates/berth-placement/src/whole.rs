//! Whether an empty cluster would take so many of a class: what a verdict says.
//!
//! One fits where some node takes it. Of several it is a search: how many of them on each node, so that every rule over
//! parts of the cluster holds. At most [`STEPS`] numbers are tried; beyond that the answer is that they fit, since NEVER has
//! to be proven.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AtMost, Domain, Filter, Fingerprint, GroupSpec, Port, Relation, Sense, Strength};

use crate::around::Around;
use crate::board::{Board, Seat};
use crate::device::{FULLEST, Wishes, choose};
use crate::filter::{self, Class};

/// Each goes a call deeper at most.
const STEPS: u32 = 2_000;

/// What keeps one off an empty node for ever. Relations look for or shun what is not there; a limit keeps out what is in no
/// part of its.
pub(crate) fn never_on(empty: &Seat, class: Class<'_>) -> Option<Filter> {
    let own = filter::first(empty, class, class.group.resources()).map(|block| block.told(&Around::none()));
    let apart = |rule: &&AtMost| part(&empty.fingerprint, &rule.per).is_none();
    own.or_else(|| class.group.rules.at_most.iter().find(apart).cloned().map(Filter::AtMost))
}

/// Whether the node takes one if the whole cluster is empty.
pub(crate) fn one_fits_empty(seat: &Seat, class: Class<'_>) -> bool {
    // Asked of all nodes where none is large enough: these are told at a glance.
    class.group.resources().fits_in(&seat.capacity) && never_on(&seat.emptied(), class).is_none()
}

/// Whether an empty cluster takes `wanted` of the class together.
pub(crate) fn all_fit_empty(board: &Board, class: Class<'_>, wanted: u32) -> bool {
    let suited: Vec<Site<'_>> = board
        .seats()
        .values()
        .filter(|seat| one_fits_empty(seat, class))
        .map(|seat| Site { fingerprint: &seat.fingerprint, copies: copies(&seat.emptied(), class, wanted) })
        .collect();
    let caps = caps(class);
    let near: Vec<&Domain> = own_relations(class, Sense::Near).map(|relation| &relation.within).collect();
    let mut steps = STEPS;
    if near.is_empty() || wanted <= 1 {
        return Search { sites: suited, caps, steps: &mut steps }.fits(wanted);
    }
    // They go where the first is, wherever that is.
    let mut tried = BTreeSet::new();
    suited.iter().enumerate().any(|(at, first)| {
        let Some(parts) = parts_of(first, &near) else { return false };
        let alone = near.contains(&&Domain::Node);
        if !alone && !tried.insert(parts.clone()) {
            return false;
        }
        let together = suited
            .iter()
            .enumerate()
            .filter(|(other, site)| if alone { *other == at } else { parts_of(site, &near).as_ref() == Some(&parts) });
        let sites = together.map(|(_, site)| *site).collect();
        Search { sites, caps: caps.clone(), steps: &mut steps }.fits(wanted)
    })
}

/// The part of the cluster that a node is in; every node is one of its own.
fn part<'s>(fingerprint: &'s Fingerprint, per: &Domain) -> Option<&'s str> {
    match per {
        Domain::Node => Some(""),
        Domain::Attribute(key) => fingerprint.attributes.get(key).map(String::as_str),
    }
}

/// The parts that a node is in, one for each of these. None: it is in none of some.
fn parts_of<'a>(site: &Site<'a>, per: &[&Domain]) -> Option<Vec<&'a str>> {
    per.iter().map(|per| part(site.fingerprint, per)).collect()
}

fn own_relations<'a>(class: Class<'a>, sense: Sense) -> impl Iterator<Item = &'a Relation> {
    let own = move |relation: &&Relation| {
        let required = relation.strength == Strength::Required && relation.sense == sense;
        required && relation.to.is(&class.job.id.name, &class.group.name)
    };
    class.group.rules.relations.iter().filter(own)
}

/// How many of the class one empty node takes, `most` at most.
fn copies(seat: &Seat, class: Class<'_>, most: u32) -> u32 {
    let group = class.group;
    let node_caps = caps(class).into_iter().filter(|cap| *cap.per == Domain::Node).map(|cap| cap.count);
    let fixed: Vec<Port> = group.ports().filter_map(|spec| spec.fixed).collect();
    let by_fixed = if fixed.is_empty() { u64::MAX } else { 1 };
    let (first, last) = seat.fingerprint.dynamic_ports;
    let taken = fixed.iter().filter(|port| (first..=last).contains(*port)).count() as u64;
    let dynamic = u64::from(last.0) + 1 - u64::from(first.0.min(last.0)) - taken;
    let wanted_ports = group.ports().filter(|spec| spec.fixed.is_none()).count() as u64;
    let room = seat.free().dimensions().into_iter().chain([dynamic]);
    let wanted = group.resources().dimensions().into_iter().chain([wanted_ports]);
    let by_room = room.zip(wanted).filter_map(|(room, wanted)| room.checked_div(wanted));
    let most = by_room.chain(node_caps.map(u64::from)).chain([by_fixed]).fold(u64::from(most), u64::min);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    if group.devices().next().is_none() {
        return most;
    }
    let fit = |copies: &u32| {
        let group = times(group, *copies);
        Wishes::of(&seat.fingerprint.devices, &group).is_ok_and(|wishes| choose(seat, &wishes, FULLEST).is_ok())
    };
    (1..=most).rev().find(fit).unwrap_or(0)
}

/// The tasks of so many of a group, as one group.
fn times(group: &GroupSpec, copies: u32) -> GroupSpec {
    let tasks = (0..copies).flat_map(|_| group.tasks.iter().cloned()).collect();
    GroupSpec { tasks, ..group.clone() }
}

/// At most so many of the class in one part.
#[derive(Clone, Copy)]
struct Cap<'a> {
    per: &'a Domain,
    count: u32,
}

/// What limits and aversions of the class to itself come to.
fn caps(class: Class<'_>) -> Vec<Cap<'_>> {
    let limits = class.group.rules.at_most.iter().map(|rule| Cap { per: &rule.per, count: rule.count });
    limits.chain(own_relations(class, Sense::Apart).map(|relation| Cap { per: &relation.within, count: 1 })).collect()
}

/// A node, and how many it takes.
#[derive(Clone, Copy)]
struct Site<'a> {
    fingerprint: &'a Fingerprint,
    copies: u32,
}

struct Search<'a, 's> {
    sites: Vec<Site<'a>>,
    caps: Vec<Cap<'a>>,
    steps: &'s mut u32,
}

impl<'a> Search<'a, '_> {
    fn fits(mut self, wanted: u32) -> bool {
        self.caps.retain(|cap| *cap.per != Domain::Node);
        let mut rests = vec![0u64; self.sites.len() + 1];
        for (at, site) in self.sites.iter().enumerate().rev() {
            rests[at] = rests[at + 1] + u64::from(site.copies);
        }
        self.share_out(0, wanted, &rests, &mut BTreeMap::new())
    }

    /// Whether the rest find places on the sites from this one on. `used`: how many each part has, by cap and value.
    fn share_out(&mut self, at: usize, rest: u32, rests: &[u64], used: &mut BTreeMap<(usize, &'a str), u32>) -> bool {
        if rest == 0 {
            return true;
        }
        let Some(site) = self.sites.get(at).copied().filter(|_| rests[at] >= u64::from(rest)) else { return false };
        let parts = |(nth, cap): (usize, &Cap<'a>)| Some((nth, part(site.fingerprint, cap.per)?, cap.count));
        let parts: Vec<(usize, &'a str, u32)> = self.caps.iter().enumerate().filter_map(parts).collect();
        let left = |(nth, value, count): &(usize, &'a str, u32)| {
            count.saturating_sub(used.get(&(*nth, *value)).copied().unwrap_or(0))
        };
        let most = parts.iter().map(left).fold(site.copies.min(rest), u32::min);
        for count in (0..=most).rev() {
            let Some(steps) = self.steps.checked_sub(1) else { return true };
            *self.steps = steps;
            parts.iter().for_each(|(nth, value, _)| *used.entry((*nth, value)).or_default() += count);
            let fits = self.share_out(at + 1, rest - count, rests, used);
            parts.iter().for_each(|(nth, value, _)| *used.entry((*nth, value)).or_default() -= count);
            if fits {
                return true;
            }
        }
        false
    }
}
