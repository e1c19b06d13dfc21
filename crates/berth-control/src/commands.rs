//! Commands: who may ask, what was asked before, what is refused, and what is begun.

use berth_model::control::{Effect, RequestId, Settings};
use berth_model::{
    Alloc, AllocId, Cause, Command, CommandId, CommandOutcome, CommandRecord, CommandRequest, DeviceAmount, Format,
    Gang, GroupSpec, Happening, Job, JobId, JobKind, JobSpec, JobState, JobVersion, Namespace, NetworkMode, Principal,
    Refusal, Thousandths, limits,
};

use crate::core::Core;
use crate::digest::command_digest;
use crate::index::Slot;
use crate::journal::{Key, Takes};
use crate::partition::check_partition;
use crate::pipeline::Held;
use crate::state::{Room, outcome};

/// Guards every command. Today every authenticated principal may do everything in every namespace; who is nobody may
/// do nothing.
fn authorize(principal: &Principal, _namespace: &Namespace, _command: &Command) -> Result<(), Refusal> {
    if principal.0.is_empty() {
        return Err(Refusal::NotAuthorized { needed: "an authenticated principal".to_owned() });
    }
    Ok(())
}

/// What a command did, and the object whose transaction its record belongs to.
pub(crate) type Done = (CommandOutcome, Key);

impl Core {
    /// Somebody asks for something.
    pub(crate) fn command(&mut self, request: RequestId, command: CommandRequest, out: &mut Vec<Effect>) {
        let result = match self.answered_before(&command) {
            Some(result) => result,
            None if self.pipeline.is_overloaded() => Err(Refusal::Overloaded),
            None => self.accept(request, command),
        };
        match result {
            Ok(Answer::Held) => {}
            Ok(Answer::Stored(outcome)) => {
                self.pipeline.await_reply(request);
                self.when_durable(Held::Effect(Effect::Reply { request, result: Ok(outcome) }), out);
            }
            Err(refusal) => out.push(Effect::Reply { request, result: Err(refusal) }),
        }
    }

    /// Whether the client's key is known. The outcome of a repetition waits until it is durable, as the first did.
    fn answered_before(&self, command: &CommandRequest) -> Option<Result<Answer, Refusal>> {
        let key = (command.principal.clone(), command.namespace.clone(), command.key.clone());
        let known = self.state.commands.get(&key)?;
        if known.digest != command_digest(&command.command) {
            return Some(Err(Refusal::KeyReused { command: known.id }));
        }
        Some(Ok(Answer::Stored(known.outcome.clone())))
    }

    fn accept(&mut self, request: RequestId, command: CommandRequest) -> Result<Answer, Refusal> {
        authorize(&command.principal, &command.namespace, &command.command)?;
        self.check_plan(&command)?;
        let digest = command_digest(&command.command);
        let id = CommandId::new(self.state.meta.incarnation, self.state.meta.commands + 1);
        self.root = Some(Cause::Command(id));
        let (outcome, with) = match command.command {
            Command::Run(spec) => self.run(id, &command.namespace, *spec)?,
            Command::Stop(job) => self.stop_job(id, &command.namespace, job)?,
            Command::StopAlloc(alloc) => self.stop_alloc(id, &command.namespace, alloc)?,
            Command::Drain { nodes, deadline } => self.drain(id, nodes, deadline)?,
            Command::Enable(nodes) => self.enable(id, nodes)?,
            Command::SetPolicy { spec, after } => self.set_policy(id, *spec, after)?,
            Command::Trust(command) => self.change_trust(id, command)?,
            Command::Abandon(nodes) => self.abandon(id, nodes)?,
            Command::Finalise(format) => self.finalise(id, format),
        };
        self.fall_out_of_step();
        if command.plan.is_some() {
            // What the command itself has changed is what the plan is of.
            self.state.dirty.unforeseen = false;
            self.keep_step();
        }
        self.state.meta.commands = id.counter;
        let record = CommandRecord {
            id,
            principal: command.principal,
            namespace: command.namespace,
            key: command.key,
            at: self.now,
            digest,
            outcome: outcome.clone(),
        };
        self.state.put_command(record, with.clone());
        self.pipeline.await_reply(request);
        let reply = Effect::Reply { request, result: Ok(outcome) };
        self.state.journal.hold_for(with, Held::Effect(reply));
        Ok(Answer::Held)
    }

