//! The swarm: this tab's place in the network, and what happens there in the machine's words. Never judges what
//! a peer sent; that a peer speaks another protocol is all it looks at.
//!
//! `orders` does what the machine wants, `events` hears what libp2p reports, `upkeep` does what is due.

mod events;
mod orders;
mod upkeep;

use std::{collections::VecDeque, rc::Rc};

use chain::{
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use futures::{
    FutureExt, StreamExt, future::LocalBoxFuture, select_biased, stream::FuturesUnordered,
};
use libp2p::{
    PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub,
    identity::Keypair,
    swarm::{self, ConnectionId},
};
use libp2p_webrtc_browser::peer::{self, address::direct};
use litemap::LiteMap;
use sync::seam::{GossipId, InboundId, RequestFailure, RequestId, Topic};

use super::{
    NetworkError, PeerLink, RelayDocument, RelayView, Role,
    address::{NamedPeer, PageScheme, RelayAddress},
    bans::Bans,
    behaviour::{Names, Protocols, name_of},
    candidates::Candidates,
    connections::Connections,
    ice::IceServer,
    introductions::Introductions,
    relays::{LinkId, Relays},
    rendezvous::Errands,
    requests::{Asked, Unanswered},
    transport::all_ways,
    unjudged::Unjudged,
};
use crate::{
    clock::{self, Alarm},
    config,
};

/// Reads the document about this page's relay; `None` if it could not be read.
pub(crate) type ReadDocument = Rc<dyn Fn() -> LocalBoxFuture<'static, Option<RelayDocument>>>;

/// What a network needs to begin.
pub(crate) struct Setup<'a> {
    pub(crate) seed: [u8; 32],
    pub(crate) room: &'a Room,
    /// Those that named peers are reached through included.
    pub(crate) relays: Vec<RelayAddress>,
    /// Peers to call whether a relay names them or not.
    pub(crate) named: Vec<NamedPeer>,
    /// Whether peers may be reached directly, which tells them this computer's addresses.
    pub(crate) direct: bool,
    /// Servers that help to find direct ways; without any given, those that relays name.
    pub(crate) ice_servers: Option<Vec<IceServer>>,
    pub(crate) scheme: PageScheme,
    pub(crate) read_document: ReadDocument,
}

/// What happened on the network.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer of this room can be reached.
    PeerConnected(PeerId),
    /// Its last connection is gone.
    PeerDisconnected(PeerId),
    /// A gossip item came, and waits for its verdict. One that is not forwarded for want of room comes, too.
    Gossip {
        from: PeerId,
        id: GossipId,
        topic: Topic,
        data: Vec<u8>,
    },
    /// A peer asks.
    Request {
        from: PeerId,
        id: InboundId,
        data: Vec<u8>,
    },
    /// A peer answered.
    Response {
        peer: PeerId,
        id: RequestId,
        data: Vec<u8>,
    },
    /// A request of ours got no answer.
    RequestFailed {
        peer: PeerId,
        id: RequestId,
        failure: RequestFailure,
    },
    /// What is shown of peers or relays changed.
    Changed,
}

/// This tab's place in the network.
pub(crate) struct Network {
    swarm: Swarm<Protocols>,
    key: Keypair,
    names: Names,
    relays: Relays,
    connections: Connections<PeerId, ConnectionId>,
    candidates: Candidates<PeerId, PeerId>,
    named: Vec<NamedPeer>,
    introductions: Introductions<PeerId, ListenerId>,
    /// Calls to candidates under way.
    calling: LiteMap<ConnectionId, PeerId>,
    bans: Bans<PeerId>,
    /// Cut off: nobody is called, and whoever comes through is turned away.
    isolated: bool,
    errands: Errands,
    asked: Asked,
    unanswered: Unanswered,
    unjudged: Unjudged<gossipsub::MessageId, PeerId>,
    ice_servers_given: bool,
    read_document: ReadDocument,
    reading: FuturesUnordered<LocalBoxFuture<'static, (LinkId, Option<RelayDocument>)>>,
    housekeeping_at: MonotonicMillis,
    /// The wall clock then.
    housekept_at: UnixMillis,
    alarm: Alarm,
    events: VecDeque<Event>,
}

impl Network {
    /// Sets the network up; nothing is called yet.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub(crate) fn new(mut setup: Setup<'_>) -> Result<Self, NetworkError> {
        let key = Keypair::ed25519_from_bytes(&mut setup.seed)
            .map_err(|error| NetworkError::Key(error.to_string()))?;
        let names = Names::of(setup.room.id())?;
        let ways = all_ways(&key, setup.direct)?;
        let protocols = Protocols::new(&key, ways.relay, ways.webrtc, &names)?;
        let settings = swarm::Config::with_wasm_executor()
            .with_idle_connection_timeout(config::IDLE_CONNECTION);
        let mut swarm = Swarm::new(ways.transport, protocols, name_of(&key), settings);
        // What this tab tells its neighbours of the way to it; a circuit through it begins with this.
        swarm.add_external_address(direct(name_of(&key)));
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
            errands: Errands::new(names.namespace.clone()),
            names,
            relays: Relays::new(setup.relays, setup.scheme, now),
            connections: Connections::new(),
            candidates: Candidates::new(config::MAX_CANDIDATES, config::PEER_REDIAL),
            named: setup.named,
            introductions: Introductions::new(),
            calling: LiteMap::new(),
            bans: Bans::new(config::MAX_BANNED),
            isolated: false,
            asked: Asked::default(),
            unanswered: Unanswered::default(),
            unjudged: Unjudged::new(),
            ice_servers_given,
            read_document: setup.read_document,
            reading: FuturesUnordered::new(),
            housekeeping_at: now,
            housekept_at: clock::now(),
            alarm,
            events: VecDeque::new(),
        })
    }

    /// This tab's name.
    pub(crate) fn us(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// What happens next. May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            select_biased! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                (link, document) = self.reading.select_next_some() => {
                    self.use_stun(document.as_ref());
                    self.relays.document(link, document, clock::monotonic());
                    self.events.push_back(Event::Changed);
                }
                () = (&mut self.alarm).fuse() => {}
            }
            self.tick();
        }
    }

    /// Learns this tab's public address from what a relay's document names, unless the page named others. One that names
    /// nothing changes nothing.
    fn use_stun(&mut self, document: Option<&RelayDocument>) {
        let named = document.map(|document| document.stun.as_slice());
        if let Some(servers @ [_, ..]) = named.filter(|_| !self.ice_servers_given) {
            let servers = servers.iter().map(for_webrtc).collect();
            self.swarm.behaviour_mut().webrtc.set_ice_servers(servers);
        }
    }

    /// The relays, as they are shown.
    pub(crate) fn relay_views(&self) -> Vec<RelayView> {
        self.relays.views()
    }

    /// The peers that have said what they are, as they are shown.
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
