//! Who would have to go for an allocation that fits nowhere.
//!
//! On every node that suits, the cheapest set of allocations without which there would be room; of all nodes the cheapest
//! of these sets. Nodes are gone through in the order of what it costs there at least, until that is more than what was
//! found: by who goes first, and when it is a node's turn by what all hold who may go ([`bound`]).
//!
//! On one node it is a branch and bound that begins with the set that a greedy choice finds. Sets are gone through in order
//! of the price of their members; what cannot become cheaper than the best so far is given up, with as many more members
//! as the largest of what is left would make necessary; of candidates that make the same room the cheaper go first. At most
//! [`STEPS`] sets are tried in all: a node with very many different candidates may then be left with a set that is
//! sufficient and not the cheapest.

mod bound;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use berth_model::{AllocId, DeviceId, GroupName, JobId, NodeId, Port, Priority, Resources, Thousandths};

use crate::around::Around;
use crate::board::{Ask, Board, Eligibility, Going, Hold, Place, Seat, Standing};
use crate::device::{FULLEST, Wishes, choose};
use crate::filter::{self, Class};
use bound::{Rest, rests};

/// Sets that are tried in one call.
const STEPS: u32 = 2_000;

/// Only those who are preemptible and of a lower priority go.
#[derive(Clone, Copy, Debug)]
pub struct Below {
    /// Lower than this.
    pub priority: Priority,
    /// What it costs at least that any of them ends. At least 1.
    pub floor: u64,
}

/// What may be done to others.
pub trait Prices {
    /// Where only those go who are preemptible and of a lower priority, what that means: it spares looks at nodes. None:
    /// anybody may.
    fn below(&self) -> Option<Below> {
        None
    }
    /// What it costs at least that such an allocation ends; none where it must not. At least 1.
    fn least(&self, of: Standing) -> Option<u64>;
    /// What it costs that an allocation ends; none where it must not.
    fn price(&self, alloc: AllocId) -> Option<u64>;
    /// How many more of a group may end at once.
    fn left(&self, job: &JobId, group: &GroupName) -> u32;
    /// How many more may end at once in the whole cluster.
    fn left_in_all(&self) -> u32;
}

/// A place for which others have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Where.
    pub node: NodeId,
    /// Who has to go; at least one.
    pub victims: Vec<AllocId>,
    /// The sum of their prices.
    pub price: u64,
}

/// The cheapest eviction that makes room for one allocation of the class, on any node or on some. Ties fall to the lower
/// node id.
pub fn evict(
    board: &Board,
    class: Class<'_>,
    among: Option<&BTreeSet<NodeId>>,
    prices: &impl Prices,
) -> Option<Eviction> {
    if prices.left_in_all() == 0 {
        return None;
    }
    let around = Around::of(board, class);
    let mut hopes = Hopes::of(board, class, among, prices);
    let mut steps = STEPS;
    let mut best: Option<Eviction> = None;
    while let Some(Hope { at_least, place, look }) = hopes.next() {
        let (node, seat) = board.seats().at(place);
        // What follows is not cheaper, and where it costs the same its node comes later.
        if best.as_ref().is_some_and(|best| (at_least, node) > (best.price, best.node)) {
            break;
        }
        if look == Look::Rough {
            hopes.look_closely(place);
            continue;
        }
        let most = best.as_ref().map_or(u64::MAX, |best| best.price);
        let suits = seat.eligibility == Eligibility::Ready && filter::admits(&seat.fingerprint, class);
        if !suits || !around.allows(node, &seat.fingerprint) {
            continue;
        }
        let lower = best.as_ref().is_some_and(|best| node < best.node);
        let most = if lower { most.saturating_add(1) } else { most };
        if let Some((price, victims)) = cheapest(board, seat, class, prices, most, &mut steps) {
            best = Some(Eviction { node, victims, price });
        }
    }
    best
}

/// A node on which room may be made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hope {
    /// What that costs at least.
    at_least: u64,
    place: Place,
    look: Look,
}

