//! The state machine: its state, its single entry point [`Machine::handle`], and the parts it consists of.
//!
//! Each concern has its own file:
//!
//! - `peer`, `bans`, `requests`, `answers`, `token_bucket`: tracking peers, requests to them, and answers to
//!   theirs
//! - `headers`, `header_presync`, `download`, `bodies`: catching up with a better branch
//! - `missing_bodies`, `store_reset`: fetching bodies again that the disk lost
//! - `gossip`, `orphan_pool`, `forward_limiter`, `mempool_sync`, `equivocations`: readings and blocks from other
//!   peers
//! - `activation`, `reorg_recovery`, `confirmation`: switching to a better branch without losing a reading
//! - `clock`, `clock_jumps`: the time that blocks are judged by, and wall clocks that are set
//! - `journal`, `own_heights`, `key_conflict`, `adopted_readings`: readings recorded on this computer
//! - `mining`, `importing`, `storing`, `restore`, `views`: mining, file imports, storage, startup, and what
//!   a page shows

mod activation;
mod adopted_readings;
mod answers;
mod bans;
mod bodies;
mod clock;
mod clock_jumps;
mod confirmation;
mod download;
mod equivocations;
mod forward_limiter;
mod gossip;
mod header_presync;
mod headers;
mod importing;
mod journal;
mod key_conflict;
mod mempool_sync;
mod mining;
mod missing_bodies;
mod orphan_pool;
mod own_heights;
mod peer;
mod reorg_recovery;
mod requests;
mod restore;
mod store_reset;
mod storing;
mod token_bucket;
mod views;

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
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
    adopted_readings::Adopted,
    answers::PendingAnswer,
    bans::Bans,
    clock_jumps::ClockWatch,
    confirmation::Confirmation,
    download::Download,
    equivocations::Equivocations,
    forward_limiter::ForwardLimiter,
    headers::HeaderSync,
    importing::Importing,
    journal::{Journal, Recording},
    mempool_sync::MempoolSync,
    mining::Mining,
    missing_bodies::MissingBodies,
    orphan_pool::OrphanPool,
    peer::PeerState,
    reorg_recovery::ReorgRecovery,
    requests::OpenRequest,
    storing::Unwritten,
    token_bucket::TokenBucket,
};
pub use self::{
    journal::sign_journal,
    restore::{IndexedBlock, Restore, StoredBlock},
    views::{HeldBack, Load, OwnReading, PeerView, Status, SyncState},
};
use crate::{
    config::{
        ALL_ANSWERS_BURST, ALL_ANSWERS_RATE, ANSWER_BURST, ANSWER_RATE, CATCH_UP_BUDGET,
        CATCH_UP_BUDGET_RATE, Config, FETCHING_BUDGET, FETCHING_BUDGET_RATE, Millis, STARTING,
    },
    io::{Event, Input, Now, Output, ReadId, RequestId},
};

/// A Heartchain peer without IO (see the crate documentation).
///
/// A clone may be used to find out what this machine would do, but must never replace it: both would give their
/// requests the same IDs.
#[derive(Clone, Debug)]
pub struct Machine<P> {
    config: Config,
    started_at: MonotonicMillis,
    /// The monotonic time of the current input.
    now: MonotonicMillis,
    /// The wall-clock time of the current input.
    wall: UnixMillis,
    rng: ChaCha12Rng,
    last_handle: u64,

    tree: Tree,
    mempool: Mempool,
    journal: Journal,
    recording: Recording,
    /// Since when the chain has been waiting for the reading of a lost journal entry of ours.
    lost_seq_since: Option<MonotonicMillis>,
    /// The same for a retired key, with the first journal position of its era.
    stuck_era_since: Option<(u64, MonotonicMillis)>,
    adopted: Adopted,
    confirmation: Confirmation,
    /// When the machine last saw that a better branch was being fetched, if it still is.
    fetching_since: Option<MonotonicMillis>,
    /// How long peers may still delay confirmation, in ms.
    fetching_budget: TokenBucket,
    recovery: ReorgRecovery,
    clock_watch: ClockWatch,
    unwritten: Unwritten,
    importing: Importing,
    missing_bodies: MissingBodies<P>,
    mining: Mining,
    /// How long peers may still keep mining waiting, in ms.
    catch_up_budget: TokenBucket,

    peers: LiteMap<P, PeerState>,
    bans: Bans<P>,
    requests: LiteMap<RequestId, OpenRequest<P>>,
    pending_answers: LiteMap<ReadId, PendingAnswer<P>>,
    header_syncs: LiteMap<P, HeaderSync>,
    last_header_turn: u64,
    download: Download,
    orphans: OrphanPool<P>,
    mempool_sync: MempoolSync,
    forwards: ForwardLimiter,
    equivocations: Equivocations,
    /// Bytes of answers left for all untracked peers together.
    untracked_answer_budget: TokenBucket,
    /// Bytes of answers left for all peers together.
    total_answer_budget: TokenBucket,

