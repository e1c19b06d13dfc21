//! The agent's side: makes the folders of allocations, starts their shims and talks to them.
//!
//! Decides nothing and remembers nothing that is not on the disk: whoever opens it anew finds the same
//! allocations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use berth_model::{
    AllocId, BootTime, Bytes, DesiredAlloc, Device, Failure, FailureKind, FoundShim, Kill, NotReady, Progress,
    ShimTask, TaskName,
};
use futures::StreamExt;
use futures::stream;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, warn};

use crate::bundle::Folders;
use crate::cgroup::Cgroups;
use crate::client::{self, Client, Events, Unanswered};
use crate::error::{RuntimeError, failure, io_failure, may_pass};
use crate::exec::{self, ExecRequest, ExecSession};
use crate::images::{Credential, Digest, Store};
use crate::logs::{self, LogQuery, LogRecord};
use crate::oci::OciRuntime;
use crate::plan::{AllocPlan, LogLimits, boot_id, make, names};
use crate::seccomp::Filters;
use crate::shim::lock;
use crate::shim::protocol::{Ask, KillWire, TaskWire};
use crate::shim::state::State;
use crate::{tree, usage};

/// Events that are kept for an agent that is busy; then shims wait.
const EVENTS: usize = 1024;
/// Shims that are looked for at the same time.
const LOOKS: usize = 64;
/// How long the program of a shim may take until the shim answers.
const BEGIN: Duration = Duration::from_secs(30);
/// How long a shim may take to end after it said that it would, or was killed.
const FAREWELL: Duration = Duration::from_secs(10);
/// Attempts to reach a shim that has broken a connection.
const RECONNECTS: u32 = 3;
/// Shims that are started at the same time: more than this only fight for processors and the disk, until each of them
/// takes longer than it may.
pub const STARTING_AT_ONCE: usize = 8;
/// Log records that are kept for whoever reads them.
const RECORDS: usize = 512;

/// How a runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where allocations are kept, in `allocs/`.
    pub data_dir: PathBuf,
    /// The program that is called as `PROGRAM shim FOLDER`.
    pub shim_program: PathBuf,
    /// The group below which all groups of allocations are made, in every hierarchy.
    pub cgroup_parent: String,
    /// What makes containers.
    pub oci_runtime: OciRuntime,
    /// Bounds of every task's log files.
    pub logs: LogLimits,
    /// What registries are shown, by the name that jobs use.
    pub credentials: BTreeMap<String, Credential>,
    /// What every task on this node is told in its environment.
    pub node_env: BTreeMap<String, String>,
    /// What may be given to allocations by id.
    pub devices: Vec<Device>,
    /// Folders and files that host programs must not see, whoever they run as, beside the data folder.
    pub hidden: Vec<PathBuf>,
    /// How long a shim may take to answer.
    pub patience: Duration,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// To a task, as its shim says. May be said twice.
    Task {
        /// Of which allocation.
        alloc: AllocId,
        /// Which task.
        task: TaskName,
        /// Its newest run.
        shim: ShimTask,
    },
    /// The shim of an allocation died.
    ShimLost {
        /// Which allocation.
        alloc: AllocId,
    },
}

/// An allocation that is ready for [`Runtime::launch`], and whose turn it is: others wait until it is launched.
#[must_use]
pub struct Prepared {
    alloc: AllocId,
    _turn: OwnedSemaphorePermit,
}

/// Runs allocations. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: RuntimeConfig,
    hidden: Vec<PathBuf>,
    images: Store,
    boot: String,
    cgroups: Cgroups,
    filters: Filters,
    shims: Shims,
    events: mpsc::Sender<RuntimeEvent>,
    starting: Arc<Semaphore>,
}

/// The shims that are connected.
type Shims = Arc<Mutex<HashMap<AllocId, Shim>>>;

/// A connection to a shim.
struct Shim {
    client: Client,
    /// Its process.
    process: OwnedFd,
    watcher: tokio::task::AbortHandle,
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        shims_of(&self.shims).clear();
    }
}

