//! A burst of identical requests in a large cluster: how long it takes, and how many nodes get how many.
//!
//! `cargo run --release -p berth-control --example burst -- [NODES] [REQUESTS]`: nodes of 16 cores, a third of them half full,
//! by each policy; the requests are a job of one allocation each, and then one job.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "measures, and reads its arguments")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use berth_control::Core;
use berth_model::control::{Beginning, Effect, Event, RequestId, Settings};
use berth_model::testkit::{Spec, machine, service};
use berth_model::*;

const LIFE: Incarnation = Incarnation(1);
const NOW: Timestamp = Timestamp(10_000_000);
/// What a request asks for, in thousandths of a core.
const CPU: u64 = 1_000;

fn node(at: u64) -> Node {
    Node {
        id: NodeId::new(LIFE, at + 1),
        agent: AgentKey(format!("key-{at}")),
        fingerprint: machine(&format!("m{at}")).cpu(16_000).memory(64 << 10).0,
        state: NodeState::Ready { since: Timestamp(1) },
        conditions: BTreeMap::new(),
        drain: None,
    }
}

/// A core that leads, with what its store would tell it.
struct Cluster {
    core: Core,
    requests: u64,
    revision: u64,
}

impl Cluster {
    fn new(nodes: u64, policy: BuiltIn) -> Cluster {
        let meta = Meta { incarnation: LIFE, nodes, ..Meta::default() };
        let snapshot = Snapshot { meta, nodes: (0..nodes).map(node).collect(), ..Snapshot::default() };
        let settings = Settings { policy, ..Settings::default() };
        let epoch = Epoch { incarnation: LIFE, counter: 1 };
        let mut out = Vec::new();
        let core = Core::load(Beginning { settings, snapshot, epoch, now: NOW }, &mut out);
        let mut cluster = Cluster { core, requests: 0, revision: 0 };
        cluster.keep(out);
        let third = u32::try_from(nodes / 3).unwrap_or(u32::MAX);
        cluster.run(service("before").count(third).cpu(8_000).at_most(1, Domain::Node));
        cluster
    }

    /// The time of the step that places the job.
    fn run(&mut self, spec: Spec) -> Duration {
        self.requests += 1;
        let command = CommandRequest {
            principal: Principal("root".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(format!("key-{}", self.requests)),
            plan: None,
            command: Command::Run(Box::new(spec.0)),
        };
        let event = Event::Command { request: RequestId(self.requests), command: Box::new(command) };
        let mut out = Vec::new();
        let began = Instant::now();
        self.core.step(NOW, event, &mut out);
        let took = began.elapsed();
        self.keep(out);
        took
    }

    /// Commits are durable at once, in their order.
    fn keep(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            if let Effect::Commit { commit, .. } = effect {
                self.revision += 1;
                let mut out = Vec::new();
                self.core.step(NOW, Event::Committed { commit, revision: Revision(self.revision) }, &mut out);
                effects.extend(out);
            }
        }
    }

    /// How many nodes got how many of the burst: the half full ones and the empty ones.
    fn spread(&self) -> String {
        let mut by_node: BTreeMap<NodeId, (bool, u32)> =
            self.core.nodes().keys().map(|node| (*node, (false, 0))).collect();
        for alloc in self.core.allocs().values() {
            let Some(entry) = alloc.occupies().and_then(|node| by_node.get_mut(&node)) else { continue };
            if alloc.job.name.to_string() == "before" { entry.0 = true } else { entry.1 += 1 }
        }
        let mut told: BTreeMap<(bool, u32), u32> = BTreeMap::new();
        for entry in by_node.into_values() {
            *told.entry(entry).or_default() += 1;
        }
        let told = told.into_iter().map(|((half_full, got), nodes)| {
            format!("{nodes} {} nodes got {got}", if half_full { "half full" } else { "empty" })
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().ok());
    let mut number = || arguments.next().flatten().unwrap_or(5_000_u32);
    let (nodes, requests) = (u64::from(number()), number());
    for policy in [BuiltIn::Balanced, BuiltIn::Pack] {
        let mut cluster = Cluster::new(nodes, policy);
        let mut times: Vec<Duration> =
            (0..requests).map(|nth| cluster.run(service(&format!("burst-{nth}")).cpu(CPU))).collect();
        times.sort_unstable();
        let micros = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1].as_micros();
        let all: Duration = times.iter().sum();
        println!(
            "{policy:?}, {requests} jobs: {} ms, each {} us in the median, {} us at 99 %; {}",
            all.as_millis(),
            micros(50),
            micros(99),
            cluster.spread()
        );
        let mut cluster = Cluster::new(nodes, policy);
        let took = cluster.run(service("burst").count(requests).cpu(CPU));
        println!("{policy:?}, one job of {requests}: {} ms; {}", took.as_millis(), cluster.spread());
    }
}