    outputs: Vec<Output<P>>,
    wake_at: Option<MonotonicMillis>,
    emitted_status: Option<Status>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Creates a peer of `room` that signs with `key` and has no blocks yet. All its randomness comes from
    /// `seed`, which must be unpredictable to others.
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
            fetching_budget: TokenBucket::full(FETCHING_BUDGET_RATE, FETCHING_BUDGET, now),
            recovery: ReorgRecovery::default(),
            clock_watch: ClockWatch::new(wall, now),
            unwritten: Unwritten::default(),
            importing: Importing::default(),
            missing_bodies: MissingBodies::new(),
            mining: Mining::default(),
            catch_up_budget: TokenBucket::full(CATCH_UP_BUDGET_RATE, CATCH_UP_BUDGET, now),
            peers: LiteMap::new(),
            bans: Bans::new(),
            requests: LiteMap::new(),
            pending_answers: LiteMap::new(),
            header_syncs: LiteMap::new(),
            last_header_turn: 0,
            download: Download::new(),
            orphans: OrphanPool::new(),
            mempool_sync: MempoolSync::new(now),
            forwards: ForwardLimiter::new(now),
            equivocations: Equivocations::default(),
            untracked_answer_budget: TokenBucket::full(ANSWER_RATE, ANSWER_BURST, now),
            total_answer_budget: TokenBucket::full(ALL_ANSWERS_RATE, ALL_ANSWERS_BURST, now),
            outputs: Vec::new(),
            wake_at: None,
            emitted_status: None,
        }
    }

    /// Processes an input and returns the actions to perform, in order.
    pub fn handle(&mut self, input: Input<P>, now: Now) -> alloc::vec::IntoIter<Output<P>> {
        // A monotonic clock that goes back is broken. Treating it as standing still is the best that can be done.
        self.now = self.now.max(now.monotonic);
        self.wall = now.wall;
        self.confirm();
        self.watch_clocks();
        match input {
            Input::Record { ticket, bpm } => self.record(ticket, bpm),
            Input::Import { ticket, piece } => self.import(ticket, piece),
            Input::PeerConnected { peer } => self.on_peer_connected(peer),
            Input::PeerDisconnected { peer } => self.forget_peer(peer),
            Input::Gossip {
                from,
                id,
                topic,
                data,
            } => self.on_gossip(from, id, topic, &data),
            Input::Request { from, id, data } => self.on_request(from, id, &data),
            Input::Response { peer, id, data } => self.on_response(peer, id, &data),
            Input::RequestFailed { peer, id, failure } => self.on_request_failed(peer, id, failure),
            Input::Written { id } => self.on_written(id),
            Input::WriteFailed { id, full } => self.on_write_failed(id, full),
            Input::StoreReset => self.on_store_reset(),
            Input::Adopt { ticket, readings } => self.adopt(ticket, readings),
            Input::Read { id, bodies } => self.on_read(id, bodies),
            Input::ReadFailed { id } => self.on_read_failed(id),
            Input::BodiesMissing { hashes } => self.on_bodies_missing(&hashes),
            Input::Mined { job, nonce } => self.on_mined(job, nonce),
            Input::Resumed => self.on_resumed(),
            Input::Tick => {}
        }
        self.run_due_work();
        core::mem::take(&mut self.outputs).into_iter()
    }

    /// Runs everything that is due, then schedules the next wake-up.
    fn run_due_work(&mut self) {
        self.expire_requests();
        self.retry_orphans();
        self.update_journal();
        self.continue_recovery();
        self.retry_failed_writes();
        self.update_header_syncs();
        self.update_download();
        self.update_missing_bodies();
        self.update_mempool_sync();
        self.send_small_requests();
        self.update_mining();
        self.sample_tip();
        self.emit_status();
        self.schedule_wakeup();
    }

    fn emit_status(&mut self) {
        let status = self.status();
        if self.emitted_status != Some(status) {
            self.emitted_status = Some(status);
            self.outputs.push(Output::Emit(Event::Status));
        }
    }

    fn schedule_wakeup(&mut self) {
        let starting = self.started_at.saturating_add(STARTING);
        let next = [
            self.requests.values().map(|request| request.deadline).min(),
            self.orphans.next_due(),
            self.conflict_due(),
            self.recovery.next_due(self.now),
            self.clock_due(),
            self.confirmation.sample_due(self.tree.tip().index),
            self.header_turn_due(),
            self.unwritten.next_due(),
            self.download.next_due(self.now),
            self.missing_bodies
                .next_due(self.now)
                .filter(|_| !self.peers.is_empty()),
            self.mempool_sync.next_due(&self.peers),
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

    /// The wall clock, corrected by the peers' clocks.
    fn adjusted_now(&self) -> UnixMillis {
        clock::adjusted(self.wall, self.clock_offset())
    }

    /// The monotonic time at which a block with this timestamp is due, as far as can be known now.
    fn local_due(&self, at: UnixMillis) -> MonotonicMillis {
        self.now.saturating_add(at.since(self.latest_now()))
    }

    /// Returns a number that this machine has not used as an ID before.
    fn next_handle(&mut self) -> u64 {
        self.last_handle += 1;
        self.last_handle
    }

    fn read_bodies(&mut self, hashes: Vec<BlockHash>) -> ReadId {
        let id = ReadId(self.next_handle());
        self.outputs.push(Output::Read { id, hashes });
        id
    }

    /// Returns a random number below `bound`, or 0 if `bound` is 0.
    fn random_below(&mut self, bound: Millis) -> Millis {
        match bound {
            0 => 0,
            bound => self.rng.next_u64() % bound,
        }
    }

    fn on_read(&mut self, id: ReadId, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(pending) = self.pending_answers.remove(&id) {
            self.answer_bodies(&pending, bodies);
        } else if self.recovery.is_reading(id) {
            self.on_recovery_read(bodies);
        } else if self.missing_bodies.is_sweeping(id) {
            self.on_sweep_read(&bodies);
        }
    }

    fn on_read_failed(&mut self, id: ReadId) {
        if let Some(pending) = self.pending_answers.remove(&id) {
            self.outputs.push(Output::Refuse {
                id: pending.inbound,
            });
        } else if self.recovery.is_reading(id) {
            self.on_recovery_read_failed();
        } else if self.missing_bodies.is_sweeping(id) {
            self.on_sweep_failed();
        }
    }
}
