//! Chains of causes: from a thing back to the command, report or timer that set it off.

use std::collections::BTreeMap;

use berth_api::wire::v1::{self as wire, ToWire as _};
use berth_model::{Alloc, AllocState, Cause, Happening, Job, JobState, LedgerEntry, NodeId, WaitReason};

use crate::view::View;

/// Why an allocation is where it is.
pub fn alloc(view: &View, alloc: &Alloc, show: impl Fn(&Alloc) -> wire::Alloc) -> wire::WhyAlloc {
    let ended_by = match &alloc.state {
        AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => Vec::new(),
        AllocState::Stopping { cause, .. } | AllocState::Ended { cause, .. } => chain(view, cause),
    };
    let mut replaces = Vec::new();
    let mut before = alloc.replaces;
    while let Some(old) = before.and_then(|id| view.allocs.get(&id))
        && replaces.len() < wire::WHY_ITEMS
    {
        replaces.push(show(old));
        before = old.replaces;
    }
    wire::WhyAlloc {
        alloc: show(alloc),
        advice: None,
        made_by: chain(view, &alloc.cause),
        ended_by,
        replaces,
        replaced_by: view.replaced_by(alloc.id).map(wire::AllocId),
        history: history(view, |entry| entry.what.alloc() == Some(alloc.id)),
    }
}

/// Why a job stands where it stands.
pub fn job(view: &View, job: &Job, summary: wire::JobSummary) -> wire::WhyJob {
    let cause = match &job.state {
        JobState::Active | JobState::Ended { .. } => &job.changed.1,
        JobState::Stopping { cause, .. } => cause,
    };
    wire::WhyJob {
        job: summary,
        changed_by: chain(view, cause),
        waiting: waiting(view, job),
        history: history(view, |entry| entry.what.job() == Some(&job.spec.id)),
    }
}

/// What waits, together where the reason is the same; the numbers in the reasons are as old as what is stored.
fn waiting(view: &View, job: &Job) -> Vec<wire::WaitingGroup> {
    let mut groups: Vec<wire::WaitingGroup> = Vec::new();
    let mut places = BTreeMap::new();
    for alloc in view.allocs_of_job(&job.spec.id) {
        let AllocState::Waiting { reason, .. } = &alloc.state else { continue };
        // Those that wait for something of their own are told apart.
        let own = match reason {
            WaitReason::BackOff { failed, .. } => Some(*failed),
            WaitReason::Preempting { .. } => Some(alloc.id),
            WaitReason::Queued
            | WaitReason::NoNodes
            | WaitReason::NoNodeFits { .. }
            | WaitReason::GangIncomplete { .. } => None,
        };
        let class = (&alloc.group, alloc.version, alloc.bound_to, own);
        let place = places.entry(class).or_insert(groups.len());
        match groups.get_mut(*place) {
            Some(group) => group.allocs += 1,
            None => groups.push(wire::WaitingGroup {
                group: alloc.group.clone().into(),
                reason: reason.to_wire(view),
                allocs: 1,
                example: alloc.id.into(),
                advice: None,
            }),
        }
    }
    groups
}

fn asks_to_drain(entry: &LedgerEntry, node: NodeId) -> bool {
    matches!(entry.what, Happening::NodeDraining { node: of, .. } if of == node)
}

/// A cause, and its cause, and so on, nearest first.
fn chain(view: &View, cause: &Cause) -> Vec<wire::CauseLink> {
    let mut links = Vec::new();
    let mut next = Some(cause.clone());
    while let Some(cause) = next
        && links.len() < wire::WHY_ITEMS
    {
        let (command, event) = match &cause {
            Cause::Command(id) => (view.command(*id), None),
            Cause::Event(id) => (None, view.ledger.get(id)),
            // The one that took the place exists because somebody asked for it.
            Cause::Preemption { by, .. } => (None, view.ledger.values().find(|entry| entry.what.alloc() == Some(*by))),
            Cause::Drain { node } => (None, view.ledger.values().rev().find(|entry| asks_to_drain(entry, *node))),
            Cause::Report { .. } | Cause::Timer { .. } | Cause::Balance { .. } => (None, None),
        };
        links.push(wire::CauseLink {
            cause: cause.to_wire(view),
            command: command.map(|record| wire::Command::from(&**record)),
            event: event.map(|entry| entry.to_wire(view)),
        });
        next = event.map(|entry| entry.cause.clone());
    }
    links
}

/// The newest entries that are wanted, oldest first.
fn history(view: &View, wanted: impl Fn(&LedgerEntry) -> bool) -> Vec<wire::Event> {
    let newest = view.ledger.values().rev().filter(|entry| wanted(entry)).take(wire::WHY_ITEMS);
    let mut history: Vec<_> = newest.map(|entry| entry.to_wire(view)).collect();
    history.reverse();
    history
}
