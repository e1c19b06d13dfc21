//! From what the server desires to what a shim is told: images resolved, defaults of image and driver
//! filled in, the environment complete.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::str::FromStr;

use berth_model::{
    ContainerSpec, DesiredAlloc, DeviceId, Driver, Failure, FailureKind, NetworkMode, NotReady, Progress, TaskSpec,
};

use nix::sys::signal::Signal;
use rustix::fs::FileType;

use super::{AllocPlan, DeviceClass, DevicePlan, Network, RootPlan, TaskPlan, WRITTEN};
use crate::bundle::WORK_DIR;
use crate::error::{failure, stays};
use crate::images::{Image, ImageConfig, ImageReference};
use crate::oci::OciRuntime;
use crate::runtime::Runtime;
use crate::seccomp::FilterError;

/// Where programs are looked for, unless image or task say otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Who a host program runs as, unless the task says otherwise.
const NOBODY: &str = "nobody";

/// The images of an allocation's containers, in the order of its tasks; those that are missing are fetched. As long as
/// they are held, and then as long as the plan is on the disk, they are not collected.
pub(crate) async fn images(
    desired: &DesiredAlloc,
    runtime: &Runtime,
    on_progress: &impl Fn(Progress),
) -> Result<Vec<Image>, NotReady> {
    let mut images = Vec::new();
    for task in &desired.group.tasks {
        match &task.driver {
            Driver::Exec => {}
            Driver::Container(container) => images.push(image(runtime, task, container, on_progress).await?),
        }
    }
    Ok(images)
}

/// Makes the plan of an allocation with these [`images`].
pub(crate) fn make(desired: &DesiredAlloc, runtime: &Runtime, images: &[Image]) -> Result<AllocPlan, NotReady> {
    let config = runtime.config();
    let mut tasks = BTreeMap::new();
    let mut images = images.iter();
    for task in &desired.group.tasks {
        let env = common_env(desired, task, runtime);
        let plan = match &task.driver {
            Driver::Exec => host_program(desired, task, env),
            Driver::Container(container) => {
                let image = images.next().expect("every container has its image");
                container_plan(desired, task, container, image, env)
            }
        };
        let mut plan = plan.map_err(stays)?;
        plan.devices = devices(desired, task, runtime).map_err(stays)?;
        if config.oci_runtime == OciRuntime::Builtin {
            let filter = runtime.filters().get(&plan.cap_add);
            plan.filter = Some(filter.map_err(|error| stays(uncompiled(&error)))?);
        }
        tasks.insert(task.name.to_string(), plan);
    }
    Ok(AllocPlan {
        version: WRITTEN,
        alloc: desired.id.to_string(),
        boot: runtime.boot().to_owned(),
        cgroup: runtime.cgroup(desired.id),
        shim_cgroup: format!("{}/shims", config.cgroup_parent),
        oci: config.oci_runtime.clone(),
        logs: config.logs,
        network: match desired.group.network {
            NetworkMode::Host => Network::Host,
            NetworkMode::None => Network::None,
        },
        fenced: desired.group.lease().is_some(),
        hidden: runtime.hidden().to_vec(),
        tasks,
    })
}

/// The files of the devices that the task was given, as this node has them now.
fn devices(desired: &DesiredAlloc, task: &TaskSpec, runtime: &Runtime) -> Result<Vec<DevicePlan>, Failure> {
    let missing = |what: String| failure(FailureKind::DeviceMissing, format!("task {}: {what}", task.name));
    let mut files = BTreeMap::new();
    for id in task.devices.iter().flat_map(|wish| desired.devices.get(&wish.name)).flatten() {
        let known = runtime.config().devices.iter().find(|device| device.id == *id);
        let known = known.ok_or_else(|| missing(format!("the agent's configuration has no device `{id}` any more")))?;
        for path in &known.paths {
            let plan = DevicePlan::of(path).map_err(|problem| missing(format!("device `{id}`: {path} {problem}")))?;
            files.insert(path, plan);
        }
    }
    Ok(files.into_values().collect())
}

impl DevicePlan {
    fn of(path: &str) -> Result<DevicePlan, String> {
        let stat = rustix::fs::stat(path).map_err(|error| format!("cannot be looked at: {error}"))?;
        let class = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => DeviceClass::Character,
            FileType::BlockDevice => DeviceClass::Block,
            _ => return Err("is not a device file".to_owned()),
        };
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        Ok(DevicePlan { path: path.into(), class, major, minor })
    }
}

fn uncompiled(error: &FilterError) -> Failure {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    failure(FailureKind::Runtime, format!("{error}{source}"))
}

async fn image(
    runtime: &Runtime,
    task: &TaskSpec,
    container: &ContainerSpec,
    on_progress: &impl Fn(Progress),
) -> Result<Image, NotReady> {
    let wrong = |what: String| stays(failure(FailureKind::Image, format!("task {}: {what}", task.name)));
    let reference = ImageReference::parse(&container.image)
        .map_err(|error| wrong(format!("cannot read the image reference `{}`: {error}", container.image)))?;
    let credential = match &container.credential {
        None => None,
        Some(name) => Some(runtime.config().credentials.get(name).ok_or_else(|| {
            wrong(format!("this node's agent has no credential `{name}`; add it to the agent's configuration"))
        })?),
    };
    runtime.images().ensure(&reference, credential, on_progress).await
}

