//! The journal of decisions: what a core began with, every event with its time, and marks of the effects.
//!
//! A segment is a series of lines, each a document of its own: the head, the records of the snapshot, the marks of
//! what the core wanted at once, then a line per event. Its core can be begun anew from the segment alone. How lines are
//! put into files, and the version that stands there, is the affair of whoever writes them.

mod v1;

use std::collections::BTreeMap;

use berth_model::control::{Beginning, CommitError, CommitId, Effect, Event, RequestId, SessionId, Settings, StepDown};
use berth_model::{Epoch, Mutation, NodeReport, Order, Revision, Snapshot, Timestamp};
use siphasher::sip128::SipHasher13;

use crate::codec::{Write, encode, encode_commit};
use crate::error::{Problem, RecordError};
use crate::stored::Stored;

/// What an effect was: two effects with the same mark have the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its kind.
    pub kind: String,
    /// How many bytes it has as it is written.
    pub bytes: u64,
    /// Their digest.
    pub digest: u128,
}

/// A line of a segment, understood.
#[derive(Debug)]
pub enum Line {
    /// What the core began with, the snapshot apart.
    Head {
        /// The version of the program that wrote it.
        program: String,
        /// What the operator had set.
        settings: Settings,
        /// The reign.
        epoch: Epoch,
        /// When.
        now: Timestamp,
    },
    /// A record of the snapshot, as the store holds it.
    Record(Vec<u8>, Vec<u8>),
    /// What the core wanted at once.
    Begun(Vec<Mark>),
    /// An event, and what the core wanted.
    Step {
        /// The time that was given with it.
        now: Timestamp,
        /// The event.
        event: Event,
        /// What came of it.
        effects: Vec<Mark>,
    },
}

/// Writes the lines of one segment.
#[derive(Debug, Default)]
pub struct LineWriter {
    last: BTreeMap<SessionId, NodeReport>,
}

impl LineWriter {
    /// The lines that a segment begins with.
    pub fn begin(program: &str, beginning: &Beginning) -> impl Iterator<Item = Vec<u8>> {
        let head = v1::Head {
            program: program.to_owned(),
            settings: v1::Settings::store(&beginning.settings),
            epoch: Stored::store(&beginning.epoch),
            now: beginning.now.0,
        };
        let records = records(&beginning.snapshot).map(|write| v1::Line::Record {
            key: text(write.key),
            value: text(write.value.expect("what puts has a value")),
        });
        std::iter::once(v1::Line::Head(Box::new(head))).chain(records).map(|line| bytes(&line))
    }

    /// What the core wanted at once.
    pub fn begun(effects: &[Effect]) -> Vec<u8> {
        bytes(&v1::Line::Begun { effects: marks(effects).iter().map(stored_mark).collect() })
    }

    /// An event, and what the core wanted.
    pub fn step(&mut self, now: Timestamp, event: &Event, effects: &[Effect]) -> Vec<u8> {
        let event = self.event(event);
        bytes(&v1::Line::Step { now: now.0, event, effects: marks(effects).iter().map(stored_mark).collect() })
    }

    fn event(&mut self, event: &Event) -> v1::Event {
        match event {
            Event::Command { request, command } => {
                v1::Event::Command { request: request.0, command: Box::new(Stored::store(&**command)) }
            }
            Event::AgentConnected { session, hello } => {
                v1::Event::Connected { session: session.0, hello: Stored::store(hello) }
            }
            Event::AgentReport { session, report } => {
                let same = self
                    .last
                    .get(session)
                    .is_some_and(|last| *last == NodeReport { serial: last.serial, ..report.clone() });
                let (session_number, serial) = (session.0, report.serial);
                if same {
                    return v1::Event::SameReport { session: session_number, serial };
                }
                self.last.insert(*session, report.clone());
                v1::Event::Report { session: session_number, report: Stored::store(report) }
            }
            Event::AgentDisconnected { session } => {
                self.last.remove(session);
                v1::Event::Disconnected { session: session.0 }
            }
            Event::Committed { commit, revision } => v1::Event::Committed { commit: commit.0, revision: revision.0 },
            Event::CommitFailed { commit, error } => {
                v1::Event::CommitFailed { commit: commit.0, error: stored_error(*error) }
            }
            Event::Woke => v1::Event::Woke,
        }
    }
}

