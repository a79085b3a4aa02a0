//! Starting again from what is on disk, a part at a time, so that the bodies of a long chain are never in memory at once.
//!
//! Bytes from disk are judged like bytes from a peer, but for the clock: a block that is ahead of it was accepted before, so
//! it is held back until it is due. What is damaged or lacks its parent stays on disk while its readings are not confirmed
//! elsewhere. The best branch follows from the blocks. The tip that was written only tells damage from a catch-up that was cut short: bodies come, and
//! are written, in any order, so that a block may be on disk before its parent.
//!
//! Readings alone, their fields and signatures, are not judged again: that takes points of the curve for each. A body
//! is written only once they were ([`PutBlock`](crate::StoreOperation::PutBlock)), and the header's Merkle root covers
//! whole readings, their signatures included. So a body whose root is right, under a header whose hash, links and work are right, is
//! the body that was verified, to the last byte.
//!
//! Of a long chain's settled blocks a store may give what is known of their bodies instead of these
//! ([`Stored::Known`]), under a checksum of its own. Their headers are judged here all the same, links and work; the bodies are
//! for the store to check while the machine is at work already, and one that proves damaged is told by
//! [`Input::Lost`](crate::Input::Lost). Until then the machine relies on who recorded what, and hands nothing out
//! unchecked: an answer to a peer is held against the header's Merkle root.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    block::{Block, MAX_BLOCK_READINGS, MIN_BLOCK_READINGS, check_root},
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    reading::Reading,
    room::Room,
    tree::{Entry, InsertError},
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{CONFIRMED_DEPTH, Config, MAX_JOURNAL},
    seam::{JournalEntry, Now, StoreOperation},
};

/// A block whose body was checked when it was kept, and is not looked at for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBlock {
    /// The hash it was stored under.
    pub hash: BlockHash,
    /// Its header.
    pub header: Header,
    /// Who recorded what in it, in its order.
    pub entries: Vec<Entry>,
}

/// A block as a store gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// With its body, and the hash it was stored under.
    Whole(BlockHash, Block),
    /// Without.
    Known(KnownBlock),
}

impl Stored {
    /// The hash it was stored under.
    #[must_use]
    pub const fn hash(&self) -> &BlockHash {
        match self {
            Self::Whole(hash, _) => hash,
            Self::Known(block) => &block.hash,
        }
    }

    /// Its height.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Whole(_, block) => block.header.index,
            Self::Known(block) => block.header.index,
        }
    }
}

/// Where a stored block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    InTree,
    /// It is damaged, or its parent is missing: what is valid in it is looked after.
    Nowhere,
    /// It is not what was written.
    Damaged,
    /// It stands on a branch that breaks an author's count.
    Invalid,
}

/// A machine that is being put together.
#[derive(Debug)]
pub struct Restore<P> {
    machine: Machine<P>,
    /// Keys that took over, the next one last, each with the first journal entry that it signs.
    keys: Vec<(u64, SecretKey)>,
    /// Everybody that signs for this peer, each with the first journal entry that it signs; by that.
    authors: Vec<(u64, Author)>,
    /// By their positions. They come in order.
    journal: LiteMap<u64, JournalEntry>,
    /// What the chain has of one's own readings, with their places in the journal.
    chained: Vec<(u64, JournalEntry)>,
    /// Blocks without a place in the tree that may hold what no other place has: they stay, and their readings return.
    unplaced: Vec<BlockHash>,
    /// Blocks that are not what was written: what is valid in them stays.
    damaged_blocks: Vec<BlockHash>,
    /// Blocks of side branches that break an author's count.
    invalid: Vec<BlockHash>,
    /// How many entries the journal had, by a copy outside of the store.
    journal_len: u64,
    /// The last block that was confirmed.
    confirmed: Option<BlockHash>,
    /// Blocks that are not what was written.
    damaged: usize,
    /// Blocks whose parent is not there.
    orphans: usize,
    /// The best tip, as it was last written.
    tip: Option<BlockHash>,
}

