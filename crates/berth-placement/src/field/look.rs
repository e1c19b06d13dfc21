//! The look at all nodes: what keeps each of them out, and which are the cheapest.
//!
//! Row by row of the board's roll: what a class asks of attributes, ports and kinds of devices comes first, since those
//! filters do; then the roll says who lacks room. Only nodes about which it cannot tell, that may be among the cheapest, or
//! that rules and devices have to be asked about are looked at by themselves.

use std::collections::BTreeMap;

use super::{Cell, Field, Least, Wished};
use crate::board::{Ask, Board, ByNode, Column, Lanes, Place, Row, Seat, SortId, Told, fullness_of};
use crate::cost;
use crate::device::Wishes;
use crate::filter::{self, Block, Questions, Space};

/// In the order in which a row tells what is lacking.
const SPACES: [Space; 4] = [Space::Cpu, Space::Memory, Space::Disk, Space::Network];

/// What a look goes through all nodes with.
pub(super) struct Look<'a, 'b> {
    board: &'b Board,
    ask: Ask,
    questions: Questions<'a, 'b>,
    wishes: BTreeMap<SortId, Wished<'a>>,
    /// Whether the filters before those for room have to see every seat.
    sees_seats: bool,
    /// Whether those that have room have to be asked for anything else.
    asks_more: bool,
    /// How many nodes lack each kind of space.
    lacking: [u32; SPACES.len()],
    /// The attributes that tell cells apart, and which cell has which values, by their numbers.
    columns: Vec<Option<&'b Column>>,
    known: BTreeMap<Vec<u32>, usize>,
    same: Option<&'b ByNode>,
    open: Vec<Open>,
}

/// The cheapest nodes of a cell so far.
struct Open {
    least: Least,
    /// As full as this, as rows tell it, a node is none of them.
    bar: i16,
}

impl<'a, 'b> Look<'a, 'b> {
    pub(super) fn new(field: &Field<'a>, board: &'b Board) -> Self {
        let group = field.class.group;
        let devices = group.devices().next().is_some();
        Look {
            board,
            ask: Ask::of(field.wanted),
            questions: Questions::of(field.class, board.attributes()),
            wishes: if devices { BTreeMap::new() } else { [(SortId::ANY, Wishes::of(&[], group))].into() },
            sees_seats: devices || group.ports().next().is_some(),
            asks_more: devices || !field.keys.is_empty() || field.around.filters_nodes(),
            lacking: [0; SPACES.len()],
            columns: field.keys.iter().map(|key| board.attributes().column(key)).collect(),
            known: BTreeMap::new(),
            same: board.group(&field.class.job.id, &group.name),
            open: Vec::new(),
        }
    }

    /// Looks at all nodes. The cheapest of each cell.
    pub(super) fn run(mut self, field: &mut Field<'a>) -> Vec<Least> {
        for (first, row) in self.board.seats().roll().rows() {
            let mut told = row.tell(&self.ask);
            self.ask_first(field, first, row, &mut told);
            self.look_closely(field, first, &mut told);
            for (space, lacking) in (Told::LACKS..).zip(&mut self.lacking) {
                *lacking += count(&told, space);
            }
            if count(&told, Told::FITS) > 0 {
                self.rank(field, first, row, &told);
            }
        }
        let lacking = SPACES.into_iter().zip(self.lacking).filter(|(_, nodes)| *nodes > 0);
        field.filtered.extend(lacking.map(|(space, nodes)| (Block::Exhausted(space), nodes)));
        field.filtered.extend(self.questions.kept_out());
        field.wishes = self.wishes;
        self.open.into_iter().map(|open| open.least).collect()
    }

    /// The filters that come before those for room.
    fn ask_first(&mut self, field: &mut Field<'a>, first: Place, row: &Row, told: &mut Lanes) {
        if !self.sees_seats && !row.has_out() && self.questions.is_empty() {
            return;
        }
        for (lane, told) in told[..row.nodes()].iter_mut().enumerate() {
            let place = first + lane;
            if self.sees_seats {
                self.note_wishes(field, self.board.seats().at(place).1);
            }
            let seen = self.sees_seats || *told == Told::OUT;
            let seat = seen.then(|| self.board.seats().at(place).1);
            if let Some(block) = seat.and_then(filter::out_of_service) {
                *field.filtered.entry(block).or_default() += 1;
                *told = Told::OUT;
            } else if !self.questions.admit(place) {
                *told = Told::OUT;
            } else if let Some(block) = seat.and_then(|seat| self.blocked_by_kind_or_port(field, seat)) {
                *field.filtered.entry(block).or_default() += 1;
                *told = Told::OUT;
            }
        }
    }

