//! The state machine: which input goes to which part, and in which order the parts do what is due.
//!
//! A part owns its fields. It has `on_…` for what happened, `poll` for what became due, and `next_deadline` for when that is.
//! All parts share the context, and no part knows another. What one part wants of another is a follow-up, which `parts` passes
//! on, or a value that is passed in.
//!
//! - `parts`: the list of the parts. `follow_up`: what happens in one part and concerns others
//! - `context`: what is shared. `clock`, `peers` with `bans` and `requests`, `writes`, `lost_bodies`: values in it. `branch`: how
//!   the tree and the mempool change together
//! - `bindings`, with `identity`: which author each peer acts for
//! - `answers`: answers to peers' requests. `status`, `mempool_sync`: small requests to peers
//! - `headers`, with `header_sync` and `header_presync`; `bodies`, with `download`: catching up with a better branch.
//!   `suppliers`: which peers to ask
//! - `missing_bodies`, with `last_round` and `sweep`; `store_reset`: fetching bodies again that the disk lost
//! - `gossip`, with `orphan_pool` and `forward_limiter`; `equivocations`: readings and blocks from other peers
//! - `reorg_recovery`, `confirmation`: switching to a better branch without losing a reading
//! - `clock_jumps`: wall clocks that are set, and blocks ahead of the clock
//! - `recorder`, with `journal`, `journal_entry`, `own_heights` and `key_conflict`; `journal_signing`; `adopted_readings`:
//!   readings recorded on this computer
//! - `profiles`, with `profile_table`, `profile_ranks` and `own_name`: the names of authors
//! - `mining`, `importing`: mining, and file imports

mod adopted_readings;
mod answers;
mod bans;
mod bindings;
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
mod identity;
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
mod own_name;
mod parts;
mod peers;
mod profile_ranks;
mod profile_table;
mod profiles;
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

use heartchain_chain::{key::SecretKey, reading::Reading, room::Room, time::MonotonicMillis};

pub use self::journal_signing::sign_journal;
use self::{gossip::Gossip, orphan_pool::GossipedBlock};
pub(crate) use self::{journal_entry::entry_reading_id, parts::Parts};
use crate::{
    config::{Config, MAX_UNAVAILABLE, STARTING},
    io::{DisconnectReason, Event, GossipId, Input, Now, Output, ReadId, RequestFailure, WriteId},
    message::{GossipError, GossipItem},
    verification::VerifiedBodies,
    views::Status,
};

