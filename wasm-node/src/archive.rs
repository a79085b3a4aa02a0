//! A room as one document: JSON that anybody can verify and that another tab takes in, or CSV for spreadsheets. What both
//! look like is in `EXPORT.md`. Works in pieces, so that a long chain is never in memory at once; judges nothing.

use chain::{hash::BlockHash, reading::Reading, room::Room};
use futures::channel::oneshot;
use serde::Serialize;
use sync::seam::{ImportError, ImportPiece, Imported};

use crate::{
    arguments::Document,
    clock, config,
    node::{Node, NodeError, Wish},
    view::{BlockView, ImportedView, ReadingView, TipView},
};

/// What `format` says. A change that older code would misread raises the number.
pub(crate) const FORMAT: &str = "heartchain/export/1";

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
}

/// Where the answer to a piece of an import goes.
pub(crate) type ImportReply = oneshot::Sender<Result<Imported, ImportError>>;

/// A document's first lines.
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
    name: &'a str,
    floor_bits: u8,
    block_interval_ms: u64,
    genesis: String,
}

/// The best branch and what waits, as they were at one moment.
#[derive(Debug)]
struct Moment {
    room: Room,
    tip: TipView,
    total_work: String,
    hashes: Vec<BlockHash>,
    waiting: Vec<Reading>,
}

impl Node {
    /// Writes all that this tab knows of its room: hands over the document's text, piece after piece.
    ///
    /// # Errors
    /// If storage fails, or the chain changes too much meanwhile.
    pub(crate) async fn export(
        &self,
        form: Form,
        mut take: impl FnMut(&str),
    ) -> Result<(), NodeError> {
        let moment = self.moment()?;
        take(&form.begin(&moment)?);
        let mut first = true;
        for hashes in moment.hashes.chunks(config::EXPORT_BLOCKS_A_PIECE) {
            let mut text = String::new();
            for block in self.blocks_of(&moment.room, hashes).await? {
                form.separate(&mut text, &mut first);
                form.block(&mut text, &block)?;
            }
            take(&text);
        }
        take(form.between());
        first = true;
        for readings in moment.waiting.chunks(config::EXPORT_READINGS_A_PIECE) {
            let mut text = String::new();
            for reading in readings {
                form.separate(&mut text, &mut first);
                form.waiting(&mut text, &ReadingView::new(moment.room.id(), reading))?;
            }
            take(&text);
        }
        take(form.end());
        Ok(())
    }

    /// Takes in a document, piece after piece.
    ///
    /// # Errors
    /// Where it breaks a rule; what came before is kept.
    pub(crate) async fn import(&self, document: &Document) -> Result<ImportedView, NodeError> {
        let result = self.import_all(document).await;
        // However it ended, no more comes.
        let ended = ImportPiece {
            ends: true,
            ..ImportPiece::default()
        };
        let ended = self.import_piece(ended).await;
        let imported = result?;
        ended?;
        Ok(imported)
    }

    async fn import_all(&self, document: &Document) -> Result<ImportedView, NodeError> {
        let mut sum = ImportedView::default();
        for from in (0..document.blocks()).step_by(sync::config::MAX_IMPORT_BLOCKS) {
            let piece = ImportPiece {
                blocks: document.blocks_from(from, sync::config::MAX_IMPORT_BLOCKS)?,
                ..ImportPiece::default()
            };
            sum.add(self.import_piece(piece).await?);
        }
        for from in (0..document.readings()).step_by(sync::config::MAX_IMPORT_READINGS) {
            let piece = ImportPiece {
                readings: document.readings_from(from, sync::config::MAX_IMPORT_READINGS)?,
                ..ImportPiece::default()
            };
            sum.add(self.import_piece(piece).await?);
        }
        Ok(sum)
    }

