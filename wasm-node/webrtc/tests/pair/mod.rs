//! Test support: two peer connections in one page, signalled directly, each polled like libp2p polls a connection.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(unreachable_pub, reason = "a test support module")]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, join, select};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use futures_timer::Delay;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerExt};
use libp2p_webrtc_browser::{Connection, ConnectionError, Stream, StreamConfig};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    ErrorEvent, EventTarget, RtcDataChannelInit, RtcIceGatheringState, RtcPeerConnection,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

thread_local! {
    /// Uncaught errors of the page, once they are being recorded.
    static UNCAUGHT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// One end of a connection, polled in the background.
#[derive(Clone)]
pub struct End {
    peer_connection: Option<RtcPeerConnection>,
    connection: Rc<RefCell<Connection>>,
    ended: Rc<RefCell<Option<ConnectionError>>>,
}

impl End {
    fn new(config: StreamConfig) -> Self {
        let peer_connection = RtcPeerConnection::new().expect("a page can create peer connections");
        let connection = Connection::from_peer_connection(peer_connection.clone(), config);
        Self {
            peer_connection: Some(peer_connection),
            ..Self::of(connection)
        }
    }

    /// Wraps an existing connection.
    pub fn of(connection: Connection) -> Self {
        let end = Self {
            peer_connection: None,
            connection: Rc::new(RefCell::new(connection)),
            ended: Rc::default(),
        };
        let (connection, ended) = (Rc::clone(&end.connection), Rc::clone(&end.ended));
        spawn_local(async move {
            let outcome = poll_fn(|context| connection.borrow_mut().poll_unpin(context)).await;
            ended.replace(Some(outcome.expect_err("there are no address changes")));
        });
        end
    }

    /// The underlying peer connection; only for ends made by [`pair`].
    pub fn peer_connection(&self) -> &RtcPeerConnection {
        self.peer_connection.as_ref().expect("made by pair")
    }

    pub async fn open(&self) -> Stream {
        self.try_open().await.expect("connection is open")
    }

    pub async fn try_open(&self) -> Result<Stream, ConnectionError> {
        poll_fn(|context| self.connection.borrow_mut().poll_outbound_unpin(context)).await
    }

    pub async fn accept(&self) -> Stream {
        poll_fn(|context| self.connection.borrow_mut().poll_inbound_unpin(context))
            .await
            .expect("connection is open")
    }

    pub async fn close(&self) {
        poll_fn(|context| Pin::new(&mut *self.connection.borrow_mut()).poll_close(context))
            .await
            .expect("closes");
    }

    /// The number of its data channels, open or closing.
    pub fn channels(&self) -> usize {
        self.connection.borrow().channel_count()
    }

    /// The number of unread bytes on its streams.
    pub fn unread(&self) -> usize {
        self.connection.borrow().unread()
    }

    /// Why the connection ended, if it has.
    pub fn end_reason(&self) -> Option<ConnectionError> {
        self.ended.borrow().clone()
    }

    /// Echoes all data on every stream that the peer opens.
    pub fn echo(&self) {
        let end = self.clone();
        spawn_local(async move {
            let inbound = futures::stream::unfold(end, |end| async move {
                let stream =
                    poll_fn(|context| end.connection.borrow_mut().poll_inbound_unpin(context))
                        .await
                        .ok()?;
                Some((stream, end))
            });
            inbound
                .for_each(|stream| async move {
                    spawn_local(async move {
                        let (reader, mut writer) = stream.split();
                        if futures::io::copy(reader, &mut writer).await.is_ok() {
                            writer.close().await.ok();
                        }
                    });
                })
                .await;
        });
    }
}

/// Creates two ends that are connected to each other.
pub async fn pair(config: StreamConfig) -> (End, End) {
    record_uncaught_errors();
    let (offerer, answerer) = (End::new(config), End::new(config));
    // An offer needs at least one channel. A negotiated one is not announced to the peer, so it is not a stream.
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(1_000);
    offerer
        .peer_connection()
        .create_data_channel_with_data_channel_dict("", &init);

    let offer = describe(offerer.peer_connection(), RtcSdpType::Offer).await;
    set_remote(answerer.peer_connection(), &offer).await;
    let answer = describe(answerer.peer_connection(), RtcSdpType::Answer).await;
    set_remote(offerer.peer_connection(), &answer).await;
    for end in [&offerer, &answerer] {
        wait_until("connected", || {
            end.peer_connection().connection_state() == RtcPeerConnectionState::Connected
        })
        .await;
    }
    (offerer, answerer)
}

/// Sets the local description, and returns it with all candidates.
async fn describe(
    peer_connection: &RtcPeerConnection,
    kind: RtcSdpType,
) -> RtcSessionDescriptionInit {
    let promise = if kind == RtcSdpType::Offer {
        peer_connection.create_offer()
    } else {
        peer_connection.create_answer()
    };
    let description = JsFuture::from(promise).await.expect("description");
    let promise = peer_connection.set_local_description(description.unchecked_ref());
    JsFuture::from(promise)
        .await
        .expect("local description is valid");
    wait_until("candidates", || {
        peer_connection.ice_gathering_state() == RtcIceGatheringState::Complete
    })
    .await;
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(&peer_connection.local_description().expect("just set").sdp());
    description
}

async fn set_remote(peer_connection: &RtcPeerConnection, description: &RtcSessionDescriptionInit) {
    JsFuture::from(peer_connection.set_remote_description(description))
        .await
        .expect("remote description");
}

/// Waits until `condition` holds; panics after 10 s.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = now_ms();
    while !condition() {
        assert!(
            now_ms() - started < 10_000.0,
            "timed out after 10 s: {what}"
        );
        Delay::new(Duration::from_millis(5)).await;
    }
}

