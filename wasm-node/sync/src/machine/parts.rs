//! All parts of the machine, and how what happens in one reaches the others.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, key::SecretKey, room::Room, tree::Switch};

use super::{
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
    profiles::Profiles,
    recorder::Recorder,
    reorg_recovery::ReorgRecovery,
    requests::{OpenRequest, RequestKind, decode_failure},
    status::StatusSync,
};
use crate::{
    config::Config,
    io::{DisconnectReason, Event, Now, Output, RequestFailure, RequestId},
    message::{MessageError, Response, StatusMessage},
};

/// The parts, and the context that they share. No part knows another one.
#[derive(Clone, Debug)]
pub(crate) struct Parts<P> {
    pub(crate) ctx: Context<P>,
    pub(crate) adopted: Adopted,
    pub(crate) answers: Answers<P>,
    pub(crate) bodies: Bodies<P>,
    pub(super) clock: ClockWatch<P>,
    pub(crate) confirmation: Confirmation,
    pub(crate) gossip: Gossip<P>,
    pub(crate) headers: Headers<P>,
    pub(super) importing: Importing,
    pub(super) mempool_sync: MempoolSync<P>,
    pub(super) mining: Mining,
    pub(crate) missing: MissingBodies<P>,
    pub(crate) profiles: Profiles<P>,
    pub(crate) recorder: Recorder,
    pub(crate) recovery: ReorgRecovery,
    pub(super) status: StatusSync<P>,
}

