//! Which devices of a node an allocation is given.
//!
//! A share goes where least is left beside it, so that other devices stay whole; whole ones are taken in order of id.
//! Several wishes of one group may be after the same devices: they are served from the one with the least choice on,
//! and a choice that leaves a later wish without is taken back, for at most [`STEPS`] choices. Beyond that the node
//! counts as full: only groups with many different shares of few devices come near.

use berth_model::{
    Device, DeviceAmount, DeviceGrants, DeviceId, DeviceKind, DeviceSpec, Dimension, GroupSpec, Shortfall, Thousandths,
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

/// A group's wishes on machines with the same devices, from the one with the least choice on.
#[derive(Debug)]
pub(crate) struct Wishes<'a>(Vec<Wish<'a>>);

#[derive(Debug)]
struct Wish<'a> {
    spec: &'a DeviceSpec,
    /// Positions of the devices that it may be given, taken or not.
    suitable: Vec<usize>,
}

impl<'a> Wishes<'a> {
    /// None of them can ever be met: the kind of which there are too few for one.
    pub(crate) fn of(devices: &[Device], group: &'a GroupSpec) -> Result<Wishes<'a>, &'a DeviceKind> {
        let wish = |spec: &'a DeviceSpec| {
            let suitable: Vec<usize> = (0..devices.len()).filter(|at| suits(spec, &devices[*at])).collect();
            if suitable.len() < spec.amount.devices() { Err(&spec.kind) } else { Ok(Wish { spec, suitable }) }
        };
        let mut wishes: Vec<Wish<'a>> = group.devices().map(wish).collect::<Result<_, _>>()?;
        wishes.sort_by_key(|wish| (wish.suitable.len(), std::cmp::Reverse(wish.spec.amount.of_each())));
        Ok(Wishes(wishes))
    }
}

/// The devices that are given for some wishes.
#[derive(Debug)]
pub(crate) struct Given<'w> {
    wishes: &'w Wishes<'w>,
    /// The number of the wish, and the position of a device for it.
    given: Vec<(usize, usize)>,
}

impl Given<'_> {
    /// The devices of the seat by their ids.
    pub(crate) fn grants(&self, seat: &Seat) -> DeviceGrants {
        let id = |(_, device): &(usize, usize)| seat.fingerprint.devices[*device].id.clone();
        let of = |number: usize| self.given.iter().filter(move |(wish, _)| *wish == number).map(id).collect();
        self.wishes.0.iter().enumerate().map(|(number, wish)| (wish.spec.name.clone(), of(number))).collect()
    }

    /// Each device that is given, and how much of it.
    pub(crate) fn holds(&self, seat: &Seat) -> Vec<(DeviceId, Thousandths)> {
        let hold = |(wish, device): &(usize, usize)| {
            (seat.fingerprint.devices[*device].id.clone(), self.wishes.0[*wish].spec.amount.of_each())
        };
        self.given.iter().map(hold).collect()
    }

    /// Each device that is given, by its position, with what is free of it before and what is taken then.
    pub(crate) fn taken(&self, seat: &Seat) -> impl Iterator<Item = (usize, u32, u32)> {
        let each = |wish: usize| u32::from(self.wishes.0[wish].spec.amount.of_each().0);
        self.given.iter().enumerate().map(move |(nth, (wish, device))| {
            let earlier = self.given[..nth].iter().filter(|(_, other)| other == device);
            let gone: u32 = earlier.map(|(wish, _)| each(*wish)).sum();
            (*device, free(seat, *device).saturating_sub(gone), each(*wish))
        })
    }
}

fn free(seat: &Seat, device: usize) -> u32 {
    WHOLE.saturating_sub(seat.devices[device])
}

/// Orders devices: a number for a device, what is free of it and what would be taken.
pub(crate) type Rank<'r> = &'r dyn Fn(&Device, u32, u32) -> i64;

/// The order that leaves least beside a share.
pub(crate) const FULLEST: Rank<'static> = &|_, free, _| i64::from(free);

/// The devices for every wish, those first for which `rank` is least; or the kind of which the furthest wish got none.
pub(crate) fn choose<'w, 'a>(seat: &Seat, wishes: &'w Wishes<'a>, rank: Rank<'_>) -> Result<Given<'w>, &'a DeviceKind> {
    let given = match &wishes.0[..] {
        // Asked of every node by every class that wants no devices: nothing of the node is read.
        [] => Vec::new(),
        [wish] => alone(seat, wish, rank).ok_or(&wish.spec.kind)?,
        several => Search::of(seat, several, rank).run()?,
    };
    Ok(Given { wishes, given })
}

/// What a search for several wishes comes to where there is only one.
fn alone(seat: &Seat, wish: &Wish<'_>, rank: Rank<'_>) -> Option<Vec<(usize, usize)>> {
    let each = u32::from(wish.spec.amount.of_each().0);
    let enough = wish.suitable.iter().copied().filter(|device| free(seat, *device) >= each);
    let wanted = wish.spec.amount.devices();
    let given: Vec<(usize, usize)> = if wanted == 1 {
        let rank = |device: &usize| (rank(&seat.fingerprint.devices[*device], free(seat, *device), each), *device);
        enough.min_by_key(rank).into_iter().map(|device| (0, device)).collect()
    } else {
        enough.take(wanted).map(|device| (0, device)).collect()
    };
    (given.len() == wanted).then_some(given)
}

struct Search<'w, 'a, 'r> {
    rank: Rank<'r>,
    devices: &'r [Device],
    wishes: &'w [Wish<'a>],
    given: Vec<(usize, usize)>,
    /// What is left of each device.
    free: Vec<u32>,
    steps: u32,
    /// The furthest wish that was left without.
    stuck: usize,
}

impl<'w, 'a, 'r> Search<'w, 'a, 'r> {
    fn of(seat: &'r Seat, wishes: &'w [Wish<'a>], rank: Rank<'r>) -> Self {
        let devices = &seat.fingerprint.devices;
        let free = (0..devices.len()).map(|device| free(seat, device)).collect();
        Search { rank, devices, wishes, given: Vec::new(), free, steps: STEPS, stuck: 0 }
    }

    fn run(mut self) -> Result<Vec<(usize, usize)>, &'a DeviceKind> {
        if self.serve(0, 0) { Ok(self.given) } else { Err(&self.wishes[self.stuck].spec.kind) }
    }

    /// Serves the wishes from this one on, which has been given so many already.
    fn serve(&mut self, at: usize, has: usize) -> bool {
        let Some(wish) = self.wishes.get(at) else { return true };
        if has == wish.spec.amount.devices() {
            return self.serve(at + 1, 0);
        }
        let each = u32::from(wish.spec.amount.of_each().0);
        for device in self.candidates(wish, has, each) {
            let Some(steps) = self.steps.checked_sub(1) else { break };
            self.steps = steps;
            self.free[device] -= each;
            self.given.push((at, device));
            if self.serve(at, has + 1) {
                return true;
            }
            self.given.pop();
            self.free[device] += each;
        }
        self.stuck = self.stuck.max(at);
        false
    }

    /// Those that have enough, in the order that is asked for. Whole ones of a wish are chosen in order of id: which comes
    /// first makes no difference.
    fn candidates(&self, wish: &Wish<'_>, has: usize, each: u32) -> Vec<usize> {
        let last = self.given.last().filter(|_| has > 0);
        let after = last.map_or(0, |(_, device)| device + 1);
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
