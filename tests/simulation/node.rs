//! One peer of the simulation: a real machine with a disk, a clock, a miner and a gossip router that obeys verdicts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use chain::{
    block::Block,
    hash::{BlockHash, ReadingId, RoomId},
    header::Header,
    key::{Author, SecretKey},
    mining,
    room::Room,
    time::UnixMillis,
    tree::Entry,
};
use sync::{
    Config, Event, Input, KnownBlock, Machine, Output, Restore, Stored,
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, StatusMessage},
    seam::{GossipId, InboundId, JobId, RequestFailure, RequestId, Topic, Verdict},
};

use crate::{
    disk::{Disk, Job},
    liars::Lie,
    links::Wire,
    world::{Dropped, Happening, Id, World},
};

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
    from: Id,
    topic: Topic,
    data: Rc<[u8]>,
}

/// A peer.
pub(crate) struct Node {
    pub(crate) id: Id,
    pub(crate) machine: Option<Machine<Id>>,
    pub(crate) life: Life,
    /// Counts starts: what an earlier life set in motion means nothing to a later one.
    pub(crate) life_number: u32,
    pub(crate) disk: Disk,
    /// Ms ahead of the truth.
    pub(crate) clock: i64,
    /// Hashes a second.
    pub(crate) rate: u64,
    pub(crate) mines: bool,
    pub(crate) lie: Option<Lie>,
    /// A header that a liar has mined and shows without its body.
    pub(crate) secret: Option<Header>,
    /// Readings in one wave of a liar's flood.
    pub(crate) flood: usize,
    /// What a liar with endless headers was asked for.
    pub(crate) locators: HashMap<(Id, RequestId), Vec<BlockHash>>,
    pub(crate) wish: u64,
    pub(crate) inbound: HashMap<InboundId, (Id, RequestId)>,
    /// Every key that signed here.
    pub(crate) authors: Vec<Author>,
    /// Ids of readings whose recording was confirmed.
    pub(crate) accepted: Vec<(ReadingId, u64)>,
    pub(crate) key_seed: [u8; 32],
    /// Whether another peer signs with the same key.
    pub(crate) key_is_shared: bool,
    pub(crate) key_replaced: u32,
    job: Option<(JobId, Header)>,
    seen: HashSet<u64>,
    judging: HashMap<GossipId, Judged>,
    next_gossip: u64,
    connected: BTreeSet<Id>,
    refused: BTreeMap<Id, u64>,
    open: HashMap<RequestId, Id>,
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
            clock: 0,
            rate,
            mines: true,
            lie: None,
            secret: None,
            flood: 12,
            locators: HashMap::new(),
            wish: 0,
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
        self.lie.is_none()
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
        UnixMillis::new(now.saturating_add_signed(self.clock))
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
        if garbles.is_multiple_of(4) {
            self.disk.garble(which);
        }
        let room_id = room.id();
        self.life_number += 1;
        self.life = Life::Awake;
        self.connected.clear();
        let local = self.local(now);
        let config = Config { mining: self.mines };
        let keys = self.disk.keys.iter();
        let keys = keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed)));
        let mut restore = Restore::new(
            config,
            room,
            SecretKey::from_seed(self.key_seed),
            keys,
            seed,
            local,
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
        self.seen.clear();
        self.judging.clear();
        self.inbound.clear();
        self.open.clear();
        self.connected.clear();
        self.missed.clear();
    }

    pub(crate) fn feed(&mut self, input: Input<Id>, now: UnixMillis) -> Fed {
        match (self.life, &mut self.machine) {
            (Life::Awake, Some(machine)) => Fed::Outputs(machine.handle(input, now).collect()),
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
    ) -> Option<GossipId> {
        if !self.seen.insert(digest(topic, data)) && !twice {
            return None;
        }
        let id = GossipId(self.next_gossip);
        self.next_gossip += 1;
        self.judging.insert(
            id,
            Judged {
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

impl World {
    /// Does what a machine wants done, as the driver does in a tab.
    pub(crate) fn perform(&mut self, id: Id, output: Output<Id>) {
        let life = self.node(id).life_number;
        match output {
            Output::Write { id: write, batch } => {
                let duration = self.dice.between(1, if batch.strict { 30 } else { 8 });
                let now = self.now;
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Write { id: write, batch }, now, duration);
                self.after(done - now, Happening::DiskDone { to: id, life });
            }
            Output::Read { id: read, hashes } => {
                let (now, duration) = (self.now, self.dice.between(1, 8));
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Read { id: read, hashes }, now, duration);
                self.after(done - now, Happening::DiskDone { to: id, life });
            }
            Output::Request {
                peer,
                id: request,
                data,
                ..
            } => self.ask(id, peer, request, data),
            Output::Respond { id: inbound, data } => {
                if data.len() > MAX_RESPONSE_LEN {
                    self.exceeded
                        .push(format!("{id} answers with {} bytes", data.len()));
                }
                if let Some((peer, request)) = self.node_mut(id).inbound.remove(&inbound) {
                    self.answer(id, peer, request, data);
                }
            }
            Output::Refuse { id: inbound } => {
                if let Some((peer, request)) = self.node_mut(id).inbound.remove(&inbound) {
                    let failure = RequestFailure::Closed;
                    self.send(
                        id,
                        peer,
                        Wire::Failure {
                            id: request,
                            failure,
                        },
                    );
                }
            }
            Output::Publish { topic, data } => {
                let data: Rc<[u8]> = data.into();
                self.node_mut(id).note_published(topic, &data);
                self.flood(id, None, topic, &data);
            }
            Output::Judge {
                id: gossip,
                from,
                verdict,
            } => {
                let Some(judged) = self.node_mut(id).judging.remove(&gossip) else {
                    self.exceeded
                        .push(format!("{id} judged {gossip:?} of {from} twice"));
                    return;
                };
                if verdict == Verdict::Accept {
                    self.flood(id, Some(judged.from), judged.topic, &judged.data);
                }
            }
            Output::Mine { job, header } => {
                let rate = self.node(id).rate;
                self.node_mut(id).job = Some((job, header));
                if let (Ok(target), true) = (header.bits.target(), rate > 0) {
                    let mean = expected_tries(target) / rate_of(rate) * 1_000.0;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "some seconds"
                    )]
                    let delay = self.dice.exponential(mean) as u64;
                    self.after(
                        delay,
                        Happening::NonceFound {
                            to: id,
                            life,
                            job: job.0,
                        },
                    );
                }
            }
            Output::StopMining => self.node_mut(id).job = None,
            Output::WakeAt(at) => {
                let (wish, now) = (self.name(), self.now);
                let node = self.node_mut(id);
                node.wish = wish;
                let local = node.local(now);
                self.after(at.since(local), Happening::Timer { to: id, life, wish });
            }
            Output::Tell(event) => self.told(id, &event),
            Output::Drop {
                peer,
                reason,
                until,
            } => {
                let (now, banned) = (self.now, until.is_some());
                let local = self.node(id).local(now);
                let refused = now + until.map_or(3_000, |until| until.since(local));
                self.node_mut(id).refused.insert(peer, refused);
                self.dropped.push(Dropped {
                    by: id,
                    whom: peer,
                    reason: reason.to_string(),
                    banned,
                });
                self.cut(id, peer, 0);
            }
        }
    }

    fn ask(&mut self, id: Id, peer: Id, request: RequestId, data: Vec<u8>) {
        if data.len() > MAX_REQUEST_LEN {
            self.exceeded
                .push(format!("{id} asks with {} bytes", data.len()));
        }
        let now = self.now;
        let node = self.node_mut(id);
        node.open.insert(request, peer);
        // What was lost on the way is open until the machine gives it up, which this account cannot see.
        let open = node.machine().load().open_requests;
        let peers = node.machine().load().peers;
        if open > 4 * peers {
            self.exceeded.push(format!(
                "{id} has {open} requests open at {peers} peers at {now}"
            ));
        }
        self.send(id, peer, Wire::Request { id: request, data });
    }

    fn told(&mut self, id: Id, event: &Event) {
        let author = self.node(id).machine().author();
        let node = self.node_mut(id);
        if let Event::Recorded {
            id: reading, seq, ..
        } = event
        {
            node.accepted.push((*reading, *seq));
        } else if let Event::KeyReplaced { .. } = event {
            node.key_replaced += 1;
            node.authors.push(author);
        }
    }
}

pub(crate) fn expected_tries(target: chain::work::Target) -> f64 {
    let bytes = target.work().to_le_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&bytes[..8]);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let tries = u64::from_le_bytes(low) as f64;
    tries
}

pub(crate) fn rate_of(rate: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = rate as f64;
    rate
}
