//! What would make a waiting class run.
//!
//! Whatever is offered was tried: the act is done on a copy of the board, those that would be placed before the class are
//! placed, and then the class itself, by the code that places. Each offer is one act; what needs two at once is not
//! found, except that a node of the right shape always is. Offers are ordered by how little they demand, see [`Demand`].
//!
//! A trial looks at every node, so trials are counted: [`LOOKS`] nodes in all. What is not reached by then is not offered.

mod free;
mod held;
mod job;
mod nodes;
mod trial;

use berth_model::{Remedy, Thousandths};

use crate::filter::Class;
use crate::place::Want;
use crate::preempt::Prices;

pub use free::{Others, make_room};
pub use held::held;
pub use trial::Trial;

/// Nodes that are looked at for one case, over all trials; at least [`TRIALS`] trials are made in any cluster.
const LOOKS: usize = 100_000;
const TRIALS: usize = 16;

/// Remedies that are told.
const TOLD: usize = 3;

/// Who waits, and who comes first.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What those who wait have in common.
    pub class: Class<'a>,
    /// Those who have to be placed: of a gang all that wait, else those that are tried before the one that is asked
    /// about, and it last. At least one.
    pub wants: &'a [Want],
    /// Those of other classes that are tried first when room appears, in their order. None: they are too many to try,
    /// and nothing that only makes room is offered.
    pub ahead: Option<&'a [Ahead<'a>]>,
}

/// Those of one class who are tried before the one that is asked about.
#[derive(Clone, Debug)]
pub struct Ahead<'a> {
    /// What they have in common.
    pub class: Class<'a>,
    /// Who.
    pub wants: Vec<Want>,
}

/// How much an act asks of people, from a little to a lot: 0 to some thousands. Only the order means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand(u32);

impl Demand {
    /// The cluster becomes what it was meant to be.
    pub const MENDED: Demand = Demand(100);
    /// A number that hardly anybody cares about.
    pub const PORT: Demand = Demand(150);
    const BUDGET: Demand = Demand(200);
    const LESS: Demand = Demand(200);
    const CLOSER: Demand = Demand(250);
    const PRIORITY: Demand = Demand(400);
    /// Something that somebody wrote down on purpose.
    pub const DROPPED: Demand = Demand(600);
    const STOPPED: Demand = Demand(700);
    const BOUGHT: Demand = Demand(900);

    /// Others may lose so many more at once than they wanted to.
    pub fn budget(more: u32) -> Demand {
        Demand::BUDGET.and(more, 20)
    }

    /// `now` of `before` has to do.
    pub fn less(before: u64, now: u64) -> Demand {
        let cut = u128::from(before.saturating_sub(now)) * u128::from(Thousandths::WHOLE.0) / u128::from(before.max(1));
        Demand::LESS.and(u32::try_from(cut).unwrap_or(u32::MAX), 1)
    }

    /// So many more share a part of the cluster.
    pub fn closer(more: u32) -> Demand {
        Demand::CLOSER.and(more, 10)
    }

    /// A priority rises by so much, at the cost of so many others.
    pub fn priority(rise: u8, victims: usize) -> Demand {
        Demand::PRIORITY.and(u32::from(rise), 5).and(count(victims), 20)
    }

    /// So many others stop.
    pub fn stopped(victims: usize) -> Demand {
        Demand::STOPPED.and(count(victims), 20)
    }

    /// So many nodes are added.
    pub fn bought(nodes: u32) -> Demand {
        Demand::BOUGHT.and(nodes, 50)
    }

    fn and(self, more: u32, each: u32) -> Demand {
        Demand(self.0.saturating_add(more.saturating_mul(each)))
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// An act that was tried with success, and what it demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How much it asks.
    pub demand: Demand,
    /// The act.
    pub remedy: Remedy,
}

/// What placing alone can tell would help, new nodes apart: changes of the job, nodes that are mended, others that stop.
/// `others` tells who may be stopped.
pub fn offers(trial: &mut Trial, case: Case<'_>, others: &(impl Others + Prices)) -> Vec<Offer> {
    let mut offers = nodes::repair(trial, case);
    offers.extend(job::offers(trial, case));
    offers.extend(free::stop(trial, case, others));
    offers
}

/// Those that are told, the least demanding first. New nodes are tried only where too little else helps.
pub fn told(trial: &mut Trial, case: Case<'_>, mut offers: Vec<Offer>) -> Vec<Remedy> {
    if offers.len() < TOLD {
        offers.extend(nodes::add(trial, case));
    }
    offers.sort_by_key(|offer| offer.demand);
    offers.into_iter().take(TOLD).map(|offer| offer.remedy).collect()
}
