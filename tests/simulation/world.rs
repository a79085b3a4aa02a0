//! The simulated world and its event queue. Every event of a run follows from the seed.
//!
//! `now` is the true time in milliseconds; each peer sees it through its own clock. This module does not judge a run
//! (`checks` and `invariants` do), and it does not choose the faults (`scenario` does).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    rc::Rc,
};

use heartchain_chain::{bpm::Bpm, room::Room};
use heartchain_sync::{Input, io::Ticket};
use heartchain_test_support::{Driver as _, Ending, Rng, START};

use crate::{
    computers::Computer,
    driver::NodeDriver,
    fault::Fault,
    links::{Link, MessageId, Packet},
    node::{Node, RunState},
    reading_tracker::ReadingTracker,
};

/// A peer ID: the peer's index in `World::nodes`.
pub(crate) type Id = u64;

/// How reliable the network and the disks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Shortest and longest latency of a link, ms.
    pub(crate) latency: (u64, u64),
    /// Percentage of messages that are lost.
    pub(crate) loss: u64,
    /// Percentage of gossip items that are delivered twice.
    pub(crate) duplication: u64,
    /// Percentage of disk reads and writes that fail.
    pub(crate) disk_failure: u64,
    /// How many links each peer tries to keep.
    pub(crate) degree: usize,
}

/// A scheduled event. `incarnation` ties an event to one start of a peer: events of an earlier incarnation are ignored.
#[derive(Debug)]
pub(crate) enum SimEvent {
    /// A packet arrives, provided its link is still up.
    Delivery {
        link: u64,
        from: Id,
        to: Id,
        packet: Packet,
    },
    /// A peer notices that a link came up or went down.
    ConnectionChange {
        to: Id,
        incarnation: u32,
        peer: Id,
        up: bool,
    },
    /// The timer that a machine set with `WakeAt` fires, unless it has set another one since.
    Timer {
        to: Id,
        incarnation: u32,
        timer: u64,
    },
    /// A disk finishes its oldest job.
    DiskDone { to: Id, incarnation: u32 },
    /// A miner finds the nonce for a job.
    NonceFound { to: Id, incarnation: u32, job: u64 },
    /// Peers with too few links dial others.
    Dial,
    /// A user records a heart rate.
    RecordReading { at: Id },
    /// A fault begins or ends.
    Fault(Fault),
    /// A misbehaving peer takes its turn.
    MisbehaviourTurn { at: Id },
    /// A persistent attacker takes its turn.
    AttackerTurn { at: Id },
    /// An attacker sends a response that it delayed.
    Send { from: Id, to: Id, packet: Packet },
    /// An attacker cuts a link and sets it up again.
    Reconnect { from: Id, to: Id },
    /// An attacker sets up a link.
    Connect { from: Id, to: Id },
    /// The invariants are checked.
    CheckInvariants,
}

/// A disconnect that a machine asked for, with or without a ban.
#[derive(Clone, Debug)]
pub(crate) struct Disconnection {
    pub(crate) by: Id,
    pub(crate) peer: Id,
    pub(crate) reason: String,
    pub(crate) banned: bool,
}

/// All peers, the network between them, and the queue of events.
pub(crate) struct World {
    pub(crate) rng: Rng,
    /// The true time, Unix ms.
    pub(crate) now: u64,
    pub(crate) room: Room,
    pub(crate) conditions: Conditions,
    pub(crate) nodes: Vec<Node>,
    pub(crate) disconnections: Vec<Disconnection>,
    /// Violations found so far, as text.
    pub(crate) violations: Vec<String>,
    /// Requests and responses in flight that prove misbehaviour: sender, recipient, message.
    pub(crate) provable: HashSet<(Id, Id, MessageId)>,
    /// Gossip items that prove misbehaviour of the peer that published them.
    pub(crate) provable_gossip: HashSet<Rc<[u8]>>,
    /// Pairs of a misbehaving peer and a peer that received proof of it, which must therefore ban it.
    pub(crate) proven: BTreeSet<(Id, Id)>,
    /// Packets delivered so far, for the summary of a run.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    scheduled: HashMap<u64, SimEvent>,
    pub(crate) links: BTreeMap<(Id, Id), Link>,
    /// Pairs whose last link is down although an end may not have noticed yet, and until when.
    pub(crate) closing: BTreeMap<(Id, Id), u64>,
    /// The network partition that each peer is in.
    pub(crate) partitions: Vec<u64>,
    last_id: u64,
    pub(crate) trace: bool,
    /// Whether misbehaving peers take no more turns.
    pub(crate) misbehaviour_stopped: bool,
    /// Computers that have several slots.
    pub(crate) computers: Vec<Computer>,
    /// State that the invariants keep between checks.
    pub(crate) tracker: ReadingTracker,
}

impl World {
    /// The world uses a fork of the scenario's generator: with a shared sequence, an attacker could draw an honest
    /// peer's key.
    pub(crate) fn new(rng: &Rng, room: Room, conditions: Conditions) -> Self {
        let mut world = Self {
            rng: rng.fork(),
            now: START,
            room,
            conditions,
            nodes: Vec::new(),
            disconnections: Vec::new(),
            violations: Vec::new(),
            provable: HashSet::new(),
            provable_gossip: HashSet::new(),
            proven: BTreeSet::new(),
            messages: 0,
            bytes: 0,
            events: BinaryHeap::new(),
            scheduled: HashMap::new(),
            links: BTreeMap::new(),
            closing: BTreeMap::new(),
            partitions: Vec::new(),
            last_id: 0,
            misbehaviour_stopped: false,
            computers: Vec::new(),
            tracker: ReadingTracker::default(),
            trace: std::env::var_os("HEARTCHAIN_TRACE").is_some(),
        };
        world.schedule_in(0, SimEvent::Dial);
        world.schedule_in(0, SimEvent::CheckInvariants);
        world
    }

