//! Gossiped readings and blocks, and the verdict on whether they are forwarded.
//!
//! *Reject* is only for items that prove a fault of the forwarder. Items that an honest peer may send are
//! *ignored* at worst. docs/protocols.md, "Verdicts", lists all cases.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    block::Block,
    hash::BlockHash,
    header::Header,
    key::Author,
    mempool::MempoolError,
    reading::Reading,
    time::MonotonicMillis,
    tree::{InsertError, MAX_SIDE_BLOCKS, SequenceError},
    validate::{HeaderError, Invalidates},
    work::Work,
};

use super::{
    context::Context,
    equivocations::Equivocations,
    follow_up::FollowUp,
    forward_limiter::ForwardLimiter,
    orphan_pool::{GossipedBlock, OrphanPool, WaitsFor},
};
use crate::{
    config::SIDE_BLOCKS_REACH,
    io::{DisconnectReason, Event, GossipId, Output, StoreOperation, Verdict},
    message::GossipError,
};

/// Gossip that waits for its verdict, and how much may be forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Gossip<P> {
    orphans: OrphanPool<P>,
    forwards: ForwardLimiter,
    equivocations: Equivocations,
}

impl<P: Copy + Ord + Debug> Gossip<P> {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            orphans: OrphanPool::new(),
            forwards: ForwardLimiter::new(now),
            equivocations: Equivocations::default(),
        }
    }

    /// How many blocks wait for a parent or for the clock.
    pub(crate) fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// When the next block is due, or the next verdict.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.orphans.next_deadline()
    }

    /// Every item gets exactly one verdict, also those of a peer that is gone.
    pub(super) fn on_peer_gone(&mut self, ctx: &mut Context<P>, peer: P) {
        for id in self.orphans.take_verdicts_of(&peer) {
            verdict(ctx, peer, Some(id), Verdict::Ignore);
        }
    }

    /// Takes the blocks that no longer have to wait.
    pub(super) fn take_ready(&mut self, ctx: &Context<P>) -> Vec<GossipedBlock<P>> {
        let is_known = |hash: &BlockHash| ctx.tree.block(hash).is_some();
        self.orphans.take_ready(is_known, ctx.now())
    }

    /// Gives verdicts that are due.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>) {
        for (from, id) in self.orphans.take_due_verdicts(ctx.now()) {
            verdict(ctx, from, Some(id), Verdict::Ignore);
        }
    }

    /// Which equivocations were reported.
    pub(super) const fn equivocations(&self) -> &Equivocations {
        &self.equivocations
    }

    /// Reports an author that signed two readings with the same sequence number, once.
    pub(super) fn on_equivocation(&mut self, ctx: &mut Context<P>, author: Author, seq: u64) {
        if self.equivocations.insert(author, seq) {
            ctx.emit(Event::Equivocation { author, seq });
        }
    }

    /// Processes a gossiped reading.
    pub(super) fn on_reading(
        &mut self,
        ctx: &mut Context<P>,
        from: P,
        id: GossipId,
        reading: &Reading,
    ) {
        let id = Some(id);
        if let Err(error) = reading.check_fields() {
            return reject(ctx, from, id, DisconnectReason::BadReading(error));
        }
        let (room, now) = (ctx.room(), ctx.now());
        let reading_id = reading.id(room);
        let next = ctx.tree.next_seq(&reading.author);
        // Signatures of readings that the mempool has no room for are not verified. Evidence of an equivocation
        // is worth it.
        let checked = ctx.mempool.check(reading, reading_id, next, now);
        if !self.equivocations.is_worth_verifying(reading, checked) {
            return verdict(ctx, from, id, Verdict::Ignore);
        }
        // To read it costs a tenth of verifying it, and the sender of one that cannot be read is not blamed either way.
        if !ctx.is_readable(reading) {
            return verdict(ctx, from, id, Verdict::Ignore);
        }
        if let Err(error) = reading.verify(room) {
            return reject(ctx, from, id, DisconnectReason::BadReading(error));
        }
        match ctx.mempool.insert(reading, reading_id, next, now) {
            Ok(()) => {
                let forward = self.forwards.take(&reading.author, next == 0, now);
                let given = if forward {
                    Verdict::Accept
                } else {
                    Verdict::Ignore
                };
                verdict(ctx, from, id, given);
                ctx.emit(Event::Reading(*reading));
            }
            Err(MempoolError::Equivocation { seq, .. }) => {
                let author = reading.author;
                ctx.follow_up(FollowUp::Equivocation { author, seq });
                verdict(ctx, from, id, Verdict::Ignore);
            }
            Err(_) => verdict(ctx, from, id, Verdict::Ignore),
        }
    }

    /// Processes bytes that are not an item of their topic, which proves a fault of the forwarder.
    pub(super) fn on_undecodable(ctx: &mut Context<P>, from: P, id: GossipId, error: &GossipError) {
        let what = match error {
            GossipError::Reading(_) => "a gossiped reading",
            GossipError::Block(_) => "a gossiped block",
            GossipError::Profile(_) => "a gossiped profile",
        };
        reject(ctx, from, Some(id), DisconnectReason::Undecodable(what));
    }

    /// Processes a gossiped block. `leaves_in_use` are leaves of branches that are still growing.
    pub(super) fn on_block(
        &mut self,
        ctx: &mut Context<P>,
        leaves_in_use: &[BlockHash],
        gossiped: GossipedBlock<P>,
    ) {
        let (from, id) = (gossiped.from, gossiped.id);
        let header = &gossiped.block.header;
        // A block without room is ignored. It is requested later, once there is room.
        let is_next = header.prev_hash == ctx.tree.tip().hash;
        if !is_next && ctx.tree.side_blocks() >= MAX_SIDE_BLOCKS {
            let removed = ctx.tree.evict_lightest(leaves_in_use);
            ctx.follow_up(FollowUp::Delete(removed));
        }
        let is_crowded = !is_next && ctx.tree.side_blocks() >= MAX_SIDE_BLOCKS;
        if is_crowded {
            // Its branch is requested instead, and goes through presync if it is long.
            ctx.follow_up(FollowUp::WantHeaders(from));
        }
        if is_crowded || is_far_behind(ctx, header) || ctx.writes.is_full() {
            return verdict(ctx, from, id, Verdict::Ignore);
        }
        let latest = ctx.clock.latest();
        let hash = match ctx.tree.insert_header(header, latest) {
            Ok(inserted) => inserted.hash,
            Err(InsertError::UnknownParent { parent }) => {
                return match check_unconnected(ctx, &gossiped.block) {
                    Ok(()) => self.hold_for_parent(ctx, gossiped, parent),
                    Err(error) => reject(ctx, from, id, DisconnectReason::BadHeader(error)),
                };
            }
            Err(InsertError::Header(error)) => {
                return match error.due() {
                    Some(due) => {
                        let due = ctx.clock.due(due);
                        self.add_orphan(ctx, gossiped, WaitsFor::Time(due));
                    }
                    None if error.invalidates() == Invalidates::Nothing => {
                        verdict(ctx, from, id, Verdict::Ignore)
                    }
                    None => reject(ctx, from, id, DisconnectReason::BadHeader(error)),
                };
            }
            Err(_) => return verdict(ctx, from, id, Verdict::Ignore),
        };
        match insert(ctx, &hash, &gossiped.block.readings) {
            Ok(given) => verdict(ctx, from, id, given),
            Err(reason) => reject(ctx, from, id, reason),
        }
    }

    fn hold_for_parent(
        &mut self,
        ctx: &mut Context<P>,
        gossiped: GossipedBlock<P>,
        parent: BlockHash,
    ) {
        if ctx.tree.is_invalid(&parent) {
            return verdict(ctx, gossiped.from, gossiped.id, Verdict::Ignore);
        }
        ctx.follow_up(FollowUp::WantHeaders(gossiped.from));
        self.add_orphan(ctx, gossiped, WaitsFor::Parent(parent));
    }

    fn add_orphan(
        &mut self,
        ctx: &mut Context<P>,
        gossiped: GossipedBlock<P>,
        waits_for: WaitsFor,
    ) {
        let (from, id) = (gossiped.from, gossiped.id);
        if !self.orphans.insert(gossiped, waits_for, ctx.now()) {
            verdict(ctx, from, id, Verdict::Ignore);
        }
    }
}

