//! The loop of a shim: waits for signals, clients, streams and children, and serves them in turn.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use berth_model::{BootTime, Failure, FailureKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::client::Client;
use super::exec::{self, Session, Wanted};
use super::lease::{self, Lease};
use super::maker::{Made, Maker};
use super::protocol::{self, Ask, ExitWire, KillWire, NEWEST, OLDEST, Request, Say, TaskWire};
use super::slim;
use super::state::State;
use super::task::{Scratch, Task};
use crate::bundle::{self, Folders, Surroundings};
use crate::cgroup::Cgroups;
use crate::error::{failure, io_failure};
use crate::logs::writer::LogWriter;
use crate::oci::{OciRuntime, Place};
use crate::plan::{AllocPlan, names};

/// Connections at a time: an agent's own, and its sessions of `exec`.
const MOST_CLIENTS: usize = 64;
/// Ends of processes whose makers have not told of them yet.
const MOST_EARLY: usize = 1024;
/// How long nothing has to happen before memory is let go of: what begins a task comes at once.
const IDLE_MS: u16 = 500;
/// Signals that are passed on to the main process of every task.
const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// A shim.
pub(super) struct Server {
    dir: PathBuf,
    alloc: String,
    cgroup: String,
    oci: OciRuntime,
    cgroups: Cgroups,
    /// Of a fenced allocation.
    lease: Option<Lease>,
    around: Surroundings,
    signals: SignalFd,
    listener: UnixListener,
    tasks: BTreeMap<String, Task>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// How processes ended that nobody has told of yet: a program can be over before its maker.
    early: BTreeMap<i32, ExitWire>,
    scratch: Scratch,
    is_over: bool,
    /// Whether nothing but streams was served since memory was let go of.
    is_slim: bool,
    /// Held as long as this process lives.
    _lock: File,
}

/// What a descriptor is waited for.
enum Waited {
    Lease,
    Signals,
    Listener,
    Client(u64),
    Session(u64),
    Stream(String, usize),
    Maker(String),
}

