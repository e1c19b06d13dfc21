//! What a task can rely on, and what an agent can.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use berth_model::{
    AllocId, Bytes, Device, DeviceAmount, DeviceGrants, DeviceSpec, ExitKind, FailureKind, FoundShim, Kill,
    NetworkMode, Port, PortSpec, ShimTaskState, TaskSpec,
};
use berth_runtime::images::{ImageConfig, build};
use berth_runtime::logs::{LogFrom, LogQuery, LogStream};
use berth_runtime::{ExecOutput, ExecRequest, RuntimeConfig, RuntimeError, RuntimeEvent, WindowSize};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Case, PATIENCE, World, alloc, container, main_task, program, settings};

macro_rules! cases {
    ($($name:ident)*) => {
        /// Every case, with its name.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

cases! {
    exit_status_is_told
    signals_reach_the_main_process
    the_signal_is_the_images_unless_the_job_names_one
    a_kill_ends_the_whole_task
    a_signal_for_another_run_is_left_alone
    a_task_runs_again_with_fresh_files_and_its_own_folder
    tasks_of_a_group_run_side_by_side
    logs_are_whole_and_in_order
    logs_are_followed_across_rotation
    the_agent_is_killed_and_finds_the_same_pids
    an_exit_while_no_agent_is_there_is_told_later
    the_shim_is_killed_and_its_orphans_are_ended
    a_shim_that_no_agent_knows_is_removed_with_its_allocation
    a_removal_ends_what_still_runs
    a_stopped_shim_does_not_hold_up_a_stop
    a_shim_that_does_not_listen_yet_is_removed
    an_allocation_whose_plan_cannot_be_read_is_known_by_its_shim
    an_allocation_of_an_earlier_boot_is_told_as_such
    signals_to_the_shim_are_forwarded
    memory_over_the_limit_is_told
    processes_are_limited
    the_root_is_writable_unless_said_otherwise
    folders_in_memory_are_limited
    capabilities_are_few
    seccomp_and_no_new_privileges_hold
    devices_in_a_root_cannot_be_opened
    users_are_found_in_the_image
    what_cannot_be_run_is_named
    a_taken_port_is_named
    an_image_that_does_not_come_holds_up_no_other
    without_a_network_there_is_a_loopback_device
    the_network_of_the_node_can_be_used
    the_environment_tells_who_one_is
    a_task_sees_the_devices_that_it_was_given
    a_host_program_sees_no_more_than_it_should
    a_host_program_sees_neither_secrets_of_berth_nor_sockets
    a_command_runs_beside_a_task_on_pipes
    a_command_runs_beside_a_task_on_a_terminal
    a_session_that_is_dropped_ends_its_command
}

fn shell(world: &World, script: &str) -> TaskSpec {
    container(&world.image, &["sh", "-c", script])
}

async fn exit_status_is_told(world: &mut World) {
    let task = shell(world, "echo out; echo err >&2; exit 7");
    let (alloc, exit) = world.run(task).await;
    assert_eq!(exit, ExitKind::Status(7));
    assert_eq!(world.text(alloc, LogStream::Stdout).await, "out\n");
    assert_eq!(world.text(alloc, LogStream::Stderr).await, "err\n");
}

async fn signals_reach_the_main_process(world: &mut World) {
    let task = shell(world, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    let alloc = world.start(task).await;
    world.says(alloc, "up").await;
    world.runtime.signal(alloc, &main_task(), 1, Kill::Ask(Some(15))).await.unwrap();
    assert_eq!(world.exit(alloc).await.how, ExitKind::Status(3));
    assert_eq!(world.text(alloc, LogStream::Stdout).await, "up\nbye\n");
}

async fn the_signal_is_the_images_unless_the_job_names_one(world: &mut World) {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let config = ImageConfig { stop_signal: Some("SIGUSR1".to_owned()), ..ImageConfig::default() };
    build::from_folder(&world.image.parent().unwrap().join("root"), &config, &layout, "latest").unwrap();
    let script = "for s in TERM INT USR1; do trap \"echo $s; exit\" $s; done; echo up; while :; do sleep 0.1; done";
    for (image, signal, asked) in
        [(&world.image.clone(), None, "TERM"), (&layout, None, "USR1"), (&layout, Some(2), "INT")]
    {
        let alloc = world.start(container(image, &["sh", "-c", script])).await;
        world.says(alloc, "up").await;
        world.runtime.signal(alloc, &main_task(), 1, Kill::Ask(signal)).await.unwrap();
        world.exit(alloc).await;
        assert_eq!(world.text(alloc, LogStream::Stdout).await, format!("up\n{asked}\n"));
    }
}

async fn a_kill_ends_the_whole_task(world: &mut World) {
    let task = shell(world, "trap '' TERM; sleep 1000 & sleep 1000 & echo up; wait; sleep 1000");
    let alloc = world.start(task).await;
    world.says(alloc, "up").await;
    world.runtime.signal(alloc, &main_task(), 1, Kill::Ask(Some(15))).await.unwrap();
    world.runtime.signal(alloc, &main_task(), 1, Kill::Force).await.unwrap();
    assert_eq!(world.exit(alloc).await.how, ExitKind::Signal(9));
}

async fn a_signal_for_another_run_is_left_alone(world: &mut World) {
    let task = shell(world, "sleep 1000");
    let alloc = world.start(task).await;
    let pid = world.running(alloc).await;
    world.runtime.signal(alloc, &main_task(), 2, Kill::Force).await.unwrap();
    assert_eq!(found_pid(world, alloc).await, Some(pid));
}

/// The pid as the shim tells it to an agent that has just begun.
async fn found_pid(world: &mut World, alloc: AllocId) -> Option<u32> {
    world.restart_agent().await;
    let found = world.runtime.find().await.unwrap();
    let (_, shim) = found.into_iter().find(|(id, _)| *id == alloc)?;
    match shim {
        FoundShim::Alive(tasks) => match tasks.get(&main_task())?.state {
            ShimTaskState::Running { pid, .. } => Some(pid),
            ShimTaskState::Starting | ShimTaskState::Exited(_) => None,
        },
        FoundShim::Gone(_) | FoundShim::Orphaned(_) | FoundShim::Rebooted => None,
    }
}

async fn a_task_runs_again_with_fresh_files_and_its_own_folder(world: &mut World) {
    let task = shell(world, "ls /root /berth; cd /root; touch mine /berth/kept");
    let (alloc, exit) = world.run(task).await;
    assert_eq!(exit, ExitKind::Status(0));
    world.runtime.start(alloc, &main_task(), 2).await.unwrap();
    assert_eq!(world.exit(alloc).await.how, ExitKind::Status(0));
    let records = world.records(alloc).await;
    let of = |run| {
        let lines = records.iter().filter(move |record| record.run == run);
        lines.map(|record| String::from_utf8_lossy(&record.line).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(1), ["/berth:", "", "/root:"]);
    assert_eq!(of(2), ["/berth:", "kept", "", "/root:"]);
}

async fn tasks_of_a_group_run_side_by_side(world: &mut World) {
    // Without a network of the node's, tasks still reach each other.
    let mut server = shell(world, "echo hello | nc -l -p 7777");
    server.name = "server".parse().unwrap();
    let client = shell(world, "while ! nc 127.0.0.1 7777; do sleep 0.05; done");
    let desired = alloc(vec![server, client]);
    world.prepare(&desired).await.unwrap();
    world.runtime.start(desired.id, &"server".parse().unwrap(), 1).await.unwrap();
    world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.exit(desired.id).await.how, ExitKind::Status(0));
    }
    assert_eq!(world.text(desired.id, LogStream::Stdout).await, "hello\n");
}

async fn logs_are_whole_and_in_order(world: &mut World) {
    // Fits into the files that are kept; the last line has no end.
    let script = "i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done; printf 'no end'";
    let said = world.output(shell(world, script)).await;
    let mut expected: String = (0..1500).map(|i| format!("line {i}\n")).collect();
    expected += "no end";
    assert_eq!(said, expected);
}

async fn logs_are_followed_across_rotation(world: &mut World) {
    let alloc = world.start(shell(world, "seq 1 40000; sleep 0.2; seq 40001 60000")).await;
    let query = LogQuery { stream: None, from: LogFrom::Oldest, follow: true };
    let mut stream = world.runtime.read_logs(alloc, &main_task(), query);
    let mut number = 0;
    let all = async {
        while number < 60_000 {
            let record = stream.recv().await.unwrap().unwrap();
            let text = String::from_utf8(record.line).unwrap();
            if !record.partial && text.len() == 5 {
                number = text.parse().unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the last line comes");
    let kept = world.records(alloc).await;
    let bytes: usize = kept.iter().map(|record| 32 + record.line.len()).sum();
    assert!(bytes < 3 * (64 << 10) + (3 << 18), "{bytes} bytes are kept");
    assert!(kept.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "a gap in what is kept");
    assert!(kept.first().unwrap().sequence > 1, "the oldest are gone");
    world.exit(alloc).await;
}

async fn the_agent_is_killed_and_finds_the_same_pids(world: &mut World) {
    let alloc = world.start(shell(world, "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done")).await;
    let pid = world.running(alloc).await;
    world.says(alloc, "5").await;
    assert_eq!(found_pid(world, alloc).await, Some(pid));
    world.says(alloc, "50").await;
    let lines = world.records(alloc).await;
    let numbers: Vec<String> = lines.iter().map(|r| String::from_utf8(r.line.clone()).unwrap()).collect();
    assert!(numbers.iter().enumerate().all(|(at, text)| *text == at.to_string()), "{numbers:?}");
}

async fn an_exit_while_no_agent_is_there_is_told_later(world: &mut World) {
    let alloc = world.start(shell(world, "while [ ! -e /berth/end ]; do sleep 0.02; done; exit 9")).await;
    world.running(alloc).await;
    world.runtime_gone().await;
    let dir = world.config.data_dir.join("allocs").join(alloc.to_string());
    std::fs::write(dir.join("tasks/main/work/end"), "").unwrap();
    world.wait_for("the end", || std::fs::read_to_string(dir.join("state.json")).unwrap().contains("exited")).await;
    world.restart_agent().await;
    let found = world.runtime.find().await.unwrap();
    let [(_, FoundShim::Alive(tasks))] = found.as_slice() else { panic!("{found:?}") };
    let ShimTaskState::Exited(exit) = &tasks[&main_task()].state else { panic!("{tasks:?}") };
    assert_eq!(exit.how, ExitKind::Status(9));
}

async fn the_shim_is_killed_and_its_orphans_are_ended(world: &mut World) {
    let alloc = world.start(shell(world, "echo first; exec sleep 1000")).await;
    let pid = world.running(alloc).await;
    world.says(alloc, "first").await;
    signal_shim(world, alloc, Signal::KILL);
    // What a shim says of a task it may say twice.
    while tokio::time::timeout(PATIENCE, world.events.recv()).await.unwrap().unwrap()
        != (RuntimeEvent::ShimLost { alloc })
    {}
    world.restart_agent().await;
    let found = world.runtime.find().await.unwrap();
    let [(_, FoundShim::Orphaned(tasks))] = found.as_slice() else { panic!("{found:?}") };
    assert!(matches!(tasks[&main_task()].state, ShimTaskState::Running { pid: of, .. } if of == pid));
    world.runtime.end_orphans(alloc).await.unwrap();
    assert!(matches!(world.runtime.find().await.unwrap().as_slice(), [(_, FoundShim::Gone(_))]));

    // A new shim goes on with the logs of the old one.
    let mut again = crate::world::alloc(vec![shell(world, "echo second")]);
    again.id = alloc;
    world.prepare(&again).await.unwrap();
    world.runtime.start(alloc, &main_task(), 2).await.unwrap();
    assert_eq!(world.exit(alloc).await.how, ExitKind::Status(0));
    let records = world.records(alloc).await;
    let numbers: Vec<_> = records.iter().map(|record| (record.sequence, record.run)).collect();
    assert_eq!(numbers, [(1, 1), (2, 2)]);
}

fn signal_shim(world: &World, alloc: AllocId, signal: Signal) {
    let shim = Pid::from_raw(world.shim_pid(alloc)).unwrap();
    kill_process(shim, signal).unwrap();
}

fn lives(pid: u32) -> bool {
    // A zombie that waits for its parent does not.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn a_shim_that_no_agent_knows_is_removed_with_its_allocation(world: &mut World) {
    let desired = alloc(vec![shell(world, "true")]);
    world.prepare(&desired).await.unwrap();
    let shim = u32::try_from(world.shim_pid(desired.id)).unwrap();
    // As after a stop while the shim was being started.
    world.restart_agent().await;
    world.runtime.remove(desired.id).await.unwrap();
    assert!(!lives(shim));
    world.runtime.remove(desired.id).await.unwrap();
}

async fn a_removal_ends_what_still_runs(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    let pid = world.running(alloc).await;
    // As after a start whose answer came too late to be heard.
    world.runtime.remove(alloc).await.unwrap();
    assert!(!lives(pid));
}

async fn a_stopped_shim_does_not_hold_up_a_stop(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    let pid = world.running(alloc).await;
    world.config.patience = Duration::from_millis(500);
    world.restart_agent().await;
    let found = tokio::time::timeout(PATIENCE, async {
        // A busy machine may need more than one try with so little patience.
        while !matches!(world.runtime.find().await.unwrap().as_slice(), [(_, FoundShim::Alive(_))]) {}
    });
    found.await.expect("the shim answers");
    signal_shim(world, alloc, Signal::STOP);
    let main = main_task();
    let (asked, session) = tokio::join!(
        world.runtime.signal(alloc, &main, 1, Kill::Ask(Some(15))),
        world.runtime.exec(alloc, &main, exec(&["true"], None))
    );
    assert!(matches!(asked, Err(RuntimeError::Late(_))), "{asked:?}");
    assert!(matches!(session, Err(RuntimeError::Late(_))), "a command was begun");
    let late = world.runtime.signal(alloc, &main_task(), 1, Kill::Force).await;
    assert!(matches!(late, Err(RuntimeError::Late(of)) if of == alloc), "{late:?}");
    let lost = tokio::time::timeout(PATIENCE, async {
        while world.events.recv().await != Some(RuntimeEvent::ShimLost { alloc }) {}
    });
    lost.await.expect("the loss is told");
    world.runtime.end_orphans(alloc).await.unwrap();
    assert!(!lives(pid));

    // Neither one that the agent does not know.
    world.config.patience = PATIENCE;
    world.restart_agent().await;
    let alloc = world.start(shell(world, "sleep 1000")).await;
    let pid = world.running(alloc).await;
    signal_shim(world, alloc, Signal::STOP);
    world.restart_agent().await;
    world.runtime.remove(alloc).await.unwrap();
    assert!(!lives(pid));
}

async fn a_shim_that_does_not_listen_yet_is_removed(world: &mut World) {
    let desired = alloc(vec![shell(world, "true")]);
    world.prepare(&desired).await.unwrap();
    let shim = u32::try_from(world.shim_pid(desired.id)).unwrap();
    std::fs::remove_file(world.folder(desired.id).join("shim.sock")).unwrap();
    world.restart_agent().await;
    // Another try takes its place.
    world.prepare(&desired).await.unwrap();
    assert!(!lives(shim));
}

async fn an_allocation_whose_plan_cannot_be_read_is_known_by_its_shim(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    let pid = world.running(alloc).await;
    std::fs::write(world.folder(alloc).join("alloc.json"), r#"{"version":99}"#).unwrap();
    assert_eq!(found_pid(world, alloc).await, Some(pid));
}

async fn an_allocation_of_an_earlier_boot_is_told_as_such(world: &mut World) {
    let (alloc, _) = world.run(shell(world, "true")).await;
    let plan = world.folder(alloc).join("alloc.json");
    let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
    text["boot"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(&plan, text.to_string()).unwrap();
    world.restart_agent().await;
    assert_eq!(world.runtime.find().await.unwrap(), [(alloc, FoundShim::Rebooted)]);
}

async fn signals_to_the_shim_are_forwarded(world: &mut World) {
    let script = "trap 'echo one' USR1; trap 'echo end; exit 4' TERM; echo up; while :; do sleep 0.05; done";
    let alloc = world.start(shell(world, script)).await;
    world.running(alloc).await;
    world.says(alloc, "up").await;
    signal_shim(world, alloc, Signal::USR1);
    world.says(alloc, "one").await;
    signal_shim(world, alloc, Signal::TERM);
    assert_eq!(world.exit(alloc).await.how, ExitKind::Status(4));
    assert_eq!(world.text(alloc, LogStream::Stdout).await, "up\none\nend\n");
}

async fn memory_over_the_limit_is_told(world: &mut World) {
    let mut task = shell(world, "exec dd if=/dev/zero of=/dev/null bs=100M count=1");
    task.resources.memory = Bytes::mib(16);
    assert_eq!(world.run(task).await.1, ExitKind::OutOfMemory);
}

async fn processes_are_limited(world: &mut World) {
    // More than a runtime's own threads, which count too until the program runs.
    let mut task = shell(world, "for i in $(seq 60); do sleep 1000 & done; echo all");
    task.pids_limit = 40;
    let (alloc, exit) = world.run(task).await;
    let said = world.text(alloc, LogStream::Stderr).await;
    assert!(exit != ExitKind::Status(0) && said.contains("can't fork"), "{exit:?}: {said}");
}

async fn the_root_is_writable_unless_said_otherwise(world: &mut World) {
    assert_eq!(world.output(shell(world, "echo hi > /etc/new && cat /etc/new")).await, "hi\n");
    let mut task = shell(world, "echo hi > /etc/new || echo no; echo hi > /berth/new && cat /berth/new");
    settings(&mut task).read_only_root = true;
    assert_eq!(world.output(task).await, "no\nhi\n");
}

async fn folders_in_memory_are_limited(world: &mut World) {
    let mut task = shell(world, "dd if=/dev/zero of=/cache/x bs=1k count=2000 2>/dev/null || wc -c < /cache/x");
    settings(&mut task).tmpfs = vec![("/cache".to_owned(), Bytes::mib(1))];
    assert_eq!(world.output(task).await, "1048576\n");
}

/// The effective capabilities in hexadecimal.
const EFFECTIVE: &str = "grep CapEff /proc/self/status | tr -cd '0-9a-f' | tail -c 16";

async fn capabilities_are_few(world: &mut World) {
    let text = |said: String| u64::from_str_radix(&said[said.len() - 16..], 16).unwrap();
    let default = text(world.output(shell(world, EFFECTIVE)).await);
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE.
    assert_eq!(default, [0, 1, 3, 4, 5, 6, 7, 10].iter().map(|bit| 1 << bit).sum::<u64>());
    let mut task = shell(world, EFFECTIVE);
    settings(&mut task).cap_add = vec!["SYS_TIME".to_owned()];
    assert_eq!(text(world.output(task).await), default | 1 << 25);
    let mut task = shell(world, EFFECTIVE);
    task.user = Some("web".to_owned());
    assert_eq!(text(world.output(task).await), 0);
}

async fn seccomp_and_no_new_privileges_hold(world: &mut World) {
    let said =
        world.output(shell(world, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true || echo no")).await;
    assert_eq!(said, "NoNewPrivs:\t1\nSeccomp:\t2\nno\n");
    let alloc = world.start(shell(world, "sleep 1000")).await;
    world.running(alloc).await;
    let request = exec(&["grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status"], None);
    let session = world.runtime.exec(alloc, &main_task(), request).await.unwrap();
    let ExecOutput::Pipes { mut stdout, .. } = session.output else { panic!("a terminal") };
    let mut said = String::new();
    stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

/// Neither what an image brings nor what a task makes: one that may make any device is not to read the host's disks.
async fn devices_in_a_root_cannot_be_opened(world: &mut World) {
    let mut task = shell(world, "mknod /x c 1 3 && (cat /x 2>/dev/null && echo opened || echo no)");
    settings(&mut task).cap_add = vec!["MKNOD".to_owned()];
    assert_eq!(world.output(task).await, "no\n");
}

async fn users_are_found_in_the_image(world: &mut World) {
    let cases = [
        (None, "0\n0\n0\n/root\n"),
        (Some("web"), "1500\n1500\n1500 1600\n/srv/web\n"),
        (Some("1500:log"), "1500\n1600\n1600\n/srv/web\n"),
        (Some("4242:99"), "4242\n99\n99\n/\n"),
    ];
    for (user, expected) in cases {
        let mut task = shell(world, "id -u; id -g; id -G; echo $HOME; echo to stdout > /dev/stderr");
        task.user = user.map(str::to_owned);
        assert_eq!(world.output(task).await, expected);
    }
    let mut task = shell(world, "true");
    task.user = Some("nobody".to_owned());
    let ExitKind::Failure(failure) = world.run(task).await.1 else { panic!("it ran") };
    assert_eq!(failure.kind, FailureKind::NoSuchUser);
    assert!(failure.message.contains("no user `nobody` in /etc/passwd of the image"), "{}", failure.message);
}

async fn what_cannot_be_run_is_named(world: &mut World) {
    for command in ["nothing", "/bin/nothing", "/etc/passwd"] {
        let task = container(&world.image, &[command]);
        let ExitKind::Failure(failure) = world.run(task).await.1 else { panic!("{command} ran") };
        assert_eq!(failure.kind, FailureKind::NoSuchCommand, "{}", failure.message);
        assert!(failure.message.starts_with(&format!("cannot run `{command}`")), "{}", failure.message);
    }
    // A failed start leaves the task ready for the next one.
    let said = world.output(shell(world, "echo fine")).await;
    assert_eq!(said, "fine\n");
}

async fn a_taken_port_is_named(world: &mut World) {
    // Not one of those that the kernel gives to whoever asks for any: it is free again further down.
    let mut ports = 10_000 + u16::try_from(std::process::id() % 5_000).unwrap()..20_000;
    let (port, listener) = ports.find_map(|port| Some((port, TcpListener::bind(("0.0.0.0", port)).ok()?))).unwrap();
    let mut task = shell(world, "true");
    task.ports = vec![PortSpec { name: "http".parse().unwrap(), fixed: Some(Port(port)) }];
    let mut desired = alloc(vec![task]);
    desired.group.network = NetworkMode::Host;
    world.prepare(&desired).await.unwrap();
    world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
    let ExitKind::Failure(failure) = world.exit(desired.id).await.how else { panic!("it ran") };
    assert_eq!(failure.kind, FailureKind::PortTaken);
    assert!(failure.message.contains(&format!("port {port}")), "{}", failure.message);
    drop(listener);
    world.runtime.start(desired.id, &main_task(), 2).await.unwrap();
    assert_eq!(world.exit(desired.id).await.how, ExitKind::Status(0));
}

async fn an_image_that_does_not_come_holds_up_no_other(world: &mut World) {
    // Connections wait in its queue, and nobody ever takes them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut task = shell(world, "true");
    settings(&mut task).image = format!("{}/app:1", mute.local_addr().unwrap());
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (runtime, desired) = (world.runtime.clone(), alloc(vec![task.clone()]));
        waiting.spawn(async move { runtime.prepare(&desired, |_| {}).await });
    }
    let said = world.output(shell(world, "echo here")).await;
    assert_eq!(said, "here\n");
}

async fn without_a_network_there_is_a_loopback_device(world: &mut World) {
    let said = world.output(shell(world, "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1'")).await;
    assert_eq!(said, "lo\n1\n");
}

async fn the_network_of_the_node_can_be_used(world: &mut World) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut desired =
        alloc(vec![shell(world, "cat /etc/hosts > /dev/null && echo hi | nc 127.0.0.1 $BERTH_PORT_HTTP_API")]);
    desired.group.network = NetworkMode::Host;
    desired.ports = BTreeMap::from([("http-api".parse().unwrap(), Port(port))]);
    world.prepare(&desired).await.unwrap();
    world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
    let (mut peer, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hi\n");
    drop(peer);
    world.exit(desired.id).await;
}

async fn the_environment_tells_who_one_is(world: &mut World) {
    let mut task =
        shell(world, "echo $BERTH_JOB $BERTH_GROUP $BERTH_TASK $BERTH_INDEX $BERTH_NAMESPACE $MINE; pwd; hostname");
    task.env.insert("MINE".to_owned(), "x y".to_owned());
    task.working_dir = Some("/new/folder".to_owned());
    let desired = alloc(vec![task]);
    world.prepare(&desired).await.unwrap();
    world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
    world.exit(desired.id).await;
    let said = world.text(desired.id, LogStream::Stdout).await;
    assert_eq!(said, format!("job group main 3 default x y\n/new/folder\n{}\n", desired.id));
}

async fn a_task_sees_the_devices_that_it_was_given(world: &mut World) {
    let device = Device {
        kind: "memory".parse().unwrap(),
        id: "kmsg-0".parse().unwrap(),
        attributes: BTreeMap::new(),
        paths: vec!["/dev/kmsg".to_owned()],
    };
    let own = world.config.clone();
    world.use_instead(RuntimeConfig { devices: vec![device], ..own.clone() }).await;
    let wish = DeviceSpec {
        name: "the-log".parse().unwrap(),
        kind: "memory".parse().unwrap(),
        amount: DeviceAmount::Count(1),
        constraints: Vec::new(),
    };
    // Opened for writing by somebody who is not root: the file's own mode and the control group both let it.
    let script = "echo \"<$BERTH_DEVICE_THE_LOG>\"; ls /dev/kmsg; (: > /dev/kmsg) && echo opened";
    for mut task in [shell(world, script), program(&["sh", "-c", script])] {
        task.user = Some("65534".to_owned());
        let without = world.output(task.clone()).await;
        assert_eq!(without, "<>\n", "what was not given is not there");
        task.devices = vec![wish.clone()];
        let mut desired = alloc(vec![task]);
        desired.devices = DeviceGrants::from([(wish.name.clone(), vec!["kmsg-0".parse().unwrap()])]);
        world.prepare(&desired).await.unwrap();
        world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
        world.exit(desired.id).await;
        assert_eq!(world.text(desired.id, LogStream::Stdout).await, "<kmsg-0>\n/dev/kmsg\nopened\n");
    }

    let mut task = shell(world, "true");
    task.devices = vec![wish.clone()];
    let mut desired = alloc(vec![task]);
    desired.devices = DeviceGrants::from([(wish.name, vec!["kmsg-9".parse().unwrap()])]);
    let failure = world.prepare(&desired).await.unwrap_err().failure;
    assert_eq!(failure.kind, FailureKind::DeviceMissing);
    assert!(failure.message.contains("no device `kmsg-9` any more"), "{}", failure.message);
    world.close().await;
    world.use_instead(own).await;
}

async fn a_host_program_sees_no_more_than_it_should(world: &mut World) {
    let script = "id -un; pwd; ps -e --no-headers | wc -l; touch /berth/x /tmp/x && echo own; \
                  touch /etc/x /var/tmp/x /usr/x 2>/dev/null || echo no; ls /tmp; cat /sys/class/net/eth0/address 2>/dev/null; \
                  grep -c . /proc/mounts > /dev/null; echo $HOME";
    let mut task = program(&["sh", "-c", script]);
    task.user = None;
    let said = world.output(task).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "nobody");
    assert_eq!(lines[1], "/berth");
    assert!(lines[2].trim().parse::<u32>().unwrap() <= 4, "{said}");
    assert_eq!(&lines[3..], ["own", "no", "x", "/berth"]);

    // Root neither.
    let mut task = program(&[
        "sh",
        "-c",
        "touch /var/tmp/berth-x 2>/dev/null || echo no; mount -o remount,rw /var 2>/dev/null || echo no",
    ]);
    task.user = Some("root".to_owned());
    assert_eq!(world.output(task).await, "no\nno\n");
}

async fn a_host_program_sees_neither_secrets_of_berth_nor_sockets(world: &mut World) {
    // Not in `/tmp`, which a host program does not see anyway.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let [data, server, token] = ["agent", "server", "token"].map(|name| dir.path().join(name));
    for folder in [&data, &server] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("key"), "secret").unwrap();
    }
    std::fs::write(&token, "secret").unwrap();
    let run = tempfile::tempdir_in("/run").unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(run.path().join("sock")).unwrap();
    let own = world.config.clone();
    let hidden = vec![server.clone(), token.clone()];
    world.use_instead(RuntimeConfig { data_dir: data.clone(), hidden, ..own.clone() }).await;

    let [data, server, token] = [data, server, token].map(|path| path.display().to_string());
    let script = format!(
        "ls -A {data} {server}; cat {token} {data}/key 2>/dev/null; find /run /var/run/ -type s; \
         cat /etc/resolv.conf /etc/hosts > /dev/null && getent hosts localhost > /dev/null && echo names; \
         touch /run/own && echo own"
    );
    let mut task = program(&["sh", "-c", &script]);
    task.user = Some("root".to_owned());
    let said = world.output(task).await;
    assert_eq!(said, format!("{data}:\n\n{server}:\nnames\nown\n"));
    world.close().await;
    world.use_instead(own).await;
}

fn exec(command: &[&str], terminal: Option<WindowSize>) -> ExecRequest {
    ExecRequest {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::from([("WHO".to_owned(), "exec".to_owned())]),
        terminal,
    }
}

async fn a_command_runs_beside_a_task_on_pipes(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    world.running(alloc).await;
    let request = exec(&["sh", "-c", "read word; echo $word $WHO $BERTH_TASK; echo err >&2; exit 5"], None);
    let session = world.runtime.exec(alloc, &main_task(), request).await.unwrap();
    let (mut input, mut control) = (session.input, session.control);
    let ExecOutput::Pipes { mut stdout, mut stderr } = session.output else { panic!("a terminal") };
    input.write_all(b"hello\n").await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    stdout.read_to_string(&mut out).await.unwrap();
    stderr.read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("hello exec main\n", "err\n"));
    assert_eq!(control.exit().await.unwrap(), ExitKind::Status(5));
    let Err(refused) = world.runtime.exec(alloc, &main_task(), exec(&["nothing"], None)).await else {
        panic!("it ran")
    };
    assert!(refused.to_string().contains("cannot run `nothing`"), "{refused}");
}

async fn a_command_runs_beside_a_task_on_a_terminal(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    world.running(alloc).await;
    let request = exec(&["sh", "-c", "tty; stty size; read x; stty size"], Some(WindowSize { columns: 90, rows: 33 }));
    let session = world.runtime.exec(alloc, &main_task(), request).await.unwrap();
    let (mut input, mut control) = (session.input, session.control);
    let ExecOutput::Terminal(mut output) = session.output else { panic!("pipes") };
    let mut said = String::new();
    let mut bytes = [0; 256];
    while !said.contains("33 90") {
        let read = tokio::time::timeout(PATIENCE, output.read(&mut bytes)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{said}");
        said += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    control.resize(WindowSize { columns: 100, rows: 40 }).unwrap();
    input.write_all(b"\n").await.unwrap();
    tokio::time::timeout(PATIENCE, output.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.contains("/dev/pts/") && said.contains("40 100"), "{said}");
    assert_eq!(control.exit().await.unwrap(), ExitKind::Status(0));
}

async fn a_session_that_is_dropped_ends_its_command(world: &mut World) {
    let alloc = world.start(shell(world, "sleep 1000")).await;
    world.running(alloc).await;
    // A number of this process's own: the same tests may run elsewhere on the machine.
    let seconds = format!("{}", 1_000_000 + std::process::id());
    let session = world.runtime.exec(alloc, &main_task(), exec(&["sleep", &seconds], None)).await.unwrap();
    let sleeps = || {
        let lines = std::fs::read_dir("/proc").unwrap().flatten();
        lines
            .filter_map(|e| std::fs::read_to_string(e.path().join("cmdline")).ok())
            .any(|line| line == format!("sleep\0{seconds}\0"))
    };
    // A runtime may answer before the command has taken its place.
    world.wait_for("its begin", sleeps).await;
    drop(session);
    world.wait_for("its end", || !sleeps()).await;
}
