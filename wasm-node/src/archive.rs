//! Export and import of a room as one document: JSON that anyone can verify and another tab can import, or CSV for
//! spreadsheets. `EXPORT.md` specifies both. Documents are processed in pieces, so that a long chain is never in memory
//! at once, and the page stays usable meanwhile. The machine validates what is imported, not this module.

use futures::channel::oneshot;
use heartchain_chain::{
    hash::BlockHash,
    header::Header,
    key::Author,
    profile::Profile,
    reading::Reading,
    room::{Room, RoomKind, RoomName},
};
use heartchain_sync::{
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_PROFILES, MAX_IMPORT_READINGS},
    io::{ImportError, ImportPiece, Imported},
};
use serde::Serialize;

use crate::{
    arguments::{Document, DocumentError, FORMAT, Separator},
    clock,
    next_task::Pauses,
    node::{Command, Node, NodeError},
    view::{BlockView, ImportedView, ProfileView, ReadingView, TipView},
};
use heartchain_peer::net::peer_id_of_author;

/// The result of a piece that was sent to the machine.
type PieceAnswer = oneshot::Receiver<Result<Imported, ImportError>>;

/// Blocks of an export that are read at a time at most.
const MAX_EXPORT_BLOCKS: usize = 128;
/// Readings of an export that are read or written at a time, more or less: half a megabyte of text.
const EXPORT_READINGS: usize = 1_024;
/// Readings of imported blocks that are enough for a piece. The last block of a piece may have that many, too.
const IMPORT_READINGS: usize = 512;

/// The file format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Json,
    Csv(Separator),
}

/// Without this mark, Excel reads UTF-8 as another encoding.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The columns of a CSV. `name` is what the page shows of an author.
const CSV_COLUMNS: [&str; 9] = [
    "local_time",
    "time_zone",
    "utc_time",
    "name",
    "bpm",
    "block",
    "author",
    "seq",
    "id",
];

/// Letters of an author's name: the end of its peer ID, as on the page.
const NAME_LEN: usize = 6;

/// The first fields of a JSON document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    format: &'static str,
    exported_at: u64,
    room: RoomView<'a>,
    tip: TipView,
    total_work: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
    floor_bits: u8,
    block_interval_ms: u64,
    genesis: String,
}

/// The best branch and the pending readings at one moment.
#[derive(Debug)]
struct Snapshot {
    room: Room,
    tip: TipView,
    total_work: String,
    hashes: Vec<BlockHash>,
    waiting: Vec<Reading>,
    /// The names of authors as they were signed: at most 4,096.
    profiles: Vec<Profile>,
}

impl Node {
    /// Exports everything this tab knows of its room. Passes the document's text to `write` chunk by chunk.
    ///
    /// # Errors
    /// If storage fails, or blocks of the export leave the best branch and are deleted meanwhile.
    pub(crate) async fn export(
        &self,
        format: ExportFormat,
        mut write: impl FnMut(&str),
    ) -> Result<(), NodeError> {
        let snapshot = self.snapshot()?;
        let room = &snapshot.room;
        let view = |reading: &Reading| match format {
            ExportFormat::Json => ReadingView::as_sent(room, reading),
            ExportFormat::Csv(_) => ReadingView::new(room, reading),
        };
        let mut pauses = Pauses::new();
        write(&format.head(&snapshot)?);
        let mut first = true;
        let mut rest = snapshot.hashes.as_slice();
        let mut many = 1;
        while !rest.is_empty() {
            let (hashes, after) = rest.split_at(many.min(rest.len()));
            rest = after;
            let blocks = self.read_blocks(hashes).await?;
            let found: usize = blocks.iter().map(|(_, _, body)| body.len()).sum();
            for (hash, header, body) in &blocks {
                let mut text = String::new();
                format.push_separator(&mut text, &mut first);
                let block = BlockView::new(*hash, header, body.iter().map(&view));
                format.push_block(&mut text, &block)?;
                write(&text);
                pauses.pause_if_due().await;
            }
            many = next_chunk(hashes.len(), found);
        }
        write(format.middle());
        first = true;
        for readings in snapshot.waiting.chunks(EXPORT_READINGS) {
            let mut text = String::new();
            for reading in readings {
                format.push_separator(&mut text, &mut first);
                format.push_reading(&mut text, &view(reading))?;
            }
            write(&text);
            pauses.pause_if_due().await;
        }
        if format == ExportFormat::Json {
            write("\n],\n\"profiles\":[\n");
            first = true;
            let mut text = String::new();
            for profile in &snapshot.profiles {
                format.push_separator(&mut text, &mut first);
                text.push_str(&json(&ProfileView::as_sent(profile))?);
            }
            write(&text);
        }
        write(format.tail());
        Ok(())
    }