/// How closely was looked at what it costs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// By what the first to go costs.
    Rough,
    /// By what all hold who may go.
    Close,
}

/// Nodes in the order of what it costs there at least to make room.
///
/// Most are never asked for. So what the board's roll tells is enough at first: who goes first on each node and who next,
/// and where it may be enough that the first goes, or another one. The other nodes are looked at when two of the cheapest
/// would not be too dear. A node is looked at closely when it is the next.
struct Hopes<'a, P> {
    board: &'a Board,
    wanted: Resources,
    prices: &'a P,
    heap: BinaryHeap<Reverse<Hope>>,
    others: Others,
}

/// What became of the nodes on which two have to go at least.
#[derive(PartialEq, Eq)]
enum Others {
    /// They are in the heap, or in no question.
    Seen,
    /// They cost at least so much, and are not among these places.
    Unseen { at_least: u64, seen: Vec<Place> },
}

impl<'a, P: Prices> Hopes<'a, P> {
    fn of(board: &'a Board, class: Class<'_>, among: Option<&BTreeSet<NodeId>>, prices: &'a P) -> Self {
        let (seats, wanted) = (board.seats(), class.group.resources());
        let mut hopes = Hopes { board, wanted, prices, heap: BinaryHeap::new(), others: Others::Seen };
        if let Some(among) = among {
            hopes.heap = among.iter().filter_map(|node| hopes.on_seat(seats.place(*node).ok()?)).collect();
        } else if let Some(Below { priority, floor }) = prices.below() {
            let (ask, rows) = (Ask::of(wanted), seats.roll().rows());
            let lanes = rows.flat_map(|(first, row)| {
                row.may_have_with_one_gone(&ask, priority).map(move |(lane, going)| (first + lane, going))
            });
            let (seen, going): (Vec<Place>, Vec<Going>) = lanes.unzip();
            hopes.heap = seen.iter().zip(going).filter_map(|(place, going)| hopes.on_roll(*place, going)).collect();
            hopes.others = Others::Unseen { at_least: floor.saturating_mul(2), seen };
        } else {
            hopes.heap = (0..seats.len()).filter_map(|place| hopes.on_seat(place)).collect();
        }
        hopes
    }

    /// By the cheapest who is there.
    fn on_seat(&self, place: Place) -> Option<Reverse<Hope>> {
        let (_, seat) = self.board.seats().at(place);
        let at_least = seat.levels().iter().find_map(|level| self.prices.least(level.youngest))?;
        Some(Reverse(Hope { at_least, place, look: Look::Rough }))
    }

    /// By what the roll says where these have to go at least.
    fn on_roll(&self, place: Place, going: Going) -> Option<Reverse<Hope>> {
        let [first, second] = self.board.seats().roll().next_to_go(place);
        let least = |of: Option<Standing>| self.prices.least(of?);
        let at_least = match going {
            Going::First => least(first)?,
            Going::Another => least(second)?,
            Going::Two => least(first)?.saturating_add(least(second)?),
        };
        Some(Reverse(Hope { at_least, place, look: Look::Rough }))
    }

    /// The next node.
    fn next(&mut self) -> Option<Hope> {
        let known = self.heap.peek().map(|Reverse(hope)| hope.at_least);
        if let Others::Unseen { at_least, seen } = &self.others
            && known.is_none_or(|known| known >= *at_least)
        {
            let others = (0..self.board.seats().len()).filter(|place| seen.binary_search(place).is_err());
            let hopes: Vec<_> = others.filter_map(|place| self.on_roll(place, Going::Two)).collect();
            self.heap.extend(hopes);
            self.others = Others::Seen;
        }
        self.heap.pop().map(|Reverse(hope)| hope)
    }

    /// Has the node again where it comes in the order of what it costs by a closer look, if room can be made there at all.
    fn look_closely(&mut self, place: Place) {
        let (_, seat) = self.board.seats().at(place);
        let at_least = bound::least(seat, self.wanted, self.prices);
        self.heap.extend(at_least.map(|at_least| Reverse(Hope { at_least, place, look: Look::Close })));
    }
}

