//! DTLS, SCTP and the messages of data channels for one connection, without IO: datagrams and times go in, datagrams and
//! events come out.
//!
//! This module knows neither streams nor peers. It may panic if `dimpl` or `sctp-proto` have a fault, so it only runs in
//! the task of its connection.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use dimpl::{Dtls, Output};
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier as Ppi, ServerConfig, StreamEvent, Transmit,
    TransportConfig,
};

use crate::certificate::{Certificate, Fingerprint};
use crate::dtls_config::{accepting, dtls_config};
use crate::hello::{Cookie, first_client_hello};
use crate::queue::pop;
use crate::socket::MAX_DATAGRAM;

/// Bytes of data in a packet of SCTP. With the headers of IPv6, UDP, DTLS and SCTP a packet has at most 1,233 bytes, and
/// passes every path that IPv6 allows.
const MAX_PAYLOAD: u32 = 1_120;
/// Bytes that SCTP keeps for messages that have not been read.
const RECEIVE_WINDOW: u32 = 1024 * 1024;
/// Bytes of one received message. Frames have 16 KiB; servers of rust-libp2p join several.
const MAX_MESSAGE: u32 = 64 * 1024;
/// Milliseconds until SCTP repeats a packet: those of Chromium, which has delayed acknowledgements of at most 200 ms.
const RTO_INITIAL: u64 = 500;
const RTO_MIN: u64 = 400;
const RTO_MAX: u64 = 10_000;

/// SCTP over DTLS has no addresses, but `sctp-proto` asks for one.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);

/// The kind of a message on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A message of the protocol that opens channels ([RFC 8832](https://www.rfc-editor.org/rfc/rfc8832)).
    Control,
    /// UTF-8, which libp2p never sends.
    Text,
    /// Bytes, as all frames are.
    Binary,
}

/// A message that was received on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the message is.
    pub kind: MessageKind,
    /// The bytes of the message.
    pub data: Vec<u8>,
}

/// What the owner of a [`Stack`] has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackEvent {
    /// DTLS and SCTP are complete; the peer has this certificate.
    Connected(Fingerprint),
    /// The peer sent the first message on this channel.
    Opened(u16),
    /// There may be messages to read on this channel.
    Readable(u16),
    /// Both halves of this channel have ended, and all messages were read.
    Finished(u16),
    /// The number of this channel may be used again.
    Freed(u16),
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// DTLS failed, with the message of its library.
    #[error("DTLS failed: {0}")]
    Dtls(String),
    /// SCTP failed, with the message of its library.
    #[error("SCTP failed: {0}")]
    Sctp(String),
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    ClosedByPeer,
}

impl From<dimpl::Error> for StackError {
    fn from(error: dimpl::Error) -> Self {
        Self::Dtls(error.to_string())
    }
}

/// DTLS and SCTP of one connection.
pub struct Stack {
    dtls: Dtls,
    dtls_due: Option<Instant>,
    peer: Option<Fingerprint>,
    is_client: bool,
    /// The cookie that the peer has echoed.
    cookie: Option<Cookie>,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    /// Data that DTLS decrypted for SCTP.
    decrypted: VecDeque<Bytes>,
    datagrams: VecDeque<Vec<u8>>,
    events: VecDeque<StackEvent>,
    last_data: Instant,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("dtls", &self.dtls)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Stack {
    /// The side that waits for the peer's ClientHello with this cookie, which a [`Table`](crate::table::Table) has checked.
    ///
    /// # Errors
    /// If the library of DTLS rejects its configuration; no input leads to that.
    pub fn accept(
        certificate: &Certificate,
        cookie: [u8; 32],
        now: Instant,
    ) -> Result<Self, StackError> {
        let mut stack = Self::new(certificate, Some(cookie), now)?;
        // The library numbers messages from the first ClientHello on, and answers it with the cookie. The peer has that.
        stack.handle_datagram(now, &first_client_hello())?;
        stack.datagrams.clear();
        Ok(stack)
    }

    /// The side that sends a ClientHello and begins SCTP.
    ///
    /// # Errors
    /// If the library of DTLS rejects its configuration; no input leads to that.
    pub fn dial(certificate: &Certificate, now: Instant) -> Result<Self, StackError> {
        let mut stack = Self::new(certificate, None, now)?;
        stack.dtls.set_active(true);
        stack.dtls.handle_timeout(now)?;
        stack.advance(now)?;
        Ok(stack)
    }

    fn new(
        certificate: &Certificate,
        cookie: Option<Cookie>,
        now: Instant,
    ) -> Result<Self, StackError> {
        let is_client = cookie.is_none();
        let dtls = Dtls::new_12(dtls_config()?, certificate.to_dtls(), now);
        // A client also has the configuration of a server, because the library panics without it, and rejects associations.
        let server = Some(Arc::clone(&SCTP.server));
        let mut endpoint = Endpoint::new(Arc::clone(&SCTP.endpoint), server);
        if is_client {
            endpoint.reject_new_associations();
        }
        Ok(Self {
            dtls,
            dtls_due: None,
            peer: None,
            is_client,
            cookie,
            endpoint,
            association: None,
            decrypted: VecDeque::new(),
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
            last_data: now,
        })
    }

    /// Processes a datagram of the peer.
    ///
    /// # Errors
    /// If the connection cannot go on. A datagram that does not belong to it is ignored.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), StackError> {
        accepting(self.cookie, || {
            self.dtls.handle_timeout(now)?;
            self.dtls.handle_packet(datagram)
        })?;
        self.advance(now)
    }

