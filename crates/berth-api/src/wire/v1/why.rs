//! Answers to "why?": an object, the chain of causes that led to it, and what happened to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Advice, Alloc, AllocId, Cause, Command, Event, GroupName, JobSummary, WaitReason};

/// The most links of a chain, and entries of a history, that are told.
pub const WHY_ITEMS: usize = 100;

/// Why an allocation is where it is.
///
/// For the placed, `alloc.state.placement.explanation` tells what was filtered and the cost of the chosen node and the
/// runner-up; for the waiting, `alloc.state.reason` tells the nearest node and what it lacks, and `advice` what could be done;
/// for the ended, `ended_by` tells what ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyAlloc {
    /// The allocation.
    pub alloc: Alloc,
    /// Where it waits for a place: who holds what it lacks, and what would make it run. Absent while nobody leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// What led to its being made, nearest first.
    pub made_by: Vec<CauseLink>,
    /// What led to its stopping or its end, nearest first; empty while it is wanted.
    pub ended_by: Vec<CauseLink>,
    /// The instance whose place it took, and that one's, nearest first.
    pub replaces: Vec<Alloc>,
    /// The instance that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<AllocId>,
    /// What happened to it, oldest first; the newest entries when there are many.
    pub history: Vec<Event>,
}

/// Why a job stands where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyJob {
    /// The job.
    pub job: JobSummary,
    /// What led to its present version or its end, nearest first.
    pub changed_by: Vec<CauseLink>,
    /// What its waiting allocations wait for; equal reasons are told once.
    pub waiting: Vec<WaitingGroup>,
    /// What happened to it, oldest first; the newest entries when there are many.
    pub history: Vec<Event>,
}

/// Allocations of a group that wait for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingGroup {
    /// The group.
    pub group: GroupName,
    /// Why they wait.
    pub reason: WaitReason,
    /// How many.
    pub allocs: u32,
    /// One of them.
    pub example: AllocId,
    /// Who holds what that one lacks, and what would make it run. Told of the first three groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// A cause, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CauseLink {
    /// The cause.
    pub cause: Cause,
    /// The command, where the cause is one and is still remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// The entry of the ledger, where the cause is one and is still kept. Its own cause is the next link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}