    /// An operator will not go back to the release before. What is written from now on has the newer format, this command
    /// among it; what is there already gets it with its next change.
    fn finalise(&mut self, id: CommandId, format: Format) -> Done {
        let known = self.state.finalising.unwrap_or(self.state.meta.format);
        let changed = format > known;
        if changed {
            self.state.finalising = Some(format);
            self.state.note(self.now, Key::Format, Cause::Command(id), Happening::Finalised(format));
        }
        self.state.journal.touch(Key::Format, Takes::Nothing);
        (CommandOutcome::Finalised { format: known.max(format), changed }, Key::Format)
    }

    fn run(&mut self, id: CommandId, namespace: &Namespace, spec: JobSpec) -> Result<Done, Refusal> {
        if spec.id.namespace != *namespace {
            return Err(invalid(
                "namespace",
                format!("the job is of namespace {}, the request of {namespace}", spec.id.namespace),
                "ask in the namespace of the job",
            ));
        }
        check_spec(&spec, &self.settings)?;
        let (job, key) = (spec.id.clone(), Key::Job(spec.id.clone()));
        let existing = self.state.jobs.get(&job);
        if let Some(old) = existing.filter(|old| old.spec.kind != spec.kind && self.state.index.live.contains_key(&job))
        {
            return Err(invalid(
                "kind",
                format!("the job runs as a {} job and cannot become a {} job while it does", old.spec.kind, spec.kind),
                "stop the job first, or give this one another name",
            ));
        }
        if let Some(old) = existing.filter(|old| old.spec == spec && old.state == JobState::Active) {
            let version = old.version;
            self.state.journal.touch(key.clone(), Takes::Nothing);
            return Ok((CommandOutcome::JobVersion { job, version, changed: false }, key));
        }
        let version = JobVersion(existing.map_or(1, |old| old.version.0 + 1));
        let cause = Cause::Command(id);
        let changed = (self.now, cause.clone());
        let allows_more = |group: &GroupSpec| {
            let before = existing.and_then(|old| old.spec.group(&group.name));
            before.is_some_and(|before| before.update.max_parallel < group.update.max_parallel)
        };
        let yields_more =
            existing.is_some_and(|old| old.spec.priority > spec.priority || old.spec.preemptible > spec.preemptible);
        if yields_more || spec.groups.iter().any(allows_more) {
            // Those who wait may make some of them go that they had to spare.
            self.state.dirty.room = Room::Everywhere;
        }
        self.state.put_job(Job { spec, version, changed, state: JobState::Active });
        self.state.note(self.now, key.clone(), cause, Happening::JobVersion { job: job.clone(), version });
        self.mark_job(&job);
        Ok((CommandOutcome::JobVersion { job, version, changed: true }, key))
    }

    fn stop_job(&mut self, id: CommandId, namespace: &Namespace, job: JobId) -> Result<Done, Refusal> {
        let known = self.state.jobs.get(&job).filter(|_| job.namespace == *namespace);
        let Some(mut known) = known.cloned() else { return Err(Refusal::NoSuchJob(job)) };
        let key = Key::Job(job.clone());
        match known.state {
            JobState::Active => {
                let cause = Cause::Command(id);
                known.state = JobState::Stopping { since: self.now, cause: cause.clone() };
                self.state.put_job(known);
                self.state.note(self.now, key.clone(), cause, Happening::JobStopping(job.clone()));
                self.mark_job(&job);
            }
            JobState::Stopping { .. } | JobState::Ended { .. } => {
                self.state.journal.touch(key.clone(), Takes::Nothing);
            }
        }
        Ok((CommandOutcome::Stopping(job), key))
    }

