//! `config.json` of a task, as the OCI runtime specification describes it.
//!
//! Written as the JSON that it is: the names below are those of the specification, and a test holds
//! them against the library's types.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::root::{host_folders, needed_of_run};
use super::user::Who;
use super::{Folders, Surroundings, WORK_DIR};
use crate::oci::OciRuntime;
use crate::plan::{AllocPlan, DeviceClass, DevicePlan, Network, RootPlan, TaskPlan};
use crate::seccomp;

/// Capabilities of every task of an image that runs as root: to own files and users of its own, and to
/// open low ports. Fewer than Docker's: nothing that makes devices, raw packets or other roots.
const CAPABILITIES: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

/// Open files of a task, where the machine grants as many.
const OPEN_FILES: u64 = 65_536;
/// The period in which processor time is shared out.
const CPU_PERIOD_US: u64 = 100_000;
/// Bytes of `/dev/shm`.
const SHM: u64 = 64 << 20;
/// Bytes of a host program's `/run`.
const RUN: u64 = 16 << 20;

const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The specification of a task's container.
pub(super) fn make(
    plan: &AllocPlan,
    name: &str,
    task: &TaskPlan,
    folders: &Folders,
    who: &Who,
    around: &Surroundings,
) -> io::Result<Vec<u8>> {
    let read_only = match &task.root {
        RootPlan::Layers { read_only, .. } => *read_only,
        RootPlan::Host => true,
    };
    let mut linux = json!({
        "namespaces": namespaces(),
        "cgroupsPath": format!("/{}/{name}", plan.cgroup),
        "devices": task.devices.iter().map(device_file).collect::<Vec<_>>(),
        "resources": resources(task),
        "maskedPaths": masked(plan, task),
        "readonlyPaths": READ_ONLY,
    });
    // The library that is part of this program gets a filter ready made.
    if let OciRuntime::Program(_) = plan.oci {
        linux["seccomp"] = serde_json::to_value(seccomp::profile(&task.cap_add))?;
    }
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": process(task, who, around),
        "root": { "path": folders.root, "readonly": read_only },
        "hostname": plan.alloc,
        "mounts": mounts(plan, task, folders, around)?,
        "linux": linux,
    });
    Ok(serde_json::to_vec(&spec)?)
}

fn process(task: &TaskPlan, who: &Who, around: &Surroundings) -> Value {
    let mut env = task.env.clone();
    let home = who.home.clone().unwrap_or_else(|| "/".to_owned());
    env.entry("HOME".to_owned()).or_insert(home);
    let mut process = json!({
        "terminal": false,
        "user": { "uid": who.uid, "gid": who.gid, "additionalGids": who.groups },
        "args": task.command,
        "env": pairs(&env),
        "cwd": task.working_dir,
        "capabilities": capabilities(who, &task.cap_add),
        "rlimits": [rlimit(around)],
        "noNewPrivileges": true,
    });
    if let Some(score) = around.oom_score {
        process["oomScoreAdj"] = json!(score);
    }
    process
}

/// The `process.json` of a command beside a task: the task's own process with another command line.
pub(crate) fn exec_process(
    bundle: &Path,
    command: &[String],
    env: &BTreeMap<String, String>,
    terminal: Option<(u16, u16)>,
) -> io::Result<Vec<u8>> {
    let mut spec: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let mut process = spec["process"].take();
    process["args"] = json!(command);
    if let Some(old) = process["env"].as_array_mut() {
        old.retain(|pair| {
            pair.as_str().and_then(|p| p.split_once('=')).is_none_or(|(name, _)| !env.contains_key(name))
        });
        old.extend(pairs(env).into_iter().map(Value::String));
        if terminal.is_some() && !old.iter().any(|pair| pair.as_str().is_some_and(|p| p.starts_with("TERM="))) {
            old.push(json!("TERM=xterm"));
        }
    }
    process["terminal"] = json!(terminal.is_some());
    if let Some((width, height)) = terminal {
        process["consoleSize"] = json!({ "width": width, "height": height });
    }
    Ok(serde_json::to_vec(&process)?)
}