    fn note_wishes(&mut self, field: &Field<'a>, seat: &Seat) {
        let of_sort = || Wishes::of(&seat.fingerprint.devices, field.class.group);
        self.wishes.entry(field.sort_of(seat)).or_insert_with(of_sort);
    }

    fn blocked_by_kind_or_port(&self, field: &Field<'a>, seat: &Seat) -> Option<Block<'a>> {
        match &self.wishes[&field.sort_of(seat)] {
            Ok(_) => filter::no_port(seat, field.class),
            Err(kind) => Some(Block::DeviceMissing(kind)),
        }
    }

    /// Asks the seats of which the row cannot tell whether they lack room.
    fn look_closely(&self, field: &Field<'a>, first: Place, told: &mut Lanes) {
        if count(told, Told::LOOK) == 0 {
            return;
        }
        for (lane, told) in told.iter_mut().enumerate().filter(|(_, told)| **told == Told::LOOK) {
            let (_, seat) = self.board.seats().at(first + lane);
            let lacking = filter::exhausted(seat.used + field.wanted, seat.capacity);
            let spaces = (Told::LACKS..).zip(SPACES);
            *told =
                spaces.filter(|(_, space)| Some(*space) == lacking).map(|(told, _)| told).next().unwrap_or(Told::FITS);
        }
    }

    /// Of those that have room, remembers the cheapest.
    fn rank(&mut self, field: &mut Field<'a>, first: Place, row: &Row, told: &Lanes) {
        let fullest = row.fullest(&self.ask);
        if !self.asks_more {
            let cell = self.cell_of(field, first);
            field.cells[cell].fitting += count(told, Told::FITS);
            let fitting =
                told.iter().zip(&fullest).map(|(told, full)| if *told == Told::FITS { *full } else { i16::MAX });
            if fitting.min() >= Some(self.open[cell].bar) {
                return;
            }
        }
        for lane in (0..row.nodes()).filter(|lane| told[*lane] == Told::FITS) {
            let place = first + lane;
            let cell = if self.asks_more { self.admit(field, place) } else { Some(0) };
            if let Some(cell) = cell.filter(|cell| fullest[lane] < self.open[*cell].bar) {
                self.offer(field, place, cell);
            }
        }
    }

    /// Whether devices and rules over nodes let a node that has room take one, and in which cell it is then.
    fn admit(&mut self, field: &mut Field<'a>, place: Place) -> Option<usize> {
        let (node, seat) = self.board.seats().at(place);
        let wishes = &self.wishes[&field.sort_of(seat)];
        let devices = field.devices_of(self.board, seat, wishes).err();
        let block = devices.or_else(|| field.around.broken_on(node).map(Block::Rule));
        if let Some(block) = block {
            *field.filtered.entry(block).or_default() += 1;
            return None;
        }
        let cell = self.cell_of(field, place);
        field.cells[cell].fitting += 1;
        Some(cell)
    }

    /// Remembers a node if it is cheap enough.
    fn offer(&mut self, field: &Field<'a>, place: Place, cell: usize) {
        let (node, seat) = self.board.seats().at(place);
        let weights = field.weights_on(seat);
        let Open { least, bar } = &mut self.open[cell];
        if least.limit().is_some_and(|limit| cost::reaches(weights, seat.used + field.wanted, seat.capacity, limit)) {
            return;
        }
        let given = field.devices_of(self.board, seat, &self.wishes[&field.sort_of(seat)]);
        let given = given.expect("the node was found to have its devices free");
        least.offer(field.costs_of(self.board, node, seat, &given, self.same).total(), node);
        // In other pools how full a node is may cost less.
        let limit = least.limit().filter(|_| field.policy.spec.pools.is_empty());
        *bar = limit.and_then(|limit| cost::reached_from(weights, limit)).map_or(i16::MAX, fullness_of);
    }

    /// The cell of a node; a new one where it is the first of its kind.
    fn cell_of(&mut self, field: &mut Field<'a>, place: Place) -> usize {
        if field.keys.is_empty() && !field.cells.is_empty() {
            return 0;
        }
        let numbers: Vec<u32> = self.columns.iter().map(|column| column.map_or(0, |column| column.at(place))).collect();
        *self.known.entry(numbers).or_insert_with(|| {
            let values = field.values_of(self.board.seats().at(place).1);
            field.cells.push(Cell::new(values));
            self.open.push(Open { least: Least::new(field.most), bar: i16::MAX });
            field.cells.len() - 1
        })
    }
}

/// How many of the lanes are told this.
fn count(told: &Lanes, wanted: i16) -> u32 {
    let lanes: i16 = told.iter().map(|told| i16::from(*told == wanted)).sum();
    u32::from(lanes.unsigned_abs())
}
