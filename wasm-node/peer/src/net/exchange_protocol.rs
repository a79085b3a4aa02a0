//! The peer exchange protocol on the wire: carries out the steps that `peer_exchange` says are due, and answers and
//! reads peer lists.

use std::time::Duration;

use heartchain_chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    multiaddr::Protocol,
    request_response::{Behaviour, Event, Message},
};

use super::{
    behaviour::Protocols,
    codec::{FrameCodec, FrameEvent},
    direct_transport::DirectTransport,
    paths::neighbour_address,
    peer_exchange::{PeerExchange, Step},
    peer_list::PeerList,
};
use crate::clock::{millis, random_u64};

/// A peer list that a neighbour sent.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) from: PeerId,
    pub(crate) peers: PeerList,
}

impl PeerExchange<PeerId, ListenerId> {
    /// Requests reservations and peer lists from neighbours, where due. `interval` is the time between two lists of one
    /// neighbour; `None` if there are enough peers.
    pub(crate) fn poll<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
        interval: Option<Duration>,
    ) {
        for step in self.tick(now, interval.map(millis)) {
            match step {
                Step::Reserve(peer) => {
                    let address = neighbour_address(peer).with(Protocol::P2pCircuit);
                    let listener = swarm.listen_on(address).ok();
                    self.reserving(&peer, listener, now, random_u64());
                }
                Step::RequestPeers(peer) => {
                    let protocol = &mut swarm.behaviour_mut().neighbours;
                    protocol.send_request(&peer, Vec::new());
                }
            }
        }
    }

    /// Handles an event of the protocol. `list` is what a peer gets that asks for peers; `None` if it gets none. Returns
    /// what a neighbour has answered.
    pub(crate) fn on_event(
        &self,
        event: FrameEvent,
        protocol: &mut Behaviour<FrameCodec>,
        list: impl FnOnce(PeerId) -> Option<PeerList>,
    ) -> Option<Learned> {
        match event {
            Event::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                // The protocol requires an empty request.
                if let Some(list) = list(peer).and_then(|list| list.encode().ok())
                    && request.is_empty()
                {
                    // This fails only if the peer is gone, and then the response is not missed.
                    let _ = protocol.send_response(channel, list);
                }
                None
            }
            Event::Message {
                peer: from,
                message: Message::Response { response, .. },
                ..
            } => {
                let peers = PeerList::decode(&response).ok()?;
                self.is_neighbour(&from).then_some(Learned { from, peers })
            }
            // A neighbour that does not respond is asked again at the next interval.
            Event::OutboundFailure { .. }
            | Event::InboundFailure { .. }
            | Event::ResponseSent { .. } => None,
        }
    }

    /// The circuit address of a peer through a neighbour; `None` if `through` is no neighbour.
    pub(crate) fn circuit(&self, through: &PeerId, peer: PeerId) -> Option<Multiaddr> {
        let circuit = neighbour_address(*through).with(Protocol::P2pCircuit);
        self.is_neighbour(through)
            .then(|| circuit.with(Protocol::P2p(peer)))
    }
}
