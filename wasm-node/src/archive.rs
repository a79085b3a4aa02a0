//! Export and import of a room as one document: JSON that anyone can verify and another tab can import, or CSV for
//! spreadsheets. `EXPORT.md` specifies both. Documents are processed in pieces, so that a long chain is never in memory
//! at once, and the page stays usable meanwhile. The machine validates what is imported, not this module.

use std::collections::VecDeque;

use futures::channel::oneshot;
use heartchain_chain::{
    block::Block,
    hash::BlockHash,
    key::Author,
    profile::Profile,
    reading::Reading,
    room::{Room, RoomKind, RoomName},
};
use heartchain_peer::net::peer_id_of_author;
use heartchain_sync::{
    ImportSummary, ImportTarget, ReadingPlaces, Waiting,
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_PROFILES, MAX_IMPORT_READINGS},
    import_waiting,
    io::{AdoptError, ImportError, ImportPiece, Imported},
    verification::VerifiedBodies,
};
use serde::Serialize;

use crate::{
    arguments::{BlockChunk, Document, FORMAT, Separator},
    clock,
    import_reader::{ImportReader, MAX_CHUNKS_READ, ReadBlocks},
    json::to_text,
    next_task::Pauses,
    node::{Command, Node, NodeError, StoredBlock},
    view::{BlockView, ProfileView, ReadingView, TipView},
};

/// The result of a piece that was sent to the machine.
type PieceAnswer = oneshot::Receiver<Result<Imported, ImportError>>;

/// Blocks of an export that are read at a time at most.
const MAX_EXPORT_BLOCKS: usize = 128;
/// Readings of an export that are read at a time, more or less: half a megabyte of text.
const EXPORT_READINGS: usize = 1_024;
/// Waiting readings of an export that are written without a pause. Most are signed for it: a few milliseconds of work.
const EXPORT_WAITING: usize = 32;
/// Readings of imported blocks that are enough for a piece. The last block of a piece may have that many, too.
const IMPORT_READINGS: usize = 512;
/// Text of an import that the worker reads at a time, in UTF-16 units, unless a block is longer: some 800 readings.
const IMPORT_CHUNK_LEN: u32 = 256 * 1_024;
/// The longest text of blocks for which no worker is started: it is read before a worker would have started.
const MAX_LEN_WITHOUT_READER: u32 = 256 * 1_024;
/// Pieces that the machine has at once: while one is written, the next one is checked.
const MAX_PIECES_SENT: usize = 2;

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

/// The best branch and all waiting readings at one moment.
#[derive(Debug)]
struct Snapshot {
    room: Room,
    tip: TipView,
    total_work: String,
    hashes: Vec<BlockHash>,
    waiting: Waiting,
    /// The names of authors as they were signed: at most 4,096.
    profiles: Vec<Profile>,
}

