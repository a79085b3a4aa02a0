//! Parses the text of a document to import, and returns its blocks and readings piece by piece. Checks ids and hashes;
//! the machine validates everything else.
//!
//! An export has one block, reading or name a line, so it is parsed line by line: parsing a long document as a whole
//! would stop the page. Documents with another layout are parsed as a whole.

use heartchain_chain::{
    block::Block, content::ReadingForm, hash::RoomId, profile::Profile, reading::Reading,
    room::Room,
};
use js_sys::JsString;
use wasm_bindgen::{JsCast, JsValue};

use super::{
    blocks::{BlockArgumentError, ProfileArgumentError, array, block, profile, reading},
    entries::{Entries, Lines, parse},
    fields::field,
};
use crate::check::{BlockClaim, ClaimedReading};

/// The value of the field `format`. A change that older code would misread increments the number.
pub(crate) const FORMAT: &str = "heartchain/export/2";
/// The longest file to import, in UTF-16 units: some 70,000 blocks of ten readings. A document with another layout than an
/// export is parsed as a whole, which takes several times its length in memory, and the longest string of a browser is
/// about twice as long.
const MAX_IMPORT_LEN: u32 = 256_000_000;

/// Why a document cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DocumentError {
    /// The argument is not a string.
    #[error("what is imported must be a string: the text of an exported file")]
    NoText,
    /// The text is too long.
    #[error(
        "this file has {found} characters; at most {max} can be imported, some 70,000 blocks: a tab that has the chain can give it over the network instead"
    )]
    TooLong {
        /// The text's length in UTF-16 units.
        found: u32,
        /// The longest text that is allowed.
        max: u32,
    },
    /// The text is not JSON, or not a Heartchain export.
    #[error("this is no file that Heartchain exported: choose one whose name ends in .json")]
    NoDocument,
    /// The document has another version of the format.
    #[error(
        "this file has the format {found:?}, and this version of Heartchain reads {FORMAT:?}: use the newest version"
    )]
    Format {
        /// The format that the document names.
        found: String,
    },
    /// The document is of another room.
    #[error(
        "this file is of the room {found:?}, and this tab is in {ours:?}: open that room and import it there"
    )]
    OtherRoom {
        /// The name of the document's room.
        found: String,
        /// The name of this tab's room.
        ours: String,
    },
    /// The document or this tab is of a private room, and the other one is of another room.
    #[error(
        "this file is of another room than this tab: open the room of the file and import it there"
    )]
    OtherPrivateRoom,
    /// The document is of a room with the same name but other rules.
    #[error(
        "this file is of another room with the name {name:?}: its rules differ from those of this tab's room"
    )]
    OtherRules {
        /// The name of both rooms.
        name: String,
    },
    /// An entry of `blocks` is not a block.
    #[error("block number {position} of this file cannot be read: {source}")]
    Block {
        /// The entry's position in its list, from 1.
        position: u32,
        /// What is wrong with the entry.
        source: BlockArgumentError,
    },
    /// A block's hash, or the id of one of its readings, does not match the content.
    #[error("block number {position} of this file was altered: {what} does not match its content")]
    Altered {
        /// The entry's position in its list, from 1.
        position: u32,
        /// What does not match: the hash, or a reading's id.
        what: &'static str,
    },
    /// An entry of `waiting` is not a reading.
    #[error("waiting reading number {position} of this file cannot be read: {source}")]
    Reading {
        /// The entry's position in its list, from 1.
        position: u32,
        /// What is wrong with the entry.
        source: BlockArgumentError,
    },
    /// A waiting reading's id does not match its content.
    #[error(
        "waiting reading number {position} of this file was altered: its id does not match its content"
    )]
    AlteredReading {
        /// The entry's position in its list, from 1.
        position: u32,
    },
    /// An entry of `profiles` is not a profile.
    #[error("name number {position} of this file cannot be read: {source}")]
    Profile {
        /// The entry's position in its list, from 1.
        position: u32,
        /// What is wrong with the entry.
        source: ProfileArgumentError,
    },
}

/// A document of this tab's room, as far as it was read.
#[derive(Debug)]
pub(crate) struct Document {
    room: Room,
    blocks: Entries,
    waiting: Entries,
    profiles: Entries,
}

/// Some blocks of a document.
#[derive(Debug)]
pub(crate) struct BlockChunk {
    room: RoomId,
    form: ReadingForm,
    entries: Entries,
}

impl Document {
    /// Parses the beginning of a document's text, or the whole document if it is not laid out like an export.
    ///
    /// # Errors
    /// If the text is not a Heartchain export, or is of another room.
    pub(crate) fn read(text: &JsValue, room: &Room) -> Result<Self, DocumentError> {
        let text: &JsString = text.dyn_ref().ok_or(DocumentError::NoText)?;
        let found = text.length();
        if found > MAX_IMPORT_LEN {
            return Err(DocumentError::TooLong {
                found,
                max: MAX_IMPORT_LEN,
            });
        }
        if let Some(Lines { head, lists }) = Lines::find(text) {
            check_head(&head, room)?;
            let [blocks, waiting, profiles] = lists;
            return Ok(Self {
                room: room.clone(),
                blocks,
                waiting,
                profiles,
            });
        }
        let document = parse(text).map_err(|_| DocumentError::NoDocument)?;
        check_head(&document, room)?;
        let list = |name| {
            let list = array(&document, name).map_err(|_| DocumentError::NoDocument)?;
            Ok(Entries::parsed(list))
        };
        Ok(Self {
            room: room.clone(),
            blocks: list("blocks")?,
            waiting: list("waiting")?,
            profiles: list("profiles")?,
        })
    }

