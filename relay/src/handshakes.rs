//! A [`Transport`] wrapper that limits the handshakes in progress. A newcomer is never refused: when there are too many,
//! the oldest handshake of the network that holds the most is aborted.
//!
//! The swarm cannot abort an inbound handshake, so this is not a behaviour.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
};

use crate::{fair_slots::FairSlots, network::network_of_address};

/// What a handshake results in.
type Output = (PeerId, StreamMuxerBox);

/// A transport whose inbound handshakes need a slot.
#[derive(Debug)]
pub(crate) struct LimitHandshakes {
    inner: Boxed<Output>,
    slots: FairSlots,
}

impl LimitHandshakes {
    pub(crate) fn new(inner: Boxed<Output>, slots: &FairSlots) -> Self {
        let slots = slots.clone();
        Self { inner, slots }
    }
}

impl Transport for LimitHandshakes {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Output>>;
    type Dial = <Boxed<Output> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = Pin::new(&mut self.inner).poll(context);
        event.map(|event| match event {
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } => {
                let slot = self.slots.take(network_of_address(&send_back_addr));
                let upgrade = async move {
                    match slot.run(upgrade).await {
                        Ok(outcome) => outcome,
                        Err(evicted) => Err(io::Error::other(evicted)),
                    }
                };
                TransportEvent::Incoming {
                    listener_id,
                    upgrade: upgrade.boxed(),
                    local_addr,
                    send_back_addr,
                }
            }
            other => other.map_upgrade(FutureExt::boxed),
        })
    }
}
