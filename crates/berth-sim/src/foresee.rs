//! Plan against run: in clusters at rest a change is planned, then made, and what has become of it is compared with
//! what the plan said, instance by instance, with nodes and ports.
//!
//! Nodes do what they are told here, each in its own time; no task fails and no batch work ends meanwhile, as plans
//! assume.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    Alloc, AllocState, Command, GroupName, JobId, JobKind, JobVersion, Millis, NodeId, Outcome, Plan, PlanEnd, PlanId,
    PlanRequest, Planned, Priority, Refusal, Target, Verdict, WaitReason,
};

use crate::Options;
use crate::profile::ProfileName;
use crate::world::{MachineId, World};

/// The longest time for a change to come to rest, in milliseconds.
const LONGEST: u64 = 2 * 3_600_000;
/// What took the place of a victim is left alone until it has been ready for so long.
const PROOF: Millis = Millis::from_secs(600);
/// For how many looks everything has to be at rest.
const LOOKS: u32 = 4;
/// The time between two of them, in milliseconds.
const BETWEEN_LOOKS: u64 = 400;

/// What came of comparing plans with runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Plans whose whole outcome was compared: of commands that named their plan.
    pub plans: u32,
    /// Of these, those that changed anything.
    pub changing: u32,
    /// Of these, those with more than one wave.
    pub in_waves: u32,
    /// Of all, those that left something waiting.
    pub waiting: u32,
    /// Commands that did not name their plan, and losses; of these only the first wave is compared.
    pub free: u32,
    /// Of these, those that went otherwise later on: where instances wait for room, the first that is free is taken.
    pub strayed: u32,
    /// What was not as planned.
    pub surprises: Vec<String>,
}

/// Plans and makes as many changes as asked for in the cluster of a seed.
pub fn foresee(seed: u64, changes: u32) -> Foreseen {
    let mut world = World::new(seed, &Options::default().profile(ProfileName::Steady));
    let filling = world.random.between(10_000, 40_000);
    world.advance(filling);
    world.faulty = false;
    world.come_to_rest(&BTreeSet::new());
    let mut foreseen = Foreseen::default();
    for nth in 0..changes {
        world.compare_one(&format!("seed {seed}, change {nth}"), &mut foreseen);
    }
    foreseen
}

impl Foreseen {
    fn count(&mut self, plan: &Plan) {
        self.plans += 1;
        self.changing += u32::from(!plan.changes.is_empty());
        self.in_waves += u32::from(plan.changes.iter().any(|change| change.wave > 1));
        self.waiting += u32::from(!plan.waits.is_empty());
    }

    /// Both together.
    pub fn and(mut self, other: Foreseen) -> Foreseen {
        self.plans += other.plans;
        self.changing += other.changing;
        self.in_waves += other.in_waves;
        self.waiting += other.waiting;
        self.free += other.free;
        self.strayed += other.strayed;
        self.surprises.extend(other.surprises);
        self
    }
}

/// A place that one instance after the other fills.
type Place = (JobId, GroupName, u32, Option<NodeId>);
type Picture = BTreeMap<Place, (JobVersion, Target)>;

enum Change {
    Command(Command),
    Lose(MachineId),
}

impl Change {
    fn told(&self) -> String {
        match self {
            Change::Command(Command::Run(spec)) => format!("run {} {}", spec.kind, spec.id),
            Change::Command(Command::Stop(job)) => format!("stop {job}"),
            Change::Command(Command::StopAlloc(alloc)) => format!("stop {alloc}"),
            Change::Command(Command::Drain { nodes, deadline }) => format!("drain {nodes:?} within {deadline:?}"),
            Change::Command(Command::Enable(nodes)) => format!("enable {nodes:?}"),
            Change::Command(Command::Abandon(nodes)) => format!("abandon {nodes:?}"),
            Change::Command(Command::Finalise(format)) => format!("finalise format {format}"),
            Change::Command(Command::SetPolicy { spec, .. }) => format!("set policy {}", spec.name),
            Change::Command(Command::Trust(command)) => format!("{command:?}"),
            Change::Lose(machine) => format!("lose machine {machine}"),
        }
    }
}

fn change_of(change: &Change) -> Option<&Command> {
    match change {
        Change::Command(command) => Some(command),
        Change::Lose(_) => None,
    }
}

