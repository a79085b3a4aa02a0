//! The state machine: its parts, and the router that passes inputs and follow-ups to them.
//!
//! A part owns its fields. It has `on_…` for what happened, `poll` for what became due, and `next_deadline` for when that is.
//! All parts share the [`Context`]; no part knows another. What one part wants of another is a [`FollowUp`], or a value that
//! the router passes in.
//!
//! - `context`: what is shared. `clock`, `peers` with `bans` and `requests`, `writes`, `lost_bodies`: values in it. `branch`: how
//!   the tree and the mempool change together
//! - `answers`: answers to peers' requests. `status`, `mempool_sync`: small requests to peers
//! - `headers`, with `header_sync` and `header_presync`; `bodies`, with `download`: catching up with a better branch.
//!   `suppliers`: which peers to ask
//! - `missing_bodies`, with `last_round` and `sweep`; `store_reset`: fetching bodies again that the disk lost
//! - `gossip`, with `orphan_pool` and `forward_limiter`; `equivocations`: readings and blocks from other peers
//! - `reorg_recovery`, `confirmation`: switching to a better branch without losing a reading
//! - `clock_jumps`: wall clocks that are set, and blocks ahead of the clock
//! - `recorder`, with `journal`, `journal_entry`, `own_heights` and `key_conflict`; `journal_signing`; `adopted_readings`:
//!   readings recorded on this computer
//! - `mining`, `importing`: mining, and file imports

mod adopted_readings;
mod answers;
mod bans;
mod bodies;
mod branch;
mod clock;
mod clock_jumps;
mod confirmation;
mod context;
mod download;
mod equivocations;
mod follow_up;
mod forward_limiter;
mod gossip;
mod header_presync;
mod header_sync;
mod headers;
mod importing;
mod journal;
mod journal_entry;
mod journal_signing;
mod key_conflict;
mod last_round;
mod lost_bodies;
mod mempool_sync;
mod mining;
mod missing_bodies;
mod orphan_pool;
mod own_heights;
mod peers;
mod recorder;
mod reorg_recovery;
mod requests;
mod status;
mod store_reset;
mod suppliers;
mod sweep;
mod token_bucket;
mod write_retry;
mod writes;

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    hash::BlockHash, key::SecretKey, reading::Reading, room::Room, time::MonotonicMillis,
    tree::Switch,
};

pub(crate) use self::journal_entry::entry_reading_id;
pub use self::journal_signing::sign_journal;
use self::{
    adopted_readings::Adopted,
    answers::Answers,
    bodies::{Bodies, BodiesAnswer},
    clock_jumps::ClockWatch,
    confirmation::Confirmation,
    context::Context,
    follow_up::FollowUp,
    gossip::Gossip,
    headers::Headers,
    importing::Importing,
    mempool_sync::MempoolSync,
    mining::Mining,
    missing_bodies::MissingBodies,
    orphan_pool::GossipedBlock,
    recorder::Recorder,
    reorg_recovery::ReorgRecovery,
    requests::{OpenRequest, RequestKind, decode_failure},
    status::StatusSync,
};
use crate::{
    config::{Config, MAX_UNAVAILABLE, STARTING},
    io::{
        DisconnectReason, Event, GossipId, Input, Now, Output, ReadId, RequestFailure, RequestId,
        Topic, WriteId,
    },
    message::{Response, StatusMessage},
    views::Status,
};

