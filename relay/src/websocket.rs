//! The WebSocket transport of libp2p. Its connections come from the HTTP server, which hands over the requests that it
//! has upgraded, so that both share one port. It never listens on a port itself, and never dials.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    Sink, Stream,
    future::{BoxFuture, Pending},
    ready,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
};
use rw_stream_sink::RwStreamSink;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{Role, WebSocketConfig},
    },
};

/// Upgraded sockets that may wait for the event loop of the swarm. It takes them within microseconds, so more are a sign
/// that it is overloaded.
pub(crate) const MAX_WAITING_SOCKETS: usize = 64;
/// Bytes of the read buffer of each WebSocket, which is allocated at once. A typical message of gossip fits into it.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A connection whose request was answered with 101.
#[derive(Debug)]
pub(crate) struct UpgradedSocket {
    /// Resolves when the response has been sent.
    pub(crate) upgrade: OnUpgrade,
    /// The relay's own address that the client connected to.
    pub(crate) local: SocketAddr,
    /// The client's address, as far as proxies are trusted.
    pub(crate) client: SocketAddr,
}

/// Where the HTTP server hands over sockets.
pub(crate) type SocketSender = mpsc::Sender<UpgradedSocket>;

/// A WebSocket as a stream of bytes.
pub(crate) type WebSocket = RwStreamSink<BinaryMessages>;

/// The transport: turns upgraded sockets into connections.
pub(crate) struct Transport {
    sockets: mpsc::Receiver<UpgradedSocket>,
    listener: Option<ListenerId>,
    events: VecDeque<TransportEvent<BoxFuture<'static, io::Result<WebSocket>>, io::Error>>,
    config: WebSocketConfig,
}

impl Transport {
    /// A transport whose messages have at most `max_message` bytes, and the sender for its sockets.
    pub(crate) fn new(max_message: usize) -> (Self, SocketSender) {
        let (sender, sockets) = mpsc::channel(MAX_WAITING_SOCKETS);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // Each message is written at once: yamux has already collected it.
            .write_buffer_size(0)
            .max_write_buffer_size(max_message)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let transport = Self {
            sockets,
            listener: None,
            events: VecDeque::new(),
            config,
        };
        (transport, sender)
    }
}

impl libp2p::Transport for Transport {
    type Output = WebSocket;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<WebSocket>>;
    type Dial = Pending<io::Result<WebSocket>>;

    /// Starts to report sockets. The address is that of the HTTP server; there is one listener for all of its ports.
    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        if !address.iter().any(|part| matches!(part, Protocol::Ws(_))) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.listener = Some(id);
        self.events.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: address,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let is_ours = self.listener == Some(id);
        if is_ours {
            self.listener = None;
            self.events.push_back(TransportEvent::ListenerClosed {
                listener_id: id,
                reason: Ok(()),
            });
        }
        is_ours
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let Some(listener_id) = self.listener else {
            return Poll::Pending;
        };
        let Some(socket) = ready!(self.sockets.poll_recv(cx)) else {
            // The HTTP server has stopped.
            self.listener = None;
            return Poll::Ready(TransportEvent::ListenerClosed {
                listener_id,
                reason: Err(io::ErrorKind::BrokenPipe.into()),
            });
        };
        let config = self.config;
        Poll::Ready(TransportEvent::Incoming {
            listener_id,
            local_addr: websocket_address(socket.local),
            send_back_addr: websocket_address(socket.client),
            upgrade: Box::pin(async move {
                let stream = socket.upgrade.await.map_err(io::Error::other)?;
                let stream = TokioIo::new(stream);
                let messages =
                    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                Ok(RwStreamSink::new(BinaryMessages(messages)))
            }),
        })
    }
}

fn websocket_address(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip().to_canonical())
        .with(Protocol::Tcp(socket.port()))
        .with(Protocol::Ws("/".into()))
}

/// The binary messages of a WebSocket. It answers pings itself, and refuses text.
#[derive(Debug)]
pub(crate) struct BinaryMessages(WebSocketStream<TokioIo<Upgraded>>);

impl Stream for BinaryMessages {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => Some(Ok(bytes.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_))) | None => None,
                Some(Ok(Message::Text(_))) => Some(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a text message on a binary WebSocket",
                ))),
                Some(Err(error)) => Some(Err(io_error(error))),
            };
            return Poll::Ready(next);
        }
    }
}

impl Sink<Vec<u8>> for BinaryMessages {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_ready(cx).map_err(io_error)
    }

    fn start_send(mut self: Pin<&mut Self>, bytes: Vec<u8>) -> io::Result<()> {
        let message = Message::Binary(bytes.into());
        Pin::new(&mut self.0).start_send(message).map_err(io_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(io_error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(io_error)
    }
}

fn io_error(error: tungstenite::Error) -> io::Error {
    if let tungstenite::Error::Io(error) = error {
        return error;
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use futures::{FutureExt as _, future::poll_fn};
    use libp2p::Transport as _;

    use super::*;

    /// A request that was never upgraded.
    fn socket() -> UpgradedSocket {
        UpgradedSocket {
            upgrade: hyper::upgrade::on(Request::new(())),
            local: ([127, 0, 0, 1], 8080).into(),
            client: ([192, 0, 2, 7], 4711).into(),
        }
    }

    fn next(
        transport: &mut Transport,
    ) -> Option<TransportEvent<BoxFuture<'static, io::Result<WebSocket>>, io::Error>> {
        poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).now_or_never()
    }

    #[test]
    fn sockets_become_connections_of_their_clients() {
        let (mut transport, sockets) = Transport::new(1_024);
        sockets.try_send(socket()).expect("there is room");
        assert!(next(&mut transport).is_none(), "it does not listen yet");
        let id = ListenerId::next();
        let address: Multiaddr = "/ws".parse().expect("an address");
        transport
            .listen_on(id, address.clone())
            .expect("a WebSocket");
        let event = next(&mut transport).expect("an event").into_new_address();
        assert_eq!(event, Some(address));
        let incoming = next(&mut transport).and_then(TransportEvent::into_incoming);
        let (upgrade, from) = incoming.expect("a connection");
        assert_eq!(from.to_string(), "/ip4/192.0.2.7/tcp/4711/ws");
        assert!(upgrade.now_or_never().expect("at once").is_err());

        let other = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        assert!(transport.listen_on(ListenerId::next(), other).is_err());
        assert!(!transport.remove_listener(ListenerId::next()));
        drop(sockets);
        let closed = next(&mut transport).expect("an event");
        assert!(
            matches!(closed, TransportEvent::ListenerClosed { listener_id, .. } if listener_id == id)
        );
    }

    #[test]
    fn waiting_sockets_are_limited() {
        let (transport, sockets) = Transport::new(1_024);
        for _ in 0..MAX_WAITING_SOCKETS {
            sockets.try_send(socket()).expect("there is room");
        }
        assert!(sockets.try_send(socket()).is_err());
        drop(transport);
    }
}
