//! The machine: its state, its one entrance, and what a view may read of it.
//!
//! Each concern has a file: `requests` (what is asked and what comes back), `headers`, `weighing` and `bodies`
//! (catching up),
//! `gossip` and `held` (what neighbours pass on), `activation` (going over to a better branch, nothing lost),
//! `exchange` (comparing mempools), `answers` (what peers ask), `own` (recording) and
//! `elsewhere` (a key that signs in two places), `mining`.

mod activation;
mod answers;
mod bans;
mod bodies;
mod bucket;
mod clock;
mod elsewhere;
mod exchange;
mod gossip;
mod headers;
mod held;
mod importing;
mod mining;
mod own;
mod peer;
mod places;
mod requests;
mod restore;
mod storing;
mod views;
mod weighing;

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    mempool::Mempool,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    tree::Tree,
    work::Work,
};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use self::{
    activation::Rescue, answers::PendingAnswer, bans::Bans, bodies::Download, bucket::Bucket,
    exchange::Rounds, headers::HeaderSync, held::HeldBlocks, importing::Importing, mining::Mining,
    own::Own, peer::Peer, requests::OpenRequest, storing::Unwritten,
};
pub use self::{restore::Restore, views::OwnReading};
use crate::{
    config::{
        ANSWER_BURST, ANSWER_RATE, Config, MAX_PEERS, Millis, NEWCOMER_FORWARD_BURST,
        NEWCOMER_FORWARD_RATE, STARTING,
    },
    seam::{DropReason, Event, Input, Output, ReadId, RequestId},
};

/// Where a peer stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Just started; peers are being looked for.
    Starting,
    /// Peers have more than we do, or have not said yet.
    Syncing,
    /// As far as every connected peer.
    Synced,
    /// No peer is connected: readings are kept and will be shared.
    Alone,
}

/// What a page shows of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The best tip.
    pub tip: BlockHash,
    /// Its height.
    pub index: u64,
    /// The height of the branch that is being fetched, if one is.
    pub target_index: Option<u64>,
    /// The best branch's work.
    pub total_work: Work,
    /// Readings that wait for a block.
    pub mempool: usize,
    /// Where this peer stands.
    pub state: State,
    /// The median of the peers' clocks minus ours, ms, if at least three are known.
    pub clock_offset_ms: Option<i64>,
}

/// What a page shows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView<P> {
    /// Who.
    pub peer: P,
    /// Its height, if it has said.
    pub index: Option<u64>,
}

/// How much a machine holds of what is bounded: for tests of the bounds, and for the curious.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Peers it keeps account of.
    pub peers: usize,
    /// Requests that wait for an answer.
    pub open_requests: usize,
    /// Peers' requests that wait for storage.
    pub open_reads: usize,
    /// Gossiped blocks held until they can be judged.
    pub held_blocks: usize,
    /// Header syncs under way.
    pub header_syncs: usize,
    /// Headers whose bodies are not here.
    pub bodiless_blocks: usize,
    /// Blocks off the best branch.
    pub side_blocks: usize,
    /// Readings in them.
    pub side_readings: usize,
    /// Readings that wait for a block.
    pub mempool: usize,
    /// Readings whose place the best branch gave to another.
    pub aside: usize,
    /// Changes that are not on disk yet.
    pub unwritten: usize,
    /// Left blocks whose readings have yet to return to the mempool.
    pub rescue: usize,
    /// Entries of one's own journal.
    pub journal: usize,
}

/// A Heartchain peer without IO. See the crate's documentation. A clone can be asked what this one would do; it must
/// never take its place, because both would name their requests alike.
#[derive(Clone, Debug)]
pub struct Machine<P> {
    config: Config,
    started_at: UnixMillis,
    /// The local clock's time of the input at hand.
    now: UnixMillis,
    rng: ChaCha12Rng,
    last_handle: u64,

    tree: Tree,
    mempool: Mempool,
    own: Own,
    rescue: Rescue,
    unwritten: Unwritten,
    importing: Importing,
    mining: Mining,

    peers: BTreeMap<P, Peer>,
    bans: Bans<P>,
    requests: BTreeMap<RequestId, OpenRequest<P>>,
    answers: BTreeMap<ReadId, PendingAnswer<P>>,
    header_syncs: BTreeMap<P, HeaderSync>,
    download: Download,
    held: HeldBlocks<P>,
    rounds: Rounds,
    newcomer_forwards: Bucket,
    /// What peers that are not accounted for may draw, all together.
    strangers: Bucket,

