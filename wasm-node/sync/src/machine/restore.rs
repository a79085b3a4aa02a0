//! Starting again from what is on disk, a part at a time, so that the bodies of a long chain are never in memory at once.
//!
//! Bytes from disk are judged like bytes from a peer: what breaks a rule is not taken, and deleted. The best branch
//! follows from the blocks; the tip that was written is not needed.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    block::{Block, check_body},
    hash::BlockHash,
    key::SecretKey,
    room::Room,
    time::UnixMillis,
};

use super::Machine;
use crate::{config::Config, seam::JournalEntry};

/// A machine that is being put together.
#[derive(Debug)]
pub struct Restore<P> {
    machine: Machine<P>,
    /// Keys that took over, the next one last, each with the first journal entry that it signs.
    keys: Vec<(u64, SecretKey)>,
    /// Blocks that found no place in the tree: their readings return to the mempool, then they are deleted.
    unplaced: Vec<BlockHash>,
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
        now: UnixMillis,
    ) -> Self {
        let mut keys: Vec<(u64, SecretKey)> = keys.into_iter().collect();
        keys.sort_by_key(|(from, _)| Reverse(*from));
        Self {
            machine: Machine::new(config, room, first, seed, now),
            keys,
            unplaced: Vec::new(),
        }
    }

    /// The journal's next entries, in order, each with its position.
    pub fn journal(&mut self, entries: impl IntoIterator<Item = (u64, JournalEntry)>) {
        for (position, entry) in entries {
            self.take_keys_up_to(position);
            self.machine.restore_entry(position, entry);
        }
    }

    fn take_keys_up_to(&mut self, position: u64) {
        while let Some((_, key)) = self.keys.pop_if(|(from, _)| *from <= position) {
            self.machine.restore_key(key);
        }
    }

    /// The next stored blocks with the hashes they were stored under; parents before their children, by height that is.
    pub fn blocks(&mut self, blocks: impl IntoIterator<Item = (BlockHash, Block)>) {
        for (hash, block) in blocks {
            if !self.place(hash, &block) {
                self.unplaced.push(hash);
            }
        }
        let advance = self.machine.tree.advance();
        for (_, removed) in advance.condemned {
            self.unplaced.extend(removed);
        }
        if let Some(switch) = advance.switch {
            self.machine
                .rescue_blocks(switch.left.iter().rev().map(|moved| moved.hash).collect());
        }
    }

    /// Blocks whose readings have yet to return to the mempool.
    pub fn rescue(&mut self, hashes: impl IntoIterator<Item = BlockHash>) {
        self.machine.rescue_left(hashes);
    }

    /// The machine. What it wants done first comes with its first input; give it a
    /// [`Tick`](crate::Input::Tick) at once.
    #[must_use]
    pub fn finish(mut self) -> Machine<P> {
        self.take_keys_up_to(u64::MAX);
        let machine = &mut self.machine;
        let pruned = machine.tree.prune(&[]);
        machine.rescue_blocks(pruned);
        machine.rescue_blocks(self.unplaced);
        let own = &mut machine.own;
        for key in own.former_keys.iter().chain([&own.key]) {
            let author = key.author();
            own.places.follow(author, machine.tree.heights_of(&author));
        }
        machine.look_for_foreign();
        machine.own.refill();
        self.machine
    }

    fn place(&mut self, hash: BlockHash, block: &Block) -> bool {
        let machine = &mut self.machine;
        let room = machine.tree.room().id();
        if block.header.hash() != hash
            || machine
                .tree
                .insert_header(&block.header, machine.now)
                .is_err()
        {
            return false;
        }
        let judged = check_body(
            room,
            &block.header,
            &block.readings,
            |_| false,
            &mut machine.rng,
        );
        match judged {
            Ok(()) => {
                machine.tree.insert_checked_body(&hash, &block.readings);
                true
            }
            // The header stands; an honest body can still come from a peer.
            Err(_) => false,
        }
    }
}
