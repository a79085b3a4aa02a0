//! Restores a machine from a store, a few blocks at a time, in the order in which a tab does. Damaged records are left
//! out and counted; the machine validates blocks.

use core::fmt::Debug;

use heartchain_chain::{
    block::Block, content::ReadingForm, hash::BlockHash, key::SecretKey, room::Room,
};
use heartchain_peer::records;
use heartchain_sync::{Config, Machine, Now, Restore};
use redb::{Key, ReadTransaction, ReadableTable as _, TableDefinition, Value};

use super::schema::{ADOPTED, BLOCKS, CONFIRMED, JOURNAL, KEYS, META, PROFILES, RECOVERY, TIP};

/// Blocks that are in memory at a time: at most 8 MiB.
const LOADED_BLOCKS: usize = 64;

/// What a machine is started with, apart from its store.
#[derive(Clone, Debug)]
pub struct Start {
    /// The room that it joins.
    pub room: Room,
    /// The key that signs until another one takes over.
    pub first_key: SecretKey,
    /// Whether the machine mines.
    pub mining: bool,
    /// The seed of its randomness, which must be unpredictable.
    pub seed: [u8; 32],
    /// The time of the start.
    pub now: Now,
}

/// A machine as it was when its store was closed.
#[derive(Debug)]
pub struct Restored<P> {
    /// The machine, which has had no input yet.
    pub machine: Machine<P>,
    /// Records that were damaged, or blocks whose bytes differ from what was written.
    pub damaged: usize,
}

pub(super) fn restore<P: Copy + Ord + Debug>(
    read: &ReadTransaction,
    start: Start,
) -> Result<Restored<P>, redb::Error> {
    let Start {
        room,
        first_key,
        mining,
        seed,
        now,
    } = start;
    let form = room.form();
    let mut damaged = 0;
    let keys = all(read, KEYS, &mut damaged, |from, bytes| {
        let seed = records::read_seed(&records::key_location(from), bytes)?;
        Some((from, SecretKey::from_seed(seed)))
    })?;
    let mut restore = Restore::new(Config { mining }, room, first_key, keys, seed, now);
    restore.journal(all(read, JOURNAL, &mut damaged, |position, bytes| {
        Some((position, records::read_entry(position, bytes)?))
    })?);
    restore.tip(hash(read, TIP)?);
    restore.confirmed(hash(read, CONFIRMED)?);
    restore_blocks(read, form, &mut restore, &mut damaged)?;
    restore.recovery(all(read, RECOVERY, &mut damaged, |hash, ()| {
        Some(BlockHash::new(*hash))
    })?);
    restore.adopted(all(read, ADOPTED, &mut damaged, |_, bytes| {
        records::read_adopted(form, bytes)
    })?);
    restore.profiles(all(read, PROFILES, &mut damaged, |author, bytes| {
        records::read_profile(form, author, bytes)
    })?);
    let damaged = damaged.saturating_add(restore.damaged());
    let machine = restore.finish();
    Ok(Restored { machine, damaged })
}

fn restore_blocks<P: Copy + Ord + Debug>(
    read: &ReadTransaction,
    form: ReadingForm,
    restore: &mut Restore<P>,
    damaged: &mut usize,
) -> Result<(), redb::Error> {
    let mut blocks = Vec::with_capacity(LOADED_BLOCKS);
    for row in read.open_table(BLOCKS)?.iter()? {
        let (key, value) = row?;
        match Block::decode(form, value.value()) {
            Ok(block) => blocks.push((records::parse_block_key(key.value()).1, block)),
            Err(_) => *damaged += 1,
        }
        if blocks.len() >= LOADED_BLOCKS {
            restore.blocks(blocks.drain(..));
        }
    }
    restore.blocks(blocks);
    Ok(())
}

/// All records of a table that can be decoded.
fn all<K: Key + 'static, V: Value + 'static, T>(
    read: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    damaged: &mut usize,
    decode: impl for<'a> Fn(K::SelfType<'a>, V::SelfType<'a>) -> Option<T>,
) -> Result<Vec<T>, redb::Error> {
    let mut found = Vec::new();
    for row in read.open_table(table)?.iter()? {
        let (key, value) = row?;
        match decode(key.value(), value.value()) {
            Some(item) => found.push(item),
            None => *damaged += 1,
        }
    }
    Ok(found)
}

/// A block hash in `meta`.
fn hash(read: &ReadTransaction, name: &str) -> Result<Option<BlockHash>, redb::Error> {
    let meta = read.open_table(META)?;
    let value = meta.get(name)?;
    let bytes = value.and_then(|value| value.value().try_into().ok());
    Ok(bytes.map(BlockHash::new))
}