    /// Repeats what was lost, if it is time. See [`Self::next_timeout`].
    ///
    /// # Errors
    /// If the connection cannot go on.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), StackError> {
        accepting(self.cookie, || self.dtls.handle_timeout(now))?;
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        self.advance(now)
    }

    /// Encrypts what SCTP has to send. Call it after writing, and after a batch of datagrams.
    ///
    /// # Errors
    /// If the connection cannot go on.
    pub fn flush(&mut self, now: Instant) -> Result<(), StackError> {
        let mut packets = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            packets.extend(encoded(transmit));
        }
        if let Some((_, association)) = &mut self.association {
            while let Some(transmit) = association.poll_transmit(now) {
                packets.extend(encoded(transmit));
            }
        }
        for packet in packets {
            self.dtls.send_application_data(&packet)?;
            // The queue of the library has ten places.
            self.drain_dtls()?;
        }
        self.collect_events()
    }

    /// The next datagram to send to the peer.
    pub fn next_datagram(&mut self) -> Option<Vec<u8>> {
        pop(&mut self.datagrams)
    }

    /// The next event, in the order of their causes.
    pub fn next_event(&mut self) -> Option<StackEvent> {
        pop(&mut self.events)
    }

    /// Whether [`Self::next_event`] returns one.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let association = self.association.as_ref();
        let sctp = association.and_then(|(_, association)| association.poll_timeout());
        self.dtls_due.into_iter().chain(sctp).min()
    }

    /// When the peer last sent authenticated data.
    #[must_use]
    pub fn last_data(&self) -> Instant {
        self.last_data
    }

    /// Tells the peer that the connection ends.
    pub fn close(&mut self) {
        // A failure ends the connection just as well.
        let _ = self.dtls.close();
        let _ = self.drain_dtls();
    }

    /// Creates a channel, unless it exists. Returns false while its number cannot be used.
    pub fn open(&mut self, channel: u16) -> bool {
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        association.stream(channel).is_ok() || association.open_stream(channel, Ppi::Binary).is_ok()
    }

    /// Queues a message on a channel. Returns false if the channel has been closed.
    pub fn write(&mut self, channel: u16, kind: MessageKind, data: &[u8]) -> bool {
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        let ppi = match kind {
            MessageKind::Control => Ppi::Dcep,
            MessageKind::Text => Ppi::String,
            MessageKind::Binary => Ppi::Binary,
        };
        association
            .stream(channel)
            .is_ok_and(|mut stream| stream.write_with_ppi(data, ppi).is_ok())
    }

    /// The bytes of a channel that the peer has not acknowledged yet.
    pub fn unacknowledged(&mut self, channel: u16) -> usize {
        let Some((_, association)) = &mut self.association else {
            return 0;
        };
        let stream = association.stream(channel);
        stream.map_or(0, |stream| stream.buffered_amount().unwrap_or(0))
    }

    /// Takes the next message of a channel.
    pub fn read(&mut self, channel: u16) -> Option<Message> {
        let (_, association) = self.association.as_mut()?;
        let chunks = association.stream(channel).ok()?.read().ok()??;
        let mut data = vec![0; chunks.len()];
        chunks.read(&mut data).ok()?;
        let kind = match chunks.ppi {
            Ppi::Dcep => MessageKind::Control,
            Ppi::String | Ppi::StringEmpty => MessageKind::Text,
            Ppi::Binary | Ppi::BinaryEmpty | Ppi::Unknown => MessageKind::Binary,
        };
        // An empty message is sent as one byte with a kind of its own.
        if matches!(chunks.ppi, Ppi::StringEmpty | Ppi::BinaryEmpty) {
            data.clear();
        }
        Some(Message { kind, data })
    }

    /// Closes both halves of a channel. What was written before still arrives. Returns false if there is no such channel;
    /// otherwise [`StackEvent::Freed`] follows once the peer has confirmed it.
    pub fn reset(&mut self, channel: u16) -> bool {
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(channel)
        {
            // Fails only if the association has ended.
            return stream.close().is_ok();
        }
        false
    }

    /// The number of channels, those that are closing included.
    #[must_use]
    pub fn channels(&self) -> usize {
        let association = self.association.as_ref();
        association.map_or(0, |(_, association)| association.stream_ids().len())
    }

    /// Moves data between DTLS and SCTP until nothing is left to do.
    fn advance(&mut self, now: Instant) -> Result<(), StackError> {
        self.drain_dtls()?;
        while let Some(data) = pop(&mut self.decrypted) {
            self.last_data = now;
            let handled = self.endpoint.handle(now, NO_ADDRESS, None, None, data);
            match (handled, &mut self.association) {
                (Some((_, DatagramEvent::AssociationEvent(event))), Some((_, association))) => {
                    association.handle_event(event);
                }
                (Some((handle, DatagramEvent::NewAssociation(new))), association) => {
                    association.get_or_insert((handle, new));
                    // One is enough, and the library would keep an entry for each attempt.
                    self.endpoint.reject_new_associations();
                }
                (Some((_, DatagramEvent::AssociationEvent(_))) | None, _) => {}
            }
        }
        self.collect_events()
    }

    fn drain_dtls(&mut self) -> Result<(), StackError> {
        // Not kept, because most connections are silent most of the time.
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut is_connected = false;
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    let packet = packet.to_vec();
                    self.datagrams.push_back(packet);
                }
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.dtls_due = Some(due);
                    break;
                }
                Output::Connected => is_connected = true,
                Output::PeerCert(certificate) => self.peer = Some(Fingerprint::of(certificate)),
                Output::ApplicationData(data) => {
                    self.decrypted.push_back(Bytes::copy_from_slice(data));
                }
                Output::CloseNotify => return Err(StackError::ClosedByPeer),
                Output::KeyingMaterial(..) | _ => {}
            }
        }
        if is_connected && self.is_client {
            self.connect()?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), StackError> {
        let mut config = ClientConfig::default();
        config.transport = Arc::clone(&SCTP.server.transport);
        let association = self
            .endpoint
            .connect(config, NO_ADDRESS)
            .map_err(|error| StackError::Sctp(error.to_string()))?;
        self.association = Some(association);
        Ok(())
    }

    fn collect_events(&mut self) -> Result<(), StackError> {
        let Some((handle, association)) = &mut self.association else {
            return Ok(());
        };
        while let Some(event) = association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                association.handle_event(event);
            }
        }
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => {
                    association.set_max_send_message_size(MAX_MESSAGE);
                    let peer = self.peer.ok_or_else(|| {
                        StackError::Dtls("the peer has no certificate".to_owned())
                    })?;
                    self.events.push_back(StackEvent::Connected(peer));
                }
                Event::HandshakeFailed { reason } | Event::AssociationLost { reason } => {
                    return Err(StackError::Sctp(reason.to_string()));
                }
                Event::Stream(event) => match event {
                    StreamEvent::Opened { .. } => {
                        while let Some(stream) = association.accept_stream() {
                            let opened = StackEvent::Opened(stream.stream_identifier());
                            self.events.push_back(opened);
                        }
                    }
                    StreamEvent::Readable { id } => self.events.push_back(StackEvent::Readable(id)),
                    StreamEvent::Finished { id } => self.events.push_back(StackEvent::Finished(id)),
                    StreamEvent::ResetComplete { id } => {
                        self.events.push_back(StackEvent::Freed(id));
                    }
                    // A channel whose reset failed is never used again.
                    StreamEvent::ResetFailed { .. }
                    | StreamEvent::Writable { .. }
                    | StreamEvent::Stopped { .. }
                    | StreamEvent::Available
                    | StreamEvent::BufferedAmountLow { .. }
                    | StreamEvent::BufferedAmountHigh { .. }
                    | _ => {}
                },
                Event::DatagramReceived | Event::DataChannelStatsFinal(_) | _ => {}
            }
        }
        Ok(())
    }
}

