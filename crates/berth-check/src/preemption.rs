//! Preemption: only downwards, only of those who may go, within the budgets.

use berth_model::{AllocId, GroupSpec, JobSpec, Preemptible};

use crate::findings::Finding;
use crate::plan::PlanView;

/// An allocation that the plan makes go for another.
#[derive(Clone, Copy, Debug)]
pub struct Preemption<'a> {
    /// Who goes.
    pub victim: AllocId,
    /// The version that says how it is to be treated: the newest, where it leaves what runs as it is.
    pub of: &'a JobSpec,
    /// Its group, as the newest version has it.
    pub group: &'a GroupSpec,
    /// For whom.
    pub by: AllocId,
    /// The version that that one is of.
    pub preemptor: &'a JobSpec,
    /// How many of the victim's group are leaving for others, this one too.
    pub leaving: usize,
}

pub(crate) fn check_preemptions(view: &PlanView<'_>, findings: &mut Vec<Finding>) {
    for preemption in &view.preemptions {
        let Preemption { victim, of, group, by, preemptor, leaving } = *preemption;
        if preemptor.priority <= of.priority {
            findings.push(Finding::PriorityInverted { victim, by });
        }
        match of.preemptible {
            Preemptible::Yes => {}
            Preemptible::No => findings.push(Finding::NotPreemptible { victim, by }),
        }
        if leaving as u64 > u64::from(group.update.max_parallel) {
            let allowed = group.update.max_parallel;
            findings.push(Finding::GroupPreempted { victim, leaving, allowed });
        }
    }
    if !view.preemptions.is_empty() && view.leaving as u64 > u64::from(view.may_leave) {
        findings.push(Finding::TooManyPreempted { leaving: view.leaving, allowed: view.may_leave });
    }
}
