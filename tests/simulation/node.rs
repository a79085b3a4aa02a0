//! One simulated peer: a real machine with a simulated disk, clocks, a miner, and a gossip router that follows the
//! machine's verdicts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    time::Instant,
};

use heartchain_chain::{
    block::Block,
    hash::{BlockHash, ReadingId, RoomId},
    header::Header,
    key::{Author, SecretKey},
    mining,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
    tree::Entry,
};
use heartchain_sync::{
    Config, IndexedBlock, Input, Machine, Now, Output, Restore, StoredBlock,
    io::{GossipId, InboundId, JobId, RequestId, Topic},
    message::StatusMessage,
};

use crate::{
    attackers::Attacker, clock::Clock, disk::Disk, metrics::Metrics, misbehaviour::Misbehaviour,
    world::Id,
};

/// Whether a peer is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    Off,
    Awake,
    Asleep,
}

/// The result of feeding an input to a peer.
pub(crate) enum Handled {
    Outputs(Vec<Output<Id>>),
    NotRunning,
}

/// A gossip item whose verdict is pending.
#[derive(Debug)]
pub(crate) struct PendingVerdict {
    since: u64,
    pub(crate) from: Id,
    pub(crate) topic: Topic,
    pub(crate) data: Rc<[u8]>,
}

