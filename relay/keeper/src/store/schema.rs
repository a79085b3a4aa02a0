//! The tables of a store and its version. Reads and writes no records.

use heartchain_peer::records::BLOCK_KEY_LEN;
use redb::TableDefinition;

/// The version of the tables and records. A keeper opens no store of a newer one.
pub const STORE_VERSION: u64 = 1;

/// The version, the room, the author, the best tip and the newest confirmed block, by name.
pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Later keys, by the position of the first journal entry that each signs.
pub(crate) const KEYS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("keys");
/// Readings that were recorded here, by their position.
pub(crate) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// Hashes of confirmed blocks that left the best branch and whose readings are not all confirmed again.
pub(crate) const RECOVERY: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("recovery");
/// Blocks, by height and hash.
pub(crate) const BLOCKS: TableDefinition<'_, &[u8; BLOCK_KEY_LEN], &[u8]> =
    TableDefinition::new("blocks");
/// The height of each block, by its hash.
pub(crate) const HEIGHTS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("heights");
/// Unconfirmed readings of others that this keeper offers until they are confirmed, by reading ID.
pub(crate) const ADOPTED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("adopted");
/// The names of authors, by author.
pub(crate) const PROFILES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("profiles");

/// The name of the version in [`META`]: eight bytes, little-endian.
pub(crate) const VERSION: &str = "version";
/// The name of the room's genesis hash in [`META`].
pub(crate) const ROOM: &str = "room";
/// The name of the public half of the first key in [`META`].
pub(crate) const AUTHOR: &str = "author";
/// The name of the best tip in [`META`].
pub(crate) const TIP: &str = "tip";
/// The name of the newest confirmed block of the best branch in [`META`].
pub(crate) const CONFIRMED: &str = "confirmed";