fn pairs(env: &BTreeMap<String, String>) -> Vec<String> {
    env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What a user who is not root gets is only what was asked for.
fn capabilities(who: &Who, added: &[String]) -> Value {
    let named = |names: &mut dyn Iterator<Item = &str>| {
        let mut all: Vec<String> = names.map(|name| format!("CAP_{name}")).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let added = || added.iter().map(String::as_str);
    let bounding = named(&mut CAPABILITIES.into_iter().chain(added()));
    if who.uid == 0 {
        json!({ "bounding": bounding, "effective": bounding, "permitted": bounding, "inheritable": [], "ambient": [] })
    } else {
        let own = named(&mut added());
        json!({ "bounding": bounding, "effective": own, "permitted": own, "inheritable": own, "ambient": own })
    }
}

fn rlimit(around: &Surroundings) -> Value {
    let most = around.open_files.min(OPEN_FILES);
    json!({ "type": "RLIMIT_NOFILE", "soft": most.min(1024), "hard": most })
}

/// What a task sees as empty.
fn masked(plan: &AllocPlan, task: &TaskPlan) -> Vec<Value> {
    let hidden = match &task.root {
        RootPlan::Layers { .. } => &[],
        RootPlan::Host => plan.hidden.as_slice(),
    };
    MASKED.iter().map(|path| json!(path)).chain(hidden.iter().map(|path| json!(path))).collect()
}

/// The network is the shim's: the node's own, or one with nothing but a loopback device.
fn namespaces() -> Vec<Value> {
    ["pid", "mount", "ipc", "uts", "cgroup"].into_iter().map(|kind| json!({ "type": kind })).collect()
}

/// The file of a device in the task's own `/dev`. Everybody in there may use it: the control group says who that is.
fn device_file(device: &DevicePlan) -> Value {
    json!({
        "path": device.path, "type": class(device), "major": device.major, "minor": device.minor,
        "fileMode": 0o666, "uid": 0, "gid": 0,
    })
}

fn class(device: &DevicePlan) -> &'static str {
    match device.class {
        DeviceClass::Character => "c",
        DeviceClass::Block => "b",
    }
}

fn resources(task: &TaskPlan) -> Value {
    let nothing_else = json!({ "allow": false, "access": "rwm" });
    let allowed = task.devices.iter().map(|device| {
        let (kind, major, minor) = (class(device), device.major, device.minor);
        json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" })
    });
    let mut all = json!({ "devices": std::iter::once(nothing_else).chain(allowed).collect::<Vec<_>>() });
    if task.cpu_millis > 0 {
        all["cpu"] = json!({
            // A core is 1024 shares; the kernel takes no fewer than 2.
            "shares": (task.cpu_millis * 1024 / 1000).max(2),
            "quota": (task.cpu_millis * CPU_PERIOD_US / 1000).max(1000),
            "period": CPU_PERIOD_US,
        });
    }
    if task.memory > 0 {
        all["memory"] = json!({ "limit": task.memory, "swap": task.memory });
    }
    if task.pids > 0 {
        all["pids"] = json!({ "limit": task.pids });
    }
    all
}

fn mounts(plan: &AllocPlan, task: &TaskPlan, folders: &Folders, around: &Surroundings) -> io::Result<Vec<Value>> {
    let fresh = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let bind = |source: &Path, target: &Path, options: &[&str]| json!({ "destination": target, "type": "bind", "source": source, "options": options });
    let mut all = Vec::new();
    if task.root == RootPlan::Host {
        for name in host_folders()? {
            let path = format!("/{name}");
            all.push(bind(path.as_ref(), path.as_ref(), &["rbind", "rro", "nosuid"]));
        }
        all.push(bind(&folders.tmp, "/tmp".as_ref(), &["bind", "rw", "nosuid", "nodev"]));
        all.push(fresh("/run", "tmpfs", &["nosuid", "nodev", "noexec", "mode=755", &format!("size={RUN}")]));
        for file in needed_of_run() {
            all.push(bind(&file, &file, &["bind", "ro", "nosuid", "nodev", "noexec"]));
        }
    }
    all.push(fresh("/proc", "proc", &["nosuid", "noexec", "nodev"]));
    all.push(fresh("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]));
    all.push(fresh("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]));
    all.push(fresh("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &format!("size={SHM}")]));
    all.push(fresh("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    all.push(fresh("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
    if around.unified {
        // With version 1 this would be a mount per controller, and few programs look there.
        all.push(fresh("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]));
    }
    all.push(bind(&folders.work, WORK_DIR.as_ref(), &["bind", "rw", "nosuid", "nodev"]));
    if let RootPlan::Layers { tmpfs, .. } = &task.root {
        for (target, bytes) in tmpfs {
            all.push(fresh(target, "tmpfs", &["nosuid", "nodev", "mode=1777", &format!("size={bytes}")]));
        }
        if plan.network == Network::Host {
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                let file = Path::new(file);
                if file.exists() {
                    all.push(bind(file, file, &["bind", "ro", "nosuid", "nodev", "noexec"]));
                }
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::*;
    use crate::plan::{LogLimits, WRITTEN};

    #[test]
    fn it_is_what_the_specification_says() {
        let task = TaskPlan {
            root: RootPlan::Layers {
                image: String::new(),
                layers: Vec::new(),
                read_only: true,
                tmpfs: vec![("/cache".to_owned(), 4096)],
            },
            command: vec!["sh".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
            working_dir: "/".to_owned(),
            user: String::new(),
            cap_add: vec!["SYS_TIME".to_owned()],
            cpu_millis: 250,
            memory: 1 << 20,
            pids: 9,
            stop_signal: None,
            devices: vec![DevicePlan {
                path: "/dev/fuse".into(),
                class: DeviceClass::Character,
                major: 10,
                minor: 229,
            }],
            fixed_ports: Vec::new(),
            filter: None,
        };
        let plan = AllocPlan {
            fenced: false,
            version: WRITTEN,
            alloc: "a1-2".to_owned(),
            boot: String::new(),
            cgroup: "berth/a1-2".to_owned(),
            shim_cgroup: "berth/shims".to_owned(),
            oci: OciRuntime::Program("runc".into()),
            logs: LogLimits::default(),
            network: Network::Host,
            hidden: vec!["/var/lib/berth".into()],
            tasks: BTreeMap::new(),
        };
        let around = Surroundings { oom_score: Some(0), unified: true, open_files: 20_000 };
        let folders = Folders::of(Path::new("/allocs/a1-2"), "web");
        let who = Who { uid: 7, gid: 8, groups: vec![9], home: None };
        let bytes = make(&plan, "web", &task, &folders, &who, &around).unwrap();
        // What a type of the library does not know it leaves out: writing it again shows what that is.
        let spec: Spec = serde_json::from_slice(&bytes).unwrap();
        let (ours, theirs): (Value, Value) =
            (serde_json::from_slice(&bytes).unwrap(), serde_json::to_value(&spec).unwrap());
        let missing = missing("", &ours, &theirs);
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(ours["linux"]["resources"]["cpu"], json!({ "shares": 256, "quota": 25_000, "period": 100_000 }));
        // An image has no files of the host that would have to be hidden.
        assert_eq!(ours["linux"]["maskedPaths"], json!(MASKED));
        let devices = &ours["linux"]["resources"]["devices"];
        assert_eq!(devices[0], json!({ "allow": false, "access": "rwm" }));
        assert_eq!(devices[1], json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" }));
        assert_eq!(ours["linux"]["devices"][0]["path"], "/dev/fuse");
        assert_eq!(ours["process"]["rlimits"][0]["hard"], 20_000);
        assert_eq!(ours["process"]["capabilities"]["effective"], json!(["CAP_SYS_TIME"]));
    }

    /// The places in `ours` that `theirs` has not.
    fn missing(place: &str, ours: &Value, theirs: &Value) -> Vec<String> {
        let Value::Object(ours) = ours else { return Vec::new() };
        let inner = ours.iter().flat_map(|(name, value)| {
            let place = format!("{place}.{name}");
            match theirs.get(name) {
                Some(theirs) => missing(&place, value, theirs),
                None => vec![place],
            }
        });
        inner.collect()
    }
}
