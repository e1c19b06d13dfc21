//! A machine to test on: a data folder, an image made of busybox, and words for what a case wants.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use berth_model::{
    AllocId, Bytes, ContainerSpec, CpuMillis, DesiredAlloc, Driver, Exit, ExitKind, Goal, GroupSpec, Incarnation,
    JobId, JobKind, JobVersion, Kill, KillPolicy, Mbits, Millis, Namespace, NetworkMode, NotReady, OnPartition,
    Resources, RestartPolicy, Rules, ShimTask, ShimTaskState, TaskName, TaskSpec, UpdatePolicy,
};
use berth_runtime::images::{ImageConfig, Store, StoreConfig, build};
use berth_runtime::logs::{LogFrom, LogQuery, LogRecord, LogStream};
use berth_runtime::{LogLimits, OciRuntime, Runtime, RuntimeConfig, RuntimeEvent};
use futures::FutureExt;
use tokio::sync::mpsc;

/// How long anything may take before a case fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A case.
pub type Case = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The parent of all groups of this process: the same tests may run elsewhere on the machine.
fn cgroup() -> String {
    format!("berth-test-{}", std::process::id())
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The machine.
pub struct World {
    pub runtime: Runtime,
    pub events: mpsc::Receiver<RuntimeEvent>,
    pub config: RuntimeConfig,
    pub image: PathBuf,
    /// States that came while another was waited for.
    pub seen: Vec<RuntimeEvent>,
    allocs: Vec<AllocId>,
}

/// Runs a case in a world of its own and looks at what it left behind.
pub fn run(oci: OciRuntime, case: Case) {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let config = RuntimeConfig {
        data_dir: dir.path().to_owned(),
        shim_program: std::env::current_exe().unwrap(),
        cgroup_parent: cgroup(),
        oci_runtime: oci,
        logs: LogLimits { file_bytes: 64 << 10, files: 3 },
        credentials: BTreeMap::new(),
        node_env: BTreeMap::new(),
        devices: Vec::new(),
        hidden: Vec::new(),
        patience: PATIENCE,
    };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let passed = tokio.block_on(async {
        let mut world = World::open(config, image).await;
        let passed = AssertUnwindSafe(case(&mut world)).catch_unwind().await;
        world.close().await;
        passed
    });
    drop(tokio);
    if let Err(panic) = passed {
        resume_unwind(panic);
    }
    assert_eq!(groups(), Vec::<PathBuf>::new(), "control groups were left behind");
    // A helper of a shim dies with it, but not in the same instant.
    let deadline = Instant::now() + PATIENCE;
    while !processes_with(dir.path()).is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(processes_with(dir.path()), Vec::<String>::new(), "processes were left behind");
    assert_eq!(mounts_in(dir.path()), Vec::<String>::new(), "mounts were left behind");
}

fn mounts_in(path: &Path) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(path.to_str().unwrap())).map(str::to_owned).collect()
}

fn groups() -> Vec<PathBuf> {
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    roots
        .map(|root| root.join(cgroup()))
        .chain([Path::new("/sys/fs/cgroup").join(cgroup())])
        .filter(|g| g.exists())
        .collect()
}

/// The command lines that name a path.
fn processes_with(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|e| fs::read_to_string(e.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(path)).collect()
}

/// A root file system of busybox and a few users, made once.
fn image() -> PathBuf {
    let made = SHARED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let root = &dir.path().join("root");
        fs::create_dir(root).unwrap();
        for folder in ["bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in "sh true false echo cat sleep id touch ls ps kill mount mkdir wc seq head tr dd env pwd hostname \
                     stat chroot ip ifconfig nc ulimit yes grep tail sync stty nproc tty unshare"
            .split(' ')
            .filter(|name| !name.is_empty())
        {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1500:1500::/srv/web:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:1500:\nlog:x:1600:web\n").unwrap();
        build::from_folder(root, &ImageConfig::default(), &dir.path().join("layout"), "latest").unwrap();
        dir
    });
    made.path().join("layout")
}

/// The image, and the store that all cases fetch it to.
static SHARED: OnceLock<tempfile::TempDir> = OnceLock::new();

