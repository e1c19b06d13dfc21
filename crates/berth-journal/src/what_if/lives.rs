//! How allocations fared: what their agents said of each, by the time since they were told to run it.

use std::collections::BTreeMap;

use berth_control::{Core, Effect, Event};
use berth_model::{
    AllocId, Command, Desired, Ended, Goal, Millis, NodeReport, ObservedAlloc, Order, Phase, TaskName, TaskStatus,
    Timestamp,
};

use super::slot::Slot;

/// What an agent said of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since it was told to run it.
    pub after: Millis,
    /// Where it stood.
    pub phase: Phase,
    /// Its tasks.
    pub tasks: BTreeMap<TaskName, TaskStatus>,
}

/// How one allocation fared.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// What was said of it, as long as it was meant to run.
    pub moments: Vec<Moment>,
    /// How long it took to stop, if it was told to and did.
    pub stop: Option<Millis>,
}

/// An allocation that an agent has been told to run.
#[derive(Debug)]
struct Begun {
    slot: Slot,
    /// Which of the slot's lives.
    number: usize,
    at: Timestamp,
    told_to_stop: Option<Timestamp>,
}

/// Every life of a segment.
#[derive(Debug, Default)]
pub struct Lives {
    by_slot: BTreeMap<Slot, Vec<Life>>,
    begun: BTreeMap<AllocId, Begun>,
    /// What the commands that stop one allocation meant, in their order.
    pub stops: Vec<Option<Slot>>,
}

impl Lives {
    /// How the slot's instance of this number fared: itself, else the last of its slot, else another of its group;
    /// with whether it is itself.
    pub fn of(&self, slot: &Slot, number: usize) -> Option<(&Life, bool)> {
        let own = self.by_slot.get(slot).map(Vec::as_slice).unwrap_or_default();
        let itself = own.get(number).map(|life| (life, true));
        let other = || {
            let first = Slot { index: 0, bound_to: None, ..slot.clone() };
            let group = self.by_slot.range(first..).take_while(|(other, _)| other.beside(slot));
            own.last().or_else(|| group.flat_map(|(_, lives)| lives).next()).map(|life| (life, false))
        };
        itself.or_else(other)
    }

    /// Notes what a command means before the core hears it.
    pub fn before(&mut self, event: &Event, core: &Core) {
        if let Event::Command { command, .. } = event
            && let Command::StopAlloc(id) = &command.command
        {
            self.stops.push(core.allocs().get(id).map(Slot::of));
        }
    }

    /// Takes what an agent says and what agents are told.
    pub fn after(&mut self, now: Timestamp, event: &Event, effects: &[Effect], core: &Core) {
        if let Event::AgentReport { report, .. } = event {
            self.report(now, report);
        }
        for effect in effects {
            if let Effect::Send { order: Order::Desired(desired), .. } = effect {
                self.desired(now, desired, core);
            }
        }
    }

    fn report(&mut self, now: Timestamp, report: &NodeReport) {
        for ObservedAlloc { id, phase, tasks } in &report.allocs {
            let Some(begun) = self.begun.get(id) else { continue };
            let life = &mut self.by_slot.get_mut(&begun.slot).expect("it has begun")[begun.number];
            if let Some(told) = begun.told_to_stop {
                if matches!(phase, Phase::Ended(_)) {
                    life.stop.get_or_insert(now.since(told));
                }
            } else if life.moments.last().is_none_or(|last| last.phase != *phase || last.tasks != *tasks) {
                let after = now.since(begun.at);
                life.moments.push(Moment { after, phase: phase.clone(), tasks: tasks.clone() });
            }
        }
    }

    fn desired(&mut self, now: Timestamp, desired: &Desired, core: &Core) {
        for wanted in &desired.allocs {
            match wanted.goal {
                Goal::Stop => {
                    if let Some(begun) = self.begun.get_mut(&wanted.id) {
                        begun.told_to_stop.get_or_insert(now);
                    }
                }
                Goal::Run if self.begun.contains_key(&wanted.id) => {}
                Goal::Run => {
                    let Some(alloc) = core.allocs().get(&wanted.id) else { continue };
                    let slot = Slot::of(alloc);
                    let lives = self.by_slot.entry(slot.clone()).or_default();
                    lives.push(Life::default());
                    let number = lives.len() - 1;
                    self.begun.insert(wanted.id, Begun { slot, number, at: now, told_to_stop: None });
                }
            }
        }
    }
}

impl Life {
    /// What was last said of it, this long after it was told to run; `None`: nothing yet.
    pub fn at(&self, after: Millis) -> Option<&Moment> {
        self.moments.iter().take_while(|moment| moment.after <= after).last()
    }
}

/// What is said of one that has stopped.
pub const STOPPED: Phase = Phase::Ended(Ended::Stopped);
