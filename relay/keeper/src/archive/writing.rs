//! Writes an export: the same bytes as the page's. One block is in memory at a time.

use std::io::{self, Write};

use heartchain_chain::{
    block::{Block, check_root},
    hash::BlockHash,
    time::UnixMillis,
};
use serde::Serialize;

use super::rows::{BlockRow, FORMAT, Head, ProfileRow, ReadingRow, RoomRow, TipRow};
use crate::{
    session::handle::Snapshot,
    store::{BlockSnapshot, StoreError},
};

/// Why an export could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The blocks could not be read from the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block of the best branch is not on disk, or is damaged there. Peers are asked for it.
    #[error(
        "block {index} is damaged on this disk, so there is no complete export: try again once peers have sent it"
    )]
    Missing {
        /// The height of the block.
        index: u64,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Writes everything in the snapshot. `exported_at` is the time that the document shows.
pub(crate) fn write(
    snapshot: &Snapshot,
    blocks: &BlockSnapshot,
    exported_at: UnixMillis,
    file: &mut impl Write,
) -> Result<(), WriteError> {
    let room = &snapshot.room;
    let (index, hash) = snapshot.tip;
    let head = json(&Head {
        format: FORMAT.to_owned(),
        exported_at: exported_at.get(),
        room: RoomRow::new(room),
        tip: TipRow {
            index,
            hash: hash.to_string(),
        },
        total_work: snapshot.total_work.clone(),
    })?;
    // The closing brace is removed, because more fields follow.
    let head = head.strip_suffix('}').unwrap_or(&head);
    write!(file, "{head},\n\"blocks\":[\n")?;
    for (at, hash) in snapshot.hashes.iter().enumerate() {
        let block = whole_block(snapshot, blocks, hash)?;
        let block = block.ok_or(WriteError::Missing {
            index: at as u64 + 1,
        })?;
        row(file, at, &BlockRow::new(room.id(), hash, &block))?;
    }
    write!(file, "\n],\n\"waiting\":[\n")?;
    for (at, reading) in snapshot.waiting.iter(room).enumerate() {
        row(file, at, &ReadingRow::new(room.id(), &reading))?;
    }
    write!(file, "\n],\n\"profiles\":[\n")?;
    for (at, profile) in snapshot.profiles.iter().enumerate() {
        row(file, at, &ProfileRow::new(profile))?;
    }
    write!(file, "\n]\n}}\n")?;
    Ok(())
}

/// A block with the body that its header was mined for; `None` if the store does not have it.
fn whole_block(
    snapshot: &Snapshot,
    blocks: &BlockSnapshot,
    hash: &BlockHash,
) -> Result<Option<Block>, StoreError> {
    let block = match snapshot.unwritten.get(hash) {
        Some(block) => Some(block.clone()),
        None => blocks.block(hash)?,
    };
    let is_whole = |block: &Block| {
        block.header.hash() == *hash && check_root(&block.header, &block.readings).is_ok()
    };
    Ok(block.filter(is_whole))
}

/// Writes a row on a line of its own.
fn row(file: &mut impl Write, at: usize, row: &impl Serialize) -> io::Result<()> {
    let separator = if at == 0 { "" } else { ",\n" };
    write!(file, "{separator}{}", json(row)?)
}

fn json(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::from)
}
