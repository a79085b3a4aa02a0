//! The machine: its state, its one entrance, and what a view may read of it.
//!
//! Each concern has a file: `requests` (what is asked and what comes back); `headers`, `weighing`, `download` and
//! `bodies` (catching up); `lost` (bodies that the disk garbled); `gossip` and `held` (what neighbours pass on);
//! `activation` and `rescue` (going over to a better branch, nothing lost); `exchange` (comparing mempools), `answers`
//! (what peers ask), `own` (recording), `elsewhere` (a key that signs in two places), `mining`, `peer` (how peers come
//! and go), `views` (what a page sees).

mod activation;
mod answers;
mod bans;
mod bodies;
mod bucket;
mod clock;
mod download;
mod elsewhere;
mod exchange;
mod gossip;
mod headers;
mod held;
mod importing;
mod lost;
mod mining;
mod own;
mod peer;
mod places;
mod requests;
mod rescue;
mod restore;
mod storing;
mod views;
mod weighing;

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    hash::BlockHash, key::SecretKey, mempool::Mempool, reading::Reading, room::Room,
    time::UnixMillis, tree::Tree,
};
use litemap::LiteMap;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use self::{
    answers::PendingAnswer, bans::Bans, bucket::Bucket, download::Download, exchange::Rounds,
    headers::HeaderSync, held::HeldBlocks, importing::Importing, lost::Lost, mining::Mining,
    own::Own, peer::Peer, requests::OpenRequest, rescue::Rescue, storing::Unwritten,
};
pub use self::{
    restore::{KnownBlock, Restore, Stored},
    views::{Load, OwnReading, PeerView, State, Status},
};
use crate::{
    config::{
        ANSWER_BURST, ANSWER_RATE, Config, Millis, NEWCOMER_FORWARD_BURST, NEWCOMER_FORWARD_RATE,
        STARTING,
    },
    seam::{Event, Input, Output, ReadId, RequestId},
};

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
    lost: Lost<P>,
    mining: Mining,

    peers: LiteMap<P, Peer>,
    bans: Bans<P>,
    requests: LiteMap<RequestId, OpenRequest<P>>,
    answers: LiteMap<ReadId, PendingAnswer<P>>,
    header_syncs: LiteMap<P, HeaderSync>,
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
            lost: Lost::new(),
            mining: Mining::default(),
            peers: LiteMap::new(),
            bans: Bans::new(),
            requests: LiteMap::new(),
            answers: LiteMap::new(),
            header_syncs: LiteMap::new(),
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
            Input::Lost { hashes } => self.lost(&hashes),
            Input::Mined { job, nonce } => self.mined(job, nonce),
            Input::Woke => self.woke(),
            Input::Tick => {}
        }
        self.settle();
        core::mem::take(&mut self.outputs).into_iter()
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
        self.settle_lost();
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
            self.lost
                .next_due(self.now)
                .filter(|_| !self.peers.is_empty()),
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
