//! What the benchmarks measure on: rooms, chains and machines made from numbers alone. Measures nothing itself.

use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};

/// When the first block is stamped, Unix ms: any time will do.
pub const START: u64 = 1_800_000_000_000;
/// Ms from block to block: the room's own interval, so that the difficulty stays at the floor.
pub const STEP: u64 = 1_000;

/// A room whose work is the least that a room may ask, because making chains is not what is measured.
pub fn room() -> Room {
    let name = RoomName::new("bench").expect("a short plain name");
    let params = RoomParams::new(name, 8, STEP).expect("within the bounds");
    Room::new(params)
}

/// The keys of `many` authors.
pub fn keys(many: u64) -> Vec<SecretKey> {
    (0..many)
        .map(|number| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            SecretKey::from_seed(seed)
        })
        .collect()
}

/// Grows a valid chain block by block: each of `keys` records once a block.
pub struct Grower {
    room: Room,
    keys: Vec<SecretKey>,
    window: Window,
    tip: chain::hash::BlockHash,
    seq: u64,
}

impl Grower {
    pub fn new(room: Room, keys: Vec<SecretKey>) -> Self {
        Self {
            window: Window::genesis(&room),
            tip: room.genesis_hash(),
            seq: 0,
            room,
            keys,
        }
    }

    /// The next block, stamped [`STEP`] after the last, a part of it sooner or later: so that the difficulty has sums
    /// to do, as it has in rooms.
    pub fn grow(&mut self) -> Block {
        let index = self.window.next_index();
        let jitter = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let time = UnixMillis::new(START + index * STEP + jitter % (STEP / 2));
        let bpm = Bpm::new(60 + u16::try_from(self.seq % 100).unwrap_or(0)).expect("60 to 159");
        let readings: Vec<Reading> = self
            .keys
            .iter()
            .map(|key| key.sign(self.room.id(), self.seq, time, bpm))
            .collect();
        self.seq += 1;
        let block = mine(&self.window, self.tip, time, readings);
        self.window.push(&block.header);
        self.tip = block.header.hash();
        block
    }
}

/// A valid block of these readings.
pub fn mine(
    window: &Window,
    prev_hash: chain::hash::BlockHash,
    time: UnixMillis,
    readings: Vec<Reading>,
) -> Block {
    let template = mining::template(window, prev_hash, time, &readings);
    let header = mining::mine(template, u32::MAX);
    Block {
        header: header.expect("a floor of 8 bits is met within 2^32 tries"),
        readings,
    }
}