    fn stop_alloc(&mut self, id: CommandId, namespace: &Namespace, alloc: AllocId) -> Result<Done, Refusal> {
        let known = self.state.allocs.get(&alloc).filter(|known| known.job.namespace == *namespace);
        let Some(known) = known else { return Err(Refusal::NoSuchAlloc(alloc)) };
        let over = outcome(known).is_some();
        self.state.journal.touch(Key::Alloc(alloc), Takes::Nothing);
        if !over {
            self.stop(alloc, Cause::Command(id));
        }
        Ok((CommandOutcome::StoppingAlloc(alloc), Key::Alloc(alloc)))
    }

    /// Every slot that the job has or should have is looked at again.
    pub(crate) fn mark_job(&mut self, id: &JobId) {
        let Some(job) = self.state.jobs.get(id) else { return };
        self.state.dirty.jobs.insert(id.clone());
        for group in &job.spec.groups {
            let wanted: Vec<Slot> = match job.spec.kind {
                JobKind::Service | JobKind::Batch => (0..group.count).map(Slot::Index).collect(),
                JobKind::System => self.state.nodes.keys().copied().map(Slot::Node).collect(),
            };
            let slots = wanted.into_iter().map(|slot| (id.clone(), group.name.clone(), slot));
            self.state.dirty.slots.extend(slots);
        }
        for (name, group) in self.state.index.jobs.get(id).into_iter().flatten() {
            let slots = group.slots.keys().map(|slot| (id.clone(), name.clone(), *slot));
            self.state.dirty.slots.extend(slots);
        }
    }

    /// Every system job may want something of the node now, or nothing any more.
    pub(crate) fn mark_system_slots(&mut self, node: berth_model::NodeId) {
        for (id, job) in &self.state.jobs {
            if job.spec.kind == JobKind::System && job.state == JobState::Active {
                let slots = job.spec.groups.iter().map(|group| (id.clone(), group.name.clone(), Slot::Node(node)));
                self.state.dirty.slots.extend(slots);
            }
        }
    }

    /// The command that made the job what it is: the cause of whatever follows from its specification.
    pub(crate) fn job_cause(&self, alloc: &Alloc) -> Cause {
        self.state.jobs.get(&alloc.job).map_or_else(|| alloc.cause.clone(), wish_of)
    }
}

/// What led to the present wish for a job.
pub(crate) fn wish_of(job: &Job) -> Cause {
    match &job.state {
        JobState::Stopping { cause, .. } => cause.clone(),
        JobState::Active | JobState::Ended { .. } => job.changed.1.clone(),
    }
}

/// How a command that is not refused is answered.
enum Answer {
    /// By what the journal holds.
    Held,
    /// As before.
    Stored(CommandOutcome),
}

pub(crate) fn invalid(place: impl Into<String>, problem: String, remedy: &str) -> Refusal {
    Refusal::Invalid { place: place.into(), problem, remedy: remedy.to_owned() }
}

/// The limits that hold for every specification, whatever made it. Job files are checked in more depth, with lines and
/// columns, before they get here.
fn check_spec(spec: &JobSpec, settings: &Settings) -> Result<(), Refusal> {
    if spec.priority.0 > 100 {
        return Err(invalid("priority", format!("{} is too high", spec.priority.0), "use 0 to 100"));
    }
    if spec.groups.is_empty() || spec.groups.len() > limits::GROUPS {
        let problem = format!("{} groups", spec.groups.len());
        return Err(invalid("groups", problem, "use 1 to 64 groups"));
    }
    for (at, group) in spec.groups.iter().enumerate() {
        check_group(spec, at, group, settings)?;
    }
    Ok(())
}

