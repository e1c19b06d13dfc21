//! Why things wait, with the numbers of this moment.
//!
//! The view has the reasons that are stored, whose numbers are as old as their kind; the core knows what the cluster
//! looks like now. It is asked once for all that wait for the same reason, one small question after the other, so that
//! no heartbeat waits behind a long one. While nobody leads, the stored reasons have to do.

use std::collections::BTreeMap;

use berth_api::wire::v1::{self as wire, ToWire as _};
use berth_model::{GroupName, JobId, NodeId};

use super::Api;

/// Allocations with the same class wait for the same reason, back-offs apart.
type Class = (JobId, u64, GroupName, Option<NodeId>);

/// Groups of a job that waits about which advice is given: each costs the core as much as some hundred placements.
const ADVISED_GROUPS: usize = 3;

/// Puts the present reasons in place of the stored ones.
pub async fn refresh(api: &Api, allocs: Vec<&mut wire::Alloc>) {
    let mut known: BTreeMap<Class, wire::WaitReason> = BTreeMap::new();
    for alloc in allocs {
        let wire::AllocState::Waiting { reason, .. } = &mut alloc.state else { continue };
        if is_back_off(reason) {
            continue;
        }
        let bound_to = alloc.bound_to.as_ref().map(|node| node.id.0);
        let class = (alloc.job.0.clone(), alloc.version.0, alloc.group.0.clone(), bound_to);
        if !known.contains_key(&class)
            && let Some(present) = ask(api, alloc.id.0).await
        {
            known.insert(class.clone(), present);
        }
        if let Some(present) = known.get(&class) {
            *reason = present.clone();
        }
    }
}

/// The same for groups that were put together by what is stored; those that turn out to be equal become one.
pub async fn refresh_groups(api: &Api, groups: &mut Vec<wire::WaitingGroup>) {
    groups.truncate(wire::WHY_ITEMS);
    let mut merged: Vec<wire::WaitingGroup> = Vec::new();
    for mut group in std::mem::take(groups) {
        if !is_back_off(&group.reason)
            && let Some(present) = ask(api, group.example.0).await
        {
            group.reason = present;
        }
        match merged.iter_mut().find(|known| known.group == group.group && known.reason == group.reason) {
            Some(known) => known.allocs += group.allocs,
            None => merged.push(group),
        }
    }
    *groups = merged;
}

/// What could be done about an allocation that waits for a place.
pub async fn advice(api: &Api, alloc: &wire::Alloc) -> Option<wire::Advice> {
    match &alloc.state {
        wire::AllocState::Waiting { .. } => ask_advice(api, alloc.id.0).await,
        wire::AllocState::Placed { .. }
        | wire::AllocState::Running { .. }
        | wire::AllocState::Stopping { .. }
        | wire::AllocState::Ended { .. } => None,
    }
}

/// The same for the first groups, by their examples.
pub async fn advise_groups(api: &Api, groups: &mut [wire::WaitingGroup]) {
    for group in groups.iter_mut().take(ADVISED_GROUPS) {
        group.advice = ask_advice(api, group.example.0).await;
    }
}

async fn ask_advice(api: &Api, alloc: berth_model::AllocId) -> Option<wire::Advice> {
    let advice = api.inputs.advice(alloc).await?;
    Some(advice.to_wire(&*api.shared.view()))
}

/// Everybody who waits for the end of a back-off waits for another one, and its time does not change.
fn is_back_off(reason: &wire::WaitReason) -> bool {
    match reason {
        wire::WaitReason::BackOff { .. } => true,
        wire::WaitReason::Queued
        | wire::WaitReason::NoNodes
        | wire::WaitReason::NoNodeFits { .. }
        | wire::WaitReason::GangIncomplete { .. }
        | wire::WaitReason::Preempting { .. } => false,
    }
}

/// None: nobody leads, or it does not wait any more.
async fn ask(api: &Api, alloc: berth_model::AllocId) -> Option<wire::WaitReason> {
    let reason = api.inputs.wait_reason(alloc).await?;
    Some(reason.to_wire(&*api.shared.view()))
}
