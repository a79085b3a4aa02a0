//! [`Network`]: the libp2p swarm of a tab, with events in terms of the sync state machine. It never judges the data
//! that a peer sends; all it checks is whether the peer speaks this room's protocols.
//!
//! `commands` carries out what the state machine requests, `events` handles what libp2p reports, and `housekeeping`
//! does what is due by time.

mod commands;
mod events;
mod housekeeping;

use std::{collections::VecDeque, time::Duration};

use futures::{
    FutureExt, StreamExt, future::LocalBoxFuture, select_biased, stream::FuturesUnordered,
};
use heartchain_chain::{
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::Input;
use libp2p::{
    PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub,
    identity::Keypair,
    swarm::{self, ConnectionId},
};
use libp2p_webrtc_browser::peer::{self, address::direct};
use litemap::LiteMap;

use super::{
    address::{CircuitAddress, PageScheme, RelayAddress},
    backoff::PEER_REDIAL,
    bans::{Bans, MAX_BANNED},
    behaviour::{Protocols, RoomNames},
    candidates::{Candidates, MAX_CANDIDATES},
    connections::{Connections, Role},
    error::NetworkError,
    ice::IceServer,
    identity::peer_id_of,
    peer_exchange::PeerExchange,
    peer_link::PeerLink,
    pending_validation::PendingValidation,
    relay_document::{ReadDocument, RelayDocument},
    relays::{LinkId, RelayView, Relays},
    rendezvous::RendezvousClient,
    requests::{InboundRequests, OutboundRequests},
    transport::all_transports,
};
use crate::clock::{self, Alarm};

/// An unused connection is closed after this time. Gossip and relaying use theirs all the time.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// The configuration of a [`Network`].
pub(crate) struct NetworkConfig<'a> {
    /// Secret seed of the key that the peer ID is derived from.
    pub(crate) seed: [u8; 32],
    pub(crate) room: &'a Room,
    /// All relays, including those that lead to the `named` peers.
    pub(crate) relays: Vec<RelayAddress>,
    /// Peers to dial even if no relay reports them.
    pub(crate) named: Vec<CircuitAddress>,
    /// Whether direct connections to peers are allowed, which reveal this computer's addresses to them.
    pub(crate) direct: bool,
    /// STUN and TURN servers for direct connections; `None` uses those that the relay documents name.
    pub(crate) ice_servers: Option<Vec<IceServer>>,
    pub(crate) scheme: PageScheme,
    pub(crate) read_document: ReadDocument,
}

/// What happened on the network.
#[derive(Debug)]
pub(crate) enum NetworkEvent {
    /// An input for the state machine.
    Input(Input<PeerId>),
    /// The result of [`Network::relay_views`] or [`Network::peer_links`] changed.
    Changed,
}

/// The network side of a tab: the swarm, and what is known of relays and peers.
pub(crate) struct Network {
    swarm: Swarm<Protocols>,
    key: Keypair,
    names: RoomNames,
    relays: Relays,
    connections: Connections<PeerId, ConnectionId>,
    candidates: Candidates<PeerId, PeerId>,
    named: Vec<CircuitAddress>,
    peer_exchange: PeerExchange<PeerId, ListenerId>,
    /// Dials to peers in progress.
    dialing: LiteMap<ConnectionId, PeerId>,
    bans: Bans<PeerId>,
    /// No peer is dialed while set, and every connection is closed as soon as it is established.
    isolated: bool,
    rendezvous: RendezvousClient,
    outbound_requests: OutboundRequests,
    inbound_requests: InboundRequests,
    pending_validation: PendingValidation<gossipsub::MessageId, PeerId>,
    ice_servers_given: bool,
    read_document: ReadDocument,
    reading: FuturesUnordered<LocalBoxFuture<'static, (LinkId, Option<RelayDocument>)>>,
    housekeeping_at: MonotonicMillis,
    /// Wall clock time of the last housekeeping.
    housekept_at: UnixMillis,
    alarm: Alarm,
    events: VecDeque<NetworkEvent>,
}

