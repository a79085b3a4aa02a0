//! The JavaScript API: every exported item, and the conversion of values between JavaScript and Rust. Contains no logic
//! of its own.

use std::{cell::RefCell, rc::Rc};

use heartchain_chain::{
    content::ReadingForm, hash::RoomId, header::Header, mining::Job, reading::Reading,
    room_key::RoomKey,
};
use heartchain_sync::verification::VerifiedBodies;
use js_sys::{JsString, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};

use crate::{
    api_error::ApiError,
    archive::ExportFormat,
    arguments::{self, Document, Options, heart_rate, height},
    blob_writer::BlobWriter,
    clock,
    driver::EventSink,
    event_buffer::NodeEvent,
    failure::{self, PanicReport},
    import_reader::ReadBlocks,
    json,
    leaving::{all_have_left, leave, promise_of, unless_aborted},
    listeners::{Listeners, dispatch},
    next_task::Pauses,
    node::{self, Command},
    node_state::NodeState,
    qr, start,
    view::{BlockView, ChainView, ImportedView, NoticeView, ReadingView, RecordedView},
};

/// The highest limit of `ownReadings()`.
const MAX_OWN_READINGS_PER_CALL: u64 = 10_000;
/// The default limit of `ownReadings()`: a few screens.
const DEFAULT_OWN_READINGS: u64 = 100;
/// The highest limit of `pending()`: the capacity of the mempool.
const MAX_PENDING_PER_CALL: u64 = heartchain_chain::mempool::MAX_READINGS as u64;
/// The default limit of `pending()`: converting all of a full mempool takes a quarter of a second.
const DEFAULT_PENDING: u64 = 100;

/// Readings of a block that are converted for JavaScript without a pause: some milliseconds on a phone.
const CONVERTED_READINGS: usize = 256;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

#[wasm_bindgen]
extern "C" {
    /// The options of `HeartchainNode.start`.
    #[wasm_bindgen(typescript_type = "NodeOptions")]
    #[derive(Clone, Debug)]
    pub type NodeOptions;
    /// What cancels a start.
    #[wasm_bindgen(typescript_type = "StartControl")]
    #[derive(Clone, Debug)]
    pub type StartControl;
}

/// A peer in a room. It lives until `stop()`, or as long as its tab.
#[wasm_bindgen]
#[derive(Debug)]
pub struct HeartchainNode {
    node: node::Node,
    listeners: Listeners,
}

#[wasm_bindgen]
impl HeartchainNode {
    /// Joins a room: makes this tab a peer, and finds other peers through the relays.
    ///
    /// Rejects with a descriptive Error if an option is not valid, such as the room's name or a relay's address. An
    /// unreachable relay is no error: the node runs, and keeps trying to connect. With a `signal`, the start can be
    /// canceled: it then rejects with the signal's reason, and leaves nothing behind.
    ///
    /// # Errors
    /// If an option is not valid, the signal aborts, or the browser lacks a feature that the node needs.
    pub async fn start(
        options: Option<NodeOptions>,
        control: Option<StartControl>,
    ) -> Result<Self, JsValue> {
        failure::report_panics();
        let control = control.map_or(JsValue::UNDEFINED, JsValue::from);
        let signal = arguments::abort_signal(&control).map_err(ApiError::from)?;
        let options = options.map_or(JsValue::UNDEFINED, JsValue::from);
        let options = Options::read(&options)?;
        let listeners =
            Listeners::new().map_err(|_| ApiError::internal("this browser has no EventTarget"))?;
        let report = Rc::new(failure::report_to(listeners.clone()));
        let sink = JsEventSink {
            listeners: listeners.clone(),
            report: report.clone(),
        };
        let start = async move {
            all_have_left().await;
            start::start(options, sink).await
        };
        let undo = |started: Result<node::Node, _>| async move {
            if let Ok(node) = started {
                node.stop().await;
            }
        };
        let node = unless_aborted(signal, start, undo)
            .await?
            .map_err(ApiError::from)?;
        // A panic before the first event is reported with all fields, too.
        report.remember_status(&to_js(
            &node.with_state(NodeState::status).map_err(ApiError::from)?,
        )?);
        Ok(Self { node, listeners })
    }

