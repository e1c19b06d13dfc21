//! The invariants of the end: when nothing fails any more, everything becomes as it should be, in bounded time.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocId, AllocState, Command, CommandId, CommandOutcome, DeviceAmount, DeviceSpec, Domain, GroupName,
    GroupSpec, Job, JobId, JobKind, JobName, JobState, Node, NodeId, Operator, Outcome, PolicyVersion, Sense,
    ShimTaskState, Strength, TaskState, WaitReason,
};

use crate::Invariant;
use crate::clients::job_of;
use crate::world::World;

/// What is not yet as it should be.
type Complaint = String;

impl World {
    /// Looks at everything; ends the simulation when all is well for long enough, or not for too long.
    pub(crate) fn judge(&mut self) {
        match self.complaint() {
            Ok(()) => {
                let since = *self.settled_since.get_or_insert(self.now);
                if self.now >= since + self.profile.stay {
                    self.check_acknowledged();
                    self.note(format_args!("settled"));
                    self.done = true;
                }
            }
            Err(complaint) => {
                self.settled_since = None;
                if self.now >= self.profile.faults_until + self.profile.settle_within {
                    self.broken(Invariant::Settles, format_args!("{complaint}"));
                }
            }
        }
    }

    fn complaint(&self) -> Result<(), Complaint> {
        if !self.clients.all_answered() {
            return Err("a client waits for its answer".to_owned());
        }
        if self.lead.is_none() || self.servers.len() != 1 {
            return Err("not one server leads".to_owned());
        }
        let lost = self.store.nodes.values().find(|node| !node.is_eligible());
        if let Some(node) = lost {
            return Err(format!("{} has power and is lost", node.id));
        }
        self.jobs_are_served()?;
        self.allocs_are_at_rest()?;
        self.little_that_has_ended_is_kept()?;
        self.machines_agree()
    }

    /// No more of what has ended is kept than the settings say, but for how the last one in each place of a wanted job
    /// ended, while nothing has followed it there.
    fn little_that_has_ended_is_kept(&self) -> Result<(), Complaint> {
        let place = |alloc: &Alloc| (alloc.job.clone(), alloc.group.clone(), alloc.index, alloc.bound_to);
        let newest: BTreeMap<_, &Alloc> = self.store.allocs.values().map(|alloc| (place(alloc), alloc)).collect();
        let last_of_wanted = |alloc: &Alloc| {
            let newest = newest[&place(alloc)];
            let followed = newest.id != alloc.id && !matches!(newest.state, AllocState::Waiting { .. });
            !followed && self.store.jobs.get(&alloc.job).is_some_and(|job| job.state == JobState::Active)
        };
        let spent = self.store.allocs.values().filter(|alloc| alloc.is_ended() && !last_of_wanted(alloc)).count();
        let allowed = crate::server::settings(&self.profile).keep_ended_max;
        if u64::try_from(spent).unwrap_or(u64::MAX) <= allowed {
            return Ok(());
        }
        Err(format!("{spent} ended allocations are kept for questions, {allowed} are allowed"))
    }

    fn jobs_are_served(&self) -> Result<(), Complaint> {
        let mut by_job: BTreeMap<&JobId, Vec<&Alloc>> = BTreeMap::new();
        for alloc in self.store.allocs.values() {
            by_job.entry(&alloc.job).or_default().push(alloc);
        }
        for job in self.store.jobs.values() {
            let allocs = by_job.get(&job.spec.id).map_or(&[][..], Vec::as_slice);
            match &job.state {
                JobState::Active => self.job_is_served(job, allocs)?,
                JobState::Stopping { .. } => return Err(format!("{} is stopping", job.spec.id)),
                JobState::Ended { .. } if allocs.iter().any(|alloc| !alloc.is_ended()) => {
                    return Err(format!("{} has ended and has allocations", job.spec.id));
                }
                JobState::Ended { .. } => {}
            }
        }
        let orphan = self.store.allocs.values().find(|a| !a.is_ended() && !self.store.jobs.contains_key(&a.job));
        orphan.map_or(Ok(()), |alloc| Err(format!("{} is of a job that is forgotten", alloc.id)))
    }