impl World {
    fn compare_one(&mut self, name: &str, foreseen: &mut Foreseen) {
        let Some(change) = self.random_change() else { return };
        let request = match &change {
            Change::Command(command) => PlanRequest::Command(command.clone()),
            Change::Lose(machine) => PlanRequest::Lose([self.facts.nodes[&self.machines[*machine].key]].into()),
        };
        let plan = match (self.plan(&request), change_of(&change)) {
            (Ok(plan), _) => plan,
            (Err(refusal), Some(command)) => return self.expect_refusal(name, command.clone(), refusal, foreseen),
            (Err(refusal), None) => panic!("{name}: no loss can be refused: {refusal:?}"),
        };
        assert_eq!(plan.end, PlanEnd::AtRest, "{name}: plans of small clusters are whole");
        let expected = self.expect(&plan);
        let named = matches!(change, Change::Command(_)) && self.random.chance(900);
        let name = &format!("{name}, {}{}", change.told(), if named { " as planned" } else { "" });
        let lost = self.make(change, named.then_some(plan.id));
        self.come_to_rest(&lost);
        let found = self.picture();
        let others: BTreeSet<&Place> = expected.keys().chain(found.keys()).collect();
        let differ = |place: &&Place| expected.get(*place) != found.get(*place);
        let others: Vec<&Place> = others.into_iter().filter(differ).collect();
        let told =
            |place: &Place| format!("{name}: {place:?}: {:?}, found {:?}", expected.get(place), found.get(place));
        if named {
            foreseen.count(&plan);
            foreseen.surprises.extend(others.into_iter().map(told));
        } else {
            let first = self.first_wave(&plan);
            foreseen.free += 1;
            foreseen.strayed += u32::from(!others.is_empty());
            let missed = |place: &&Place| first.contains(*place) && !self.was_so(place, expected.get(*place));
            foreseen.surprises.extend(others.into_iter().filter(missed).map(told));
        }
        for machine in 0..self.machines.len() {
            self.power_returns(machine);
        }
        self.come_to_rest(&BTreeSet::new());
    }

    /// What cannot be planned cannot be run, for the same reason.
    fn expect_refusal(&mut self, name: &str, command: Command, refusal: Refusal, foreseen: &mut Foreseen) {
        self.ask_as_planned(command, None);
        self.come_to_rest(&BTreeSet::new());
        let answer = self.clients.asked.last().and_then(|asked| asked.answer.clone());
        if answer != Some(Err(refusal.clone())) {
            foreseen.surprises.push(format!("{name}: planned {refusal:?}, answered {answer:?}"));
        }
    }

    fn random_change(&mut self) -> Option<Change> {
        match self.random.below(100) {
            0..25 => Some(Change::Command(self.new_job())),
            25..60 => self.update().map(Change::Command),
            60..70 => self.forget_job().map(|job| Change::Command(Command::Stop(job))),
            70..78 => self.pick_alloc().map(|alloc| Change::Command(Command::StopAlloc(alloc))),
            // A plan looks ahead to no deadline that is yet to come.
            78..90 => self.drain_or_enable(&[None, Some(Millis(0))]).map(Change::Command),
            _ => Some(Change::Lose(self.random.index(self.machines.len()))),
        }
    }

    /// Makes a change, as planned where a plan is named. Tells which nodes will be lost.
    fn make(&mut self, change: Change, plan: Option<PlanId>) -> BTreeSet<NodeId> {
        match change {
            Change::Command(command) => {
                self.ask_as_planned(command, plan);
                BTreeSet::new()
            }
            Change::Lose(machine) => {
                self.unplug(machine);
                BTreeSet::from([self.facts.nodes[&self.machines[machine].key]])
            }
        }
    }

    /// The places that are filled at once.
    fn first_wave(&self, plan: &Plan) -> BTreeSet<Place> {
        let first = plan.changes.iter().filter(|change| change.wave == 1);
        first.filter(|change| !matches!(change.what, Planned::Stop(_))).map(|change| self.place(change)).collect()
    }

    fn place(&self, change: &berth_model::PlannedChange) -> Place {
        let node = match &change.what {
            Planned::Start(target) | Planned::Replace(_, target) | Planned::Move(_, target) => target.node,
            Planned::Stop(source) => source.node,
        };
        let bound = self.is_system(&change.job).then_some(node);
        (change.job.clone(), change.group.clone(), change.index, bound)
    }

