//! Fit: what the room on a node with devices is worth, for the mix of shapes that is asked for.
//!
//! Placing an allocation costs what the room loses of its worth: the policy `fragmentation` takes the node, and the
//! devices on it, where that is least. Pure numbers: no node ids, no jobs, no board.
//!
//! *The measure.* Fragmentation is what can no longer be given to anybody, in expectation over the mix (FGD, "Beware of
//! Fragmentation", USENIX ATC 2023). FGD asks of each shape alone whether one copy still fits. Here the room is filled
//! to the end, with all shapes against each other.
//!
//! *The model.* A device fills up as a chain over its free hundredths: shapes are drawn by their share of the mix and by
//! what they bring, until nothing more comes (`fill`). The worth of a state is a smoothed maximum, the dual of a packing
//! program with one pattern for every way to fill a device, and with the entropy of the draw as its smoothing. Without
//! that, the duals are those of one vertex of many and say nothing of which of two equal patterns keeps more open.
//!
//! *Prices.* Each shape has a price, at least 0, that rises while more of it are placed than come and falls while
//! fewer are (`prices`). A shape that only few nodes admit stays cheap, and so their devices stay dear for all others:
//! that keeps scarce models free. The demand is the mix, scaled until it asks for all that is free.
//!
//! *Cpu and memory* are prices too, of each node by itself: its worth is the least over a few prices of what the devices
//! are worth at them plus what the free cpu and memory cost. Each is an upper bound of what fits, by Lagrangian
//! relaxation; a node with idle devices and no cpu is bounded by its cpu and so worth nothing. This is ours, as are the
//! filled chain and its prices.
//!
//! Everything is in integers (`fixed`), a function of its arguments, and bounded: [`Mix::MOST`] shapes,
//! [`ClassSet::MOST`] classes of nodes, a fixed number of rounds.

mod fill;
mod fixed;
mod mix;
mod prices;

pub use mix::{Ask, ClassSet, Mix, NodeClass, Shape};
pub use prices::{Prices, Room, Value};