    /// Imports a document piece by piece, after the imports that have begun before.
    ///
    /// # Errors
    /// At the first block or reading that breaks a rule. What came before it is kept.
    pub(crate) async fn import(&self, mut document: Document) -> Result<ImportedView, NodeError> {
        let _turn = self.import_turn.lock().await;
        let result = self.import_all(&mut document).await;
        // The machine is told that the import is over, whether it succeeded or not.
        let last = ImportPiece {
            is_last: true,
            ..ImportPiece::default()
        };
        let ended = self.send_piece(last)?.await;
        let imported = result?;
        ended.map_err(|_| NodeError::Stopped)??;
        Ok(imported)
    }

    async fn import_all(&self, document: &mut Document) -> Result<ImportedView, NodeError> {
        let mut total = ImportedView::default();
        let mut pauses = Pauses::new();
        // A piece is read while the one before is verified and written.
        let mut earlier: Option<PieceAnswer> = None;
        loop {
            pauses.pause_if_due().await;
            let next = match next_piece(document) {
                Ok(Some(piece)) => self.send_piece(piece).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error.into()),
            };
            if let Some(answer) = earlier.take() {
                total.add(answer.await.map_err(|_| NodeError::Stopped)??);
            }
            earlier = next?;
            if earlier.is_none() {
                return Ok(total);
            }
        }
    }

    fn send_piece(&self, piece: ImportPiece) -> Result<PieceAnswer, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Import(Box::new(piece), reply))?;
        Ok(answer)
    }

    fn snapshot(&self) -> Result<Snapshot, NodeError> {
        self.with_state(|state| {
            let machine = &state.machine;
            let status = machine.status();
            let hashes = (1..=status.index).map_while(|index| machine.best_hash(index));
            Snapshot {
                room: machine.room().clone(),
                tip: TipView {
                    index: status.index,
                    hash: status.tip.to_string(),
                },
                total_work: status.total_work.to_string(),
                hashes: hashes.collect(),
                waiting: machine.pending().copied().collect(),
                profiles: machine.profiles().cloned().collect(),
            }
        })
    }

    async fn read_blocks(
        &self,
        hashes: &[BlockHash],
    ) -> Result<Vec<(BlockHash, Header, Vec<Reading>)>, NodeError> {
        let headers = self.with_state(|state| {
            let headers = hashes.iter().map(|hash| state.machine.header(hash));
            headers.collect::<Option<Vec<_>>>()
        })?;
        let bodies = self.bodies(hashes.to_vec()).await?;
        let headers = headers.ok_or(NodeError::LeftBehind)?;
        let blocks = hashes.iter().zip(headers).zip(bodies);
        blocks
            .map(|((hash, header), body)| {
                let Some(body) = body else {
                    let block = (header.index, *hash);
                    return Err(self.missing_body_error(block, NodeError::LeftBehind)?);
                };
                Ok((*hash, header, body))
            })
            .collect()
    }
}

/// How many blocks to read next, after this many had so many readings.
fn next_chunk(blocks: usize, readings: usize) -> usize {
    let fitting = blocks.saturating_mul(EXPORT_READINGS) / readings.max(1);
    // A few small blocks may come before many large ones.
    let longest = blocks.saturating_mul(4).min(MAX_EXPORT_BLOCKS);
    fitting.clamp(1, longest)
}

/// The next blocks of a document, or, after its last block, the next readings, or at last profiles; `None` at the end.
fn next_piece(document: &mut Document) -> Result<Option<ImportPiece>, DocumentError> {
    let mut piece = ImportPiece {
        blocks: document.next_blocks(MAX_IMPORT_BLOCKS, IMPORT_READINGS)?,
        ..ImportPiece::default()
    };
    if piece.blocks.is_empty() {
        piece.readings = document.next_readings(MAX_IMPORT_READINGS.min(IMPORT_READINGS))?;
    }
    if piece.blocks.is_empty() && piece.readings.is_empty() {
        piece.profiles = document.next_profiles(MAX_IMPORT_PROFILES.min(IMPORT_READINGS))?;
    }
    let is_empty =
        piece.blocks.is_empty() && piece.readings.is_empty() && piece.profiles.is_empty();
    Ok((!is_empty).then_some(piece))
}

