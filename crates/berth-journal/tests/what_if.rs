//! A journal of a small cluster, and what other policies would have made of it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use berth_control::{Beginning, Core, Effect, Event, RequestId, SessionId, Settings};
use berth_journal::{SegmentWriter, WhatIf, segments_at, what_if};
use berth_model::testkit::{Spec, batch, machine, service};
use berth_model::*;

/// Three nodes of four cores, a store that takes everything, and the journal.
struct Cluster {
    core: Core,
    segment: SegmentWriter,
    now: Timestamp,
    wake: Option<Timestamp>,
    requests: u64,
    revision: u64,
    agents: BTreeMap<SessionId, Agent>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Agent {
    reports: u64,
    digest: Digest,
    allocs: Vec<DesiredAlloc>,
    begun: BTreeMap<AllocId, Timestamp>,
}

impl Cluster {
    fn start(policy: BuiltIn) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let (settings, now) = (Settings { policy, ..Settings::default() }, Timestamp(1_000_000));
        let epoch = Epoch { incarnation: Incarnation(1), counter: 1 };
        let beginning = Beginning { settings, snapshot: Snapshot::default(), epoch, now };
        let mut out = Vec::new();
        let core = Core::load(beginning.clone(), &mut out);
        let segment = SegmentWriter::begin(folder.path(), &beginning, &out).unwrap();
        let (agents, wake) = (BTreeMap::new(), None);
        let mut cluster = Cluster { core, segment, now, wake, requests: 0, revision: 0, agents, folder };
        let events = cluster.perform(out);
        cluster.hear(events);
        for (number, name) in (1..).zip(["a", "b", "c"]) {
            let session = SessionId(number);
            cluster.agents.insert(session, Agent::default());
            cluster.hear([Event::AgentConnected { session, hello: machine(name).hello() }].into());
        }
        cluster.pass(2);
        cluster
    }

