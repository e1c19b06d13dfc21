//! Streams between agents and servers. A stream keeps its order; a lost message breaks it; each end notices a
//! break in its own time, and until then talks to nobody.

use std::collections::VecDeque;

use berth_control::{Event as ControlEvent, SessionId};
use berth_model::{Hello, NodeReport, Order};
use berth_node::Event as NodeEvent;

use crate::world::{MachineId, What, World};
use crate::{Invariant, server::ServerId};

/// The number of a stream.
pub(crate) type StreamId = u64;

/// One end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Agent,
    Server,
}

/// What an agent says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Hello(Hello),
    Report(NodeReport),
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) machine: MachineId,
    pub(crate) life: u32,
    pub(crate) server: ServerId,
    /// Whether the agent still thinks that it works.
    pub(crate) agent_open: bool,
    /// Whether the server still thinks so.
    pub(crate) server_open: bool,
    /// Whether it carries nothing any more.
    broken: bool,
    up: VecDeque<Said>,
    down: VecDeque<Order>,
    up_until: u64,
    down_until: u64,
}

impl World {
    /// The session that a server knows a stream by.
    pub(crate) fn session(stream: StreamId) -> SessionId {
        SessionId(stream)
    }

    /// An agent tries to reach a server.
    pub(crate) fn connect(&mut self, machine: MachineId, life: u32) {
        let here = &self.machines[machine];
        if !here.is_alive(life) || here.stream.is_some() {
            return;
        }
        let reachable = here.cut_off_until <= self.now;
        let lead = self.lead.filter(|id| self.servers.contains_key(id));
        let Some(server) = self.stale_server(machine).or(lead).filter(|_| reachable) else {
            let delay = self.random.between(200, 1000);
            self.after(delay, What::Connect(machine, life));
            return;
        };
        self.streams_made += 1;
        let id = self.streams_made;
        let stream = Stream {
            machine,
            life,
            server,
            agent_open: true,
            server_open: true,
            broken: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_until: self.now,
            down_until: self.now,
        };
        self.streams.insert(id, stream);
        self.machines[machine].stream = Some(id);
        self.machines[machine].sent.clear();
        self.note(format_args!("machine {machine} opens stream {id} to server {server}"));
        let hello = self.machines[machine].hello();
        self.say(id, Said::Hello(hello));
    }

    /// Now and then an agent that has heard of a newer leader reaches one that has lost the lead.
    fn stale_server(&mut self, machine: MachineId) -> Option<ServerId> {
        let heard = self.machines[machine].epoch;
        let stale = self.servers.iter().find(|(id, server)| self.lead != Some(**id) && server.epoch < heard);
        let stale = stale.map(|(id, _)| *id)?;
        self.random.chance(400).then_some(stale)
    }

    /// An agent says something.
    pub(crate) fn say(&mut self, id: StreamId, said: Said) {
        let Some(arrival) = self.send(id, End::Server) else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.up.push_back(said);
        stream.up_until = arrival;
        self.at(arrival, What::Deliver(id, End::Server));
    }

    /// A server orders something.
    pub(crate) fn order(&mut self, id: StreamId, order: Order) {
        let Some(arrival) = self.send(id, End::Agent) else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.down.push_back(order);
        stream.down_until = arrival;
        self.at(arrival, What::Deliver(id, End::Agent));
    }

    /// When a message that is sent now arrives; None when it is lost.
    fn send(&mut self, id: StreamId, to: End) -> Option<u64> {
        let stream = self.streams.get(&id)?;
        if stream.broken {
            return None;
        }
        let last = match to {
            End::Agent => stream.down_until,
            End::Server => stream.up_until,
        };
        if self.fails(self.profile.loss) {
            self.note(format_args!("stream {id} loses a message"));
            self.break_stream(id);
            return None;
        }
        let slow = self.fails(self.profile.slow);
        let delay = if slow { self.random.between(100, 3000) } else { self.random.between(1, 15) };
        Some(last.max(self.now + delay))
    }