/// A Heartchain peer without IO (see the crate documentation).
///
/// A clone may be used to find out what this machine would do, but must never replace it: both would give their
/// requests the same IDs.
#[derive(Clone, Debug)]
pub struct Machine<P> {
    pub(crate) ctx: Context<P>,
    pub(crate) adopted: Adopted,
    pub(crate) answers: Answers<P>,
    pub(crate) bodies: Bodies<P>,
    clock: ClockWatch<P>,
    pub(crate) confirmation: Confirmation,
    pub(crate) gossip: Gossip<P>,
    pub(crate) headers: Headers<P>,
    importing: Importing,
    mempool_sync: MempoolSync<P>,
    mining: Mining,
    pub(crate) missing: MissingBodies<P>,
    pub(crate) recorder: Recorder,
    pub(crate) recovery: ReorgRecovery,
    status: StatusSync<P>,
    /// What the caller was told last.
    told: Told,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    wake_at: Option<MonotonicMillis>,
    status: Option<Status>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Creates a peer of `room` that signs with `key` and has no blocks yet. All its randomness comes from
    /// `seed`, which must be unpredictable to others.
    #[must_use]
    pub fn new(config: Config, room: Room, key: SecretKey, seed: [u8; 32], now: Now) -> Self {
        let start = now.monotonic;
        Self {
            ctx: Context::new(config, room, key.author(), seed, now),
            adopted: Adopted::default(),
            answers: Answers::new(start),
            bodies: Bodies::new(),
            clock: ClockWatch::new(now),
            confirmation: Confirmation::new(start),
            gossip: Gossip::new(start),
            headers: Headers::new(),
            importing: Importing::default(),
            mempool_sync: MempoolSync::new(start),
            mining: Mining::new(start),
            missing: MissingBodies::new(),
            recorder: Recorder::new(key),
            recovery: ReorgRecovery::default(),
            status: StatusSync::new(start),
            told: Told::default(),
        }
    }

    /// Processes an input and returns the actions to perform, in order.
    pub fn handle(&mut self, input: Input<P>, now: Now) -> alloc::vec::IntoIter<Output<P>> {
        self.ctx.clock.advance(now);
        self.confirm();
        self.clock.poll(&mut self.ctx);
        self.follow_up();
        let ctx = &mut self.ctx;
        match input {
            Input::Record { ticket, bpm } => self.recorder.record(ctx, ticket, bpm),
            Input::Import { ticket, piece } => self.importing.on_piece(ctx, ticket, piece),
            Input::Adopt { ticket, readings } => {
                let own = self.recorder.author();
                self.adopted.adopt(ctx, &own, ticket, readings)
            }
            Input::PeerConnected { peer } => self.on_peer_connected(peer),
            Input::PeerDisconnected { peer } => ctx.forget_peer(peer),
            Input::Gossip {
                from,
                id,
                topic,
                data,
            } => self.on_gossip(from, id, topic, &data),
            Input::Request { from, id, data } => self.answers.on_request(ctx, from, id, &data),
            Input::Response { peer, id, data } => self.on_response(peer, id, &data),
            Input::RequestFailed { peer, id, failure } => self.on_request_failed(peer, id, failure),
            Input::Written { id } => self.on_written(id),
            Input::WriteFailed { id, full } => self.on_write_failed(id, full),
            Input::StoreReset => self.on_store_reset(),
            Input::Read { id, bodies } => self.on_read(id, bodies),
            Input::ReadFailed { id } => self.on_read_failed(id),
            Input::BodiesMissing { hashes } => self.missing.on_missing(ctx, &hashes),
            Input::Mined { job, nonce } => self.mining.on_mined(ctx, job, nonce),
            Input::Resumed => {
                self.status.ask_all();
                self.mempool_sync.compare_with_all();
            }
            Input::Tick => {}
        }
        self.follow_up();
        self.poll();
        self.tell();
        self.ctx.take_outputs().into_iter()
    }

    /// Confirms what is due, before the input changes anything.
    fn confirm(&mut self) {
        let ctx = &mut self.ctx;
        let has_more = self.confirmation.poll(ctx);
        if has_more && self.may_finish() {
            let ctx = &mut self.ctx;
            let operations = self.adopted.take_final(ctx);
            self.confirmation.write_with(ctx, operations);
        }
        self.confirmation.write_if_due(&mut self.ctx);
    }

    /// Whether readings in the confirmed part of the best branch are safe on disk.
    fn may_finish(&self) -> bool {
        self.confirmation.may_advance() && !self.ctx.writes.has_bodies()
    }

