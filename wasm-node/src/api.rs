//! What JavaScript sees: every exported item, and how values cross over. Converts, and decides nothing.

use std::cell::RefCell;

use chain::{
    bpm::Bpm,
    header::Header,
    mining::Job,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsError, JsValue, prelude::wasm_bindgen};

use crate::{
    bulletin::News,
    config,
    driver::Audience,
    failure,
    net::RelayAddress,
    node::{self, Known, Wish},
    page::{self, WakeCalls},
    start,
    view::{ChainView, RecordedView},
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

/// What is wrong with what JavaScript passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ArgumentError {
    /// Not of the type that the documentation names.
    #[error("{name} must be {expected}")]
    Type {
        /// Which.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// No heart rate.
    #[error("a heart rate is a whole number from {min} to {max}, not {found}")]
    Bpm {
        /// As it was given.
        found: String,
        /// The least.
        min: u16,
        /// The greatest.
        max: u16,
    },
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
    #[allow(
        clippy::unused_async,
        reason = "JavaScript gets a promise: what has to be opened first will be awaited here"
    )]
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
        )?;
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

    /// The readings that wait for a block.
    ///
    /// # Errors
    /// If the node broke.
    #[wasm_bindgen(unchecked_return_type = "Reading[]")]
    pub fn pending(&self) -> Result<JsValue, JsError> {
        to_js(&self.node.look(Known::pending)?)
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

/// The options of `Node.start`, checked.
pub(crate) struct Options {
    pub(crate) room: Room,
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) relay_document: Option<String>,
    pub(crate) miner_url: Option<String>,
    pub(crate) wasm_module: JsValue,
}

impl Options {
    fn read(options: &JsValue) -> Result<Self, JsError> {
        let name = text(options, "room")?;
        let name = RoomName::new(name.as_deref().unwrap_or(config::DEFAULT_ROOM))?;
        let module = field(options, "wasmModule").unwrap_or_else(wasm_bindgen::module);
        Ok(Self {
            room: Room::new(RoomParams::with_defaults(name)),
            relays: relays(options)?,
            relay_document: text(options, "relayDocument")?.or_else(page::default_document),
            miner_url: text(options, "minerUrl")?,
            wasm_module: module,
        })
    }
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

fn to_js(value: &impl Serialize) -> Result<JsValue, JsError> {
    Ok(value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}

/// A field that was given.
fn field(options: &JsValue, name: &str) -> Option<JsValue> {
    let value = js_sys::Reflect::get(options, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

fn text(options: &JsValue, name: &'static str) -> Result<Option<String>, ArgumentError> {
    field(options, name)
        .map(|value| {
            value.as_string().ok_or(ArgumentError::Type {
                name,
                expected: "a string",
            })
        })
        .transpose()
}

fn relays(options: &JsValue) -> Result<Vec<RelayAddress>, JsError> {
    let wrong = ArgumentError::Type {
        name: "relays",
        expected: "an array of strings",
    };
    let Some(given) = field(options, "relays") else {
        return Ok(Vec::new());
    };
    if !js_sys::Array::is_array(&given) {
        return Err(wrong.into());
    }
    let scheme = page::scheme();
    let mut relays = Vec::new();
    for address in js_sys::Array::from(&given) {
        let address = address.as_string().ok_or_else(|| wrong.clone())?;
        relays.push(RelayAddress::parse(&address, scheme)?);
    }
    Ok(relays)
}

fn height(name: &'static str, value: &JsValue) -> Result<u64, ArgumentError> {
    whole(value).ok_or(ArgumentError::Type {
        name,
        expected: "a whole number, 0 or above",
    })
}

fn heart_rate(value: &JsValue) -> Result<Bpm, ArgumentError> {
    let bpm = whole(value)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(|number| Bpm::new(number).ok());
    bpm.ok_or_else(|| {
        let found = value
            .as_f64()
            .map_or_else(|| "what was given".to_owned(), |number| number.to_string());
        ArgumentError::Bpm {
            found,
            min: Bpm::MIN.get(),
            max: Bpm::MAX.get(),
        }
    })
}

/// A number without a fraction that JavaScript represents exactly.
fn whole(value: &JsValue) -> Option<u64> {
    let number = value
        .as_f64()
        .filter(|_| js_sys::Number::is_safe_integer(value))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, below 2^53"
    )]
    (number >= 0.0).then_some(number as u64)
}