    /// The status of this tab and its room.
    ///
    /// # Errors
    /// If the node panicked.
    #[wasm_bindgen(unchecked_return_type = "NodeStatus")]
    pub fn status(&self) -> Result<JsValue, ApiError> {
        to_js(&self.node.with_state(NodeState::status)?)
    }

    /// The connected peers and relays.
    ///
    /// # Errors
    /// If the node panicked.
    #[wasm_bindgen(unchecked_return_type = "PeerStatus[]")]
    pub fn peers(&self) -> Result<JsValue, ApiError> {
        to_js(&self.node.with_state(NodeState::peers)?)
    }

    /// The readings that wait for a block: by default at most 100; with a `limit`, up to 16,384.
    ///
    /// # Errors
    /// If `limit` is out of range, or the node panicked.
    #[wasm_bindgen(skip_typescript)]
    pub fn pending(&self, limit: &JsValue) -> Result<JsValue, ApiError> {
        let limit = arguments::limit(
            limit,
            DEFAULT_PENDING,
            MAX_PENDING_PER_CALL,
            "a whole number from 0 to 16384",
        )?;
        to_js(&self.node.with_state(|state| state.pending(limit))?)
    }

    /// The readings recorded in this tab, the newest first: by default at most 100; with a `limit`, up to 10,000.
    ///
    /// # Errors
    /// If `limit` is out of range, or the node panicked.
    #[wasm_bindgen(js_name = ownReadings, skip_typescript)]
    pub fn own_readings(&self, limit: &JsValue) -> Result<JsValue, ApiError> {
        let limit = arguments::limit(
            limit,
            DEFAULT_OWN_READINGS,
            MAX_OWN_READINGS_PER_CALL,
            "a whole number from 0 to 10000",
        )?;
        to_js(&self.node.with_state(|state| state.own_readings(limit))?)
    }

    /// The side branches with the most work, at most 16: what a fork left behind, or what may still win.
    ///
    /// # Errors
    /// If the node panicked.
    #[wasm_bindgen(unchecked_return_type = "Branch[]")]
    pub fn branches(&self) -> Result<JsValue, ApiError> {
        to_js(&self.node.with_state(NodeState::branches)?)
    }

    /// Verifies a block from nothing but its own fields: hash, work, link to the block below, Merkle root, difficulty,
    /// time, and each reading's id and signature. Never changes the node's state.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If the value is not a block, or the node panicked.
    #[wasm_bindgen(unchecked_return_type = "BlockCheck")]
    pub async fn check(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Block")] block: JsValue,
    ) -> Result<JsValue, ApiError> {
        let node = self.node.clone();
        let form = node.with_state(|state| state.machine.room().form())?;
        let claim = arguments::block(form, &block)?;
        to_js(&node.check(&claim, clock::entropy()?).await?)
    }

    /// Exports everything this tab knows of its room, as JSON that can be verified and imported. See `EXPORT.md`.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If storage fails, or the chain changes too much during the export.
    #[wasm_bindgen(js_name = exportJson)]
    pub async fn export_json(&self) -> Result<web_sys::Blob, ApiError> {
        export(self.node.clone(), ExportFormat::Json, "application/json").await
    }

    /// Exports all readings that this tab knows of, as CSV for spreadsheets, with times in this computer's time zone.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If the separator is not valid, storage fails, or the chain changes too much during the export.
    #[wasm_bindgen(js_name = exportCsv, skip_typescript)]
    pub async fn export_csv(&self, options: JsValue) -> Result<web_sys::Blob, ApiError> {
        let separator = arguments::separator(&options)?;
        export(self.node.clone(), ExportFormat::Csv(separator), "text/csv").await
    }

