//! What JavaScript sees: every exported item, and how values cross over. Converts, and decides nothing.

use std::cell::RefCell;

use chain::{header::Header, mining::Job, reading::Reading};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsError, JsValue, prelude::wasm_bindgen};

use crate::{
    archive::Form,
    arguments::{self, Document, Options, heart_rate, height},
    bulletin::News,
    config,
    driver::Audience,
    failure,
    node::{self, Known, Wish},
    page::{FileParts, WakeCalls},
    qr, start,
    view::{ChainView, NoticeView, RecordedView},
};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

#[wasm_bindgen]
extern "C" {
    /// The options of `Node.start`.
    #[wasm_bindgen(typescript_type = "NodeOptions | undefined")]
    #[derive(Clone, Debug)]
    pub type NodeOptions;

    /// The browser's own `EventTarget`, with listeners passed on as they are.
    #[wasm_bindgen(js_name = EventTarget)]
    #[derive(Clone, Debug)]
    pub(crate) type Listeners;
    #[wasm_bindgen(constructor, js_class = "EventTarget", catch)]
    fn new() -> Result<Listeners, JsValue>;
    #[wasm_bindgen(method, js_class = "EventTarget", js_name = addEventListener, catch)]
    fn add(
        this: &Listeners,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method, js_class = "EventTarget", js_name = removeEventListener, catch)]
    fn remove(
        this: &Listeners,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue>;
}

/// A peer of a room, for as long as the tab lives.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Node {
    node: node::Node,
    listeners: Listeners,
    _wake_calls: Option<WakeCalls>,
}

#[wasm_bindgen]
impl Node {
    /// Joins a room: makes this tab a peer of its own, and looks for others through the relays.
    ///
    /// Rejects with an Error in words if the room's name or a relay's address cannot be used. Relays that are
    /// out of reach are no reason: the node runs, and goes on looking for them.
    ///
    /// # Errors
    /// See above.
    pub async fn start(options: NodeOptions) -> Result<Self, JsError> {
        failure::report_panics();
        let wishes = Options::read(&options.into())?;
        let listeners =
            Listeners::new().map_err(|_| JsError::new("this browser has no EventTarget"))?;
        let node = start::start(
            wishes,
            Speaker {
                listeners: listeners.clone(),
            },
        )
        .await?;
        failure::watch(&listeners);
        let woken = node.clone();
        // It fails if the driver is behind, and then it is awake.
        let wake_calls = WakeCalls::new(move || drop(woken.wish(Wish::Woke)));
        Ok(Self {
            node,
            listeners,
            _wake_calls: wake_calls,
        })
    }

    /// What is known of this tab and its room.
    ///
    /// # Errors
    /// If the node broke.
    #[wasm_bindgen(unchecked_return_type = "NodeStatus")]
    pub fn status(&self) -> Result<JsValue, JsError> {
        to_js(&self.node.look(Known::status)?)
    }

    /// The connected peers and relays.
    ///
    /// # Errors
    /// If the node broke.
    #[wasm_bindgen(unchecked_return_type = "PeerStatus[]")]
    pub fn peers(&self) -> Result<JsValue, JsError> {
        to_js(&self.node.look(Known::peers)?)
    }

    /// The readings that wait for a block: at most 100, or as many as are asked for, up to 16,384.
    ///
    /// # Errors
    /// If `limit` is none, or the node broke.
    #[wasm_bindgen(skip_typescript)]
    pub fn pending(&self, limit: &JsValue) -> Result<JsValue, JsError> {
        let limit = arguments::limit(
            limit,
            config::PENDING_A_CALL,
            config::MAX_PENDING_A_CALL,
            "a whole number from 0 to 16384",
        )?;
        to_js(&self.node.look(|known| known.pending(limit))?)
    }

    /// The readings recorded in this tab, the newest first: at most 100, or as many as are asked for, up to 10,000.
    ///
    /// # Errors
    /// If `limit` is none, or the node broke.
    #[wasm_bindgen(js_name = ownReadings, skip_typescript)]
    pub fn own_readings(&self, limit: &JsValue) -> Result<JsValue, JsError> {
        let limit = arguments::limit(
            limit,
            config::OWN_READINGS_A_CALL,
            config::MAX_OWN_READINGS_A_CALL,
            "a whole number from 0 to 10000",
        )?;
        to_js(&self.node.look(|known| known.own_readings(limit))?)
    }