    /// Runs what is due, in this order: first what frees request slots and changes the chain, then what sends requests (bodies before
    /// small requests, as newcomers wait for them), at last mining, which follows from everything else.
    fn poll(&mut self) {
        for (id, peer) in self.ctx.peers.expired_requests(self.ctx.now()) {
            self.on_request_failed(peer, id, RequestFailure::Timeout);
            self.follow_up();
        }
        for block in self.gossip.take_ready(&self.ctx) {
            self.on_block(block);
            self.follow_up();
        }
        self.gossip.poll(&mut self.ctx);
        self.poll_recorder();
        self.recovery.poll(&mut self.ctx);
        self.retry_writes();
        self.headers.poll(&mut self.ctx);
        self.poll_bodies();
        self.missing.poll(&mut self.ctx, self.bodies.suppliers());
        self.follow_up();
        self.status.poll(&mut self.ctx);
        self.mempool_sync.poll(&mut self.ctx);
        let catching_up = self.bodies.catching_up_until(&self.ctx);
        self.mining.poll(&mut self.ctx, catching_up);
        let is_fetching = self.bodies.is_fetching_longer(&self.ctx);
        self.confirmation.sample_tip(&self.ctx, is_fetching);
    }

    /// When the next part has something to do although nothing happens.
    fn next_deadline(&self) -> Option<MonotonicMillis> {
        let ctx = &self.ctx;
        let now = ctx.now();
        let starting = ctx.clock.after_start(STARTING);
        let deadlines = [
            ctx.peers.next_deadline(),
            ctx.writes.next_deadline(),
            self.bodies.next_deadline(now),
            self.clock.next_deadline(ctx),
            self.confirmation.next_deadline(ctx.tree.tip().index),
            self.gossip.next_deadline(),
            self.headers.next_deadline(now),
            self.mempool_sync.next_deadline(ctx),
            self.mining.next_deadline(),
            self.missing.next_deadline(ctx),
            self.recorder.next_deadline(self.bodies.is_fetching(ctx)),
            self.recovery.next_deadline(now),
            self.status.next_deadline(ctx),
            // The state changes from starting to alone.
            (ctx.peers.is_empty() && starting > now).then_some(starting),
        ];
        let next = deadlines.into_iter().flatten().min();
        next.map(|at| at.max(now.saturating_add(1)))
    }

    /// Tells the caller about a new status and the next wake-up.
    fn tell(&mut self) {
        let status = Some(self.status());
        if core::mem::replace(&mut self.told.status, status) != status {
            self.ctx.emit(Event::Status);
        }
        let wake_at = self.next_deadline();
        let before = core::mem::replace(&mut self.told.wake_at, wake_at);
        if let Some(at) = wake_at.filter(|at| before != Some(*at)) {
            self.ctx.output(Output::WakeAt(at));
        }
    }

    /// Passes on what parts left in the context, in the order in which it happened. What follows from a follow-up comes right after
    /// it, before the next one, as if the part had called the others directly.
    fn follow_up(&mut self) {
        for follow_up in self.ctx.take_follow_ups() {
            self.run(follow_up);
            self.follow_up();
        }
    }

    fn run(&mut self, follow_up: FollowUp<P>) {
        let ctx = &mut self.ctx;
        match follow_up {
            FollowUp::PeerGone { peer, requests } => self.on_peer_gone(peer, &requests),
            FollowUp::Status { peer, status } => self.on_status(peer, status),
            FollowUp::WantHeaders(peer) => self.headers.want(&peer),
            FollowUp::NewHeaders => self.bodies.on_headers(ctx.now()),
            FollowUp::BetterHeaders(peer) => self.bodies.suppliers().on_better_headers(&peer),
            FollowUp::StoreBodies(operations) => self.confirmation.write_bodies(ctx, operations),
            FollowUp::Advance => ctx.advance(),
            FollowUp::Switched { switch, announce } => self.on_switch(&switch, announce),
            FollowUp::Delete(hashes) => self.recovery.delete_unprotected(ctx, hashes),
            FollowUp::Prune => self.prune(),
            FollowUp::ConfirmedHeldBack(hash) => self.confirmation.hold_back(hash),
            FollowUp::Released => self.confirmation.on_released(&mut ctx.tree),
            FollowUp::ClockJumped { back } => {
                self.status.ask_all();
                if back {
                    self.mining.on_clock_set_back();
                }
            }
            FollowUp::Equivocation { author, seq } => self.gossip.on_equivocation(ctx, author, seq),
            FollowUp::RefillMempool => self.recorder.request_refill(),
            FollowUp::ImportEnded => {
                // Pruning would delete the imported blocks if they were not protected before.
                let beside = self.importing.end(ctx);
                self.recovery.protect(ctx, beside);
                self.prune();
            }
        }
    }

