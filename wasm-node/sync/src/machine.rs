//! The machine: its state, its one entrance, and what a view may read of it.
//!
//! Each concern has a file: `requests` (what is asked and what comes back); `headers`, `weighing`, `download` and
//! `bodies` (catching up); `lost` (bodies that the disk lost); `gossip`, `held` and `forwards` (what neighbours pass on);
//! `activation`, `confirmation` and `recovery` (going over to a better branch, nothing lost); `clock` and `clock_jumps`
//! (the time to judge by, and clocks that are set); `exchange` (comparing mempools), `answers` (what peers ask), `journal`
//! (recording), `key_conflict` (a key that signs in two places), `adopted` (readings of other tabs), `mining`, `peer`
//! (how peers come and go), `store_reset` (a store that was lost), `views` (what a page sees).

mod activation;
mod adopted;
mod answers;
mod bans;
mod bodies;
mod bucket;
mod clock;
mod clock_jumps;
mod confirmation;
mod download;
mod equivocations;
mod exchange;
mod forwards;
mod gossip;
mod headers;
mod held;
mod importing;
mod journal;
mod key_conflict;
mod lost;
mod mining;
mod own_heights;
mod peer;
mod recovery;
mod requests;
mod restore;
mod store_reset;
mod storing;
mod views;
mod weighing;

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    key::SecretKey,
    mempool::Mempool,
    reading::Reading,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
    tree::Tree,
};
use litemap::LiteMap;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use self::{
    adopted::Adopted,
    answers::PendingAnswer,
    bans::Bans,
    bucket::Bucket,
    clock_jumps::ClockWatch,
    confirmation::Confirmation,
    download::Download,
    equivocations::Equivocations,
    exchange::Rounds,
    forwards::ForwardLimiter,
    headers::HeaderSync,
    held::HeldBlocks,
    importing::Importing,
    journal::{Journal, Recording},
    lost::Lost,
    mining::Mining,
    peer::Peer,
    recovery::Recovery,
    requests::OpenRequest,
    storing::Unwritten,
};
pub use self::{
    journal::sign_journal,
    restore::{KnownBlock, Restore, Stored},
    views::{HeldBack, Load, OwnReading, PeerView, State, Status},
};
use crate::{
    config::{
        ALL_ANSWERS_BURST, ALL_ANSWERS_RATE, ANSWER_BURST, ANSWER_RATE, CATCH_UP_BUDGET,
        CATCH_UP_BUDGET_RATE, Config, FETCHING_BUDGET, FETCHING_BUDGET_RATE, Millis, STARTING,
    },
    seam::{Event, Input, Now, Output, ReadId, RequestId},
};

/// A Heartchain peer without IO. See the crate's documentation. A clone can be asked what this one would do; it must
/// never take its place, because both would name their requests alike.
#[derive(Clone, Debug)]
pub struct Machine<P> {
    config: Config,
    started_at: MonotonicMillis,
    /// The monotonic clock's time of the input at hand.
    now: MonotonicMillis,
    /// The wall clock's.
    wall: UnixMillis,
    rng: ChaCha12Rng,
    last_handle: u64,

    tree: Tree,
    mempool: Mempool,
    journal: Journal,
    recording: Recording,
    /// Since when the chain waits for the reading of an entry of ours that is lost.
    lost_seq_since: Option<MonotonicMillis>,
    /// The same for a retired key, by its first position.
    stuck_era_since: Option<(u64, MonotonicMillis)>,
    adopted: Adopted,
    confirmation: Confirmation,
    /// When a better branch was last seen to be fetched, if it still is.
    fetching_since: Option<MonotonicMillis>,
    /// For how long peers may still keep confirmation waiting, ms.
    fetching_budget: Bucket,
    recovery: Recovery,
    clock_watch: ClockWatch,
    unwritten: Unwritten,
    importing: Importing,
    lost: Lost<P>,
    mining: Mining,
    /// For how long peers may still keep mining waiting, ms.
    waiting_budget: Bucket,

    peers: LiteMap<P, Peer>,
    bans: Bans<P>,
    requests: LiteMap<RequestId, OpenRequest<P>>,
    answers: LiteMap<ReadId, PendingAnswer<P>>,
    header_syncs: LiteMap<P, HeaderSync>,
    last_header_turn: u64,
    download: Download,
    held: HeldBlocks<P>,
    rounds: Rounds,
    forwards: ForwardLimiter,
    equivocations: Equivocations,
    /// What peers that are not accounted for may draw, all together.
    strangers: Bucket,
    /// What all peers may draw together.
    all_answers: Bucket,

