//! Any value of every stored domain type.

use std::collections::BTreeMap;

use berth_model::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

/// Free text, with what JSON and keys find hard.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "\\PC{0,12}", Just("\"\\\u{0}\n,/%ä\u{1f980}".to_owned())]
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

/// Any number, the edges often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..10_u64, Just(u64::MAX), Just((1 << 53) + 1)]
}

fn id<T: std::fmt::Debug>(new: fn(Incarnation, u64) -> T) -> impl Strategy<Value = T> {
    (any::<u32>(), number()).prop_map(move |(life, counter)| new(Incarnation(life), counter))
}

fn alloc_id() -> impl Strategy<Value = AllocId> {
    id(AllocId::new)
}

fn node_id() -> impl Strategy<Value = NodeId> {
    id(NodeId::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    number().prop_map(Timestamp)
}

fn millis() -> impl Strategy<Value = Millis> {
    number().prop_map(Millis)
}

fn port() -> impl Strategy<Value = Port> {
    any::<u16>().prop_map(Port)
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4)
}

fn resources() -> impl Strategy<Value = Resources> {
    (number(), number(), number(), number()).prop_map(|(cpu, memory, disk, network)| Resources {
        cpu: CpuMillis(cpu),
        memory: Bytes(memory),
        disk: Bytes(disk),
        network: Mbits(network),
    })
}

fn job_id() -> impl Strategy<Value = JobId> {
    (name(), name()).prop_map(|(namespace, name)| JobId { namespace, name })
}

fn version() -> impl Strategy<Value = JobVersion> {
    number().prop_map(JobVersion)
}

fn cause() -> BoxedStrategy<Cause> {
    let timers = [Timer::Heartbeat, Timer::MinReady, Timer::Reschedule, Timer::Collect, Timer::Move];
    let timer = prop::sample::select(timers.to_vec());
    prop_oneof![
        id(CommandId::new).prop_map(Cause::Command),
        id(EventId::new).prop_map(Cause::Event),
        (node_id(), number()).prop_map(|(node, serial)| Cause::Report { node, serial }),
        (alloc_id(), job_id()).prop_map(|(by, job)| Cause::Preemption { by, job }),
        node_id().prop_map(|node| Cause::Drain { node }),
        (timer, time()).prop_map(|(timer, due)| Cause::Timer { timer, due }),
        (node_id(), any::<i64>(), any::<i64>()).prop_map(|(from, cost, gain)| Cause::Balance { from, cost, gain }),
    ]
    .boxed()
}

fn failure() -> impl Strategy<Value = Failure> {
    let kind = prop_oneof![
        Just(FailureKind::Image),
        Just(FailureKind::ImageDigest),
        Just(FailureKind::DiskFull),
        Just(FailureKind::NoSuchCommand),
        Just(FailureKind::NoSuchUser),
        Just(FailureKind::PortTaken),
        Just(FailureKind::Exit),
        Just(FailureKind::OutOfMemory),
        Just(FailureKind::DiskExceeded),
        Just(FailureKind::Unhealthy),
        Just(FailureKind::ShimLost),
        Just(FailureKind::Runtime),
        Just(FailureKind::Rebooted),
        Just(FailureKind::DeviceMissing),
        Just(FailureKind::Fenced),
    ];
    (kind, text()).prop_map(|(kind, message)| Failure { kind, message })
}

fn constraint() -> BoxedStrategy<Constraint> {
    let ordering =
        prop_oneof![Just(Ordering::Less), Just(Ordering::AtMost), Just(Ordering::Greater), Just(Ordering::AtLeast)];
    let operator = prop_oneof![
        text().prop_map(Operator::Is),
        text().prop_map(Operator::IsNot),
        vec(text(), 0..3).prop_map(Operator::In),
        vec(text(), 0..3).prop_map(Operator::NotIn),
        Just(Operator::Set),
        Just(Operator::Unset),
        (ordering, text()).prop_map(|(ordering, value)| Operator::Compare(ordering, value)),
        text().prop_map(Operator::Glob),
    ];
    (text(), operator).prop_map(|(attribute, operator)| Constraint { attribute, operator }).boxed()
}

fn device_id() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9._:/-]{1,128}".prop_map(|text| text.parse().unwrap())
}

fn grants() -> impl Strategy<Value = DeviceGrants> {
    btree_map(name(), vec(device_id(), 0..3), 0..3)
}