impl<P: Copy + Ord + Debug> Restore<P> {
    /// Begins. `first` is the first key; `keys` are those that took over from it
    /// ([`PutKey`](crate::StoreOperation::PutKey)), each with the position of the first journal entry that it signs.
    /// The rest is as in [`Machine::new`].
    #[must_use]
    pub fn new(
        config: Config,
        room: Room,
        first: SecretKey,
        keys: impl IntoIterator<Item = (u64, SecretKey)>,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let mut keys: Vec<(u64, SecretKey)> = keys.into_iter().collect();
        keys.sort_by_key(|(from, _)| Reverse(*from));
        let successors = keys.iter().rev().map(|(from, key)| (*from, key.author()));
        let authors = [(0, first.author())].into_iter().chain(successors);
        Self {
            authors: authors.collect(),
            machine: Machine::new(config, room, first, seed, now),
            keys,
            journal: LiteMap::new(),
            chained: Vec::new(),
            unplaced: Vec::new(),
            damaged_blocks: Vec::new(),
            invalid: Vec::new(),
            journal_len: 0,
            confirmed: None,
            damaged: 0,
            orphans: 0,
            tip: None,
        }
    }

    /// The journal's entries, each with its position. One that is missing between others is taken from the chain, if
    /// that has it.
    pub fn journal(&mut self, entries: impl IntoIterator<Item = (u64, JournalEntry)>) {
        self.journal.extend(entries);
    }

    /// How many entries the journal had, by a copy outside of the store. Entries that are missing below are lost, and their
    /// seqs are not used again.
    pub fn journal_len(&mut self, len: u64) {
        self.journal_len = len;
    }

    /// The best branch was confirmed up to and with this block ([`PutConfirmed`](crate::StoreOperation::PutConfirmed)).
    pub fn confirmed(&mut self, hash: Option<BlockHash>) {
        self.confirmed = hash;
    }

    /// Readings of other tabs that were taken over ([`PutAdopted`](crate::StoreOperation::PutAdopted)). One that is not valid
    /// is left out.
    pub fn adopted(&mut self, readings: impl IntoIterator<Item = Reading>) {
        let room = self.machine.tree.room().id();
        for reading in readings {
            if reading.check_fields().is_ok() && reading.verify(room).is_ok() {
                self.machine.adopted.restore(room, reading);
            }
        }
    }

    fn take_keys_up_to(&mut self, position: u64) {
        while let Some((_, key)) = self.keys.pop_if(|(from, _)| *from <= position) {
            self.machine.take_key(key);
        }
    }

    /// Whether bodies have to be given, too ([`Stored::Whole`]), because something of the journal has to be salvaged
    /// from them. To be asked when the journal was given.
    #[must_use]
    pub fn needs_bodies(&self) -> bool {
        (self.journal.len() as u64) < self.journal_end()
    }

    /// The next stored blocks with the hashes they were stored under; parents before their children, by height that is.
    pub fn blocks(&mut self, blocks: impl IntoIterator<Item = (BlockHash, Block)>) {
        let blocks = blocks.into_iter();
        self.stored(blocks.map(|(hash, block)| Stored::Whole(hash, block)));
    }

