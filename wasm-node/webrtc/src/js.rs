//! The JavaScript edge: event listeners that can be dropped at any moment, and the few calls that web-sys lacks or
//! declares as if they could not throw. Knows nothing of streams.

use std::cell::Cell;
use std::time::Duration;

use futures_timer::Delay;
use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Event, EventTarget, RtcDataChannel, RtcDataChannelInit, RtcPeerConnection, RtcSdpType,
    RtcSessionDescriptionInit,
};

/// The label of the data channel that an offer is made with, and that never carries a stream.
pub(crate) const INIT_LABEL: &str = "init";

#[wasm_bindgen]
extern "C" {
    /// An [`RtcPeerConnection`], seen through the methods below.
    #[wasm_bindgen(extends = EventTarget)]
    type PeerConnection;

    /// Throws when the connection is closed and when no channel id is left; web-sys has it unable to fail.
    #[wasm_bindgen(method, catch, js_name = createDataChannel)]
    fn create_data_channel(
        this: &PeerConnection,
        label: &str,
        init: &RtcDataChannelInit,
    ) -> Result<RtcDataChannel, JsValue>;

    /// `null` until the descriptions have agreed on one.
    #[wasm_bindgen(method, getter)]
    fn sctp(this: &PeerConnection) -> Option<SctpTransport>;

    /// `RTCSctpTransport`.
    #[wasm_bindgen(extends = EventTarget)]
    #[derive(Debug)]
    pub(crate) type SctpTransport;

    /// "connecting", "connected" or "closed".
    #[wasm_bindgen(method, getter)]
    pub(crate) fn state(this: &SctpTransport) -> String;

    /// Milliseconds since the page was opened.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Opens a data channel with an empty label, as libp2p has them for streams.
pub(crate) fn create_data_channel(
    connection: &RtcPeerConnection,
    init: &RtcDataChannelInit,
) -> Result<RtcDataChannel, String> {
    create_labelled_channel(connection, "", init)
}

/// Opens a data channel that is no stream.
pub(crate) fn create_labelled_channel(
    connection: &RtcPeerConnection,
    label: &str,
    init: &RtcDataChannelInit,
) -> Result<RtcDataChannel, String> {
    connection
        .unchecked_ref::<PeerConnection>()
        .create_data_channel(label, init)
        .map_err(|error| describe(&error))
}

/// A session description, as the browser takes it.
pub(crate) fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

/// What a promise comes to, or what its rejection says.
pub(crate) async fn settled(promise: Promise) -> Result<JsValue, String> {
    JsFuture::from(promise)
        .await
        .map_err(|error| describe(&error))
}

/// A count that grows with every packet of the far end, checks of the way included, also while its page is busy. `None`
/// in a browser that does not count them.
pub(crate) async fn signs_of_life(connection: RtcPeerConnection) -> Option<u64> {
    /// What browsers count of a way's packets; each counts some of these.
    const COUNTS: [&str; 4] = [
        "packetsReceived",
        "bytesReceived",
        "requestsReceived",
        "responsesReceived",
    ];
    let report = settled(connection.get_stats()).await.ok()?;
    let values = Reflect::get(&report, &"values".into()).ok()?;
    let values = values
        .dyn_into::<js_sys::Function>()
        .ok()?
        .call0(&report)
        .ok()?;
    let mut sum = None;
    for entry in js_sys::try_iter(&values).ok()??.flatten() {
        let is_way =
            Reflect::get(&entry, &"type".into()).is_ok_and(|kind| kind == "candidate-pair");
        for name in COUNTS.into_iter().filter(|_| is_way) {
            let count = Reflect::get(&entry, &name.into())
                .ok()
                .and_then(|count| count.as_f64());
            if let Some(count) = count {
                *sum.get_or_insert(0.0) += count;
            }
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of packets and bytes; a sum that is rounded or cut off still grows"
    )]
    sum.map(|sum: f64| sum as u64)
}

/// Time since the page was opened, which nobody can put back.
pub(crate) fn monotonic_now() -> Duration {
    Duration::try_from_secs_f64(performance_now() / 1_000.0).unwrap_or_default()
}

/// The connection's SCTP transport, once there is one.
pub(crate) fn sctp_transport(connection: &RtcPeerConnection) -> Option<SctpTransport> {
    connection.unchecked_ref::<PeerConnection>().sctp()
}

/// What a thrown value says.
pub(crate) fn describe(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.to_string()),
        None => format!("{error:?}"),
    }
}

thread_local! {
    static LIVE_LISTENERS: Cell<usize> = const { Cell::new(0) };
}

/// How many event listeners there are whose closures are not yet freed: for tests of growth.
#[doc(hidden)]
#[must_use]
pub fn live_listeners() -> usize {
    LIVE_LISTENERS.get()
}

/// An event listener that lives as long as this value.
///
/// Dropping it detaches it first and frees its closure in a later task: one that is dropped while the browser still
/// has an event for it throws "closure invoked recursively or after being dropped".
#[derive(Debug)]
pub(crate) struct Listener {
    target: EventTarget,
    event: &'static str,
    closure: Option<Closure<dyn FnMut(Event)>>,
}

impl Listener {
    pub(crate) fn new(
        target: &EventTarget,
        event: &'static str,
        listener: impl FnMut(Event) + 'static,
    ) -> Self {
        LIVE_LISTENERS.set(LIVE_LISTENERS.get() + 1);
        let closure = Closure::<dyn FnMut(Event)>::new(listener);
        if let Err(error) =
            target.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref())
        {
            tracing::error!(event, error = describe(&error), "event listener refused");
        }
        Self {
            target: target.clone(),
            event,
            closure: Some(closure),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(closure) = self.closure.take() else {
            return;
        };
        let function = closure.as_ref().unchecked_ref();
        if let Err(error) = self
            .target
            .remove_event_listener_with_callback(self.event, function)
        {
            tracing::error!(
                event = self.event,
                error = describe(&error),
                "event listener not removed"
            );
        }
        spawn_local(async move {
            Delay::new(Duration::ZERO).await;
            drop(closure);
            LIVE_LISTENERS.set(LIVE_LISTENERS.get().saturating_sub(1));
        });
    }
}