impl ExportFormat {
    fn head(self, snapshot: &Snapshot) -> Result<String, NodeError> {
        match self {
            Self::Json => {
                let params = snapshot.room.params();
                let head = json(&Head {
                    format: FORMAT,
                    exported_at: clock::now().get(),
                    room: RoomView {
                        name: params.name().map(RoomName::as_str),
                        commitment: match params.kind() {
                            RoomKind::Open { .. } => None,
                            RoomKind::Private { commitment } => Some(commitment.to_string()),
                        },
                        floor_bits: params.floor_bits(),
                        block_interval_ms: params.block_interval_ms(),
                        genesis: snapshot.room.genesis_hash().to_string(),
                    },
                    tip: snapshot.tip.clone(),
                    total_work: snapshot.total_work.clone(),
                })?;
                // The closing brace is removed, because more fields follow.
                Ok(format!(
                    "{},\n\"blocks\":[\n",
                    head.strip_suffix('}').unwrap_or(&head)
                ))
            }
            Self::Csv(separator) => Ok(format!(
                "{BYTE_ORDER_MARK}{}\r\n",
                CSV_COLUMNS.join(separator.text())
            )),
        }
    }

    fn push_separator(self, text: &mut String, first: &mut bool) {
        if self == Self::Json && !std::mem::take(first) {
            text.push_str(",\n");
        }
    }

    fn push_block(self, text: &mut String, block: &BlockView) -> Result<(), NodeError> {
        match self {
            Self::Json => text.push_str(&json(block)?),
            Self::Csv(separator) => {
                for reading in &block.readings {
                    text.push_str(&csv_row(reading, &block.index.to_string(), separator));
                }
            }
        }
        Ok(())
    }

    const fn middle(self) -> &'static str {
        match self {
            Self::Json => "\n],\n\"waiting\":[\n",
            Self::Csv(_) => "",
        }
    }

    fn push_reading(self, text: &mut String, reading: &ReadingView) -> Result<(), NodeError> {
        match self {
            Self::Json => text.push_str(&json(reading)?),
            Self::Csv(separator) => text.push_str(&csv_row(reading, "", separator)),
        }
        Ok(())
    }

    const fn tail(self) -> &'static str {
        match self {
            Self::Json => "\n]\n}\n",
            Self::Csv(_) => "",
        }
    }
}

/// One line of the CSV. No field is free text, so none has to be quoted.
fn csv_row(reading: &ReadingView, block: &str, separator: Separator) -> String {
    let ReadingView {
        id,
        author,
        seq,
        time,
        bpm,
        sealed: _,
        signature: _,
    } = reading;
    // The times and the heart rate are empty if the reading cannot be read here.
    let (local, zone) = time.map(clock::local).unwrap_or_default();
    let fields = [
        local,
        zone,
        time.map(clock::iso).unwrap_or_default(),
        name_of(author),
        bpm.map(|bpm| bpm.to_string()).unwrap_or_default(),
        block.to_owned(),
        author.clone(),
        seq.to_string(),
        id.clone(),
    ];
    format!("{}\r\n", fields.join(separator.text()))
}

/// The short name of an author; empty if the key is not hex, which no reading has.
fn name_of(author: &str) -> String {
    let key = author.parse::<Author>().ok();
    let peer = key.and_then(|key| peer_id_of_author(key.as_bytes()));
    let name = peer.map(|peer| peer.to_base58()).unwrap_or_default();
    name.get(name.len().saturating_sub(NAME_LEN)..)
        .unwrap_or_default()
        .to_owned()
}

fn json(value: &impl Serialize) -> Result<String, NodeError> {
    serde_json::to_string(value).map_err(|error| NodeError::NotWritten(error.to_string()))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn blocks_are_read_by_their_readings() {
        for (blocks, readings, next) in [
            (1, 0, 4),
            (1, 10, 4),
            (4, 40, 16),
            (100, 1_000, 102),
            (64, 64, MAX_EXPORT_BLOCKS),
            (128, 128 * 1_024, 1),
            (1, 1_024, 1),
        ] {
            assert_eq!(next_chunk(blocks, readings), next, "{blocks}, {readings}");
        }
    }
}
