//! What neighbours pass on, and the verdict that decides whether it goes further.
//!
//! *Reject* only what proves the forwarder careless or worse; *ignore* what may be honest.

use core::fmt::Debug;

use chain::{
    block::Block,
    mempool::MempoolError,
    reading::Reading,
    tree::{InsertError, MAX_SIDE_BLOCKS, MAX_SIDE_DEPTH},
    validate::{Condemns, HeaderError},
};

use super::{Machine, held::WaitsFor};
use crate::seam::{DropReason, Event, GossipId, Output, Topic, Verdict};

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
        if self.mempool.contains(&reading_id) || reading.seq < next {
            return self.verdict(from, Some(id), Verdict::Ignore);
        }
        if let Err(error) = reading.verify(room) {
            return self.reject(from, Some(id), DropReason::BadReading(error));
        }
        match self.mempool.insert(reading, reading_id, next, self.now) {
            Ok(()) => {
                let passes_on = next > 0 || self.newcomer_forwards.take(1, self.now);
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
                self.outputs.push(Output::Tell(Event::Equivocation {
                    author: reading.author,
                    seq,
                }));
                self.verdict(from, Some(id), Verdict::Ignore);
            }
            Err(_) => self.verdict(from, Some(id), Verdict::Ignore),
        }
    }

    /// Judges a gossiped block; `id` is `None` when its verdict was given before it could be judged.
    pub(super) fn judge_block(&mut self, from: P, id: Option<GossipId>, block: Block) {
        let too_deep = self
            .tree
            .block(&block.header.prev_hash)
            .is_some_and(|parent| parent.index + 1 + MAX_SIDE_DEPTH < self.tree.tip().index);
        // What cannot be kept is not taken; it is asked for once there is room.
        if too_deep || self.unwritten.is_full() {
            return self.verdict(from, id, Verdict::Ignore);
        }
        let now = self.adjusted_now();
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
        match self.take_body(&hash, block.readings) {
            Ok(Some(operation)) => {
                self.write(alloc::vec![operation], false);
            }
            Ok(None) => return self.verdict(from, id, Verdict::Ignore),
            Err(error) => return self.reject(from, id, DropReason::BadBody(error)),
        }
        if let Some(error) = self.advance_by_gossip(&hash) {
            return self.reject(from, id, DropReason::BadSequence(error));
        }
        if self.tree.tip().hash == hash {
            return self.verdict(from, id, Verdict::Accept);
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

    fn hold_orphan(
        &mut self,
        from: P,
        id: Option<GossipId>,
        block: Block,
        parent: chain::hash::BlockHash,
    ) {
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