    outputs: Vec<Output<P>>,
    wake_at: Option<UnixMillis>,
    told_status: Option<Status>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// A peer of `room` that signs with `key` and holds nothing yet. All its chance comes from `seed`, which must
    /// be unpredictable to others.
    #[must_use]
    pub fn new(
        config: Config,
        room: Room,
        key: SecretKey,
        seed: [u8; 32],
        now: UnixMillis,
    ) -> Self {
        let own = Own::new(key);
        Self {
            config,
            started_at: now,
            now,
            rng: ChaCha12Rng::from_seed(seed),
            last_handle: 0,
            tree: Tree::new(room),
            mempool: Mempool::new(own.author()),
            own,
            rescue: Rescue::default(),
            unwritten: Unwritten::default(),
            importing: Importing::default(),
            mining: Mining::default(),
            peers: BTreeMap::new(),
            bans: Bans::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            header_syncs: BTreeMap::new(),
            download: Download::new(),
            held: HeldBlocks::new(),
            rounds: Rounds::new(now),
            newcomer_forwards: Bucket::full(NEWCOMER_FORWARD_RATE, NEWCOMER_FORWARD_BURST, now),
            strangers: Bucket::full(ANSWER_RATE, ANSWER_BURST, now),
            outputs: Vec::new(),
            wake_at: None,
            told_status: None,
        }
    }

    /// Takes in what happened and says what is to be done, in order. `now` is the local clock's time.
    pub fn handle(&mut self, input: Input<P>, now: UnixMillis) -> alloc::vec::IntoIter<Output<P>> {
        self.now = now;
        match input {
            Input::Record { ticket, bpm } => self.record(ticket, bpm),
            Input::Import { ticket, piece } => self.import(ticket, piece),
            Input::PeerConnected { peer } => self.peer_connected(peer),
            Input::PeerDisconnected { peer } => self.forget_peer(peer),
            Input::Gossip {
                from,
                id,
                topic,
                data,
            } => self.gossip(from, id, topic, &data),
            Input::Request { from, id, data } => self.answer_request(from, id, &data),
            Input::Response { peer, id, data } => self.response(peer, id, &data),
            Input::RequestFailed { peer, id, failure } => self.request_failed(peer, id, failure),
            Input::Written { id } => self.written(id),
            Input::WriteFailed { id } => self.write_failed(id),
            Input::Read { id, bodies } => self.read(id, bodies),
            Input::ReadFailed { id } => self.read_failed(id),
            Input::Mined { job, nonce } => self.mined(job, nonce),
            Input::Woke => self.woke(),
            Input::Tick => {}
        }
        self.settle();
        core::mem::take(&mut self.outputs).into_iter()
    }

    /// What a page shows of this machine.
    #[must_use]
    pub fn status(&self) -> Status {
        let tip = self.tree.tip();
        Status {
            tip: tip.hash,
            index: tip.index,
            target_index: self.download.target_index(),
            total_work: tip.total_work,
            mempool: self.mempool.len(),
            state: self.state(),
            clock_offset_ms: self.clock_offset(),
        }
    }