/// Sends a document to the machine.
struct Importer<'a> {
    node: &'a Node,
    genesis: BlockHash,
    total: ImportSummary,
    /// The answers to pieces that were sent, at most [`MAX_PIECES_SENT`].
    answers: VecDeque<PieceAnswer>,
    pauses: Pauses,
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
                pauses.pause_if_due().await;
                let mut text = String::new();
                format.push_separator(&mut text, &mut first);
                let block = BlockView::new(*hash, header, body.iter().map(&view));
                format.push_block(&mut text, &block)?;
                write(&text);
            }
            many = next_chunk(hashes.len(), found);
        }
        write(format.middle());
        first = true;
        let mut waiting = snapshot.waiting.iter(room).peekable();
        while waiting.peek().is_some() {
            pauses.pause_if_due().await;
            let mut text = String::new();
            for reading in waiting.by_ref().take(EXPORT_WAITING) {
                format.push_separator(&mut text, &mut first);
                format.push_reading(&mut text, &view(&reading))?;
            }
            write(&text);
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
    pub(crate) async fn import(&self, mut document: Document) -> Result<ImportSummary, NodeError> {
        let _turn = self.import_turn.lock().await;
        let result = self.import_all(&mut document).await;
        // The machine is told that the import is over, whether it succeeded or not.
        let last = ImportPiece {
            is_last: true,
            ..ImportPiece::default()
        };
        let ended = self.send_piece(last, None)?.await;
        let imported = result?;
        ended.map_err(|_| NodeError::Stopped)??;
        Ok(imported)
    }

    async fn import_all(&self, document: &mut Document) -> Result<ImportSummary, NodeError> {
        let mut importer = Importer::new(self)?;
        let read = importer.import_lists(document).await;
        // A fault that the machine finds comes before one of what was read meanwhile.
        importer.finish().await?;
        read?;
        Ok(importer.total)
    }

    fn send_piece(
        &self,
        piece: ImportPiece,
        verified: Option<VerifiedBodies>,
    ) -> Result<PieceAnswer, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Import(Box::new(piece), verified, reply))?;
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
                waiting: machine.waiting(),
                profiles: machine.profiles().cloned().collect(),
            }
        })
    }

    async fn read_blocks(&self, hashes: &[BlockHash]) -> Result<Vec<StoredBlock>, NodeError> {
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

impl ImportTarget for Node {
    type Error = NodeError;

    async fn places(&self, readings: Vec<Reading>) -> Result<ReadingPlaces, NodeError> {
        self.with_state(|state| state.machine.places(&readings))
    }

    async fn import(&self, piece: ImportPiece) -> Result<Imported, NodeError> {
        let answer = self.send_piece(piece, None)?.await;
        Ok(answer.map_err(|_| NodeError::Stopped)??)
    }

    async fn adopt(&self, readings: Vec<Reading>) -> Result<Result<usize, AdoptError>, NodeError> {
        match Self::adopt(self, readings).await {
            Err(NodeError::Adopt(error)) => Ok(Err(error)),
            adopted => adopted.map(Ok),
        }
    }
}

/// How many blocks to read next, after this many had so many readings.
fn next_chunk(blocks: usize, readings: usize) -> usize {
    let fitting = blocks.saturating_mul(EXPORT_READINGS) / readings.max(1);
    // A few small blocks may come before many large ones.
    let longest = blocks.saturating_mul(4).min(MAX_EXPORT_BLOCKS);
    fitting.clamp(1, longest)
}

impl<'a> Importer<'a> {
    fn new(node: &'a Node) -> Result<Self, NodeError> {
        let genesis = node.with_state(|state| state.machine.room().genesis_hash())?;
        Ok(Self {
            node,
            genesis,
            total: ImportSummary::default(),
            answers: VecDeque::new(),
            pauses: Pauses::new(),
        })
    }

    /// Sends the whole document to the machine, piece by piece.
    async fn import_lists(&mut self, document: &mut Document) -> Result<(), NodeError> {
        self.import_blocks(document).await?;
        // Where the waiting readings are is asked of a machine that has all blocks.
        self.finish().await?;
        loop {
            self.pauses.pause_if_due().await;
            let readings = document.next_readings(MAX_IMPORT_READINGS.min(IMPORT_READINGS))?;
            if readings.is_empty() {
                break;
            }
            import_waiting(self.node, &readings, &mut self.total).await?;
        }
        loop {
            self.pauses.pause_if_due().await;
            let piece = ImportPiece {
                profiles: document.next_profiles(MAX_IMPORT_PROFILES.min(IMPORT_READINGS))?,
                ..ImportPiece::default()
            };
            if piece.profiles.is_empty() {
                return Ok(());
            }
            self.send(piece, None).await?;
        }
    }

    /// A worker reads some chunks of blocks, while the machine takes what was read before.
    async fn import_blocks(&mut self, document: &mut Document) -> Result<(), NodeError> {
        let mut reader = None;
        if document.blocks_len() > MAX_LEN_WITHOUT_READER {
            reader = ImportReader::start(&self.node.verifier_script);
        }
        let mut chunks = VecDeque::new();
        loop {
            self.pauses.pause_if_due().await;
            while chunks.len() < MAX_CHUNKS_READ
                && let Some(chunk) = document.next_chunk(IMPORT_CHUNK_LEN, MAX_IMPORT_BLOCKS)
            {
                if let (Some(reader), Some(text)) = (&reader, chunk.text()) {
                    reader.read(text);
                }
                chunks.push_back(chunk);
            }
            let Some(chunk) = chunks.pop_front() else {
                return Ok(());
            };
            let read = match &reader {
                Some(reader) => reader.next(&mut self.pauses).await,
                None => None,
            };
            match read {
                Some(ReadBlocks { blocks, verified }) => {
                    self.send_blocks(blocks, Some(verified)).await?;
                }
                None => {
                    // The worker is of no use, or this chunk has a fault, which ends the import.
                    reader = None;
                    self.import_chunk(chunk).await?;
                }
            }
        }
    }

    /// Parses a chunk on the page's thread, and sends its blocks.
    async fn import_chunk(&mut self, mut chunk: BlockChunk) -> Result<(), NodeError> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut readings = 0;
        loop {
            self.pauses.pause_if_due().await;
            let next = chunk.next_block();
            if let Ok(Some(block)) = &next {
                readings += block.readings.len();
            }
            let is_last = !matches!(next, Ok(Some(_)));
            let fault = next.map(|block| blocks.extend(block)).err();
            if is_last || blocks.len() >= MAX_IMPORT_BLOCKS || readings >= IMPORT_READINGS {
                // What comes before a fault is kept.
                self.send_blocks(std::mem::take(&mut blocks), None).await?;
                readings = 0;
            }
            match fault {
                Some(fault) => return Err(fault.into()),
                None if is_last => return Ok(()),
                None => {}
            }
        }
    }

    async fn send_blocks(
        &mut self,
        mut blocks: Vec<Block>,
        verified: Option<VerifiedBodies>,
    ) -> Result<(), NodeError> {
        // Genesis follows from the room.
        let is_genesis =
            |block: &Block| block.header.index == 0 && block.header.hash() == self.genesis;
        blocks.retain(|block| !is_genesis(block));
        if blocks.is_empty() {
            return Ok(());
        }
        let piece = ImportPiece {
            blocks,
            ..ImportPiece::default()
        };
        self.send(piece, verified).await
    }

    async fn send(
        &mut self,
        piece: ImportPiece,
        verified: Option<VerifiedBodies>,
    ) -> Result<(), NodeError> {
        if self.answers.len() >= MAX_PIECES_SENT {
            self.take_answer().await?;
        }
        self.answers
            .push_back(self.node.send_piece(piece, verified)?);
        Ok(())
    }

    /// Waits for the answers to all pieces.
    async fn finish(&mut self) -> Result<(), NodeError> {
        while !self.answers.is_empty() {
            self.take_answer().await?;
        }
        Ok(())
    }

    async fn take_answer(&mut self) -> Result<(), NodeError> {
        let Some(answer) = self.answers.pop_front() else {
            return Ok(());
        };
        let answer = answer.await.map_err(|_| NodeError::Stopped)?;
        if answer.is_err() {
            // What was sent after a fault only follows from it.
            self.answers.clear();
        }
        self.total.add(&answer?);
        Ok(())
    }
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
    to_text(value).map_err(|error| NodeError::NotWritten(error.to_string()))
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