impl Network {
    /// Sets up the network. It dials nothing until [`Self::next`] is polled.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub(crate) fn new(mut setup: NetworkConfig<'_>) -> Result<Self, NetworkError> {
        let key = Keypair::ed25519_from_bytes(&mut setup.seed)
            .map_err(|error| NetworkError::Key(error.to_string()))?;
        let names = RoomNames::of(setup.room.id())?;
        let transports = all_transports(&key, setup.direct)?;
        let protocols = Protocols::new(&key, transports.relay, transports.webrtc, &names)?;
        let settings = swarm::Config::with_wasm_executor()
            .with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT);
        let mut swarm = Swarm::new(transports.transport, protocols, peer_id_of(&key), settings);
        // Neighbours reach this tab at this address, and circuits through it start with it.
        swarm.add_external_address(direct(peer_id_of(&key)));
        let ice_servers_given = setup.ice_servers.is_some();
        let servers = setup.ice_servers.iter().flatten().map(for_webrtc);
        swarm
            .behaviour_mut()
            .webrtc
            .set_ice_servers(servers.collect());
        let now = clock::monotonic();
        let mut alarm = Alarm::default();
        alarm.set(now);
        Ok(Self {
            swarm,
            key,
            rendezvous: RendezvousClient::new(names.namespace.clone()),
            names,
            relays: Relays::new(setup.relays, setup.scheme, now),
            connections: Connections::new(),
            candidates: Candidates::new(MAX_CANDIDATES, PEER_REDIAL),
            named: setup.named,
            peer_exchange: PeerExchange::new(),
            dialing: LiteMap::new(),
            bans: Bans::new(MAX_BANNED),
            isolated: false,
            outbound_requests: OutboundRequests::default(),
            inbound_requests: InboundRequests::default(),
            pending_validation: PendingValidation::new(),
            ice_servers_given,
            read_document: setup.read_document,
            reading: FuturesUnordered::new(),
            housekeeping_at: now,
            housekept_at: clock::now(),
            alarm,
            events: VecDeque::new(),
        })
    }

    fn emit_input(&mut self, input: Input<PeerId>) {
        self.events.push_back(NetworkEvent::Input(input));
    }

    /// The peer ID of this tab.
    pub(crate) fn local_peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Waits for the next event. The future is cancel safe: dropping it loses no event.
    pub(crate) async fn next(&mut self) -> NetworkEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            select_biased! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                (link, document) = self.reading.select_next_some() => {
                    self.use_stun(document.as_ref());
                    self.relays.document(link, document, clock::monotonic());
                    self.events.push_back(NetworkEvent::Changed);
                }
                () = (&mut self.alarm).fuse() => {}
            }
            self.tick();
        }
    }

    /// Uses the STUN servers that a relay's document names, unless the page configured others. A document without
    /// servers changes nothing.
    fn use_stun(&mut self, document: Option<&RelayDocument>) {
        let servers = document.map(|document| document.stun.as_slice());
        if let Some(servers @ [_, ..]) = servers.filter(|_| !self.ice_servers_given) {
            let servers = servers.iter().map(for_webrtc).collect();
            self.swarm.behaviour_mut().webrtc.set_ice_servers(servers);
        }
    }

    /// The relays, as the page shows them.
    pub(crate) fn relay_views(&self) -> Vec<RelayView> {
        self.relays.views()
    }

    /// The peers with a known role, as the page shows them.
    pub(crate) fn peer_links(&self) -> Vec<PeerLink> {
        self.connections
            .views()
            .filter(|(_, role, _, _)| *role != Role::Unknown)
            .map(|(peer, role, path, rtt)| PeerLink {
                peer,
                role,
                path,
                rtt,
            })
            .collect()
    }
}

fn for_webrtc(server: &IceServer) -> peer::IceServer {
    peer::IceServer {
        url: server.url().to_owned(),
        credentials: server.credentials().cloned(),
    }
}
