//! Blocks with real work, in any shape of tree.

use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    header::{HEADER_VERSION, Header},
    key::SecretKey,
    merkle::readings_root,
    mining::Job,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};

/// Later than every block's time.
pub(crate) const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

pub(crate) fn room() -> Room {
    let name = RoomName::new("state").expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

pub(crate) fn key(author: u8) -> SecretKey {
    SecretKey::from_seed([author; 32])
}

/// The author's reading at this place; `variant` tells two with one place apart.
pub(crate) fn reading(author: u8, seq: u64, variant: u64) -> Reading {
    let time = UnixMillis::new(variant);
    key(author).sign(room().id(), seq, time, Bpm::MIN)
}

/// Mines a block on a chain of headers that begins with genesis' child, so many ms after its parent.
pub(crate) fn mine(headers: &[Header], readings: Vec<Reading>, gap: u64) -> Block {
    let room = room();
    let window = Window::from_headers(
        &room,
        core::iter::once(*room.genesis()).chain(headers.iter().copied()),
    );
    let parent = headers.last();
    let time = parent.map_or(1_000_000, |parent| parent.time.get()) + gap;
    let time = UnixMillis::new(time.max(window.mtp().get() + 1));
    let mut header = Header {
        version: HEADER_VERSION,
        index: window.next_index(),
        time,
        prev_hash: parent.map_or(room.genesis_hash(), Header::hash),
        readings_root: readings_root(&readings),
        bits: window.next_bits(time),
        nonce: 0,
    };
    let target = header.bits.target().expect("a target");
    header.nonce = Job::new(&header, target)
        .search(0, u32::MAX)
        .expect("the room is easy");
    Block { header, readings }
}
