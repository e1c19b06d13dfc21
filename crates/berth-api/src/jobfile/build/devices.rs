//! Wishes for devices.

use berth_model::{DeviceAmount, DeviceKind, DeviceName, DeviceSpec, Thousandths, limits};

use super::{Field, List, Shared, constraints, in_range, name_of, other, value};
use crate::jobfile::error::Faults;
use crate::jobfile::schema::{At, DeviceFile};
use crate::jobfile::values::Share;

pub(super) fn of_task(file: Field<List<DeviceFile>>, shared: &mut Shared, faults: &mut Faults) -> Vec<DeviceSpec> {
    let items = value(file, Vec::new());
    items.into_iter().filter_map(|item| Some(device(item.value?, item.place, shared, faults))).collect()
}

fn device(file: DeviceFile, place: usize, shared: &mut Shared, faults: &mut Faults) -> DeviceSpec {
    let kind: DeviceKind = name_of(
        file.kind.unwrap_or_else(|| {
            faults.at(place, "`kind` is missing: expected a kind of device, such as `kind: gpu`");
            At { value: None, place }
        }),
        faults,
    );
    let name_place = file.name.as_ref().map_or(place, |name| name.place);
    let by_kind = || kind.as_str().parse().expect("names of both sorts have the same form");
    let name: DeviceName = file.name.map_or_else(by_kind, |name| name_of(name, faults));
    if let Some(first) = shared.devices.insert(name.to_string(), name_place) {
        let line = other(first, faults);
        faults.at(name_place, format!("the device name `{name}` is taken in this group{line}: give this one a `name`"));
    }
    let amount = match (file.count, file.share) {
        (Some(count), Some(share)) => {
            faults
                .at(share.place, "`count` asks for whole devices and `share` for a part of one: leave one of them out");
            DeviceAmount::Count(value(Some(count), 1))
        }
        (None, Some(share)) => DeviceAmount::Share(part(share, faults)),
        (count, None) => {
            let most = u32::try_from(limits::NODE_DEVICES).unwrap_or(u32::MAX);
            DeviceAmount::Count(in_range(count, 1, 1..=most, faults))
        }
    };
    DeviceSpec { name, kind, amount, constraints: constraints(file.constraints, faults) }
}

/// A part of one device: neither none of it nor all.
fn part(share: At<Share>, faults: &mut Faults) -> Thousandths {
    let found = share.value.map_or(Thousandths(1), |share| share.0);
    if found >= Thousandths::WHOLE {
        faults.at(share.place, "a share is less than a whole device: write `count: 1` for one of its own");
    }
    if found.0 == 0 {
        faults.at(share.place, "expected a share of 0.001 to 0.999, found 0");
    }
    found
}
