//! What neighbours pass on, and the verdict that decides whether it goes further.
//!
//! *Reject* only what proves the forwarder careless or worse; *ignore* what may be honest.

use core::fmt::Debug;

use chain::{
    block::Block,
    hash::BlockHash,
    header::Header,
    mempool::MempoolError,
    reading::Reading,
    tree::{InsertError, MAX_SIDE_BLOCKS, SequenceError},
    validate::{Condemns, HeaderError},
    work::Work,
};

use super::{Machine, held::WaitsFor};
use crate::{
    config::SIDE_BLOCKS_REACH,
    seam::{DropReason, Event, GossipId, Output, StoreOperation, Topic, Verdict},
};

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn gossip(&mut self, from: P, id: GossipId, topic: Topic, data: &[u8]) {
        match topic {
            Topic::Readings => match Reading::decode(data) {
                Ok(reading) => self.judge_reading(from, id, &reading),
                Err(_) => self.reject(from, Some(id), DropReason::Garbage("a gossiped reading")),
            },
            Topic::Blocks => match Block::decode(data) {
                Ok(block) => self.judge_block(from, Some(id), block),
                Err(_) => self.reject(from, Some(id), DropReason::Garbage("a gossiped block")),
            },
        }
    }

    fn judge_reading(&mut self, from: P, id: GossipId, reading: &Reading) {
        if let Err(error) = reading.check_fields() {
            return self.reject(from, Some(id), DropReason::BadReading(error));
        }
        let room = self.tree.room().id();
        let reading_id = reading.id(room);
        let next = self.tree.next_seq(&reading.author);
        // What finds no place is not worth the cost of verifying it. An author that signed two readings with one seq is.
        let checked = self.mempool.check(reading, reading_id, next, self.now);
        if !self.is_worth_verifying(reading, checked) {
            return self.verdict(from, Some(id), Verdict::Ignore);
        }
        if let Err(error) = reading.verify(room) {
            return self.reject(from, Some(id), DropReason::BadReading(error));
        }
        match self.mempool.insert(reading, reading_id, next, self.now) {
            Ok(()) => {
                let passes_on = self.forwards.take(&reading.author, next == 0, self.now);
                self.verdict(
                    from,
                    Some(id),
                    if passes_on {
                        Verdict::Accept
                    } else {
                        Verdict::Ignore
                    },
                );
                self.outputs.push(Output::Tell(Event::Reading(*reading)));
            }
            Err(MempoolError::Equivocation { seq, .. }) => {
                self.tell_equivocation(reading.author, seq);
                self.verdict(from, Some(id), Verdict::Ignore);
            }
            Err(_) => self.verdict(from, Some(id), Verdict::Ignore),
        }
    }

    /// Whether the mempool would take a reading, or it would show that its author signed two, and that was not told yet.
    pub(super) fn is_worth_verifying(
        &self,
        reading: &Reading,
        checked: Result<(), MempoolError>,
    ) -> bool {
        match checked {
            Ok(()) => true,
            Err(MempoolError::Equivocation { seq, .. }) => {
                !self.equivocations.is_told(&reading.author, seq)
            }
            Err(_) => false,
        }
    }

    /// Judges a gossiped block; `id` is `None` when its verdict was given before it could be judged.
    pub(super) fn judge_block(&mut self, from: P, id: Option<GossipId>, block: Block) {
        // What cannot be kept is not taken; it is asked for once there is room.
        let is_next = block.header.prev_hash == self.tree.tip().hash;
        if !is_next && self.tree.side_blocks() >= MAX_SIDE_BLOCKS {
            let growing = self.growing();
            let removed = self.tree.make_place(&growing);
            self.delete_blocks(removed);
        }
        let is_crowded = !is_next && self.tree.side_blocks() >= MAX_SIDE_BLOCKS;
        if let (true, Some(known)) = (is_crowded, self.peers.get_mut(&from)) {
            // Its branch is asked for instead, and weighed first.
            known.wants_headers = true;
        }
        if is_crowded || self.is_far_behind(&block.header) || self.unwritten.is_full() {
            return self.verdict(from, id, Verdict::Ignore);
        }
        let now = self.latest_now();
        let hash = match self.tree.insert_header(&block.header, now) {
            Ok(inserted) => inserted.hash,
            Err(InsertError::UnknownParent { parent }) => {
                return match self.check_detached(&block) {
                    Ok(()) => self.hold_orphan(from, id, block, parent),
                    Err(error) => self.reject(from, id, DropReason::BadHeader(error)),
                };
            }
            Err(InsertError::Header(error)) => {
                return match error.due() {
                    Some(due) => {
                        let due = self.by_local_clock(due);
                        self.hold(from, id, block, WaitsFor::Time(due));
                    }
                    None if error.condemns() == Condemns::Nothing => {
                        self.verdict(from, id, Verdict::Ignore)
                    }
                    None => self.reject(from, id, DropReason::BadHeader(error)),
                };
            }
            Err(_) => return self.verdict(from, id, Verdict::Ignore),
        };
        if self.tree.block(&hash).is_some_and(|info| info.has_body) {
            return self.verdict(from, id, Verdict::Ignore);
        }
        let readings = block.readings.clone();
        let operation = match self.take_body(&hash, block.readings) {
            Ok(Some(operation)) => operation,
            Ok(None) => return self.verdict(from, id, Verdict::Ignore),
            Err(error) => return self.reject(from, id, DropReason::BadBody(error)),
        };
        if let Some(error) = self.advance_keeping(&hash, operation) {
            return self.reject(from, id, DropReason::BadSequence(error));
        }
        if self.tree.tip().hash == hash {
            return self.verdict(from, id, Verdict::Accept);
        }
        if self.tree.block(&hash).is_none_or(|info| !info.has_body) {
            self.prune_many();
            return self.verdict(from, id, Verdict::Ignore);
        }
        // A rival that did not win: what it holds may still be news.
        for reading in &readings {
            self.return_to_mempool(reading);
        }
        if self.tree.side_blocks() > MAX_SIDE_BLOCKS {
            self.prune();
        }
        self.verdict(from, id, Verdict::Ignore);
    }

    /// Whether a block's branch weighs so much less than ours that its body is not worth keeping: its readings come back
    /// through their authors' mempools.
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

    /// Goes over to the best branch, and keeps a block's new body if it is on it, or on a side branch in which every reading
    /// is its author's next. Returns what is wrong with the block, if anything is.
    fn advance_keeping(
        &mut self,
        hash: &BlockHash,
        operation: StoreOperation,
    ) -> Option<SequenceError> {
        match self.tree.judge(hash) {
            Some(Err(error)) => {
                self.condemn(hash);
                Some(error)
            }
            Some(Ok(())) => {
                self.write(alloc::vec![operation], false);
                self.advance_by_gossip(hash)
            }
            None => {
                // A body below it is not here, so its readings cannot be judged. If the branch proves the better one, all
                // its bodies are asked for.
                self.tree.lose_body(hash);
                self.download.tree_changed();
                None
            }
        }
    }

    /// What can be said of a block whose parent is unknown: it must at least have done the room's least work.
    fn check_detached(&self, block: &Block) -> Result<(), HeaderError> {
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

    fn hold_orphan(&mut self, from: P, id: Option<GossipId>, block: Block, parent: BlockHash) {
        if self.tree.is_condemned(&parent) {
            return self.verdict(from, id, Verdict::Ignore);
        }
        if let Some(known) = self.peers.get_mut(&from) {
            known.wants_headers = true;
        }
        self.hold(from, id, block, WaitsFor::Parent(parent));
    }

    fn hold(&mut self, from: P, id: Option<GossipId>, block: Block, waits_for: WaitsFor) {
        if !self.held.hold(block, from, id, waits_for, self.now) {
            self.verdict(from, id, Verdict::Ignore);
        }
    }

    fn verdict(&mut self, from: P, id: Option<GossipId>, verdict: Verdict) {
        if let Some(id) = id {
            self.outputs.push(Output::Judge { id, from, verdict });
        }
    }

    /// Provably bad: whoever forwarded it did not check it.
    fn reject(&mut self, from: P, id: Option<GossipId>, reason: DropReason) {
        self.verdict(from, id, Verdict::Reject);
        self.ban(from, reason);
    }
}