/// Reads the lines of one segment, in their order.
#[derive(Debug, Default)]
pub struct LineReader {
    last: BTreeMap<SessionId, NodeReport>,
}

impl LineReader {
    /// The next line. `place` names it in an error.
    pub fn read(&mut self, place: &str, line: &[u8]) -> Result<Line, RecordError> {
        let damaged = |problem| RecordError::Damaged { key: place.to_owned(), problem };
        let line: v1::Line = serde_json::from_slice(line).map_err(|error| damaged(Problem::Form(error.to_string())))?;
        self.understand(line).map_err(damaged)
    }

    fn understand(&mut self, line: v1::Line) -> Result<Line, Problem> {
        Ok(match line {
            v1::Line::Head(head) => Line::Head {
                program: head.program,
                settings: head.settings.load()?,
                epoch: head.epoch.load()?,
                now: Timestamp(head.now),
            },
            v1::Line::Record { key, value } => Line::Record(key.into_bytes(), value.into_bytes()),
            v1::Line::Begun { effects } => Line::Begun(loaded_marks(effects)?),
            v1::Line::Step { now, event, effects } => {
                Line::Step { now: Timestamp(now), event: self.event(event)?, effects: loaded_marks(effects)? }
            }
        })
    }

    fn event(&mut self, event: v1::Event) -> Result<Event, Problem> {
        Ok(match event {
            v1::Event::Command { request, command } => {
                Event::Command { request: RequestId(request), command: Box::new((*command).load()?) }
            }
            v1::Event::Connected { session, hello } => {
                Event::AgentConnected { session: SessionId(session), hello: hello.load()? }
            }
            v1::Event::Report { session, report } => {
                let (session, report): (_, NodeReport) = (SessionId(session), report.load()?);
                self.last.insert(session, report.clone());
                Event::AgentReport { session, report }
            }
            v1::Event::SameReport { session, serial } => {
                let session = SessionId(session);
                let last = self.last.get(&session).ok_or(Problem::Missing)?.clone();
                Event::AgentReport { session, report: NodeReport { serial, ..last } }
            }
            v1::Event::Disconnected { session } => {
                self.last.remove(&SessionId(session));
                Event::AgentDisconnected { session: SessionId(session) }
            }
            v1::Event::Committed { commit, revision } => {
                Event::Committed { commit: CommitId(commit), revision: Revision(revision) }
            }
            v1::Event::CommitFailed { commit, error } => Event::CommitFailed {
                commit: CommitId(commit),
                error: match error {
                    v1::CommitError::Conflict => CommitError::Conflict,
                    v1::CommitError::Unavailable => CommitError::Unavailable,
                },
            },
            v1::Event::Woke => Event::Woke,
        })
    }
}

/// The marks of effects, in their order. Of a commit the bytes are those that the store is given.
pub fn marks(effects: &[Effect]) -> Vec<Mark> {
    effects.iter().map(mark).collect()
}

