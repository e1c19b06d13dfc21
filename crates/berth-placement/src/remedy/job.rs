//! Changes of the job that waits.

use std::collections::BTreeSet;

use berth_model::{
    Act, Amount, AtMost, Bytes, Change, Constraint, CpuMillis, DeviceAmount, DeviceSpec, Gang, GroupChange, JobSpec,
    Mbits, NodeId, Port, PortSpec, Remedy, Strength, TaskSpec, Thousandths, limits,
};

use super::{Case, Demand, Offer, Trial, count};
use crate::constraint::holds;
use crate::filter::Class;

/// Into how many parts an amount is cut where several have to fit: the answer is right to one of them.
const PARTS: u64 = 128;

/// One change of each sort that is enough, if there is one.
pub(super) fn offers(trial: &mut Trial, case: Case<'_>) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    offers.extend(first(trial, case, ports(trial, case)));
    offers.extend(first(trial, case, constraints(trial, case)));
    offers.extend(first(trial, case, device_constraints(case)));
    offers.extend(first(trial, case, at_most(case)));
    offers.extend(first(trial, case, relations(case)));
    offers.extend(less(trial, case));
    offers.extend(fewer_devices(trial, case));
    offers.extend(smaller_gang(trial, case));
    offers
}

/// The first of several changes with which all find a place.
fn first(trial: &mut Trial, case: Case<'_>, changes: Vec<(Demand, Change)>) -> Option<Offer> {
    changes.into_iter().find_map(|(demand, change)| {
        let node = node_with(trial, case, &change)?;
        Some(offer(case, demand, change, node))
    })
}

fn offer(case: Case<'_>, demand: Demand, change: Change, node: NodeId) -> Offer {
    let act = Act::Change { job: case.class.job.id.clone(), change };
    Offer { demand, remedy: Remedy { act, node: Some(node), preempts: Vec::new() } }
}

/// Where the last would be if the job were changed so. None: not all find a place.
fn node_with(trial: &mut Trial, case: Case<'_>, change: &Change) -> Option<NodeId> {
    let job = changed(case.class.job, change);
    let node = trial.place(class_of(&job, case)?, case.wants);
    trial.undo();
    node
}

fn changed(job: &JobSpec, change: &Change) -> JobSpec {
    let mut job = job.clone();
    change.apply(&mut job);
    job
}

fn class_of<'j>(job: &'j JobSpec, case: Case<'_>) -> Option<Class<'j>> {
    Some(Class { job, group: job.group(&case.class.group.name)? })
}

fn of_group(case: Case<'_>, change: GroupChange) -> Change {
    Change::Group { group: case.class.group.name.clone(), change }
}

/// Any port, or else another one, in place of one that is taken somewhere.
fn ports(trial: &Trial, case: Case<'_>) -> Vec<(Demand, Change)> {
    let seats = trial.board().seats().values();
    let taken: BTreeSet<Port> = seats.flat_map(|seat| seat.ports.keys().copied()).collect();
    let own: BTreeSet<Port> = case.class.group.ports().filter_map(|spec| spec.fixed).collect();
    let change = |spec: &PortSpec, fixed| of_group(case, GroupChange::Port { port: spec.name.clone(), fixed });
    let in_the_way =
        case.class.group.ports().filter_map(|spec| Some((spec, spec.fixed.filter(|p| taken.contains(p))?)));
    let instead = in_the_way.flat_map(|(spec, port)| {
        let free = |other: &Port| !taken.contains(other) && !own.contains(other);
        let other = (port.0..=u16::MAX).map(Port).find(free).map(|other| change(spec, Some(other)));
        std::iter::once(change(spec, None)).chain(other)
    });
    instead.map(|change| (Demand::PORT, change)).collect()
}

/// Without one of the constraints that do not hold everywhere.
fn constraints(trial: &Trial, case: Case<'_>) -> Vec<(Demand, Change)> {
    let seats = trial.board().seats();
    let matters =
        |constraint: &&Constraint| !seats.values().all(|seat| holds(constraint, &seat.fingerprint.attributes));
    let of_job = case.class.job.constraints.iter().filter(matters).cloned().map(Change::DropJobConstraint);
    let of_group = case.class.group.constraints.iter().filter(matters).cloned();
    let of_group = of_group.map(|constraint| self::of_group(case, GroupChange::DropConstraint(constraint)));
    of_group.chain(of_job).map(|change| (Demand::DROPPED, change)).collect()
}

fn device_constraints(case: Case<'_>) -> Vec<(Demand, Change)> {
    let drop = |wish: &DeviceSpec, constraint: &Constraint| {
        let (device, constraint) = (wish.name.clone(), constraint.clone());
        (Demand::DROPPED, of_group(case, GroupChange::DropDeviceConstraint { device, constraint }))
    };
    let wishes = case.class.group.devices();
    wishes.flat_map(|wish| wish.constraints.iter().map(move |constraint| drop(wish, constraint))).collect()
}

/// As many more together as wait, or as many as like.
fn at_most(case: Case<'_>) -> Vec<(Demand, Change)> {
    let more = count(case.wants.len());
    let relax = |rule: &AtMost| {
        let changed = GroupChange::AtMost { rule: rule.clone(), count: rule.count.saturating_add(more) };
        (Demand::closer(more), of_group(case, changed))
    };
    let drop = |rule: &AtMost| (Demand::DROPPED, of_group(case, GroupChange::DropAtMost(rule.clone())));
    let rules = &case.class.group.rules.at_most;
    rules.iter().map(relax).chain(rules.iter().map(drop)).collect()
}