    fn expect(&self, plan: &Plan) -> Picture {
        let mut picture = self.picture();
        for change in &plan.changes {
            let place = self.place(change);
            match &change.what {
                Planned::Start(target) | Planned::Replace(_, target) | Planned::Move(_, target) => {
                    picture.insert(place, (change.version, target.clone()));
                }
                Planned::Stop(_) => _ = picture.remove(&place),
            }
        }
        for wait in plan.waits.iter().filter(|wait| wait.replaces.is_some_and(|old| old.stops_first)) {
            picture.remove(&(wait.job.clone(), wait.group.clone(), wait.index, wait.bound_to));
        }
        picture
    }

    /// A new job is not in the store yet; whoever asked for it knows.
    fn is_system(&self, job: &JobId) -> bool {
        let stored = self.store.jobs.get(job).map(|job| job.spec.kind);
        stored.or_else(|| self.clients.kind_of(job)) == Some(JobKind::System)
    }

    /// Whether an instance was there, if only for a while.
    fn was_so(&self, place: &Place, expected: Option<&(JobVersion, Target)>) -> bool {
        let placed = |alloc: &Alloc| alloc.placement().map(|at| (alloc.version, Target::of(at)));
        self.store.allocs.values().any(|alloc| place_of(alloc) == *place && placed(alloc).as_ref() == expected)
    }

    /// Who is where, as the store tells.
    fn picture(&self) -> Picture {
        let placed = self.store.allocs.values().filter(|alloc| alloc.occupies().is_some());
        placed
            .map(|alloc| {
                let at = alloc.placement().expect("what occupies a node has a place");
                (place_of(alloc), (alloc.version, Target::of(at)))
            })
            .collect()
    }

    fn come_to_rest(&mut self, lost: &BTreeSet<NodeId>) {
        let until = self.now + LONGEST;
        let mut looks = 0;
        while looks < LOOKS {
            assert!(self.violation.is_none(), "{:?}: {:?}", self.violation, self.log.last());
            assert!(self.now < until, "no rest after two hours: {:?}", self.log.last());
            self.advance(BETWEEN_LOOKS);
            looks = if self.is_at_rest(lost) { looks + 1 } else { 0 };
        }
    }

    fn is_at_rest(&self, lost: &BTreeSet<NodeId>) -> bool {
        let as_it_should = self.store.nodes.values().all(|node| node.is_eligible() != lost.contains(&node.id));
        let forgotten = lost.iter().filter(|node| !self.store.nodes.contains_key(node)).count();
        let known = self.store.nodes.len() + forgotten == self.machines.len();
        as_it_should
            && known
            && self.clients.all_answered()
            && !self.store.allocs.values().any(is_moving)
            && !self.waits_for_proof()
            && self.has_no_ghosts()
    }
}

impl World {
    /// Whether somebody may make others go as soon as those, which took the places of victims, have been ready for long
    /// enough: plans look that far.
    fn waits_for_proof(&self) -> bool {
        let waits = |alloc: &&Alloc| {
            matches!(
                &alloc.state,
                AllocState::Waiting { reason: WaitReason::NoNodeFits { verdict: Verdict::Waiting, .. }, .. }
            )
        };
        let highest = self.store.allocs.values().filter(waits).filter_map(|alloc| self.priority_of(alloc)).max();
        let recovering = |alloc: &Alloc| {
            let AllocState::Running { ready: Some(ready), .. } = alloc.state else { return false };
            let before = alloc.replaces.and_then(|before| self.store.allocs.get(&before)).map(|before| &before.state);
            let victim = matches!(before, Some(AllocState::Ended { outcome: Outcome::Preempted { .. }, .. }));
            victim && self.leader_now().since(ready) < PROOF && self.priority_of(alloc) < highest
        };
        self.store.allocs.values().any(recovering)
    }

    /// Whether nothing runs any more that was given up: it holds its room until it ends, which no plan foresees.
    fn has_no_ghosts(&self) -> bool {
        let is_over = |id| self.store.allocs.get(id).is_none_or(Alloc::is_ended);
        !self.machines.iter().flat_map(|machine| machine.live()).any(|desired| is_over(&desired.id))
    }

    fn priority_of(&self, alloc: &Alloc) -> Option<Priority> {
        self.store.jobs.get(&alloc.job).map(|job| job.spec.priority)
    }
}

fn place_of(alloc: &Alloc) -> Place {
    (alloc.job.clone(), alloc.group.clone(), alloc.index, alloc.bound_to)
}

fn is_moving(alloc: &Alloc) -> bool {
    match &alloc.state {
        AllocState::Placed { .. } | AllocState::Running { ready: None, .. } | AllocState::Stopping { .. } => true,
        AllocState::Waiting { .. } | AllocState::Running { ready: Some(_), .. } | AllocState::Ended { .. } => false,
    }
}
