//! A healthy cluster around the production core: machines that obey at once, and a store that keeps everything at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_control::{Beginning, CommitId, Core, Effect, Event, RequestId, SessionId, Settings};
use berth_model::{
    AllocId, BuiltIn, Command, CommandRequest, Desired, Digest, Ended, Epoch, Goal, Hello, IdempotencyKey, Incarnation,
    JobKind, JobSpec, Millis, Mutation, Namespace, NodeReport, ObservedAlloc, Order, Phase, Principal, Revision,
    Snapshot, Timestamp,
};

/// Ten years: no machine is silent for so long.
const NEVER: Millis = Millis::from_secs(10 * 365 * 24 * 3_600);

/// A machine's agent.
struct Agent {
    serial: u64,
    digest: Digest,
    allocs: Vec<ObservedAlloc>,
}

/// The core, its machines and its store.
pub(crate) struct Healthy {
    pub(crate) core: Core,
    pub(crate) now: Timestamp,
    /// Batch allocations that began to run, with their machine, for whoever ends them.
    pub(crate) batch: Vec<(usize, AllocId)>,
    /// Allocations that were written, for whoever looks at them; those who do not, clear it.
    pub(crate) written: Vec<AllocId>,
    agents: Vec<Agent>,
    effects: VecDeque<Effect>,
    stale: Vec<usize>,
    revision: u64,
    requests: u64,
}

impl Healthy {
    pub(crate) fn new(policy: BuiltIn) -> Healthy {
        let settings = Settings { policy, heartbeat: NEVER, heartbeat_grace: NEVER, ..Settings::default() };
        let epoch = Epoch { incarnation: Incarnation(1), counter: 1 };
        let now = Timestamp(1);
        let mut out = Vec::new();
        let core = Core::load(Beginning { settings, snapshot: Snapshot::default(), epoch, now }, &mut out);
        let mut healthy = Healthy {
            core,
            now,
            batch: Vec::new(),
            written: Vec::new(),
            agents: Vec::new(),
            effects: out.into(),
            stale: Vec::new(),
            revision: 0,
            requests: 0,
        };
        healthy.perform();
        healthy
    }

    /// A machine joins.
    pub(crate) fn connect(&mut self, hello: Hello) {
        let session = SessionId(self.agents.len() as u64);
        self.agents.push(Agent { serial: 0, digest: Digest::default(), allocs: Vec::new() });
        self.event(Event::AgentConnected { session, hello });
    }

    /// The step that takes a job; what follows from it is for [`Healthy::perform`].
    pub(crate) fn ask(&mut self, job: JobSpec) {
        self.requests += 1;
        let command = CommandRequest {
            principal: Principal("admin".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(format!("key-{}", self.requests)),
            plan: None,
            command: Command::Run(Box::new(job)),
        };
        self.step(Event::Command { request: RequestId(self.requests), command: Box::new(command) });
    }

    /// How many jobs were asked for.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// An allocation that runs has done its work; its machine says so when it reports.
    pub(crate) fn complete(&mut self, machine: usize, id: AllocId) {
        let observed = self.agents[machine].allocs.iter_mut().find(|observed| observed.id == id);
        observed.expect("what may end was reported").phase = Phase::Ended(Ended::Complete);
        self.stale.push(machine);
    }

    /// An event, and all that follows from it at once.
    pub(crate) fn event(&mut self, event: Event) {
        self.step(event);
        self.perform();
    }

    fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.core.step(self.now, event, &mut out);
        self.effects.extend(out);
    }

    /// Does what the core wants done.
    pub(crate) fn perform(&mut self) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Commit { commit, mutations } => self.committed(commit, &mutations),
                Effect::Send { session, order: Order::Desired(desired) } => self.obey(session, desired),
                Effect::Reply { result, .. } => {
                    result.expect("a good command to a core that leads and is not crowded is accepted");
                }
                Effect::Send { order: Order::Welcome { .. } | Order::Lease { .. }, .. } | Effect::WakeAt(_) => {}
                Effect::Close { reason, .. } => unreachable!("no machine does anything wrong: {reason}"),
                Effect::StepDown(why) => unreachable!("no commit fails: {why:?}"),
            }
        }
    }

    fn committed(&mut self, commit: CommitId, mutations: &[Mutation]) {
        for mutation in mutations {
            if let Mutation::PutAlloc(alloc) = mutation {
                self.written.push(alloc.id);
            }
        }
        self.revision += 1;
        self.step(Event::Committed { commit, revision: Revision(self.revision) });
    }

    /// What should run runs, and what should end is gone.
    fn obey(&mut self, session: SessionId, desired: Desired) {
        let index = usize::try_from(session.0).expect("an index");
        let agent = &mut self.agents[index];
        agent.digest = desired.digest;
        let known = std::mem::take(&mut agent.allocs);
        for alloc in desired.allocs {
            let phase = if alloc.goal == Goal::Run { Phase::Running } else { Phase::Ended(Ended::Stopped) };
            let known = known.iter().find(|observed| observed.id == alloc.id);
            if known.is_none() && alloc.kind == JobKind::Batch {
                self.batch.push((index, alloc.id));
            }
            let ended = known.filter(|observed| matches!(observed.phase, Phase::Ended(_)));
            let observed = ObservedAlloc { id: alloc.id, phase, tasks: BTreeMap::new() };
            agent.allocs.push(ended.cloned().unwrap_or(observed));
        }
        self.stale.push(index);
    }

    /// Machines on which something has changed say so.
    pub(crate) fn agents_report(&mut self) {
        while !self.stale.is_empty() {
            let mut stale = std::mem::take(&mut self.stale);
            stale.sort_unstable();
            stale.dedup();
            for index in stale {
                let agent = &mut self.agents[index];
                agent.serial += 1;
                let report = NodeReport {
                    serial: agent.serial,
                    digest: agent.digest,
                    conditions: BTreeSet::new(),
                    allocs: agent.allocs.clone(),
                };
                self.event(Event::AgentReport { session: SessionId(index as u64), report });
            }
        }
    }
}
