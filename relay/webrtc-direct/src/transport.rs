//! The libp2p transport: listens on and dials `/webrtc-direct` addresses.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use futures::future::BoxFuture;
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p_core::Multiaddr;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_identity::PeerId;

use crate::address::{multiaddr, parse_dial, parse_listen};
use crate::config::Config;
use crate::connection::{Connection, Fingerprints};
use crate::counters::Counters;
use crate::dial::dial;
use crate::error::{ConnectionError, Error};
use crate::listener::{Incoming, Listener};

type Event = TransportEvent<<Transport as libp2p_core::Transport>::ListenerUpgrade, Error>;

/// A transport for `/webrtc-direct`. It has to be used within a tokio runtime.
///
/// Dropping it ends its listeners and their connections soon after. To know when the ports are free, remove the listeners
/// and wait for [`TransportEvent::ListenerClosed`].
#[derive(Debug)]
pub struct Transport {
    config: Config,
    counters: Arc<Counters>,
    listeners: Vec<Listening>,
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

struct Listening {
    id: ListenerId,
    listener: Listener,
    /// Reports the addresses of a socket that is bound to all of them.
    watcher: Option<IfWatcher>,
    is_removed: bool,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("id", &self.id)
            .field("address", &self.listener.address)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Creates a transport with these settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            counters: Arc::default(),
            listeners: Vec::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    /// What the transport has done so far. The counters may be kept when the transport is given to a swarm.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn listen(&mut self, id: ListenerId, address: SocketAddr) -> io::Result<()> {
        let listener = Listener::bind(address, &self.config, &self.counters)?;
        let watcher = if address.ip().is_unspecified() {
            Some(IfWatcher::new()?)
        } else {
            self.events.push_back(TransportEvent::NewAddress {
                listener_id: id,
                listen_addr: self.own_address(listener.address),
            });
            None
        };
        self.listeners.push(Listening {
            id,
            listener,
            watcher,
            is_removed: false,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn own_address(&self, socket: SocketAddr) -> Multiaddr {
        multiaddr(socket, Some(self.config.certificate.fingerprint()))
    }

    fn poll_listener(
        listening: &mut Listening,
        config: &Config,
        context: &mut Context<'_>,
    ) -> Poll<Event> {
        let Listening {
            id,
            listener,
            watcher,
            is_removed,
        } = listening;
        if *is_removed {
            let closed = listener.poll_closed(context);
            return closed.map(|()| TransportEvent::ListenerClosed {
                listener_id: *id,
                reason: Ok(()),
            });
        }
        let own = config.certificate.fingerprint();
        while let Some(watcher) = watcher
            && let Poll::Ready(event) = watcher.poll_if_event(context)
        {
            let is_ours = |ip: IpAddr| ip.is_ipv4() == listener.address.is_ipv4();
            let address = |ip| multiaddr(SocketAddr::new(ip, listener.address.port()), Some(own));
            match event {
                Ok(IfEvent::Up(network)) if is_ours(network.addr()) => {
                    return Poll::Ready(TransportEvent::NewAddress {
                        listener_id: *id,
                        listen_addr: address(network.addr()),
                    });
                }
                Ok(IfEvent::Down(network)) if is_ours(network.addr()) => {
                    return Poll::Ready(TransportEvent::AddressExpired {
                        listener_id: *id,
                        listen_addr: address(network.addr()),
                    });
                }
                Ok(IfEvent::Up(_) | IfEvent::Down(_)) => {}
                Err(error) => {
                    return Poll::Ready(TransportEvent::ListenerError {
                        listener_id: *id,
                        error: error.into(),
                    });
                }
            }
        }
        let Poll::Ready(incoming) = listener.incoming.poll_recv(context) else {
            return Poll::Pending;
        };
        Poll::Ready(match incoming {
            Some(incoming) => TransportEvent::Incoming {
                listener_id: *id,
                local_addr: multiaddr(listener.address, Some(own)),
                send_back_addr: multiaddr(incoming.peer, None),
                upgrade: upgrade(incoming, config.clone()).boxed(),
            },
            None => TransportEvent::ListenerClosed {
                listener_id: *id,
                reason: Err(io::Error::other("the socket of the listener failed").into()),
            },
        })
    }
}

async fn upgrade(incoming: Incoming, config: Config) -> Result<(PeerId, Connection), Error> {
    let Incoming {
        connection,
        connected,
        ..
    } = incoming;
    // The task of the connection ends within the time limit of a handshake.
    let client = connected.await.map_err(|_| ConnectionError::Dropped)?;
    let fingerprints = Fingerprints {
        client,
        server: config.certificate.fingerprint(),
    };
    let peer = connection
        .authenticate(&config.keypair, fingerprints, false)
        .await?;
    Ok((peer, connection))
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Self::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        let Some(socket) = parse_listen(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        self.listen(id, socket)
            .map_err(|error| TransportError::Other(error.into()))
    }

    /// Ends the connections of the listener. [`TransportEvent::ListenerClosed`] follows once its port is free.
    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let mut listeners = self.listeners.iter_mut();
        let Some(removed) = listeners.find(|other| other.id == id && !other.is_removed) else {
            return false;
        };
        removed.is_removed = true;
        removed.listener.close();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        match parse_dial(&address) {
            Some(server) if !options.role.is_listener() => {
                Ok(dial(server, self.config.clone(), self.counters()).boxed())
            }
            Some(_) | None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event> {
        let this = &mut *self;
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(event);
        }
        for position in 0..this.listeners.len() {
            let Some(listening) = this.listeners.get_mut(position) else {
                break;
            };
            if let Poll::Ready(event) = Self::poll_listener(listening, &this.config, context) {
                if matches!(event, TransportEvent::ListenerClosed { .. }) {
                    this.listeners.swap_remove(position);
                } else {
                    // The others have their turn before this one again.
                    this.listeners.rotate_left(position + 1);
                }
                return Poll::Ready(event);
            }
        }
        this.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
