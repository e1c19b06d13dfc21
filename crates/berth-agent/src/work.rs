//! The work on allocations: a worker for each, which does in order what the core asks of it.

use std::collections::BTreeMap;

use berth_model::{AllocId, DesiredAlloc, Exit, ExitKind, Failure, FailureKind, ShimTask, ShimTaskState};
use berth_node::{Effect, Event};
use berth_runtime::{Runtime, RuntimeError};
use tokio::sync::mpsc;

use crate::clock;
use crate::link::chain;

/// Orders that wait for one worker: more than the core can have under way for an allocation, which is a
/// start and two signals for each of its tasks, and its end.
const QUEUE: usize = 4 * berth_model::limits::TASKS;

/// What a worker is asked for. In a box, since a queue has room for dozens from the beginning, and most stay empty.
type Order = Box<Effect>;

/// Every allocation's worker.
pub struct Workers {
    runtime: Runtime,
    events: mpsc::Sender<Event>,
    queues: BTreeMap<AllocId, mpsc::Sender<Order>>,
}

impl Workers {
    /// No workers yet; what comes of their work goes to `events`.
    pub fn new(runtime: Runtime, events: mpsc::Sender<Event>) -> Workers {
        Workers { runtime, events, queues: BTreeMap::new() }
    }

    /// Hands an effect to its allocation's worker.
    pub fn give(&mut self, effect: Effect) {
        let Some(alloc) = subject(&effect) else { return };
        let last = matches!(effect, Effect::Purge(_));
        let queue = self.queues.entry(alloc).or_insert_with(|| {
            let (queue, orders) = mpsc::channel(QUEUE);
            let worker = Worker { alloc, runtime: self.runtime.clone(), events: self.events.clone() };
            tokio::spawn(worker.run(orders));
            queue
        });
        // Never waits: the worker may be waiting for the loop that calls this.
        if let Err(error) = queue.try_send(Box::new(effect)) {
            tracing::error!(%alloc, %error, "the allocation's worker takes no orders");
        }
        if last {
            self.queues.remove(&alloc);
        }
    }
}

fn subject(effect: &Effect) -> Option<AllocId> {
    match effect {
        Effect::Prepare(desired) => Some(desired.id),
        Effect::Start { alloc, .. }
        | Effect::Lease { alloc, .. }
        | Effect::Signal { alloc, .. }
        | Effect::EndOrphans(alloc)
        | Effect::Remove(alloc)
        | Effect::Purge(alloc) => Some(*alloc),
        Effect::Ask(_)
        | Effect::RememberEpoch(_)
        | Effect::Remember(_)
        | Effect::Forget(_)
        | Effect::Report(_)
        | Effect::ReportAgain { .. }
        | Effect::WakeAt(_) => None,
    }
}

struct Worker {
    alloc: AllocId,
    runtime: Runtime,
    events: mpsc::Sender<Event>,
}

