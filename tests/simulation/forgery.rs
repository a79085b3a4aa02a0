//! Forged readings, headers and blocks for misbehaving peers and attackers, valid except for the rule under attack.
//! This module sends nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use heartchain_chain::{
    block::{Block, MAX_AUTHOR_READINGS, max_block_readings},
    bpm::Bpm,
    content::Measurement,
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey, Signature},
    mining,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    work::CompactTarget,
};
use heartchain_sync::message::MAX_HEADERS;
use heartchain_test_support::{Branch, START, mine_header};

use crate::{id::Id, world::World};

impl World {
    /// A valid reading of the room.
    pub(crate) fn sign(&self, key: &SecretKey, seq: u64, time: UnixMillis, bpm: Bpm) -> Reading {
        let signed = self.room.sign(key, seq, Measurement { time, bpm });
        signed.expect("the world has the room's key")
    }

    /// A reading signed by this peer's key, with a sequence number `more` above its next one.
    pub(crate) fn own_reading(&self, id: Id, more: u64) -> Reading {
        let node = self.node(id);
        let key = SecretKey::from_seed(node.key_seed);
        let linked = self
            .chain_readings(id)
            .filter(|reading| reading.author == key.author())
            .count();
        let seq = linked as u64 + more;
        self.sign(&key, seq, UnixMillis::new(self.now), Bpm::MIN)
    }

    pub(crate) fn chain_readings(&self, id: Id) -> impl Iterator<Item = &Reading> {
        let node = self.node(id);
        node.state.disk.chain_readings(node.machine())
    }

    pub(crate) fn forged_reading(&mut self) -> Reading {
        let key = SecretKey::from_seed(self.rng.bytes());
        let mut reading = self.sign(&key, 0, UnixMillis::new(self.now), Bpm::MIN);
        reading.signature = Signature::new([7; 64]);
        reading
    }

    /// A mined header on this peer's tip whose timestamp is that tip's median time past, which is 1 ms too early.
    pub(crate) fn header_at_the_median(&self, id: Id, readings: &[Reading]) -> Header {
        let (tip, window) = self.tip_window(id);
        mine_header(&window, tip, readings, window.mtp())
    }

    /// A mined header on this peer's tip with a timestamp `ahead` ms in the future.
    pub(crate) fn mined_header(&mut self, id: Id, readings: &[Reading], ahead: u64) -> Header {
        self.mine_header_with_bits(id, readings, ahead, None)
    }

    /// The tip of this peer's best branch, and the state of the difficulty rule there.
    fn tip_window(&self, id: Id) -> (BlockHash, Window) {
        let machine = self.node(id).machine();
        let tip = machine.status().tip;
        let window = machine.header_window(&tip).expect("the tip is known");
        (tip, window)
    }

    pub(crate) fn mine_header_with_bits(
        &mut self,
        id: Id,
        readings: &[Reading],
        ahead: u64,
        bits: Option<CompactTarget>,
    ) -> Header {
        let (tip, window) = self.tip_window(id);
        mine(
            &window,
            tip,
            readings,
            UnixMillis::new(self.now + ahead),
            bits,
        )
    }

    /// A valid block of this peer's minable mempool readings with a timestamp `ahead` ms in the future; `None` if
    /// no reading can be mined.
    pub(crate) fn block_ahead(&mut self, id: Id, ahead: u64) -> Option<Block> {
        let mut next: BTreeMap<Author, u64> = BTreeMap::new();
        for reading in self.chain_readings(id) {
            *next.entry(reading.author).or_default() += 1;
        }
        // `pending` is ordered by author and sequence number.
        let mut readings: Vec<Reading> = Vec::new();
        let mut counts: BTreeMap<Author, usize> = BTreeMap::new();
        let limit = max_block_readings(self.room.form());
        for reading in self.node(id).machine().pending() {
            let next = next.entry(reading.author).or_default();
            let count = counts.entry(reading.author).or_default();
            let has_room = readings.len() < limit && *count < MAX_AUTHOR_READINGS;
            if reading.seq == *next && has_room {
                *next += 1;
                *count += 1;
                readings.push(*reading);
            }
        }
        if readings.is_empty() {
            return None;
        }
        let header = self.mined_header(id, &readings, ahead);
        Some(Block { header, readings })
    }
}

/// Mines a header on `parent`, at `now` or the earliest later time that the rules allow. `bits` overrides the correct
/// difficulty.
fn mine(
    window: &Window,
    parent: BlockHash,
    readings: &[Reading],
    now: UnixMillis,
    bits: Option<CompactTarget>,
) -> Header {
    let time = now.max(window.mtp().saturating_add(1));
    let Some(bits) = bits else {
        return mine_header(window, parent, readings, time);
    };
    let mut header = mining::template(window, parent, time, readings);
    header.bits = bits;
    mining::mine(header, u32::MAX).unwrap_or(header)
}

/// Endless branches of minimum-work headers by genesis hash. They are cached because mining them is slow and all runs
/// of a room share them.
static ENDLESS: Mutex<BTreeMap<BlockHash, Branch>> = Mutex::new(BTreeMap::new());

/// The next headers of the endless branch, above the first hash of the locator that is on it.
pub(crate) fn endless_headers(room: &Room, locator: &[BlockHash]) -> Vec<Header> {
    let mut rooms = ENDLESS.lock().unwrap_or_else(PoisonError::into_inner);
    let endless = rooms
        .entry(room.genesis_hash())
        .or_insert_with(|| Branch::in_room(room));
    let shared = locator.iter().find_map(|hash| endless.position(hash));
    let first = shared.map_or(0, |position| position + 1);
    while endless.blocks.len() < first + MAX_HEADERS {
        // Two seconds apart in a room with a target interval of one second: the difficulty stays at its minimum.
        endless.push_at(
            Vec::new(),
            START - 1_000_000_000 + 2_000 * endless.next_index(),
        );
    }
    let headers = endless.blocks[first..first + MAX_HEADERS].iter();
    headers.map(|block| block.header).collect()
}
