//! Moves for the sake of balance, looked at from the commits and what is durable alone.

use std::collections::BTreeMap;

use berth_model::{Alloc, AllocId, AllocState, Cause, Mutation};

use crate::Invariant;
use crate::world::World;

impl World {
    /// Checks the moves that a commit begins or ends.
    pub(crate) fn check_moves(&mut self, mutations: &[Mutation]) {
        let put: BTreeMap<AllocId, &Alloc> = put(mutations).map(|alloc| (alloc.id, alloc)).collect();
        if let Some((moving, allowed)) = self.moves_begun(&put, mutations) {
            let what = format_args!("{moving} are moved, of {allowed}");
            self.holds(Invariant::MovesKeepRunning, moving <= allowed, what);
        }
        if let Some(old) = self.gone_too_early(&put) {
            let what = format_args!("{old} is to stop, and what takes over from it is not ready");
            self.broken(Invariant::MovesKeepRunning, what);
        }
    }

    /// How many moves are under way after a commit that begins some, and how many may be.
    fn moves_begun(&self, put: &BTreeMap<AllocId, &Alloc>, mutations: &[Mutation]) -> Option<(usize, usize)> {
        put.values().find(|alloc| alloc.moved_from().is_some() && !self.store.allocs.contains_key(&alloc.id))?;
        let written = mutations.iter().rev().find_map(|mutation| match mutation {
            Mutation::PutPolicy(set) => Some(&**set),
            _ => None,
        });
        let policy = written.or(self.store.policy.as_ref());
        let allowed = policy.map_or(0, |set| set.policy.spec.balance.at_most());
        let lives = |id| self.once(put, id).is_some_and(|old| !old.is_ended());
        let stored = self.store.allocs.values().filter(|alloc| !put.contains_key(&alloc.id));
        let after = stored.chain(put.values().copied());
        let moving = after.filter(|alloc| is_wanted(alloc) && alloc.moved_from().is_some_and(lives)).count();
        Some((moving, usize::try_from(allowed).unwrap_or(usize::MAX)))
    }

    /// One that the commit tells to stop, for the sake of one that is to take over and is not ready.
    fn gone_too_early(&self, put: &BTreeMap<AllocId, &Alloc>) -> Option<AllocId> {
        let follows = |alloc: &&&Alloc| matches!(alloc.state, AllocState::Stopping { cause: Cause::Event(_), .. });
        let begins = |alloc: &&&Alloc| self.store.allocs.get(&alloc.id).is_some_and(is_wanted);
        let too_early = |old: &&&Alloc| {
            let stored = self.store.allocs.values().filter(|alloc| alloc.moved_from() == Some(old.id));
            let made = put.values().copied().filter(|alloc| alloc.moved_from() == Some(old.id));
            let after = stored.chain(made).filter_map(|alloc| self.once(put, alloc.id));
            after.filter(|new| is_wanted(new)).any(|new| !is_ready(new))
        };
        put.values().filter(follows).filter(begins).find(too_early).map(|old| old.id)
    }

    /// An allocation as it is after a commit.
    fn once<'a>(&'a self, put: &BTreeMap<AllocId, &'a Alloc>, id: AllocId) -> Option<&'a Alloc> {
        put.get(&id).copied().or_else(|| self.store.allocs.get(&id))
    }
}

fn put(mutations: &[Mutation]) -> impl Iterator<Item = &Alloc> {
    mutations.iter().filter_map(|mutation| match mutation {
        Mutation::PutAlloc(alloc) => Some(&**alloc),
        _ => None,
    })
}

fn is_wanted(alloc: &Alloc) -> bool {
    match alloc.state {
        AllocState::Placed { .. } | AllocState::Running { .. } => true,
        AllocState::Waiting { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => false,
    }
}

fn is_ready(alloc: &Alloc) -> bool {
    matches!(alloc.state, AllocState::Running { ready: Some(_), .. })
}