    fn job_is_served(&self, job: &Job, allocs: &[&Alloc]) -> Result<(), Complaint> {
        for group in &job.spec.groups {
            let of_group: Vec<&Alloc> = allocs.iter().copied().filter(|alloc| alloc.group == group.name).collect();
            match job.spec.kind {
                JobKind::Service | JobKind::Batch => self.indices_are_served(job, group, &of_group)?,
                JobKind::System => self.nodes_are_served(job, group, &of_group)?,
            }
        }
        let gone = |alloc: &&&Alloc| !alloc.is_ended() && job.spec.group(&alloc.group).is_none();
        allocs.iter().find(gone).map_or(Ok(()), |a| Err(format!("{} is of a group that is gone", a.id)))
    }

    fn indices_are_served(&self, job: &Job, group: &GroupSpec, allocs: &[&Alloc]) -> Result<(), Complaint> {
        for index in 0..group.count {
            let name = format!("{}.{}[{index}]", job.spec.id, group.name);
            let at_index = || allocs.iter().copied().filter(|a| a.index == index);
            let newest: Vec<&Alloc> = at_index().filter(|a| self.is_current(job, a)).collect();
            if job.spec.kind == JobKind::Batch && work_is_over(at_index()) {
                continue;
            }
            let open: Vec<&Alloc> = newest.iter().copied().filter(|a| !a.is_ended()).collect();
            let older = at_index().filter(|a| !a.is_ended() && !self.is_current(job, a)).count();
            match open.as_slice() {
                [one] => self.is_served(job, group, one, older)?,
                // An update in which the budget is spent on those that wait for room.
                [] if older == 1 && self.update_waits(job, allocs) => {}
                several => return Err(format!("{name} has {} allocations and {older} older ones", several.len())),
            }
        }
        let beyond = allocs.iter().find(|a| !a.is_ended() && a.index >= group.count);
        beyond.map_or(Ok(()), |a| Err(format!("{} is beyond the count of {}", a.id, job.spec.id)))
    }

    /// Whether an allocation runs what the newest version says; one that changes only counts, budgets or texts
    /// replaces nothing.
    fn is_current(&self, job: &Job, alloc: &Alloc) -> bool {
        let Some(old) = self.store.spec(&alloc.job, alloc.version) else { return false };
        let alike = |old: &GroupSpec, new: &GroupSpec| {
            (&old.tasks, &old.constraints, old.network, &old.restart, old.lease())
                == (&new.tasks, &new.constraints, new.network, &new.restart, new.lease())
        };
        let groups = old.group(&alloc.group).zip(job.spec.group(&alloc.group));
        old.constraints == job.spec.constraints && groups.is_some_and(|(old, new)| alike(old, new))
    }

    fn update_waits(&self, job: &Job, allocs: &[&Alloc]) -> bool {
        allocs.iter().any(|a| self.is_current(job, a) && matches!(a.state, AllocState::Waiting { .. }))
    }

