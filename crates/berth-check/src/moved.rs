//! Moves for the sake of balance: only of services that are ready, to another node, within the budget.

use berth_model::{Alloc, AllocState, JobKind, JobSpec};

use crate::findings::Finding;
use crate::plan::PlanView;

/// An allocation that the plan begins to move.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// Which.
    pub from: &'a Alloc,
    /// The one that is to take over.
    pub to: &'a Alloc,
    /// The version that is to run then.
    pub job: &'a JobSpec,
}

pub(crate) fn check_moves(view: &PlanView<'_>, findings: &mut Vec<Finding>) {
    for Moved { from, to, job } in &view.moves {
        let ready = matches!(from.state, AllocState::Running { ready: Some(_), .. });
        let elsewhere = to.occupies().is_some() && to.occupies() != from.occupies();
        let same_place = (&from.job, &from.group, from.index) == (&to.job, &to.group, to.index);
        if job.kind != JobKind::Service || !ready || !elsewhere || !same_place {
            findings.push(Finding::MovedWrongly { from: from.id, to: to.id });
        }
    }
    if !view.moves.is_empty() && view.moving as u64 > u64::from(view.may_move) {
        findings.push(Finding::TooManyMoved { moving: view.moving, allowed: view.may_move });
    }
}
