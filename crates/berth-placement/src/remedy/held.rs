//! Who holds what is lacking, and where it lacks least.

use berth_model::{AllocId, DeviceId, DeviceKind, Dimension, Held, Holder, NodeId, Port, Scarce};

use crate::board::{Board, Hold, Seat};
use crate::filter::{self, Block, Class};

/// Nodes that are told.
const NODES: usize = 3;
/// Holders that are told of each.
const HOLDERS: usize = 5;

/// A node that lacks nothing but room.
pub(super) struct Near {
    pub(super) node: NodeId,
    /// How much of the wish is lacking, in millionths.
    lack: u64,
    scarce: Scarce,
}

/// The nodes that lack nothing but room, those that lack least first.
pub(super) fn near(board: &Board, class: Class<'_>, only: Option<NodeId>) -> Vec<Near> {
    let wanted = class.group.resources();
    let seats = board.seats().iter().filter(|(node, _)| only.is_none_or(|only| only == **node));
    let misses = seats.filter_map(|(node, seat)| {
        let (lack, scarce) = match filter::first(seat, class, wanted)? {
            Block::PortTaken(port) => (0, Scarce::Port(port)),
            Block::Exhausted(_) | Block::DevicesTaken(_) => {
                let (lack, shortfall) = filter::shortfall(seat, class, wanted)?;
                (lack, Scarce::Dimension(shortfall.dimension))
            }
            Block::NodeLost
            | Block::DiskFull
            | Block::Draining
            | Block::DriverMissing(_)
            | Block::Constraint(_)
            | Block::AgentProtocol(_)
            | Block::DeviceMissing(_)
            | Block::DynamicPortsExhausted
            | Block::Rule(_) => return None,
        };
        Some(Near { node: *node, lack, scarce })
    });
    let mut near: Vec<Near> = misses.collect();
    near.sort_by_key(|near| (near.lack, near.node));
    near
}

/// Who holds what a class lacks, on the nodes where it lacks least and would fit if they were empty.
pub fn held(board: &Board, class: Class<'_>, only: Option<NodeId>) -> Vec<Held> {
    let wanted = class.group.resources();
    let mut told = Vec::new();
    for Near { node, scarce, .. } in near(board, class, only) {
        let Some(seat) = board.seats().get(&node) else { continue };
        if told.len() == NODES {
            break;
        }
        if filter::first(&seat.emptied(), class, wanted).is_none() {
            told.push(held_on(board, node, seat, scarce));
        }
    }
    told
}

fn held_on(board: &Board, node: NodeId, seat: &Seat, scarce: Scarce) -> Held {
    let holds = seat.holders().filter_map(|alloc| Some((alloc, board.held(alloc)?)));
    let holder = |(alloc, hold): (AllocId, &Hold)| {
        let amount = match &scarce {
            Scarce::Port(port) => port_held(hold, *port),
            Scarce::Dimension(dimension) => amount_held(seat, hold, dimension),
        };
        (amount > 0).then(|| Holder { alloc, job: hold.job.clone(), amount })
    };
    let mut holders: Vec<Holder> = holds.filter_map(holder).collect();
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.amount), holder.alloc));
    let more = u32::try_from(holders.len().saturating_sub(HOLDERS)).unwrap_or(u32::MAX);
    holders.truncate(HOLDERS);
    Held { node, scarce, holders, more }
}

fn port_held(hold: &Hold, port: Port) -> u64 {
    u64::from(hold.ports.contains(&port))
}

fn amount_held(seat: &Seat, hold: &Hold, dimension: &Dimension) -> u64 {
    match dimension {
        Dimension::Cpu => hold.resources.cpu.0,
        Dimension::Memory => hold.resources.memory.0,
        Dimension::Disk => hold.resources.disk.0,
        Dimension::Network => hold.resources.network.0,
        Dimension::Device(kind) => devices_held(seat, hold, kind),
    }
}

fn devices_held(seat: &Seat, hold: &Hold, kind: &DeviceKind) -> u64 {
    let devices = &seat.fingerprint.devices;
    let of_kind = |id: &DeviceId| devices.iter().any(|device| device.id == *id && device.kind == *kind);
    hold.devices.iter().filter(|(id, _)| of_kind(id)).map(|(_, share)| u64::from(share.0)).sum()
}
