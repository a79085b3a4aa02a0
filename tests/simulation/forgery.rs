//! What liars make: readings, headers and blocks, right but for what their lie needs. Sends nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use chain::{
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
use sync::message::MAX_HEADERS;

use crate::world::{Id, START, World};

impl World {
    /// A reading by this peer's key, `more` places after its next one.
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
        let key = SecretKey::from_seed(self.dice.bytes());
        let mut reading = key.sign(self.room.id(), 0, UnixMillis::new(self.now), Bpm::MIN);
        reading.signature = Signature::new([7; 64]);
        reading
    }

    /// A header with work on this peer's tip whose time is that tip's median time past, which is too early by 1 ms.
    pub(crate) fn header_at_the_median(&self, id: Id, readings: &[Reading]) -> Header {
        let headers = self.last_headers(id);
        let prev_hash = headers
            .last()
            .map_or(self.room.genesis_hash(), Header::hash);
        let window = Window::from_headers(&self.room, headers);
        mine_on(&window, prev_hash, readings, window.mtp(), None)
    }

    /// A header with work on this peer's tip, so many ms ahead of the truth.
    pub(crate) fn mined_header(&mut self, id: Id, readings: &[Reading], ahead: u64) -> Header {
        self.headers_and_mine(id, readings, ahead, None)
    }

    /// The newest headers of this peer's best branch, as many as the rules look at.
    fn last_headers(&self, id: Id) -> Vec<Header> {
        let machine = self.node(id).machine();
        let tip = machine.status().index;
        let first = tip.saturating_sub(WINDOW_HEADERS as u64);
        (first..=tip)
            .filter_map(|index| machine.header(&machine.best_hash(index)?))
            .collect()
    }

    pub(crate) fn headers_and_mine(
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

    /// A valid block of what waits at this peer, stamped so many ms ahead of the truth; `None` if nothing waits.
    pub(crate) fn block_ahead(&mut self, id: Id, ahead: u64) -> Option<Block> {
        let mut next: BTreeMap<Author, u64> = BTreeMap::new();
        for reading in self.chain_readings(id) {
            *next.entry(reading.author).or_default() += 1;
        }
        // They come by author and place.
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

/// Mines a header on a branch's last headers; the rule's bits, unless told otherwise.
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

/// A branch from genesis with the least work that headers may have, as long as anybody likes.
struct Endless {
    window: Window,
    headers: Vec<Header>,
    places: HashMap<BlockHash, usize>,
}

/// Making it is slow, and it is the same in every run of a room.
static ENDLESS: Mutex<BTreeMap<BlockHash, Endless>> = Mutex::new(BTreeMap::new());

/// The next headers of a branch without end, above the first of these hashes that is on it.
pub(crate) fn endless_headers(room: &Room, locator: &[BlockHash]) -> Vec<Header> {
    let mut rooms = ENDLESS.lock().unwrap_or_else(PoisonError::into_inner);
    let endless = rooms.entry(room.genesis_hash()).or_insert_with(|| Endless {
        window: Window::genesis(room),
        headers: Vec::new(),
        places: HashMap::new(),
    });
    let shared = locator.iter().find_map(|hash| endless.places.get(hash));
    let first = shared.map_or(0, |place| place + 1);
    while endless.headers.len() < first + MAX_HEADERS {
        // Two seconds apart in a room of one a second: the difficulty stays at its least.
        let time = START - 1_000_000_000 + 2_000 * endless.window.next_index();
        let prev_hash = endless
            .headers
            .last()
            .map_or(room.genesis_hash(), Header::hash);
        let header = mine_on(&endless.window, prev_hash, &[], UnixMillis::new(time), None);
        endless.window.push(&header);
        endless.places.insert(header.hash(), endless.headers.len());
        endless.headers.push(header);
    }
    endless.headers[first..first + MAX_HEADERS].to_vec()
}
