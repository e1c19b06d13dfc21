//! Why an allocation is where it is: its state with its reasons, the chain of causes behind it, and the instances
//! before and after it in its slot.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, CommandRecord, Happening, JobId, LedgerEntry, NodeId, NodeName, Outcome,
    WaitReason,
};

use crate::core::Core;
use crate::index::{ClassKey, Slot};

/// Steps that a chain of causes, or of instances, is followed.
const MAX_STEPS: usize = 32;

/// Why an allocation is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The allocation: its placement with the explanation, its stored reason, its end.
    pub alloc: Alloc,
    /// The newest reason for waiting, with numbers as of the last look; None when it does not wait.
    pub waiting: Option<WaitReason>,
    /// What led here: the newest entry about it, the entry behind that, and so on to a command, report or timer.
    pub chain: Vec<LedgerEntry>,
    /// The command at the end of the chain, while it is kept.
    pub command: Option<CommandRecord>,
    /// The instances whose place it took, newest first.
    pub replaces: Vec<Kin>,
    /// The instances that took its place, oldest first.
    pub replaced_by: Vec<Kin>,
    /// The name of every node that is mentioned and known.
    pub nodes: BTreeMap<NodeId, NodeName>,
}

/// Another instance of the same slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kin {
    /// Which.
    pub alloc: AllocId,
    /// Where it is or was.
    pub node: Option<NodeId>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// What ended it or tells it to end, if anything does.
    pub cause: Option<Cause>,
}

impl Core {
    /// Why the allocation is where it is.
    pub fn why(&self, id: AllocId) -> Option<Why> {
        let alloc = self.state.allocs.get(&id)?.clone();
        let waiting = match &alloc.state {
            AllocState::Waiting { reason: reason @ WaitReason::BackOff { .. }, .. } => Some(reason.clone()),
            // A system job's reason is about its own node; the class has none in common.
            AllocState::Waiting { reason, .. } if alloc.bound_to.is_some() => Some(reason.clone()),
            AllocState::Waiting { reason, .. } => {
                Some(self.latest_reasons.get(&ClassKey::of(&alloc)).unwrap_or(reason).clone())
            }
            AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => None,
        };
        let chain = self.chain(&alloc);
        let command = chain.last().map_or(&alloc.cause, |entry| &entry.cause);
        let command = match command {
            Cause::Command(id) => self.command_record(*id).cloned(),
            Cause::Event(_) | Cause::Report { .. } | Cause::Timer { .. } => None,
        };
        let mut why = Why {
            waiting,
            chain,
            command,
            replaces: self.predecessors(&alloc),
            replaced_by: self.successors(&alloc),
            nodes: BTreeMap::new(),
            alloc,
        };
        why.nodes = self.names(&why);
        Some(why)
    }

    /// Why each allocation of the job that has not ended is where it is; of a job without such, its newest ones.
    pub fn why_job(&self, job: &JobId) -> Vec<Why> {
        let allocs = self.job_allocs(job);
        let mut of: Vec<AllocId> = allocs.iter().filter(|alloc| !alloc.is_ended()).map(|alloc| alloc.id).collect();
        if of.is_empty() {
            of = allocs.iter().rev().take(MAX_STEPS).map(|alloc| alloc.id).collect();
            of.sort_unstable();
        }
        of.into_iter().filter_map(|id| self.why(id)).collect()
    }

    /// The entries behind an allocation's state, newest first.
    fn chain(&self, alloc: &Alloc) -> Vec<LedgerEntry> {
        let mut chain: Vec<LedgerEntry> = Vec::new();
        let mut next = self.state.cause_of(alloc);
        while let Cause::Event(id) = next {
            let Some(entry) = self.state.ledger.get(&id).filter(|_| chain.len() < MAX_STEPS) else { break };
            chain.push(entry.clone());
            next = entry.cause.clone();
        }
        chain
    }

    fn predecessors(&self, alloc: &Alloc) -> Vec<Kin> {
        let mut kin = Vec::new();
        let mut next = alloc.replaces;
        while let Some(old) = next.and_then(|id| self.state.allocs.get(&id)).filter(|_| kin.len() < MAX_STEPS) {
            kin.push(kin_of(old));
            next = old.replaces;
        }
        kin
    }

    fn successors(&self, alloc: &Alloc) -> Vec<Kin> {
        let Some(slot) = self.state.index.slot(&alloc.job, &alloc.group, Slot::of(alloc)) else { return Vec::new() };
        let mut line = vec![alloc.id];
        // Successors are made later, so ids only grow along the line.
        for id in slot.ended.iter().chain(slot.live.iter()).collect::<std::collections::BTreeSet<_>>() {
            if line.len() <= MAX_STEPS && self.alloc(*id).replaces.is_some_and(|old| line.contains(&old)) {
                line.push(*id);
            }
        }
        line[1..].iter().map(|id| kin_of(self.alloc(*id))).collect()
    }

    fn names(&self, why: &Why) -> BTreeMap<NodeId, NodeName> {
        let mut ids: Vec<NodeId> = why.alloc.placement().map(|p| p.node).into_iter().collect();
        ids.extend(why.alloc.placement().and_then(|p| p.explanation.runner_up.as_ref()).map(|(node, _)| *node));
        ids.extend(why.alloc.bound_to);
        if let Some(WaitReason::NoNodeFits { nearest: Some((node, _)), .. }) = &why.waiting {
            ids.push(*node);
        }
        ids.extend(why.replaces.iter().chain(&why.replaced_by).filter_map(|kin| kin.node));
        let mut names: BTreeMap<NodeId, NodeName> = BTreeMap::new();
        for entry in &why.chain {
            match &entry.what {
                Happening::NodeReady { node, name }
                | Happening::NodeLost { node, name }
                | Happening::NodeCollected { node, name } => {
                    names.insert(*node, name.clone());
                }
                Happening::AllocPlaced { node, .. } | Happening::AllocRunning { node, .. } => ids.push(*node),
                Happening::JobVersion { .. }
                | Happening::JobStopping(_)
                | Happening::JobEnded { .. }
                | Happening::JobCollected(_)
                | Happening::AllocCreated { .. }
                | Happening::AllocWaiting { .. }
                | Happening::AllocReady { .. }
                | Happening::TaskRestarting { .. }
                | Happening::AllocStopping { .. }
                | Happening::AllocEnded { .. } => {}
            }
        }
        let known = ids.iter().filter_map(|id| Some((*id, self.state.nodes.get(id)?.fingerprint.name.clone())));
        names.extend(known);
        names
    }
}

fn kin_of(alloc: &Alloc) -> Kin {
    let (outcome, cause) = match &alloc.state {
        AllocState::Ended { outcome, cause, .. } => (Some(outcome.clone()), Some(cause.clone())),
        AllocState::Stopping { cause, .. } => (None, Some(cause.clone())),
        AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => (None, None),
    };
    Kin { alloc: alloc.id, node: alloc.placement().map(|p| p.node), outcome, cause }
}
