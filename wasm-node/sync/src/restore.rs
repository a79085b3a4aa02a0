//! Restoring a machine from disk, in parts, so that the bodies of a long chain are never in memory at once.
//!
//! Bytes from disk are trusted no more than bytes from a peer, except for the clock: a block that is ahead of
//! it was accepted before, so it is held back until it is due. A block that is damaged or lacks its parent
//! stays on disk until its readings are confirmed elsewhere. The best branch follows from the blocks. The
//! stored tip only serves to tell damage from an interrupted catch-up: bodies arrive and are written in any
//! order, so a block may be on disk before its parent.
//!
//! Readings are not verified again one by one, since that takes elliptic-curve operations for each. A body is
//! written only after it was verified ([`PutBlock`](crate::StoreOperation::PutBlock)), and the header's Merkle
//! root covers whole readings including their signatures. A body with a matching root, under a header with
//! valid hash, links and work, is therefore byte for byte the body that was verified.
//!
//! For settled blocks of a long chain, a store may provide an index of their bodies instead of the bodies
//! ([`StoredBlock::Indexed`]), protected by a checksum of its own. Links and work of their headers are still verified
//! here. The store checks the bodies while the machine is already running, and reports damaged ones with
//! [`Input::BodiesMissing`](crate::Input::BodiesMissing). Until then the machine relies on the index for
//! authors and sequence numbers, but sends out nothing unverified: answers to peers are checked against the
//! header's Merkle root.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use heartchain_chain::{
    block::{Block, MAX_BLOCK_READINGS, MIN_BLOCK_READINGS, check_root},
    compact_sort,
    content::Measurement,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    profile::Profile,
    reading::Reading,
    room::Room,
    tree::{Entry, InsertError},
};
use litemap::LiteMap;

use crate::{
    config::{CONFIRMED_DEPTH, Config, MAX_JOURNAL},
    io::{JournalEntry, Now, StoreOperation},
    machine::{Machine, Parts},
};

/// A block whose body was verified when it was stored, and is not read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedBlock {
    /// The hash it was stored under.
    pub hash: BlockHash,
    /// The block's header.
    pub header: Header,
    /// Author, sequence number and ID prefix of each of its readings, in order.
    pub entries: Vec<Entry>,
}

/// A block as loaded from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredBlock {
    /// A block with its body, and the hash it was stored under.
    Full(BlockHash, Block),
    /// A block without its body.
    Indexed(IndexedBlock),
}

impl StoredBlock {
    /// The hash it was stored under.
    #[must_use]
    pub const fn hash(&self) -> &BlockHash {
        match self {
            Self::Full(hash, _) => hash,
            Self::Indexed(block) => &block.hash,
        }
    }

    /// The height in its header.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Full(_, block) => block.header.index,
            Self::Indexed(block) => block.header.index,
        }
    }
}

/// What became of a stored block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placement {
    InTree,
    /// It is damaged or its parent is missing. Its valid readings are recovered.
    Unplaced,
    /// It differs from what was written.
    Damaged,
    /// It is on a branch in which a reading does not have its author's next sequence number.
    Invalid,
}

/// Builds a [`Machine`] from what is on disk.
#[derive(Debug)]
pub struct Restore<P> {
    machine: Machine<P>,
    /// Keys that took over, each with the first journal position that it signs. The next one to apply is last.
    keys: Vec<(u64, SecretKey)>,
    /// All authors of this peer, ordered by the first journal position that each signs.
    authors: Vec<(u64, Author)>,
    /// Journal entries by position.
    journal: LiteMap<u64, JournalEntry>,
    /// Our readings found in the chain, with their journal positions.
    own_on_chain: Vec<(u64, JournalEntry)>,
    /// Blocks without a place in the tree that may contain readings found nowhere else. They stay on disk, and
    /// their readings are recovered.
    unplaced: Vec<BlockHash>,
    /// Blocks that differ from what was written. Their valid readings are recovered.
    damaged_blocks: Vec<BlockHash>,
    /// Blocks of side branches that violate an author's sequence.
    invalid: Vec<BlockHash>,
    /// The journal's length according to a copy outside of the store.
    journal_len: u64,
    /// The last block known to be confirmed.
    confirmed: Option<BlockHash>,
    /// How many blocks differ from what was written.
    damaged: usize,
    /// How many blocks lack their parent.
    orphans: usize,
    /// The best tip as last written.
    tip: Option<BlockHash>,
}