/// What Berth says, under what the task says.
fn common_env(desired: &DesiredAlloc, task: &TaskSpec, runtime: &Runtime) -> BTreeMap<String, String> {
    let mut env = runtime.config().node_env.clone();
    let mut say = |name: &str, value: String| drop(env.insert(format!("BERTH_{name}"), value));
    say("ALLOC_ID", desired.id.to_string());
    say("NAMESPACE", desired.job.namespace.to_string());
    say("JOB", desired.job.name.to_string());
    say("GROUP", desired.group.name.to_string());
    say("TASK", task.name.to_string());
    say("INDEX", desired.index.to_string());
    say("WORK_DIR", WORK_DIR.to_owned());
    for (name, port) in &desired.ports {
        say(&format!("PORT_{}", name.as_str().to_uppercase().replace('-', "_")), port.to_string());
    }
    for wish in &task.devices {
        let ids = desired.devices.get(&wish.name).into_iter().flatten().map(DeviceId::as_str);
        let name = wish.name.as_str().to_uppercase().replace('-', "_");
        say(&format!("DEVICE_{name}"), ids.collect::<Vec<_>>().join(","));
    }
    env
}

fn host_program(
    desired: &DesiredAlloc,
    task: &TaskSpec,
    mut env: BTreeMap<String, String>,
) -> Result<TaskPlan, Failure> {
    env.insert("PATH".to_owned(), PATH.to_owned());
    env.insert("HOME".to_owned(), WORK_DIR.to_owned());
    env.insert("TMPDIR".to_owned(), "/tmp".to_owned());
    let defaults = ImageConfig { user: Some(NOBODY.to_owned()), ..ImageConfig::default() };
    let defaults = ImageConfig { working_dir: Some(WORK_DIR.to_owned()), ..defaults };
    plan(desired, task, RootPlan::Host, &[], env, &defaults)
}

fn container_plan(
    desired: &DesiredAlloc,
    task: &TaskSpec,
    container: &ContainerSpec,
    image: &Image,
    berth: BTreeMap<String, String>,
) -> Result<TaskPlan, Failure> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let pairs = image.config.env.iter().filter_map(|pair| pair.split_once('='));
    env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(berth);
    let root = RootPlan::Layers {
        image: image.digest.to_string(),
        layers: image.layers.clone(),
        read_only: container.read_only_root,
        tmpfs: container.tmpfs.iter().map(|(path, bytes)| (path.clone(), bytes.0)).collect(),
    };
    plan(desired, task, root, &container.cap_add, env, &image.config)
}

/// The signal that an image wants to be asked to end by. One that Linux has not is as if none was named.
fn stop_signal(task: &TaskSpec, text: &str) -> Option<u8> {
    let number = signal_number(text);
    if number.is_none() {
        tracing::warn!(task = %task.name, signal = text, "the image names an unknown stop signal; SIGTERM it is");
    }
    number
}

/// `SIGINT`, `INT`, `2`, `SIGRTMIN+3` or `SIGRTMAX-1`.
fn signal_number(text: &str) -> Option<u8> {
    /// The first and the last that the C library leaves to programs.
    const REAL_TIME: (u8, u8) = (34, 64);
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let number = match name.get(..5) {
        Some("RTMIN") if name.len() == 5 => Some(REAL_TIME.0),
        Some("RTMIN") => name[5..].strip_prefix('+').and_then(|n| REAL_TIME.0.checked_add(n.parse().ok()?)),
        Some("RTMAX") if name.len() == 5 => Some(REAL_TIME.1),
        Some("RTMAX") => name[5..].strip_prefix('-').and_then(|n| REAL_TIME.1.checked_sub(n.parse().ok()?)),
        Some(_) | None => name.parse().ok(),
    };
    let named = || Signal::from_str(&format!("SIG{name}")).ok().and_then(|signal| u8::try_from(signal as i32).ok());
    number.or_else(named).filter(|number| (1..=REAL_TIME.1).contains(number))
}

/// What holds for every driver; the task's own words go before those of `defaults`.
fn plan(
    desired: &DesiredAlloc,
    task: &TaskSpec,
    root: RootPlan,
    cap_add: &[String],
    mut env: BTreeMap<String, String>,
    defaults: &ImageConfig,
) -> Result<TaskPlan, Failure> {
    env.extend(task.env.clone());
    let image_command = || defaults.entrypoint.iter().chain(&defaults.cmd).cloned().collect();
    let command: Vec<String> = if task.command.is_empty() { image_command() } else { task.command.clone() };
    if command.is_empty() {
        let message = format!("task {} has no command, and its image has none; give one in the job", task.name);
        return Err(failure(FailureKind::NoSuchCommand, message));
    }
    let or_default = |own: &Option<String>, default: &Option<String>| {
        own.clone().or_else(|| default.clone()).filter(|text| !text.is_empty())
    };
    let fixed_ports = match desired.group.network {
        NetworkMode::Host => task.ports.iter().filter_map(|port| port.fixed).map(|port| port.0).collect(),
        NetworkMode::None => Vec::new(),
    };
    Ok(TaskPlan {
        root,
        command,
        env,
        working_dir: or_default(&task.working_dir, &defaults.working_dir).unwrap_or_else(|| "/".to_owned()),
        user: or_default(&task.user, &defaults.user).unwrap_or_default(),
        cap_add: cap_add.to_vec(),
        cpu_millis: task.resources.cpu.0,
        memory: task.resources.memory.0,
        pids: task.pids_limit,
        stop_signal: defaults.stop_signal.as_deref().and_then(|text| stop_signal(task, text)),
        devices: Vec::new(),
        fixed_ports,
        filter: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_read_as_images_write_them() {
        let known = [
            ("SIGINT", 2),
            ("QUIT", 3),
            ("28", 28),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("SIGRTMAX-1", 63),
            ("SIGRTMAX", 64),
            ("64", 64),
        ];
        for (text, number) in known {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in [
            "",
            "SIG",
            "0",
            "65",
            "300",
            "-1",
            "term",
            "SIGNONE",
            "RTMIN+31",
            "RTMIN3",
            "SIGRTMAX-99",
            "\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