fn device_spec() -> BoxedStrategy<DeviceSpec> {
    let share = any::<u16>().prop_map(Thousandths).prop_map(DeviceAmount::Share);
    let amount = prop_oneof![any::<u32>().prop_map(DeviceAmount::Count), share];
    (name(), name(), amount, vec(constraint(), 0..3))
        .prop_map(|(name, kind, amount, constraints)| DeviceSpec { name, kind, amount, constraints })
        .boxed()
}

fn device() -> impl Strategy<Value = Device> {
    (name(), device_id(), texts(), vec(text(), 0..3)).prop_map(|(kind, id, attributes, paths)| Device {
        kind,
        id,
        attributes,
        paths,
    })
}

fn check_spec() -> BoxedStrategy<CheckSpec> {
    let scheme = prop_oneof![Just(Scheme::Http), of(text()).prop_map(|server_name| Scheme::Https { server_name })];
    let http = (name(), text(), scheme, texts())
        .prop_map(|(port, path, scheme, headers)| Probe::Http(HttpProbe { port, path, scheme, headers }));
    let probe = prop_oneof![
        http,
        name().prop_map(|port| Probe::Tcp { port }),
        vec(text(), 0..3).prop_map(|command| Probe::Exec { command }),
        text().prop_map(|path| Probe::File { path }),
    ];
    let kind = prop_oneof![Just(CheckKind::Startup), Just(CheckKind::Readiness), Just(CheckKind::Liveness)];
    (name(), kind, probe, millis(), millis(), any::<u32>(), any::<u32>())
        .prop_map(|(name, kind, probe, interval, timeout, successes, failures)| CheckSpec {
            name,
            kind,
            probe,
            interval,
            timeout,
            successes,
            failures,
        })
        .boxed()
}

fn driver() -> BoxedStrategy<Driver> {
    let tmpfs = vec((text(), number().prop_map(Bytes)), 0..3);
    let container = (text(), of(text()), any::<bool>(), tmpfs, vec(text(), 0..3)).prop_map(
        |(image, credential, read_only_root, tmpfs, cap_add)| ContainerSpec {
            image,
            credential,
            read_only_root,
            tmpfs,
            cap_add,
        },
    );
    prop_oneof![container.prop_map(Driver::Container), Just(Driver::Exec)].boxed()
}

fn task_spec() -> BoxedStrategy<TaskSpec> {
    let ports = vec((name(), of(port())).prop_map(|(name, fixed)| PortSpec { name, fixed }), 0..3);
    let kill = (any::<Option<u8>>(), millis()).prop_map(|(signal, timeout)| KillPolicy { signal, timeout });
    let program = (name(), driver(), vec(text(), 0..3), texts(), of(text()), of(text()));
    let given = (ports, vec(device_spec(), 0..3), vec(check_spec(), 0..3));
    (program, resources(), any::<u32>(), given, kill, texts())
        .prop_map(
            |(
                (name, driver, command, env, working_dir, user),
                resources,
                pids_limit,
                (ports, devices, checks),
                kill,
                meta,
            )| {
                TaskSpec {
                    name,
                    driver,
                    command,
                    env,
                    working_dir,
                    user,
                    resources,
                    pids_limit,
                    ports,
                    devices,
                    checks,
                    kill,
                    meta,
                }
            },
        )
        .boxed()
}

fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![Just(Domain::Node), Just(Domain::rack()), text().prop_map(Domain::Attribute)]
}

fn at_most() -> impl Strategy<Value = AtMost> {
    (any::<u32>(), domain()).prop_map(|(count, per)| AtMost { count, per })
}

fn relation() -> impl Strategy<Value = Relation> {
    let to = (name(), of(name())).prop_map(|(job, group)| Peer { job, group });
    let sense = prop_oneof![Just(Sense::Near), Just(Sense::Apart)];
    let preferred = any::<u16>().prop_map(Weight).prop_map(Strength::Preferred);
    let strength = prop_oneof![Just(Strength::Required), preferred];
    (to, sense, domain(), strength).prop_map(|(to, sense, within, strength)| Relation { to, sense, within, strength })
}