    /// The best branch changed, and the mempool with it. In this order:
    ///
    /// 1. The journal takes over the heights of its readings, which the others may ask for.
    /// 2. One transaction records the tip and protects confirmed blocks that left.
    /// 3. These blocks are queued for recovery. Only now may side blocks be pruned, since recovery knows which must stay on disk.
    /// 4. Readings return to the mempool, those of the journal when it is polled.
    /// 5. Our branch up to the tips of peers is known to others, and can be confirmed.
    fn on_switch(&mut self, switch: &Switch, announce: bool) {
        let ctx = &mut self.ctx;
        self.recorder.on_switch(ctx, switch);
        self.missing.set_written_tip(None);
        let left = self.confirmation.on_switch(ctx, switch);
        self.recovery.queue(ctx, left.confirmed, true);
        self.recovery.queue(ctx, left.others, false);
        self.prune();
        let ctx = &mut self.ctx;
        ctx.return_displaced();
        for (_, status) in ctx.peers.statuses() {
            self.confirmation.mark_shared(&ctx.tree, &status.tip);
        }
        self.mining.on_switch();
        ctx.tree_changed();
        if announce {
            self.status.announce();
        }
        let to = ctx.tree.tip().index;
        ctx.emit(Event::Chain {
            // If no block joined, the page shows the new tip.
            from: (switch.fork_index + 1).min(to),
            to,
            reorg: !switch.disconnected.is_empty(),
        });
    }

    fn on_peer_connected(&mut self, peer: P) {
        let ctx = &mut self.ctx;
        let now = ctx.now();
        if let Some(until) = ctx.peers.banned_until(&peer, now) {
            return ctx.output(Output::Disconnect {
                peer,
                reason: DisconnectReason::Banned,
                until: Some(until),
            });
        }
        if !ctx.peers.connect(peer, now) {
            return;
        }
        self.answers.on_peer_connected(peer, now);
        self.bodies.on_peer_connected(peer);
        self.headers.on_peer_connected(peer, now);
        self.mempool_sync.on_peer_connected(peer);
        self.missing.peers_changed();
        self.status.on_peer_connected(peer, now);
        ctx.emit(Event::Peers);
    }

    /// Every part forgets a peer that is gone, and what it was asked for is asked of others.
    fn on_peer_gone(&mut self, peer: P, requests: &[RequestKind]) {
        for kind in requests {
            self.give_back(kind);
        }
        let ctx = &mut self.ctx;
        self.answers.on_peer_gone(&peer);
        self.bodies.on_peer_gone(&peer);
        self.clock.on_peer_gone(ctx, &peer);
        self.gossip.on_peer_gone(ctx, peer);
        self.headers.on_peer_gone(ctx, &peer);
        self.mempool_sync.on_peer_gone(&peer);
        self.missing.on_peer_gone(&peer);
        self.status.on_peer_gone(&peer);
        ctx.emit(Event::Peers);
    }

    /// Processes a peer's Status, which comes in a request or in an answer.
    fn on_status(&mut self, peer: P, status: StatusMessage) {
        let ctx = &mut self.ctx;
        if !ctx.peers.contains(&peer) {
            return;
        }
        self.status.on_status(&peer, ctx.now());
        if ctx.peers.set_status(&peer, status) {
            self.bodies.on_new_tip(&peer, ctx.now());
            self.missing.peers_changed();
            ctx.emit(Event::Peers);
        }
        self.confirmation.mark_shared(&ctx.tree, &status.tip);
    }