    outputs: Vec<Output<P>>,
    wake_at: Option<MonotonicMillis>,
    told_status: Option<Status>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// A peer of `room` that signs with `key` and holds nothing yet. All its chance comes from `seed`, which must
    /// be unpredictable to others.
    #[must_use]
    pub fn new(config: Config, room: Room, key: SecretKey, seed: [u8; 32], now: Now) -> Self {
        let journal = Journal::new(key);
        let mut rng = ChaCha12Rng::from_seed(seed);
        let Now {
            wall,
            monotonic: now,
        } = now;
        Self {
            config,
            started_at: now,
            now,
            wall,
            last_handle: 0,
            tree: Tree::new(room),
            mempool: Mempool::new(journal.author(), rng.next_u64()),
            rng,
            journal,
            recording: Recording::default(),
            lost_seq_since: None,
            stuck_era_since: None,
            adopted: Adopted::default(),
            confirmation: Confirmation::default(),
            fetching_since: None,
            fetching_budget: Bucket::full(FETCHING_BUDGET_RATE, FETCHING_BUDGET, now),
            recovery: Recovery::default(),
            clock_watch: ClockWatch::new(wall, now),
            unwritten: Unwritten::default(),
            importing: Importing::default(),
            lost: Lost::new(),
            mining: Mining::default(),
            waiting_budget: Bucket::full(CATCH_UP_BUDGET_RATE, CATCH_UP_BUDGET, now),
            peers: LiteMap::new(),
            bans: Bans::new(),
            requests: LiteMap::new(),
            answers: LiteMap::new(),
            header_syncs: LiteMap::new(),
            last_header_turn: 0,
            download: Download::new(),
            held: HeldBlocks::new(),
            rounds: Rounds::new(now),
            forwards: ForwardLimiter::new(now),
            equivocations: Equivocations::default(),
            strangers: Bucket::full(ANSWER_RATE, ANSWER_BURST, now),
            all_answers: Bucket::full(ALL_ANSWERS_RATE, ALL_ANSWERS_BURST, now),
            outputs: Vec::new(),
            wake_at: None,
            told_status: None,
        }
    }

    /// Takes in what happened and says what is to be done, in order.
    pub fn handle(&mut self, input: Input<P>, now: Now) -> alloc::vec::IntoIter<Output<P>> {
        // A monotonic clock that goes back is broken; standing still is the best that can be made of it.
        self.now = self.now.max(now.monotonic);
        self.wall = now.wall;
        self.confirm();
        self.watch_clocks();
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
            Input::WriteFailed { id, full } => self.write_failed(id, full),
            Input::StoreReset => self.store_reset(),
            Input::Adopt { ticket, readings } => self.adopt(ticket, readings),
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
        self.settle_recovery();
        self.settle_unwritten();
        self.settle_headers();
        self.settle_download();
        self.settle_lost();
        self.settle_rounds();
        self.ask_peers();
        self.settle_mining();
        self.sample_tip();
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
            self.conflict_due(),
            self.recovery.next_due(self.now),
            self.clock_due(),
            self.confirmation.sample_due(self.tree.tip().index),
            self.header_turn_due(),
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

    /// The wall clock, corrected by those of peers.
    fn adjusted_now(&self) -> UnixMillis {
        clock::adjusted(self.wall, self.clock_offset())
    }

    /// When a block of this time is due, as far as can be known now.
    fn by_local_clock(&self, at: UnixMillis) -> MonotonicMillis {
        self.now.saturating_add(at.since(self.latest_now()))
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
        } else if self.recovery.is_reading(id) {
            self.recovery_read(bodies);
        } else if self.lost.is_sweeping(id) {
            self.swept(&bodies);
        }
    }

    fn read_failed(&mut self, id: ReadId) {
        if let Some(pending) = self.answers.remove(&id) {
            self.outputs.push(Output::Refuse {
                id: pending.inbound,
            });
        } else if self.recovery.is_reading(id) {
            self.recovery_read_failed();
        } else if self.lost.is_sweeping(id) {
            self.sweep_failed();
        }
    }
}