/// A Heartchain peer without IO (see the crate documentation).
///
/// A clone may be used to find out what this machine would do, but must never replace it: both would give their
/// requests the same IDs.
#[derive(Clone, Debug)]
pub struct Machine<P> {
    pub(crate) parts: Parts<P>,
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
        Self {
            parts: Parts::new(config, room, key, seed, now),
            told: Told::default(),
        }
    }

    /// Gives this peer its ID, so that it can prove which author it acts for. `to_bytes` writes an ID as others write it.
    pub fn identify(&mut self, own: P, to_bytes: fn(&P) -> Vec<u8>) {
        let Parts { ctx, recorder, .. } = &mut self.parts;
        ctx.identify(own, to_bytes, recorder.journal().key());
    }

    /// Processes an input as [`Self::handle`] does, but does not verify the signatures of these bodies again.
    pub fn handle_verified(
        &mut self,
        input: Input<P>,
        verified: VerifiedBodies,
        now: Now,
    ) -> alloc::vec::IntoIter<Output<P>> {
        self.parts.ctx.verified = Some(verified);
        let outputs = self.handle(input, now);
        self.parts.ctx.verified = None;
        outputs
    }

    /// Processes an input and returns the actions to perform, in order.
    pub fn handle(&mut self, input: Input<P>, now: Now) -> alloc::vec::IntoIter<Output<P>> {
        self.parts.ctx.clock.advance(now);
        self.confirm();
        self.parts.clock.poll(&mut self.parts.ctx);
        self.parts.follow_up();
        let ctx = &mut self.parts.ctx;
        match input {
            Input::Record { ticket, bpm } => self.parts.recorder.record(ctx, ticket, bpm),
            Input::SetName { ticket, name } => self.parts.profiles.set_name(ctx, ticket, name),
            Input::Import { ticket, piece } => self.parts.importing.on_piece(ctx, ticket, piece),
            Input::Adopt { ticket, readings } => {
                let own = self.parts.recorder.author();
                self.parts.adopted.adopt(ctx, &own, ticket, readings)
            }
            Input::PeerConnected { peer } => self.parts.on_peer_connected(peer),
            Input::PeerDisconnected { peer } => ctx.forget_peer(peer),
            Input::PeerFlooded { peer } => ctx.ban(peer, DisconnectReason::Flood),
            Input::Gossip { from, id, item } => self.on_gossip(from, id, item),
            Input::Request { from, id, request } => {
                let profiles = self.parts.profiles.table();
                self.parts
                    .answers
                    .on_request(ctx, profiles, (from, id), request)
            }
            Input::Response { peer, id, response } => self.parts.on_response(peer, id, response),
            Input::RequestFailed { peer, id, failure } => {
                self.parts.on_request_failed(peer, id, failure)
            }
            Input::Written { id } => self.on_written(id),
            Input::WriteFailed { id, full } => self.on_write_failed(id, full),
            Input::StoreReset => self.on_store_reset(),
            Input::Read { id, bodies } => self.on_read(id, bodies),
            Input::ReadFailed { id } => self.on_read_failed(id),
            Input::BodiesMissing { hashes } => self.parts.on_bodies_missing(&hashes),
            Input::Mined { job, nonce } => self.parts.mining.on_mined(ctx, job, nonce),
            Input::Resumed => {
                self.parts.status.ask_all();
                self.parts.mempool_sync.compare_with_all();
                self.parts.profiles.compare_soon();
            }
            Input::Tick => {}
        }
        self.parts.follow_up();
        self.poll();
        debug_assert!(
            self.parts.ctx.follow_ups().is_empty(),
            "the next input finds nothing half-done"
        );
        self.tell();
        self.parts.ctx.take_outputs().into_iter()
    }

    /// Confirms what is due, before the input changes anything.
    fn confirm(&mut self) {
        self.parts.on_released();
        let ctx = &mut self.parts.ctx;
        let has_more = self.parts.confirmation.poll(ctx);
        if has_more && self.parts.may_finish() {
            let ctx = &mut self.parts.ctx;
            let operations = self.parts.adopted.take_final(ctx);
            self.parts.confirmation.write_with(ctx, operations);
        }
        self.parts.confirmation.write_if_due(&mut self.parts.ctx);
    }

    /// Runs what is due, in this order: first what frees request slots and changes the chain, then what sends requests (bodies before
    /// small requests, as newcomers wait for them), at last mining, which follows from everything else.
    fn poll(&mut self) {
        for (id, peer) in self.parts.ctx.peers.expired_requests(self.parts.ctx.now()) {
            self.parts
                .on_request_failed(peer, id, RequestFailure::Timeout);
            self.parts.follow_up();
        }
        for block in self.parts.gossip.take_ready(&self.parts.ctx) {
            self.parts.on_block(block);
            self.parts.follow_up();
        }
        self.parts.gossip.poll(&mut self.parts.ctx);
        self.poll_recorder();
        self.parts.recovery.poll(&mut self.parts.ctx);
        self.retry_writes();
        self.parts.headers.poll(&mut self.parts.ctx);
        self.poll_bodies();
        self.parts
            .missing
            .poll(&mut self.parts.ctx, self.parts.bodies.suppliers());
        self.parts.ctx.drop_strangers();
        self.parts.follow_up();
        self.parts.status.poll(&mut self.parts.ctx);
        self.parts.mempool_sync.poll(&mut self.parts.ctx);
        let journal = self.parts.recorder.journal();
        self.parts.profiles.poll(&mut self.parts.ctx, journal);
        let catching_up = self.parts.bodies.catching_up_until(&self.parts.ctx);
        self.parts.mining.poll(&mut self.parts.ctx, catching_up);
        let is_fetching = self.parts.bodies.is_fetching_longer(&self.parts.ctx);
        self.parts
            .confirmation
            .sample_tip(&self.parts.ctx, is_fetching);
    }

    /// When the next part has something to do although nothing happens.
    fn next_deadline(&self) -> Option<MonotonicMillis> {
        let ctx = &self.parts.ctx;
        let now = ctx.now();
        let starting = ctx.clock.after_start(STARTING);
        let deadlines = [
            ctx.peers.next_deadline(),
            ctx.writes.next_deadline(),
            self.parts.bodies.next_deadline(now),
            self.parts.clock.next_deadline(ctx),
            self.parts.confirmation.next_deadline(ctx.tree.tip().index),
            self.parts.gossip.next_deadline(),
            self.parts.headers.next_deadline(now),
            self.parts.mempool_sync.next_deadline(ctx),
            self.parts.mining.next_deadline(),
            self.parts.missing.next_deadline(ctx),
            self.parts.profiles.next_deadline(ctx),
            self.parts
                .recorder
                .next_deadline(self.parts.bodies.is_fetching(ctx)),
            self.parts.recovery.next_deadline(now),
            self.parts.status.next_deadline(ctx),
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
            self.parts.ctx.emit(Event::Status);
        }
        let wake_at = self.next_deadline();
        let before = core::mem::replace(&mut self.told.wake_at, wake_at);
        if let Some(at) = wake_at.filter(|at| before != Some(*at)) {
            self.parts.ctx.output(Output::WakeAt(at));
        }
    }

    fn on_gossip(&mut self, from: P, id: GossipId, item: Result<GossipItem, GossipError>) {
        let ctx = &mut self.parts.ctx;
        match item {
            Ok(GossipItem::Reading(reading)) => {
                self.parts.gossip.on_reading(ctx, from, id, &reading)
            }
            Ok(GossipItem::Block(block)) => {
                self.parts.on_block(GossipedBlock::new(from, id, *block))
            }
            Ok(GossipItem::Profile(profile)) => {
                let own = self.parts.recorder.author();
                self.parts
                    .profiles
                    .on_gossip(ctx, &own, (from, id), profile)
            }
            Err(error) => Gossip::on_undecodable(ctx, from, id, &error),
        }
    }

    fn on_written(&mut self, id: WriteId) {
        let ctx = &mut self.parts.ctx;
        if let Some(written) = ctx.writes.on_written(id) {
            if written.had_confirmed {
                self.parts.confirmation.on_written();
            }
            self.parts.importing.on_written(ctx, id, true);
        } else if !self.parts.profiles.on_written(ctx, id, true)
            && !self.parts.recorder.on_written(ctx, id)
        {
            self.parts.adopted.on_written(ctx, id, true);
        }
    }

    /// If the disk is `full`, unprotected side blocks are deleted to make room for our own readings and for confirmed blocks.
    fn on_write_failed(&mut self, id: WriteId, full: bool) {
        let made_room = full && self.parts.make_room();
        let ctx = &mut self.parts.ctx;
        if let Some(failed) = ctx.writes.on_failed(id, ctx.clock.now()) {
            if failed.had_confirmed {
                self.parts.confirmation.on_write_failed();
            }
            self.parts.importing.on_written(ctx, id, false);
        } else if !self.parts.profiles.on_written(ctx, id, false)
            && !self.parts.recorder.on_write_failed(ctx, id, made_room)
        {
            self.parts.adopted.on_written(ctx, id, false);
        }
    }

    fn on_store_reset(&mut self) {
        let ctx = &mut self.parts.ctx;
        let journal = self.parts.recorder.journal();
        let protected = self.parts.recovery.protected();
        store_reset::rewrite_store(ctx, journal, &mut self.parts.adopted, protected);
        self.parts.confirmation.on_store_reset(ctx);
        self.parts.profiles.on_store_reset();
        self.parts.missing.start_sweep(ctx);
    }

    fn on_read(&mut self, id: ReadId, bodies: Vec<Option<Vec<Reading>>>) {
        let ctx = &mut self.parts.ctx;
        if self.parts.answers.is_reading(id) {
            self.parts.answers.on_read(ctx, id, bodies);
        } else if self.parts.recovery.is_reading(id) {
            let lost = self.parts.recovery.lost(ctx, &bodies);
            self.parts.on_bodies_missing(&lost);
            let may_finish = self.parts.may_finish();
            let ctx = &mut self.parts.ctx;
            let operations = self.parts.recovery.on_read(ctx, bodies, may_finish);
            self.parts.confirmation.write_with(ctx, operations);
        } else if self.parts.missing.is_reading(id) {
            self.parts.missing.on_read(ctx, &bodies);
        }
    }

    fn on_read_failed(&mut self, id: ReadId) {
        let ctx = &mut self.parts.ctx;
        if self.parts.answers.is_reading(id) {
            self.parts.answers.on_read_failed(ctx, id);
        } else if self.parts.recovery.is_reading(id) {
            self.parts.recovery.on_read_failed(ctx.now());
        } else if self.parts.missing.is_reading(id) {
            self.parts.missing.on_read_failed();
        }
    }

    /// Readings of retired keys come first: the chain may wait for them before it takes later ones.
    fn poll_recorder(&mut self) {
        let is_fetching = self.parts.bodies.is_fetching(&self.parts.ctx);
        let ctx = &mut self.parts.ctx;
        self.parts.recorder.poll(ctx, is_fetching);
        if self.parts.recorder.take_refill() {
            self.parts.recorder.refill_retired(ctx);
            self.parts.adopted.refill(ctx);
            self.parts.recorder.refill_current(ctx);
        }
    }

    /// If no peer has the bodies of a branch, the next best one is fetched.
    fn poll_bodies(&mut self) {
        for _ in 0..=MAX_UNAVAILABLE {
            let redownload = self.parts.headers.redownload_leaf();
            let Some(leaf) = self.parts.bodies.poll(&mut self.parts.ctx, redownload) else {
                return;
            };
            self.parts.headers.forget_branch(&mut self.parts.ctx, &leaf);
        }
    }

    fn retry_writes(&mut self) {
        let ctx = &mut self.parts.ctx;
        if !ctx.writes.is_retry_due(ctx.clock.now()) {
            return;
        }
        // Failed changes may be bodies or the protection of blocks, on which it depends what may be recorded.
        let confirmed = self.parts.confirmation.put_confirmed(ctx);
        let failed = ctx.writes.take_failed();
        write_retry::retry(
            ctx,
            failed,
            confirmed.as_ref(),
            &self.parts.recovery,
            &self.parts.adopted,
        );
    }
}