    fn on_gossip(&mut self, from: P, id: GossipId, topic: Topic, data: &[u8]) {
        let ctx = &mut self.ctx;
        match topic {
            Topic::Readings => self.gossip.on_reading(ctx, from, id, data),
            Topic::Blocks => {
                if let Some(block) = Gossip::decode_block(ctx, from, id, data) {
                    self.on_block(block);
                }
            }
        }
    }

    fn on_block(&mut self, block: GossipedBlock<P>) {
        let leaves_in_use = self.leaves_in_use();
        self.gossip.on_block(&mut self.ctx, &leaves_in_use, block);
    }

    fn on_response(&mut self, peer: P, id: RequestId, data: &[u8]) {
        let ctx = &mut self.ctx;
        let Some(OpenRequest { kind, sent_at, .. }) = ctx.peers.close_request(&peer, id) else {
            return;
        };
        let response = match Response::decode(data) {
            Ok(response) => response,
            Err(error) => {
                self.give_back(&kind);
                return self.ctx.ban(peer, decode_failure(&error));
            }
        };
        match (kind, response) {
            (RequestKind::Status, Response::Status(status)) => {
                self.clock.on_peer_clock(ctx, peer, status.now, sent_at);
                self.on_status(peer, status);
            }
            (RequestKind::Headers, Response::Headers(headers)) => {
                self.headers.on_headers(ctx, peer, &headers)
            }
            (RequestKind::Bodies(hashes), Response::Bodies(bodies)) => {
                let served = bodies.first().is_some_and(Option::is_some);
                let were_lost = self.missing.on_answer(peer, &hashes, served, ctx.now());
                let answer = BodiesAnswer {
                    peer,
                    hashes,
                    bodies,
                    were_lost,
                };
                self.bodies.on_answer(ctx, answer);
            }
            (RequestKind::MempoolIds { after }, Response::MempoolIds(rows)) => {
                self.mempool_sync.on_mempool_ids(ctx, peer, after, &rows)
            }
            (RequestKind::Readings(ids), Response::Readings(readings)) => {
                let equivocations = self.gossip.equivocations();
                MempoolSync::on_readings(ctx, equivocations, peer, &ids, &readings)
            }
            (kind, _) => {
                self.give_back(&kind);
                self.ctx.ban(peer, DisconnectReason::WrongAnswer);
            }
        }
    }

    fn on_request_failed(&mut self, peer: P, id: RequestId, failure: RequestFailure) {
        let ctx = &mut self.ctx;
        let Some(request) = ctx.peers.close_request(&peer, id) else {
            return;
        };
        match request.kind {
            RequestKind::Headers => self.headers.on_failed(ctx, &peer),
            RequestKind::Bodies(hashes) => {
                self.missing.on_answer(peer, &hashes, false, ctx.now());
                self.bodies.on_failed(&peer, &hashes);
            }
            // These are sent again when their timers fire.
            RequestKind::Status | RequestKind::MempoolIds { .. } | RequestKind::Readings(_) => {}
        }
        match failure {
            RequestFailure::Timeout | RequestFailure::Closed => {}
            RequestFailure::Unsupported => ctx.drop_peer(peer, DisconnectReason::OtherRoom),
            RequestFailure::Oversize => ctx.ban(peer, DisconnectReason::Oversize),
        }
    }

    /// A request was not answered, through no fault of its own. What it asked for is asked of others.
    fn give_back(&mut self, kind: &RequestKind) {
        match kind {
            RequestKind::Bodies(hashes) => {
                self.missing.give_back(hashes);
                self.bodies.give_back(hashes);
            }
            // These are sent again when their timers fire.
            RequestKind::Status
            | RequestKind::Headers
            | RequestKind::MempoolIds { .. }
            | RequestKind::Readings(_) => {}
        }
    }

    fn on_written(&mut self, id: WriteId) {
        let ctx = &mut self.ctx;
        if ctx.writes.on_written(id) {
            self.importing.on_written(ctx, id, true);
        } else if !self.recorder.on_written(ctx, id) {
            self.adopted.on_written(ctx, id, true);
        }
    }