    /// Imports what another tab of the room exported as JSON. Everything is verified as if a peer had sent it. The
    /// branch with the most work wins; readings of a branch that does not win wait for a block again.
    ///
    /// Rejects with a descriptive Error that says where the file breaks a rule; what came before is kept.
    ///
    /// # Errors
    /// If the text is not an export of this room, or a block or reading breaks a rule.
    #[wasm_bindgen(js_name = importJson, unchecked_return_type = "Imported")]
    pub async fn import_json(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] text: JsValue,
    ) -> Result<JsValue, ApiError> {
        let node = self.node.clone();
        let room = node.with_state(|state| state.machine.room().clone())?;
        let document = Document::read(&text, &room)?;
        // If the document was parsed as a whole, the browser can free the text, which may be long.
        drop(text);
        to_js(&ImportedView::from(node.import(document).await?))
    }

    /// Tests what this tab would do with a block or a reading from an unknown peer. Runs on a copy of the tab's state
    /// that is discarded: nothing is sent, stored or changed.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If the value is neither a block nor a reading, or the node panicked.
    #[allow(
        clippy::unused_async,
        reason = "JavaScript gets a promise: a worker may copy a long chain one day"
    )]
    #[wasm_bindgen(js_name = dryRun, unchecked_return_type = "DryRun")]
    pub async fn dry_run(
        &self,
        #[wasm_bindgen(unchecked_param_type = "{ block: Block } | { reading: Reading }")]
        sent: JsValue,
    ) -> Result<JsValue, ApiError> {
        let form = self.node.with_state(|state| state.machine.room().form())?;
        let candidate = arguments::candidate(form, &sent)?;
        to_js(&self.node.with_state(|state| state.dry_run(&candidate))??)
    }

    /// Isolates this tab from the network, or ends the isolation. An isolated tab closes every connection, those to
    /// relays included, and neither dials nor accepts peers. Recording and mining continue. `status().isolated` shows
    /// when the change has taken effect.
    ///
    /// # Errors
    /// If `on` is not a boolean, or the node has stopped.
    pub fn isolate(
        &self,
        #[wasm_bindgen(unchecked_param_type = "boolean")] on: &JsValue,
    ) -> Result<(), ApiError> {
        let on = arguments::boolean("on", on)?;
        Ok(self.node.command(Command::Isolate(on))?)
    }

    /// Limits the miner to this many hashes per second; null removes the limit. `status().miningLimit` shows when the
    /// change has taken effect.
    ///
    /// # Errors
    /// If the limit is out of range, or the node has stopped.
    #[wasm_bindgen(js_name = limitMining)]
    pub fn limit_mining(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number | null", js_name = hashesPerSecond)]
        limit: &JsValue,
    ) -> Result<(), ApiError> {
        let limit = arguments::mining_limit(limit)?;
        Ok(self.node.command(Command::LimitMining(limit))?)
    }

    /// The best branch's blocks from one height to another, both included, at most 512; heights above the tip are left
    /// out.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If the range is not valid, a block is damaged on disk, the chain changes too often meanwhile, or storage fails.
    #[wasm_bindgen(unchecked_return_type = "Block[]")]
    pub async fn blocks(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number")] from: JsValue,
        #[wasm_bindgen(unchecked_param_type = "number")] to: JsValue,
    ) -> Result<JsValue, ApiError> {
        let (from, to) = (height("from", &from)?, height("to", &to)?);
        let node = self.node.clone();
        let room = node.with_state(|state| state.machine.room().clone())?;
        let blocks = js_sys::Array::new();
        let mut pauses = Pauses::new();
        for (hash, header, body) in node.blocks(from, to).await? {
            let block = to_js(&BlockView::new(hash, &header, []))?;
            let mut readings = js_sys::Array::new();
            for part in body.chunks(CONVERTED_READINGS) {
                pauses.pause_if_due().await;
                let part = part.iter().map(|reading| ReadingView::new(&room, reading));
                let part = to_js(&part.collect::<Vec<_>>())?;
                readings = readings.concat(part.unchecked_ref());
            }
            // An object of ours accepts any field.
            let _ = Reflect::set(&block, &"readings".into(), &readings);
            blocks.push(&block);
        }
        Ok(blocks.into())
    }

    /// Records a heart rate, signed by this tab. Resolves once the reading is stored.
    ///
    /// Rejects with a descriptive Error; then nothing was recorded.
    ///
    /// # Errors
    /// If the heart rate is out of range, the reading cannot be stored, or the node has stopped.
    #[wasm_bindgen(unchecked_return_type = "{ id: string; seq: number }")]
    pub async fn record(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number")] bpm: JsValue,
    ) -> Result<JsValue, ApiError> {
        let bpm = heart_rate(&bpm)?;
        let node = self.node.clone();
        let (id, seq) = node.record(bpm).await?;
        to_js(&RecordedView {
            id: id.to_string(),
            seq,
        })
    }

    /// Signs the name that others see for what this tab records; "" erases it. The name is trimmed and brought into
    /// normalization form C. Resolves once it is stored.
    ///
    /// Rejects with a descriptive Error; then the name is as before.
    ///
    /// # Errors
    /// If the name is too long or has invisible characters, it cannot be stored, or the node has stopped.
    #[wasm_bindgen(js_name = setName)]
    pub async fn set_name(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] name: JsValue,
    ) -> Result<(), ApiError> {
        let name = arguments::profile_name(&name)?;
        let node = self.node.clone();
        Ok(node.set_name(name).await?)
    }

    /// The names that the room's authors show, this tab's included: at most 4,096, without erased ones.
    ///
    /// # Errors
    /// If the node panicked.
    #[wasm_bindgen(unchecked_return_type = "AuthorName[]")]
    pub fn names(&self) -> Result<JsValue, ApiError> {
        to_js(&self.node.with_state(NodeState::names)?)
    }

    /// Asks the browser to keep this tab's data even when the disk gets full. Resolves to whether it will. The browser
    /// may show a prompt, so call this when a person records for the first time.
    ///
    /// Rejects with a descriptive Error if the node panicked.
    ///
    /// # Errors
    /// If the node panicked.
    #[wasm_bindgen(js_name = requestPersistence, unchecked_return_type = "boolean")]
    pub async fn request_persistence(&self) -> Result<JsValue, ApiError> {
        let node = self.node.clone();
        Ok(node.request_persistence().await?.into())
    }

    /// Calls a listener for each event of a type; see `NodeEventMap`.
    ///
    /// # Errors
    /// Whatever the browser's `addEventListener` throws.
    #[wasm_bindgen(js_name = addEventListener, skip_typescript)]
    pub fn add_event_listener(
        &self,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue> {
        self.listeners.add(name, listener, options)
    }

    /// Removes a listener.
    ///
    /// # Errors
    /// Whatever the browser's `removeEventListener` throws.
    #[wasm_bindgen(js_name = removeEventListener, skip_typescript)]
    pub fn remove_event_listener(
        &self,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue> {
        self.listeners.remove(name, listener, options)
    }

    /// Leaves the room: closes every connection and ends the mining worker. Resolves once that is done and everything is on
    /// disk. The getters keep returning the last state, with `state: "stopped"`.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn stop(&self) -> js_sys::Promise {
        promise_of(leave(self.node.stop()))
    }
}

