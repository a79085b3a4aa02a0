//! One simulated peer: a real machine with a simulated disk, clocks, a miner, and a gossip router that follows the
//! machine's verdicts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    time::Instant,
};

use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    header::Header,
    key::{Author, SecretKey},
    profile::ProfileName,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Input, Machine, Now, Output,
    input_queue::InputQueue,
    io::{RequestId, Ticket, Topic},
    message::StatusMessage,
    verification::VerifiedBodies,
};
use heartchain_test_support::{Clock, DriverState, Job, Start};

use crate::{
    attack::Attacker, disk::DiskFaults, id::Id, metrics::Metrics, misbehaviour::Misbehaviour,
    swarm::Swarm,
};

/// Whether a peer is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    Off,
    Awake,
    Asleep,
}

/// Why and until when a peer is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The true time, Unix ms.
    pub(crate) until: u64,
    /// Whether a connection that is being negotiated is refused, too.
    pub(crate) is_ban: bool,
}

/// A simulated peer and all that its driver would hold.
pub(crate) struct Node {
    pub(crate) id: Id,
    pub(crate) machine: Option<Machine<Id>>,
    pub(crate) run_state: RunState,
    /// Counts starts and crashes. Events of an earlier incarnation are ignored.
    pub(crate) incarnation: u32,
    pub(crate) state: DriverState<Id>,
    /// Inputs on their way to the machine.
    pub(crate) input_queue: InputQueue<Id>,
    /// The proof for the input that the machine gets next.
    pub(crate) verified: Option<VerifiedBodies>,
    pub(crate) faults: DiskFaults,
    pub(crate) clock: Clock,
    /// Its hash rate, in hashes per second.
    pub(crate) hash_rate: u64,
    pub(crate) mines: bool,
    /// Whether it has the key of the room, if the room is private.
    pub(crate) has_key: bool,
    pub(crate) misbehaviour: Option<Misbehaviour>,
    /// Set if this peer is a persistent attacker, which never stops.
    pub(crate) attack: Option<Attacker>,
    /// The computer that this slot belongs to, if the computer has several slots.
    pub(crate) computer: Option<usize>,
    /// Whether it will leave permanently during the run.
    pub(crate) will_leave: bool,
    /// Whether it has left permanently.
    pub(crate) gone: bool,
    /// What the invariants record about it.
    pub(crate) metrics: Metrics,
    /// A header that a misbehaving peer has mined and announces without ever giving its body.
    pub(crate) withheld_header: Option<Header>,
    /// Readings in one wave of `Misbehaviour::Flood`.
    pub(crate) flood: usize,
    /// Locators of the header requests that a peer with `Misbehaviour::LowWorkHeaders` received.
    pub(crate) locators: HashMap<(Id, RequestId), Vec<BlockHash>>,
    pub(crate) timer: u64,
    /// Every key that has signed readings on this peer.
    pub(crate) authors: Vec<Author>,
    /// IDs and sequence numbers of the readings that the machine reported as recorded.
    pub(crate) accepted: Vec<(ReadingId, u64)>,
    /// The last name that its machine reported as stored; `None` if that is not known.
    pub(crate) name: Option<ProfileName>,
    /// Names that wait for the disk.
    pub(crate) pending_names: BTreeMap<Ticket, ProfileName>,
    pub(crate) key_seed: [u8; 32],
    /// Whether another peer signs with the same key.
    pub(crate) key_is_shared: bool,
    pub(crate) key_replaced: u32,
    seen: HashSet<u64>,
    /// What it counts as connected.
    pub(crate) swarm: Swarm,
    pub(crate) refused: BTreeMap<Id, Refusal>,
    /// Disk results that arrived while it slept.
    missed_inputs: Vec<Input<Id>>,
}

