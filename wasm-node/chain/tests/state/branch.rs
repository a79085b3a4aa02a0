//! Blocks with real work, in any shape of tree.

use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    header::Header,
    key::SecretKey,
    mining,
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
    let prev_hash = parent.map_or(room.genesis_hash(), Header::hash);
    let template = mining::template(&window, prev_hash, time, &readings);
    let header = mining::mine(template, u32::MAX).expect("the room is easy");
    Block { header, readings }
}