fn mark(effect: &Effect) -> Mark {
    let (kind, bytes) = match effect {
        Effect::Commit { commit, mutations } => ("commit", commit_bytes(*commit, mutations)),
        Effect::Reply { request, result } => {
            let result = match result {
                Ok(outcome) => Ok(Stored::store(outcome)),
                Err(refusal) => Err(Stored::store(refusal)),
            };
            ("reply", bytes(&v1::Effect::Reply { request: request.0, result }))
        }
        Effect::Send { session, order: Order::Welcome { epoch, node, heartbeat } } => {
            let (node, heartbeat) = (node.to_string(), heartbeat.0);
            let epoch = Stored::store(epoch);
            ("welcome", bytes(&v1::Effect::Welcome { session: session.0, epoch, node, heartbeat }))
        }
        Effect::Send { session, order: Order::Desired(desired) } => {
            let (epoch, digest) = (Stored::store(&desired.epoch), Stored::store(&desired.digest));
            ("desired", bytes(&v1::Effect::Desired { session: session.0, epoch, digest }))
        }
        Effect::Send { session, order: Order::Lease { serial, allocs } } => {
            let allocs = allocs.iter().map(ToString::to_string).collect();
            ("lease", bytes(&v1::Effect::Lease { session: session.0, serial: *serial, allocs }))
        }
        Effect::Close { session, reason } => {
            ("close", bytes(&v1::Effect::Close { session: session.0, reason: reason.clone() }))
        }
        Effect::WakeAt(at) => ("wake", bytes(&v1::Effect::WakeAt(at.0))),
        Effect::StepDown(why) => {
            let why = match why {
                StepDown::Conflict => v1::CommitError::Conflict,
                StepDown::StoreFailed => v1::CommitError::Unavailable,
            };
            ("step_down", bytes(&v1::Effect::StepDown(why)))
        }
    };
    let digest = SipHasher13::new_with_keys(0x6265_7274_6821, 3).hash(&bytes).as_u128();
    Mark { kind: kind.to_owned(), bytes: bytes.len() as u64, digest }
}

fn commit_bytes(commit: CommitId, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = commit.0.to_le_bytes().to_vec();
    for Write { key, value } in encode_commit(mutations) {
        bytes.extend(key);
        bytes.push(0);
        bytes.extend(value.unwrap_or_default());
        bytes.push(0);
    }
    bytes
}

fn stored_mark(mark: &Mark) -> v1::Mark {
    v1::Mark(mark.kind.clone(), mark.bytes, format!("{:032x}", mark.digest))
}

fn loaded_marks(marks: Vec<v1::Mark>) -> Result<Vec<Mark>, Problem> {
    let load = |v1::Mark(kind, bytes, digest): v1::Mark| {
        let digest = u128::from_str_radix(&digest, 16).map_err(|error| Problem::Form(error.to_string()))?;
        Ok(Mark { kind, bytes, digest })
    };
    marks.into_iter().map(load).collect()
}

fn stored_error(error: CommitError) -> v1::CommitError {
    match error {
        CommitError::Conflict => v1::CommitError::Conflict,
        CommitError::Unavailable => v1::CommitError::Unavailable,
    }
}

/// The records of a snapshot, as the store would hold them.
fn records(snapshot: &Snapshot) -> impl Iterator<Item = Write> {
    let meta = std::iter::once(Mutation::PutMeta(snapshot.meta));
    let nodes = snapshot.nodes.iter().cloned().map(Mutation::PutNode);
    let jobs = snapshot.jobs.iter().cloned().map(|job| Mutation::PutJob(Box::new(job)));
    let versions =
        snapshot.job_versions.iter().cloned().map(|(version, spec)| Mutation::PutJobVersion(version, Box::new(spec)));
    let allocs = snapshot.allocs.iter().cloned().map(|alloc| Mutation::PutAlloc(Box::new(alloc)));
    let commands = snapshot.commands.iter().cloned().map(Mutation::PutCommand);
    let ledger = snapshot.ledger.iter().cloned().map(Mutation::PutLedger);
    let policy = snapshot.policy.iter().cloned().map(|policy| Mutation::PutPolicy(Box::new(policy)));
    let trust = snapshot.trust.iter().cloned().map(|trust| Mutation::PutTrust(Box::new(trust)));
    let all = meta
        .chain(policy)
        .chain(trust)
        .chain(nodes)
        .chain(jobs)
        .chain(versions)
        .chain(allocs)
        .chain(commands)
        .chain(ledger);
    let format = snapshot.meta.format;
    all.map(move |mutation| encode(&mutation, format))
}

fn bytes(of: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(of).expect("stored types have text keys and no failing parts");
    line.push(b'\n');
    line
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("records are JSON under keys of text")
}
