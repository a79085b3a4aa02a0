//! Export and import of a room as one document: JSON that anyone can verify and another tab can import, or CSV for
//! spreadsheets. `EXPORT.md` specifies both. Documents are processed in pieces, so that a long chain is never in memory
//! at once. The machine validates what is imported, not this module.

use futures::channel::oneshot;
use heartchain_chain::{
    hash::BlockHash,
    key::Author,
    profile::Profile,
    reading::Reading,
    room::{Room, RoomKind, RoomName},
};
use heartchain_sync::{
    config::MAX_IMPORT_PROFILES,
    io::{ImportPiece, Imported},
};
use serde::Serialize;

use crate::{
    arguments::{Document, FORMAT, Separator},
    clock,
    net::peer_id_of_author,
    node::{Command, Node, NodeError},
    view::{BlockView, ImportedView, ProfileView, ReadingView, TipView},
};

/// Blocks of an export that are read and written at a time: half a megabyte of text at ten readings per block.
const EXPORT_BLOCKS_PER_CHUNK: usize = 128;
/// Waiting readings of an export that are written at a time.
const EXPORT_READINGS_PER_CHUNK: usize = 1_024;

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
        write(&format.head(&snapshot)?);
        let mut first = true;
        for hashes in snapshot.hashes.chunks(EXPORT_BLOCKS_PER_CHUNK) {
            let mut text = String::new();
            for block in self.read_blocks(hashes, &view).await? {
                format.push_separator(&mut text, &mut first);
                format.push_block(&mut text, &block)?;
            }
            write(&text);
        }
        write(format.middle());
        first = true;
        for readings in snapshot.waiting.chunks(EXPORT_READINGS_PER_CHUNK) {
            let mut text = String::new();
            for reading in readings {
                format.push_separator(&mut text, &mut first);
                format.push_reading(&mut text, &view(reading))?;
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
    pub(crate) async fn import(&self, document: &Document) -> Result<ImportedView, NodeError> {
        let _turn = self.import_turn.lock().await;
        let result = self.import_all(document).await;
        // The machine is told that the import is over, whether it succeeded or not.
        let last = ImportPiece {
            is_last: true,
            ..ImportPiece::default()
        };
        let ended = self.import_piece(last).await;
        let imported = result?;
        ended?;
        Ok(imported)
    }

    async fn import_all(&self, document: &Document) -> Result<ImportedView, NodeError> {
        let mut total = ImportedView::default();
        for from in (0..document.blocks()).step_by(heartchain_sync::config::MAX_IMPORT_BLOCKS) {
            let piece = ImportPiece {
                blocks: document.blocks_from(from, heartchain_sync::config::MAX_IMPORT_BLOCKS)?,
                ..ImportPiece::default()
            };
            total.add(self.import_piece(piece).await?);
        }
        for from in (0..document.readings()).step_by(heartchain_sync::config::MAX_IMPORT_READINGS) {
            let piece = ImportPiece {
                readings: document
                    .readings_from(from, heartchain_sync::config::MAX_IMPORT_READINGS)?,
                ..ImportPiece::default()
            };
            total.add(self.import_piece(piece).await?);
        }
        for from in (0..document.profiles()).step_by(MAX_IMPORT_PROFILES) {
            let piece = ImportPiece {
                profiles: document.profiles_from(from, MAX_IMPORT_PROFILES)?,
                ..ImportPiece::default()
            };
            total.add(self.import_piece(piece).await?);
        }
        Ok(total)
    }

    async fn import_piece(&self, piece: ImportPiece) -> Result<Imported, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Import(Box::new(piece), reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
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
        view: impl Fn(&Reading) -> ReadingView,
    ) -> Result<Vec<BlockView>, NodeError> {
        let headers = self.with_state(|state| {
            let headers = hashes.iter().map(|hash| state.machine.header(hash));
            headers.collect::<Option<Vec<_>>>()
        })?;
        let bodies = self.bodies(hashes.to_vec()).await?;
        let headers = headers.ok_or(NodeError::LeftBehind)?;
        let blocks = hashes.iter().zip(&headers).zip(bodies);
        blocks
            .map(|((hash, header), body)| {
                let Some(body) = body else {
                    let block = (header.index, *hash);
                    return Err(self.missing_body_error(block, NodeError::LeftBehind)?);
                };
                Ok(BlockView::new(*hash, header, body.iter().map(&view)))
            })
            .collect()
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
    serde_json::to_string(value).map_err(|error| NodeError::NotWritten(error.to_string()))
}