    fn nodes_are_served(&self, job: &Job, group: &GroupSpec, allocs: &[&Alloc]) -> Result<(), Complaint> {
        for node in self.store.nodes.values() {
            let here: Vec<&Alloc> =
                allocs.iter().copied().filter(|a| !a.is_ended() && a.bound_to == Some(node.id)).collect();
            if !admits(job, group, node) {
                if let [alloc, ..] = here.as_slice() {
                    return Err(format!("{} is for {}, which its constraints refuse", alloc.id, node.id));
                }
                continue;
            }
            let (newest, older): (Vec<&Alloc>, Vec<&Alloc>) = here.iter().partition(|a| self.is_current(job, a));
            match newest.as_slice() {
                [one] => self.is_served(job, group, one, older.len())?,
                [] if older.len() == 1 && self.update_waits(job, allocs) => {}
                several => {
                    let name = format!("{}.{}", job.spec.id, group.name);
                    return Err(format!(
                        "{name} has {} allocations on {} and {} older",
                        several.len(),
                        node.id,
                        older.len()
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_served(&self, job: &Job, group: &GroupSpec, alloc: &Alloc, older: usize) -> Result<(), Complaint> {
        let id = alloc.id;
        match &alloc.state {
            AllocState::Running { ready: Some(_), .. } if older == 0 && job.spec.kind != JobKind::Batch => Ok(()),
            AllocState::Running { .. } | AllocState::Placed { .. } | AllocState::Stopping { .. } => {
                Err(format!("{id} of {} is {} with {older} older", alloc.job, short(&alloc.state)))
            }
            AllocState::Waiting { reason: WaitReason::NoNodeFits { .. }, .. } => {
                match self.store.nodes.values().find(|node| self.fits(job, group, alloc, node)) {
                    Some(node) => Err(format!("{id} waits although it fits {}", node.id)),
                    None => Ok(()),
                }
            }
            // Whether all of them would fit is a puzzle of its own; that none is placed alone is checked with every plan.
            AllocState::Waiting { reason: WaitReason::GangIncomplete { .. }, .. } => Ok(()),
            AllocState::Waiting { reason, .. } => Err(format!("{id} waits: {reason:?}")),
            AllocState::Ended { .. } => Err(format!("{id} has ended")),
        }
    }

    /// Whether a node could take one more of a group.
    fn fits(&self, job: &Job, group: &GroupSpec, alloc: &Alloc, node: &Node) -> bool {
        let used = self.facts.used.get(&node.id).copied().unwrap_or_default();
        let free = node.fingerprint.resources - used;
        let bound = alloc.bound_to.is_none_or(|bound| bound == node.id);
        let taken = |port| self.facts.ports.contains_key(&(node.id, port));
        let fixed_free = || group.ports().filter_map(|port| port.fixed).all(|port| !taken(port));
        let devices = || group.tasks.iter().flat_map(|task| &task.devices).all(|wish| self.has_devices(node, wish));
        // In order of what they take: this is asked of every node while anything waits.
        bound
            && group.resources().fits_in(&free)
            && admits(job, group, node)
            && fixed_free()
            && devices()
            && self.has_company(job, group, node)
    }

    /// Whether a group's rules let one more of it onto a node.
    fn has_company(&self, job: &Job, group: &GroupSpec, node: &Node) -> bool {
        let part = |domain: &Domain, node: &Node| match domain {
            Domain::Node => Some(node.id.to_string()),
            Domain::Attribute(key) => node.fingerprint.attributes.get(key).cloned(),
        };
        let here = |domain: &Domain, of: &JobName, only: Option<&GroupName>| {
            let members = self
                .store
                .allocs
                .values()
                .filter(|other| other.job.name == *of && only.is_none_or(|only| other.group == *only));
            let nodes = members.filter_map(|other| self.store.nodes.get(&other.occupies()?));
            nodes.filter(|other| part(domain, other) == part(domain, node)).count()
        };
        let name = &job.spec.id.name;
        let few = group.rules.at_most.iter().all(|rule| {
            part(&rule.per, node).is_some() && here(&rule.per, name, Some(&group.name)) < rule.count as usize
        });
        few && group.rules.relations.iter().all(|rule| match (rule.sense, rule.strength) {
            (Sense::Apart, Strength::Required) => here(&rule.within, &rule.to.job, None) == 0,
            (Sense::Near | Sense::Apart, Strength::Preferred(_)) => true,
            (Sense::Near, Strength::Required) => unreachable!("simulated groups require nobody near"),
        }) && !self.is_shunned(job, node, &part)
    }

    /// Whether somebody on the node, or in the same part of the cluster, must not have the job near.
    fn is_shunned(&self, job: &Job, node: &Node, part: &impl Fn(&Domain, &Node) -> Option<String>) -> bool {
        self.store.allocs.values().any(|other| {
            let Some(there) = other.occupies().and_then(|id| self.store.nodes.get(&id)) else { return false };
            let group = self.store.spec(&other.job, other.version).and_then(|spec| spec.group(&other.group));
            group.into_iter().flat_map(|group| &group.rules.relations).any(|rule| {
                (rule.sense, rule.strength) == (Sense::Apart, Strength::Required)
                    && rule.to.job == job.spec.id.name
                    && part(&rule.within, there) == part(&rule.within, node)
            })
        })
    }

    /// Whether a node has what a wish asks for. Exact, since no group of this world has two.
    fn has_devices(&self, node: &Node, wish: &DeviceSpec) -> bool {
        let (devices, each) = match wish.amount {
            DeviceAmount::Count(count) => (count as usize, 1000),
            DeviceAmount::Share(share) => (1, u64::from(share.0)),
        };
        let free = node.fingerprint.devices.iter().filter(|device| {
            let taken = self.facts.devices.get(&(node.id, device.id.clone())).copied().unwrap_or(0);
            device.kind == wish.kind && taken + each <= 1000
        });
        free.count() >= devices
    }

    fn allocs_are_at_rest(&self) -> Result<(), Complaint> {
        let moving = |a: &&Alloc| matches!(a.state, AllocState::Placed { .. } | AllocState::Stopping { .. });
        let moving = self.store.allocs.values().find(moving);
        moving.map_or(Ok(()), |a| Err(format!("{} of {} is {}", a.id, a.job, short(&a.state))))
    }

    /// What runs is what the store says runs, with the pids that it says.
    fn machines_agree(&self) -> Result<(), Complaint> {
        for (number, machine) in self.machines.iter().enumerate() {
            let Some(node) = self.facts.nodes.get(&machine.key) else {
                return Err(format!("machine {number} is not a node"));
            };
            for desired in machine.live() {
                self.should_run(desired.id, *node)?;
            }
        }
        let running = self.store.allocs.values().filter(|a| matches!(a.state, AllocState::Running { .. }));
        for alloc in running {
            self.does_run(alloc)?;
        }
        Ok(())
    }

    fn should_run(&self, id: AllocId, node: NodeId) -> Result<(), Complaint> {
        match self.store.allocs.get(&id) {
            Some(alloc) if alloc.occupies() == Some(node) => Ok(()),
            Some(alloc) => Err(format!("{id} runs on {node} and is {}", short(&alloc.state))),
            None => Err(format!("{id} runs on {node} and is forgotten")),
        }
    }

    fn does_run(&self, alloc: &Alloc) -> Result<(), Complaint> {
        let id = alloc.id;
        let place = self.machines.iter().find(|m| self.facts.nodes.get(&m.key).copied() == alloc.occupies());
        let Some(shim) = place.and_then(|machine| machine.shims.get(&id)) else {
            return Err(format!("{id} is said to run and has no shim"));
        };
        for (name, process) in &shim.tasks {
            let told = alloc.tasks.get(name).map(|status| &status.state);
            let agrees = match (&process.known.state, told) {
                (ShimTaskState::Running { pid, .. }, Some(TaskState::Running { pid: told, .. })) => {
                    process.alive && pid == told
                }
                (ShimTaskState::Exited(_), Some(TaskState::Done)) => !process.alive,
                (ShimTaskState::Running { .. } | ShimTaskState::Starting | ShimTaskState::Exited(_), _) => false,
            };
            if !agrees {
                return Err(format!("{id}/{name} is {:?} and is said to be {told:?}", process.known.state));
            }
        }
        Ok(())
    }

    /// Nothing that was acknowledged is lost: each command's record is there, and each job is what the last
    /// command about it made of it.
    fn check_acknowledged(&mut self) {
        let mut last: BTreeMap<JobId, (CommandId, usize)> = BTreeMap::new();
        let mut policy = PolicyVersion(0);
        for index in 0..self.clients.asked.len() {
            let asked = &self.clients.asked[index];
            let Some(Ok(outcome)) = &asked.answer else { continue };
            let request = &asked.request;
            let key = (request.principal.clone(), request.namespace.clone(), request.key.clone());
            let Some(record) = self.store.commands.get(&key).filter(|record| record.outcome == *outcome) else {
                let what = format!("command {index} was answered {outcome:?}, which is not stored");
                self.broken(Invariant::AckedIsKept, format_args!("{what}"));
                return;
            };
            if let CommandOutcome::Policy { version, .. } = outcome {
                policy = policy.max(*version);
            }
            if let Some(job) = job_of(outcome) {
                let newest = last.entry(job.clone()).or_insert((record.id, index));
                *newest = (*newest).max((record.id, index));
            }
        }
        let kept = self.store.policy.as_ref().map_or(PolicyVersion(0), |set| set.policy.version);
        self.holds(
            Invariant::AckedIsKept,
            kept >= policy,
            format_args!("the policy is of version {kept}, not {policy}"),
        );
        for (job, (_, index)) in last {
            self.check_job(&job, index);
        }
    }

    fn check_job(&mut self, id: &JobId, index: usize) {
        let job = self.store.jobs.get(id);
        let kept = match &self.clients.asked[index].request.command {
            Command::Run(spec) => job.map_or(spec.kind == JobKind::Batch, |job| job.spec == **spec),
            Command::Stop(_) => job.is_none_or(|job| matches!(job.state, JobState::Ended { .. })),
            Command::StopAlloc(_)
            | Command::Drain { .. }
            | Command::Enable(_)
            | Command::SetPolicy { .. }
            | Command::Trust(_)
            | Command::Abandon(_)
            | Command::Finalise(_) => true,
        };
        self.holds(Invariant::AckedIsKept, kept, format_args!("{id} is not what command {index} made of it"));
    }
}

/// Whether a node passes what a job and a group demand, resources apart. Only what simulated jobs use.
fn admits(job: &Job, group: &GroupSpec, node: &Node) -> bool {
    let of_kind = |wish: &DeviceSpec| node.fingerprint.devices.iter().filter(|device| device.kind == wish.kind).count();
    let has_devices = group.devices().all(|wish| of_kind(wish) >= wish.amount.devices());
    has_devices
        && job.spec.constraints.iter().chain(&group.constraints).all(|constraint| match &constraint.operator {
            Operator::Is(value) => node.fingerprint.attributes.get(&constraint.attribute) == Some(value),
            Operator::IsNot(_)
            | Operator::In(_)
            | Operator::NotIn(_)
            | Operator::Set
            | Operator::Unset
            | Operator::Compare(..)
            | Operator::Glob(_) => unreachable!("simulated jobs demand equality only"),
        })
}

/// Whether a batch job has nothing left to do at an index: its newest instance has ended, by itself or told to. One
/// that was lost with its node has to be made good.
fn work_is_over<'a>(at_index: impl Iterator<Item = &'a Alloc>) -> bool {
    at_index.max_by_key(|alloc| alloc.id).is_some_and(|newest| match &newest.state {
        AllocState::Ended { outcome, .. } => match outcome {
            Outcome::Complete | Outcome::Stopped | Outcome::Failed(_) => true,
            Outcome::Lost(_) | Outcome::Preempted { .. } | Outcome::Drained(_) => false,
        },
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. } => false,
    })
}

fn short(state: &AllocState) -> &'static str {
    match state {
        AllocState::Waiting { .. } => "waiting",
        AllocState::Placed { .. } => "placed",
        AllocState::Running { ready: None, .. } => "running, not ready",
        AllocState::Running { ready: Some(_), .. } => "running",
        AllocState::Stopping { .. } => "stopping",
        AllocState::Ended { .. } => "ended",
    }
}