impl Node {
    pub(crate) fn new(key_seed: [u8; 32], hash_rate: u64) -> Self {
        Self {
            id: 0,
            machine: None,
            run_state: RunState::Off,
            incarnation: 0,
            state: DriverState::default(),
            input_queue: InputQueue::new(1),
            verified: None,
            faults: DiskFaults::default(),
            clock: Clock::default(),
            hash_rate,
            mines: true,
            has_key: true,
            misbehaviour: None,
            attack: None,
            computer: None,
            will_leave: false,
            gone: false,
            metrics: Metrics::default(),
            withheld_header: None,
            flood: 12,
            locators: HashMap::new(),
            timer: 0,
            authors: Vec::new(),
            accepted: Vec::new(),
            name: None,
            pending_names: BTreeMap::new(),
            key_seed,
            key_is_shared: false,
            key_replaced: 0,
            seen: HashSet::new(),
            swarm: Swarm::default(),
            refused: BTreeMap::new(),
            missed_inputs: Vec::new(),
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.misbehaviour.is_none() && self.attack.is_none()
    }

    /// Whether another thread verifies signatures for it.
    pub(crate) fn has_verifier(&self) -> bool {
        let [.., last] = self.key_seed;
        last.is_multiple_of(2)
    }

    /// Whether it has a mining job now.
    pub(crate) fn has_job(&self) -> bool {
        self.state.job.is_some()
    }

    /// Whether its mempool has a reading that could be mined now. The result is cached until the tip or the size of the
    /// mempool changes.
    pub(crate) fn has_minable(&mut self) -> bool {
        let status = self.machine().status();
        let (tip, waiting) = (status.tip, status.mempool);
        if let Some((at, many, minable)) = self.metrics.minable
            && (at, many) == (tip, waiting)
        {
            return minable;
        }
        let machine = self.machine();
        let minable = machine
            .pending()
            .any(|reading| reading.seq == machine.next_seq(&reading.author));
        self.metrics.minable = Some((tip, waiting, minable));
        minable
    }

    /// The oldest gossip item without a verdict: when it arrived by the monotonic clock, who sent it, and its topic.
    pub(crate) fn oldest_pending_verdict(&self) -> Option<(MonotonicMillis, Id, Topic)> {
        let waiting = self.state.gossip.values();
        waiting
            .map(|item| (item.since, item.from, item.topic))
            .min()
    }

    /// Restarts the deadlines of pending verdicts: a sleeping peer cannot give verdicts, so its time asleep does not
    /// count.
    pub(crate) fn restart_verdict_clocks(&mut self, now: u64) {
        let now = self.clock.both(now).monotonic;
        for item in self.state.gossip.values_mut() {
            item.since = now;
        }
    }

    /// Whether the oldest disk job is a write that fails because the disk is full.
    pub(crate) fn has_no_room(&self, now: u64) -> bool {
        let oldest = self.state.disk.oldest_job();
        now < self.faults.full_until && matches!(oldest, Some(Job::Write { .. }))
    }

    pub(crate) fn machine(&self) -> &Machine<Id> {
        self.machine.as_ref().expect("the peer runs")
    }

    /// The status that an honest peer in its state would send.
    pub(crate) fn status(&self, now: u64) -> StatusMessage {
        let status = self.machine().status();
        StatusMessage {
            tip: status.tip,
            index: status.index,
            total_work: status.total_work,
            now: self.local(now),
            binding: None,
        }
    }

    pub(crate) fn local(&self, now: u64) -> UnixMillis {
        self.clock.wall(now)
    }

    /// Whether it neither dials this peer nor accepts it.
    pub(crate) fn refuses(&self, peer: Id, now: u64) -> bool {
        self.refused
            .get(&peer)
            .is_some_and(|refusal| refusal.until > now)
    }

    /// Whether it has banned this peer.
    pub(crate) fn bans(&self, peer: Id, now: u64) -> bool {
        self.refused
            .get(&peer)
            .is_some_and(|refusal| refusal.is_ban && refusal.until > now)
    }

    pub(crate) fn take_missed_inputs(&mut self) -> Vec<Input<Id>> {
        core::mem::take(&mut self.missed_inputs)
    }

    /// Starts from the disk, or as a new peer if the disk is empty. Returns the blocks with corrupt bodies.
    ///
    /// Depending on the seed, the disk corrupts some bodies before the start, and the start trusts the stored index
    /// without reading any body. Corrupt bodies are then reported to the machine while it is already running.
    pub(crate) fn start(&mut self, room: Room, seed: [u8; 32], now: u64) -> Vec<BlockHash> {
        let [corrupts, pattern, skips_bodies, ..] = seed;
        self.clock.wake(now);
        self.metrics.note_start(now);
        if corrupts.is_multiple_of(4) && !self.faults.never_corrupts {
            self.corrupt_bodies(pattern);
        }
        self.incarnation += 1;
        self.run_state = RunState::Awake;
        self.swarm = Swarm::default();
        let machine = self.state.disk.restore(Start {
            mining: self.mines,
            room,
            first_key: SecretKey::from_seed(self.key_seed),
            seed,
            now: self.clock.both(now),
            skips_bodies: skips_bodies.is_multiple_of(2),
        });
        let mut machine = machine;
        machine.identify(self.id, |id| id.to_le_bytes().to_vec());
        if !self.authors.contains(&machine.author()) {
            self.authors.push(machine.author());
        }
        self.machine = Some(machine);
        self.state.disk.corrupt.iter().copied().collect()
    }

    /// Corrupts about one in eight of the stored bodies; `pattern` selects which.
    fn corrupt_bodies(&mut self, pattern: u8) {
        let hit = |hash: &&BlockHash| {
            let last = hash.as_bytes().last().copied().unwrap_or_default();
            (last ^ pattern).is_multiple_of(8)
        };
        let disk = &mut self.state.disk;
        disk.corrupt.extend(disk.blocks.keys().filter(hit));
    }

    pub(crate) fn crash(&mut self) {
        self.run_state = RunState::Off;
        self.incarnation += 1;
        self.machine = None;
        self.state.crash();
        self.input_queue = InputQueue::new(1);
        self.faults.crash();
        self.seen.clear();
        self.swarm = Swarm::default();
        self.missed_inputs.clear();
        if !core::mem::take(&mut self.pending_names).is_empty() {
            // The last one may be on disk or not.
            self.name = None;
        }
    }

    /// Returns the input if the peer is awake. A frozen page receives the results of its own disk once it resumes.
    pub(crate) fn admit(&mut self, input: Input<Id>) -> Option<Input<Id>> {
        match (self.run_state, &self.machine) {
            (RunState::Awake, Some(_)) => return Some(input),
            (RunState::Asleep, Some(_)) => {
                if matches!(
                    input,
                    Input::Written { .. }
                        | Input::WriteFailed { .. }
                        | Input::Read { .. }
                        | Input::ReadFailed { .. }
                ) {
                    self.missed_inputs.push(input);
                }
            }
            _ => {}
        }
        None
    }

    /// Passes an input to the machine, which runs, and measures it.
    pub(crate) fn handle(&mut self, input: Input<Id>, now: Now) -> Vec<Output<Id>> {
        let asked = matches!(input, Input::Request { .. });
        self.metrics.note_input(&input);
        let began = Instant::now();
        let machine = self.machine.as_mut().expect("the peer runs");
        let outputs: Vec<_> = match self.verified.take() {
            Some(verified) => machine.handle_verified(input, verified, now).collect(),
            None => machine.handle(input, now).collect(),
        };
        self.metrics.note_outputs(&outputs, asked, began.elapsed());
        outputs
    }

    /// Accepts a gossip item unless the router has seen it. `twice` means that the router has forgotten that it saw it.
    pub(crate) fn accept_gossip(
        &mut self,
        from: Id,
        topic: Topic,
        data: &Rc<[u8]>,
        twice: bool,
        now: u64,
    ) -> Option<Input<Id>> {
        if !self.seen.insert(digest(topic, data)) && !twice {
            return None;
        }
        let now = self.clock.both(now);
        let (_, input) = self.state.receive_gossip(from, topic, Rc::clone(data), now);
        Some(input)
    }

    /// Remembers an item that this peer published: the gossip router does not deliver a peer's own items to it.
    pub(crate) fn note_published(&mut self, topic: Topic, data: &[u8]) {
        self.seen.insert(digest(topic, data));
    }

    /// The result of a mining job, unless the job has been cancelled or replaced.
    pub(crate) fn find_nonce(&mut self, job: u64) -> Option<Input<Id>> {
        self.state.job.filter(|(id, _)| id.0 == job)?;
        self.state.find_nonce(u32::MAX)
    }
}

fn digest(topic: Topic, data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, data).hash(&mut hasher);
    hasher.finish()
}