impl Runtime {
    /// Opens the allocations of a data folder. Nothing is connected before [`Runtime::find`].
    pub async fn open(
        config: RuntimeConfig,
        images: Store,
    ) -> Result<(Self, mpsc::Receiver<RuntimeEvent>), RuntimeError> {
        let allocs = config.data_dir.join("allocs");
        make_private(&allocs).map_err(RuntimeError::files("make", &allocs))?;
        let hidden = hidden(&config).map_err(RuntimeError::files("find", &config.data_dir))?;
        let boot = boot_id().map_err(RuntimeError::files("read", "/proc/sys/kernel/random/boot_id"))?;
        let cgroups = Cgroups::detect().map_err(RuntimeError::files("read", "/proc/self/mountinfo"))?;
        let (events, receiver) = mpsc::channel(EVENTS);
        let (filters, shims) = (Filters::default(), Shims::default());
        let starting = Arc::new(Semaphore::new(STARTING_AT_ONCE));
        let inner = Inner { config, hidden, images, boot, cgroups, filters, shims, events, starting };
        Ok((Self { inner: Arc::new(inner) }, receiver))
    }

    /// Every allocation that has a folder, connected where its shim answers. From then on, events tell
    /// what happens to it.
    pub async fn find(&self) -> Result<Vec<(AllocId, FoundShim)>, RuntimeError> {
        let looks = stream::iter(self.ids()?).map(|id| async move { (id, self.look(id).await) });
        Ok(looks.buffered(LOOKS).collect().await)
    }

    async fn look(&self, alloc: AllocId) -> FoundShim {
        let dir = self.dir(alloc);
        match AllocPlan::read(&dir) {
            Ok(plan) if plan.boot != self.inner.boot => return FoundShim::Rebooted,
            Ok(_) => {}
            // Made ready no further than this: no shim was started.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Damaged, or of a later version of this program: its shim can tell more.
            Err(error) => warn!(%alloc, %error, "cannot read the plan of an allocation"),
        }
        match self.connect(alloc).await {
            Ok(tasks) => return FoundShim::Alive(by_name(tasks)),
            Err(error) => debug!(%alloc, error = %error, "no shim"),
        }
        let tasks = match State::read(&dir) {
            Ok(state) => by_name(state.map(|state| state.tasks).unwrap_or_default()),
            Err(error) => {
                warn!(%alloc, %error, "cannot read what a shim wrote last");
                BTreeMap::new()
            }
        };
        if self.inner.cgroups.processes(&self.cgroup(alloc)).is_empty() {
            FoundShim::Gone(tasks)
        } else {
            FoundShim::Orphaned(tasks)
        }
    }

    /// Makes the folder and the images of an allocation ready for [`Runtime::launch`], and waits for its turn to be
    /// launched. Makes nothing where a shim answers. May be dropped at any time.
    pub async fn prepare(&self, desired: &DesiredAlloc, on_progress: impl Fn(Progress)) -> Result<Prepared, NotReady> {
        let alloc = desired.id;
        let images = match self.client(alloc) {
            Ok(_) => None,
            Err(_) => Some(make::images(desired, self, &on_progress).await?),
        };
        // Only now: an image that does not come holds up nobody who has theirs. And no later: many may wait, and a plan
        // is large.
        let turn = Arc::clone(&self.inner.starting).acquire_owned().await.expect("the semaphore is never closed");
        if let Some(images) = images {
            let plan = make::make(desired, self, &images)?;
            let dir = self.dir(alloc);
            let prepared = make_private(&dir).and_then(|()| plan.write(&dir));
            drop(images);
            let failed = |error| io_failure(format_args!("make the folder of allocation {alloc}"), &error);
            prepared.map_err(|error| may_pass(failed(error)))?;
        }
        Ok(Prepared { alloc, _turn: turn })
    }