fn check_group(spec: &JobSpec, at: usize, group: &GroupSpec, settings: &Settings) -> Result<(), Refusal> {
    let place = |rest: &str| format!("groups[{at}]{rest}");
    if spec.groups[..at].iter().any(|other| other.name == group.name) {
        return Err(invalid(place(".name"), format!("the name {} is used twice", group.name), "use each name once"));
    }
    if group.count > limits::COUNT {
        return Err(invalid(place(".count"), format!("{} is too many", group.count), "use at most 100000"));
    }
    if spec.kind == JobKind::System && group.count != 1 {
        let remedy = "leave the count out: a system job runs once on each node";
        return Err(invalid(place(".count"), format!("a system job has count 1, not {}", group.count), remedy));
    }
    if group.update.max_parallel == 0 {
        let problem = "with 0 nothing would ever be updated".to_owned();
        return Err(invalid(place(".update.max_parallel"), problem, "use at least 1"));
    }
    check_partition(group, settings, place)?;
    if group.tasks.is_empty() || group.tasks.len() > limits::TASKS {
        return Err(invalid(place(".tasks"), format!("{} tasks", group.tasks.len()), "use 1 to 32 tasks"));
    }
    let (least, most) = (limits::LEAST_MEMORY, limits::SPACE);
    for (nth, task) in group.tasks.iter().enumerate() {
        let memory = task.resources.memory;
        if memory < least || memory > most {
            let problem = format!("{memory} is not from {least} to {most}");
            let remedy = "use 1MiB or more: no program starts with less memory";
            return Err(invalid(place(&format!(".tasks[{nth}].resources.memory")), problem, remedy));
        }
    }
    if group.network == NetworkMode::None && group.ports().next().is_some() {
        let remedy = "use the network mode host, or leave the ports out";
        return Err(invalid(place(".network"), "without a network there are no ports".to_owned(), remedy));
    }
    let ports: Vec<_> = group.ports().collect();
    if ports.len() > limits::PORTS {
        return Err(invalid(place(".tasks"), format!("{} ports", ports.len()), "use at most 64 ports in a group"));
    }
    for (nth, port) in ports.iter().enumerate() {
        let same = |other: &&berth_model::PortSpec| {
            other.name == port.name || (other.fixed.is_some() && other.fixed == port.fixed)
        };
        if ports[..nth].iter().any(same) {
            let problem = format!("the port {} or its number is used twice", port.name);
            return Err(invalid(place(".tasks"), problem, "use each name and number once in a group"));
        }
    }
    if spec.kind == JobKind::System && group.rules.gang == Gang::Whole {
        let problem = "the allocations of a system job are placed each for itself".to_owned();
        return Err(invalid(place(".gang"), problem, "leave `gang` out, or make it a service"));
    }
    check_devices(group, place)
}

fn check_devices(group: &GroupSpec, place: impl Fn(&str) -> String) -> Result<(), Refusal> {
    let wishes: Vec<_> = group.devices().collect();
    if wishes.len() > limits::DEVICES {
        let problem = format!("{} wishes for devices", wishes.len());
        return Err(invalid(place(".tasks"), problem, "use at most 16 in a group"));
    }
    for (nth, wish) in wishes.iter().enumerate() {
        if wishes[..nth].iter().any(|other| other.name == wish.name) {
            let problem = format!("the device name {} is used twice", wish.name);
            return Err(invalid(place(".tasks"), problem, "use each name once in a group"));
        }
        let possible = match wish.amount {
            DeviceAmount::Count(_) => (1..=limits::NODE_DEVICES).contains(&wish.amount.devices()),
            DeviceAmount::Share(share) => 0 < share.0 && share < Thousandths::WHOLE,
        };
        if !possible {
            let problem = format!("no node can give what {} asks for", wish.name);
            return Err(invalid(
                place(".tasks"),
                problem,
                "ask for 1 to 256 devices, or for a share of 0.001 to 0.999",
            ));
        }
    }
    Ok(())
}
