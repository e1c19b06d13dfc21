//! What came of a simulation, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::Options;
use crate::profile::ProfileName;
use crate::world::World;

/// What must hold. The numbers stay as they are; new ones are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// No core panics.
    NoPanic = 0,
    /// Nothing is over capacity and no port given twice, in the store and on the machines.
    Capacity = 1,
    /// Every allocation, change and entry of the ledger has a cause that was.
    Caused = 2,
    /// What was acknowledged is kept.
    AckedIsKept = 3,
    /// A command is applied once, however often it is sent.
    AppliedOnce = 4,
    /// An allocation is placed and runs on one node only.
    OneNode = 5,
    /// Epochs go forward in the store, and an agent obeys none that is older than one it has heard.
    EpochsGoForward = 6,
    /// Answers and orders tell only what is durable.
    DurableFirst = 7,
    /// After the faults have stopped everything becomes as it should be.
    Settles = 8,
    /// A task has one run at a time.
    OneRun = 9,
    /// An id is given once.
    IdsAreNew = 10,
    /// What has ended stays ended.
    EndIsFinal = 11,
    /// Effects, commits, queues and histories are bounded.
    Bounded = 12,
    /// A task is not started more often than its restart policy allows.
    RestartPolicy = 13,
    /// A request is answered once, and a command always alike.
    AnsweredOnce = 14,
    /// No more is replaced at once than the budget of the group allows.
    ReplaceBudget = 15,
    /// What was on a lost node is given up.
    LossIsFollowed = 16,
    /// Only lower priorities are preempted, and what takes a victim's place is left alone until it has proven itself.
    PreemptsDownwards = 17,
    /// No more is moved at once than the policy allows, and nothing goes before what takes over from it is ready.
    MovesKeepRunning = 18,
    /// Nothing new is placed on a node that is drained, and nothing is left on one that is called drained.
    DrainedIsEmpty = 19,
    /// What is fenced never runs beside another of its place.
    FencedAlone = 20,
}

impl Invariant {
    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it says.
    pub fn says(self) -> &'static str {
        match self {
            Invariant::NoPanic => "no core panics",
            Invariant::Capacity => "nothing is over capacity",
            Invariant::Caused => "every change has a cause",
            Invariant::AckedIsKept => "what was acknowledged is kept",
            Invariant::AppliedOnce => "a command is applied once",
            Invariant::OneNode => "an allocation is on one node only",
            Invariant::EpochsGoForward => "epochs go forward",
            Invariant::DurableFirst => "answers and orders tell only what is durable",
            Invariant::Settles => "everything settles after the faults have stopped",
            Invariant::OneRun => "a task has one run at a time",
            Invariant::IdsAreNew => "an id is given once",
            Invariant::EndIsFinal => "what has ended stays ended",
            Invariant::Bounded => "everything is bounded",
            Invariant::RestartPolicy => "restarts follow their policy",
            Invariant::AnsweredOnce => "a command is always answered alike",
            Invariant::ReplaceBudget => "replacements keep to their budget",
            Invariant::LossIsFollowed => "what was on a lost node is given up",
            Invariant::MovesKeepRunning => {
                "moves keep to their budget, and what is moved runs until the other is ready"
            }
            Invariant::DrainedIsEmpty => {
                "nothing comes to a node that is drained, and in the end nothing is left there"
            }
            Invariant::FencedAlone => "what is fenced never runs beside another of its place",
            Invariant::PreemptsDownwards => "only lower priorities are preempted, and not again and again",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// Its number.
    pub number: u8,
    /// When, in milliseconds since the simulation began.
    pub at_ms: u64,
    /// What was found.
    pub what: String,
    /// The last events before, oldest first: time in seconds and what happened.
    pub last_events: Vec<String>,
}

/// What came of one simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: String,
    /// What went wrong, and how often.
    pub profile: ProfileName,
    /// Machines of the cluster.
    pub nodes: usize,
    /// Allocations that were made.
    pub allocs: u64,
    /// Of these, those that were to take over from others for the sake of balance.
    pub moves: u64,
    /// How often a machine was cut off while something fenced ran there.
    pub cut_off_fenced: u64,
    /// Commands that users asked for.
    pub commands: usize,
    /// Servers that led, one after another.
    pub servers: u32,
    /// Commits of the store.
    pub commits: u64,
    /// Lines of the log.
    pub events: u64,
    /// A digest of all of them, in hexadecimal: the same for the same seed.
    pub digest: String,
    /// How long it took, in milliseconds of the simulation.
    pub simulated_ms: u64,
    /// How long everything took to settle after the last fault, in milliseconds of the simulation.
    pub settled_after_ms: Option<u64>,
    /// What did not hold; none if all is well.
    pub broken: Option<Broken>,
}

impl Outcome {
    pub(crate) fn of(seed: u64, options: &Options, world: &World) -> Outcome {
        let broken = world.violation.as_ref().map(|violation| Broken {
            invariant: violation.invariant,
            number: violation.invariant.number(),
            at_ms: violation.at,
            what: violation.what.clone(),
            last_events: world.log.last(),
        });
        Outcome {
            seed: seed.to_string(),
            profile: options.profile,
            nodes: world.machines.len(),
            allocs: world.facts.allocs,
            moves: world.facts.moves,
            cut_off_fenced: world.facts.cut_off_fenced,
            commands: world.clients.asked.len(),
            servers: world.servers_made,
            commits: world.store.revision.0,
            events: world.log.lines(),
            digest: format!("{:016x}", world.log.digest()),
            simulated_ms: world.now,
            settled_after_ms: world.settled_since.map(|at| at.saturating_sub(world.profile.faults_until)),
            broken,
        }
    }

    /// Whether every invariant held.
    pub fn is_well(&self) -> bool {
        self.broken.is_none()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} ({}): {} nodes, {} allocations, {} commands, {} servers, {} commits, {} events in {} s, digest {}",
            self.seed,
            self.profile,
            self.nodes,
            self.allocs,
            self.commands,
            self.servers,
            self.commits,
            self.events,
            self.simulated_ms / 1000,
            self.digest,
        )?;
        let Some(broken) = &self.broken else {
            let settled = self.settled_after_ms.unwrap_or_default();
            return write!(f, "every invariant held; settled {settled} ms after the last fault");
        };
        let says = broken.invariant.says();
        writeln!(f, "invariant {} does not hold: {says}", broken.number)?;
        writeln!(f, "at {}.{:03} s: {}", broken.at_ms / 1000, broken.at_ms % 1000, broken.what)?;
        writeln!(f, "the last events:")?;
        for line in &broken.last_events {
            writeln!(f, "  {line}")?;
        }
        write!(f, "again: berth sim run --profile {} --seed {}", self.profile, self.seed)
    }
}
