//! A listening socket: its task hands each datagram to the connection that it belongs to, and starts new ones. The
//! decisions are those of [`Table`].
//!
//! This task never runs DTLS or SCTP, so nothing that a peer sends can delay or end it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::certificate::Fingerprint;
use crate::channels::Shared;
use crate::config::Config;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::driver::{Driver, Host, Times};
use crate::queue::{QueueReceiver, QueueSender, queue};
use crate::socket::{self, MAX_DATAGRAM};
use crate::stack::Stack;
use crate::table::{Action, Opening, RouteId, Table};

/// Datagrams that are read before other tasks have their turn.
const BATCH: usize = 64;
/// Time between two looks for addresses that asked too long ago.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the connections of a closed listener may take to tell their peers. They need one datagram each; those that
/// are not done by then are aborted.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection whose peer has proved its address.
pub(crate) struct Incoming {
    pub(crate) peer: SocketAddr,
    pub(crate) connection: Connection,
    /// Resolves with the peer's certificate when DTLS and SCTP are complete.
    pub(crate) connected: oneshot::Receiver<Fingerprint>,
}

/// A listening socket. Dropping it ends its connections soon; [`Self::poll_closed`] tells when.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    /// Dropped to end the task of the socket.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the task of the socket and those of its connections share.
struct Endpoint {
    config: Config,
    counters: Arc<Counters>,
    socket: Arc<UdpSocket>,
    table: Arc<Mutex<Table<QueueSender>>>,
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
        let socket = socket::bind(address)?;
        let address = socket.local_addr()?;
        let (send, receive) = mpsc::channel(config.limits.pending_incoming.max(1));
        let (stop, stopped) = oneshot::channel();
        let endpoint = Endpoint {
            config: config.clone(),
            counters: Arc::clone(counters),
            socket: Arc::new(socket),
            table: Arc::new(Mutex::new(Table::new(Instant::now(), &config.limits))),
            incoming: send,
        };
        Ok(Self {
            address,
            incoming: receive,
            stop: Some(stop),
            task: tokio::spawn(endpoint.run(stopped)),
        })
    }

    /// Stops accepting, and ends all connections.
    pub(crate) fn close(&mut self) {
        self.stop = None;
        self.incoming.close();
    }

    /// Ready once all tasks of the listener have ended and its port is free, after [`Self::close`] or because the socket
    /// failed. Must not be called again after that.
    pub(crate) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.task).poll(context).map(|outcome| {
            if let Err(error) = outcome {
                tracing::error!(%error, "the task of a listener failed");
            }
        })
    }
}

impl Endpoint {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut connections = JoinSet::new();
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut expire = interval(EXPIRE_INTERVAL);
        expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = expire.tick() => lock(&self.table).expire(Instant::now()),
                // Frees what the set keeps for tasks that have ended.
                Some(_) = connections.join_next() => {
                    while connections.try_join_next().is_some() {}
                }
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "the socket of a listener failed");
                        break;
                    }
                    self.receive(&mut buffer, &mut connections);
                    tokio::task::yield_now().await;
                }
            }
        }
        // Connections whose queue is gone end. The socket stays open until they have: it is theirs as well.
        lock(&self.table).clear();
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(FAREWELL_TIMEOUT, ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn receive(&self, buffer: &mut [u8], connections: &mut JoinSet<()>) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let (datagram, _) = buffer.split_at(length.min(buffer.len()));
                    self.handle(from, datagram, connections);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Some systems report the unreachable peer of an earlier datagram here.
                Err(error) => tracing::trace!(%error, "no datagram"),
            }
        }
    }

    fn handle(&self, from: SocketAddr, datagram: &[u8], connections: &mut JoinSet<()>) {
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
            Action::Challenge(answer) => {
                drop(table);
                // A client whose answer is lost repeats its ClientHello.
                if self.socket.try_send_to(&answer, from).is_ok() {
                    self.counters.challenged.increment();
                }
            }
            Action::Forward(queue) => {
                if queue.try_send(datagram).is_err() {
                    self.counters.dropped.increment();
                }
            }
            Action::Open(opening) => {
                let (queue, datagrams) = queue(self.config.limits.queued_datagrams);
                // The queue is new and has room.
                let _ = queue.try_send(datagram);
                let Ok(place) = self.incoming.try_reserve() else {
                    self.counters.refused.increment();
                    return;
                };
                if table.insert(now, &opening, queue).is_err() {
                    self.counters.refused.increment();
                    return;
                }
                self.counters.handshakes.increment();
                // A runtime that shuts down drops a new task at once, and that removes the connection from the table.
                drop(table);
                place.send(self.spawn(from, &opening, datagrams, connections));
            }
        }
    }

    /// Starts the task of a connection.
    fn spawn(
        &self,
        from: SocketAddr,
        opening: &Opening,
        datagrams: QueueReceiver,
        connections: &mut JoinSet<()>,
    ) -> Incoming {
        let limits = &self.config.limits;
        let shared = Shared::new(self.config.streams, limits.channels, false);
        shared.open_handshake();
        let (send, connected) = oneshot::channel();
        let host = Listening {
            table: Arc::clone(&self.table),
            peer: from,
            id: opening.id,
        };
        let connection = Connection::new(Arc::clone(&shared));
        let driver = Box::new(Driver {
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
        });
        let certificate = self.config.certificate.clone();
        let cookie = opening.cookie;
        connections
            .spawn(driver.run(move || Ok(Stack::accept(&certificate, cookie, Instant::now())?)));
        Incoming {
            peer: from,
            connection,
            connected,
        }
    }
}