/// Inserts the readings of a block whose header is in the tree. Returns the verdict, or what proves a fault of the forwarder.
fn insert<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    hash: &BlockHash,
    readings: &[Reading],
) -> Result<Verdict, DisconnectReason> {
    if ctx.tree.block(hash).is_some_and(|info| info.has_body) {
        return Ok(Verdict::Ignore);
    }
    let inserted = ctx.insert_body(hash, readings.to_vec());
    let Some(operation) = inserted.map_err(DisconnectReason::BadBody)? else {
        return Ok(Verdict::Ignore);
    };
    if let Some(error) = advance_and_store(ctx, hash, operation) {
        return Err(DisconnectReason::BadSequence(error));
    }
    if ctx.tree.tip().hash == *hash {
        return Ok(Verdict::Accept);
    }
    if ctx.tree.block(hash).is_some_and(|info| info.has_body) {
        // The block lost to a rival. Its readings may still be new.
        for reading in readings {
            if ctx.is_readable(reading) {
                ctx.return_to_mempool(reading);
            }
        }
    }
    ctx.prune_if_over_limit();
    Ok(Verdict::Ignore)
}

/// Whether a block's branch has so much less work than ours that its body is not worth storing. Its
/// readings return through their authors' mempools.
fn is_far_behind<P>(ctx: &Context<P>, header: &Header) -> bool {
    let Some(parent) = ctx.tree.block(&header.prev_hash) else {
        return false;
    };
    let tip = ctx.tree.tip();
    let work = |header: Option<Header>| {
        let target = header.and_then(|header| header.bits.target().ok());
        target.map_or(Work::ZERO, |target| target.work())
    };
    let own = work(ctx.tree.header(&tip.hash));
    let reach = (0..SIDE_BLOCKS_REACH).fold(
        parent.total_work.saturating_add(work(Some(*header))),
        |reach, _| reach.saturating_add(own),
    );
    reach < tip.total_work
}