impl<P: Copy + Ord + Debug> Restore<P> {
    /// Starts a restore. `first` is the first key. `keys` are the keys that took over
    /// ([`PutKey`](crate::StoreOperation::PutKey)), each with the position of the first journal entry that it
    /// signs. The other arguments are those of [`Machine::new`].
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
        compact_sort::sort_by_key(&mut keys, |(from, _)| Reverse(*from));
        let successors = keys.iter().rev().map(|(from, key)| (*from, key.author()));
        let authors = [(0, first.author())].into_iter().chain(successors);
        Self {
            authors: authors.collect(),
            machine: Machine::new(config, room, first, seed, now),
            keys,
            journal: LiteMap::new(),
            own_on_chain: Vec::new(),
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

    /// Adds journal entries with their positions. Entries missing in between are taken from the chain if it has them.
    pub fn journal(&mut self, entries: impl IntoIterator<Item = (u64, JournalEntry)>) {
        compact_sort::extend(&mut self.journal, entries);
    }

    /// Sets the journal's length according to a copy outside of the store. Entries missing below it are lost,
    /// and their sequence numbers are not used again.
    pub fn journal_len(&mut self, len: u64) {
        self.journal_len = len;
    }

    /// Sets the last confirmed block of the best branch
    /// ([`PutConfirmed`](crate::StoreOperation::PutConfirmed)).
    pub fn confirmed(&mut self, hash: Option<BlockHash>) {
        self.confirmed = hash;
    }

    /// Adds readings adopted from other tabs ([`PutAdopted`](crate::StoreOperation::PutAdopted)). Invalid ones
    /// are skipped.
    pub fn adopted(&mut self, readings: impl IntoIterator<Item = Reading>) {
        let room = self.machine.parts.ctx.tree.room().id();
        for reading in readings {
            if reading.check_fields().is_ok() && reading.verify(room).is_ok() {
                self.machine.parts.adopted.insert(room, reading);
            }
        }
    }

    /// Adds names of authors ([`PutProfile`](crate::StoreOperation::PutProfile)), as they were encoded. Those that are
    /// damaged are deleted from the store; peers have them.
    pub fn profiles(&mut self, profiles: impl IntoIterator<Item = Profile>) {
        let Parts {
            ctx,
            profiles: known,
            ..
        } = &mut self.machine.parts;
        for profile in profiles {
            known.restore(ctx, profile);
        }
    }

    fn switch_keys_up_to(&mut self, position: u64) {
        while let Some((_, key)) = self.keys.pop_if(|(from, _)| *from <= position) {
            let Parts { ctx, recorder, .. } = &mut self.machine.parts;
            recorder.switch_key(ctx, key);
        }
    }

    /// Whether blocks must be given with their bodies ([`StoredBlock::Full`]), to recover missing journal entries
    /// from them. Call this after the journal was added.
    #[must_use]
    pub fn needs_bodies(&self) -> bool {
        (self.journal.len() as u64) < self.journal_end()
    }

    /// Adds stored blocks with the hashes they were stored under. Parents must come before their children, so
    /// blocks are ordered by height.
    pub fn blocks(&mut self, blocks: impl IntoIterator<Item = (BlockHash, Block)>) {
        let blocks = blocks.into_iter();
        self.stored(blocks.map(|(hash, block)| StoredBlock::Full(hash, block)));
    }

    /// Adds stored blocks, with or without their bodies, in the same order as for [`blocks`](Self::blocks).
    pub fn stored(&mut self, blocks: impl IntoIterator<Item = StoredBlock>) {
        for block in blocks {
            let hash = *block.hash();
            match self.place(block) {
                Placement::InTree => {}
                Placement::Unplaced => self.unplaced.push(hash),
                Placement::Damaged => self.damaged_blocks.push(hash),
                Placement::Invalid => self.invalid.push(hash),
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        let advance = self.machine.parts.ctx.tree.advance();
        for invalid in advance.invalid {
            self.invalid.extend(invalid.removed.with_body);
        }
    }

    /// Adds protected blocks ([`PutRecovery`](crate::StoreOperation::PutRecovery)).
    pub fn recovery(&mut self, hashes: impl IntoIterator<Item = BlockHash>) {
        let Parts { ctx, recovery, .. } = &mut self.machine.parts;
        recovery.queue(ctx, hashes, true);
    }

    /// Sets the best tip as last written ([`PutTip`](crate::StoreOperation::PutTip)).
    pub fn tip(&mut self, tip: Option<BlockHash>) {
        self.tip = tip;
    }

    /// How many of the blocks given so far are damaged: their bytes differ from what was written, or the stored
    /// tip is incomplete and their parent is missing. They are fetched from peers.
    #[must_use]
    pub fn damaged(&self) -> usize {
        let block = self
            .tip
            .and_then(|tip| self.machine.parts.ctx.tree.block(&tip));
        if block.is_some_and(|block| block.has_body) {
            self.damaged
        } else {
            self.damaged.saturating_add(self.orphans)
        }
    }

    /// Returns the machine. Its first outputs come with its first input, so send it a
    /// [`Tick`](crate::Input::Tick) at once.
    #[must_use]
    pub fn finish(mut self) -> Machine<P> {
        self.fill_journal_gaps();
        self.restore_journal();
        self.confirm();
        let parts = &mut self.machine.parts;
        parts.missing.set_written_tip(self.tip);
        // Their readings may not have been offered again before the tab closed.
        let pruned = parts.ctx.tree.prune(&[]);
        parts.recovery.queue(&mut parts.ctx, pruned, false);
        parts.recovery.delete_removed(&mut parts.ctx, self.invalid);
        // If the confirmed part and the best tip are complete, blocks without a place were never on the best
        // branch: their parents' bodies never arrived. Otherwise they may have been.
        let is_whole = |hash: Option<BlockHash>| {
            let block = hash.and_then(|hash| parts.ctx.tree.block(&hash));
            block.is_some_and(|block| block.has_body)
        };
        let had_no_best_branch = self.confirmed.is_none() && self.tip.is_none();
        if is_whole(self.confirmed) && (self.tip.is_none() || is_whole(self.tip)) {
            parts.recovery.delete_removed(&mut parts.ctx, self.unplaced);
        } else if had_no_best_branch {
            parts.recovery.queue(&mut parts.ctx, self.unplaced, false);
        } else {
            let unplaced = self.unplaced.into_iter();
            let unknown = unplaced.filter(|hash| !parts.recovery.is_protected(hash));
            let unknown = unknown.collect();
            parts.recovery.protect(&mut parts.ctx, unknown);
        }
        let damaged_blocks = self.damaged_blocks.into_iter();
        let damaged_blocks = damaged_blocks.filter(|hash| !parts.recovery.is_protected(hash));
        let damaged_blocks = damaged_blocks.collect();
        parts.recovery.protect(&mut parts.ctx, damaged_blocks);

        // Readings of side branches return to the mempool as well, as far as there is room.
        let beside = parts.ctx.tree.side_bodies();
        parts.recovery.queue(&mut parts.ctx, beside, false);
        parts.recorder.scan_best_branch(&parts.ctx);
        self.machine
    }

    /// How many entries the journal has, including missing ones. A position or a length that is implausibly
    /// large is treated as damage.
    fn journal_end(&self) -> u64 {
        let last = self.journal.last();
        let end = last.map_or(0, |(last, _)| last.saturating_add(1));
        end.max(self.journal_len).min(2 * MAX_JOURNAL as u64)
    }

    fn restore_journal(&mut self) {
        let end = self.journal_end();
        let journal = core::mem::take(&mut self.journal);
        let mut journal = journal.into_iter().peekable();
        for position in 0..end {
            self.switch_keys_up_to(position);
            match journal.next_if(|(at, _)| *at == position) {
                Some((_, entry)) => {
                    let Parts { ctx, recorder, .. } = &mut self.machine.parts;
                    recorder.journal_mut().push(ctx.tree.room(), entry);
                }
                None => self.machine.parts.recorder.journal_mut().push_lost(),
            }
        }
        self.switch_keys_up_to(u64::MAX);
    }

    /// Restores what was confirmed. Confirmed blocks that are not on the best branch are protected, except for
    /// those that are held back: they return when they are due.
    fn confirm(&mut self) {
        let parts = &mut self.machine.parts;
        let tip = parts.ctx.tree.tip().index;
        let block = self.confirmed.and_then(|hash| parts.ctx.tree.block(&hash));
        let index = match (self.confirmed, block) {
            (Some(hash), Some(info)) if !info.on_best => {
                let beside = parts.ctx.tree.path_from_best(&hash);
                let fork = info.index.saturating_sub(beside.len() as u64);
                let tree = &parts.ctx.tree;
                let left = beside.into_iter().filter(|hash| {
                    tree.block(hash).is_some_and(|info| info.has_body) && !tree.is_held_back(hash)
                });
                let left = left.collect();
                if parts.ctx.tree.is_held_back(&hash) {
                    parts.confirmation.hold_back(hash);
                }
                parts.recovery.protect(&mut parts.ctx, left);
                fork
            }
            (Some(_), Some(info)) => info.index,
            // No branch was ever the best one.
            (None, None) if self.tip.is_none() => 0,
            // The confirmed block is damaged, or the store is older than `PutConfirmed`.
            (_, None) => (tip + 1).saturating_sub(CONFIRMED_DEPTH),
            (None, Some(_)) => 0,
        };
        parts.ctx.tree.confirm(index);
        parts
            .confirmation
            .restore(parts.ctx.tree.confirmed_index(), self.confirmed.is_some());
    }

    /// Fills gaps in the journal from the chain, on disk as well. What the chain has beyond the last journal
    /// entry was recorded elsewhere with this key, so that is not a gap.
    fn fill_journal_gaps(&mut self) {
        let end = self.journal_end();
        let own_on_chain = core::mem::take(&mut self.own_on_chain).into_iter();
        let mut missing: LiteMap<u64, JournalEntry> = LiteMap::new();
        compact_sort::extend(
            &mut missing,
            own_on_chain
                .filter(|(position, _)| *position < end && !self.journal.contains_key(position)),
        );
        let operations: Vec<StoreOperation> = missing
            .iter()
            .map(|(position, entry)| StoreOperation::PutJournal(*position, *entry))
            .collect();
        compact_sort::extend(&mut self.journal, missing);
        if !operations.is_empty() {
            self.machine.parts.ctx.write(operations);
        }
    }

    /// Remembers a reading by one of our keys, with its journal position.
    fn collect_own_reading(&mut self, reading: &Reading) {
        let Some(at) = self
            .authors
            .iter()
            .position(|(_, author)| *author == reading.author)
        else {
            return;
        };
        let from = |at: usize| self.authors.get(at).map(|(from, _)| *from);
        let position = from(at).unwrap_or(0).saturating_add(reading.seq);
        let ends = from(at + 1).unwrap_or(u64::MAX);
        let room = self.machine.parts.ctx.tree.room();
        if let (true, Ok(Measurement { time, bpm })) = (position < ends, room.open(reading)) {
            let replaces = None;
            self.own_on_chain.push((
                position,
                JournalEntry {
                    time,
                    bpm,
                    replaces,
                    prefix: None,
                },
            ));
        }
    }

    fn place_header(&mut self, hash: BlockHash, header: &Header) -> Placement {
        let parts = &mut self.machine.parts;
        match parts
            .ctx
            .tree
            .insert_accepted_header(header, parts.ctx.clock.wall())
        {
            Ok(inserted) if inserted.hash == hash => Placement::InTree,
            Err(InsertError::Invalid { .. }) => Placement::Invalid,
            Err(InsertError::UnknownParent { .. }) if header.hash() == hash => {
                self.orphans += 1;
                Placement::Unplaced
            }
            Ok(_) | Err(_) => {
                self.damaged += 1;
                Placement::Damaged
            }
        }
    }

    fn place(&mut self, block: StoredBlock) -> Placement {
        match block {
            StoredBlock::Full(hash, block) => self.place_whole(hash, &block),
            StoredBlock::Indexed(block) => self.place_known(block),
        }
    }

    fn place_known(&mut self, block: IndexedBlock) -> Placement {
        let IndexedBlock {
            hash,
            header,
            entries,
        } = block;
        if !(MIN_BLOCK_READINGS..=MAX_BLOCK_READINGS).contains(&entries.len()) {
            self.damaged += 1;
            return Placement::Damaged;
        }
        let placement = self.place_header(hash, &header);
        if placement == Placement::InTree {
            self.machine
                .parts
                .ctx
                .tree
                .insert_known_body(&hash, entries);
        }
        placement
    }

    fn place_whole(&mut self, hash: BlockHash, block: &Block) -> Placement {
        let placement = self.place_header(hash, &block.header);
        if placement != Placement::InTree {
            return placement;
        }
        // The header stays in the tree without a body, which a peer may still provide.
        if block.readings.is_empty() || check_root(&block.header, &block.readings).is_err() {
            self.damaged += 1;
            return Placement::Damaged;
        }
        let parts = &mut self.machine.parts;
        parts.ctx.tree.insert_checked_body(&hash, &block.readings);
        for reading in &block.readings {
            self.collect_own_reading(reading);
        }
        placement
    }
}
