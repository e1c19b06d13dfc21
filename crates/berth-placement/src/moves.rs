//! Moves of what runs, for the policy `fragmentation`: where the room that an allocation gives back is worth more than the
//! room that it takes elsewhere, or where somebody who fits nowhere fits in its place.

use berth_model::{AllocId, NodeId, Policy};

use crate::board::Board;
use crate::field::{Field, SPARE};
use crate::filter::Class;
use crate::place::fits_in_place_of;

/// An allocation that would do as well elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who.
    pub alloc: AllocId,
    /// From where.
    pub from: NodeId,
    /// To where. It fits there now.
    pub to: NodeId,
    /// By how much more the room of both nodes is worth then, in millionths of a device.
    pub gain: i64,
}

/// The move that gains most, of these allocations with the classes that they are of. None: none gains anything. Ties fall
/// to the class that comes first, then to the allocation that does. Each class looks at all nodes once, each allocation at
/// its own and one other.
pub fn best_move<'a>(
    board: &Board,
    classes: impl Iterator<Item = (Class<'a>, &'a [AllocId])>,
    policy: &Policy,
) -> Option<Move> {
    best_of(board, classes, policy, |_| true).filter(|found| found.gain > 0)
}

/// The move after which one of the class `wanted` fits in the place of the one who moved: the one that costs least of the
/// worth of all room. Ties fall as with [`best_move`].
pub fn move_for<'a>(
    board: &Board,
    wanted: Class<'_>,
    classes: impl Iterator<Item = (Class<'a>, &'a [AllocId])>,
    policy: &Policy,
) -> Option<Move> {
    best_of(board, classes, policy, |alloc| fits_in_place_of(board, wanted, None, alloc))
}

fn best_of<'a>(
    board: &Board,
    classes: impl Iterator<Item = (Class<'a>, &'a [AllocId])>,
    policy: &Policy,
    may: impl Fn(AllocId) -> bool,
) -> Option<Move> {
    let mut best: Option<Move> = None;
    for (class, allocs) in classes {
        let mut movable = allocs.iter().filter(|alloc| may(**alloc)).peekable();
        if movable.peek().is_none() {
            continue;
        }
        let field = Field::evaluate(board, class, policy, SPARE);
        for found in movable.filter_map(|alloc| of_one(board, &field, *alloc)) {
            if best.is_none_or(|best| found.gain > best.gain) {
                best = Some(found);
            }
        }
    }
    best
}

/// The best move of one allocation, whatever it costs.
fn of_one(board: &Board, field: &Field<'_>, alloc: AllocId) -> Option<Move> {
    let hold = board.held(alloc)?;
    let (cost, to) = field.cheapest_but(hold.node)?;
    let seat = board.seats().get(&hold.node)?;
    let mut without = seat.clone();
    without.give_back(hold);
    let gain = board.outlook().worth(&without) - board.outlook().worth(seat) - cost;
    Some(Move { alloc, from: hold.node, to, gain })
}