/// A simulated peer and all that its driver would hold.
pub(crate) struct Node {
    pub(crate) id: Id,
    pub(crate) machine: Option<Machine<Id>>,
    pub(crate) run_state: RunState,
    /// Counts starts and crashes. Events of an earlier incarnation are ignored.
    pub(crate) incarnation: u32,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    /// Its hash rate, in hashes per second.
    pub(crate) hash_rate: u64,
    pub(crate) mines: bool,
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
    /// When its machine must be woken, by its own monotonic clock.
    pub(crate) wake_at: Option<MonotonicMillis>,
    pub(crate) inbound: HashMap<InboundId, (Id, RequestId)>,
    /// Every key that has signed readings on this peer.
    pub(crate) authors: Vec<Author>,
    /// IDs and sequence numbers of the readings that the machine reported as recorded.
    pub(crate) accepted: Vec<(ReadingId, u64)>,
    pub(crate) key_seed: [u8; 32],
    /// Whether another peer signs with the same key.
    pub(crate) key_is_shared: bool,
    pub(crate) key_replaced: u32,
    pub(crate) job: Option<(JobId, Header)>,
    seen: HashSet<u64>,
    pub(crate) pending_verdicts: HashMap<GossipId, PendingVerdict>,
    next_gossip: u64,
    connected: BTreeSet<Id>,
    pub(crate) refused: BTreeMap<Id, u64>,
    pub(crate) open: HashMap<RequestId, Id>,
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
            disk: Disk::default(),
            clock: Clock::default(),
            hash_rate,
            mines: true,
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
            wake_at: None,
            inbound: HashMap::new(),
            authors: Vec::new(),
            accepted: Vec::new(),
            key_seed,
            key_is_shared: false,
            key_replaced: 0,
            job: None,
            seen: HashSet::new(),
            pending_verdicts: HashMap::new(),
            next_gossip: 0,
            connected: BTreeSet::new(),
            refused: BTreeMap::new(),
            open: HashMap::new(),
            missed_inputs: Vec::new(),
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.misbehaviour.is_none() && self.attack.is_none()
    }

    /// Whether it has a mining job now.
    pub(crate) fn has_job(&self) -> bool {
        self.job.is_some()
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

    /// The oldest gossip item without a verdict: when it arrived, who sent it, and its topic.
    pub(crate) fn oldest_pending_verdict(&self) -> Option<(u64, Id, Topic)> {
        let waiting = self.pending_verdicts.values();
        waiting
            .map(|item| (item.since, item.from, item.topic))
            .min()
    }

    /// Restarts the deadlines of pending verdicts: a sleeping peer cannot give verdicts, so its time asleep does not
    /// count.
    pub(crate) fn restart_verdict_clocks(&mut self, now: u64) {
        for item in self.pending_verdicts.values_mut() {
            item.since = now;
        }
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
        }
    }

    pub(crate) fn local(&self, now: u64) -> UnixMillis {
        self.clock.wall(now)
    }

    pub(crate) fn is_connected(&self, peer: Id) -> bool {
        self.connected.contains(&peer)
    }

    pub(crate) fn connections(&self) -> Vec<Id> {
        self.connected.iter().copied().collect()
    }

    pub(crate) fn note_connection(&mut self, peer: Id, up: bool) {
        if up {
            self.connected.insert(peer);
        } else {
            self.connected.remove(&peer);
            self.open.retain(|_, other| *other != peer);
        }
    }

    pub(crate) fn refuses(&self, peer: Id, now: u64) -> bool {
        self.refused.get(&peer).is_some_and(|until| *until > now)
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
        if corrupts.is_multiple_of(4) && !self.disk.never_corrupts {
            self.disk.corrupt_bodies(pattern);
        }
        let room_id = room.id();
        self.incarnation += 1;
        self.run_state = RunState::Awake;
        self.connected.clear();
        let both = self.clock.both(now);
        let config = Config { mining: self.mines };
        let keys = self.disk.keys.iter();
        let keys = keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed)));
        let mut restore = Restore::new(
            config,
            room,
            SecretKey::from_seed(self.key_seed),
            keys,
            seed,
            both,
        );
        restore.journal(
            self.disk
                .journal
                .iter()
                .map(|(position, entry)| (*position, *entry)),
        );
        let skips_bodies = skips_bodies.is_multiple_of(2) && !restore.needs_bodies();
        let mut blocks: Vec<_> = self.disk.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        for chunk in blocks.chunks(64) {
            let corrupt = &self.disk.corrupt;
            restore.stored(chunk.iter().map(|(hash, block)| {
                if skips_bodies || corrupt.contains(*hash) {
                    stored_without_body(room_id, **hash, block)
                } else {
                    StoredBlock::Full(**hash, (*block).clone())
                }
            }));
        }
        restore.tip(self.disk.tip);
        restore.confirmed(self.disk.confirmed);
        restore.adopted(self.disk.adopted.values().copied());
        restore.recovery(self.disk.recovery.iter().copied());
        let machine = restore.finish();
        if !self.authors.contains(&machine.author()) {
            self.authors.push(machine.author());
        }
        self.machine = Some(machine);
        self.disk.corrupt.iter().copied().collect()
    }

    pub(crate) fn crash(&mut self) {
        self.run_state = RunState::Off;
        self.incarnation += 1;
        self.machine = None;
        self.disk.crash();
        self.job = None;
        self.wake_at = None;
        self.seen.clear();
        self.pending_verdicts.clear();
        self.inbound.clear();
        self.open.clear();
        self.connected.clear();
        self.missed_inputs.clear();
    }

    pub(crate) fn feed(&mut self, input: Input<Id>, now: Now) -> Handled {
        match (self.run_state, &mut self.machine) {
            (RunState::Awake, Some(machine)) => {
                let asked = matches!(input, Input::Request { .. });
                self.metrics.note_input(&input);
                let began = Instant::now();
                let outputs: Vec<_> = machine.handle(input, now).collect();
                self.metrics.note_outputs(&outputs, asked, began.elapsed());
                Handled::Outputs(outputs)
            }
            (RunState::Asleep, Some(_)) => {
                // A frozen page receives the results of its own disk once it resumes.
                if matches!(
                    input,
                    Input::Written { .. }
                        | Input::WriteFailed { .. }
                        | Input::Read { .. }
                        | Input::ReadFailed { .. }
                ) {
                    self.missed_inputs.push(input);
                }
                Handled::NotRunning
            }
            _ => Handled::NotRunning,
        }
    }

    /// Accepts a gossip item unless the router has seen it. `twice` means that the router has forgotten that it saw it.
    pub(crate) fn accept_gossip(
        &mut self,
        from: Id,
        topic: Topic,
        data: &Rc<[u8]>,
        twice: bool,
        now: u64,
    ) -> Option<GossipId> {
        if !self.seen.insert(digest(topic, data)) && !twice {
            return None;
        }
        let id = GossipId(self.next_gossip);
        self.next_gossip += 1;
        self.pending_verdicts.insert(
            id,
            PendingVerdict {
                since: now,
                from,
                topic,
                data: Rc::clone(data),
            },
        );
        Some(id)
    }

    /// Remembers an item that this peer published: the gossip router does not deliver a peer's own items to it.
    pub(crate) fn note_published(&mut self, topic: Topic, data: &[u8]) {
        self.seen.insert(digest(topic, data));
    }

    pub(crate) fn close_request(&mut self, peer: Id, id: RequestId) {
        if self.open.get(&id) == Some(&peer) {
            self.open.remove(&id);
        }
    }

    /// The result of a mining job, unless the job has been cancelled or replaced.
    pub(crate) fn find_nonce(&mut self, job: u64) -> Option<Input<Id>> {
        let (id, header) = self.job.take_if(|(id, _)| id.0 == job)?;
        let target = header.bits.target().ok()?;
        let nonce = mining::Job::new(&header, target).search(header.nonce, u32::MAX)?;
        Some(Input::Mined { job: id, nonce })
    }
}

/// What a store keeps about a block apart from its body.
fn stored_without_body(room: RoomId, hash: BlockHash, block: &Block) -> StoredBlock {
    let entries = block.readings.iter();
    StoredBlock::Indexed(IndexedBlock {
        hash,
        header: block.header,
        entries: entries.map(|reading| Entry::new(room, reading)).collect(),
    })
}

fn digest(topic: Topic, data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, data).hash(&mut hasher);
    hasher.finish()
}