    /// Starts the shim of a prepared allocation. Does nothing where a shim answers. Takes a bounded time, and must
    /// not be dropped: what is half begun would be known to nobody.
    pub async fn launch(&self, prepared: Prepared) -> Result<(), NotReady> {
        let alloc = prepared.alloc;
        // An earlier try may have given up on a shim that was only slow.
        if self.client(alloc).is_ok() || self.connect(alloc).await.is_ok() {
            return Ok(());
        }
        let ended = self.end_shim(alloc).await;
        let unended = |error| may_pass(failure(FailureKind::Runtime, format!("cannot replace a shim: {error}")));
        ended.map_err(unended)?;
        self.spawn(alloc).await.map_err(may_pass)?;
        match self.connect(alloc).await {
            Ok(_) => Ok(()),
            Err(error) => Err(may_pass(failure(FailureKind::Runtime, format!("cannot reach the new shim: {error}")))),
        }
    }

    /// Calls the shim's program, which returns when the shim answers.
    async fn spawn(&self, alloc: AllocId) -> Result<(), Failure> {
        let program = &self.inner.config.shim_program;
        let mut command = Command::new(program);
        command.arg("shim").arg(self.dir(alloc));
        // The agent's environment is its own, secrets perhaps included.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let output = tokio::time::timeout(BEGIN, command.output()).await;
        let output = output.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let output = output.map_err(|error| io_failure(format_args!("run {}", program.display()), &error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failure(FailureKind::Runtime, format!("the shim of allocation {alloc} does not start: {}", said.trim())))
    }

    /// Starts a run of a task. What comes of it is told by events.
    pub async fn start(&self, alloc: AllocId, task: &TaskName, run: u32) -> Result<(), RuntimeError> {
        let asked = self.client(alloc)?.ask(Ask::Start { task: task.to_string(), run }).await;
        asked.map_err(|why| unanswered(alloc, task, why))
    }

    /// Lets a fenced allocation run until then.
    pub async fn lease(&self, alloc: AllocId, until: BootTime) -> Result<(), RuntimeError> {
        let asked = self.client(alloc)?.ask(Ask::Lease { until: until.0 }).await;
        asked.map_err(|why| match why {
            Unanswered::Refused(failure) => RuntimeError::Lease { alloc, failure },
            Unanswered::OutOfTurn => RuntimeError::Protocol(alloc),
            Unanswered::Gone => RuntimeError::NoShim(alloc),
            Unanswered::Late => RuntimeError::Late(alloc),
        })
    }

    /// Sends a signal to a run of a task; a run that is over is left alone. A shim that does not answer to force is
    /// killed itself; then its loss is told, and what it kept is for [`Runtime::end_orphans`].
    pub async fn signal(&self, alloc: AllocId, task: &TaskName, run: u32, kill: Kill) -> Result<(), RuntimeError> {
        let kill_wire = KillWire::new(kill, || self.stop_signal(alloc, task));
        let asked = self.client(alloc)?.ask(Ask::Signal { task: task.to_string(), run, kill: kill_wire }).await;
        if matches!((&asked, kill), (Err(Unanswered::Late), Kill::Force)) {
            warn!(%alloc, "a shim does not answer and is killed");
            self.end_shim(alloc).await?;
        }
        asked.map_err(|why| unanswered(alloc, task, why))
    }

    /// What a task is asked to end by when its job does not say.
    fn stop_signal(&self, alloc: AllocId, task: &TaskName) -> u8 {
        const SIGTERM: u8 = 15;
        let plan = AllocPlan::read(&self.dir(alloc))
            .inspect_err(|error| warn!(%alloc, %error, "cannot read which signal the image names"));
        plan.ok().and_then(|plan| plan.tasks.get(task.as_str())?.stop_signal).unwrap_or(SIGTERM)
    }

    /// Ends every process of an allocation whose shim has died; the shim too, if it lives after all.
    pub async fn end_orphans(&self, alloc: AllocId) -> Result<(), RuntimeError> {
        self.end_shim(alloc).await?;
        let (dir, group, cgroups) = (self.dir(alloc), self.cgroup(alloc), self.inner.cgroups.clone());
        let ended = blocking(move || {
            cgroups.end(&group)?;
            cgroups.remove(&group)?;
            match lock::is_held(&dir)? {
                false => Ok(()),
                true => Err(io::Error::other("what its shim began has not ended")),
            }
        });
        ended.await.map_err(|source| RuntimeError::Cgroups { alloc, source })
    }

    /// Kills the shim of an allocation, whether it answers or not, and waits until it is gone.
    async fn end_shim(&self, alloc: AllocId) -> Result<(), RuntimeError> {
        let dir = self.dir(alloc);
        let end = async {
            // Who listens on the socket, also without answering; or has the lock and does not listen yet.
            let process = match client::connect(&dir, self.inner.config.patience).await {
                Ok((_, _, process)) => Some(process),
                Err(_) => blocking(move || lock::holder(&dir)).await?,
            };
            let Some(process) = process else { return Ok(()) };
            match pidfd_send_signal(&process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::timeout(FAREWELL, ended(&process))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        end.await.map_err(|source| RuntimeError::Shim { alloc, source })
    }

    /// Ends the shim of an allocation whose tasks have ended, and frees what it held. Logs are kept.
    pub async fn remove(&self, alloc: AllocId) -> Result<(), RuntimeError> {
        // Out of the map, so that its end is not taken for a loss.
        let shim = shims_of(&self.inner.shims).remove(&alloc);
        if let Some(shim) = shim {
            match shim.client.ask(Ask::Shutdown).await {
                // It may have gone before the answer was through.
                Ok(()) | Err(Unanswered::Gone) => drop(tokio::time::timeout(FAREWELL, ended(&shim.process)).await),
                // A start that it answered too late, or nothing that it answers.
                Err(why) => warn!(%alloc, ?why, "a shim does not end when asked to; it is ended by force"),
            }
        }
        self.end_orphans(alloc).await?;
        let dir = self.dir(alloc);
        blocking(move || clear(&dir)).await.map_err(RuntimeError::files("clear", self.dir(alloc)))
    }

    /// Removes the folder of an allocation, logs included.
    pub async fn purge(&self, alloc: AllocId) -> Result<(), RuntimeError> {
        self.remove(alloc).await?;
        let dir = self.dir(alloc);
        blocking(move || tree::remove(&dir)).await.map_err(RuntimeError::files("remove", self.dir(alloc)))
    }

    /// Runs a command beside a task.
    pub async fn exec(
        &self,
        alloc: AllocId,
        task: &TaskName,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        let dir = self.dir(alloc);
        let begun = tokio::time::timeout(self.inner.config.patience, exec::begin(&dir, alloc, task, request)).await;
        begun.unwrap_or(Err(RuntimeError::Late(alloc)))
    }

    /// Whether a process of the allocation sees this file: its path is followed in the process's own root, and never out of it.
    /// `turn` is kept for as long as the looking takes, which goes on where this is given up: a file system may hang.
    pub async fn sees(&self, alloc: AllocId, pid: u32, path: &str, turn: impl Send + 'static) -> io::Result<bool> {
        let (group, cgroups, path) = (self.cgroup(alloc), self.inner.cgroups.clone(), path.to_owned());
        blocking(move || {
            let _turn = turn;
            let root = crate::view::root(pid)?;
            // Its pid may have been given to another by now: only then is the root one to look into.
            if !cgroups.processes(&group).iter().any(|process| u32::try_from(*process) == Ok(pid)) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the task has ended"));
            }
            crate::view::has(&root, &path)
        })
        .await
    }

    /// Reads what a task wrote; also of an allocation that was removed and not purged. The stream ends
    /// when all is read; with `follow`, when the receiver is dropped.
    pub fn read_logs(&self, alloc: AllocId, task: &TaskName, query: LogQuery) -> mpsc::Receiver<io::Result<LogRecord>> {
        let (send, receive) = mpsc::channel(RECORDS);
        let dir = self.dir(alloc).join(names::LOGS);
        tokio::spawn(logs::reader::run(dir, task.to_string(), query, send));
        receive
    }

    /// What a task has written to the disk and not removed: its work folder, and what it has changed of its root or put
    /// into `/tmp`. Not its logs, which have bounds of their own.
    pub async fn disk_used(&self, alloc: AllocId, task: &TaskName) -> Result<Bytes, RuntimeError> {
        let folders = Folders::of(&self.dir(alloc), task.as_str());
        let measure = move || -> io::Result<Bytes> {
            let all = [&folders.work, &folders.upper, &folders.tmp].map(|folder| usage::below(folder));
            all.into_iter().try_fold(Bytes(0), |sum, one| Ok(Bytes(sum.0.saturating_add(one?.0))))
        };
        blocking(measure).await.map_err(RuntimeError::files("measure", self.dir(alloc)))
    }

    /// The images that allocations on the disk run from: those that must not be collected.
    pub fn images_in_use(&self) -> Result<BTreeSet<Digest>, RuntimeError> {
        let mut digests = BTreeSet::new();
        for alloc in self.ids()? {
            let plan = match AllocPlan::read(&self.dir(alloc)) {
                Ok(plan) => plan,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // What cannot be read may be running: nothing is collected until it can.
                Err(error) => return Err(RuntimeError::files("read the plan in", self.dir(alloc))(error)),
            };
            digests.extend(plan.images().filter_map(|digest| digest.parse::<Digest>().ok()));
        }
        Ok(digests)
    }

    fn ids(&self) -> Result<Vec<AllocId>, RuntimeError> {
        let allocs = self.inner.config.data_dir.join("allocs");
        let entries = fs::read_dir(&allocs).map_err(RuntimeError::files("list", &allocs))?;
        let mut ids: Vec<AllocId> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The filters of system calls that were compiled.
    pub(crate) fn filters(&self) -> &Filters {
        &self.inner.filters
    }

    /// Removes the groups that allocations shared, where nothing is left in them. For an agent that ends.
    pub fn tidy(&self) {
        let parent = &self.inner.config.cgroup_parent;
        self.inner.cgroups.remove_unused(&format!("{parent}/shims"));
        self.inner.cgroups.remove_unused(parent);
    }

    pub(crate) fn config(&self) -> &RuntimeConfig {
        &self.inner.config
    }

    /// What host programs must not see.
    pub(crate) fn hidden(&self) -> &[PathBuf] {
        &self.inner.hidden
    }

    pub(crate) fn images(&self) -> &Store {
        &self.inner.images
    }

    pub(crate) fn boot(&self) -> &str {
        &self.inner.boot
    }

    /// The group of an allocation.
    pub(crate) fn cgroup(&self, alloc: AllocId) -> String {
        format!("{}/{alloc}", self.inner.config.cgroup_parent)
    }

    fn dir(&self, alloc: AllocId) -> PathBuf {
        self.inner.config.data_dir.join("allocs").join(alloc.to_string())
    }

    fn client(&self, alloc: AllocId) -> Result<Client, RuntimeError> {
        let shims = shims_of(&self.inner.shims);
        shims.get(&alloc).map(|shim| shim.client.clone()).ok_or(RuntimeError::NoShim(alloc))
    }

    /// Connects to a shim and watches it. Gives its tasks.
    async fn connect(&self, alloc: AllocId) -> Result<BTreeMap<String, TaskWire>, RuntimeError> {
        let dir = self.dir(alloc);
        let connected = client::connect(&dir, self.inner.config.patience).await;
        let (client, events, process) = connected.map_err(|source| RuntimeError::Talk { alloc, source })?;
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (shims, send) = (Arc::clone(&self.inner.shims), self.inner.events.clone());
        let watcher = Watcher { alloc, dir, patience: self.inner.config.patience, shims, send };
        let watching = tokio::spawn(async move {
            let mut events = events;
            let early = watcher.until_begun(&mut events, begun).await;
            watcher.watch(events, early).await;
        });
        let shim = Shim { client: client.clone(), process, watcher: watching.abort_handle() };
        let Ok(tasks) = client.hello().await else { return Err(RuntimeError::NoShim(alloc)) };
        shims_of(&self.inner.shims).insert(alloc, shim);
        // The watcher waits for this, so that it cannot find its shim gone before it is in the map.
        let _ = begin.send(());
        Ok(tasks.into_iter().collect())
    }
}

/// Reads what one shim says, for as long as it lives.
struct Watcher {
    alloc: AllocId,
    dir: PathBuf,
    patience: Duration,
    shims: Shims,
    send: mpsc::Sender<RuntimeEvent>,
}

/// Events that come before the one who connected is ready for them.
type Early = Vec<(String, TaskWire)>;

impl Watcher {
    async fn until_begun(&self, events: &mut Events, mut begun: tokio::sync::oneshot::Receiver<()>) -> Early {
        let mut early = Vec::new();
        loop {
            tokio::select! {
                _ = &mut begun => return early,
                event = events.next() => match event {
                    Some(event) => early.push(event),
                    None => {
                        let _ = begun.await;
                        return early;
                    }
                },
            }
        }
    }

    async fn watch(self, mut events: Events, early: Early) {
        for (task, state) in early {
            self.tell(task, state).await;
        }
        loop {
            while let Some((task, state)) = events.next().await {
                self.tell(task, state).await;
            }
            match self.reconnect().await {
                Some(again) => events = again,
                None => break,
            }
        }
        let alloc = self.alloc;
        // Dropping it aborts the task that runs this at its next await: not before the event is sent.
        let shim = shims_of(&self.shims).remove(&alloc);
        if shim.is_some() {
            // Without a receiver the agent is ending.
            let _ = self.send.send(RuntimeEvent::ShimLost { alloc }).await;
        }
    }

    async fn tell(&self, task: String, state: TaskWire) {
        let Ok(task) = task.parse() else { return };
        // Without a receiver the agent is ending.
        let _ = self.send.send(RuntimeEvent::Task { alloc: self.alloc, task, shim: state.into() }).await;
    }

    async fn greet(&self, client: &Client, events: &mut Events) -> Result<Vec<(String, TaskWire)>, Unanswered> {
        let hello = client.hello();
        tokio::pin!(hello);
        loop {
            tokio::select! {
                answer = &mut hello => return answer,
                event = events.next() => match event {
                    Some((task, state)) => self.tell(task, state).await,
                    None => return Err(Unanswered::Gone),
                },
            }
        }
    }

    /// A shim lets go of an agent that does not read for long. Then it still answers.
    async fn reconnect(&self) -> Option<Events> {
        for _ in 0..RECONNECTS {
            let (client, mut events, _) = client::connect(&self.dir, self.patience).await.ok()?;
            let Ok(tasks) = self.greet(&client, &mut events).await else { continue };
            for (task, state) in tasks {
                self.tell(task, state).await;
            }
            if let Some(shim) = shims_of(&self.shims).get_mut(&self.alloc) {
                shim.client = client;
            }
            return Some(events);
        }
        None
    }
}

fn by_name(tasks: BTreeMap<String, TaskWire>) -> BTreeMap<TaskName, ShimTask> {
    tasks.into_iter().filter_map(|(name, task)| Some((name.parse().ok()?, task.into()))).collect()
}

fn unanswered(alloc: AllocId, task: &TaskName, why: Unanswered) -> RuntimeError {
    match why {
        Unanswered::Refused(failure) => RuntimeError::Refused { alloc, task: task.clone(), failure },
        Unanswered::OutOfTurn => RuntimeError::Protocol(alloc),
        Unanswered::Gone => RuntimeError::NoShim(alloc),
        Unanswered::Late => RuntimeError::Late(alloc),
    }
}

/// As host programs would find it: absolute, and where it is there without links.
fn hidden(config: &RuntimeConfig) -> io::Result<Vec<PathBuf>> {
    let all = std::iter::once(&config.data_dir).chain(&config.hidden);
    all.map(|path| fs::canonicalize(path).or_else(|_| std::path::absolute(path))).collect()
}

/// A folder for nobody else; one that is there is closed to others too.
fn make_private(dir: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Waits for the end of a process. A pidfd can be read from when its process has ended.
async fn ended(process: &OwnedFd) -> io::Result<()> {
    pipe::Receiver::from_owned_fd_unchecked(process.try_clone()?)?.readable().await
}

/// Removes everything of an allocation but its logs and what was written down of it.
fn clear(dir: &std::path::Path) -> io::Result<()> {
    tree::remove(&dir.join("tasks"))?;
    for name in [names::SOCKET, names::LOCK, crate::plan::FILE] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(io::Error::other(stopped)),
    }
}

fn shims_of(shims: &Shims) -> MutexGuard<'_, HashMap<AllocId, Shim>> {
    shims.lock().unwrap_or_else(PoisonError::into_inner)
}
