//! Carries out what `relays` says is due: fetches the document, dials, reserves, registers and discovers. Tells `relays`
//! the results, and decides nothing.

use std::task::{Context, Poll};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use heartchain_chain::time::MonotonicMillis;
use libp2p::{
    PeerId, Swarm,
    identity::Keypair,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use super::{
    behaviour::Protocols,
    codec::FrameEvent,
    direct_transport::DirectTransport,
    ice::IceServer,
    peer_slots::SlotKind,
    relay_document::{ReadDocument, RelayDocument},
    relays::{Action, LinkId, Relays},
    rendezvous::{RendezvousClient, RendezvousEvent},
};

/// A document that is being read, and the relay that it describes.
type Reading = LocalBoxFuture<'static, (LinkId, Option<RelayDocument>)>;

/// Open actions for relays.
pub(crate) struct RelayActions {
    /// Signs registrations.
    key: Keypair,
    rendezvous: RendezvousClient,
    read_document: ReadDocument,
    reading: FuturesUnordered<Reading>,
    /// Whether the STUN servers that documents name are used.
    wants_stun: bool,
}

impl RelayActions {
    /// No open actions. `namespace` is that of the room at a rendezvous; `wants_stun` is whether the STUN servers that
    /// documents name are used.
    pub(crate) fn new(
        key: Keypair,
        namespace: String,
        read_document: ReadDocument,
        wants_stun: bool,
    ) -> Self {
        Self {
            key,
            rendezvous: RendezvousClient::new(namespace),
            read_document,
            reading: FuturesUnordered::new(),
            wants_stun,
        }
    }

    /// Starts an action. Its result may arrive later.
    pub(crate) fn perform<D: DirectTransport>(
        &mut self,
        action: Action,
        relays: &mut Relays,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        match action {
            Action::ReadDocument(link, url) => {
                let document = (self.read_document)(url);
                self.reading
                    .push(document.map(move |document| (link, document)).boxed_local());
            }
            Action::Dial(link, relay) => {
                let dial = match relay.peer {
                    Some(peer) => DialOpts::peer_id(peer)
                        .condition(PeerCondition::Always)
                        .addresses(vec![relay.address])
                        .build(),
                    None => DialOpts::unknown_peer_id().address(relay.address).build(),
                };
                let connection = dial.connection_id();
                let connection_limiter = &mut swarm.behaviour_mut().connection_limiter;
                connection_limiter.expect_dial(connection, SlotKind::Relay);
                // Before the dial, because it can fail at once.
                relays.dialing(link, connection, now);
                if swarm.dial(dial).is_err() {
                    relays.dial_not_started(link, now);
                }
            }
            Action::Leave(connection) => {
                swarm.close_connection(connection);
            }
            Action::Reserve(link, address) => {
                let listener = swarm.listen_on(address).ok();
                relays.listening(link, listener, now);
            }
            Action::StopListening(listener) => {
                swarm.remove_listener(listener);
            }
            Action::Register(relay) => {
                let addresses = swarm.external_addresses().cloned().collect();
                let behaviour = &mut swarm.behaviour_mut().rendezvous;
                let sent = self
                    .rendezvous
                    .register(behaviour, &relay, &self.key, addresses);
                if sent.is_err() {
                    relays.registered(&relay, None, now);
                }
            }
            Action::Discover(relay, cookie) => {
                let behaviour = &mut swarm.behaviour_mut().rendezvous;
                self.rendezvous.discover(behaviour, &relay, cookie);
            }
        }
    }

    /// The STUN servers that a relay's document names, unless others were configured. A document without servers changes
    /// nothing.
    pub(crate) fn stun_servers<'a>(
        &self,
        document: Option<&'a RelayDocument>,
    ) -> Option<&'a [IceServer]> {
        let servers = document.map(|document| document.stun.as_slice())?;
        (self.wants_stun && !servers.is_empty()).then_some(servers)
    }

    /// The next document that was read, or could not be (`None`).
    pub(crate) fn poll_document(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(LinkId, Option<RelayDocument>)> {
        match self.reading.poll_next_unpin(context) {
            Poll::Ready(Some(read)) => Poll::Ready(read),
            // No document is being read.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The outcome of a request to a relay's rendezvous, if the event ends one.
    pub(crate) fn on_rendezvous(&mut self, event: FrameEvent) -> Option<(PeerId, RendezvousEvent)> {
        self.rendezvous.on_event(event)
    }
}