fn rules() -> BoxedStrategy<Rules> {
    let weight = || any::<u16>().prop_map(Weight);
    let preference = (constraint(), weight()).prop_map(|(constraint, weight)| Preference { constraint, weight });
    let spread = (domain(), weight(), btree_map(text(), any::<u8>(), 0..3))
        .prop_map(|(over, weight, targets)| Spread { over, weight, targets });
    let gang = prop_oneof![Just(Gang::Free), Just(Gang::Whole)];
    (vec(at_most(), 0..3), vec(relation(), 0..3), vec(preference, 0..3), vec(spread, 0..3), gang)
        .prop_map(|(at_most, relations, preferences, spread, gang)| Rules {
            at_most,
            relations,
            preferences,
            spread,
            gang,
        })
        .boxed()
}

fn group_spec() -> BoxedStrategy<GroupSpec> {
    let network = prop_oneof![Just(NetworkMode::Host), Just(NetworkMode::None)];
    let restart = (any::<u32>(), millis(), millis(), millis())
        .prop_map(|(attempts, interval, delay, max_delay)| RestartPolicy { attempts, interval, delay, max_delay });
    let update =
        (any::<u32>(), millis()).prop_map(|(max_parallel, min_ready)| UpdatePolicy { max_parallel, min_ready });
    let on_partition = prop_oneof![
        Just(OnPartition::Keep),
        millis().prop_map(|after| OnPartition::Replace { after }),
        millis().prop_map(|lease| OnPartition::Fence { lease }),
    ];
    let demands = (vec(constraint(), 0..3), rules(), on_partition);
    (name(), any::<u32>(), demands, network, vec(task_spec(), 0..3), restart, update, texts())
        .prop_map(|(name, count, (constraints, rules, on_partition), network, tasks, restart, update, meta)| {
            GroupSpec { name, count, constraints, rules, network, tasks, restart, update, on_partition, meta }
        })
        .boxed()
}

fn kind() -> impl Strategy<Value = JobKind> {
    prop_oneof![Just(JobKind::Service), Just(JobKind::Batch), Just(JobKind::System)]
}

fn spec() -> BoxedStrategy<JobSpec> {
    let groups = vec(group_spec(), 0..3);
    let preemptible = prop_oneof![Just(Preemptible::Yes), Just(Preemptible::No)];
    (job_id(), kind(), any::<u8>(), preemptible, vec(constraint(), 0..3), groups, texts())
        .prop_map(|(id, kind, priority, preemptible, constraints, groups, meta)| JobSpec {
            id,
            kind,
            priority: Priority(priority),
            preemptible,
            constraints,
            groups,
            meta,
        })
        .boxed()
}

fn job_outcome() -> impl Strategy<Value = JobOutcome> {
    prop_oneof![Just(JobOutcome::Stopped), Just(JobOutcome::Complete), Just(JobOutcome::Failed)]
}

fn job() -> BoxedStrategy<Job> {
    let state = prop_oneof![
        Just(JobState::Active),
        (time(), cause()).prop_map(|(since, cause)| JobState::Stopping { since, cause }),
        (time(), job_outcome()).prop_map(|(at, outcome)| JobState::Ended { at, outcome }),
    ];
    (spec(), version(), (time(), cause()), state)
        .prop_map(|(spec, version, changed, state)| Job { spec, version, changed, state })
        .boxed()
}

fn node() -> BoxedStrategy<Node> {
    let state = prop_oneof![
        time().prop_map(|since| NodeState::Ready { since }),
        (time(), cause()).prop_map(|(since, cause)| NodeState::Lost { since, cause }),
    ];
    let ports = (port(), port());
    let fingerprint = (name(), text(), resources(), texts(), vec(device(), 0..3), ports, text()).prop_map(
        |(name, address, resources, attributes, devices, dynamic_ports, agent_version)| Fingerprint {
            name,
            address,
            resources,
            attributes,
            devices,
            dynamic_ports,
            agent_version,
        },
    );
    let conditions = btree_map(Just(NodeCondition::DiskFull), time(), 0..2);
    let drain = of((time(), time(), cause(), of(time()), of(time()))).prop_map(|drain| {
        drain.map(|(since, asked, cause, deadline, done)| Drain { since, asked, cause, deadline, done })
    });
    (node_id(), text(), fingerprint, state, conditions, drain)
        .prop_map(|(id, agent, fingerprint, state, conditions, drain)| Node {
            id,
            agent: AgentKey(agent),
            fingerprint,
            state,
            conditions,
            drain,
        })
        .boxed()
}

