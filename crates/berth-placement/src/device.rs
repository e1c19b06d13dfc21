//! Which devices of a node an allocation is given.
//!
//! A share goes where least is left beside it, so that other devices stay whole; whole ones are taken in order of id.
//! Several wishes of one group may be after the same devices: they are served from the one with the least choice on,
//! and a choice that leaves a later wish without is taken back, for at most [`STEPS`] choices. Beyond that the node
//! counts as full: only groups with many different shares of few devices come near.

use berth_model::{
    Device, DeviceAmount, DeviceGrants, DeviceKind, DeviceSpec, Dimension, Filter, GroupSpec, Shortfall, Thousandths,
};

use crate::board::Seat;
use crate::constraint::holds;

/// Choices that are tried per node.
const STEPS: u32 = 10_000;
const WHOLE: u32 = Thousandths::WHOLE.0 as u32;

/// Whether the wish may be given the device.
fn suits(spec: &DeviceSpec, device: &Device) -> bool {
    device.kind == spec.kind && spec.constraints.iter().all(|constraint| holds(constraint, &device.attributes))
}

/// The first kind of which a node has too few for a wish, taken or not.
pub(crate) fn missing<'a>(devices: &[Device], group: &'a GroupSpec) -> Option<&'a DeviceKind> {
    let short = |spec: &&'a DeviceSpec| devices.iter().filter(|d| suits(spec, d)).count() < spec.amount.devices();
    group.devices().find(short).map(|spec| &spec.kind)
}

/// The first kind of which something that is to be given is not free, or not there.
pub(crate) fn taken(seat: &Seat, group: &GroupSpec, grants: &DeviceGrants) -> Option<Filter> {
    let devices = &seat.fingerprint.devices;
    let mut free: Vec<u32> = seat.devices.iter().map(|taken| WHOLE.saturating_sub(*taken)).collect();
    for spec in group.devices() {
        for id in grants.get(&spec.name).into_iter().flatten() {
            let left = devices.iter().position(|device| device.id == *id).map(|at| &mut free[at]);
            match left.and_then(|left| left.checked_sub(u32::from(spec.amount.of_each().0)).map(|rest| (left, rest))) {
                Some((left, rest)) => *left = rest,
                None => return Some(Filter::Exhausted(Dimension::Device(spec.kind.clone()))),
            }
        }
    }
    None
}

/// The devices for every wish of the group, or the kind of which the furthest wish got none.
pub(crate) fn choose<'a>(seat: &Seat, group: &'a GroupSpec) -> Result<DeviceGrants, &'a DeviceKind> {
    choose_by(seat, group, &|_, free, _| i64::from(free))
}

/// The devices for every wish of the group, those first for which `rank` of the device, of what is free of it and of what
/// is taken is least.
pub(crate) fn choose_by<'a>(seat: &Seat, group: &'a GroupSpec, rank: Rank<'_>) -> Result<DeviceGrants, &'a DeviceKind> {
    let devices = &seat.fingerprint.devices;
    let wish = |spec| Wish {
        spec,
        suitable: (0..devices.len()).filter(|at| suits(spec, &devices[*at])).collect(),
        given: Vec::new(),
    };
    let mut wishes: Vec<Wish<'_>> = group.devices().map(wish).collect();
    wishes.sort_by_key(|wish| (wish.suitable.len(), std::cmp::Reverse(wish.spec.amount.of_each())));
    let free = seat.devices.iter().map(|taken| WHOLE.saturating_sub(*taken)).collect();
    let mut search = Search { wishes, free, rank, devices, steps: STEPS, stuck: 0 };
    if !search.serve(0) {
        return Err(&search.wishes[search.stuck].spec.kind);
    }
    let ids = |given: Vec<usize>| given.into_iter().map(|at| devices[at].id.clone()).collect();
    Ok(search.wishes.into_iter().map(|wish| (wish.spec.name.clone(), ids(wish.given))).collect())
}

struct Wish<'a> {
    spec: &'a DeviceSpec,
    /// Positions of the devices that it may be given.
    suitable: Vec<usize>,
    given: Vec<usize>,
}

/// Orders devices: a number for a device, what is free of it and what would be taken.
pub(crate) type Rank<'r> = &'r dyn Fn(&Device, u32, u32) -> i64;

struct Search<'a, 'r> {
    rank: Rank<'r>,
    devices: &'r [Device],
    wishes: Vec<Wish<'a>>,
    /// What is left of each device.
    free: Vec<u32>,
    steps: u32,
    /// The furthest wish that was left without.
    stuck: usize,
}

impl Search<'_, '_> {
    /// Serves the wishes from this one on.
    fn serve(&mut self, at: usize) -> bool {
        let Some(wish) = self.wishes.get(at) else { return true };
        if wish.given.len() == wish.spec.amount.devices() {
            return self.serve(at + 1);
        }
        let each = u32::from(wish.spec.amount.of_each().0);
        for device in self.candidates(at, each) {
            let Some(steps) = self.steps.checked_sub(1) else { break };
            self.steps = steps;
            self.free[device] -= each;
            self.wishes[at].given.push(device);
            if self.serve(at) {
                return true;
            }
            self.wishes[at].given.pop();
            self.free[device] += each;
        }
        self.stuck = self.stuck.max(at);
        false
    }

    /// Those that have enough, in the order that is asked for. Whole ones of a wish are chosen in order of id: which comes
    /// first makes no difference.
    fn candidates(&self, at: usize, each: u32) -> Vec<usize> {
        let wish = &self.wishes[at];
        let after = wish.given.last().map_or(0, |last| last + 1);
        let enough = wish.suitable.iter().copied().filter(|device| *device >= after && self.free[*device] >= each);
        let mut enough: Vec<usize> = enough.collect();
        enough.sort_by_cached_key(|device| ((self.rank)(&self.devices[*device], self.free[*device], each), *device));
        enough
    }
}

/// The wish for which the node lacks most, with how much of it is lacking in millionths.
pub(crate) fn shortfall(seat: &Seat, group: &GroupSpec) -> Option<(u64, Shortfall)> {
    let lacks = group.devices().filter_map(|spec| {
        let devices = seat.fingerprint.devices.iter().zip(&seat.devices);
        let left = devices.filter(|(device, _)| suits(spec, device)).map(|(_, taken)| WHOLE.saturating_sub(*taken));
        let (wanted, free, capacity) = match spec.amount {
            DeviceAmount::Count(count) => {
                let (idle, all) = left.fold((0, 0), |(idle, all), left| (idle + u64::from(left == WHOLE), all + 1));
                (u64::from(count) * 1000, idle * 1000, all * 1000)
            }
            DeviceAmount::Share(share) => (u64::from(share.0), left.max().map_or(0, u64::from), 1000),
        };
        let lack = wanted.checked_sub(free).filter(|lack| *lack > 0)?;
        let dimension = Dimension::Device(spec.kind.clone());
        Some((lack * 1_000_000 / wanted, Shortfall { dimension, wanted, free, capacity }))
    });
    lacks.max_by_key(|(lack, _)| *lack)
}