    /// What a page shows of the connected peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<P>> {
        self.peers.iter().map(|(&peer, known)| PeerView {
            peer,
            index: known.status.map(|status| status.index),
        })
    }

    /// The hash of the best branch's block at this height.
    #[must_use]
    pub fn best_hash(&self, index: u64) -> Option<BlockHash> {
        self.tree.best_hash(index)
    }

    /// The header of a block that is kept.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.tree.header(hash)
    }

    /// Readings that wait for a block.
    pub fn pending(&self) -> impl Iterator<Item = &Reading> {
        self.mempool.iter()
    }

    /// The key that signs what is recorded here.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.own.author()
    }

    /// The room.
    #[must_use]
    pub const fn room(&self) -> &Room {
        self.tree.room()
    }

    /// How much it holds of what is bounded.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            peers: self.peers.len(),
            open_requests: self.requests.len(),
            open_reads: self.answers.len(),
            held_blocks: self.held.len(),
            header_syncs: self.header_syncs.len(),
            bodiless_blocks: self.tree.bodiless_blocks(),
            side_blocks: self.tree.side_blocks(),
            side_readings: self.tree.side_readings(),
            mempool: self.mempool.len(),
            aside: self.mempool.aside(),
            unwritten: self.unwritten.len(),
            rescue: self.rescue.len(),
            journal: self.own.len(),
        }
    }

    fn state(&self) -> State {
        if self.peers.is_empty() {
            return if self.now.since(self.started_at) < STARTING {
                State::Starting
            } else {
                State::Alone
            };
        }
        let heard = self.peers.values().any(|peer| peer.status.is_some());
        let behind = self.download.target_index().is_some()
            || !self.header_syncs.is_empty()
            || self
                .peers
                .values()
                .any(|peer| peer.status.is_some_and(|status| self.is_better(&status)));
        if heard && !behind {
            State::Synced
        } else {
            State::Syncing
        }
    }

    /// Does everything that is due, then says when the next thing will be.
    fn settle(&mut self) {
        self.expire_requests();
        self.retry_held();
        self.settle_own();
        self.settle_rescue();
        self.settle_unwritten();
        self.settle_headers();
        self.settle_download();
        self.settle_rounds();
        self.ask_peers();
        self.settle_mining();
        self.tell_status();
        self.schedule();
    }

    fn tell_status(&mut self) {
        let status = self.status();
        if self.told_status != Some(status) {
            self.told_status = Some(status);
            self.outputs.push(Output::Tell(Event::Status));
        }
    }

    fn schedule(&mut self) {
        let starting = self.started_at.saturating_add(STARTING);
        let next = [
            self.requests.values().map(|request| request.deadline).min(),
            self.held.next_due(),
            self.own.next_due(),
            self.rescue.next_due(),
            self.unwritten.next_due(),
            self.download.next_due(self.now),
            self.rounds.next_due(&self.peers),
            self.mining.next_due(),
            (self.peers.is_empty() && starting > self.now).then_some(starting),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.max(self.now.saturating_add(1)));
        if let Some(at) = next.filter(|at| self.wake_at != Some(*at)) {
            self.outputs.push(Output::WakeAt(at));
        }
        self.wake_at = next;
    }

    fn peer_connected(&mut self, peer: P) {
        if let Some(until) = self.bans.until(&peer, self.now) {
            self.outputs.push(Output::Drop {
                peer,
                reason: DropReason::Banned,
                until: Some(until),
            });
            return;
        }
        if self.peers.len() < MAX_PEERS && !self.peers.contains_key(&peer) {
            self.peers.insert(peer, Peer::new(self.now));
            self.download.peers_changed();
            self.outputs.push(Output::Tell(Event::Peers));
        }
    }

    fn woke(&mut self) {
        for peer in self.peers.values_mut() {
            peer.wants_status = true;
            peer.wants_listing.get_or_insert(None);
        }
    }

    /// Drops what is known of a peer and gives its work to others.
    fn forget_peer(&mut self, peer: P) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        let gone: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(request) = self.requests.remove(&id) {
                self.give_back(request.asked);
            }
        }
        if self.header_syncs.remove(&peer).is_some() {
            self.prune_many();
        }
        self.held.forget_verdicts_of(&peer);
        self.download.peers_changed();
        self.outputs.push(Output::Tell(Event::Peers));
    }

    /// Closes the connection of a peer that provably lied, and bans it.
    fn ban(&mut self, peer: P, reason: DropReason) {
        let until = self.bans.ban(peer, self.now);
        self.forget_peer(peer);
        self.outputs.push(Output::Drop {
            peer,
            reason,
            until: Some(until),
        });
    }

    /// Closes the connection of a peer that is of no use, without a ban.
    fn let_go(&mut self, peer: P, reason: DropReason) {
        self.forget_peer(peer);
        self.outputs.push(Output::Drop {
            peer,
            reason,
            until: None,
        });
    }

    fn clock_offset(&self) -> Option<i64> {
        clock::median_offset(self.peers.values().filter_map(|peer| peer.clock_offset))
    }

    /// The time to judge and to stamp blocks by.
    fn adjusted_now(&self) -> UnixMillis {
        clock::adjusted(self.now, self.clock_offset())
    }

    /// What the local clock will show when the adjusted one shows `at`, as far as can be known now.
    fn by_local_clock(&self, at: UnixMillis) -> UnixMillis {
        self.now.saturating_add(at.since(self.adjusted_now()))
    }

    /// A number that no earlier handle of this machine had.
    fn next_handle(&mut self) -> u64 {
        self.last_handle += 1;
        self.last_handle
    }

    fn read_bodies(&mut self, hashes: Vec<BlockHash>) -> ReadId {
        let id = ReadId(self.next_handle());
        self.outputs.push(Output::Read { id, hashes });
        id
    }

    /// A random number below `bound`; 0 when `bound` is 0.
    fn random_below(&mut self, bound: Millis) -> Millis {
        match bound {
            0 => 0,
            bound => self.rng.next_u64() % bound,
        }
    }

    fn read(&mut self, id: ReadId, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(pending) = self.answers.remove(&id) {
            self.answer_bodies(&pending, bodies);
        } else if self.rescue.is_reading(id) {
            self.rescued(bodies);
        }
    }

    fn read_failed(&mut self, id: ReadId) {
        if let Some(pending) = self.answers.remove(&id) {
            self.outputs.push(Output::Refuse {
                id: pending.inbound,
            });
        } else if self.rescue.is_reading(id) {
            self.rescue_failed();
        }
    }
}