fn dimension() -> impl Strategy<Value = Dimension> {
    prop_oneof![
        Just(Dimension::Cpu),
        Just(Dimension::Memory),
        Just(Dimension::Disk),
        Just(Dimension::Network),
        name().prop_map(Dimension::Device),
    ]
}

fn filtered() -> BoxedStrategy<Filtered> {
    let filter = prop_oneof![
        Just(Filter::NodeLost),
        Just(Filter::DiskFull),
        Just(Filter::Draining),
        text().prop_map(Filter::DriverMissing),
        constraint().prop_map(Filter::Constraint),
        name().prop_map(Filter::DeviceMissing),
        port().prop_map(Filter::PortTaken),
        Just(Filter::DynamicPortsExhausted),
        dimension().prop_map(Filter::Exhausted),
        at_most().prop_map(Filter::AtMost),
        relation().prop_map(Filter::Relation),
        job_id().prop_map(Filter::Shunned),
    ];
    btree_map(filter, any::<u32>(), 0..5).boxed()
}

fn terms() -> impl Strategy<Value = Vec<CostTerm>> {
    let term = prop_oneof![
        Just(Term::Utilisation),
        Just(Term::SameGroup),
        Just(Term::FailedHere),
        Just(Term::Preference),
        Just(Term::Affinity),
        Just(Term::AntiAffinity),
        Just(Term::Spread),
        Just(Term::Emptiness),
    ];
    vec((term, any::<i64>()).prop_map(|(term, cost)| CostTerm { term, cost }), 0..4)
}

fn placement() -> BoxedStrategy<Placement> {
    let policy = (name(), any::<u64>().prop_map(PolicyVersion));
    let explanation = (policy, any::<u32>(), filtered(), terms(), of((node_id(), terms()))).prop_map(
        |((policy, policy_version), considered, filtered, chosen, runner_up)| Explanation {
            policy,
            policy_version,
            considered,
            filtered,
            chosen,
            runner_up,
        },
    );
    (node_id(), btree_map(name(), port(), 0..3), grants(), id(DecisionId::new), explanation)
        .prop_map(|(node, ports, devices, decision, explanation)| Placement {
            node,
            ports,
            devices,
            decision,
            explanation,
        })
        .boxed()
}

fn wait_reason() -> BoxedStrategy<WaitReason> {
    let shortfall = (dimension(), number(), number(), number())
        .prop_map(|(dimension, wanted, free, capacity)| Shortfall { dimension, wanted, free, capacity });
    let verdict = || prop_oneof![Just(Verdict::Waiting), Just(Verdict::Never)];
    let shortfall = shortfall.boxed();
    let gang = (id(DecisionId::new), any::<(u32, u32)>(), filtered(), of((node_id(), shortfall.clone())), verdict())
        .prop_map(|(decision, (fit, wanted), filtered, nearest, verdict)| WaitReason::GangIncomplete {
            decision,
            fit,
            wanted,
            filtered,
            nearest,
            verdict,
        });
    let no_fit = (id(DecisionId::new), filtered(), of((node_id(), shortfall)), verdict()).prop_map(
        |(decision, filtered, nearest, verdict)| WaitReason::NoNodeFits { decision, filtered, nearest, verdict },
    );
    prop_oneof![
        Just(WaitReason::Queued),
        Just(WaitReason::NoNodes),
        no_fit,
        gang,
        (id(DecisionId::new), node_id(), vec(alloc_id(), 0..3))
            .prop_map(|(decision, node, victims)| WaitReason::Preempting { decision, node, victims }),
        (time(), alloc_id()).prop_map(|(until, failed)| WaitReason::BackOff { until, failed }),
    ]
    .boxed()
}

fn outcome() -> BoxedStrategy<Outcome> {
    prop_oneof![
        Just(Outcome::Complete),
        Just(Outcome::Stopped),
        (alloc_id(), job_id()).prop_map(|(by, job)| Outcome::Preempted { by, job }),
        node_id().prop_map(Outcome::Drained),
        failure().prop_map(Outcome::Failed),
        node_id().prop_map(Outcome::Lost),
    ]
    .boxed()
}

