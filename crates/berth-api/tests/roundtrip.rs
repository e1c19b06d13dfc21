//! A specification survives being written and read again, whatever it is: as a JSON value and as a file's text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::str::FromStr;

use berth_api::jobfile::{from_json, parse, to_json};
use berth_model::{
    AtMost, Bytes, CheckKind, CheckSpec, Constraint, ContainerSpec, CpuMillis, DeviceAmount, DeviceSpec, Domain,
    Driver, Gang, GroupSpec, HttpProbe, JobId, JobKind, JobSpec, KillPolicy, Mbits, Millis, NetworkMode, OnPartition,
    Operator, Ordering, Peer, Port, PortName, PortSpec, Preemptible, Preference, Priority, Probe, Relation, Resources,
    RestartPolicy, Rules, Scheme, Sense, Spread, Strength, TaskSpec, Thousandths, UpdatePolicy, Weight,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

const NAME: &str = "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?";
const WORD: &str = "[a-zA-Z0-9._/-]{1,12}";

/// Text of every sort but NUL: quotes, colons, line ends, other scripts.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ -~]{0,12}", 1 => "\\PC{0,8}", 1 => select(vec!["null", "~", "yes", "1.10", "a: b", "- a", "a\nb", "\t", "<<"]).prop_map(str::to_owned)]
}

fn name<N>() -> impl Strategy<Value = N>
where
    N: FromStr + Debug,
    N::Err: Debug,
{
    NAME.prop_map(|text| text.parse().expect("the pattern is a name's"))
}

fn meta() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[ -;=-~]{1,10}", text(), 0..3)
}

fn time(least: u64) -> impl Strategy<Value = Millis> {
    prop_oneof![least..5000, (1..720 * 60u64).prop_map(|m| m * 60_000)].prop_map(Millis)
}

fn size() -> impl Strategy<Value = Bytes> {
    prop_oneof![1..=1u64 << 50, (1..=1u64 << 20).prop_map(|n| n << 30)].prop_map(Bytes)
}

fn constraint() -> impl Strategy<Value = Constraint> {
    let order = select(vec![Ordering::Less, Ordering::AtMost, Ordering::Greater, Ordering::AtLeast]);
    let operator = prop_oneof![
        text().prop_map(Operator::Is),
        text().prop_map(Operator::IsNot),
        text().prop_map(Operator::Glob),
        vec(text(), 1..4).prop_map(Operator::In),
        vec(text(), 1..4).prop_map(Operator::NotIn),
        Just(Operator::Set),
        Just(Operator::Unset),
        (order, "-?[0-9]{1,4}(\\.[0-9]{1,3}){0,2}").prop_map(|(order, value)| Operator::Compare(order, value)),
    ];
    (WORD, operator).prop_map(|(attribute, operator)| Constraint { attribute, operator })
}

fn image() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?/[a-z0-9]{1,6}(/[a-z0-9]{1,4})?:[a-zA-Z0-9_][a-z.-]{0,5}",
        "localhost/[a-z]{1,6}(:v1)?@sha256:[0-9a-f]{64}",
        "oci(-archive)?:/[a-z/]{0,9}[a-z](:[a-z]{1,4})?",
    ]
}

fn driver() -> impl Strategy<Value = Driver> {
    let tmpfs = btree_map("/[a-z]{1,6}", size(), 0..3);
    let caps = vec(select(vec!["NET_ADMIN", "SYS_TIME", "CHOWN"]).prop_map(str::to_owned), 0..3);
    let container =
        (image(), of(WORD), any::<bool>(), tmpfs, caps).prop_map(|(image, credential, root, tmpfs, cap_add)| {
            let tmpfs = tmpfs.into_iter().collect();
            Driver::Container(ContainerSpec { image, credential, read_only_root: root, tmpfs, cap_add })
        });
    prop_oneof![Just(Driver::Exec), container]
}

/// Without ports: those have to differ within a group.
fn task() -> impl Strategy<Value = TaskSpec> {
    let resources = (1..=1_024_000u64, size(), size(), 0..=1_000_000u64).prop_map(|(cpu, memory, disk, network)| {
        Resources { cpu: CpuMillis(cpu), memory, disk, network: Mbits(network) }
    });
    let kill = (proptest::option::of(1..=64u8), time(0)).prop_map(|(signal, timeout)| KillPolicy { signal, timeout });
    let env = btree_map("[A-Z_][A-Z0-9]{0,5}", text(), 0..3);
    let command = ("[ -~]{1,8}", vec(text(), 0..3)).prop_map(|(program, rest)| [vec![program], rest].concat());
    let user = of("[a-z0-9]{1,4}(:[a-z0-9]{1,4})?");
    let runs = (driver(), command, env, of("/[a-z/]{0,9}"), user);
    (runs, resources, 1..=4_194_304u32, kill, meta()).prop_map(|(runs, resources, pids_limit, kill, meta)| {
        let (driver, command, env, working_dir, user) = runs;
        let name = "t".parse().expect("a letter is a name");
        TaskSpec {
            name,
            driver,
            command,
            env,
            working_dir,
            user,
            resources,
            pids_limit,
            ports: vec![],
            devices: vec![],
            checks: vec![],
            kill,
            meta,
        }
    })
}