fn relations(case: Case<'_>) -> Vec<(Demand, Change)> {
    let required = case.class.group.rules.relations.iter().filter(|rule| rule.strength == Strength::Required);
    let drop = |rule: &berth_model::Relation| of_group(case, GroupChange::DropRelation(rule.clone()));
    required.map(|rule| (Demand::DROPPED, drop(rule))).collect()
}

/// Less of one dimension, the one of which the least part has to go.
fn less(trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
    // A disk of zero is no limit, and a program needs some memory to begin.
    let floors = [
        Amount::Cpu(CpuMillis(1)),
        Amount::Memory(limits::LEAST_MEMORY),
        Amount::Disk(Bytes::mib(1)),
        Amount::Network(Mbits(0)),
    ];
    let offers = floors.into_iter().filter_map(|floor| less_of(trial, case, floor));
    offers.min_by_key(|offer| offer.demand)
}

/// Less for the task that asks for most, as little less as will do.
fn less_of(trial: &mut Trial, case: Case<'_>, floor: Amount) -> Option<Offer> {
    let of = |task: &TaskSpec| floor.of(task.resources);
    let task = case.class.group.tasks.iter().rev().max_by_key(|task| of(task))?;
    let (now, wanted) = (of(task), floor.of(case.class.group.resources()));
    let seats = trial.board().seats();
    if now <= floor.number() || seats.values().all(|seat| wanted <= floor.of(seat.free())) {
        return None;
    }
    let ask = |amount| of_group(case, GroupChange::Ask { task: task.name.clone(), amount });
    node_with(trial, case, &ask(floor))?;
    let most = if case.wants.len() == 1 {
        let room = largest_room(trial, case, &ask(floor), floor)?;
        now.checked_sub(wanted.checked_sub(room)?)?
    } else {
        let part = (now - floor.number()).div_ceil(PARTS);
        let with = |parts| floor.number() + parts * part;
        with(largest((now - floor.number()) / part, |parts| {
            node_with(trial, case, &ask(floor.with(with(parts)))).is_some()
        }))
    };
    let amount = readable(floor.with(most));
    let amount = if amount.number() < floor.number() { floor } else { amount };
    let node = node_with(trial, case, &ask(amount))?;
    Some(offer(case, Demand::less(now, amount.number()), ask(amount), node))
}

/// Whole mebibytes, as people write them.
fn readable(amount: Amount) -> Amount {
    match amount {
        Amount::Memory(_) | Amount::Disk(_) => amount.with(amount.number() & !(Bytes::mib(1).0 - 1)),
        Amount::Cpu(_) | Amount::Network(_) => amount,
    }
}

/// The most that is free of a dimension on a node that takes one of the class when it is changed so.
fn largest_room(trial: &mut Trial, case: Case<'_>, change: &Change, dimension: Amount) -> Option<u64> {
    let only = case.wants.last()?.only;
    let job = changed(case.class.job, change);
    let field = trial.field(class_of(&job, case)?, 1)?;
    let seats = trial.board().seats().iter();
    let fits = seats.filter(|(node, _)| only.is_none_or(|only| only == **node) && field.fits_on(trial.board(), **node));
    fits.map(|(_, seat)| dimension.of(seat.free())).max()
}

/// The largest number below `limit` of which `fits` holds, where it holds of 0 and of nothing above one that it does not
/// hold of.
fn largest(limit: u64, mut fits: impl FnMut(u64) -> bool) -> u64 {
    let (mut good, mut bad) = (0, limit.max(1));
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    good
}

/// Fewer devices, or a smaller share of one, for the wish of which the least part has to go.
fn fewer_devices(trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
    let wishes = case.class.group.devices();
    let offers = wishes.filter_map(|wish| {
        let (now, of): (u64, fn(u64) -> DeviceAmount) = match wish.amount {
            DeviceAmount::Count(count) => (count.into(), |n| DeviceAmount::Count(u32::try_from(n).unwrap_or(u32::MAX))),
            DeviceAmount::Share(share) => {
                (share.0.into(), |n| DeviceAmount::Share(Thousandths(u16::try_from(n).unwrap_or(u16::MAX))))
            }
        };
        let change = |n| of_group(case, GroupChange::Devices { device: wish.name.clone(), amount: of(n) });
        if now <= 1 {
            return None;
        }
        node_with(trial, case, &change(1))?;
        let most = 1 + largest(now - 1, |more| node_with(trial, case, &change(1 + more)).is_some());
        let node = node_with(trial, case, &change(most))?;
        Some(offer(case, Demand::less(now, most), change(most), node))
    });
    offers.min_by_key(|offer| offer.demand)
}

/// A gang of as many as fit.
fn smaller_gang(trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
    let group = case.class.group;
    if group.rules.gang != Gang::Whole {
        return None;
    }
    let placed = trial.place_some(case.class, case.wants);
    trial.undo();
    let (_, node) = *placed.last()?;
    let left_out = count(case.wants.len() - placed.len());
    let fewer = group.count.checked_sub(left_out)?;
    let demand = Demand::less(group.count.into(), fewer.into());
    Some(offer(case, demand, of_group(case, GroupChange::Count(fewer)), node))
}
