//! Others that stop, or are made to.

use std::collections::BTreeSet;

use berth_model::{Act, AllocId, NodeId, Remedy};

use super::held::near;
use super::{Case, Demand, Offer, Trial};
use crate::filter::Class;
use crate::preempt::{Prices, evict};

/// The nodes that lack least and are looked at for who would have to go.
const NEAREST: usize = 32;
/// Those who wait for whom room is made, at most: each may need several others to go.
const PLACES: usize = 4;

/// Those who may be stopped, and what comes of it.
pub trait Others {
    /// What is made in the place of one that is stopped, and the one node that it is for, if it is for one. It is placed
    /// before anything else where there is room already.
    fn successor(&self, alloc: AllocId) -> Option<(Class<'_>, Option<NodeId>)>;
}

/// Who has to go from the nodes that lack least, so that all of the case fit, one place after the other. What was released
/// and placed for it stays so until it is undone.
pub fn make_room(trial: &mut Trial, case: Case<'_>, prices: &impl Prices) -> Option<Vec<AllocId>> {
    // A single one is known not to fit.
    if case.wants.len() == 1 {
        return most_easily(trial, case, prices);
    }
    let mut victims = Vec::new();
    let mut rest = case.wants;
    for _ in 0..=PLACES {
        let placed = trial.place_some(case.class, rest).len();
        rest = &rest[placed..];
        if rest.is_empty() {
            return (!victims.is_empty()).then_some(victims);
        }
        let more = most_easily(trial, case, prices)?;
        more.iter().for_each(|victim| trial.release(*victim));
        victims.extend(more);
    }
    None
}

/// Who has to go for one of the class.
fn most_easily(trial: &Trial, case: Case<'_>, prices: &impl Prices) -> Option<Vec<AllocId>> {
    let (board, only) = (trial.board(), case.wants.last()?.only);
    let nearest = near(board, case.class, only).into_iter().take(NEAREST);
    let nodes: BTreeSet<NodeId> = nearest.map(|near| near.node).collect();
    evict(board, case.class, Some(&nodes), prices).map(|eviction| eviction.victims)
}

/// Others whose places are enough.
pub(super) fn stop(trial: &mut Trial, case: Case<'_>, others: &(impl Others + Prices)) -> Option<Offer> {
    let victims = make_room(trial, case, others);
    trial.undo();
    let victims = victims?;
    trial.leave(&victims, others);
    let node = trial.place_after_others(case, case.class);
    trial.undo();
    let demand = Demand::stopped(victims.len());
    Some(Offer { demand, remedy: Remedy { act: Act::Stop(victims), node: Some(node?), preempts: Vec::new() } })
}
