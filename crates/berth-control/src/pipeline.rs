//! The way of changes to the store: commits go out in order, several at a time, and every effect that rests on a
//! change is held until the change is durable.
//!
//! While [`MAX_IN_FLIGHT`] commits are under way, changes gather in the journal, where they merge: a slow store makes
//! commits larger, not the queue longer.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::control::{CommitError, CommitId, Effect, RequestId, SessionId, StepDown};
use berth_model::{Desired, NodeId, Refusal};

use crate::journal::{Cut, cut};
use crate::leases::Asked;
use crate::state::State;

/// Commits under way at once.
pub(crate) const MAX_IN_FLIGHT: u64 = 16;
/// Requests that may wait for the store at once; more are refused.
pub(crate) const MAX_WAITING_REQUESTS: usize = 4_096;

/// An effect that waits for a commit.
#[derive(Debug)]
pub(crate) enum Held {
    /// Any.
    Effect(Effect),
    /// A desired state for a node: one at a time.
    Desired { node: NodeId, session: SessionId, desired: Box<Desired> },
    /// Leases for what is fenced on a node.
    Lease { node: NodeId, asked: Asked },
}

/// Whether the core still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    Ours,
    Lost(StepDown),
}

/// Commits under way and what waits for them.
#[derive(Debug)]
pub(crate) struct Pipeline {
    issued: u64,
    durable: u64,
    held: BTreeMap<CommitId, Vec<Held>>,
    /// What waits for the next commit to be issued, even where there is nothing to write: that it is carried out proves
    /// that this reign goes on.
    proven: Vec<Held>,
    waiting: BTreeSet<RequestId>,
    pub(crate) lead: Lead,
    /// The first commit of a reign goes out even when it has nothing but the epoch to write.
    greeted: bool,
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        Pipeline {
            issued: 0,
            durable: 0,
            held: BTreeMap::new(),
            proven: Vec::new(),
            waiting: BTreeSet::new(),
            lead: Lead::Ours,
            greeted: false,
        }
    }

    /// The pipeline of a reign that has begun, with nothing under way.
    pub(crate) fn under_way() -> Self {
        Pipeline { greeted: true, ..Pipeline::new() }
    }

    /// The last commit that went out.
    pub(crate) fn issued(&self) -> CommitId {
        CommitId(self.issued)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.issued == self.durable
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.waiting.len() >= MAX_WAITING_REQUESTS
    }

    pub(crate) fn await_reply(&mut self, request: RequestId) {
        self.waiting.insert(request);
    }

    /// Holds an effect until everything known so far is durable. Gives it back when it is.
    pub(crate) fn hold_for_all(&mut self, state: &mut State, effect: Held) -> Option<Held> {
        let effect = state.journal.hold_for_all(effect)?;
        if self.is_idle() && self.greeted {
            return Some(effect);
        }
        self.held.entry(self.issued().max(CommitId(1))).or_default().push(effect);
        None
    }

    /// Holds an effect until a commit has been carried out that is issued from now on.
    pub(crate) fn hold_for_proof(&mut self, effect: Held) {
        self.proven.push(effect);
    }

    /// Sends out as many commits as may be under way.
    pub(crate) fn flush(&mut self, state: &mut State, out: &mut Vec<Effect>) {
        while self.issued - self.durable < MAX_IN_FLIGHT {
            let mut cut = if !state.journal.is_empty() || !self.greeted {
                cut(state)
            } else if !self.proven.is_empty() {
                Cut::default()
            } else {
                break;
            };
            cut.effects.append(&mut self.proven);
            self.greeted = true;
            self.issued += 1;
            let commit = CommitId(self.issued);
            if !cut.effects.is_empty() {
                self.held.entry(commit).or_default().extend(cut.effects);
            }
            out.push(Effect::Commit { commit, mutations: cut.mutations });
        }
    }

    /// A commit is durable: what waited for it may go.
    pub(crate) fn committed(&mut self, commit: CommitId) -> Vec<Held> {
        assert!(commit.0 == self.durable + 1 && commit.0 <= self.issued, "commits become durable in order: {commit:?}");
        self.durable = commit.0;
        self.held.remove(&commit).unwrap_or_default()
    }

    pub(crate) fn replied(&mut self, request: RequestId) {
        self.waiting.remove(&request);
    }

    /// A commit failed: everyone who waits is told so, and nothing goes out any more.
    pub(crate) fn fail(&mut self, state: &mut State, error: CommitError, out: &mut Vec<Effect>) {
        let (refusal, why) = match error {
            CommitError::Conflict => (Refusal::NotLeader, StepDown::Conflict),
            CommitError::Unavailable => (Refusal::StoreUnavailable, StepDown::StoreFailed),
        };
        for request in std::mem::take(&mut self.waiting) {
            out.push(Effect::Reply { request, result: Err(refusal.clone()) });
        }
        self.held.clear();
        self.proven.clear();
        state.journal.clear();
        self.lead = Lead::Lost(why);
        out.push(Effect::StepDown(why));
    }
}
