//! Plans: a change is carried out on a copy of the core, by the core's own code, until the copy is at rest.
//!
//! Nothing here decides. [`copy`] makes the copy, [`future`] tells it what nodes that do as they are told would report,
//! and [`outcome`] compares what was with what has become of it.

mod budget;
mod copy;
mod future;
mod outcome;

use berth_model::{
    Basis, Command, CommandRequest, EventId, IdempotencyKey, Namespace, NodeId, Plan, PlanEnd, PlanId, PlanRequest,
    Planned, PlannedChange, PlannedWait, Principal, Refusal, Timestamp, WaitReason,
};

use crate::core::Core;
use crate::digest::{Hash128, digest128};
use future::Future;

/// The state of a core at one moment, to plan on while the core goes on.
#[derive(Debug)]
pub struct Planner(Core);

impl Planner {
    /// What would come of a change that `principal` proposes, with regret before and after.
    pub fn plan(&self, now: Timestamp, principal: &Principal, request: &PlanRequest) -> Result<Plan, Refusal> {
        // One copy after the other: each is as large as the state.
        let regret_before = self.0.copy().regret_permille();
        let (plan, mut after) = self.0.look_ahead(now, principal, request)?;
        Ok(Plan { regret_before, regret_after: after.regret_permille(), ..plan })
    }
}

impl Core {
    /// The state as it is, commits under way included.
    pub fn planner(&self) -> Planner {
        Planner(self.copy())
    }

    /// What would come of a change that `principal` proposes, but for regret. The core itself stays as it is.
    pub fn plan(&self, now: Timestamp, principal: &Principal, request: &PlanRequest) -> Result<Plan, Refusal> {
        Ok(self.look_ahead(now, principal, request)?.0)
    }

    /// What would come of a change, and the copy on which it has.
    fn look_ahead(
        &self,
        now: Timestamp,
        principal: &Principal,
        request: &PlanRequest,
    ) -> Result<(Plan, Core), Refusal> {
        let mut future = Future::new(self.copy(), now);
        match request {
            PlanRequest::Command(command) => future.command(self.request(principal, command)?)?,
            PlanRequest::Lose(nodes) => future.lose(nodes),
        }
        let end = future.come_to_rest();
        let (changes, waits) = outcome::compare(self, &future);
        let meta = self.meta();
        let plan = Plan {
            id: id_of(&changes, &waits, end),
            basis: Basis { epoch: meta.epoch, event: EventId::new(meta.incarnation, meta.events) },
            changes,
            waits,
            broken_budgets: future.broken_budgets(),
            before: self.utilisation(),
            after: future.core.utilisation(),
            regret_before: None,
            regret_after: None,
            end,
        };
        Ok((plan, future.core))
    }

    /// Refuses a command that would by now do something else than the plan says under which it was sent.
    pub(crate) fn check_plan(&self, command: &CommandRequest) -> Result<(), Refusal> {
        let Some(plan) = command.plan else { return Ok(()) };
        let request = PlanRequest::Command(command.command.clone());
        let now = self.plan(self.now, &command.principal, &request)?;
        if now.id == plan { Ok(()) } else { Err(Refusal::PlanChanged { plan, now: now.id }) }
    }

    fn request(&self, principal: &Principal, command: &Command) -> Result<CommandRequest, Refusal> {
        let namespace = match command {
            Command::Run(spec) => spec.id.namespace.clone(),
            Command::Stop(job) => job.namespace.clone(),
            Command::StopAlloc(alloc) => self.namespace_of(*alloc)?,
            Command::SetPolicy { .. }
            | Command::Drain { .. }
            | Command::Enable(_)
            | Command::Trust(_)
            | Command::Abandon(_)
            | Command::Finalise(_) => Namespace::default(),
        };
        Ok(CommandRequest {
            principal: principal.clone(),
            namespace,
            key: IdempotencyKey("plan".to_owned()),
            plan: None,
            command: command.clone(),
        })
    }

    fn namespace_of(&self, alloc: berth_model::AllocId) -> Result<Namespace, Refusal> {
        let known = self.state.allocs.get(&alloc).ok_or(Refusal::NoSuchAlloc(alloc))?;
        Ok(known.job.namespace.clone())
    }
}

/// What tells one plan from another: who goes where, when and in whose place. Ids of what does not exist yet, times
/// and numbers in reasons are left out, since they differ where the plan is the same.
fn id_of(changes: &[PlannedChange], waits: &[PlannedWait], end: PlanEnd) -> PlanId {
    let from = |what: &Planned| -> Option<NodeId> {
        match what {
            Planned::Start(_) => None,
            Planned::Replace(source, _) | Planned::Move(source, _) | Planned::Stop(source) => Some(source.node),
        }
    };
    let to = |what: &Planned| match what {
        Planned::Start(target) | Planned::Replace(_, target) | Planned::Move(_, target) => Some(target.clone()),
        Planned::Stop(_) => None,
    };
    let changes: Vec<_> = changes
        .iter()
        .map(|c| {
            (c.wave, c.job.clone(), c.group.clone(), c.index, c.version, from(&c.what), to(&c.what), c.preempts.clone())
        })
        .collect();
    let waits: Vec<_> = waits
        .iter()
        .map(|w| (w.job.clone(), w.group.clone(), w.index, w.bound_to, w.version, kind(&w.reason), w.preempts.clone()))
        .collect();
    let Hash128(digest) = digest128(&(changes, waits, end));
    PlanId(digest)
}

fn kind(reason: &WaitReason) -> (u8, Vec<berth_model::Filter>) {
    match reason {
        WaitReason::Queued => (0, Vec::new()),
        WaitReason::NoNodes => (1, Vec::new()),
        WaitReason::NoNodeFits { filtered, .. } => (2, filtered.keys().cloned().collect()),
        WaitReason::BackOff { .. } => (3, Vec::new()),
        WaitReason::GangIncomplete { filtered, .. } => (4, filtered.keys().cloned().collect()),
        WaitReason::Preempting { .. } => (5, Vec::new()),
    }
}
