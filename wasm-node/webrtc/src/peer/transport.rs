//! The transport: passes connections that the behaviour has negotiated to the swarm. A dial picks up a finished
//! connection, or asks the behaviour to negotiate one; a connection that the peer offered is reported as incoming.
//!
//! It never negotiates and never listens.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{self, BoxFuture};
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_identity::PeerId;
use litemap::LiteMap;

use super::address::{PeerAddress, direct};
use super::handler::UpgradeError;
use super::upgrades::MAX_NEGOTIATIONS;
use crate::connection::Connection;

/// The maximum number of dials that wait for the behaviour, which receives them as soon as the swarm runs.
const MAX_QUEUED_DIALS: usize = 32;

/// Why a dial of a browser peer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The behaviour is not part of the swarm, so no connection can be negotiated.
    #[error("the swarm has no behaviour for WebRTC")]
    NoBehaviour,
    /// Too many dials are waiting.
    #[error("more than {MAX_QUEUED_DIALS} dials at one time")]
    TooMany,
    /// There is no connection to signal over, and the address contains no circuit.
    #[error("no relayed connection to {0} to signal over")]
    NoCarrier(PeerId),
    /// The policy forbids a direct connection to the peer.
    #[error("the policy forbids a direct connection to {0}")]
    Forbidden(PeerId),
    /// The circuit could not be dialled.
    #[error("no circuit to {peer}")]
    NoCircuit {
        /// The peer at the circuit's other end.
        peer: PeerId,
        /// Why there is no circuit.
        source: CircuitError,
    },
    /// All attempts failed.
    #[error("no direct connection to {peer} could be established")]
    Failed {
        /// The peer that could not be reached directly.
        peer: PeerId,
        /// Why the last attempt failed.
        source: Arc<UpgradeError>,
    },
    /// Another dial of the same peer got the direct connection.
    #[error("another dial got the direct connection to {0}")]
    Superseded(PeerId),
}

/// Why a circuit could not be dialled. The swarm's own errors cannot be kept, so this has their text.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// The relay could not be dialled.
    #[error("the relay could not be dialled: {0}")]
    Relay(String),
    /// The relay was reached, and the circuit was not established.
    #[error("{0}")]
    Circuit(String),
}

/// A dial that waits for its connection.
#[derive(Debug)]
pub(crate) struct DialRequest {
    pub(crate) address: PeerAddress,
    pub(crate) reply: oneshot::Sender<Result<Connection, DialError>>,
}

#[derive(Debug, Default)]
struct Table {
    /// Connections from our offers, each waiting for the dial that picks it up.
    ready: LiteMap<PeerId, Connection>,
    /// Connections from offers of the peers, not yet reported to the swarm.
    incoming: VecDeque<(PeerId, Connection)>,
    waker: Option<Waker>,
}

/// The behaviour's handle to the transport.
#[derive(Debug)]
pub(crate) struct Handover {
    table: Arc<Mutex<Table>>,
    pub(crate) requests: mpsc::Receiver<DialRequest>,
}

impl Handover {
    /// Holds a connection for the next dial of its peer.
    pub(crate) fn hold_for_dial(&self, peer: PeerId, connection: Connection) {
        lock(&self.table).ready.insert(peer, connection);
    }

    /// Closes a held connection whose dial was denied.
    pub(crate) fn discard(&self, peer: &PeerId) {
        // Closing a connection calls listeners, so release the lock first.
        let discarded = lock(&self.table).ready.remove(peer);
        drop(discarded);
    }

    /// Queues a connection that is reported to the swarm as incoming.
    pub(crate) fn push_incoming(&self, peer: PeerId, connection: Connection) {
        let mut table = lock(&self.table);
        if table.incoming.len() >= MAX_NEGOTIATIONS {
            tracing::debug!(%peer, "dropping a connection: too many are waiting for the swarm");
            return;
        }
        table.incoming.push_back((peer, connection));
        if let Some(waker) = table.waker.take() {
            waker.wake();
        }
    }
}

/// The transport of browser-to-browser WebRTC.
#[derive(Debug)]
pub struct Transport {
    table: Arc<Mutex<Table>>,
    requests: mpsc::Sender<DialRequest>,
    listener: ListenerId,
}

pub(crate) fn new() -> (Transport, Handover) {
    let table = Arc::new(Mutex::new(Table::default()));
    let (sender, requests) = mpsc::channel(MAX_QUEUED_DIALS);
    let transport = Transport {
        table: Arc::clone(&table),
        requests: sender,
        listener: ListenerId::next(),
    };
    (transport, Handover { table, requests })
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = DialError;
    type ListenerUpgrade = future::Ready<Result<Self::Output, Self::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let target = match PeerAddress::parse(&address) {
            Some(target) if !options.role.is_listener() => target,
            Some(_) | None => return Err(TransportError::MultiaddrNotSupported(address)),
        };
        let peer = target.peer;
        let ready = lock(&self.table).ready.remove(&peer);
        if let Some(connection) = ready {
            return Ok(future::ready(Ok((peer, connection))).boxed());
        }
        let (reply, answer) = oneshot::channel();
        let request = DialRequest {
            address: target,
            reply,
        };
        self.requests.try_send(request).map_err(|error| {
            TransportError::Other(if error.is_full() {
                DialError::TooMany
            } else {
                DialError::NoBehaviour
            })
        })?;
        Ok(answer
            .map(move |answer| match answer {
                Ok(outcome) => outcome.map(|connection| (peer, connection)),
                Err(oneshot::Canceled) => Err(DialError::NoBehaviour),
            })
            .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let mut table = lock(&self.table);
        let Some((peer, connection)) = table.incoming.pop_front() else {
            table.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(TransportEvent::Incoming {
            listener_id: self.listener,
            upgrade: future::ready(Ok((peer, connection))),
            local_addr: Multiaddr::empty().with(Protocol::WebRTC),
            send_back_addr: direct(peer),
        })
    }
}

/// Locks the table. No code panics while it holds the lock, and even then the table would be consistent.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