/// The cheapest set on one node that costs less than `most`.
fn cheapest(
    board: &Board,
    seat: &Seat,
    class: Class<'_>,
    prices: &impl Prices,
    most: u64,
    steps: &mut u32,
) -> Option<(u64, Vec<AllocId>)> {
    let mut candidates = candidates(board, seat, class, prices, most);
    if candidates.list.is_empty() {
        return None;
    }
    let mut without_all = seat.unnamed();
    candidates.list.iter().for_each(|candidate| without_all.give_back(candidate.hold));
    // Where there is room already, something else is in the way, and who goes makes no difference.
    if has_room(seat, class) || !has_room(&without_all, class) {
        return None;
    }
    candidates.list.sort_unstable_by_key(|candidate| (candidate.price, candidate.alloc));
    let mut search = Search {
        class,
        wanted: class.group.resources(),
        rests: rests(candidates.list.iter().map(|candidate| candidate.hold.resources)),
        candidates: candidates.list,
        left: candidates.left,
        left_in_all: prices.left_in_all(),
        seat: seat.unnamed(),
        best: None,
        most,
        chosen: Vec::new(),
        steps,
    };
    search.choose_greedily();
    search.extend(0, 0);
    let Search { candidates, best, most, .. } = search;
    best.map(|mut best| {
        best.sort_unstable();
        (most, best.into_iter().map(|at| candidates[at].alloc).collect())
    })
}

/// What is kept free on a node for one of the class that will be placed there when others have gone, who hold their part
/// still: its resources, its fixed ports, and devices that it can be given then.
pub fn reservation(board: &Board, class: Class<'_>, node: NodeId, leaving: &[AllocId]) -> Hold {
    let hold = Hold::reserved(&class.job.id, class.group, node);
    let Some(seat) = board.seats().get(&node).filter(|_| class.group.devices().next().is_some()) else { return hold };
    let mut without = seat.unnamed();
    leaving.iter().filter_map(|id| board.held(*id)).filter(|hold| hold.node == node).for_each(|h| without.give_back(h));
    let Ok(wishes) = Wishes::of(&seat.fingerprint.devices, class.group) else { return hold };
    let devices = choose(&without, &wishes, FULLEST).map(|given| given.holds(seat)).unwrap_or_default();
    Hold { devices, ..hold }
}

fn has_room(seat: &Seat, class: Class<'_>) -> bool {
    filter::no_room(seat, class, class.group.resources()).is_none()
}

/// One who may have to go.
struct Candidate<'a> {
    price: u64,
    alloc: AllocId,
    hold: &'a Hold,
    /// The number of its group.
    group: usize,
    /// The same for those of one group that make the same room.
    kind: usize,
}

struct Candidates<'a> {
    list: Vec<Candidate<'a>>,
    /// How many more of each group may end at once.
    left: Vec<u32>,
}

/// What tells apart the room that one makes: ports and devices only where they are asked for.
type Kind<'a> = (usize, [u64; 4], &'a [Port], &'a [(DeviceId, Thousandths)]);

fn candidates<'a>(board: &'a Board, seat: &Seat, class: Class<'_>, prices: &impl Prices, most: u64) -> Candidates<'a> {
    let (ports, devices) = (class.group.ports().next().is_some(), class.group.devices().next().is_some());
    let mut groups: BTreeMap<(&JobId, &GroupName), usize> = BTreeMap::new();
    let mut kinds: BTreeMap<Kind<'_>, usize> = BTreeMap::new();
    let mut found = Candidates { list: Vec::new(), left: Vec::new() };
    for (alloc, standing, _) in seat.standing() {
        let Some(_) = prices.least(standing).filter(|least| *least < most) else { continue };
        let Some(price) = prices.price(alloc).filter(|price| *price < most) else { continue };
        let Some(hold) = board.held(alloc) else { continue };
        let group = *groups.entry((&hold.job, &hold.group)).or_insert_with(|| {
            found.left.push(prices.left(&hold.job, &hold.group));
            found.left.len() - 1
        });
        let kind = (
            group,
            hold.resources.dimensions(),
            if ports { hold.ports.as_slice() } else { &[] },
            if devices { hold.devices.as_slice() } else { &[] },
        );
        let next = kinds.len();
        let kind = *kinds.entry(kind).or_insert(next);
        found.list.push(Candidate { price, alloc, hold, group, kind });
    }
    found
}

