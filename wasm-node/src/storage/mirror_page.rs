//! How the copy of a journal is written: pages of entries, and a head that names them. Never touches any storage.

use std::collections::BTreeMap;

use chain::{bpm::Bpm, time::UnixMillis};
use sync::seam::JournalEntry;

use crate::config::MIRROR_PAGE;

/// Bytes of an entry: its place on the page, its time, its heart rate, and which entry it signs again.
const ROW: usize = 1 + 8 + 2 + 4;
/// An entry that signs no other again.
const SIGNS_FIRST: u32 = u32::MAX;
/// Bytes of a head before its pages: the version, the journal's length, and how many entries have no place.
const HEAD: usize = 1 + 8 + 8;
/// Bytes of a page in the head: its number, and how many entries it has.
const HEAD_ROW: usize = 4 + 1;
/// The version of this format.
const VERSION: u8 = 1;

/// Pages by their numbers.
pub(super) type Pages = BTreeMap<u32, Vec<u8>>;

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many entries the journal has.
    pub(super) journal_len: u64,
    /// Unconfirmed entries that have no place in the copy.
    pub(super) dropped: u64,
    /// How many entries each page has.
    pub(super) pages: BTreeMap<u32, u8>,
}

impl Head {
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
        let (head, rows) = body.split_first_chunk::<HEAD>()?;
        let ([version], numbers) = head.split_first_chunk::<1>()?;
        let (journal_len, dropped) = numbers.split_first_chunk::<8>()?;
        let (rows, []) = rows.as_chunks::<HEAD_ROW>() else {
            return None;
        };
        let row =
            |[a, b, c, d, count]: &[u8; HEAD_ROW]| (u32::from_le_bytes([*a, *b, *c, *d]), *count);
        (*version == VERSION).then_some(Self {
            journal_len: u64::from_le_bytes(*journal_len),
            dropped: u64::from_le_bytes(dropped.try_into().ok()?),
            pages: rows.iter().map(row).collect(),
        })
    }
}

/// The pages of these entries. Positions that no journal of ours reaches have none.
pub(super) fn pages(entries: &BTreeMap<u64, JournalEntry>) -> Pages {
    let mut pages = Pages::new();
    for (position, entry) in entries {
        let page = u32::try_from(position / u64::from(MIRROR_PAGE));
        let (Ok(page), Ok(place)) = (page, u8::try_from(position % u64::from(MIRROR_PAGE))) else {
            continue;
        };
        let resigns = entry
            .resigns
            .map_or(Some(SIGNS_FIRST), |at| u32::try_from(at).ok());
        let row = pages.entry(page).or_default();
        row.push(place);
        row.extend(entry.time.get().to_le_bytes());
        row.extend(entry.bpm.get().to_le_bytes());
        row.extend(resigns.unwrap_or(SIGNS_FIRST).to_le_bytes());
    }
    pages
}

/// How many entries a page has.
pub(super) fn count(body: &[u8]) -> u8 {
    u8::try_from(body.len() / ROW).unwrap_or(u8::MAX)
}

/// The entries of a page. `None`: it is no page.
pub(super) fn read(number: u32, body: &[u8]) -> Option<Vec<(u64, JournalEntry)>> {
    let (rows, []) = body.as_chunks::<ROW>() else {
        return None;
    };
    let first = u64::from(number) * u64::from(MIRROR_PAGE);
    rows.iter().map(|row| read_row(first, row)).collect()
}

fn read_row(first: u64, row: &[u8; ROW]) -> Option<(u64, JournalEntry)> {
    let ([place], rest) = row.split_first_chunk::<1>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (bpm, resigns) = rest.split_first_chunk::<2>()?;
    let resigns = u32::from_le_bytes(resigns.try_into().ok()?);
    let entry = JournalEntry {
        time: UnixMillis::new(u64::from_le_bytes(*time)),
        bpm: Bpm::new(u16::from_le_bytes(*bpm)).ok()?,
        resigns: (resigns != SIGNS_FIRST).then(|| u64::from(resigns)),
    };
    Some((first + u64::from(*place), entry))
}
