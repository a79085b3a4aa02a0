//! The encoding of the journal's mirror: pages of entries, and a manifest that lists the pages. Never touches storage.
//! Specified in docs/storage.md, "The second copy".

use heartchain_chain::{bpm::Bpm, time::UnixMillis};
use heartchain_sync::io::JournalEntry;
use litemap::LiteMap;

/// Journal positions per page of the mirror: adding an entry writes at most 2,000 characters.
pub(crate) const MIRROR_PAGE: u8 = 64;

/// Length of an entry in bytes: its index on the page, time, heart rate, and the position of the entry that it
/// replaces.
const ROW_LEN: usize = 1 + 8 + 2 + 4;
/// Marks an entry that replaces no other.
const REPLACES_NONE: u32 = u32::MAX;
/// Length of the manifest before its rows: the version, the journal's length, and the number of dropped entries.
const MANIFEST_LEN: usize = 1 + 8 + 8;
/// Length of a manifest row in bytes: a page's number, and its number of entries.
const MANIFEST_ROW_LEN: usize = 4 + 1;
/// The version of this format.
const VERSION: u8 = 1;

/// Encoded pages, by page number.
pub(super) type Pages = LiteMap<u32, Vec<u8>>;

/// The manifest of a mirrored journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The number of entries in the journal.
    pub(super) journal_len: u64,
    /// The number of unconfirmed entries that did not fit into the mirror.
    pub(super) dropped: u64,
    /// The number of entries on each page.
    pub(super) pages: LiteMap<u32, u8>,
}

impl Manifest {
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        body.extend(self.journal_len.to_le_bytes());
        body.extend(self.dropped.to_le_bytes());
        for (number, count) in &self.pages {
            body.extend(number.to_le_bytes());
            body.push(*count);
        }
        body
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (prefix, rows) = body.split_first_chunk::<MANIFEST_LEN>()?;
        let ([version], numbers) = prefix.split_first_chunk::<1>()?;
        let (journal_len, dropped) = numbers.split_first_chunk::<8>()?;
        let (rows, []) = rows.as_chunks::<MANIFEST_ROW_LEN>() else {
            return None;
        };
        let mut pages = LiteMap::new();
        for [a, b, c, d, count] in rows {
            pages.insert(u32::from_le_bytes([*a, *b, *c, *d]), *count);
        }
        (*version == VERSION).then_some(Self {
            journal_len: u64::from_le_bytes(*journal_len),
            dropped: u64::from_le_bytes(dropped.try_into().ok()?),
            pages,
        })
    }
}

/// Encodes entries as pages, without the prefixes of their IDs, which the few entries here compute again. Skips positions beyond the `u32` range of pages, which no journal reaches.
pub(super) fn pages(entries: &LiteMap<u64, JournalEntry>) -> Pages {
    let mut pages = Pages::new();
    for (position, entry) in entries {
        let page = u32::try_from(position / u64::from(MIRROR_PAGE));
        let (Ok(page), Ok(index)) = (page, u8::try_from(position % u64::from(MIRROR_PAGE))) else {
            continue;
        };
        let replaces = entry
            .replaces
            .map_or(Some(REPLACES_NONE), |at| u32::try_from(at).ok());
        let row = pages.entry(page).or_default();
        row.push(index);
        row.extend(entry.time.get().to_le_bytes());
        row.extend(entry.bpm.get().to_le_bytes());
        row.extend(replaces.unwrap_or(REPLACES_NONE).to_le_bytes());
    }
    pages
}

/// The number of entries on a page.
pub(super) fn count(body: &[u8]) -> u8 {
    u8::try_from(body.len() / ROW_LEN).unwrap_or(u8::MAX)
}

/// Decodes the entries of a page; `None` if it is malformed.
pub(super) fn read(number: u32, body: &[u8]) -> Option<Vec<(u64, JournalEntry)>> {
    let (rows, []) = body.as_chunks::<ROW_LEN>() else {
        return None;
    };
    let first = u64::from(number) * u64::from(MIRROR_PAGE);
    rows.iter().map(|row| read_row(first, row)).collect()
}

fn read_row(first: u64, row: &[u8; ROW_LEN]) -> Option<(u64, JournalEntry)> {
    let ([index], rest) = row.split_first_chunk::<1>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (bpm, replaces) = rest.split_first_chunk::<2>()?;
    let replaces = u32::from_le_bytes(replaces.try_into().ok()?);
    let entry = JournalEntry {
        time: UnixMillis::new(u64::from_le_bytes(*time)),
        bpm: Bpm::new(u16::from_le_bytes(*bpm)).ok()?,
        replaces: (replaces != REPLACES_NONE).then(|| u64::from(replaces)),
        prefix: None,
    };
    Some((first + u64::from(*index), entry))
}
