//! Where the allocations of a group go, beside its constraints.

use std::collections::BTreeMap;

use berth_model::{
    AtMost, Domain, Gang, GroupName, JobName, Peer, Preference, Relation, Rules, Sense, Spread, Strength, Weight,
    limits,
};

use super::{Field, List, checked, constraint, in_range, limit, name_of, value, word};
use crate::jobfile::error::{Faults, quoted};
use crate::jobfile::schema::{
    AffinityFile, At, AtMostFile, ConstraintFile, GroupFile, PreferenceFile, SpreadFile, Table,
};

/// What a preference is worth where the file says nothing.
const USUAL: u32 = 500;

/// Takes what a group's file says of it.
pub(super) fn of_group(file: &mut GroupFile, faults: &mut Faults) -> Rules {
    let mut at_most = each(file.at_most.take(), "limits in `at_most`", faults, at_most_of);
    if value(file.distinct_hosts.take(), false) {
        at_most.push(AtMost { count: 1, per: Domain::Node });
    }
    let near = each(file.affinity.take(), "relations in `affinity`", faults, |file, place, faults| {
        relation(file, Sense::Near, place, faults)
    });
    let apart = each(file.anti_affinity.take(), "relations in `anti_affinity`", faults, |file, place, faults| {
        relation(file, Sense::Apart, place, faults)
    });
    Rules {
        at_most,
        relations: near.into_iter().chain(apart).collect(),
        preferences: each(file.prefer.take(), "preferences", faults, preference),
        spread: each(file.spread.take(), "spreads", faults, spread),
        gang: if value(file.gang.take(), false) { Gang::Whole } else { Gang::Free },
    }
}

/// Every item of a list of bounded length.
fn each<F, T>(
    file: Field<List<F>>,
    what: &str,
    faults: &mut Faults,
    read: impl Fn(F, usize, &mut Faults) -> T,
) -> Vec<T> {
    let place = file.as_ref().map_or(usize::MAX, |f| f.place);
    let items = value(file, Vec::new());
    limit(items.len(), limits::RULES, what, place, faults);
    items.into_iter().filter_map(|item| Some(read(item.value?, item.place, faults))).collect()
}

fn at_most_of(file: AtMostFile, place: usize, faults: &mut Faults) -> AtMost {
    if file.count.is_none() {
        faults.at(place, "`count` is missing: expected how many of the group there may be, such as `count: 2`");
    }
    let count = in_range(file.count, 1, 1..=limits::COUNT, faults);
    AtMost { count, per: domain(file.per, "per", place, faults) }
}

fn relation(file: AffinityFile, sense: Sense, place: usize, faults: &mut Faults) -> Relation {
    let job: JobName = name_of(
        file.job.unwrap_or_else(|| {
            faults.at(place, "`job` is missing: expected the name of a job, such as `job: cache`");
            At { value: None, place }
        }),
        faults,
    );
    let group = file.group.map(|group| name_of::<GroupName>(group, faults));
    let strength = match file.weight {
        None => Strength::Required,
        weight => Strength::Preferred(weight_of(weight, faults)),
    };
    let within = file.within.map_or(Domain::Node, |within| domain(Some(within), "within", place, faults));
    Relation { to: Peer { job, group }, sense, within, strength }
}

fn preference(file: PreferenceFile, place: usize, faults: &mut Faults) -> Preference {
    let PreferenceFile { attribute, operator, value, values, weight } = file;
    let constraint = constraint(ConstraintFile { attribute, operator, value, values }, place, faults);
    Preference { constraint, weight: weight_of(weight, faults) }
}

fn spread(file: SpreadFile, place: usize, faults: &mut Faults) -> Spread {
    let over = domain(file.over, "over", place, faults);
    let targets_place = file.targets.as_ref().map_or(place, |targets| targets.place);
    let entries = value(file.targets, Table(Vec::new())).0;
    limit(entries.len(), limits::VALUES, "values in `targets`", targets_place, faults);
    let mut targets = BTreeMap::new();
    for (name, percent) in entries {
        let percent = in_range(Some(percent), 0, 0..=100, faults);
        if let Some(name) = checked(Some(name), faults, super::no_nul) {
            targets.insert(name, u8::try_from(percent).unwrap_or(100));
        }
    }
    let sum: u32 = targets.values().map(|percent| u32::from(*percent)).sum();
    if sum > 100 {
        faults.at(targets_place, format!("the `targets` add up to {sum} in a hundred: expected at most 100"));
    }
    Spread { over, weight: weight_of(file.weight, faults), targets }
}

fn weight_of(file: Field<u32>, faults: &mut Faults) -> Weight {
    let most = u32::from(Weight::MOST.0);
    Weight(u16::try_from(in_range(file, USUAL, 1..=most, faults)).unwrap_or(Weight::MOST.0))
}

/// `node`, `rack`, `zone`, or an attribute by its key.
fn domain(file: Field<String>, key: &str, place: usize, faults: &mut Faults) -> Domain {
    let Some(file) = file else {
        faults.at(place, format!("`{key}` is missing: expected `node`, `rack`, `zone` or the name of an attribute"));
        return Domain::Node;
    };
    match file.value.as_deref() {
        None | Some("node") => Domain::Node,
        Some("rack") => Domain::rack(),
        Some("zone") => Domain::zone(),
        Some(text) if text.contains('.') => Domain::Attribute(checked(Some(file), faults, word).unwrap_or_default()),
        Some(text) => {
            let message = format!(
                "expected `node`, `rack`, `zone` or the name of an attribute, such as `label.room`, found {}",
                quoted(text)
            );
            faults.at_nearest(file.place, message, crate::jobfile::error::nearest(text, ["node", "rack", "zone"]));
            Domain::Node
        }
    }
}