    fn hear(&mut self, mut events: VecDeque<Event>) {
        while let Some(event) = events.pop_front() {
            let mut out = Vec::new();
            self.core.step(self.now, event.clone(), &mut out);
            self.segment.step(self.now, &event, &out).unwrap();
            events.extend(self.perform(out));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> VecDeque<Event> {
        let mut events = VecDeque::new();
        for effect in effects {
            match effect {
                Effect::Commit { commit, .. } => {
                    self.revision += 1;
                    events.push_back(Event::Committed { commit, revision: Revision(self.revision) });
                }
                Effect::Send { session, order: Order::Desired(desired) } => {
                    let agent = self.agents.get_mut(&session).unwrap();
                    (agent.digest, agent.allocs) = (desired.digest, desired.allocs);
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Send { .. } | Effect::Reply { .. } | Effect::Close { .. } | Effect::StepDown(_) => {}
            }
        }
        events
    }

    /// Lets seconds pass, in each of which every agent reports.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Millis(1000);
            if self.wake.take_if(|at| *at <= self.now).is_some() {
                self.hear([Event::Woke].into());
            }
            let now = self.now;
            let reports: Vec<Event> = self
                .agents
                .iter_mut()
                .map(|(session, agent)| Event::AgentReport { session: *session, report: agent.report(now) })
                .collect();
            for report in reports {
                self.hear([report].into());
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.requests += 1;
        let command = Box::new(CommandRequest {
            principal: Principal("operator".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(format!("k-{}", self.requests)),
            plan: None,
            command,
        });
        self.hear([Event::Command { request: RequestId(self.requests), command }].into());
    }

    fn run(&mut self, spec: Spec) {
        self.command(Command::Run(Box::new(spec.0)));
    }

    fn what_if(&mut self, policy: BuiltIn) -> WhatIf {
        self.segment.flush().unwrap();
        let segments: Vec<PathBuf> = segments_at(self.folder.path()).unwrap();
        what_if(&segments[0], &policy.spec()).unwrap().unwrap()
    }
}

impl Agent {
    fn report(&mut self, now: Timestamp) -> NodeReport {
        self.reports += 1;
        let begun = &mut self.begun;
        let observed = self.allocs.iter().map(|wanted| {
            let since = *begun.entry(wanted.id).or_insert(now);
            let phase = match (wanted.goal, wanted.kind) {
                (Goal::Stop, _) => Phase::Ended(Ended::Stopped),
                (Goal::Run, JobKind::Batch) if now.since(since) >= Millis(3000) => Phase::Ended(Ended::Complete),
                (Goal::Run, _) => Phase::Running,
            };
            ObservedAlloc { id: wanted.id, phase, tasks: BTreeMap::new() }
        });
        let allocs = observed.collect();
        NodeReport { serial: self.reports, digest: self.digest, conditions: [].into(), allocs }
    }
}

/// A service on every node, something that then fits nowhere, and work that ends.
fn lived(policy: BuiltIn) -> Cluster {
    let mut cluster = Cluster::start(policy);
    cluster.run(service("web").cpu(1000).count(3));
    cluster.pass(5);
    cluster.run(service("big").cpu(4000));
    cluster.run(batch("sum").cpu(100).count(2));
    cluster.pass(20);
    cluster
}

#[test]
fn the_policy_that_decided_would_have_decided_the_same() {
    for policy in [BuiltIn::Balanced, BuiltIn::Pack] {
        let what_if = lived(policy).what_if(policy);
        assert_eq!(what_if.then, what_if.instead, "{what_if:#?}");
        assert_eq!((what_if.placements.other, what_if.assumed), (0, 0), "{what_if:#?}");
        assert!(what_if.placements.same >= 5, "{what_if:#?}");
    }
}

#[test]
fn packing_would_have_left_room_for_what_waited() {
    let WhatIf { then, instead, placements, assumed, .. } = lived(BuiltIn::Balanced).what_if(BuiltIn::Pack);
    assert_eq!((then.placed, then.waiting), (5, 1), "what needs a whole node waits");
    assert_eq!((instead.placed, instead.waiting), (6, 0));
    assert_eq!(assumed, 1, "nobody knows how that would have fared");
    assert!(then.longest_wait >= Millis(20_000) && instead.longest_wait < Millis(1000), "{then:?} {instead:?}");
    assert!(instead.cpu > then.cpu && instead.nodes_in_use < then.nodes_in_use, "{then:?} {instead:?}");
    let big = placements.first.iter().find(|moved| moved.slot.job.name.to_string() == "big").unwrap();
    assert!(big.then.is_none() && big.instead.is_some(), "{big:?}");
}

#[test]
fn spreading_would_have_made_it_wait() {
    let WhatIf { then, instead, .. } = lived(BuiltIn::Pack).what_if(BuiltIn::Balanced);
    assert_eq!((then.waiting, instead.waiting), (0, 1));
}

#[test]
fn work_takes_as_long_elsewhere_as_it_took() {
    let mut cluster = Cluster::start(BuiltIn::Balanced);
    cluster.run(batch("sum").cpu(4000).count(3));
    cluster.pass(20);
    let what_if = cluster.what_if(BuiltIn::Pack);
    assert_eq!(what_if.then.cpu, what_if.instead.cpu, "the same work for the same time: {what_if:#?}");
    assert!(what_if.then.cpu > 100, "{what_if:#?}");
}

#[test]
fn what_was_stopped_then_is_stopped_wherever_it_is() {
    let mut cluster = Cluster::start(BuiltIn::Balanced);
    cluster.run(service("web").cpu(1000).count(3));
    cluster.pass(5);
    let id = *cluster.core.allocs().keys().next_back().unwrap();
    cluster.command(Command::StopAlloc(id));
    cluster.pass(5);
    let what_if = cluster.what_if(BuiltIn::Pack);
    assert_eq!((what_if.then.placed, what_if.instead.placed), (4, 4), "the stopped one is replaced: {what_if:#?}");
}

#[test]
fn a_change_of_policy_is_not_made_in_the_world_of_another() {
    let mut cluster = Cluster::start(BuiltIn::Balanced);
    cluster.command(Command::SetPolicy { spec: Box::new(BuiltIn::Spread.spec()), after: None });
    cluster.run(service("web").cpu(1000).count(3));
    cluster.pass(5);
    cluster.run(service("big").cpu(4000));
    cluster.pass(20);
    let what_if = cluster.what_if(BuiltIn::Pack);
    assert_eq!((what_if.policy.as_str(), what_if.then.waiting, what_if.instead.waiting), ("pack", 1, 0));
}

#[test]
fn decisions_over_a_change_of_policy_replay_to_the_same_bytes() {
    let mut cluster = Cluster::start(BuiltIn::Balanced);
    for (name, policy) in [("a", BuiltIn::Pack), ("b", BuiltIn::Spread), ("c", BuiltIn::Fragmentation)] {
        cluster.run(service(name).cpu(500).count(2));
        cluster.pass(3);
        cluster.command(Command::SetPolicy { spec: Box::new(policy.spec()), after: None });
        cluster.run(service(&format!("{name}-2")).cpu(500).count(2));
        cluster.pass(8);
    }
    cluster.segment.flush().unwrap();
    let replayed = berth_journal::replay(&segments_at(cluster.folder.path()).unwrap()[0]);
    assert!(matches!(replayed.finding, berth_journal::Finding::Same(berth_journal::End::Whole)), "{replayed:#?}");
    let versions: std::collections::BTreeSet<u64> = cluster
        .core
        .allocs()
        .values()
        .filter_map(|alloc| Some(alloc.placement()?.explanation.policy_version.0))
        .collect();
    assert_eq!(versions, [0, 1, 2, 3].into(), "each decision says by which version it was made");
}
