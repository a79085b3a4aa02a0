//! Bindings to the browser: event listeners that can be dropped at any time, and the few calls that web-sys lacks or
//! declares as infallible. Contains no stream logic.

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

/// The label of the data channel that an offer is created with. It never carries a stream.
pub(crate) const INIT_LABEL: &str = "init";

#[wasm_bindgen]
extern "C" {
    /// An [`RtcPeerConnection`] with the methods declared below.
    #[wasm_bindgen(extends = EventTarget)]
    type PeerConnection;

    /// Throws if the connection is closed or no channel ID is left; web-sys declares it as infallible.
    #[wasm_bindgen(method, catch, js_name = createDataChannel)]
    fn create_data_channel(
        this: &PeerConnection,
        label: &str,
        init: &RtcDataChannelInit,
    ) -> Result<RtcDataChannel, JsValue>;

    /// `null` until both descriptions are set.
    #[wasm_bindgen(method, getter)]
    fn sctp(this: &PeerConnection) -> Option<SctpTransport>;

    /// The browser's `RTCSctpTransport`.
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

/// Opens a data channel with an empty label, as libp2p uses for streams.
pub(crate) fn create_data_channel(
    connection: &RtcPeerConnection,
    init: &RtcDataChannelInit,
) -> Result<RtcDataChannel, String> {
    create_labelled_channel(connection, "", init)
}

/// Opens a data channel with a label, which does not carry a stream.
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

/// Builds a session description for the browser.
pub(crate) fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

/// Awaits a promise; a rejection becomes its description.
pub(crate) async fn await_promise(promise: Promise) -> Result<JsValue, String> {
    JsFuture::from(promise)
        .await
        .map_err(|error| describe(&error))
}

/// A counter that grows with every packet received from the peer, STUN checks included, even while the peer's page is
/// busy. `None` if the browser reports no such counters.
pub(crate) async fn received_packet_count(connection: RtcPeerConnection) -> Option<u64> {
    /// Counters of a candidate pair. Every browser reports some of them.
    const COUNTERS: [&str; 4] = [
        "packetsReceived",
        "bytesReceived",
        "requestsReceived",
        "responsesReceived",
    ];
    let report = await_promise(connection.get_stats()).await.ok()?;
    let values = Reflect::get(&report, &"values".into()).ok()?;
    let values = values
        .dyn_into::<js_sys::Function>()
        .ok()?
        .call0(&report)
        .ok()?;
    let mut sum = None;
    for entry in js_sys::try_iter(&values).ok()??.flatten() {
        let is_candidate_pair =
            Reflect::get(&entry, &"type".into()).is_ok_and(|kind| kind == "candidate-pair");
        for name in COUNTERS.into_iter().filter(|_| is_candidate_pair) {
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
        reason = "counts of packets and bytes; a rounded or truncated sum still grows"
    )]
    sum.map(|sum: f64| sum as u64)
}

/// Time since the page was opened. Unlike the system clock, it never goes back.
pub(crate) fn monotonic_now() -> Duration {
    Duration::try_from_secs_f64(performance_now() / 1_000.0).unwrap_or_default()
}

/// The connection's SCTP transport, once there is one.
pub(crate) fn sctp_transport(connection: &RtcPeerConnection) -> Option<SctpTransport> {
    connection.unchecked_ref::<PeerConnection>().sctp()
}

/// Describes a thrown value.
pub(crate) fn describe(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.to_string()),
        None => format!("{error:?}"),
    }
}

thread_local! {
    static LIVE_LISTENERS: Cell<usize> = const { Cell::new(0) };
}

/// The number of event listeners whose closures are not freed yet, for leak tests.
#[doc(hidden)]
#[must_use]
pub fn live_listeners() -> usize {
    LIVE_LISTENERS.get()
}

/// An event listener that lives as long as this value.
///
/// Dropping it detaches the listener at once and frees its closure in a later task. A closure that is freed while the
/// browser still has an event queued for it throws "closure invoked recursively or after being dropped".
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
            tracing::error!(
                event,
                error = describe(&error),
                "could not add an event listener"
            );
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
                "could not remove an event listener"
            );
        }
        spawn_local(async move {
            Delay::new(Duration::ZERO).await;
            drop(closure);
            LIVE_LISTENERS.set(LIVE_LISTENERS.get().saturating_sub(1));
        });
    }
}
