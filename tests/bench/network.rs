//! Machines that exchange messages without latency. All of them share one clock.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use heartchain_chain::{room::Room, time::MonotonicMillis};
use heartchain_sync::{
    Event, Input, Machine, Now,
    io::{DisconnectReason, GossipId, InboundId, RequestFailure, RequestId, Topic, Verdict},
};
use heartchain_test_support::{
    Disk, Driver, DriverState, Ending, Job, PendingGossip, START, Start, key, now_at,
};

use crate::workload::STEP;

/// A machine and what its driver holds.
pub struct BenchPeer {
    pub machine: Machine<u8>,
    pub state: DriverState<u8>,
    /// Number of readings that it recorded.
    pub recorded: usize,
}

/// The peers, numbered from 0, and the inputs on their way to them.
pub struct Network {
    pub peers: Vec<BenchPeer>,
    /// What every peer's clocks show.
    pub now: Now,
    /// Bytes of gossip so far, once per link that they crossed.
    pub gossip: usize,
    /// Bytes of requests and responses so far.
    pub requests: usize,
    /// Whether gossip travels; if not, it is dropped.
    forwards_gossip: bool,
    /// Inputs in the order in which they arrive; `None` ends the oldest job of the peer's disk.
    queue: VecDeque<(u8, Option<Input<u8>>)>,
    seen: HashSet<(u8, Rc<[u8]>)>,
}

/// A time after every block.
pub const fn now() -> Now {
    now_at(START + 10_000_000 * STEP, 0)
}

/// Starts the machine of a peer from this disk.
pub fn start(room: &Room, number: u8, mining: bool, disk: &Disk, now: Now) -> Machine<u8> {
    disk.restore(Start {
        mining,
        room: room.clone(),
        first_key: key(10_000 + u64::from(number)),
        seed: [number; 32],
        now,
        skips_bodies: false,
    })
}

impl BenchPeer {
    pub const fn new(machine: Machine<u8>, state: DriverState<u8>) -> Self {
        Self {
            machine,
            state,
            recorded: 0,
        }
    }

    /// A peer without anything on its disk, which stores no blocks: they do not count as the machine's memory.
    pub fn without_storage(machine: Machine<u8>) -> Self {
        let mut disk = Disk::default();
        disk.drops_blocks = true;
        Self::new(machine, DriverState::with_disk(disk))
    }
}

impl Network {
    /// A network in which every peer is about to be connected to every other one.
    pub fn new(peers: Vec<BenchPeer>, now: Now, forwards_gossip: bool) -> Self {
        let mut network = Self {
            peers,
            now,
            gossip: 0,
            requests: 0,
            forwards_gossip,
            queue: VecDeque::new(),
            seen: HashSet::new(),
        };
        for at in network.numbers() {
            for peer in network.numbers().filter(|peer| *peer != at) {
                network.send(at, Input::PeerConnected { peer });
            }
        }
        network
    }

    /// The numbers of all peers.
    pub fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.peers.len()).unwrap_or(u8::MAX)
    }

    /// An input is on its way to a peer.
    pub fn send(&mut self, to: u8, input: Input<u8>) {
        self.queue.push_back((to, Some(input)));
    }

    /// Sends a tick to every peer.
    pub fn tick(&mut self) {
        for at in self.numbers() {
            self.send(at, Input::Tick);
        }
    }

    /// Delivers all inputs that are on their way, and all that follow from them. `clock` shows the time.
    pub fn deliver(&mut self, clock: impl Fn() -> Now) {
        while let Some((at, input)) = self.queue.pop_front() {
            self.now = clock();
            let disk = &mut self.peers[usize::from(at)].state.disk;
            if let Some(input) = input.or_else(|| disk.finish(Ending::Done)) {
                self.driver(at).feed(input);
            }
        }
    }

    /// The driver of one peer.
    pub const fn driver(&mut self, at: u8) -> PeerDriver<'_> {
        PeerDriver { network: self, at }
    }

    fn peer(&mut self, at: u8) -> &mut BenchPeer {
        &mut self.peers[usize::from(at)]
    }

    /// Sends an item to every peer except the one that it came from.
    fn flood(&mut self, at: u8, except: Option<u8>, topic: Topic, data: &Rc<[u8]>) {
        if !self.forwards_gossip {
            return;
        }
        self.seen.insert((at, Rc::clone(data)));
        for to in self.numbers().filter(|to| *to != at && Some(*to) != except) {
            self.gossip += data.len();
            if self.seen.insert((to, Rc::clone(data))) {
                let now = self.now;
                let state = &mut self.peer(to).state;
                let (_, input) = state.receive_gossip(at, topic, Rc::clone(data), now);
                self.send(to, input);
            }
        }
    }
}

/// The driver of the peer `at`.
pub struct PeerDriver<'a> {
    network: &'a mut Network,
    at: u8,
}

impl Driver<u8> for PeerDriver<'_> {
    fn state(&mut self) -> &mut DriverState<u8> {
        &mut self.network.peer(self.at).state
    }

    fn machine(&mut self) -> &mut Machine<u8> {
        &mut self.network.peer(self.at).machine
    }

    fn now(&self) -> Now {
        self.network.now
    }

    /// The checks are not measured.
    fn check_bounds(&mut self) {}

    fn accept_job(&mut self, job: Job) {
        self.state().disk.accept(job);
        self.network.queue.push_back((self.at, None));
    }

    /// The disk's results travel with the other inputs.
    fn finish_job(&mut self) -> Option<Input<u8>> {
        None
    }

    fn send_request(&mut self, peer: u8, id: RequestId, data: Vec<u8>, _: MonotonicMillis) {
        self.network.requests += data.len();
        let state = &mut self.network.peer(peer).state;
        let (_, input) = state.receive_request(self.at, id, &data);
        self.network.send(peer, input);
    }

    fn send_response(&mut self, peer: u8, id: RequestId, _: InboundId, data: Option<Vec<u8>>) {
        self.network.requests += data.as_ref().map_or(0, Vec::len);
        let state = &mut self.network.peer(peer).state;
        let input = match data {
            Some(data) => state.receive_response(self.at, id, &data),
            None => state.fail_request(self.at, id, RequestFailure::Closed),
        };
        self.network.send(peer, input);
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        self.network.flood(self.at, None, topic, &data.into());
    }

    fn judge(&mut self, _: GossipId, item: PendingGossip<u8>, verdict: Verdict) {
        if verdict == Verdict::Accept {
            self.network
                .flood(self.at, Some(item.from), item.topic, &item.data);
        }
    }

    fn emit(&mut self, event: Event) {
        let recorded = matches!(event, Event::Recorded { .. });
        self.network.peer(self.at).recorded += usize::from(recorded);
    }

    fn disconnect_peer(&mut self, _: u8, reason: DisconnectReason, _: Option<MonotonicMillis>) {
        panic!("disconnected an honest peer: {reason}");
    }
}
