//! One peer of the simulation: a real machine with a disk, a clock, a miner and a gossip router that obeys verdicts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    time::Instant,
};

use chain::{
    block::Block,
    hash::{BlockHash, ReadingId, RoomId},
    header::Header,
    key::{Author, SecretKey},
    mining,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
    tree::Entry,
};
use sync::{
    Config, Input, KnownBlock, Machine, Now, Output, Restore, Stored,
    message::StatusMessage,
    seam::{GossipId, InboundId, JobId, RequestId, Topic},
};

use crate::{attackers::Attacker, clock::Clock, disk::Disk, liars::Lie, watch::Watch, world::Id};

/// Whether a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Off,
    Awake,
    Asleep,
}

/// What came of an input.
pub(crate) enum Fed {
    Outputs(Vec<Output<Id>>),
    Nobody,
}

/// A gossip item that waits for its verdict.
#[derive(Debug)]
pub(crate) struct Judged {
    since: u64,
    pub(crate) from: Id,
    pub(crate) topic: Topic,
    pub(crate) data: Rc<[u8]>,
}

/// A peer.
pub(crate) struct Node {
    pub(crate) id: Id,
    pub(crate) machine: Option<Machine<Id>>,
    pub(crate) life: Life,
    /// Counts starts: what an earlier life set in motion means nothing to a later one.
    pub(crate) life_number: u32,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    /// Hashes a second.
    pub(crate) rate: u64,
    pub(crate) mines: bool,
    pub(crate) lie: Option<Lie>,
    /// A standing attacker never rests.
    pub(crate) attack: Option<Attacker>,
    /// The computer that it is a slot of, if that has several.
    pub(crate) computer: Option<usize>,
    /// Whether its owner will leave, and has left, for good.
    pub(crate) leaves: bool,
    pub(crate) gone: bool,
    /// What the invariants note of it.
    pub(crate) watch: Watch,
    /// A header that a liar has mined and shows without its body.
    pub(crate) secret: Option<Header>,
    /// Readings in one wave of a liar's flood.
    pub(crate) flood: usize,
    /// What a liar with endless headers was asked for.
    pub(crate) locators: HashMap<(Id, RequestId), Vec<BlockHash>>,
    pub(crate) wish: u64,
    /// When its machine wants to be woken, by its own monotonic clock.
    pub(crate) alarm: Option<MonotonicMillis>,
    pub(crate) inbound: HashMap<InboundId, (Id, RequestId)>,
    /// Every key that signed here.
    pub(crate) authors: Vec<Author>,
    /// Ids of readings whose recording was confirmed.
    pub(crate) accepted: Vec<(ReadingId, u64)>,
    pub(crate) key_seed: [u8; 32],
    /// Whether another peer signs with the same key.
    pub(crate) key_is_shared: bool,
    pub(crate) key_replaced: u32,
    pub(crate) job: Option<(JobId, Header)>,
    seen: HashSet<u64>,
    pub(crate) judging: HashMap<GossipId, Judged>,
    next_gossip: u64,
    connected: BTreeSet<Id>,
    pub(crate) refused: BTreeMap<Id, u64>,
    pub(crate) open: HashMap<RequestId, Id>,
    /// What its computer finished while it slept.
    missed: Vec<Input<Id>>,
}