impl Server {
    /// A shim whose tasks have not run yet, with its first state written.
    pub fn new(
        dir: PathBuf,
        plan: &AllocPlan,
        cgroups: Cgroups,
        around: Surroundings,
        listener: UnixListener,
        lock: File,
    ) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.extend(FORWARDED);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut tasks = BTreeMap::new();
        for name in plan.tasks.keys() {
            tasks.insert(name.clone(), Task::new(LogWriter::open(dir.join(names::LOGS), name, plan.logs)?));
        }
        let server = Self {
            dir,
            alloc: plan.alloc.clone(),
            cgroup: plan.cgroup.clone(),
            oci: plan.oci.clone(),
            cgroups,
            lease: plan.fenced.then(Lease::new).transpose()?,
            around,
            signals,
            listener,
            tasks,
            clients: BTreeMap::new(),
            next_client: 0,
            early: BTreeMap::new(),
            scratch: Scratch::default(),
            is_over: false,
            is_slim: false,
            _lock: lock,
        };
        server.save()?;
        Ok(server)
    }

    /// Serves until it is told to end.
    pub fn serve(mut self) -> io::Result<()> {
        while !self.is_over {
            let ready = self.wait()?;
            if ready.is_empty() {
                self.settle();
            }
            for waited in ready {
                self.is_slim &= matches!(waited, Waited::Stream(..));
                match waited {
                    Waited::Lease => self.fence(),
                    Waited::Signals => self.signals()?,
                    Waited::Listener => self.accept(),
                    Waited::Client(id) => self.client(id),
                    Waited::Session(id) => self.session_made(id),
                    Waited::Stream(name, at) => {
                        if let Some(task) = self.tasks.get_mut(&name) {
                            task.pump(at, &mut self.scratch);
                        }
                    }
                    Waited::Maker(name) => self.made(&name),
                }
            }
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Waited>> {
        // First of all: whatever else has come may have come while the machine slept.
        let lease = self.lease.iter().filter(|lease| !lease.is_over());
        let lease = lease.map(|lease| (lease.fd(), PollFlags::POLLIN, Waited::Lease));
        let mut wanted: Vec<(BorrowedFd<'_>, PollFlags, Waited)> = lease.collect();
        wanted.extend([
            (self.signals.as_fd(), PollFlags::POLLIN, Waited::Signals),
            (self.listener.as_fd(), PollFlags::POLLIN, Waited::Listener),
        ]);
        for (id, client) in &self.clients {
            let write = if client.has_unsent() { PollFlags::POLLOUT } else { PollFlags::empty() };
            wanted.push((client.fd(), PollFlags::POLLIN | write, Waited::Client(*id)));
            if let Some(Session::Making { maker, .. }) = &client.session {
                wanted.push((maker.fd(), PollFlags::POLLIN, Waited::Session(*id)));
            }
        }
        for (name, task) in &self.tasks {
            for (at, fd) in task.streams() {
                wanted.push((fd, PollFlags::POLLIN, Waited::Stream(name.clone(), at)));
            }
            if let Some(maker) = &task.maker {
                wanted.push((maker.fd(), PollFlags::POLLIN, Waited::Maker(name.clone())));
            }
        }
        let mut fds: Vec<PollFd<'_>> = wanted.iter().map(|(fd, flags, _)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, if self.is_slim { PollTimeout::NONE } else { PollTimeout::from(IDLE_MS) }) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        Ok(wanted.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((_, _, waited), _)| waited).collect())
    }

    /// Ends every process of the allocation, if its lease has ended.
    fn fence(&mut self) {
        if !self.lease.as_mut().is_some_and(Lease::end) {
            return;
        }
        eprintln!("shim: the lease has ended; every task is killed");
        for (name, task) in self.tasks.iter().filter(|(_, task)| task.is_busy()) {
            let pids = task.maker.as_ref().map(|maker| maker.pid).into_iter().chain(task.pid().map(as_pid));
            pids.for_each(|pid| _ = kill(pid, Signal::SIGKILL));
            self.cgroups.kill(&format!("{}/{name}", self.cgroup));
        }
    }

    fn extend_lease(&mut self, until: u64) -> Result<(), Failure> {
        let unasked = || failure(FailureKind::Runtime, "the allocation is not fenced");
        self.lease.as_mut().ok_or_else(unasked)?.extend(BootTime(until))
    }

    fn signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let Some(signal) = signal.filter(|signal| FORWARDED.contains(signal)) {
                for pid in self.tasks.values().filter_map(Task::pid) {
                    let _ = kill(as_pid(pid), signal);
                }
            }
        }
        self.reap();
        Ok(())
    }

    /// Takes in every child that has ended: programs, their makers, and orphans of either.
    fn reap(&mut self) {
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, ExitWire::Status(u8::try_from(status).unwrap_or(u8::MAX))),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, ExitWire::Signal(u8::try_from(signal as i32).unwrap_or(u8::MAX)))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            self.reaped(pid, exit);
        }
    }

    fn reaped(&mut self, pid: Pid, exit: ExitWire) {
        let number = u32::try_from(pid.as_raw()).unwrap_or(0);
        let task = self.tasks.iter().find(|(_, task)| task.pid() == Some(number)).map(|(name, _)| name.clone());
        if let Some(name) = task {
            return self.ended(&name, exit);
        }
        let session = self.clients.iter().find(|(_, client)| match client.session {
            Some(Session::Running { pid }) => pid == number,
            Some(Session::Making { .. } | Session::Ended) | None => false,
        });
        if let Some(id) = session.map(|(id, _)| *id) {
            return self.session_ended(id, exit);
        }
        if self.is_making() {
            self.early.insert(pid.as_raw(), exit);
            if self.early.len() > MOST_EARLY {
                self.early.pop_first();
            }
        }
    }

    /// Nothing happens: for a long time there may be nothing to do.
    fn settle(&mut self) {
        self.is_slim = true;
        slim::let_go_of_files();
    }

    /// Something was made. With nothing else being made, ends of processes no longer wait for their makers.
    fn made_one(&mut self) {
        if !self.is_making() {
            self.early.clear();
        }
    }

    fn is_making(&self) -> bool {
        let session = |client: &Client| matches!(client.session, Some(Session::Making { .. }));
        self.tasks.values().any(|task| task.maker.is_some()) || self.clients.values().any(session)
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.clients.len() < MOST_CLIENTS
            && let Ok(Some(client)) = Client::accept(stream)
        {
            self.next_client += 1;
            self.clients.insert(self.next_client, client);
        }
    }

    fn client(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut requests = Vec::new();
        let mut is_there = client.flush().is_ok() && client.fill().unwrap_or(false);
        loop {
            match client.request() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(_) => {
                    is_there = false;
                    break;
                }
            }
        }
        for request in requests {
            is_there &= self.request(id, request);
        }
        if !is_there {
            self.let_go(id);
        }
    }

    /// A client has gone; the command that it had run ends.
    fn let_go(&mut self, id: u64) {
        match self.clients.remove(&id).and_then(|client| client.session) {
            // The runtime makes it the leader of a session: what it began and waits for goes with it.
            Some(Session::Running { pid }) => {
                let _ = killpg(as_pid(pid), Signal::SIGKILL);
                let _ = kill(as_pid(pid), Signal::SIGKILL);
            }
            Some(Session::Making { maker, .. }) => drop(kill(maker.pid, Signal::SIGKILL)),
            Some(Session::Ended) | None => {}
        }
    }

    /// Does what was asked and answers; false when the client cannot be answered.
    fn request(&mut self, client: u64, request: Request) -> bool {
        let id = request.id;
        let speaks = protocol::speaks(request.version);
        if let Some(client) = self.clients.get_mut(&client) {
            client.version = if speaks { request.version } else { NEWEST };
        }
        if !speaks {
            let message = format!("the shim speaks versions {OLDEST} to {NEWEST}, not {}", request.version);
            return self.say(client, Say::Refused { id, failure: failure(FailureKind::Runtime, message).into() });
        }
        let done = match request.ask {
            Ask::Hello => return self.hello(client, id),
            Ask::Exec { task, command, env, terminal } => {
                let wanted = Wanted { task, command, env, terminal, serial: client };
                match self.exec(client, id, wanted) {
                    Ok(()) => return true,
                    Err(failure) => Err(failure),
                }
            }
            Ask::Start { task, run } => self.start(&task, run),
            Ask::Lease { until } => self.extend_lease(until),
            Ask::Signal { task, run, kill } => self.signal(&task, run, kill),
            Ask::Shutdown => self.shut_down(),
        };
        self.say(
            client,
            match done {
                Ok(()) => Say::Done { id },
                Err(failure) => Say::Refused { id, failure: failure.into() },
            },
        )
    }

    fn say(&mut self, client: u64, say: Say) -> bool {
        self.clients.get_mut(&client).is_some_and(|client| client.say(say).is_ok())
    }

    fn hello(&mut self, client: u64, id: u64) -> bool {
        let welcome = Say::Welcome { id, pid: std::process::id(), tasks: self.newest() };
        if let Some(client) = self.clients.get_mut(&client) {
            client.listens = true;
        }
        self.say(client, welcome)
    }

    fn newest(&self) -> BTreeMap<String, TaskWire> {
        self.tasks.iter().filter_map(|(name, task)| Some((name.clone(), task.newest.clone()?))).collect()
    }

    fn save(&self) -> io::Result<()> {
        State::new(std::process::id(), self.newest()).write(&self.dir)
    }

    /// Writes down what has become of a task, then tells those who listen.
    fn publish(&mut self, name: &str) {
        if let Err(error) = self.save() {
            // A full disk must not stop the shim; whoever is connected still hears.
            eprintln!("shim: cannot write {}: {error}", names::STATE);
        }
        let Some(state) = self.tasks.get(name).and_then(|task| task.newest.clone()) else { return };
        let listening: Vec<u64> = self.clients.iter().filter(|(_, c)| c.listens).map(|(id, _)| *id).collect();
        for id in listening {
            if !self.say(id, Say::Task { task: name.to_owned(), state: state.clone() }) {
                self.let_go(id);
            }
        }
    }

    fn start(&mut self, name: &str, run: u32) -> Result<(), Failure> {
        let Some(task) = self.tasks.get_mut(name) else { return Err(no_task(name)) };
        if task.run() >= run {
            self.publish(name);
            return Ok(());
        }
        if task.is_busy() {
            let message = format!("run {} of task {name} has not ended", task.run());
            return Err(failure(FailureKind::Runtime, message));
        }
        self.lease.as_ref().map_or(Ok(()), Lease::check)?;
        let stdio = task.open_streams().map_err(|error| io_failure("open streams", &error))?;
        task.starts(run);
        let container = container_id(&self.alloc, name);
        let (dir, around, oci) = (&self.dir, &self.around, &self.oci);
        let maker = Maker::begin(move || {
            let plan = AllocPlan::read(dir).map_err(|error| io_failure("read the allocation's plan", &error))?;
            let plan_of_task = plan.tasks.get(name).ok_or_else(|| no_task(name))?;
            bundle::make(dir, &plan, name, plan_of_task, around, &stdio)?;
            let folders = Folders::of(dir, name);
            let place = Place { id: &container, bundle: &folders.bundle, state: &folders.state };
            Ok(Made { pid: oci.run(&place, stdio)?, fds: Vec::new() })
        });
        match maker {
            Ok(maker) => task.maker = Some(maker),
            Err(error) => {
                let failure = io_failure("start a process", &error);
                task.drain(&mut self.scratch);
                task.ends(ExitWire::Failure(failure.into()));
            }
        }
        self.publish(name);
        Ok(())
    }

    /// The child that makes a container has told, or ended.
    fn made(&mut self, name: &str) {
        let Some(task) = self.tasks.get_mut(name) else { return };
        let Some(maker) = task.maker.take() else { return };
        match maker.told() {
            Ok(Made { pid, .. }) => {
                task.runs(pid);
                let early = i32::try_from(pid).ok().and_then(|pid| self.early.remove(&pid));
                self.publish(name);
                match early {
                    Some(exit) => self.ended(name, exit),
                    None => self.send_pending(name),
                }
            }
            Err(failure) => self.ended(name, ExitWire::Failure(failure.into())),
        }
        self.made_one();
    }

    /// The run of a task is over: nothing of it is left when anybody hears of it.
    fn ended(&mut self, name: &str, exit: ExitWire) {
        let group = format!("{}/{name}", self.cgroup);
        let Some(task) = self.tasks.get_mut(name) else { return };
        let exit = match exit {
            _ if self.lease.as_ref().is_some_and(Lease::is_over) => ExitWire::Failure(lease::ended().into()),
            // A shell gives 128 and the signal for a child that was killed.
            ExitWire::Signal(9) | ExitWire::Status(137) if self.cgroups.oom_kills(&group) > 0 => ExitWire::OutOfMemory,
            ExitWire::Status(_) | ExitWire::Signal(_) | ExitWire::OutOfMemory | ExitWire::Failure(_) => exit,
        };
        self.cgroups.kill(&group);
        task.drain(&mut self.scratch);
        task.ends(exit);
        if let Err(error) = self.cgroups.remove(&group) {
            eprintln!("shim: cannot remove the control groups {group}: {error}");
        }
        self.publish(name);
    }

    fn send_pending(&mut self, name: &str) {
        let Some(task) = self.tasks.get_mut(name) else { return };
        let run = task.run();
        if let Some(how) = task.pending.take()
            && let Err(failure) = self.signal(name, run, how)
        {
            eprintln!("shim: {}", failure.message);
        }
    }

    fn signal(&mut self, name: &str, run: u32, how: KillWire) -> Result<(), Failure> {
        let Some(task) = self.tasks.get_mut(name) else { return Err(no_task(name)) };
        if task.run() != run {
            return Ok(());
        }
        let Some(pid) = task.pid() else {
            if task.maker.is_some() && task.pending != Some(KillWire::Force) {
                task.pending = Some(how);
            }
            return Ok(());
        };
        match how {
            KillWire::Ask(number) => {
                // By number, since the real-time signals have no names. The pid cannot have become
                // another's: its process is a child that has not been waited for.
                // SAFETY: kill reads nothing but its two numbers.
                let sent = unsafe { nix::libc::kill(as_pid(pid).as_raw(), i32::from(number)) };
                if sent != 0 {
                    return Err(io_failure(
                        format_args!("send signal {number} to task {name}"),
                        &io::Error::last_os_error(),
                    ));
                }
            }
            KillWire::Force => {
                let _ = kill(as_pid(pid), Signal::SIGKILL);
                self.cgroups.kill(&format!("{}/{name}", self.cgroup));
            }
        }
        Ok(())
    }

    fn shut_down(&mut self) -> Result<(), Failure> {
        if let Some((name, _)) = self.tasks.iter().find(|(_, task)| task.is_busy()) {
            return Err(failure(FailureKind::Runtime, format!("task {name} has not ended")));
        }
        self.is_over = true;
        Ok(())
    }

    fn exec(&mut self, client: u64, id: u64, wanted: Wanted) -> Result<(), Failure> {
        let Some(task) = self.tasks.get(&wanted.task) else { return Err(no_task(&wanted.task)) };
        if task.pid().is_none() {
            let message = format!("task {} does not run; a command can be run beside one that does", wanted.task);
            return Err(failure(FailureKind::Runtime, message));
        }
        let Some(client) = self.clients.get_mut(&client) else { return Ok(()) };
        if client.session.is_some() {
            return Err(failure(FailureKind::Runtime, "a connection has one command; open another"));
        }
        let (dir, oci, container) = (&self.dir, &self.oci, container_id(&self.alloc, &wanted.task));
        let maker = Maker::begin(move || exec::make(dir, &container, oci, &wanted));
        let maker = maker.map_err(|error| io_failure("start a process", &error))?;
        client.session = Some(Session::Making { id, maker });
        Ok(())
    }

    fn session_made(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(Session::Making { id: request, maker }) = client.session.take() else { return };
        let said = match maker.told() {
            Ok(Made { pid, fds }) => {
                client.session = Some(Session::Running { pid });
                let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
                client.say_with(Say::Attached { id: request, pid }, &fds)
            }
            Err(failure) => {
                client.session = Some(Session::Ended);
                client.say(Say::Refused { id: request, failure: failure.into() })
            }
        };
        if said.is_err() {
            return self.let_go(id);
        }
        let early = match client.session {
            Some(Session::Running { pid }) => i32::try_from(pid).ok().and_then(|pid| self.early.remove(&pid)),
            Some(Session::Making { .. } | Session::Ended) | None => None,
        };
        if let Some(exit) = early {
            self.session_ended(id, exit);
        }
        self.made_one();
    }

    fn session_ended(&mut self, id: u64, exit: ExitWire) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.session = Some(Session::Ended);
        }
        if !self.say(id, Say::ExecEnded { exit }) {
            self.let_go(id);
        }
    }
}

/// The id that the runtime knows a task's container by.
fn container_id(alloc: &str, task: &str) -> String {
    format!("{alloc}-{task}")
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("the kernel's pids fit"))
}

fn no_task(name: &str) -> Failure {
    failure(FailureKind::Runtime, format!("the allocation has no task {name}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Path::new(names::SOCKET));
    }
}
