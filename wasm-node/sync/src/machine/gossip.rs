//! Gossiped readings and blocks, and the verdict on whether they are forwarded.
//!
//! *Reject* is only for items that prove a fault of the forwarder. Items that an honest peer may send are
//! *ignored* at worst.

use core::fmt::Debug;

use heartchain_chain::{
    block::Block,
    hash::BlockHash,
    header::Header,
    mempool::MempoolError,
    reading::Reading,
    tree::{InsertError, MAX_SIDE_BLOCKS, SequenceError},
    validate::{HeaderError, Invalidates},
    work::Work,
};

use super::{Machine, orphan_pool::WaitsFor};
use crate::{
    config::SIDE_BLOCKS_REACH,
    io::{DisconnectReason, Event, GossipId, Output, StoreOperation, Topic, Verdict},
};

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn on_gossip(&mut self, from: P, id: GossipId, topic: Topic, data: &[u8]) {
        match topic {
            Topic::Readings => match Reading::decode(data) {
                Ok(reading) => self.process_reading(from, id, &reading),
                Err(_) => self.reject(
                    from,
                    Some(id),
                    DisconnectReason::Undecodable("a gossiped reading"),
                ),
            },
            Topic::Blocks => match Block::decode(data) {
                Ok(block) => self.process_block(from, Some(id), block),
                Err(_) => self.reject(
                    from,
                    Some(id),
                    DisconnectReason::Undecodable("a gossiped block"),
                ),
            },
        }
    }

    fn process_reading(&mut self, from: P, id: GossipId, reading: &Reading) {
        if let Err(error) = reading.check_fields() {
            return self.reject(from, Some(id), DisconnectReason::BadReading(error));
        }
        let room = self.tree.room().id();
        let reading_id = reading.id(room);
        let next = self.tree.next_seq(&reading.author);
        // Signatures of readings that the mempool has no room for are not verified. Evidence of an equivocation
        // is worth it.
        let checked = self.mempool.check(reading, reading_id, next, self.now);
        if !self.is_worth_verifying(reading, checked) {
            return self.verdict(from, Some(id), Verdict::Ignore);
        }
        if let Err(error) = reading.verify(room) {
            return self.reject(from, Some(id), DisconnectReason::BadReading(error));
        }
        match self.mempool.insert(reading, reading_id, next, self.now) {
            Ok(()) => {
                let forward = self.forwards.take(&reading.author, next == 0, self.now);
                self.verdict(
                    from,
                    Some(id),
                    if forward {
                        Verdict::Accept
                    } else {
                        Verdict::Ignore
                    },
                );
                self.outputs.push(Output::Emit(Event::Reading(*reading)));
            }
            Err(MempoolError::Equivocation { seq, .. }) => {
                self.emit_equivocation(reading.author, seq);
                self.verdict(from, Some(id), Verdict::Ignore);
            }
            Err(_) => self.verdict(from, Some(id), Verdict::Ignore),
        }
    }

    /// Whether the mempool would accept a reading, or the reading would prove an equivocation that was not
    /// reported yet.
    pub(super) fn is_worth_verifying(
        &self,
        reading: &Reading,
        checked: Result<(), MempoolError>,
    ) -> bool {
        match checked {
            Ok(()) => true,
            Err(MempoolError::Equivocation { seq, .. }) => {
                !self.equivocations.is_reported(&reading.author, seq)
            }
            Err(_) => false,
        }
    }

    /// Processes a gossiped block. `id` is `None` if its verdict was given before it could be checked.
    pub(super) fn process_block(&mut self, from: P, id: Option<GossipId>, block: Block) {
        // A block without room is ignored. It is requested later, once there is room.
        let is_next = block.header.prev_hash == self.tree.tip().hash;
        if !is_next && self.tree.side_blocks() >= MAX_SIDE_BLOCKS {
            let leaves_in_use = self.leaves_in_use();
            let removed = self.tree.evict_lightest(&leaves_in_use);
            self.delete_blocks(removed);
        }
        let is_crowded = !is_next && self.tree.side_blocks() >= MAX_SIDE_BLOCKS;
        if let (true, Some(state)) = (is_crowded, self.peers.get_mut(&from)) {
            // Its branch is requested instead, and goes through presync if it is long.
            state.wants_headers = true;
        }
        if is_crowded || self.is_far_behind(&block.header) || self.unwritten.is_full() {
            return self.verdict(from, id, Verdict::Ignore);
        }
        let now = self.latest_now();
        let hash = match self.tree.insert_header(&block.header, now) {
            Ok(inserted) => inserted.hash,
            Err(InsertError::UnknownParent { parent }) => {
                return match self.check_unconnected(&block) {
                    Ok(()) => self.hold_for_parent(from, id, block, parent),
                    Err(error) => self.reject(from, id, DisconnectReason::BadHeader(error)),
                };
            }
            Err(InsertError::Header(error)) => {
                return match error.due() {
                    Some(due) => {
                        let due = self.local_due(due);
                        self.add_orphan(from, id, block, WaitsFor::Time(due));
                    }
                    None if error.invalidates() == Invalidates::Nothing => {
                        self.verdict(from, id, Verdict::Ignore)
                    }
                    None => self.reject(from, id, DisconnectReason::BadHeader(error)),
                };
            }
            Err(_) => return self.verdict(from, id, Verdict::Ignore),
        };
        if self.tree.block(&hash).is_some_and(|info| info.has_body) {
            return self.verdict(from, id, Verdict::Ignore);
        }
        let readings = block.readings.clone();
        let operation = match self.insert_body(&hash, block.readings) {
            Ok(Some(operation)) => operation,
            Ok(None) => return self.verdict(from, id, Verdict::Ignore),
            Err(error) => return self.reject(from, id, DisconnectReason::BadBody(error)),
        };
        if let Some(error) = self.advance_and_store(&hash, operation) {
            return self.reject(from, id, DisconnectReason::BadSequence(error));
        }
        if self.tree.tip().hash == hash {
            return self.verdict(from, id, Verdict::Accept);
        }
        if self.tree.block(&hash).is_none_or(|info| !info.has_body) {
            self.prune_if_over_limit();
            return self.verdict(from, id, Verdict::Ignore);
        }
        // The block lost to a rival. Its readings may still be new.
        for reading in &readings {
            self.return_to_mempool(reading);
        }
        if self.tree.side_blocks() > MAX_SIDE_BLOCKS {
            self.prune();
        }
        self.verdict(from, id, Verdict::Ignore);
    }

    /// Whether a block's branch has so much less work than ours that its body is not worth storing. Its
    /// readings return through their authors' mempools.
    fn is_far_behind(&self, header: &Header) -> bool {
        let Some(parent) = self.tree.block(&header.prev_hash) else {
            return false;
        };
        let tip = self.tree.tip();
        let work = |header: Option<Header>| {
            let target = header.and_then(|header| header.bits.target().ok());
            target.map_or(Work::ZERO, |target| target.work())
        };
        let own = work(self.tree.header(&tip.hash));
        let reach = (0..SIDE_BLOCKS_REACH).fold(
            parent.total_work.saturating_add(work(Some(*header))),
            |reach, _| reach.saturating_add(own),
        );
        reach < tip.total_work
    }

    /// Switches to the best branch. Stores the block's new body if it is on that branch, or on a side branch in
    /// which every reading has its author's next sequence number. Returns the error in the block, if there is one.
    fn advance_and_store(
        &mut self,
        hash: &BlockHash,
        operation: StoreOperation,
    ) -> Option<SequenceError> {
        match self.tree.check_sequence(hash) {
            Some(Err(error)) => {
                self.invalidate(hash);
                Some(error)
            }
            Some(Ok(())) => {
                self.write(alloc::vec![operation], false);
                self.advance_after_gossip(hash)
            }
            None => {
                // A body below it is missing, so its readings cannot be checked in sequence. If its branch
                // turns out to be better, all its bodies are requested.
                self.tree.mark_body_missing(hash);
                self.download.tree_changed();
                None
            }
        }
    }

    /// Checks a block with an unknown parent: it must at least meet the room's easiest target.
    fn check_unconnected(&self, block: &Block) -> Result<(), HeaderError> {
        let target = block.header.bits.target()?;
        let hash = block.header.hash();
        let floor = self.tree.room().floor();
        if target > floor || !target.is_met_by(&hash) {
            return Err(HeaderError::Work {
                expected: target.min(floor),
                found: hash,
            });
        }
        Ok(())
    }

    fn hold_for_parent(&mut self, from: P, id: Option<GossipId>, block: Block, parent: BlockHash) {
        if self.tree.is_invalid(&parent) {
            return self.verdict(from, id, Verdict::Ignore);
        }
        if let Some(state) = self.peers.get_mut(&from) {
            state.wants_headers = true;
        }
        self.add_orphan(from, id, block, WaitsFor::Parent(parent));
    }

    fn add_orphan(&mut self, from: P, id: Option<GossipId>, block: Block, waits_for: WaitsFor) {
        if !self.orphans.insert(block, from, id, waits_for, self.now) {
            self.verdict(from, id, Verdict::Ignore);
        }
    }

    fn verdict(&mut self, from: P, id: Option<GossipId>, verdict: Verdict) {
        if let Some(id) = id {
            self.outputs.push(Output::Verdict { id, from, verdict });
        }
    }

    /// Handles provably invalid items. The forwarder did not verify them, so it is banned.
    fn reject(&mut self, from: P, id: Option<GossipId>, reason: DisconnectReason) {
        self.verdict(from, id, Verdict::Reject);
        self.ban(from, reason);
    }
}