    /// The length of the text of all blocks that are left; 0 if the document was parsed as a whole.
    pub(crate) fn blocks_len(&self) -> u32 {
        self.blocks.text_len()
    }

    /// The next blocks, not parsed yet: at most `limit` with this length of text together, or one longer one, or all that are left
    /// if the document was parsed as a whole; `None` at the end.
    pub(crate) fn next_chunk(&mut self, max_len: u32, limit: usize) -> Option<BlockChunk> {
        let entries = self.blocks.split_next(max_len, limit)?;
        Some(BlockChunk {
            room: self.room.id(),
            form: self.room.form(),
            entries,
        })
    }

    /// The next waiting readings, at most `limit`; none at the end.
    ///
    /// # Errors
    /// If an entry is not a reading, or an id does not match.
    pub(crate) fn next_readings(&mut self, limit: usize) -> Result<Vec<Reading>, DocumentError> {
        let mut readings = Vec::new();
        while readings.len() < limit {
            let Some((position, value)) = next_of(&mut self.waiting)? else {
                break;
            };
            let claimed = reading(self.room.form(), &value)
                .map_err(|source| DocumentError::Reading { position, source })?;
            if claimed.reading.id(self.room.id()) != claimed.id {
                return Err(DocumentError::AlteredReading { position });
            }
            readings.push(claimed.reading);
        }
        Ok(readings)
    }

    /// The next profiles, at most `limit`; none at the end.
    ///
    /// # Errors
    /// If an entry is not a profile.
    pub(crate) fn next_profiles(&mut self, limit: usize) -> Result<Vec<Profile>, DocumentError> {
        let mut profiles = Vec::new();
        while profiles.len() < limit {
            let Some((position, value)) = next_of(&mut self.profiles)? else {
                break;
            };
            let profile = profile(self.room.form(), &value)
                .map_err(|source| DocumentError::Profile { position, source })?;
            profiles.push(profile);
        }
        Ok(profiles)
    }
}

impl BlockChunk {
    /// A part of an export of this room, as [`Self::text`] returned it.
    pub(crate) fn of_text(room: RoomId, form: ReadingForm, text: &JsString) -> Self {
        Self {
            room,
            form,
            entries: Entries::of_text(text),
        }
    }

    /// The text of the blocks; `None` if the document was parsed as a whole.
    pub(crate) fn text(&self) -> Option<JsString> {
        self.entries.text()
    }

    /// Parses the next block; `None` at the end. Genesis is skipped, because it follows from the room.
    ///
    /// # Errors
    /// If an entry is not a block, or a hash or id does not match.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, DocumentError> {
        let Some((position, value)) = next_of(&mut self.entries)? else {
            return Ok(None);
        };
        let claim =
            block(self.form, &value).map_err(|source| DocumentError::Block { position, source })?;
        let BlockClaim {
            hash,
            header,
            readings,
        } = claim;
        let altered = |what| DocumentError::Altered { position, what };
        if header.hash() != hash {
            return Err(altered("its hash"));
        }
        let mut bodies = Vec::with_capacity(readings.len());
        for ClaimedReading { id, reading } in readings {
            if reading.id(self.room) != id {
                return Err(altered("the id of a reading"));
            }
            bodies.push(reading);
        }
        Ok(Some(Block {
            header,
            readings: bodies,
        }))
    }
}

/// The next entry of a list and its position, from 1.
fn next_of(list: &mut Entries) -> Result<Option<(u32, JsValue)>, DocumentError> {
    list.take_next().map_err(|_| DocumentError::NoDocument)
}

/// Checks the first fields of a document: its format and its room.
fn check_head(head: &JsValue, room: &Room) -> Result<(), DocumentError> {
    let text_of = |value: &JsValue, name| field(value, name).and_then(|text| text.as_string());
    let format = text_of(head, "format").ok_or(DocumentError::NoDocument)?;
    if format != FORMAT {
        return Err(DocumentError::Format { found: format });
    }
    let document_room = field(head, "room").ok_or(DocumentError::NoDocument)?;
    let genesis = text_of(&document_room, "genesis").ok_or(DocumentError::NoDocument)?;
    if genesis == room.genesis_hash().to_string() {
        return Ok(());
    }
    let found = text_of(&document_room, "name");
    let ours = room.params().name().map(ToString::to_string);
    let (Some(found), Some(ours)) = (found, ours) else {
        return Err(DocumentError::OtherPrivateRoom);
    };
    Err(if found == ours {
        DocumentError::OtherRules { name: ours }
    } else {
        DocumentError::OtherRoom { found, ours }
    })
}