/// Awaits `future`; panics after 10 s.
pub async fn timeout<T>(what: &str, future: impl Future<Output = T>) -> T {
    match select(pin!(future), Delay::new(Duration::from_secs(10))).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("timed out after 10 s: {what}"),
    }
}

pub fn now_ms() -> f64 {
    js_sys::Date::now()
}

/// Writes all of `data` and closes the stream.
pub async fn send(stream: &mut (impl AsyncWriteExt + Unpin), data: &[u8]) -> std::io::Result<()> {
    stream.write_all(data).await?;
    stream.close().await
}

/// Reads up to the end of the stream.
pub async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    stream.read_to_end(&mut data).await.map(|_| data)
}

/// Sends `data` to a peer that echoes, and returns the echo.
pub async fn round_trip(end: &End, data: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = end.open().await.split();
    let (sent, received) = join(send(&mut writer, data), receive(&mut reader)).await;
    sent.expect("the peer reads it");
    received.expect("the peer writes it")
}

/// Bytes that reveal lost, duplicated or swapped frames.
pub fn pattern(length: usize, seed: u32) -> Vec<u8> {
    (0..length)
        .map(|index| {
            (index as u32)
                .wrapping_mul(2_654_435_761)
                .wrapping_add(seed)
                .to_be_bytes()[0]
        })
        .collect()
}

/// Panics if the page has reported an uncaught error since the first pair was created.
pub fn assert_no_uncaught_errors() {
    UNCAUGHT
        .with_borrow(|errors| assert_eq!(errors.as_deref().unwrap_or_default(), [] as [String; 0]));
}

pub fn record_uncaught_errors() {
    if UNCAUGHT.with_borrow(Option::is_some) {
        return;
    }
    UNCAUGHT.set(Some(Vec::new()));
    let record = Closure::<dyn FnMut(JsValue)>::new(|event: JsValue| {
        let text = event
            .dyn_ref::<ErrorEvent>()
            .map_or_else(|| format!("{event:?}"), ErrorEvent::message);
        UNCAUGHT.with_borrow_mut(|errors| errors.get_or_insert_default().push(text));
    });
    let page = js_sys::global().unchecked_into::<EventTarget>();
    for event in ["error", "unhandledrejection"] {
        page.add_event_listener_with_callback(event, record.as_ref().unchecked_ref())
            .expect("listens");
    }
    record.forget();
}
