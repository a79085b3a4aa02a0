//! The transport half: dials hand over connections that the behaviour has negotiated, or ask it to; connections that
//! peers began come in as if somebody had called. Never negotiates, and listens nowhere.

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
use super::upgrades::MAX_NEGOTIATIONS;
use crate::connection::Connection;

/// The most dials that wait for the behaviour to hear of them: it hears as soon as the swarm runs.
const MAX_WAITING_DIALS: usize = 32;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody negotiates: the behaviour is not part of the swarm any more.
    #[error("the swarm has no behaviour for WebRTC")]
    NoBehaviour,
    /// Too many dials at one time.
    #[error("more than {MAX_WAITING_DIALS} dials at one time")]
    TooMany,
    /// There is no connection to signal over, and the address names no circuit.
    #[error("no relayed connection to {0} to signal over")]
    NoCarrier(PeerId),
    /// The policy forbids it.
    #[error("the policy forbids meeting {0} directly")]
    Forbidden(PeerId),
    /// The circuit could not be dialled.
    #[error("no circuit to {0}")]
    NoCircuit(PeerId),
    /// All tries came to nothing.
    #[error("no direct connection to {0} came about")]
    Failed(PeerId),
}

/// A dial that waits for its connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) address: PeerAddress,
    pub(crate) reply: oneshot::Sender<Result<Connection, DialError>>,
}

#[derive(Debug, Default)]
struct Table {
    /// Offered by us, waiting for the dial that the behaviour orders.
    ready: LiteMap<PeerId, Connection>,
    /// Answered by us.
    incoming: VecDeque<(PeerId, Connection)>,
    taker: Option<Waker>,
}

/// What the behaviour holds of the transport.
#[derive(Debug)]
pub(crate) struct Handover {
    table: Arc<Mutex<Table>>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

impl Handover {
    /// Keeps a connection for the next dial of its peer.
    pub(crate) fn keep(&self, peer: PeerId, connection: Connection) {
        lock(&self.table).ready.insert(peer, connection);
    }

    /// Closes a connection that nobody dialled for.
    pub(crate) fn discard(&self, peer: &PeerId) {
        // Closing calls listeners; the table is free again by then.
        let discarded = lock(&self.table).ready.remove(peer);
        drop(discarded);
    }

    /// Lets a connection in.
    pub(crate) fn let_in(&self, peer: PeerId, connection: Connection) {
        let mut table = lock(&self.table);
        if table.incoming.len() >= MAX_NEGOTIATIONS {
            tracing::debug!(%peer, "too many connections wait for the swarm");
            return;
        }
        table.incoming.push_back((peer, connection));
        if let Some(taker) = table.taker.take() {
            taker.wake();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Transport {
    table: Arc<Mutex<Table>>,
    requests: mpsc::Sender<Request>,
    listener: ListenerId,
}

pub(crate) fn new() -> (Transport, Handover) {
    let table = Arc::new(Mutex::new(Table::default()));
    let (sender, requests) = mpsc::channel(MAX_WAITING_DIALS);
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
        let request = Request {
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
            table.taker = Some(context.waker().clone());
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

/// Nobody panics while holding it; and if somebody did, the table would still be whole.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