fn device() -> impl Strategy<Value = DeviceSpec> {
    let share = (1..1000u16).prop_map(|share| DeviceAmount::Share(Thousandths(share)));
    let amount = prop_oneof![(1..=256u32).prop_map(DeviceAmount::Count), share];
    (name(), name(), amount, vec(constraint(), 0..3)).prop_map(|(name, kind, amount, constraints)| DeviceSpec {
        name,
        kind,
        amount,
        constraints,
    })
}

/// Tasks with names, ports and wishes for devices of their own, dealt out in turn.
fn tasks() -> impl Strategy<Value = Vec<TaskSpec>> {
    let numbers = btree_set(1..=u16::MAX, 0..4);
    let devices = vec(device(), 0..4);
    let checks = vec(check(), 0..6);
    let dealt = (vec(task(), 1..4), btree_set(NAME, 3), btree_set(NAME, 0..4), numbers).prop_map(deal);
    (dealt, devices, checks).prop_map(|(mut tasks, devices, checks)| {
        let count = tasks.len();
        let mut known = BTreeSet::new();
        for (at, device) in devices.into_iter().enumerate().filter(|(_, device)| known.insert(device.name.clone())) {
            tasks[at % count].devices.push(device);
        }
        deal_checks(&mut tasks, checks);
        tasks
    })
}

/// Without a port that the group has: [`deal_checks`] gives it one.
fn check() -> impl Strategy<Value = CheckSpec> {
    let port: PortName = "x".parse().expect("a letter is a name");
    let headers = btree_map("[a-z][a-z-]{0,6}", "[ -~]{0,6}", 0..3);
    let server_name = of("[a-z]{1,5}(\\.[a-z]{2,3})?");
    let scheme = prop_oneof![Just(Scheme::Http), server_name.prop_map(|server_name| Scheme::Https { server_name })];
    let http = (Just(port.clone()), "/[!-\"$-~]{0,8}", scheme, headers)
        .prop_map(|(port, path, scheme, headers)| Probe::Http(HttpProbe { port, path, scheme, headers }));
    let exec = ("[ -~]{1,8}", vec(text(), 0..3)).prop_map(|(program, rest)| [vec![program], rest].concat());
    let probe = prop_oneof![
        http,
        Just(Probe::Tcp { port }),
        exec.prop_map(|command| Probe::Exec { command }),
        "/[a-z/]{0,9}".prop_map(|path| Probe::File { path }),
    ];
    let kind = select(vec![CheckKind::Startup, CheckKind::Readiness, CheckKind::Liveness]);
    let times =
        (100..=3_600_000u64, 100..=60_000u64).prop_map(|(interval, timeout)| (Millis(interval), Millis(timeout)));
    (name(), kind, probe, times, 1..=10_000u32, 1..=10_000u32).prop_map(
        |(name, kind, probe, (interval, timeout), successes, failures)| CheckSpec {
            name,
            kind,
            probe,
            interval,
            timeout,
            successes,
            failures,
        },
    )
}

/// Deals out checks whose names are unique in their tasks; those that ask a port ask one of the group.
fn deal_checks(tasks: &mut [TaskSpec], checks: Vec<CheckSpec>) {
    let ports: Vec<PortName> = tasks.iter().flat_map(|task| task.ports.iter().map(|port| port.name.clone())).collect();
    let count = tasks.len();
    for (at, mut check) in checks.into_iter().enumerate() {
        let given = ports.get(at % ports.len().max(1)).cloned();
        match (&mut check.probe, given) {
            (Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port }, Some(given)) => *port = given,
            (Probe::Http(_) | Probe::Tcp { .. }, None) => continue,
            (Probe::Exec { .. } | Probe::File { .. }, _) => {}
        }
        let task = &mut tasks[at % count];
        if task.checks.iter().all(|known| known.name != check.name) {
            task.checks.push(check);
        }
    }
}

fn deal(given: (Vec<TaskSpec>, BTreeSet<String>, BTreeSet<String>, BTreeSet<u16>)) -> Vec<TaskSpec> {
    let (mut tasks, names, port_names, numbers) = given;
    for (task, name) in tasks.iter_mut().zip(&names) {
        task.name = name.parse().expect("the pattern is a name's");
    }
    let mut numbers = numbers.into_iter().map(Port);
    let count = tasks.len();
    for (i, name) in port_names.iter().enumerate() {
        let name = name.parse().expect("the pattern is a name's");
        tasks[i % count].ports.push(PortSpec { name, fixed: numbers.next() });
    }
    tasks
}