/// Switches to the best branch. Stores the block's new body if it is on that branch, or on a side branch in
/// which every reading has its author's next sequence number. Returns the error in the block, if there is one.
fn advance_and_store<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    hash: &BlockHash,
    operation: StoreOperation,
) -> Option<SequenceError> {
    match ctx.tree.check_sequence(hash) {
        Some(Err(error)) => {
            ctx.invalidate(hash);
            Some(error)
        }
        Some(Ok(())) => {
            ctx.write(alloc::vec![operation]);
            ctx.advance_with(&[*hash], true)
        }
        None => {
            // A body below it is missing, so its readings cannot be checked in sequence. If its branch
            // turns out to be better, all its bodies are requested.
            ctx.leave_body(hash);
            None
        }
    }
}

/// Checks a block with an unknown parent: it must at least meet the room's easiest target.
fn check_unconnected<P>(ctx: &Context<P>, block: &Block) -> Result<(), HeaderError> {
    let target = block.header.bits.target()?;
    let hash = block.header.hash();
    let floor = ctx.tree.room().floor();
    if target > floor || !target.is_met_by(&hash) {
        return Err(HeaderError::Work {
            expected: target.min(floor),
            found: hash,
        });
    }
    Ok(())
}

fn verdict<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    from: P,
    id: Option<GossipId>,
    verdict: Verdict,
) {
    if let Some(id) = id {
        ctx.output(Output::Verdict { id, from, verdict });
    }
}

/// Handles provably invalid items. The forwarder did not verify them, so it is banned.
fn reject<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    from: P,
    id: Option<GossipId>,
    reason: DisconnectReason,
) {
    verdict(ctx, from, id, Verdict::Reject);
    ctx.ban(from, reason);
}