    async fn import_piece(&self, piece: ImportPiece) -> Result<Imported, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.wish(Wish::Import(Box::new(piece), reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    fn moment(&self) -> Result<Moment, NodeError> {
        self.look(|known| {
            let machine = &known.machine;
            let status = machine.status();
            let hashes = (1..=status.index).map_while(|index| machine.best_hash(index));
            Moment {
                room: machine.room().clone(),
                tip: TipView {
                    index: status.index,
                    hash: status.tip.to_string(),
                },
                total_work: status.total_work.to_string(),
                hashes: hashes.collect(),
                waiting: machine.pending().copied().collect(),
            }
        })
    }

    async fn blocks_of(
        &self,
        room: &Room,
        hashes: &[BlockHash],
    ) -> Result<Vec<BlockView>, NodeError> {
        let headers = self.look(|known| {
            let headers = hashes.iter().map(|hash| known.machine.header(hash));
            headers.collect::<Option<Vec<_>>>()
        })?;
        let bodies = self.bodies(hashes.to_vec()).await?;
        let headers = headers.ok_or(NodeError::LeftBehind)?;
        let blocks = hashes.iter().zip(&headers).zip(bodies);
        blocks
            .map(|((hash, header), body)| {
                let Some(body) = body else {
                    let place = (header.index, *hash);
                    return Err(self.missing(place, NodeError::LeftBehind)?);
                };
                Ok(BlockView::new(room.id(), *hash, header, &body))
            })
            .collect()
    }
}

impl Form {
    fn begin(self, moment: &Moment) -> Result<String, NodeError> {
        match self {
            Self::Json => {
                let params = moment.room.params();
                let head = json(&Head {
                    format: FORMAT,
                    exported_at: clock::now().get(),
                    room: RoomView {
                        name: params.name().as_str(),
                        floor_bits: params.floor_bits(),
                        block_interval_ms: params.block_interval_ms(),
                        genesis: moment.room.genesis_hash().to_string(),
                    },
                    tip: moment.tip.clone(),
                    total_work: moment.total_work.clone(),
                })?;
                // The object goes on where it would have ended.
                Ok(format!(
                    "{},\n\"blocks\":[\n",
                    head.strip_suffix('}').unwrap_or(&head)
                ))
            }
            Self::Csv => Ok("recorded,bpm,author,seq,block,block_time,id\r\n".to_owned()),
        }
    }

    fn separate(self, text: &mut String, first: &mut bool) {
        if self == Self::Json && !std::mem::take(first) {
            text.push_str(",\n");
        }
    }

    fn block(self, text: &mut String, block: &BlockView) -> Result<(), NodeError> {
        match self {
            Self::Json => text.push_str(&json(block)?),
            Self::Csv => {
                let time = clock::iso(block.time);
                for reading in &block.readings {
                    text.push_str(&row(reading, &block.index.to_string(), &time));
                }
            }
        }
        Ok(())
    }

    const fn between(self) -> &'static str {
        match self {
            Self::Json => "\n],\n\"waiting\":[\n",
            Self::Csv => "",
        }
    }

    fn waiting(self, text: &mut String, reading: &ReadingView) -> Result<(), NodeError> {
        match self {
            Self::Json => text.push_str(&json(reading)?),
            Self::Csv => text.push_str(&row(reading, "", "")),
        }
        Ok(())
    }

    const fn end(self) -> &'static str {
        match self {
            Self::Json => "\n]\n}\n",
            Self::Csv => "",
        }
    }
}

/// One line of a spreadsheet. Nothing in it is anybody's free text, so nothing has to be quoted.
fn row(reading: &ReadingView, block: &str, block_time: &str) -> String {
    let ReadingView {
        id,
        author,
        seq,
        time,
        bpm,
        signature: _,
    } = reading;
    let recorded = clock::iso(*time);
    format!("{recorded},{bpm},{author},{seq},{block},{block_time},{id}\r\n")
}

fn json(value: &impl Serialize) -> Result<String, NodeError> {
    serde_json::to_string(value).map_err(|error| NodeError::NotWritten(error.to_string()))
}