    /// The heaviest branches beside the best one, at most 16: what a fork left, or what may yet win.
    ///
    /// # Errors
    /// If the node broke.
    #[wasm_bindgen(unchecked_return_type = "Branch[]")]
    pub fn branches(&self) -> Result<JsValue, JsError> {
        to_js(&self.node.look(Known::branches)?)
    }

    /// Does all of a block's sums again, from nothing but what is passed: its hash, work, link, Merkle root,
    /// difficulty, time, and each reading's id and signature. Whatever is passed, nothing is changed.
    ///
    /// # Errors
    /// In words, if that is no block, or the node broke.
    #[wasm_bindgen(unchecked_return_type = "BlockCheck")]
    pub fn check(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Block")] block: &JsValue,
    ) -> Result<JsValue, JsError> {
        let claim = arguments::block(block)?;
        to_js(&self.node.look(|known| known.check(&claim))?)
    }

    /// All that this tab knows of its room, as JSON that can be verified and imported. See `EXPORT.md`.
    ///
    /// Rejects with an Error in words.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(js_name = exportJson)]
    pub async fn export_json(&self) -> Result<web_sys::Blob, JsError> {
        export(self.node.clone(), Form::Json, "application/json").await
    }

    /// All readings that this tab knows of, as CSV for spreadsheets.
    ///
    /// Rejects with an Error in words.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(js_name = exportCsv)]
    pub async fn export_csv(&self) -> Result<web_sys::Blob, JsError> {
        export(self.node.clone(), Form::Csv, "text/csv").await
    }

