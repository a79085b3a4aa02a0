//! A listening socket: its task hands each datagram to the connection that it belongs to, and starts new ones. The
//! decisions are those of [`Table`].
//!
//! This task never runs DTLS or SCTP, so nothing that a peer sends can delay or end it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::certificate::Fingerprint;
use crate::channels::Shared;
use crate::config::Config;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::driver::{Driver, Host, Times};
use crate::stack::Stack;
use crate::table::{Action, RouteId, Table, Ufrag};

/// Bytes that the system keeps for the socket, if it allows as many: what arrives in 0.2 s at 20 MiB/s.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// Longer datagrams are cut, and then do not decrypt. No path of the Internet carries longer ones.
const MAX_DATAGRAM: usize = 2_048;
/// Datagrams that are read before other tasks have their turn.
const BATCH: usize = 64;
/// Time between two looks for addresses that asked too long ago.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

type Queue = mpsc::Sender<Vec<u8>>;

/// A connection whose peer has proved its address.
pub(crate) struct Incoming {
    pub(crate) peer: SocketAddr,
    pub(crate) connection: Connection,
    /// Resolves with the peer's certificate when DTLS and SCTP are complete.
    pub(crate) connected: oneshot::Receiver<Fingerprint>,
}

/// A listening socket. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    /// Dropped with the listener, which ends the task of the socket.
    _stop: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Context {
    config: Config,
    counters: Arc<Counters>,
    socket: Arc<UdpSocket>,
    table: Arc<Mutex<Table<Queue>>>,
    incoming: mpsc::Sender<Incoming>,
}

impl Listener {
    /// Binds the socket and starts its task. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub(crate) fn bind(
        address: SocketAddr,
        config: &Config,
        counters: &Arc<Counters>,
    ) -> io::Result<Self> {
        let socket = bind(address)?;
        let address = socket.local_addr()?;
        let (send, receive) = mpsc::channel(config.limits.pending_incoming.max(1));
        let (stop, stopped) = oneshot::channel();
        let context = Context {
            config: config.clone(),
            counters: Arc::clone(counters),
            socket: Arc::new(socket),
            table: Arc::new(Mutex::new(Table::new(&config.limits))),
            incoming: send,
        };
        tokio::spawn(context.run(stopped));
        Ok(Self {
            address,
            incoming: receive,
            _stop: stop,
        })
    }
}

impl Context {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut expire = interval(EXPIRE_INTERVAL);
        expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = expire.tick() => lock(&self.table).expire(Instant::now()),
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "the socket of a listener failed");
                        break;
                    }
                    self.receive(&mut buffer);
                    tokio::task::yield_now().await;
                }
            }
        }
        lock(&self.table).clear();
    }

    fn receive(&self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let (datagram, _) = buffer.split_at(length.min(buffer.len()));
                    self.handle(from, datagram);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Some systems report the unreachable peer of an earlier datagram here.
                Err(error) => tracing::trace!(%error, "no datagram"),
            }
        }
    }

    fn handle(&self, from: SocketAddr, datagram: &[u8]) {
        let now = Instant::now();
        let mut table = lock(&self.table);
        match table.handle(now, from, datagram) {
            Action::Ignore => self.counters.ignored.increment(),
            Action::Answer(answer) => {
                drop(table);
                // An answer that is lost is asked for again.
                if self.socket.try_send_to(&answer, from).is_ok() {
                    self.counters.stun_answered.increment();
                }
            }
            Action::Forward(queue) => {
                if queue.try_send(datagram.to_vec()).is_err() {
                    self.counters.dropped.increment();
                }
            }
            Action::Open(id, ufrag) => self.open(&mut table, now, (from, id, ufrag), datagram),
        }
    }

    fn open(
        &self,
        table: &mut Table<Queue>,
        now: Instant,
        (from, id, ufrag): (SocketAddr, RouteId, Ufrag),
        datagram: &[u8],
    ) {
        let limits = &self.config.limits;
        let (queue, datagrams) = mpsc::channel(limits.queued_datagrams.max(1));
        // The queue is new and has room.
        let _ = queue.try_send(datagram.to_vec());
        self.counters.handshakes.increment();
        if table.insert(now, from, id, ufrag, queue) {
            self.counters.evicted.increment();
        }
        let shared = Shared::new(self.config.streams, limits.channels, false);
        shared.open_handshake();
        let (send, connected) = oneshot::channel();
        let host = Listening {
            context: self.clone(),
            peer: from,
            id,
            pending: Some((Connection::new(Arc::clone(&shared)), connected)),
        };
        let driver = Driver {
            socket: Arc::clone(&self.socket),
            peer: from,
            queue: datagrams,
            shared,
            connected: Some(send),
            host,
            counters: Arc::clone(&self.counters),
            times: Times {
                handshake: limits.handshake,
                silence: limits.silence,
            },
        };
        let certificate = self.config.certificate.clone();
        tokio::spawn(driver.run(move || Ok(Stack::accept(&certificate, Instant::now())?)));
    }
}

/// The listener's side of a connection.
struct Listening {
    context: Context,
    peer: SocketAddr,
    id: RouteId,
    /// The handle, until the peer has proved its address.
    pending: Option<(Connection, oneshot::Receiver<Fingerprint>)>,
}

impl Host for Listening {
    fn on_proved(&mut self) -> bool {
        let Some((connection, connected)) = self.pending.take() else {
            return true;
        };
        let is_accepted = lock(&self.context.table).prove(self.peer, self.id).is_ok();
        let incoming = Incoming {
            peer: self.peer,
            connection,
            connected,
        };
        let is_accepted = is_accepted && self.context.incoming.try_send(incoming).is_ok();
        if !is_accepted {
            self.context.counters.refused.increment();
        }
        is_accepted
    }

    fn last_sign_of_life(&self) -> Option<Instant> {
        lock(&self.context.table).last_stun(self.peer, self.id)
    }

    fn on_ended(&mut self) {
        lock(&self.context.table).remove(self.peer, self.id);
    }
}

/// The table. It is consistent after each call, so a panic elsewhere leaves it usable.
fn lock(table: &Mutex<Table<Queue>>) -> MutexGuard<'_, Table<Queue>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds a socket. One for IPv6 does not accept IPv4, so that both can be bound to the same port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A smaller buffer only loses more datagrams under load.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer of a socket keeps its size");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