impl<P: Copy + Ord + Debug> Parts<P> {
    pub(super) fn new(
        config: Config,
        room: Room,
        key: SecretKey,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
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
            profiles: Profiles::new(start),
            recorder: Recorder::new(key),
            recovery: ReorgRecovery::default(),
            status: StatusSync::new(start),
        }
    }

    /// Passes on what parts left in the context, in the order in which it happened: what a later one needs is the work of an earlier
    /// one. For example, bodies are written before the tip that needs them, and a confirmed block is held back before the switch that
    /// would write another one. What follows from a follow-up comes right after
    /// it, before the next one, as if the part had called the others directly.
    pub(super) fn follow_up(&mut self) {
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
            FollowUp::Delete(hashes) => {
                self.recovery.delete_removed(ctx, hashes);
            }
            FollowUp::Prune => self.prune(),
            FollowUp::ConfirmedHeldBack(hash) => self.confirmation.hold_back(hash),
            FollowUp::Released => self.on_released(),
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
            FollowUp::ImportedProfiles(profiles) => {
                let own = self.recorder.author();
                self.profiles.on_imported(ctx, &own, profiles);
            }
        }
    }

    /// The best branch changed, and the mempool with it. In this order:
    ///
    /// 1. The journal takes over the heights of its readings, which the others may ask for.
    /// 2. One transaction records the tip and protects confirmed blocks that left.
    /// 3. These blocks are queued for recovery. Only now may side blocks be pruned, since recovery knows which must stay on disk.
    /// 4. Displaced readings return to the mempool. Those of blocks that left follow when they are read, ours when the journal is
    ///    polled.
    /// 5. Our branch up to the tips of peers is known to others, and can be confirmed.
    fn on_switch(&mut self, switch: &Switch, announce: bool) {
        let ctx = &mut self.ctx;
        self.recorder.on_switch(ctx, switch);
        self.missing.set_written_tip(None);
        let left = self.confirmation.on_switch(ctx, switch);
        self.recovery.queue(ctx, left.confirmed, true);
        self.recovery.queue(ctx, left.others, false);
        self.on_released();
        self.prune();
        let ctx = &mut self.ctx;
        ctx.return_displaced();
        for (_, status) in ctx.peers.statuses() {
            self.confirmation.mark_shared(&ctx.tree, &status.tip);
        }
        self.mining.on_switch();
        self.profiles.on_switch(ctx);
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

    /// Blocks that were held back are due. Confirmed ones whose branch is not the best one any more have left it.
    pub(super) fn on_released(&mut self) {
        let ctx = &mut self.ctx;
        if let Some(hash) = self.confirmation.on_released(&mut ctx.tree) {
            let left = ctx.tree.path_from_best(&hash).into_iter();
            let has_body = |hash: &_| ctx.tree.block(hash).is_some_and(|info| info.has_body);
            let left = left.filter(has_body).collect();
            self.recovery.protect(ctx, left);
        }
    }

    /// These bodies are no longer on disk. One after the other, because each may change the best branch, and what leaves it must be
    /// protected before more leaves.
    pub(super) fn on_bodies_missing(&mut self, hashes: &[BlockHash]) {
        let written_tip = self.missing.written_tip(&self.ctx);
        for hash in hashes {
            self.missing.on_missing(&mut self.ctx, written_tip, hash);
            self.follow_up();
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P) {
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
        self.profiles.on_peer_connected(peer);
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
        self.profiles.on_peer_gone(&peer);
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
        let is_new_author = ctx.on_binding(peer, status.binding);
        if is_new_author {
            ctx.emit(Event::Peers);
        }
        self.profiles.on_status(&peer, is_new_author);
    }

    pub(super) fn on_block(&mut self, block: GossipedBlock<P>) {
        let leaves_in_use = self.leaves_in_use();
        self.gossip.on_block(&mut self.ctx, &leaves_in_use, block);
    }

    pub(super) fn on_response(
        &mut self,
        peer: P,
        id: RequestId,
        response: Result<Response, MessageError>,
    ) {
        let ctx = &mut self.ctx;
        let Some(OpenRequest { kind, sent_at, .. }) = ctx.peers.close_request(&peer, id) else {
            return;
        };
        let response = match response {
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
            (RequestKind::Profiles { after }, Response::Profiles(profiles)) => {
                let own = self.recorder.author();
                let from = (peer, after);
                self.profiles.on_profiles(ctx, &own, from, profiles)
            }
            (kind, _) => {
                self.give_back(&kind);
                self.ctx.ban(peer, DisconnectReason::WrongAnswer);
            }
        }
    }

    pub(super) fn on_request_failed(&mut self, peer: P, id: RequestId, failure: RequestFailure) {
        let ctx = &mut self.ctx;
        let Some(request) = ctx.peers.close_request(&peer, id) else {
            return;
        };
        match request.kind {
            RequestKind::Headers => self.headers.on_failed(ctx, &peer),
            RequestKind::Bodies(hashes) => {
                let now = ctx.now();
                let were_lost = self.missing.on_answer(peer, &hashes, false, now);
                self.bodies
                    .on_failed(&peer, &hashes, failure, were_lost, now);
            }
            // These are sent again when their timers fire.
            RequestKind::Status
            | RequestKind::MempoolIds { .. }
            | RequestKind::Readings(_)
            | RequestKind::Profiles { .. } => {}
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
            | RequestKind::Readings(_)
            | RequestKind::Profiles { .. } => {}
        }
    }

    /// Whether readings in the confirmed part of the best branch are safe on disk.
    pub(super) fn may_finish(&self) -> bool {
        let writes = &self.ctx.writes;
        self.confirmation.may_advance() && !writes.has_bodies() && !writes.has_protection()
    }

    /// The leaves of branches that header syncs and imports are extending. They must not be pruned for having little work.
    fn leaves_in_use(&self) -> Vec<BlockHash> {
        self.headers.leaves().chain(self.importing.last()).collect()
    }

    /// Prunes side blocks that are too many or too deep.
    fn prune(&mut self) {
        let removed = self.ctx.tree.prune(&self.leaves_in_use());
        self.recovery.delete_removed(&mut self.ctx, removed);
        self.ctx.tree_changed();
    }

    /// Deletes side blocks from the disk. Returns whether there were any.
    pub(super) fn make_room(&mut self) -> bool {
        let removed = self.ctx.tree.prune_all(&self.leaves_in_use());
        self.ctx.tree_changed();
        self.recovery.delete_removed(&mut self.ctx, removed)
    }
}
