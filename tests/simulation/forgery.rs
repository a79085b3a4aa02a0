//! Forged readings, headers and blocks for misbehaving peers and attackers, valid except for the rule under attack.
//! This module sends nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use heartchain_chain::{
    block::{Block, MAX_BLOCK_READINGS},
    bpm::Bpm,
    difficulty::{WINDOW_HEADERS, Window},
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

use crate::world::{Id, START, World};

impl World {
    /// A reading signed by this peer's key, with a sequence number `more` above its next one.
    pub(crate) fn own_reading(&self, id: Id, more: u64) -> Reading {
        let node = self.node(id);
        let key = SecretKey::from_seed(node.key_seed);
        let linked = self
            .chain_readings(id)
            .filter(|reading| reading.author == key.author())
            .count();
        key.sign(
            self.room.id(),
            linked as u64 + more,
            UnixMillis::new(self.now),
            Bpm::MIN,
        )
    }

    pub(crate) fn chain_readings(&self, id: Id) -> impl Iterator<Item = &Reading> {
        let node = self.node(id);
        (1..=node.machine().status().index)
            .filter_map(|index| node.disk.blocks.get(&node.machine().best_hash(index)?))
            .flat_map(|block| &block.readings)
    }

    pub(crate) fn forged_reading(&mut self) -> Reading {
        let key = SecretKey::from_seed(self.rng.bytes());
        let mut reading = key.sign(self.room.id(), 0, UnixMillis::new(self.now), Bpm::MIN);
        reading.signature = Signature::new([7; 64]);
        reading
    }

    /// A mined header on this peer's tip whose timestamp is that tip's median time past, which is 1 ms too early.
    pub(crate) fn header_at_the_median(&self, id: Id, readings: &[Reading]) -> Header {
        let headers = self.last_headers(id);
        let prev_hash = headers
            .last()
            .map_or(self.room.genesis_hash(), Header::hash);
        let window = Window::from_headers(&self.room, headers);
        mine_on(&window, prev_hash, readings, window.mtp(), None)
    }

    /// A mined header on this peer's tip with a timestamp `ahead` ms in the future.
    pub(crate) fn mined_header(&mut self, id: Id, readings: &[Reading], ahead: u64) -> Header {
        self.mine_header_with_bits(id, readings, ahead, None)
    }

    /// The newest headers of this peer's best branch, as many as the difficulty and time rules need.
    fn last_headers(&self, id: Id) -> Vec<Header> {
        let machine = self.node(id).machine();
        let tip = machine.status().index;
        let first = tip.saturating_sub(WINDOW_HEADERS as u64);
        (first..=tip)
            .filter_map(|index| machine.header(&machine.best_hash(index)?))
            .collect()
    }

    pub(crate) fn mine_header_with_bits(
        &mut self,
        id: Id,
        readings: &[Reading],
        ahead: u64,
        bits: Option<CompactTarget>,
    ) -> Header {
        let headers = self.last_headers(id);
        mine(
            &self.room,
            headers,
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
        for reading in self.node(id).machine().pending() {
            let next = next.entry(reading.author).or_default();
            if reading.seq == *next && readings.len() < MAX_BLOCK_READINGS {
                *next += 1;
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

/// Mines a header on a branch given by its last headers. `bits` overrides the correct difficulty.
pub(crate) fn mine(
    room: &Room,
    headers: Vec<Header>,
    readings: &[Reading],
    now: UnixMillis,
    bits: Option<CompactTarget>,
) -> Header {
    let prev_hash = headers.last().map_or(room.genesis_hash(), Header::hash);
    let window = Window::from_headers(room, headers);
    let time = now.max(window.mtp().saturating_add(1));
    mine_on(&window, prev_hash, readings, time, bits)
}

fn mine_on(
    window: &Window,
    prev_hash: BlockHash,
    readings: &[Reading],
    time: UnixMillis,
    bits: Option<CompactTarget>,
) -> Header {
    let mut header = mining::template(window, prev_hash, time, readings);
    header.bits = bits.unwrap_or(header.bits);
    mining::mine(header, u32::MAX).unwrap_or(header)
}

/// A branch from genesis of minimum-work headers, which grows as needed.
struct Endless {
    window: Window,
    headers: Vec<Header>,
    positions: HashMap<BlockHash, usize>,
}

/// Endless branches by genesis hash. They are cached because mining them is slow and all runs of a room share them.
static ENDLESS: Mutex<BTreeMap<BlockHash, Endless>> = Mutex::new(BTreeMap::new());

/// The next headers of the endless branch, above the first hash of the locator that is on it.
pub(crate) fn endless_headers(room: &Room, locator: &[BlockHash]) -> Vec<Header> {
    let mut rooms = ENDLESS.lock().unwrap_or_else(PoisonError::into_inner);
    let endless = rooms.entry(room.genesis_hash()).or_insert_with(|| Endless {
        window: Window::genesis(room),
        headers: Vec::new(),
        positions: HashMap::new(),
    });
    let shared = locator.iter().find_map(|hash| endless.positions.get(hash));
    let first = shared.map_or(0, |position| position + 1);
    while endless.headers.len() < first + MAX_HEADERS {
        // Two seconds apart in a room with a target interval of one second: the difficulty stays at its minimum.
        let time = START - 1_000_000_000 + 2_000 * endless.window.next_index();
        let prev_hash = endless
            .headers
            .last()
            .map_or(room.genesis_hash(), Header::hash);
        let header = mine_on(&endless.window, prev_hash, &[], UnixMillis::new(time), None);
        endless.window.push(&header);
        endless
            .positions
            .insert(header.hash(), endless.headers.len());
        endless.headers.push(header);
    }
    endless.headers[first..first + MAX_HEADERS].to_vec()
}