impl Node {
    pub(crate) fn new(key_seed: [u8; 32], rate: u64) -> Self {
        Self {
            id: 0,
            machine: None,
            life: Life::Off,
            life_number: 0,
            disk: Disk::default(),
            clock: Clock::default(),
            rate,
            mines: true,
            lie: None,
            attack: None,
            computer: None,
            leaves: false,
            gone: false,
            watch: Watch::default(),
            secret: None,
            flood: 12,
            locators: HashMap::new(),
            wish: 0,
            alarm: None,
            inbound: HashMap::new(),
            authors: Vec::new(),
            accepted: Vec::new(),
            key_seed,
            key_is_shared: false,
            key_replaced: 0,
            job: None,
            seen: HashSet::new(),
            judging: HashMap::new(),
            next_gossip: 0,
            connected: BTreeSet::new(),
            refused: BTreeMap::new(),
            open: HashMap::new(),
            missed: Vec::new(),
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.lie.is_none() && self.attack.is_none()
    }

    /// Whether it mines now.
    pub(crate) fn has_job(&self) -> bool {
        self.job.is_some()
    }

    /// Whether it could mine something now. What waits is gone through again only when that may have changed.
    pub(crate) fn has_minable(&mut self) -> bool {
        let status = self.machine().status();
        let (tip, waiting) = (status.tip, status.mempool);
        if let Some((at, many, minable)) = self.watch.minable
            && (at, many) == (tip, waiting)
        {
            return minable;
        }
        let machine = self.machine();
        let minable = machine
            .pending()
            .any(|reading| reading.seq == machine.next_seq(&reading.author));
        self.watch.minable = Some((tip, waiting, minable));
        minable
    }

    /// The oldest gossip item that still waits for its verdict, and since when.
    pub(crate) fn oldest_unjudged(&self) -> Option<(u64, Id, Topic)> {
        let waiting = self.judging.values();
        waiting
            .map(|item| (item.since, item.from, item.topic))
            .min()
    }

    /// Its time asleep does not count: it could judge nothing.
    pub(crate) fn restart_verdict_clocks(&mut self, now: u64) {
        for item in self.judging.values_mut() {
            item.since = now;
        }
    }

    pub(crate) fn machine(&self) -> &Machine<Id> {
        self.machine.as_ref().expect("the peer runs")
    }

    /// What it would say of itself.
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

    pub(crate) fn missed(&mut self) -> Vec<Input<Id>> {
        core::mem::take(&mut self.missed)
    }

    /// Starts from what is on disk; new if nothing is. Some starts look at no body; before some the disk garbles bodies,
    /// which are found, and told, when the peer is at work already.
    pub(crate) fn start(&mut self, room: Room, seed: [u8; 32], now: u64) -> Vec<BlockHash> {
        let [garbles, which, trusts, ..] = seed;
        self.clock.wakes(now);
        self.watch.note_start(now);
        if garbles.is_multiple_of(4) && !self.disk.is_sound {
            self.disk.garble(which);
        }
        let room_id = room.id();
        self.life_number += 1;
        self.life = Life::Awake;
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
        let trusts = trusts.is_multiple_of(2) && !restore.needs_bodies();
        let mut blocks: Vec<_> = self.disk.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        for part in blocks.chunks(64) {
            let garbled = &self.disk.garbled;
            restore.stored(part.iter().map(|(hash, block)| {
                if trusts || garbled.contains(*hash) {
                    known(room_id, **hash, block)
                } else {
                    Stored::Whole(**hash, (*block).clone())
                }
            }));
        }
        restore.tip(self.disk.tip);
        restore.confirmed(self.disk.confirmed);
        restore.adopted(self.disk.adopted.values().copied());
        restore.rescue(self.disk.rescue.iter().copied());
        let machine = restore.finish();
        if !self.authors.contains(&machine.author()) {
            self.authors.push(machine.author());
        }
        self.machine = Some(machine);
        self.disk.garbled.iter().copied().collect()
    }

    pub(crate) fn crash(&mut self) {
        self.life = Life::Off;
        self.life_number += 1;
        self.machine = None;
        self.disk.crash();
        self.job = None;
        self.alarm = None;
        self.seen.clear();
        self.judging.clear();
        self.inbound.clear();
        self.open.clear();
        self.connected.clear();
        self.missed.clear();
    }

    pub(crate) fn feed(&mut self, input: Input<Id>, now: Now) -> Fed {
        match (self.life, &mut self.machine) {
            (Life::Awake, Some(machine)) => {
                let asked = matches!(input, Input::Request { .. });
                self.watch.note_input(&input);
                let began = Instant::now();
                let outputs: Vec<_> = machine.handle(input, now).collect();
                self.watch.note_outputs(&outputs, asked, began.elapsed());
                Fed::Outputs(outputs)
            }
            (Life::Asleep, Some(_)) => {
                // A frozen page gets what its own computer did once it wakes.
                if matches!(
                    input,
                    Input::Written { .. }
                        | Input::WriteFailed { .. }
                        | Input::Read { .. }
                        | Input::ReadFailed { .. }
                ) {
                    self.missed.push(input);
                }
                Fed::Nobody
            }
            _ => Fed::Nobody,
        }
    }

    /// Takes a gossip item in, unless it is known; `twice`: the router has forgotten that it knew it.
    pub(crate) fn take_gossip(
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
        self.judging.insert(
            id,
            Judged {
                since: now,
                from,
                topic,
                data: Rc::clone(data),
            },
        );
        Some(id)
    }

    /// The gossip router does not give one its own items back.
    pub(crate) fn note_published(&mut self, topic: Topic, data: &[u8]) {
        self.seen.insert(digest(topic, data));
    }

    pub(crate) fn close_request(&mut self, peer: Id, id: RequestId) {
        if self.open.get(&id) == Some(&peer) {
            self.open.remove(&id);
        }
    }

    /// The miner's answer, if the job is still wanted.
    pub(crate) fn find_nonce(&mut self, job: u64) -> Option<Input<Id>> {
        let (id, header) = self.job.take_if(|(id, _)| id.0 == job)?;
        let target = header.bits.target().ok()?;
        let nonce = mining::Job::new(&header, target).search(header.nonce, u32::MAX)?;
        Some(Input::Mined { job: id, nonce })
    }
}

/// What a store remembers of a block beside its body.
fn known(room: RoomId, hash: BlockHash, block: &Block) -> Stored {
    let entries = block.readings.iter();
    Stored::Known(KnownBlock {
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