impl HeartchainNode {
    /// The node itself, for the other parts of the API.
    pub(crate) fn handle(&self) -> node::Node {
        self.node.clone()
    }
}

#[cfg(feature = "trace")]
#[wasm_bindgen]
impl HeartchainNode {
    /// Prints traces on the console that pass this filter, such as `debug` or `heartchain=debug,libp2p=info`. Only
    /// builds for development have this function.
    ///
    /// # Errors
    /// If the text is not a filter.
    #[wasm_bindgen(js_name = trace, skip_typescript)]
    pub fn trace(filter: &str) -> Result<(), ApiError> {
        crate::trace::print_on_console(filter).map_err(|error| ApiError::invalid(&error))
    }
}

/// Tries `tries` nonces from `start` on for a header of 93 bytes. Returns the first nonce whose hash meets the header's
/// target. For the mining worker.
///
/// # Errors
/// If the bytes are not a header, or its bits are not a valid target.
#[wasm_bindgen(js_name = mineBatch)]
pub fn mine_batch(header: &[u8], start: u64, tries: u32) -> Result<Option<u64>, ApiError> {
    let header = Header::decode(header).map_err(|error| ApiError::invalid(&error))?;
    let target = header
        .bits
        .target()
        .map_err(|error| ApiError::invalid(&error))?;
    Ok(Job::new(&header, target).search(start, tries))
}