/// The listener's side of a connection.
struct Listening {
    table: Arc<Mutex<Table<QueueSender>>>,
    peer: SocketAddr,
    id: RouteId,
}

impl Host for Listening {
    fn last_sign_of_life(&self) -> Option<Instant> {
        lock(&self.table).last_stun(self.peer, self.id)
    }

    fn on_ended(&mut self) {
        lock(&self.table).remove(self.peer, self.id);
    }
}

/// The table. It is consistent after each call, so a panic elsewhere leaves it usable.
fn lock(table: &Mutex<Table<QueueSender>>) -> MutexGuard<'_, Table<QueueSender>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::channel;

    use libp2p_identity::Keypair;
    use tokio::runtime::Builder;

    use super::*;
    use crate::certificate::Certificate;
    use crate::hello::client_hello;
    use crate::stun::binding_request;

    fn config() -> Config {
        let certificate = Certificate::generate().expect("a certificate");
        Config::new(Keypair::generate_ed25519(), certificate)
    }

    /// A runtime drops the tasks that are spawned while it shuts down, within the call that spawns them.
    #[test]
    fn hello_while_the_runtime_shuts_down_is_handled() {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        let (done, is_done) = channel();
        std::thread::spawn(move || {
            let _guard = handle.enter();
            let config = config();
            let socket = socket::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
            let (incoming, _receive) = mpsc::channel(1);
            let endpoint = Endpoint {
                counters: Arc::default(),
                socket: Arc::new(socket),
                table: Arc::new(Mutex::new(Table::new(Instant::now(), &config.limits))),
                config,
                incoming,
            };
            runtime.shutdown_background();
            let from = SocketAddr::from(([192, 0, 2, 1], 9));
            let name = "libp2p+webrtc+v1/12345678";
            let request = binding_request([0; 12], &format!("{name}:{name}"), name, 1);
            let mut connections = JoinSet::new();
            endpoint.handle(from, &request, &mut connections);
            let hello = client_hello(&[]);
            let cookie = match lock(&endpoint.table).handle(Instant::now(), from, &hello) {
                // Behind the headers.
                Action::Challenge(answer) => answer.get(28..).unwrap_or_default().to_vec(),
                Action::Ignore | Action::Answer(_) | Action::Forward(_) | Action::Open(_) => {
                    return;
                }
            };
            endpoint.handle(from, &client_hello(&cookie), &mut connections);
            let counters = &endpoint.counters;
            let counts = (counters.handshakes.get(), counters.ended.get());
            // Fails if the test has given up.
            let _ = done.send((counts, lock(&endpoint.table).connections()));
        });
        let outcome = is_done.recv_timeout(Duration::from_secs(10));
        assert_eq!(outcome, Ok(((1, 1), 0)), "the table is locked forever");
    }
}
