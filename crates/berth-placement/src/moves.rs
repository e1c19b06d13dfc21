//! Moves of what runs, for the policy `fragmentation`: where the room that an allocation gives back is worth more than the
//! room that it takes elsewhere.

use berth_model::{AllocId, NodeId, Policy};

use crate::board::Board;
use crate::field::Field;
use crate::filter::Class;

/// A move that would pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who.
    pub alloc: AllocId,
    /// From where.
    pub from: NodeId,
    /// To where. It fits there now.
    pub to: NodeId,
    /// By how much more the room of both nodes is worth then, in millionths of a device; more than 0.
    pub gain: i64,
}

/// The move that gains most, of these allocations with the classes that they are of. Ties fall to the class that comes
/// first, then to the lower allocation. Each class looks at all nodes once, each allocation at its own and one other.
pub fn best_move<'a>(
    board: &Board,
    classes: impl Iterator<Item = (Class<'a>, &'a [AllocId])>,
    policy: Policy,
) -> Option<Move> {
    let mut best: Option<Move> = None;
    for (class, allocs) in classes {
        let field = Field::evaluate(board, class, policy);
        for found in allocs.iter().filter_map(|alloc| of_one(board, &field, *alloc)) {
            if found.gain > best.map_or(0, |best| best.gain) {
                best = Some(found);
            }
        }
    }
    best
}

/// The best move of one allocation, however little it gains.
fn of_one(board: &Board, field: &Field<'_>, alloc: AllocId) -> Option<Move> {
    let hold = board.held(alloc)?;
    let (cost, to) = field.cheapest_but(hold.node)?;
    let seat = board.seats().get(&hold.node)?;
    let mut without = seat.clone();
    without.give_back(hold);
    let gain = board.outlook().worth(hold.node, &without) - board.outlook().worth(hold.node, seat) - cost;
    Some(Move { alloc, from: hold.node, to, gain })
}