    /// If the disk is `full`, unprotected side blocks are deleted to make room for our own readings and for confirmed blocks.
    fn on_write_failed(&mut self, id: WriteId, full: bool) {
        let made_room = full && self.make_room();
        let ctx = &mut self.ctx;
        if let Some(failed) = ctx.writes.on_failed(id, ctx.clock.now()) {
            if failed.had_confirmed {
                self.confirmation.on_write_failed();
            }
            self.importing.on_written(ctx, id, false);
        } else if !self.recorder.on_write_failed(ctx, id, made_room) {
            self.adopted.on_written(ctx, id, false);
        }
    }

    fn on_store_reset(&mut self) {
        let ctx = &mut self.ctx;
        store_reset::rewrite_store(ctx, self.recorder.journal(), &mut self.adopted);
        self.confirmation.write(ctx);
        self.missing.start_sweep(ctx);
    }

    fn on_read(&mut self, id: ReadId, bodies: Vec<Option<Vec<Reading>>>) {
        let ctx = &mut self.ctx;
        if self.answers.is_reading(id) {
            self.answers.on_read(ctx, id, bodies);
        } else if self.recovery.is_reading(id) {
            let lost = self.recovery.lost(ctx, &bodies);
            self.missing.on_missing(ctx, &lost);
            self.follow_up();
            let may_finish = self.may_finish();
            let ctx = &mut self.ctx;
            let operations = self.recovery.on_read(ctx, bodies, may_finish);
            self.confirmation.write_with(ctx, operations);
        } else if self.missing.is_reading(id) {
            self.missing.on_read(ctx, &bodies);
        }
    }

    fn on_read_failed(&mut self, id: ReadId) {
        let ctx = &mut self.ctx;
        if self.answers.is_reading(id) {
            self.answers.on_read_failed(ctx, id);
        } else if self.recovery.is_reading(id) {
            self.recovery.on_read_failed(ctx.now());
        } else if self.missing.is_reading(id) {
            self.missing.on_read_failed();
        }
    }

    /// Readings of retired keys come first: the chain may wait for them before it takes later ones.
    fn poll_recorder(&mut self) {
        let is_fetching = self.bodies.is_fetching(&self.ctx);
        let ctx = &mut self.ctx;
        self.recorder.poll(ctx, is_fetching);
        if self.recorder.take_refill() {
            self.recorder.refill_retired(ctx);
            self.adopted.refill(ctx);
            self.recorder.refill_current(ctx);
        }
    }

    /// If no peer has the bodies of a branch, the next best one is fetched.
    fn poll_bodies(&mut self) {
        for _ in 0..=MAX_UNAVAILABLE {
            let redownload = self.headers.redownload_leaf();
            let Some(leaf) = self.bodies.poll(&mut self.ctx, redownload) else {
                return;
            };
            self.headers.forget_branch(&mut self.ctx, &leaf);
        }
    }

    fn retry_writes(&mut self) {
        let Some(operations) = self.ctx.writes.take_retry(self.ctx.now()) else {
            return;
        };
        write_retry::retry(&mut self.ctx, operations, &self.recovery, &self.adopted);
    }

    /// The leaves of branches that header syncs and imports are extending. They must not be pruned for having little work.
    fn leaves_in_use(&self) -> Vec<BlockHash> {
        self.headers.leaves().chain(self.importing.last()).collect()
    }

    /// Prunes side blocks that are too many or too deep.
    fn prune(&mut self) {
        let removed = self.ctx.tree.prune(&self.leaves_in_use());
        self.recovery.delete_unprotected(&mut self.ctx, removed);
        self.ctx.tree_changed();
    }

    /// Deletes side blocks. Returns whether there were any.
    fn make_room(&mut self) -> bool {
        let removed = self.ctx.tree.prune_all(&self.leaves_in_use());
        let any = !removed.is_empty();
        self.recovery.delete_unprotected(&mut self.ctx, removed);
        self.ctx.tree_changed();
        any
    }
}
