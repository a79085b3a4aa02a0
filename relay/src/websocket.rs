//! The WebSocket transport of libp2p. Its connections come from the HTTP server, which hands over the requests that it
//! has upgraded, so that both share one port. It never listens on a port itself, and never dials.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{
    Sink, Stream,
    future::{BoxFuture, Pending},
    ready,
    task::AtomicWaker,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
};
use rw_stream_sink::RwStreamSink;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    fair_table::{FairTable, Share},
    network::network_of_ip,
};

/// Upgraded sockets that may wait for the event loop of the swarm. It takes them within microseconds, so more are a sign
/// that it is overloaded. Then the network of which the most wait loses its oldest.
const MAX_WAITING_SOCKETS: usize = 64;
/// Bytes of the read buffer of each WebSocket, which is allocated at once. A typical message of gossip fits into it.
const READ_BUFFER_BYTES: usize = 2 * 1024;

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
#[derive(Clone, Debug)]
pub(crate) struct SocketSender(Arc<Waiting>);

/// The sockets that wait, shared by the HTTP server and the transport.
#[derive(Debug)]
struct Waiting {
    queue: Mutex<Queue>,
    /// The transport, when it has taken all.
    transport: AtomicWaker,
}

/// Sockets by the order of their arrival.
#[derive(Debug)]
struct Queue {
    sockets: BTreeMap<u64, UpgradedSocket>,
    table: FairTable<u64>,
    next_number: u64,
}

impl SocketSender {
    /// Hands over a socket.
    pub(crate) fn send(&self, socket: UpgradedSocket) {
        let network = network_of_ip(socket.client.ip());
        let mut queue = self.0.queue();
        let number = queue.next_number;
        queue.next_number = number.saturating_add(1);
        let evicted = queue.table.insert(number, network);
        queue.sockets.insert(number, socket);
        let evicted = evicted.and_then(|evicted| queue.sockets.remove(&evicted));
        drop(queue);
        if evicted.is_some() {
            tracing::debug!(
                "too many WebSockets wait, so the oldest of the largest network is closed"
            );
        }
        self.0.transport.wake();
    }
}

impl Waiting {
    fn take(&self) -> Option<UpgradedSocket> {
        let mut queue = self.queue();
        let (number, socket) = queue.sockets.pop_first()?;
        queue.table.remove(&number);
        Some(socket)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No operation can panic in the middle, so a poisoned lock is safe to use.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A WebSocket as a stream of bytes.
pub(crate) type WebSocket = RwStreamSink<BinaryMessages>;

/// The transport: turns upgraded sockets into connections.
pub(crate) struct Transport {
    waiting: Arc<Waiting>,
    listener: Option<ListenerId>,
    events: VecDeque<TransportEvent<BoxFuture<'static, io::Result<WebSocket>>, io::Error>>,
    config: WebSocketConfig,
}

impl Transport {
    /// A transport whose messages have at most `max_message` bytes, and the sender for its sockets.
    pub(crate) fn new(max_message: usize) -> (Self, SocketSender) {
        let waiting = Arc::new(Waiting {
            queue: Mutex::new(Queue {
                sockets: BTreeMap::new(),
                table: FairTable::new(Share {
                    total: MAX_WAITING_SOCKETS,
                    per_network: MAX_WAITING_SOCKETS,
                }),
                next_number: 0,
            }),
            transport: AtomicWaker::new(),
        });
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // Each message is written at once: yamux has already collected it.
            .write_buffer_size(0)
            .max_write_buffer_size(max_message)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let transport = Self {
            waiting: Arc::clone(&waiting),
            listener: None,
            events: VecDeque::new(),
            config,
        };
        (transport, SocketSender(waiting))
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
        // Before the look, so that a socket in between wakes the transport.
        self.waiting.transport.register(cx.waker());
        let Some(socket) = self.waiting.take() else {
            return Poll::Pending;
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

    /// A request from this host that was never upgraded.
    fn socket(host: u8) -> UpgradedSocket {
        UpgradedSocket {
            upgrade: hyper::upgrade::on(Request::new(())),
            local: ([127, 0, 0, 1], 8080).into(),
            client: ([192, 0, 2, host], 4711).into(),
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
        sockets.send(socket(7));
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
        assert!(transport.remove_listener(id));
        let closed = next(&mut transport).expect("an event");
        let is_closed = matches!(closed, TransportEvent::ListenerClosed { listener_id, .. } if listener_id == id);
        assert!(is_closed);
    }

    #[test]
    fn crowd_of_waiting_sockets_evicts_its_own() {
        let (mut transport, sockets) = Transport::new(1_024);
        for _ in 0..MAX_WAITING_SOCKETS {
            sockets.send(socket(1));
        }
        for host in [2, 1, 3, 1] {
            sockets.send(socket(host));
        }
        let address = "/ws".parse().expect("an address");
        transport
            .listen_on(ListenerId::next(), address)
            .expect("a WebSocket");
        assert!(next(&mut transport).is_some_and(|event| event.is_new_address()));
        let mut clients = Vec::new();
        while let Some(event) = next(&mut transport) {
            let (_, from) = event.into_incoming().expect("a connection");
            clients.push(from.to_string());
        }
        assert_eq!(clients.len(), MAX_WAITING_SOCKETS);
        let last = ["2", "1", "3", "1"].map(|host| format!("/ip4/192.0.2.{host}/tcp/4711/ws"));
        assert_eq!(clients[MAX_WAITING_SOCKETS - 4..], last);
        let queue = transport.waiting.queue();
        assert_eq!((queue.sockets.len(), queue.table.len()), (0, 0));
    }
}