    /// Takes in what another tab of the room exported as JSON. All of it is verified as if a peer had sent it; the
    /// branch with the most work wins, and readings of another wait for a block again.
    ///
    /// Rejects with an Error in words that says where the file breaks a rule; what came before is kept.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(js_name = importJson, unchecked_return_type = "Imported")]
    pub async fn import_json(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] text: JsValue,
    ) -> Result<JsValue, JsError> {
        let node = self.node.clone();
        let room = node.look(|known| known.machine.room().clone())?;
        let document = Document::read(&text, &room)?;
        // Long texts are the browser's to forget.
        drop(text);
        to_js(&node.import(&document).await?)
    }

    /// What this tab would do with a block or a reading if a stranger sent it, asked of a copy of its own machine
    /// that is thrown away: nothing is sent, stored or changed.
    ///
    /// Rejects with an Error in words.
    ///
    /// # Errors
    /// If that is neither, or the node broke.
    #[allow(
        clippy::unused_async,
        reason = "JavaScript gets a promise: a copy of a long chain may be made elsewhere one day"
    )]
    #[wasm_bindgen(unchecked_return_type = "Rehearsal")]
    pub async fn rehearse(
        &self,
        #[wasm_bindgen(unchecked_param_type = "{ block: Block } | { reading: Reading }")]
        sent: JsValue,
    ) -> Result<JsValue, JsError> {
        let sent = arguments::sent(&sent)?;
        to_js(&self.node.look(|known| known.rehearse(&sent))??)
    }

    /// Cuts this tab off: every connection is closed, the relays' too, and nobody is called or let in until it is
    /// switched off again. Recording and mining go on. `status().isolated` says when it is so.
    ///
    /// # Errors
    /// If that is neither true nor false, or the node has stopped.
    pub fn isolate(
        &self,
        #[wasm_bindgen(unchecked_param_type = "boolean")] on: &JsValue,
    ) -> Result<(), JsError> {
        let on = arguments::switch("on", on)?;
        Ok(self.node.wish(Wish::Isolate(on))?)
    }

    /// Lets this tab try only so many hashes a second; null: as many as it can. `status().miningLimit` says when it
    /// is so.
    ///
    /// # Errors
    /// If that is no such number, or the node has stopped.
    #[wasm_bindgen(js_name = limitMining)]
    pub fn limit_mining(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number | null", js_name = hashesPerSecond)]
        limit: &JsValue,
    ) -> Result<(), JsError> {
        let limit = arguments::mining_limit(limit)?;
        Ok(self.node.wish(Wish::LimitMining(limit))?)
    }

    /// The best branch's blocks from one height to another, both included, at most 512; those above the tip
    /// are left out.
    ///
    /// Rejects with an Error in words.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(unchecked_return_type = "Block[]")]
    pub async fn blocks(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number")] from: JsValue,
        #[wasm_bindgen(unchecked_param_type = "number")] to: JsValue,
    ) -> Result<JsValue, JsError> {
        let (from, to) = (height("from", &from)?, height("to", &to)?);
        let node = self.node.clone();
        to_js(&node.blocks(from, to).await?)
    }

    /// Records a heart rate, signed by this tab; resolves once it is kept.
    ///
    /// Rejects with an Error in words; then nothing was recorded.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(unchecked_return_type = "{ id: string; seq: number }")]
    pub async fn record(
        &self,
        #[wasm_bindgen(unchecked_param_type = "number")] bpm: JsValue,
    ) -> Result<JsValue, JsError> {
        let bpm = heart_rate(&bpm)?;
        let node = self.node.clone();
        let (id, seq) = node.record(bpm).await?;
        to_js(&RecordedView {
            id: id.to_string(),
            seq,
        })
    }

    /// Asks the browser to keep what this tab stores even when its disk gets full; it may ask the person. Resolves
    /// to whether it will. To be called when a person records for the first time.
    ///
    /// Rejects with an Error in words if the node broke.
    ///
    /// # Errors
    /// See above.
    #[wasm_bindgen(js_name = requestPersistence, unchecked_return_type = "boolean")]
    pub async fn request_persistence(&self) -> Result<JsValue, JsError> {
        let node = self.node.clone();
        Ok(node.request_persistence().await?.into())
    }

    /// Calls a listener for each event of a type; see `NodeEventMap`.
    ///
    /// # Errors
    /// As the browser's own does.
    #[wasm_bindgen(js_name = addEventListener, skip_typescript)]
    pub fn add_event_listener(
        &self,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue> {
        self.listeners.add(name, listener, options)
    }

    /// Calls a listener no more.
    ///
    /// # Errors
    /// As the browser's own does.
    #[wasm_bindgen(js_name = removeEventListener, skip_typescript)]
    pub fn remove_event_listener(
        &self,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue> {
        self.listeners.remove(name, listener, options)
    }

    /// Leaves the room: closes every connection and ends the mining worker. What was known can still be read.
    pub fn stop(&self) {
        // It fails if it has stopped before.
        drop(self.node.wish(Wish::Stop));
    }
}

/// Tries `tries` nonces from `start` on for a header of 93 bytes; gives the first whose hash meets the header's
/// target. For the mining worker.
///
/// # Errors
/// If these bytes are no header, or no hash can meet its target.
#[wasm_bindgen(js_name = mineBatch)]
pub fn mine_batch(header: &[u8], start: u64, tries: u32) -> Result<Option<u64>, JsError> {
    let header = Header::decode(header)?;
    let target = header.bits.target()?;
    Ok(Job::new(&header, target).search(start, tries))
}

/// The QR code of a text, such as a room's link: its modules row by row, 1 for dark, without the quiet zone around
/// them. Undefined if the text is too long for a code.
#[must_use]
#[wasm_bindgen(js_name = qrCode)]
pub fn qr_code(text: &str) -> Option<Vec<u8>> {
    qr::modules(text)
}

/// Tells JavaScript by events.
struct Speaker {
    listeners: Listeners,
}

impl Audience for Speaker {
    fn tell(&self, news: News<Reading>, known: &RefCell<Known>) {
        let (name, detail) = {
            let known = known.borrow();
            match news {
                News::Reading(reading) => ("reading", to_js(&known.reading(&reading))),
                News::Chain { from, to, reorg } => ("chain", to_js(&ChainView { from, to, reorg })),
                News::Status => ("status", to_js(&known.status())),
                News::Peers => ("peers", to_js(&known.peers())),
                News::Notice(notice) => ("notice", to_js(&NoticeView::from(notice))),
            }
        };
        // Listeners look at the node, so nothing of it may be held here.
        if let Ok(detail) = detail {
            dispatch(&self.listeners, name, &detail);
        }
    }
}

/// Sends an event to the page's listeners.
pub(crate) fn dispatch(listeners: &Listeners, name: &str, detail: &JsValue) {
    let fields = web_sys::CustomEventInit::new();
    fields.set_detail(detail);
    if let Ok(event) = web_sys::CustomEvent::new_with_event_init_dict(name, &fields) {
        if name == "status" {
            failure::remember(detail);
        }
        let target: &web_sys::EventTarget = listeners.unchecked_ref();
        // What a listener throws is the page's to hear, and the browser tells it.
        let _ = target.dispatch_event(&event);
    }
}

async fn export(node: node::Node, form: Form, media_type: &str) -> Result<web_sys::Blob, JsError> {
    let mut file = FileParts::new();
    node.export(form, |text| file.add(text)).await?;
    file.finish(media_type)
        .ok_or_else(|| JsError::new("this browser cannot make a file of it"))
}

fn to_js(value: &impl Serialize) -> Result<JsValue, JsError> {
    Ok(value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}