/// Verifies the signatures of encoded bodies in the room with this ID, and returns the proof for the node of this tab. For the
/// verification worker.
///
/// # Errors
/// If the bytes are not an ID or not bodies, or the browser gives no random numbers.
#[wasm_bindgen(js_name = verifyBodies)]
pub fn verify_bodies(room: &[u8], sealed: bool, bodies: &[u8]) -> Result<Vec<u8>, ApiError> {
    let (room, form) = room_and_form(room, sealed)?;
    let seed = clock::entropy()?;
    let verified = VerifiedBodies::verify_encoded(room, form, bodies, seed);
    let verified = verified.map_err(|error| ApiError::invalid(&error))?;
    Ok(verified.to_bytes())
}

/// Parses some lines of an export with blocks of the room with this ID, verifies their signatures, and returns both for the node
/// of this tab; undefined if something else is wrong with them. For the verification worker.
///
/// # Errors
/// If the bytes are not an ID, or the browser gives no random numbers.
#[wasm_bindgen(js_name = readBlocks)]
pub fn read_blocks(
    room: &[u8],
    sealed: bool,
    #[wasm_bindgen(unchecked_param_type = "string")] text: &JsString,
) -> Result<Option<Vec<u8>>, ApiError> {
    let (room, form) = room_and_form(room, sealed)?;
    let read = ReadBlocks::read(room, form, text, clock::entropy()?);
    Ok(read.map(|read| read.encode()))
}

fn room_and_form(room: &[u8], sealed: bool) -> Result<(RoomId, ReadingForm), ApiError> {
    let room = <[u8; 32]>::try_from(room).map_err(|error| ApiError::invalid(&error))?;
    let form = if sealed {
        ReadingForm::Sealed
    } else {
        ReadingForm::Open
    };
    Ok((RoomId::new(room), form))
}

/// The link of a new private room: the part that begins with `#`, for `HeartchainNode.start` and for the page's address. Who has it
/// can read the room, and no one else can.
///
/// # Errors
/// If the label is too long, or the browser gives no random numbers.
#[wasm_bindgen(js_name = createPrivateRoom)]
pub fn create_private_room(
    #[wasm_bindgen(unchecked_param_type = "string | undefined")] label: &JsValue,
) -> Result<String, ApiError> {
    let label = arguments::label(label)?;
    let key = RoomKey::new(clock::entropy()?);
    Ok(arguments::room_link(&key, &label))
}

/// The QR code of a text, such as a room's link: its modules row by row, 1 for dark, without the surrounding quiet
/// zone. Undefined if the text is too long for a QR code.
#[must_use]
#[wasm_bindgen(js_name = qrCode)]
pub fn qr_code(text: &str) -> Option<Vec<u8>> {
    qr::modules(text)
}

/// Delivers events to JavaScript as `CustomEvent`s.
struct JsEventSink {
    listeners: Listeners,
    report: Rc<PanicReport>,
}

impl EventSink for JsEventSink {
    fn emit(&self, event: NodeEvent<Reading>, state: &RefCell<NodeState>) {
        let (name, detail) = {
            let state = state.borrow();
            match event {
                NodeEvent::Reading(reading) => ("reading", to_js(&state.reading(&reading))),
                NodeEvent::Chain { from, to, reorg } => {
                    ("chain", to_js(&ChainView { from, to, reorg }))
                }
                NodeEvent::Status => ("status", to_js(&state.status())),
                NodeEvent::Peers => ("peers", to_js(&state.peers())),
                NodeEvent::Names => ("names", to_js(&state.names())),
                NodeEvent::Notice(notice) => ("notice", to_js(&NoticeView::from(notice))),
            }
        };
        // Listeners read the node's state, so the borrow has ended by now.
        if let Ok(detail) = detail {
            if name == "status" {
                self.report.remember_status(&detail);
            }
            dispatch(&self.listeners, name, &detail);
        }
    }
}

async fn export(
    node: node::Node,
    format: ExportFormat,
    media_type: &str,
) -> Result<web_sys::Blob, ApiError> {
    let mut file = BlobWriter::new();
    node.export(format, |text| file.push(text)).await?;
    file.finish(media_type)
        .ok_or_else(|| ApiError::internal("this browser cannot make a file of it"))
}

/// Converts a value with JSON's types.
pub(crate) fn to_js(value: &impl Serialize) -> Result<JsValue, ApiError> {
    json::to_js(value).map_err(|error| ApiError::internal(error.to_string()))
}