fn exit() -> BoxedStrategy<Exit> {
    let how = prop_oneof![
        any::<u8>().prop_map(ExitKind::Status),
        any::<u8>().prop_map(ExitKind::Signal),
        Just(ExitKind::OutOfMemory),
        failure().prop_map(ExitKind::Failure),
    ];
    (time(), how).prop_map(|(at, how)| Exit { at, how }).boxed()
}

fn task_status() -> BoxedStrategy<TaskStatus> {
    let state = prop_oneof![
        Just(TaskState::Pending),
        (any::<u32>(), time()).prop_map(|(pid, started)| TaskState::Running { pid, started }),
        time().prop_map(|until| TaskState::BackOff { until }),
        Just(TaskState::Done),
    ];
    let check_state = prop_oneof![Just(CheckState::Pending), Just(CheckState::Passing), Just(CheckState::Failing)];
    let check = (check_state, time(), any::<u32>(), text()).prop_map(|(state, since, failures, output)| CheckStatus {
        state,
        since,
        failures,
        output,
    });
    (state, any::<u32>(), of(exit()), btree_map(name(), check, 0..3))
        .prop_map(|(state, restarts, last_exit, checks)| TaskStatus { state, restarts, last_exit, checks })
        .boxed()
}

fn alloc_state() -> BoxedStrategy<AllocState> {
    prop_oneof![
        (time(), wait_reason()).prop_map(|(since, reason)| AllocState::Waiting { since, reason }),
        (placement(), time()).prop_map(|(placement, since)| AllocState::Placed { placement, since }),
        (placement(), time(), of(time())).prop_map(|(placement, since, ready)| AllocState::Running {
            placement,
            since,
            ready
        }),
        (placement(), time(), cause()).prop_map(|(placement, since, cause)| AllocState::Stopping {
            placement,
            since,
            cause
        }),
        (of(placement()), time(), outcome(), cause()).prop_map(|(placement, at, outcome, cause)| AllocState::Ended {
            placement,
            at,
            outcome,
            cause
        }),
    ]
    .boxed()
}

fn alloc() -> BoxedStrategy<Alloc> {
    let whose = (alloc_id(), job_id(), version(), name(), any::<u32>());
    let history = (of(node_id()), of(alloc_id()), any::<u32>(), time(), cause());
    (whose, history, alloc_state(), btree_map(name(), task_status(), 0..3))
        .prop_map(|((id, job, version, group, index), (bound_to, replaces, failures, created, cause), state, tasks)| {
            Alloc { id, job, version, group, index, bound_to, replaces, failures, created, cause, state, tasks }
        })
        .boxed()
}

fn command() -> BoxedStrategy<CommandRecord> {
    let outcome = prop_oneof![
        (job_id(), version(), any::<bool>()).prop_map(|(job, version, changed)| CommandOutcome::JobVersion {
            job,
            version,
            changed
        }),
        job_id().prop_map(CommandOutcome::Stopping),
        alloc_id().prop_map(CommandOutcome::StoppingAlloc),
        prop::collection::btree_set(node_id(), 0..4).prop_map(CommandOutcome::Draining),
        prop::collection::btree_set(node_id(), 0..4).prop_map(CommandOutcome::Enabled),
        prop::collection::btree_set(node_id(), 0..4).prop_map(CommandOutcome::Abandoned),
        (name(), any::<u64>(), any::<bool>()).prop_map(|(name, version, changed)| {
            CommandOutcome::Policy { name, version: PolicyVersion(version), changed }
        }),
        trust_outcome().prop_map(CommandOutcome::Trust),
        (any::<u32>(), any::<bool>())
            .prop_map(|(format, changed)| CommandOutcome::Finalised { format: Format(format), changed }),
    ];
    (id(CommandId::new), text(), name(), text(), time(), number(), outcome)
        .prop_map(|(id, principal, namespace, key, at, digest, outcome)| CommandRecord {
            id,
            principal: Principal(principal),
            namespace,
            key: IdempotencyKey(key),
            at,
            digest,
            outcome,
        })
        .boxed()
}

fn of_alloc() -> impl Strategy<Value = (AllocId, JobId)> {
    (alloc_id(), job_id())
}