impl Worker {
    async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut next = None;
        loop {
            let order = match next.take() {
                Some(order) => order,
                None => match orders.recv().await {
                    Some(order) => order,
                    None => return,
                },
            };
            // In boxes: most workers have nothing to do most of the time, and would keep the room that the work takes.
            match *order {
                Effect::Prepare(desired) => next = Box::pin(self.prepare(*desired, &mut orders)).await,
                other => Box::pin(self.do_one(other)).await,
            }
        }
    }

    /// Makes an allocation ready. An order that comes meanwhile ends the attempt: nothing but an end
    /// can be asked of what is not ready. Only a shim that is being started is waited for: it would not
    /// be known to whoever has to end it.
    async fn prepare(&self, desired: DesiredAlloc, orders: &mut mpsc::Receiver<Order>) -> Option<Order> {
        let alloc = self.alloc;
        let progress = |progress| {
            // A progress that finds the channel full is worth less than what fills it.
            let _ = self.events.try_send(Event::Progress { alloc, progress });
        };
        let prepared = tokio::select! {
            prepared = self.runtime.prepare(&desired, progress) => prepared,
            Some(order) = orders.recv() => return Some(order),
        };
        let result = match prepared {
            Ok(prepared) => self.runtime.launch(prepared).await,
            Err(not_ready) => Err(not_ready),
        };
        self.tell(Event::Prepared { alloc, result }).await;
        None
    }

    async fn do_one(&self, order: Effect) {
        let alloc = self.alloc;
        match order {
            Effect::Start { task, run, .. } => {
                match self.runtime.start(alloc, &task, run).await {
                    Ok(()) => {}
                    // It has the order, and tells when it goes on; or it is lost, which is told too.
                    Err(RuntimeError::Late(_)) => tracing::warn!(%alloc, %task, run, "the shim is slow to start a run"),
                    Err(error) => {
                        let shim = ShimTask { run, state: ShimTaskState::Exited(never_ran(error)) };
                        self.tell(Event::Task { alloc, task, shim }).await;
                    }
                }
            }
            Effect::Lease { until, .. } => {
                // Without it the shim ends the tasks when the last one has passed, and tells.
                if let Err(error) = self.runtime.lease(alloc, until).await {
                    tracing::warn!(%alloc, reason = chain(&error), "the shim was not told of a new lease");
                }
            }
            Effect::Signal { task, run, signal, .. } => {
                if let Err(error) = self.runtime.signal(alloc, &task, run, signal).await {
                    tracing::warn!(%alloc, %task, run, reason = chain(&error), "could not signal");
                }
            }
            Effect::EndOrphans(_) => {
                self.insist("end the orphans", || self.runtime.end_orphans(alloc)).await;
                self.tell(Event::OrphansEnded { alloc }).await;
            }
            Effect::Remove(_) => {
                self.insist("remove", || self.runtime.remove(alloc)).await;
                self.tell(Event::Removed { alloc }).await;
            }
            Effect::Purge(_) => self.insist("purge", || self.runtime.purge(alloc)).await,
            Effect::Prepare(_)
            | Effect::Ask(_)
            | Effect::RememberEpoch(_)
            | Effect::Remember(_)
            | Effect::Forget(_)
            | Effect::Report(_)
            | Effect::ReportAgain { .. }
            | Effect::WakeAt(_) => {
                unreachable!("not a worker's order")
            }
        }
    }

    /// Does what has no other outcome than done, until it is: a cgroup can stay busy while the kernel
    /// reaps, a folder can be held by somebody's shell.
    async fn insist<F, D>(&self, what: &'static str, work: F)
    where
        F: Fn() -> D,
        D: Future<Output = Result<(), RuntimeError>>,
    {
        let mut wait = std::time::Duration::from_millis(50);
        while let Err(error) = work().await {
            tracing::warn!(alloc = %self.alloc, reason = chain(&error), "could not {what}; trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(std::time::Duration::from_secs(30));
        }
    }

    async fn tell(&self, event: Event) {
        // The loop is gone only when the agent is ending.
        let _ = self.events.send(event).await;
    }
}

fn never_ran(error: RuntimeError) -> Exit {
    let failure = match error {
        RuntimeError::Refused { failure, .. } => failure,
        other => Failure { kind: FailureKind::Runtime, message: chain(&other) },
    };
    Exit { at: clock::now(), how: ExitKind::Failure(failure) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    use berth_model::{
        Driver, Goal, GroupSpec, Incarnation, JobId, JobKind, JobVersion, KillPolicy, Millis, Namespace, NetworkMode,
        OnPartition, Resources, RestartPolicy, Rules, TaskSpec, UpdatePolicy,
    };
    use berth_runtime::images::{Store, StoreConfig};
    use berth_runtime::{LogLimits, OciRuntime, RuntimeConfig, STARTING_AT_ONCE};

    use super::*;

    /// How long anything may take before the test fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn desired() -> DesiredAlloc {
        numbered(1)
    }

    fn numbered(number: u64) -> DesiredAlloc {
        let task = TaskSpec {
            name: "main".parse().unwrap(),
            driver: Driver::Exec,
            command: vec!["/bin/true".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            resources: Resources::default(),
            pids_limit: 10,
            ports: Vec::new(),
            devices: Vec::new(),
            checks: Vec::new(),
            kill: KillPolicy { signal: Some(15), timeout: Millis(1000) },
            meta: BTreeMap::new(),
        };
        let group = GroupSpec {
            name: "group".parse().unwrap(),
            count: 1,
            constraints: Vec::new(),
            rules: Rules::default(),
            network: NetworkMode::Host,
            tasks: vec![task],
            restart: RestartPolicy { attempts: 0, interval: Millis(1), delay: Millis(1), max_delay: Millis(1) },
            update: UpdatePolicy { max_parallel: 1, min_ready: Millis(0) },
            on_partition: OnPartition::default(),
            meta: BTreeMap::new(),
        };
        DesiredAlloc {
            id: AllocId::new(Incarnation(1), number),
            job: JobId { namespace: Namespace::default(), name: "job".parse().unwrap() },
            kind: JobKind::Batch,
            version: JobVersion(1),
            index: 0,
            group,
            ports: BTreeMap::new(),
            devices: BTreeMap::new(),
            goal: Goal::Run,
        }
    }

    /// A runtime whose shims say that they begin, wait for a word and then fail.
    pub(crate) async fn runtime(dir: &Path) -> Runtime {
        let program = dir.join("shim");
        let script = "#!/bin/sh\n: > \"$2/begun\"\nwhile [ ! -e \"$2/go\" ]; do sleep 0.02; done\nexit 1\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let config = RuntimeConfig {
            devices: Vec::new(),
            hidden: Vec::new(),
            data_dir: dir.to_owned(),
            shim_program: program,
            cgroup_parent: "berth-test-work".to_owned(),
            oci_runtime: OciRuntime::Builtin,
            logs: LogLimits::default(),
            credentials: BTreeMap::new(),
            node_env: BTreeMap::new(),
            patience: PATIENCE,
        };
        let images = Store::open(&dir.join("images"), StoreConfig::default()).unwrap();
        Runtime::open(config, images).await.unwrap().0
    }

    #[tokio::test]
    async fn a_stop_waits_for_a_shim_that_is_being_started() {
        let dir = tempfile::tempdir().unwrap();
        let (events, mut heard) = mpsc::channel(64);
        let mut workers = Workers::new(runtime(dir.path()).await, events);
        let desired = desired();
        let (alloc, folder) = (desired.id, dir.path().join("allocs").join(desired.id.to_string()));
        workers.give(Effect::Prepare(Box::new(desired)));
        let begun = async {
            while !folder.join("begun").exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("the shim begins");
        workers.give(Effect::Remove(alloc));
        std::fs::write(folder.join("go"), "").unwrap();
        let mut order = Vec::new();
        while order.last() != Some(&"removed") {
            match tokio::time::timeout(PATIENCE, heard.recv()).await.expect("the worker goes on").unwrap() {
                Event::Prepared { result, .. } => order.push(if result.is_err() { "not prepared" } else { "prepared" }),
                Event::Removed { .. } => order.push("removed"),
                _ => {}
            }
        }
        assert_eq!(order, ["not prepared", "removed"]);
    }

    #[tokio::test]
    async fn shims_are_started_a_few_at_a_time_and_what_waits_can_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let (events, mut heard) = mpsc::channel(64);
        let mut workers = Workers::new(runtime(dir.path()).await, events);
        let all: Vec<DesiredAlloc> = (1..=3 * STARTING_AT_ONCE).map(|n| numbered(n as u64)).collect();
        let folder = |alloc: AllocId| dir.path().join("allocs").join(alloc.to_string());
        let begun = |alloc: &AllocId| folder(*alloc).join("begun").exists();
        let ids: Vec<AllocId> = all.iter().map(|desired| desired.id).collect();
        for desired in all {
            workers.give(Effect::Prepare(Box::new(desired)));
        }
        let full = async {
            while ids.iter().filter(|alloc| begun(alloc)).count() < STARTING_AT_ONCE {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, full).await.expect("as many begin as may");
        // None of those that have begun goes on, and nothing else ends the wait of one that has not.
        let waits = *ids.iter().find(|alloc| !begun(alloc)).expect("some wait for their turn");
        workers.give(Effect::Remove(waits));
        match tokio::time::timeout(PATIENCE, heard.recv()).await.expect("it is removed without its turn") {
            Some(Event::Removed { alloc }) => assert_eq!(alloc, waits),
            other => panic!("{other:?}"),
        }
        assert!(!begun(&waits));
        ids.iter().for_each(|alloc| drop(std::fs::write(folder(*alloc).join("go"), "")));
    }
}