    /// A stream carries nothing any more; each end notices later.
    pub(crate) fn break_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.broken, true) {
            return;
        }
        for end in [End::Agent, End::Server] {
            // Half of the time a reset tells at once; otherwise keep-alives have to fail first.
            let reset = self.random.chance(500);
            let delay = if reset { self.random.between(1, 50) } else { self.random.between(1000, 10_000) };
            self.after(delay, What::Noticed(id, end));
        }
    }

    /// An end notices that its stream is broken.
    pub(crate) fn noticed(&mut self, id: StreamId, end: End) {
        match end {
            End::Agent => self.agent_notices(id),
            End::Server => self.server_notices(id),
        }
        if self.streams.get(&id).is_some_and(|s| !s.agent_open && !s.server_open) {
            self.streams.remove(&id);
        }
    }

    fn agent_notices(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.agent_open) else { return };
        stream.agent_open = false;
        let (machine, life) = (stream.machine, stream.life);
        if self.machines[machine].stream == Some(id) {
            self.machines[machine].stream = None;
        }
        if self.machines[machine].is_alive(life) {
            self.step_agent(machine, NodeEvent::Disconnected);
            let delay = self.random.between(50, 1000);
            self.after(delay, What::Connect(machine, life));
        }
    }

    fn server_notices(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.server_open) else { return };
        stream.server_open = false;
        let server = stream.server;
        self.step_server(server, ControlEvent::AgentDisconnected { session: World::session(id) });
    }

    /// The oldest message of a stream reaches an end.
    pub(crate) fn deliver(&mut self, id: StreamId, to: End) {
        let Some(stream) = self.streams.get(&id) else { return };
        let wall = self.machines[stream.machine].cut_off_until;
        if wall > self.now {
            self.at(wall, What::Deliver(id, to));
            return;
        }
        let twice = self.fails(self.profile.duplicate);
        match to {
            End::Server => self.deliver_up(id, twice),
            End::Agent => self.deliver_down(id, twice),
        }
    }

    fn deliver_up(&mut self, id: StreamId, twice: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (server, open) = (stream.server, stream.server_open);
        let Some(said) = stream.up.pop_front().filter(|_| open) else { return };
        let session = World::session(id);
        match said {
            Said::Hello(hello) => self.step_server(server, ControlEvent::AgentConnected { session, hello }),
            Said::Report(report) => {
                if twice {
                    self.step_server(server, ControlEvent::AgentReport { session, report: report.clone() });
                }
                self.step_server(server, ControlEvent::AgentReport { session, report });
            }
        }
    }

    fn deliver_down(&mut self, id: StreamId, twice: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (machine, life, open) = (stream.machine, stream.life, stream.agent_open);
        let Some(order) = stream.down.pop_front().filter(|_| open) else { return };
        if !self.machines[machine].is_alive(life) {
            return;
        }
        if twice {
            self.obey(machine, order.clone());
        }
        self.obey(machine, order);
    }

    fn obey(&mut self, machine: MachineId, order: Order) {
        let highest = self.machines[machine].epoch;
        let (epoch, event) = match order {
            Order::Welcome { epoch, node, heartbeat } => (epoch, NodeEvent::Welcome { epoch, node, heartbeat }),
            Order::Desired(desired) => (desired.epoch, NodeEvent::Desired(desired)),
            Order::Lease { serial, allocs } => return self.agent_leased(machine, serial, allocs),
        };
        self.machines[machine].epoch = highest.max(epoch);
        let asked = self.step_agent(machine, event);
        let refused = epoch >= highest || asked == 0;
        let what = format_args!("machine {machine} obeys epoch {epoch} after epoch {highest}");
        self.holds(Invariant::EpochsGoForward, refused, what);
    }

    /// A machine is cut off: what is under way waits, and streams break when it takes long.
    pub(crate) fn partition(&mut self, machine: MachineId, length: u64) {
        self.note(format_args!("machine {machine} is cut off for {length} ms"));
        let here = &mut self.machines[machine];
        let counts = here.cut_off_until <= self.now && here.live().any(|live| live.group.lease().is_some());
        self.facts.cut_off_fenced += u64::from(counts);
        here.cut_off_until = self.now + length;
        let of_machine = self.streams.iter().filter(|(_, s)| s.machine == machine).map(|(id, _)| *id);
        let streams: Vec<StreamId> = of_machine.collect();
        if length > 4000 {
            streams.into_iter().for_each(|id| self.break_stream(id));
        }
    }
}