fn happening() -> BoxedStrategy<Happening> {
    let named = || (node_id(), name());
    let of_job = prop_oneof![
        (job_id(), version()).prop_map(|(job, version)| Happening::JobVersion { job, version }),
        job_id().prop_map(Happening::JobStopping),
        (job_id(), job_outcome()).prop_map(|(job, outcome)| Happening::JobEnded { job, outcome }),
        job_id().prop_map(Happening::JobCollected),
    ];
    let of_node = prop_oneof![
        named().prop_map(|(node, name)| Happening::NodeReady { node, name }),
        named().prop_map(|(node, name)| Happening::NodeLost { node, name }),
        named().prop_map(|(node, name)| Happening::NodeCollected { node, name }),
        (named(), prop::option::of(time())).prop_map(|((node, name), deadline)| Happening::NodeDraining {
            node,
            name,
            deadline
        }),
        named().prop_map(|(node, name)| Happening::NodeDrained { node, name }),
        named().prop_map(|(node, name)| Happening::NodeEnabled { node, name }),
        named().prop_map(|(node, name)| Happening::NodeAbandoned { node, name }),
        any::<u32>().prop_map(|format| Happening::Finalised(Format(format))),
    ];
    let of_placing = prop_oneof![
        (of_alloc(), of(alloc_id())).prop_map(|((alloc, job), replaces)| Happening::AllocCreated {
            alloc,
            job,
            replaces
        }),
        of_alloc().prop_map(|(alloc, job)| Happening::AllocWaiting { alloc, job }),
        (of_alloc(), node_id()).prop_map(|((alloc, job), node)| Happening::AllocPlaced { alloc, job, node }),
        (of_alloc(), node_id()).prop_map(|((alloc, job), node)| Happening::AllocRunning { alloc, job, node }),
        of_alloc().prop_map(|(alloc, job)| Happening::AllocReady { alloc, job }),
    ];
    let of_ending = prop_oneof![
        (of_alloc(), name(), exit()).prop_map(|((alloc, job), task, exit)| Happening::TaskRestarting {
            alloc,
            job,
            task,
            exit
        }),
        (of_alloc(), name(), name(), text()).prop_map(|((alloc, job), task, check, output)| {
            Happening::CheckFailing { alloc, job, task, check, output }
        }),
        of_alloc().prop_map(|(alloc, job)| Happening::AllocStopping { alloc, job }),
        (of_alloc(), outcome()).prop_map(|((alloc, job), outcome)| Happening::AllocEnded { alloc, job, outcome }),
        (name(), any::<u64>())
            .prop_map(|(name, version)| Happening::PolicyChanged { name, version: PolicyVersion(version) }),
    ];
    prop_oneof![of_job, of_node, of_placing, of_ending, trust_happening().prop_map(Happening::Trust)].boxed()
}

fn ledger() -> BoxedStrategy<LedgerEntry> {
    (id(EventId::new), time(), cause(), happening())
        .prop_map(|(id, at, cause, what)| LedgerEntry { id, at, cause, what })
        .boxed()
}

/// Any epoch.
pub fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u32>(), number()).prop_map(|(life, counter)| Epoch { incarnation: Incarnation(life), counter })
}

fn meta() -> BoxedStrategy<Meta> {
    (any::<u32>(), epoch(), number(), number(), number(), number(), number())
        .prop_map(|(life, epoch, allocs, nodes, commands, decisions, events)| Meta {
            format: Format::FIRST,
            incarnation: Incarnation(life),
            epoch,
            allocs,
            nodes,
            commands,
            decisions,
            events,
        })
        .boxed()
}

fn policy() -> BoxedStrategy<SetPolicy> {
    let weights = || {
        any::<[u32; Term::ALL.len()]>().prop_map(|weights| {
            Term::ALL.into_iter().zip(weights).fold(Weights::NONE, |all, (term, weight)| all.with(term, weight))
        })
    };
    let balance = prop_oneof![Just(BalanceMode::Off), any::<u32>().prop_map(|at_most| BalanceMode::On { at_most })];
    let spec = (name(), weights(), btree_map(name(), weights(), 0..3), balance)
        .prop_map(|(name, weights, pools, balance)| PolicySpec { name, weights, pools, balance });
    (any::<u64>(), spec, time(), cause())
        .prop_map(|(version, spec, at, cause)| SetPolicy {
            policy: Policy { version: PolicyVersion(version), spec },
            changed: (at, cause),
        })
        .boxed()
}

fn sha256() -> impl Strategy<Value = Sha256> + Clone {
    any::<[u8; 32]>().prop_map(Sha256)
}