/// A task of an image.
pub fn container(image: &Path, command: &[&str]) -> TaskSpec {
    let container = ContainerSpec {
        image: format!("oci:{}:latest", image.display()),
        credential: None,
        read_only_root: false,
        tmpfs: Vec::new(),
        cap_add: Vec::new(),
    };
    task(Driver::Container(container), command)
}

/// A task of the host.
pub fn program(command: &[&str]) -> TaskSpec {
    task(Driver::Exec, command)
}

fn task(driver: Driver, command: &[&str]) -> TaskSpec {
    TaskSpec {
        name: "main".parse().unwrap(),
        driver,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: Resources { cpu: CpuMillis(500), memory: Bytes::mib(64), disk: Bytes::mib(64), network: Mbits(0) },
        pids_limit: 64,
        ports: Vec::new(),
        devices: Vec::new(),
        checks: Vec::new(),
        kill: KillPolicy { signal: None, timeout: Millis(1000) },
        meta: BTreeMap::new(),
    }
}

/// The container's own settings.
pub fn settings(task: &mut TaskSpec) -> &mut ContainerSpec {
    match &mut task.driver {
        Driver::Container(container) => container,
        Driver::Exec => panic!("a host program has none"),
    }
}

/// An allocation of these tasks.
pub fn alloc(tasks: Vec<TaskSpec>) -> DesiredAlloc {
    let group = GroupSpec {
        name: "group".parse().unwrap(),
        count: 1,
        constraints: Vec::new(),
        rules: Rules::default(),
        network: NetworkMode::None,
        tasks,
        restart: RestartPolicy { attempts: 0, interval: Millis(1), delay: Millis(1), max_delay: Millis(1) },
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(0) },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    };
    DesiredAlloc {
        id: AllocId::new(Incarnation(1), NEXT.fetch_add(1, Ordering::Relaxed)),
        job: JobId { namespace: Namespace::default(), name: "job".parse().unwrap() },
        kind: JobKind::Batch,
        version: JobVersion(1),
        index: 3,
        group,
        ports: BTreeMap::new(),
        devices: BTreeMap::new(),
        goal: Goal::Run,
    }
}

/// The name of the only task.
pub fn main_task() -> TaskName {
    "main".parse().unwrap()
}

impl World {
    async fn open(config: RuntimeConfig, image: PathBuf) -> Self {
        let (runtime, events) = open(&config).await;
        Self { runtime, events, config, image, seen: Vec::new(), allocs: Vec::new() }
    }

    /// The agent is killed and starts again: everything in memory is gone.
    pub async fn restart_agent(&mut self) {
        let (runtime, events) = open(&self.config).await;
        self.runtime = runtime;
        self.events = events;
        self.seen.clear();
    }

    /// The agent is killed, and does not start again yet.
    pub async fn runtime_gone(&mut self) {
        // Another data folder's runtime takes its place, so that this one is dropped.
        let elsewhere = self.config.data_dir.join("elsewhere");
        self.use_instead(RuntimeConfig { data_dir: elsewhere, ..self.config.clone() }).await;
    }

    /// Goes on with another runtime; what is prepared from now on is that one's.
    pub async fn use_instead(&mut self, config: RuntimeConfig) {
        (self.runtime, self.events) = open(&config).await;
    }

    /// Looks until something holds.
    pub async fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "{what} does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes an allocation ready, without starting it.
    pub async fn prepare(&mut self, desired: &DesiredAlloc) -> Result<(), NotReady> {
        self.allocs.push(desired.id);
        let prepared = self.runtime.prepare(desired, |_| {}).await?;
        self.runtime.launch(prepared).await
    }

    /// Makes an allocation of one task ready and starts it.
    pub async fn start(&mut self, task: TaskSpec) -> AllocId {
        let desired = alloc(vec![task]);
        self.prepare(&desired).await.unwrap();
        self.runtime.start(desired.id, &main_task(), 1).await.unwrap();
        desired.id
    }

    /// Runs an allocation of one task to its end.
    pub async fn run(&mut self, task: TaskSpec) -> (AllocId, ExitKind) {
        let alloc = self.start(task).await;
        let exit = self.exit(alloc).await;
        (alloc, exit.how)
    }

