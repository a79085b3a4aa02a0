//! A document that a person chose to import: its text, and what it has where. Whether its blocks are valid is the
//! machine's to say.

use chain::{block::Block, reading::Reading, room::Room};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

use super::{
    blocks::{BlockArgumentError, array, block, reading},
    field,
};
use crate::{
    archive::FORMAT,
    check::{Claim, ClaimedReading},
    config::MAX_IMPORT_LEN,
};

#[wasm_bindgen]
extern "C" {
    /// The browser's own, on the browser's own string: the text never enters this memory, which cannot shrink again.
    #[wasm_bindgen(js_namespace = JSON, js_name = parse, catch)]
    fn parse(text: &JsValue) -> Result<JsValue, JsValue>;
}

/// Why a document cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DocumentError {
    /// Not a string.
    #[error("what is imported must be a string: the text of an exported file")]
    NoText,
    /// Too long.
    #[error(
        "this file has {found} characters; at most {max} can be imported, some 70,000 blocks: a tab that has the chain can give it over the network instead"
    )]
    TooLong {
        /// How long it is.
        found: u32,
        /// How long it may be.
        max: u32,
    },
    /// Not JSON, or not a document of ours.
    #[error("this is no file that Heartchain exported: choose one whose name ends in .json")]
    NoDocument,
    /// A format of another version.
    #[error(
        "this file has the format {found:?}, and this page reads {FORMAT:?}: reload the page to get the newest version"
    )]
    Format {
        /// What the file says.
        found: String,
    },
    /// Of another room.
    #[error(
        "this file is of the room {found:?}, and this tab is in {ours:?}: open that room and import it there"
    )]
    OtherRoom {
        /// The file's room.
        found: String,
        /// This tab's.
        ours: String,
    },
    /// Of a room of the same name with other rules.
    #[error(
        "this file is of another room with the name {name:?}: its rules differ from this one's"
    )]
    OtherRules {
        /// Both rooms' name.
        name: String,
    },
    /// A block that is none.
    #[error("block number {position} of this file cannot be read: {source}")]
    Block {
        /// Its place in the file, from 1.
        position: u32,
        /// What is wrong.
        source: BlockArgumentError,
    },
    /// A block whose hash or one of whose ids is not its own.
    #[error("block number {position} of this file was altered: {what} is not its own")]
    Altered {
        /// Its place in the file, from 1.
        position: u32,
        /// Which name is wrong.
        what: &'static str,
    },
    /// A reading that is none.
    #[error("waiting reading number {position} of this file cannot be read: {source}")]
    Reading {
        /// Its place in the file, from 1.
        position: u32,
        /// What is wrong.
        source: BlockArgumentError,
    },
    /// A reading whose id is not its own.
    #[error("waiting reading number {position} of this file was altered: its id is not its own")]
    AlteredReading {
        /// Its place in the file, from 1.
        position: u32,
    },
}

/// A document of this tab's room.
#[derive(Debug)]
pub(crate) struct Document {
    room: Room,
    blocks: js_sys::Array,
    waiting: js_sys::Array,
}

impl Document {
    /// Reads a document's text.
    ///
    /// # Errors
    /// If it is none, or of another room.
    pub(crate) fn read(text: &JsValue, room: &Room) -> Result<Self, DocumentError> {
        let found = text
            .dyn_ref::<js_sys::JsString>()
            .ok_or(DocumentError::NoText)?
            .length();
        if found > MAX_IMPORT_LEN {
            return Err(DocumentError::TooLong {
                found,
                max: MAX_IMPORT_LEN,
            });
        }
        let document = parse(text).map_err(|_| DocumentError::NoDocument)?;
        let text_of = |value: &JsValue, name| field(value, name).and_then(|text| text.as_string());
        let format = text_of(&document, "format").ok_or(DocumentError::NoDocument)?;
        if format != FORMAT {
            return Err(DocumentError::Format { found: format });
        }
        let of = field(&document, "room").ok_or(DocumentError::NoDocument)?;
        let genesis = text_of(&of, "genesis").ok_or(DocumentError::NoDocument)?;
        if genesis != room.genesis_hash().to_string() {
            let found = text_of(&of, "name").ok_or(DocumentError::NoDocument)?;
            let ours = room.params().name().as_str().to_owned();
            return Err(if found == ours {
                DocumentError::OtherRules { name: ours }
            } else {
                DocumentError::OtherRoom { found, ours }
            });
        }
        let list = |name| array(&document, name).map_err(|_| DocumentError::NoDocument);
        Ok(Self {
            room: room.clone(),
            blocks: list("blocks")?,
            waiting: list("waiting")?,
        })
    }

    /// How many blocks it has.
    pub(crate) fn blocks(&self) -> u32 {
        self.blocks.length()
    }

    /// How many readings wait in it.
    pub(crate) fn readings(&self) -> u32 {
        self.waiting.length()
    }

    /// So many of its blocks; genesis, which nobody needs, is passed over.
    ///
    /// # Errors
    /// If one is none, or has another's name.
    pub(crate) fn blocks_from(&self, from: u32, many: usize) -> Result<Vec<Block>, DocumentError> {
        let mut blocks = Vec::new();
        for (at, value) in (from..self.blocks())
            .take(many)
            .map(|at| (at, self.blocks.get(at)))
        {
            let position = at.saturating_add(1);
            let claim =
                block(&value).map_err(|source| DocumentError::Block { position, source })?;
            let Claim {
                hash,
                header,
                readings,
            } = claim;
            let altered = |what| DocumentError::Altered { position, what };
            if header.hash() != hash {
                return Err(altered("its hash"));
            }
            if !readings.iter().all(|claimed| self.is_named_right(claimed)) {
                return Err(altered("the id of a reading"));
            }
            if hash != self.room.genesis_hash() {
                let readings = readings.iter().map(|claimed| claimed.reading).collect();
                blocks.push(Block { header, readings });
            }
        }
        Ok(blocks)
    }

    /// So many of the readings that wait.
    ///
    /// # Errors
    /// If one is none, or has another's name.
    pub(crate) fn readings_from(
        &self,
        from: u32,
        many: usize,
    ) -> Result<Vec<Reading>, DocumentError> {
        let places = (from..self.readings()).take(many);
        places
            .map(|at| {
                let position = at.saturating_add(1);
                let claimed = reading(&self.waiting.get(at))
                    .map_err(|source| DocumentError::Reading { position, source })?;
                if !self.is_named_right(&claimed) {
                    return Err(DocumentError::AlteredReading { position });
                }
                Ok(claimed.reading)
            })
            .collect()
    }

    fn is_named_right(&self, claimed: &ClaimedReading) -> bool {
        claimed.reading.id(self.room.id()) == claimed.id
    }
}