    /// The same for blocks some of whose bodies are checked later.
    pub fn stored(&mut self, blocks: impl IntoIterator<Item = Stored>) {
        for block in blocks {
            let hash = *block.hash();
            match self.place(block) {
                Placed::InTree => {}
                Placed::Nowhere => self.unplaced.push(hash),
                Placed::Damaged => self.damaged_blocks.push(hash),
                Placed::Invalid => self.invalid.push(hash),
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        let advance = self.machine.tree.advance();
        for invalid in advance.condemned {
            self.invalid.extend(invalid.removed.with_body);
        }
    }

    /// Protected blocks ([`PutRescue`](crate::StoreOperation::PutRescue)).
    pub fn rescue(&mut self, hashes: impl IntoIterator<Item = BlockHash>) {
        self.machine.recover(hashes, true);
    }

    /// The best tip, as it was last written ([`PutTip`](crate::StoreOperation::PutTip)).
    pub fn tip(&mut self, tip: Option<BlockHash>) {
        self.tip = tip;
    }

    /// How many of the blocks given so far were not what was once written: other bytes, or, below the tip that was
    /// written, without their parent. Peers are asked for them.
    #[must_use]
    pub fn damaged(&self) -> usize {
        let block = self.tip.and_then(|tip| self.machine.tree.block(&tip));
        if block.is_some_and(|block| block.has_body) {
            self.damaged
        } else {
            self.damaged.saturating_add(self.orphans)
        }
    }

    /// The machine. What it wants done first comes with its first input; give it a
    /// [`Tick`](crate::Input::Tick) at once.
    #[must_use]
    pub fn finish(mut self) -> Machine<P> {
        self.salvage();
        self.restore_journal();
        self.confirm();
        let machine = &mut self.machine;
        machine.lost.note_written_tip(self.tip);
        let pruned = machine.tree.prune(&[]);
        machine.delete_blocks(pruned);
        machine.delete_blocks(self.invalid);
        // Where the confirmed part and the best tip are whole, what has no place was never on the best branch: bodies above one
        // that never came. Else it may have been.
        let is_whole = |hash: Option<BlockHash>| {
            let block = hash.and_then(|hash| machine.tree.block(&hash));
            block.is_some_and(|block| block.has_body)
        };
        let never_any = self.confirmed.is_none() && self.tip.is_none();
        if is_whole(self.confirmed) && (self.tip.is_none() || is_whole(self.tip)) {
            machine.delete_blocks(self.unplaced);
        } else if never_any {
            machine.recover(self.unplaced, false);
        } else {
            let unplaced = self.unplaced.into_iter();
            let unknown = unplaced.filter(|hash| !machine.recovery.is_protected(hash));
            let unknown = unknown.collect();
            machine.protect(unknown);
        }
        let damaged_blocks = self.damaged_blocks.into_iter();
        let damaged_blocks = damaged_blocks.filter(|hash| !machine.recovery.is_protected(hash));
        let damaged_blocks = damaged_blocks.collect();
        machine.protect(damaged_blocks);

        // What other branches have comes back, too, as far as it finds a place.
        let beside = machine.tree.side_bodies();
        machine.recover(beside, false);
        let authors: Vec<Author> = machine.journal.eras().map(|era| era.author).collect();
        for author in authors {
            let heights = machine.tree.heights_of(&author);
            machine.journal.heights.follow(author, heights);
        }
        machine.look_for_foreign();
        machine.journal.refill();
        self.machine
    }

    /// How many entries the journal has, missing ones included. A position, or a count from outside, that is beyond all
    /// reason is damage.
    fn journal_end(&self) -> u64 {
        let last = self.journal.last();
        let end = last.map_or(0, |(last, _)| last.saturating_add(1));
        end.max(self.journal_len).min(2 * MAX_JOURNAL as u64)
    }

    fn restore_journal(&mut self) {
        let room = self.machine.tree.room().id();
        let end = self.journal_end();
        let journal = core::mem::take(&mut self.journal);
        let mut journal = journal.into_iter().peekable();
        for position in 0..end {
            self.take_keys_up_to(position);
            match journal.next_if(|(at, _)| *at == position) {
                Some((_, entry)) => self.machine.journal.push(room, entry),
                None => self.machine.journal.push_lost(),
            }
        }
        self.take_keys_up_to(u64::MAX);
    }

    /// Takes up what was confirmed. Confirmed blocks that are not on the best branch now are protected, unless their time has
    /// yet to come: those return with it.
    fn confirm(&mut self) {
        let machine = &mut self.machine;
        let tip = machine.tree.tip().index;
        let known = self.confirmed.and_then(|hash| machine.tree.block(&hash));
        let index = match (self.confirmed, known) {
            (Some(hash), Some(info)) if !info.on_best => {
                let beside = machine.tree.beside_best(&hash);
                let fork = info.index.saturating_sub(beside.len() as u64);
                let tree = &machine.tree;
                let left = beside.into_iter().filter(|hash| {
                    tree.block(hash).is_some_and(|info| info.has_body) && !tree.is_held_back(hash)
                });
                let left = left.collect();
                if machine.tree.is_held_back(&hash) {
                    machine.confirmation.hold_back(hash);
                }
                machine.protect(left);
                fork
            }
            (Some(_), Some(info)) => info.index,
            // No branch was ever the best one.
            (None, None) if self.tip.is_none() => 0,
            // Damaged, or of a store that was written before there was such a mark.
            (_, None) => (tip + 1).saturating_sub(CONFIRMED_DEPTH),
            (None, Some(_)) => 0,
        };
        machine.tree.settle(index);
        machine
            .confirmation
            .restore(machine.tree.settled_index(), self.confirmed.is_some());
    }

    /// Fills gaps in the journal with what the chain has, on disk, too. Beyond the journal's last entry there is no
    /// gap: what the chain has there was recorded elsewhere with this key.
    fn salvage(&mut self) {
        let end = self.journal_end();
        let chained = core::mem::take(&mut self.chained).into_iter();
        let missing: LiteMap<u64, JournalEntry> = chained
            .filter(|(position, _)| *position < end && !self.journal.contains_key(position))
            .collect();
        let operations: Vec<StoreOperation> = missing
            .iter()
            .map(|(position, entry)| StoreOperation::PutJournal(*position, *entry))
            .collect();
        self.journal.extend(missing);
        if !operations.is_empty() {
            self.machine.write(operations, false);
        }
    }

    /// Notes where a reading stands in the journal, if it is one's own.
    fn note_own(&mut self, reading: &Reading) {
        let Some(which) = self
            .authors
            .iter()
            .position(|(_, author)| *author == reading.author)
        else {
            return;
        };
        let from = |at: usize| self.authors.get(at).map(|(from, _)| *from);
        let position = from(which).unwrap_or(0).saturating_add(reading.seq);
        let ends = from(which + 1).unwrap_or(u64::MAX);
        if let (true, Ok(bpm)) = (position < ends, Bpm::new(reading.bpm)) {
            let time = reading.time;
            let resigns = None;
            self.chained
                .push((position, JournalEntry { time, bpm, resigns }));
        }
    }

    fn place_header(&mut self, hash: BlockHash, header: &Header) -> Placed {
        let machine = &mut self.machine;
        match machine.tree.insert_accepted_header(header, machine.wall) {
            Ok(inserted) if inserted.hash == hash => Placed::InTree,
            Err(InsertError::Condemned { .. }) => Placed::Invalid,
            Err(InsertError::UnknownParent { .. }) if header.hash() == hash => {
                self.orphans += 1;
                Placed::Nowhere
            }
            Ok(_) | Err(_) => {
                self.damaged += 1;
                Placed::Damaged
            }
        }
    }

    fn place(&mut self, block: Stored) -> Placed {
        match block {
            Stored::Whole(hash, block) => self.place_whole(hash, &block),
            Stored::Known(block) => self.place_known(block),
        }
    }

    fn place_known(&mut self, block: KnownBlock) -> Placed {
        let KnownBlock {
            hash,
            header,
            entries,
        } = block;
        if !(MIN_BLOCK_READINGS..=MAX_BLOCK_READINGS).contains(&entries.len()) {
            self.damaged += 1;
            return Placed::Damaged;
        }
        let placed = self.place_header(hash, &header);
        if placed == Placed::InTree {
            self.machine.tree.insert_known_body(&hash, entries);
        }
        placed
    }

    fn place_whole(&mut self, hash: BlockHash, block: &Block) -> Placed {
        let placed = self.place_header(hash, &block.header);
        if placed != Placed::InTree {
            return placed;
        }
        // If it is not whole the header stands all the same; an honest body can still come from a peer.
        if block.readings.is_empty() || check_root(&block.header, &block.readings).is_err() {
            self.damaged += 1;
            return Placed::Damaged;
        }
        let machine = &mut self.machine;
        machine.tree.insert_checked_body(&hash, &block.readings);
        for reading in &block.readings {
            self.note_own(reading);
        }
        placed
    }
}