    /// Runs an allocation of one task to its end; gives what it wrote to stdout.
    pub async fn output(&mut self, task: TaskSpec) -> String {
        let (alloc, exit) = self.run(task).await;
        let output = self.text(alloc, LogStream::Stdout).await;
        let errors = self.text(alloc, LogStream::Stderr).await;
        assert_eq!(exit, ExitKind::Status(0), "stdout: {output}\nstderr: {errors}");
        output
    }

    /// The next state of an allocation's main task that `wanted` takes.
    pub async fn state<T>(&mut self, alloc: AllocId, wanted: impl Fn(&ShimTask) -> Option<T>) -> T {
        let taken = |event: &RuntimeEvent| match event {
            RuntimeEvent::Task { alloc: of, shim, .. } if *of == alloc => wanted(shim),
            RuntimeEvent::Task { .. } | RuntimeEvent::ShimLost { .. } => None,
        };
        if let Some((at, found)) = self.seen.iter().enumerate().find_map(|(at, event)| Some((at, taken(event)?))) {
            self.seen.remove(at);
            return found;
        }
        tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the runtime lives");
                match taken(&event) {
                    Some(found) => return found,
                    None => self.seen.push(event),
                }
            }
        })
        .await
        .expect("the state does not come")
    }

    /// Waits until the main task runs; gives its pid.
    pub async fn running(&mut self, alloc: AllocId) -> u32 {
        self.state(alloc, |shim| match shim.state {
            ShimTaskState::Running { pid, .. } => Some(pid),
            ShimTaskState::Starting | ShimTaskState::Exited(_) => None,
        })
        .await
    }

    /// Waits until the main task has ended.
    pub async fn exit(&mut self, alloc: AllocId) -> Exit {
        self.state(alloc, |shim| match &shim.state {
            ShimTaskState::Exited(exit) => Some(exit.clone()),
            ShimTaskState::Starting | ShimTaskState::Running { .. } => None,
        })
        .await
    }

    /// What is in the logs now.
    pub async fn records(&self, alloc: AllocId) -> Vec<LogRecord> {
        let query = LogQuery { stream: None, from: LogFrom::Oldest, follow: false };
        let mut stream = self.runtime.read_logs(alloc, &main_task(), query);
        let mut records = Vec::new();
        while let Some(record) = stream.recv().await {
            records.push(record.unwrap());
        }
        records
    }

    /// The text of one stream.
    pub async fn text(&self, alloc: AllocId, stream: LogStream) -> String {
        let records = self.records(alloc).await;
        let lines = records.iter().filter(|record| record.stream == stream);
        lines.map(|r| String::from_utf8_lossy(&r.line).into_owned() + if r.partial { "" } else { "\n" }).collect()
    }

    /// Waits until stdout holds this text.
    pub async fn says(&self, alloc: AllocId, text: &str) {
        let query = LogQuery { stream: Some(LogStream::Stdout), from: LogFrom::Oldest, follow: true };
        let mut stream = self.runtime.read_logs(alloc, &main_task(), query);
        let found = async {
            while let Some(record) = stream.recv().await {
                if String::from_utf8_lossy(&record.unwrap().line).contains(text) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the line does not come");
    }

    /// The folder of an allocation.
    pub fn folder(&self, alloc: AllocId) -> PathBuf {
        self.config.data_dir.join("allocs").join(alloc.to_string())
    }

    /// The pid of an allocation's shim.
    pub fn shim_pid(&self, alloc: AllocId) -> i32 {
        let state = self.folder(alloc).join("state.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
        i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
    }

    /// Ends and removes every allocation.
    pub async fn close(&mut self) {
        for alloc in std::mem::take(&mut self.allocs) {
            for run in 1..4 {
                let _ = self.runtime.signal(alloc, &main_task(), run, Kill::Force).await;
            }
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = self.runtime.purge(alloc).await {
                assert!(Instant::now() < deadline, "{error}: {:?}", std::error::Error::source(&error));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self.runtime.tidy();
    }
}

async fn open(config: &RuntimeConfig) -> (Runtime, mpsc::Receiver<RuntimeEvent>) {
    static STORE: OnceLock<Store> = OnceLock::new();
    let open = || Store::open(&SHARED.get().unwrap().path().join("images"), StoreConfig::default()).unwrap();
    Runtime::open(config.clone(), STORE.get_or_init(open).clone()).await.unwrap()
}
