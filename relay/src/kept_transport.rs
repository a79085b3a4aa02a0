//! A transport that outlasts the swarm which uses it. The tables of libp2p's swarm and behaviours never shrink, so a relay
//! would keep those of its largest crowd forever. A new swarm has small ones, and takes over the listeners.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
};

/// What a connection consists of.
type Output = (PeerId, StreamMuxerBox);

/// The transport. It is used by one swarm at a time.
#[derive(Clone, Debug)]
pub(crate) struct KeptTransport(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    inner: Boxed<Output>,
    /// The addresses of the listeners.
    addresses: Vec<(ListenerId, Multiaddr)>,
}

/// What one swarm has of the transport. Its listeners stay when it is dropped.
pub(crate) struct Lease {
    transport: KeptTransport,
    /// What the swarm has to learn: addresses that are older than it is.
    unknown: VecDeque<(ListenerId, Multiaddr)>,
}

impl KeptTransport {
    pub(crate) fn new(inner: Boxed<Output>) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            inner,
            addresses: Vec::new(),
        })))
    }

    /// The transport for the next swarm.
    pub(crate) fn lease(&self) -> Lease {
        let unknown = self.lock().addresses.iter().cloned().collect();
        Lease {
            transport: self.clone(),
            unknown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic can at most leave an address unnoted, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Follows the addresses of the listeners.
    fn note<U, E>(&mut self, event: &TransportEvent<U, E>) {
        if let TransportEvent::NewAddress {
            listener_id,
            listen_addr,
        } = event
        {
            let new = (*listener_id, listen_addr.clone());
            if !self.addresses.contains(&new) {
                self.addresses.push(new);
            }
        }
        if let TransportEvent::AddressExpired {
            listener_id,
            listen_addr,
        } = event
        {
            self.addresses
                .retain(|(id, address)| (id, address) != (listener_id, listen_addr));
        }
        if let TransportEvent::ListenerClosed { listener_id, .. } = event {
            self.addresses.retain(|(id, _)| id != listener_id);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

impl Transport for Lease {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Output> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Output> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.transport.lock().inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.lock().inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.transport.lock().inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some((listener_id, listen_addr)) = self.unknown.pop_front() {
            return Poll::Ready(TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            });
        }
        let mut kept = self.transport.lock();
        let event = ready!(Pin::new(&mut kept.inner).poll(context));
        kept.note(&event);
        Poll::Ready(event)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::Pending;

    use super::*;

    /// Reports what it is told to.
    struct Script(VecDeque<TransportEvent<Pending<io::Result<Output>>, io::Error>>);

    impl Transport for Script {
        type Output = Output;
        type Error = io::Error;
        type ListenerUpgrade = Pending<io::Result<Output>>;
        type Dial = Pending<io::Result<Output>>;

        fn listen_on(
            &mut self,
            _: ListenerId,
            address: Multiaddr,
        ) -> Result<(), TransportError<io::Error>> {
            Err(TransportError::MultiaddrNotSupported(address))
        }

        fn remove_listener(&mut self, listener_id: ListenerId) -> bool {
            self.0.push_back(TransportEvent::ListenerClosed {
                listener_id,
                reason: Ok(()),
            });
            true
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
            _: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
            self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn address(port: u16) -> Multiaddr {
        let text = format!("/ip4/192.0.2.1/tcp/{port}");
        text.parse().expect("an address")
    }

    fn new(listener_id: ListenerId, port: u16) -> (ListenerId, Multiaddr) {
        (listener_id, address(port))
    }

    /// Polls a lease until it has nothing to report. Returns the new addresses.
    fn addresses_of(lease: &mut Lease) -> Vec<(ListenerId, Multiaddr)> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut addresses = Vec::new();
        while let Poll::Ready(event) = Pin::new(&mut *lease).poll(&mut context) {
            if let TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } = event
            {
                addresses.push((listener_id, listen_addr));
            }
        }
        addresses
    }

    #[test]
    fn next_swarm_learns_the_addresses_that_are_left() {
        let [one, two] = [ListenerId::next(), ListenerId::next()];
        let added = |listener_id, port| TransportEvent::NewAddress {
            listener_id,
            listen_addr: address(port),
        };
        let script = Script(VecDeque::from([
            added(one, 1),
            added(one, 2),
            added(two, 1),
            added(two, 3),
            TransportEvent::AddressExpired {
                listener_id: one,
                listen_addr: address(1),
            },
        ]));
        let kept = KeptTransport::new(script.boxed());
        let mut first = kept.lease();
        let all = [new(one, 1), new(one, 2), new(two, 1), new(two, 3)];
        assert_eq!(addresses_of(&mut first), all);
        // Each is reported once, and to each swarm.
        assert_eq!(addresses_of(&mut first), []);
        let left = [new(one, 2), new(two, 1), new(two, 3)];
        let mut second = kept.lease();
        drop(first);
        assert_eq!(addresses_of(&mut second), left);
        assert!(second.remove_listener(two));
        assert_eq!(addresses_of(&mut second), []);
        assert_eq!(addresses_of(&mut kept.lease()), [new(one, 2)]);
    }
}