    /// Adds a peer and starts it.
    pub(crate) fn add(&mut self, node: Node) -> Id {
        let id = self.add_closed(node);
        self.restart(id);
        id
    }

    /// Adds a peer without starting it.
    pub(crate) fn add_closed(&mut self, mut node: Node) -> Id {
        let id = self.nodes.len() as Id;
        node.id = id;
        self.nodes.push(node);
        self.partitions.push(0);
        id
    }

    pub(crate) fn schedule_in(&mut self, delay: u64, event: SimEvent) {
        self.last_id += 1;
        self.events.push(Reverse((self.now + delay, self.last_id)));
        self.scheduled.insert(self.last_id, event);
    }

    /// Returns an ID that is unique in this run.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Handles all events that are due by `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(&Reverse((at, id))) = self.events.peek() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = at;
            if let Some(event) = self.scheduled.remove(&id) {
                self.handle_event(event);
            }
        }
        self.now = until;
    }

    fn handle_event(&mut self, event: SimEvent) {
        match event {
            SimEvent::Delivery {
                link,
                from,
                to,
                packet,
            } => self.deliver(link, from, to, packet),
            SimEvent::ConnectionChange {
                to,
                incarnation,
                peer,
                up,
            } => {
                let node = self.node(to);
                // A sleeping peer notices the change when it wakes.
                if node.incarnation == incarnation && node.run_state == RunState::Awake {
                    self.node_mut(to).note_connection(peer, up);
                    self.feed(
                        to,
                        if up {
                            Input::PeerConnected { peer }
                        } else {
                            Input::PeerDisconnected { peer }
                        },
                    );
                }
            }
            SimEvent::Timer {
                to,
                incarnation,
                timer,
            } => {
                let node = self.node_mut(to);
                let is_current = node.incarnation == incarnation && node.timer == timer;
                // A sleeping peer's timer fires after it wakes.
                if is_current && node.run_state == RunState::Awake {
                    node.state.wake_at = None;
                    self.feed(to, Input::Tick);
                }
            }
            SimEvent::DiskDone { to, incarnation } => {
                let fails = self.rng.percent(self.conditions.disk_failure);
                let now = self.now;
                let node = self.node_mut(to);
                let ending = if node.has_no_room(now) {
                    Ending::Full
                } else if fails {
                    Ending::Failed
                } else {
                    Ending::Done
                };
                if node.incarnation == incarnation
                    && let Some(input) = node.state.disk.finish(ending)
                {
                    self.feed(to, input);
                }
            }
            SimEvent::NonceFound {
                to,
                incarnation,
                job,
            } => {
                if self.node(to).incarnation == incarnation
                    && let Some(input) = self.node_mut(to).find_nonce(job)
                {
                    self.feed(to, input);
                }
            }
            SimEvent::Dial => {
                self.dial_peers();
                self.schedule_in(1_000, SimEvent::Dial);
            }
            SimEvent::RecordReading { at } => self.record_reading(at),
            SimEvent::Fault(fault) => self.inject(fault),
            SimEvent::MisbehaviourTurn { at } => self.misbehaviour_turn(at),
            SimEvent::AttackerTurn { at } => self.attacker_turn(at),
            SimEvent::Send { from, to, packet } => self.send(from, to, packet),
            SimEvent::Reconnect { from, to } => self.reconnect(from, to),
            SimEvent::Connect { from, to } => {
                if self.can_link(from, to) {
                    self.link(from, to);
                }
            }
            SimEvent::CheckInvariants => self.check_invariants(),
        }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::try_from(id).expect("a small number")]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[usize::try_from(id).expect("a small number")]
    }

    /// Feeds an input to a peer's machine and performs its outputs. A sleeping peer gets no input.
    pub(crate) fn feed(&mut self, id: Id, input: Input<Id>) {
        if self.trace {
            self.print_trace(id, "<-", &input);
        }
        if let Some(input) = self.node_mut(id).admit(input) {
            NodeDriver { world: self, id }.feed(input);
        }
    }

    /// Prints an input or output of a peer's machine.
    pub(crate) fn print_trace(&self, id: Id, arrow: &str, what: &dyn core::fmt::Debug) {
        let text: String = format!("{what:?}").chars().take(1_200).collect();
        eprintln!("{} {id} {arrow} {text}", self.now - START);
    }

    fn record_reading(&mut self, at: Id) {
        let ticket = Ticket(self.node_mut(at).state.next_id());
        let number = u16::try_from(self.rng.between(20, 400)).expect("a heart rate");
        let bpm = Bpm::new(number).expect("a heart rate");
        self.feed(at, Input::Record { ticket, bpm });
    }

    pub(crate) fn restart(&mut self, id: Id) {
        let (now, room, seed) = (self.now, self.room.clone(), self.rng.bytes());
        let node = self.node_mut(id);
        if node.run_state == RunState::Off && !node.gone {
            let hashes = node.start(room, seed, now);
            self.feed(id, Input::Tick);
            self.feed(id, Input::BodiesMissing { hashes });
            self.adopt_closed_slots(id);
        }
    }
}
