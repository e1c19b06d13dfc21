//! What stays the same of an allocation whoever decides: its place in its job.

use berth_model::{Alloc, GroupName, JobId, NodeId};

/// One of a group's instances, whichever allocation it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The job.
    pub job: JobId,
    /// The group.
    pub group: GroupName,
    /// Which of its `count`.
    pub index: u32,
    /// For a system job: the node that it is for.
    pub bound_to: Option<NodeId>,
}

impl Slot {
    /// The one that an allocation is in.
    pub fn of(alloc: &Alloc) -> Slot {
        let Alloc { job, group, index, bound_to, .. } = alloc;
        Slot { job: job.clone(), group: group.clone(), index: *index, bound_to: *bound_to }
    }

    /// Whether it is one of the same group.
    pub fn beside(&self, other: &Slot) -> bool {
        self.job == other.job && self.group == other.group
    }
}
