//! A connection from the agent to a shim.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_model::Failure;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::plan::names;
use crate::shim::protocol::{self, Ask, Message, NEWEST, Request, Say, TaskWire};

/// Who waits for which answer; none when the connection is gone.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Message>>>>>;

/// Requests go in here; answers come from where [`Events`] is read.
#[derive(Clone)]
pub(crate) struct Client {
    /// To the task that writes them, so that who stops waiting leaves no half of a message behind.
    requests: mpsc::Sender<Vec<u8>>,
    /// How long an answer may take.
    patience: Duration,
    waiting: Waiting,
    next: Arc<AtomicU64>,
    /// What the shim is asked in.
    version: Arc<AtomicU32>,
}

/// What a shim says. Must be read for answers to arrive.
pub(crate) struct Events {
    read: OwnedReadHalf,
    buffer: Vec<u8>,
    waiting: Waiting,
}

/// Why a request has no answer to its liking.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The shim said no.
    Refused(Failure),
    /// It said something else than what was asked for.
    OutOfTurn,
    /// The connection is gone.
    Gone,
    /// The shim did not answer in time; it may still do what it was asked.
    Late,
}

/// Requests that wait to be written. The shim's socket takes hundreds more.
const REQUESTS: usize = 16;

/// Connects to the shim of an allocation. Gives its process too.
pub(crate) async fn connect(alloc_dir: &Path, patience: Duration) -> io::Result<(Client, Events, OwnedFd)> {
    let stream = open(alloc_dir).await?;
    // Of the one who listens; it was alive a moment ago, and is if it answers after this.
    let pid = stream.peer_cred()?.pid().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let (read, write) = stream.into_split();
    let (requests, to_write) = mpsc::channel(REQUESTS);
    tokio::spawn(write_all(write, to_write));
    let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
    let (next, version) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU32::new(NEWEST)));
    let client = Client { requests, patience, waiting: Arc::clone(&waiting), next, version };
    Ok((client, Events { read, buffer: Vec::new(), waiting }, process))
}

/// Opens the socket by way of its folder, since the path of a socket is limited to 108 bytes.
pub(crate) async fn open(alloc_dir: &Path) -> io::Result<UnixStream> {
    let dir = File::open(alloc_dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), names::SOCKET)).await
}

/// Writes requests until nobody asks any more, or the shim has gone.
async fn write_all(mut to: OwnedWriteHalf, mut requests: mpsc::Receiver<Vec<u8>>) {
    while let Some(request) = requests.recv().await {
        if to.write_all(&request).await.is_err() {
            return;
        }
    }
}

impl Client {
    /// Asks something that is answered by `Done`.
    pub async fn ask(&self, ask: Ask) -> Result<(), Unanswered> {
        match self.call(ask).await? {
            Say::Done { .. } => Ok(()),
            Say::Refused { failure, .. } => Err(Unanswered::Refused(failure.into())),
            Say::Welcome { .. } | Say::Attached { .. } | Say::ExecEnded { .. } | Say::Task { .. } => {
                Err(Unanswered::OutOfTurn)
            }
        }
    }

    /// Asks how the tasks are, and to hear of them from now on.
    pub async fn hello(&self) -> Result<Vec<(String, TaskWire)>, Unanswered> {
        match self.call(Ask::Hello).await? {
            Say::Welcome { tasks, .. } => Ok(tasks.into_iter().collect()),
            Say::Refused { failure, .. } => Err(Unanswered::Refused(failure.into())),
            Say::Done { .. } | Say::Attached { .. } | Say::ExecEnded { .. } | Say::Task { .. } => {
                Err(Unanswered::OutOfTurn)
            }
        }
    }

    /// Asks, once more if the shim is of another release.
    async fn call(&self, ask: Ask) -> Result<Say, Unanswered> {
        let version = self.version.load(Ordering::Relaxed);
        let answer = self.call_in(version, ask.clone()).await?;
        let other = match &answer.say {
            Say::Refused { .. } => protocol::ask_again_in(version, answer.version),
            Say::Welcome { .. }
            | Say::Done { .. }
            | Say::Attached { .. }
            | Say::ExecEnded { .. }
            | Say::Task { .. } => None,
        };
        let Some(other) = other else { return Ok(answer.say) };
        self.version.store(other, Ordering::Relaxed);
        Ok(self.call_in(other, ask).await?.say)
    }

    async fn call_in(&self, version: u32, ask: Ask) -> Result<Message, Unanswered> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let request = protocol::encode(&Request { version, id, ask }).map_err(|_| Unanswered::OutOfTurn)?;
        let (send, answer) = oneshot::channel();
        match lock(&self.waiting).as_mut() {
            Some(waiting) => drop(waiting.insert(id, send)),
            None => return Err(Unanswered::Gone),
        }
        let answered = async {
            self.requests.send(request).await.map_err(|_| Unanswered::Gone)?;
            answer.await.map_err(|_| Unanswered::Gone)
        };
        tokio::time::timeout(self.patience, answered).await.unwrap_or_else(|_| {
            if let Some(waiting) = lock(&self.waiting).as_mut() {
                waiting.remove(&id);
            }
            Err(Unanswered::Late)
        })
    }
}

impl Events {
    /// The next thing that happened to a task; answers are handed on in passing. None when the shim
    /// has gone: then nobody who waits gets an answer.
    pub async fn next(&mut self) -> Option<(String, TaskWire)> {
        loop {
            match protocol::decode::<Message>(&mut self.buffer) {
                Ok(Some(message)) => {
                    if let Some(event) = self.take(message) {
                        return Some(event);
                    }
                }
                Ok(None) if self.read.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0) => {}
                Ok(None) | Err(_) => {
                    *lock(&self.waiting) = None;
                    return None;
                }
            }
        }
    }

    fn take(&self, message: Message) -> Option<(String, TaskWire)> {
        let id = match &message.say {
            Say::Task { .. } => None,
            Say::Welcome { id, .. } | Say::Done { id } | Say::Attached { id, .. } | Say::Refused { id, .. } => {
                Some(*id)
            }
            Say::ExecEnded { .. } => return None,
        };
        match (id, message) {
            (None, Message { say: Say::Task { task, state }, .. }) => Some((task, state)),
            (Some(id), message) => {
                if let Some(waiting) = lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&id)) {
                    // Whoever has stopped waiting does not mind.
                    let _ = waiting.send(message);
                }
                None
            }
            (None, _) => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        *lock(&self.waiting) = None;
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Message>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