/// The settings of SCTP, which all connections share.
struct SctpSettings {
    endpoint: Arc<EndpointConfig>,
    server: Arc<ServerConfig>,
}

static SCTP: LazyLock<SctpSettings> = LazyLock::new(|| {
    let mut endpoint = EndpointConfig::default();
    endpoint.max_payload_size(MAX_PAYLOAD);
    let transport = TransportConfig::default()
        .with_max_receive_buffer_size(RECEIVE_WINDOW)
        .with_max_receive_message_size(MAX_MESSAGE)
        // The connection ends when its peer is silent; SCTP does not count.
        .with_max_init_retransmits(None)
        .with_max_data_retransmits(None)
        .with_rto_initial_ms(RTO_INITIAL)
        .with_rto_min_ms(RTO_MIN)
        .with_rto_max_ms(RTO_MAX);
    let mut server = ServerConfig::default();
    server.transport = Arc::new(transport);
    SctpSettings {
        endpoint: Arc::new(endpoint),
        server: Arc::new(server),
    }
});

fn encoded(transmit: Transmit) -> Vec<Bytes> {
    match transmit.payload {
        Payload::RawEncode(packets) => packets,
        Payload::PartialDecode(_) => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hello::hello_verify_request;
    use crate::queue::KEPT_ROOM;

    /// Both ends of a connection.
    pub(crate) struct Pair {
        pub(crate) client: Stack,
        pub(crate) server: Stack,
        pub(crate) now: Instant,
    }

    impl Pair {
        fn new() -> Self {
            let now = Instant::now();
            let certificate = || Certificate::generate().expect("a certificate");
            let cookie = [7; 32];
            let mut client = Stack::dial(&certificate(), now).expect("valid");
            assert!(client.next_datagram().is_some(), "a hello");
            client
                .handle_datagram(now, &hello_verify_request(&cookie))
                .expect("valid");
            Self {
                client,
                server: Stack::accept(&certificate(), cookie, now).expect("valid"),
                now,
            }
        }

        /// Delivers datagrams until both sides are silent; each is passed to `change` first.
        pub(crate) fn run(&mut self, mut change: impl FnMut(Vec<u8>) -> Option<Vec<u8>>) {
            loop {
                let mut is_silent = true;
                for from_client in [true, false] {
                    let Self {
                        client,
                        server,
                        now,
                    } = &mut *self;
                    let (from, to) = if from_client {
                        (client, server)
                    } else {
                        (server, client)
                    };
                    from.flush(*now).expect("alive");
                    while let Some(datagram) = from.next_datagram() {
                        is_silent = false;
                        if let Some(datagram) = change(datagram) {
                            let _ = to.handle_datagram(*now, &datagram);
                        }
                    }
                }
                if is_silent {
                    return;
                }
            }
        }

        pub(crate) fn connected() -> Self {
            let mut pair = Self::new();
            pair.run(Some);
            let server = events(&mut pair.server);
            for (side, name) in [(server, "server"), (events(&mut pair.client), "client")] {
                let connected = |event: &StackEvent| matches!(event, StackEvent::Connected(_));
                assert!(side.iter().any(connected), "{name}: {side:?}");
            }
            pair
        }
    }

    pub(crate) fn events(stack: &mut Stack) -> Vec<StackEvent> {
        std::iter::from_fn(|| stack.next_event()).collect()
    }

    #[test]
    fn message_arrives_and_channel_closes() {
        let mut pair = Pair::connected();
        assert!(pair.client.open(2));
        let data = vec![7; 16_384];
        assert!(pair.client.write(2, MessageKind::Binary, &data));
        pair.run(Some);
        assert!(events(&mut pair.server).contains(&StackEvent::Opened(2)));
        let message = pair.server.read(2).expect("it has arrived");
        assert_eq!((message.kind, message.data), (MessageKind::Binary, data));
        assert_eq!(pair.client.unacknowledged(2), 0);
        assert!(pair.client.reset(2));
        assert!(!pair.client.reset(4), "it was never opened");
        pair.run(Some);
        for stack in [&mut pair.server, &mut pair.client] {
            let events = events(stack);
            assert!(events.contains(&StackEvent::Finished(2)), "{events:?}");
            assert!(events.contains(&StackEvent::Freed(2)), "{events:?}");
        }
        assert_eq!((pair.server.channels(), pair.client.channels()), (0, 0));
        assert!(pair.client.open(2), "the number is free");
    }

    #[test]
    fn queues_give_their_memory_back() {
        let mut pair = Pair::connected();
        assert!(pair.client.open(2));
        assert!(pair.client.write(2, MessageKind::Binary, &vec![7; 60_000]));
        pair.run(Some);
        for stack in [&mut pair.client, &mut pair.server] {
            events(stack);
            assert!(stack.datagrams.capacity() <= KEPT_ROOM);
            assert!(stack.decrypted.capacity() <= KEPT_ROOM);
            assert!(stack.events.capacity() <= KEPT_ROOM);
        }
    }

    #[test]
    fn closing_reaches_the_peer() {
        let mut pair = Pair::connected();
        pair.client.close();
        let last = pair.client.next_datagram().expect("an alert");
        let outcome = pair.server.handle_datagram(pair.now, &last);
        assert_eq!(outcome, Err(StackError::ClosedByPeer));
    }

    #[test]
    fn another_cookie_begins_nothing() {
        let mut pair = Pair::new();
        let certificate = Certificate::generate().expect("a certificate");
        pair.server = Stack::accept(&certificate, [8; 32], pair.now).expect("valid");
        let hello = pair.client.next_datagram().expect("a hello");
        pair.server
            .handle_datagram(pair.now, &hello)
            .expect("valid");
        let answer = pair.server.next_datagram().expect("a request for its own");
        assert!(answer.ends_with(&[8; 32]), "{answer:?}");
        assert_eq!(pair.server.next_datagram(), None);
    }

    /// The first datagrams of a new connection come from the library's second flight, not from the first.
    #[test]
    fn new_connection_sends_nothing_by_itself() {
        let mut pair = Pair::new();
        assert_eq!(pair.server.next_datagram(), None);
        assert_eq!(pair.server.next_event(), None);
    }

    #[test]
    fn damaged_datagrams_are_survived() {
        let mut pair = Pair::connected();
        assert!(pair.client.open(2));
        let mut seed = 1_u64;
        for _ in 0..10_000 {
            let mut datagram = vec![0; 64];
            for byte in &mut datagram {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                [.., *byte] = seed.to_le_bytes();
            }
            if let Some(kind) = datagram.first_mut() {
                *kind = 20 + *kind % 44;
            }
            let outcome = pair.server.handle_datagram(pair.now, &datagram);
            assert_eq!(outcome, Ok(()));
        }
        // Two of three datagrams lose a bit, and what is repeated arrives.
        assert!(pair.client.write(2, MessageKind::Binary, &[9; 5_000]));
        for second in 1..60 {
            pair.run(|mut datagram| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let [.., at, choice] = seed.to_le_bytes();
                let at = usize::from(at) % datagram.len();
                if choice % 3 > 0
                    && let Some(byte) = datagram.get_mut(at)
                {
                    *byte ^= 1;
                }
                Some(datagram)
            });
            pair.now += Duration::from_secs(second);
            pair.client.handle_timeout(pair.now).expect("alive");
            pair.server.handle_timeout(pair.now).expect("alive");
        }
        let message = pair.server.read(2).expect("it has arrived");
        assert_eq!(message.data, [9; 5_000]);
    }
}