struct Search<'a, 'b> {
    class: Class<'b>,
    wanted: Resources,
    candidates: Vec<Candidate<'a>>,
    rests: Vec<Rest>,
    left: Vec<u32>,
    left_in_all: u32,
    /// The node without those that are chosen.
    seat: Seat,
    /// The best set so far, by places in the list, and what it costs, or what it must cost less than.
    best: Option<Vec<usize>>,
    most: u64,
    chosen: Vec<usize>,
    steps: &'b mut u32,
}

impl Search<'_, '_> {
    /// The cheapest that may go until there is room, without those that turn out not to be needed.
    fn choose_greedily(&mut self) {
        for at in 0..self.candidates.len() {
            if has_room(&self.seat, self.class) {
                break;
            }
            if self.may_go(at) {
                self.send_off(at);
            }
        }
        if has_room(&self.seat, self.class) {
            self.call_back_idle();
        }
        let price = self.chosen.iter().map(|at| self.candidates[*at].price).fold(0, u64::saturating_add);
        if has_room(&self.seat, self.class) && price < self.most {
            (self.most, self.best) = (price, Some(self.chosen.clone()));
        }
        self.chosen.clone().into_iter().for_each(|at| self.call_back(at));
    }

    /// Those without whom there is room all the same stay, the dearest first.
    fn call_back_idle(&mut self) {
        for at in self.chosen.clone().into_iter().rev() {
            self.call_back(at);
            if !has_room(&self.seat, self.class) {
                self.send_off(at);
            }
        }
    }

    fn may_go(&self, at: usize) -> bool {
        self.left_in_all > 0 && self.left[self.candidates[at].group] > 0
    }

    fn send_off(&mut self, at: usize) {
        self.left_in_all -= 1;
        self.left[self.candidates[at].group] -= 1;
        self.seat.give_back(self.candidates[at].hold);
        self.chosen.push(at);
    }

    fn call_back(&mut self, at: usize) {
        self.chosen.retain(|chosen| *chosen != at);
        self.seat.take(self.candidates[at].hold);
        self.left[self.candidates[at].group] += 1;
        self.left_in_all += 1;
    }

    /// Goes through the sets that have more than what is chosen, from the candidate `from` on.
    fn extend(&mut self, from: usize, price: u64) {
        let mut tried = Vec::new();
        for at in from..self.candidates.len() {
            // Both bounds only rise from here on: those that follow hold less, and are dearer.
            let Some(needed) = self.needed(at) else { return };
            let own = self.candidates[at].price;
            let cheapest = self.candidates[at..].iter().take(needed).map(|candidate| candidate.price);
            let at_least = cheapest.fold(price, u64::saturating_add);
            if at_least >= self.most
                || needed > usize::try_from(self.left_in_all).unwrap_or(usize::MAX)
                || *self.steps == 0
            {
                return;
            }
            let kind = self.candidates[at].kind;
            if !self.may_go(at) || tried.contains(&kind) {
                continue;
            }
            tried.push(kind);
            *self.steps -= 1;
            self.send_off(at);
            if has_room(&self.seat, self.class) {
                (self.most, self.best) = (price + own, Some(self.chosen.clone()));
            } else {
                self.extend(at + 1, price.saturating_add(own));
            }
            self.call_back(at);
        }
    }

    /// How many of the candidates from `at` on have to go at least. None: all of them would not be enough.
    fn needed(&self, at: usize) -> Option<usize> {
        self.rests[at].needed(self.wanted - self.seat.free())
    }
}
