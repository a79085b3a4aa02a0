//! Fixtures: blocks with real proof of work, in trees of any shape.

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    header::Header,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::{MonotonicMillis, UnixMillis},
    tree::Tree,
};

/// A wall-clock time after every block.
pub(crate) const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);
pub(crate) const ARRIVAL: MonotonicMillis = MonotonicMillis::new(1_000_000);

pub(crate) fn room() -> Room {
    let name = RoomName::new("state").expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

pub(crate) fn key(author: u8) -> SecretKey {
    SecretKey::from_seed([author; 32])
}

/// The author's reading with this `seq`. `variant` distinguishes two readings with the same `seq`.
pub(crate) fn reading(author: u8, seq: u64, variant: u64) -> Reading {
    let time = UnixMillis::new(variant);
    key(author).sign(room().id(), seq, time, Bpm::MIN)
}

/// Mines a block `gap` ms after its parent on a chain of headers that starts with genesis' child.
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

/// Inserts a block with its body into the tree.
pub(crate) fn insert(tree: &mut Tree, block: &Block) {
    let inserted = tree
        .insert_header(&block.header, NOW)
        .expect("a valid header");
    tree.insert_checked_body(&inserted.hash, &block.readings);
}

/// A chain of this many blocks with one reading of `author` each.
pub(crate) fn chain(author: u8, blocks: u64) -> Vec<Block> {
    let mut headers: Vec<Header> = Vec::new();
    let mut chain = Vec::new();
    for seq in 0..blocks {
        let block = mine(&headers, vec![reading(author, seq, 0)], 1_000);
        headers.push(block.header);
        chain.push(block);
    }
    chain
}

/// A tree with these blocks, inserted one after the other.
pub(crate) fn tree_of(blocks: &[Block]) -> Tree {
    let mut tree = Tree::new(room());
    for block in blocks {
        insert(&mut tree, block);
        tree.advance();
    }
    tree
}