fn role() -> BoxedStrategy<Role> {
    prop_oneof![Just(Role::Server), Just(Role::Agent)].boxed()
}

fn trust_outcome() -> BoxedStrategy<TrustOutcome> {
    prop_oneof![
        sha256().prop_map(|id| TrustOutcome::Signs(AuthorityId(id))),
        sha256().prop_map(|id| TrustOutcome::Retired(AuthorityId(id))),
        sha256().prop_map(|id| TrustOutcome::Token(TokenId(id))),
        (role(), name(), sha256()).prop_map(|(role, name, key)| TrustOutcome::Joined { role, name, key: KeyId(key) }),
        name().prop_map(TrustOutcome::Revoked),
    ]
    .boxed()
}

fn trust_happening() -> BoxedStrategy<TrustHappening> {
    prop_oneof![
        sha256().prop_map(|id| TrustHappening::AuthorityAdded(AuthorityId(id))),
        sha256().prop_map(|id| TrustHappening::AuthorityRetired(AuthorityId(id))),
        (role(), of(name()), time()).prop_map(|(role, node, expires)| TrustHappening::TokenMade {
            role,
            node,
            expires
        }),
        (role(), name()).prop_map(|(role, name)| TrustHappening::Joined { role, name }),
        name().prop_map(TrustHappening::Revoked),
    ]
    .boxed()
}

fn trust() -> BoxedStrategy<Trust> {
    let bytes = || vec(any::<u8>(), 0..40);
    let authority = (sha256(), number(), (bytes(), of(bytes()), bytes()), time(), (time(), cause())).prop_map(
        |(id, number, (certificate, cross, sealed_key), not_after, made)| {
            let id = AuthorityId(id);
            Trust::Authority(Authority { id, number, certificate, cross, sealed_key, not_after, made })
        },
    );
    let token = (sha256(), role(), of(name()), time(), (time(), cause()), of((time(), sha256()))).prop_map(
        |(id, role, node, expires, made, used)| {
            let used = used.map(|(at, key)| (at, KeyId(key)));
            Trust::Token(JoinToken { id: TokenId(id), role, node, expires, made, used })
        },
    );
    let member = (name(), sha256(), (time(), cause()), of((time(), cause())))
        .prop_map(|(node, key, joined, revoked)| Trust::Member(Member { node, key: KeyId(key), joined, revoked }));
    prop_oneof![authority, token, member].boxed()
}

/// Any mutation that puts.
pub fn put() -> BoxedStrategy<Mutation> {
    prop_oneof![
        meta().prop_map(Mutation::PutMeta),
        node().prop_map(Mutation::PutNode),
        job().prop_map(|job| Mutation::PutJob(Box::new(job))),
        (version(), spec()).prop_map(|(version, spec)| Mutation::PutJobVersion(version, Box::new(spec))),
        alloc().prop_map(|alloc| Mutation::PutAlloc(Box::new(alloc))),
        command().prop_map(Mutation::PutCommand),
        ledger().prop_map(Mutation::PutLedger),
        policy().prop_map(|policy| Mutation::PutPolicy(Box::new(policy))),
        trust().prop_map(|trust| Mutation::PutTrust(Box::new(trust))),
    ]
    .boxed()
}

/// Anything that an agent may remember of an allocation.
pub fn remembered() -> BoxedStrategy<Remembered> {
    let goal = prop_oneof![Just(Goal::Run), Just(Goal::Stop)];
    let given = (btree_map(name(), port(), 0..3), grants());
    let desired = (alloc_id(), job_id(), kind(), version(), any::<u32>(), group_spec(), given, goal).prop_map(
        |(id, job, kind, version, index, group, (ports, devices), goal)| DesiredAlloc {
            id,
            job,
            kind,
            version,
            index,
            group,
            ports,
            devices,
            goal,
        },
    );
    let task = (task_status(), vec(time(), 0..4), any::<u32>()).prop_map(|(status, restarts, run)| RememberedTask {
        status,
        restarts,
        run,
    });
    let ended = prop_oneof![Just(Ended::Complete), Just(Ended::Stopped), failure().prop_map(Ended::Failed)];
    (desired, btree_map(name(), task, 0..3), of(ended))
        .prop_map(|(desired, tasks, ended)| Remembered { desired, tasks, ended })
        .boxed()
}
