//! The state of the simulated world, with its event queue. Every event of a run follows from the seed.
//!
//! `now` is the true time in milliseconds; each peer sees it through its own clock. What happens in the world is in the
//! modules above this one: `event_loop` handles the events, `driver` performs the outputs of the machines, `links`
//! delivers the packets. None of them judges a run (`checks` and `invariants` do) or chooses the faults (`scenario`
//! does).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    rc::Rc,
};

use heartchain_chain::room::Room;
use heartchain_test_support::{Rng, START};

use crate::{
    event::SimEvent,
    id::Id,
    node::Node,
    packet::{Link, LinkId, MessageId},
    reading_tracker::ReadingTracker,
};

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

/// How peers connect in a run, beyond one link for each pair at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Redundancy {
    /// Percentage of dials that lead to several links: both ends dialed, or a direct link replaces a circuit.
    pub(crate) parallel: u64,
    /// Whether a peer may come back while the other end counts a dead link as open.
    pub(crate) half_open: bool,
    /// Whether each link keeps the order of its messages. Messages of different links have no order.
    pub(crate) ordered: bool,
}

impl Redundancy {
    /// Whether each pair has one link at a time.
    pub(crate) const fn is_none(self) -> bool {
        self.parallel == 0 && !self.half_open && !self.ordered
    }
}

/// A disconnect that a machine asked for, with or without a ban.
#[derive(Clone, Debug)]
pub(crate) struct Disconnection {
    pub(crate) by: Id,
    pub(crate) peer: Id,
    pub(crate) reason: String,
    pub(crate) banned: bool,
}

/// The slots of one computer, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct Computer {
    pub(crate) slots: Vec<Id>,
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
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) redundancy: Redundancy,
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
            redundancy: Redundancy::default(),
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

    /// Adds a peer without starting it.
    pub(crate) fn add_closed(&mut self, mut node: Node) -> Id {
        let id = self.nodes.len() as Id;
        node.id = id;
        node.state.form = self.room.form();
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

    /// Takes the next event that is due by `until`, and sets the time to when it is due.
    pub(crate) fn next_event(&mut self, until: u64) -> Option<SimEvent> {
        let &Reverse((at, id)) = self.events.peek()?;
        if at > until {
            return None;
        }
        self.events.pop();
        self.now = at;
        let event = self.scheduled.remove(&id);
        Some(event.expect("each entry of the queue has its event"))
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::try_from(id).expect("a small number")]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[usize::try_from(id).expect("a small number")]
    }

    /// Prints an input or output of a peer's machine.
    pub(crate) fn print_trace(&self, id: Id, arrow: &str, what: &dyn core::fmt::Debug) {
        let text: String = format!("{what:?}").chars().take(1_200).collect();
        eprintln!("{} {id} {arrow} {text}", self.now - START);
    }
}