fn domain() -> impl Strategy<Value = Domain> {
    let attribute = "label\\.[a-z]{1,6}".prop_map(Domain::Attribute);
    prop_oneof![Just(Domain::Node), Just(Domain::rack()), Just(Domain::zone()), attribute]
}

fn weight() -> impl Strategy<Value = Weight> {
    (1..=1000u16).prop_map(Weight)
}

/// Those that seek others before those that shun them, as a file tells them.
fn relations() -> impl Strategy<Value = Vec<Relation>> {
    let to = (name(), of(name())).prop_map(|(job, group)| Peer { job, group });
    let strength = prop_oneof![Just(Strength::Required), weight().prop_map(Strength::Preferred)];
    let sense = select(vec![Sense::Near, Sense::Apart]);
    let relation = (to, sense, domain(), strength).prop_map(|(to, sense, within, strength)| Relation {
        to,
        sense,
        within,
        strength,
    });
    vec(relation, 0..4).prop_map(|mut relations| {
        relations.sort_by_key(|relation| relation.sense);
        relations
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let at_most = (1..=100_000u32, domain()).prop_map(|(count, per)| AtMost { count, per });
    let preference = (constraint(), weight()).prop_map(|(constraint, weight)| Preference { constraint, weight });
    let targets = btree_map("[ -;=-~]{1,10}", 0..=33u8, 0..3);
    let spread = (domain(), weight(), targets).prop_map(|(over, weight, targets)| Spread { over, weight, targets });
    let gang = select(vec![Gang::Free, Gang::Whole]);
    (vec(at_most, 0..3), relations(), vec(preference, 0..3), vec(spread, 0..3), gang).prop_map(
        |(at_most, relations, preferences, spread, gang)| Rules { at_most, relations, preferences, spread, gang },
    )
}

fn group() -> impl Strategy<Value = GroupSpec> {
    let restart = (0..=1000u32, time(1), time(0), time(0)).prop_map(|(attempts, interval, a, b)| RestartPolicy {
        attempts,
        interval,
        delay: a.min(b),
        max_delay: a.max(b),
    });
    let update =
        (1..=100_000u32, time(0)).prop_map(|(max_parallel, min_ready)| UpdatePolicy { max_parallel, min_ready });
    let on_partition = prop_oneof![
        Just(OnPartition::Keep),
        (0..=7 * 24 * 3600 * 1000u64).prop_map(|after| OnPartition::Replace { after: Millis(after) }),
        (3_000..=7 * 24 * 3600 * 1000u64).prop_map(|lease| OnPartition::Fence { lease: Millis(lease) }),
    ];
    let demands = (vec(constraint(), 0..3), rules(), on_partition);
    let parts = (demands, any::<bool>(), restart, update, meta());
    (name(), 0..=100_000u32, tasks(), parts).prop_map(
        |(name, count, tasks, ((constraints, rules, on_partition), alone, restart, update, meta))| {
            let ports = tasks.iter().any(|t| !t.ports.is_empty());
            let network = if alone && !ports { NetworkMode::None } else { NetworkMode::Host };
            GroupSpec { name, count, constraints, rules, network, tasks, restart, update, on_partition, meta }
        },
    )
}

fn job() -> impl Strategy<Value = JobSpec> {
    let id = (name(), name()).prop_map(|(namespace, name)| JobId { namespace, name });
    let kind = select(vec![JobKind::Service, JobKind::Batch, JobKind::System]);
    let groups = (vec(group(), 1..4), btree_set(NAME, 3)).prop_map(|(mut groups, names)| {
        for (group, name) in groups.iter_mut().zip(&names) {
            group.name = name.parse().expect("the pattern is a name's");
        }
        groups
    });
    let preemptible = select(vec![Preemptible::Yes, Preemptible::No]);
    let demands = (preemptible, vec(constraint(), 0..3));
    (id, kind, 0..=100u8, demands, groups, meta()).prop_map(|(id, kind, priority, demands, mut groups, meta)| {
        if kind == JobKind::System {
            groups.iter_mut().for_each(|group| (group.count, group.rules.gang) = (1, Gang::Free));
        }
        let (priority, (preemptible, constraints)) = (Priority(priority), demands);
        JobSpec { id, kind, priority, preemptible, constraints, groups, meta }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_job_survives_the_wire_and_a_file(spec in job()) {
        let json = to_json(&spec);
        let again = from_json(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&again, &spec, "as a value");
        let text = serde_json::to_string_pretty(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let again = parse("job.json", &text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&again, &spec, "as a file");
    }
}
