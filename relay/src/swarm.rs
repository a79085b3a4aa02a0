//! The libp2p server: sets up the transports, listens, and runs the event loop of the swarm.
//!
//! It never dials, and nothing that a peer sends can end the event loop.

use std::{
    error::Error,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{
        ConnectedPoint,
        muxing::{StreamMuxer, StreamMuxerBox},
        transport::{ListenerId, timeout::TransportTimeout},
        upgrade,
    },
    identity::PublicKey,
    multiaddr::Protocol,
    ping, relay,
    request_response::{self, Message},
    swarm::{self, SwarmEvent},
    yamux,
};
use libp2p_webrtc_direct::{self as webrtc, Config, Counters};
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, interval, timeout_at},
};

use crate::{
    addresses::Endpoints,
    behaviour::{Behaviour, BehaviourEvent},
    boxed_handlers::BoxedHandlers,
    fair_slots::FairSlots,
    handshakes::LimitHandshakes,
    hop_limits::HopLimits,
    http::Heartbeat,
    identity::Identity,
    kept_transport::KeptTransport,
    limits::Limits,
    listeners,
    metrics::{self, Metrics, TransportBytes},
    noise,
    rate_limited_muxer::RateLimitedMuxer,
    rendezvous::Rendezvous,
    table_memory::max_capacity,
    websocket,
    workarounds::IdleTimeout,
};

/// How long a connection may take until it is established.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the listeners may take to report their addresses.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two checks for idle connections.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two looks at the computer's addresses.
const ADDRESS_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a shutdown waits for connections to close.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a shutdown waits after that for the sockets of WebRTC to close. The transport waits for one second, and then
/// aborts what holds them.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A swarm that listens on both transports.
pub(crate) struct ListeningSwarm {
    swarm: Swarm<BoxedHandlers<Behaviour>>,
    /// The most connections that this swarm has had.
    most: usize,
    parts: Parts,
    rendezvous: Rendezvous,
    idle_timeout: IdleTimeout,
    webrtc_listeners: Vec<ListenerId>,
    pub(crate) webrtc_port: u16,
    /// What the listeners for WebRTC-direct have done.
    pub(crate) webrtc_counters: Arc<Counters>,
}

/// What a swarm is built from.
struct Parts {
    key: PublicKey,
    limits: Limits,
    hop_limits: HopLimits,
    metrics: Arc<Metrics>,
    transport: KeptTransport,
}

/// Why the swarm could not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(transparent)]
    Setup(Box<dyn Error + Send + Sync>),
    #[error("{0}: {1}")]
    WebRtc(IpAddr, io::Error),
}

impl ListeningSwarm {
    /// Builds the swarm, takes connections from `websockets`, and binds the port for WebRTC; 0 picks a free one.
    pub(crate) async fn start(
        identity: &Identity,
        limits: &Limits,
        (handshakes, hop_limits, metrics): (&FairSlots, &HopLimits, &Arc<Metrics>),
        websockets: websocket::Transport,
        (ips, mut webrtc_port): (&[IpAddr], u16),
    ) -> Result<Self, ListenError> {
        let (transport, webrtc_counters) =
            transport(identity, limits, (handshakes, metrics), websockets)
                .map_err(ListenError::Setup)?;
        let parts = Parts {
            key: identity.keypair.public(),
            limits: limits.clone(),
            hop_limits: hop_limits.clone(),
            metrics: Arc::clone(metrics),
            transport,
        };
        let mut swarm = parts.build();
        // The HTTP server listens.
        let handed_over = Multiaddr::empty().with(Protocol::Ws("/".into()));
        swarm
            .listen_on(handed_over)
            .map_err(|error| ListenError::Setup(Box::new(error)))?;
        // IPv4 first: `::` reports its port with its first address, and a computer may have no address of IPv6.
        let mut ips = ips.to_vec();
        ips.sort();
        let (mut webrtc_listeners, mut unsupported) = (Vec::new(), None);
        for ip in ips {
            match listen(&mut swarm, ip, webrtc_port).await {
                Ok((listener, port)) => {
                    webrtc_port = port;
                    webrtc_listeners.push(listener);
                }
                // A computer need not have both versions of IP.
                Err(error) if ip.is_unspecified() && listeners::is_unsupported(&error) => {
                    unsupported = Some(ListenError::WebRtc(ip, error));
                }
                Err(error) => return Err(ListenError::WebRtc(ip, error)),
            }
        }
        if let (true, Some(error)) = (webrtc_listeners.is_empty(), unsupported) {
            return Err(error);
        }
        Ok(Self {
            swarm,
            most: 0,
            parts,
            rendezvous: Rendezvous::new(limits, metrics),
            idle_timeout: IdleTimeout::new(limits.idle_timeout),
            webrtc_listeners,
            webrtc_port,
            webrtc_counters,
        })
    }

    /// Runs the event loop until `stop` is closed, then disconnects all peers and closes the sockets of WebRTC.
    ///
    /// Also returns if a listener closes.
    pub(crate) async fn run(
        mut self,
        endpoints: Arc<Endpoints>,
        heartbeat: Heartbeat,
        mut limits: watch::Receiver<Limits>,
        mut stop: watch::Receiver<()>,
    ) {
        let mut idle_check = interval(IDLE_CHECK_INTERVAL);
        let mut address_check = interval(ADDRESS_CHECK_INTERVAL);
        loop {
            let event = tokio::select! {
                _ = stop.changed() => break,
                _ = address_check.tick() => {
                    self.refresh_addresses(&endpoints);
                    None
                }
                _ = idle_check.tick() => {
                    heartbeat.beat();
                    self.close_idle();
                    self.rebuild_if_deserted(&endpoints)
                }
                Ok(()) = limits.changed() => {
                    self.set_limits(&limits.borrow_and_update());
                    None
                }
                event = self.swarm.select_next_some() => Some(event),
            };
            let Some(event) = event else { continue };
            let listener_closed = matches!(event, SwarmEvent::ListenerClosed { .. });
            self.on_event(event);
            // Ends the task, which reports the failure. Otherwise the relay would run on, unreachable.
            if listener_closed {
                break;
            }
        }
        self.disconnect_all().await;
        self.close_listeners().await;
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        report_listener(&event);
        log_event(&event);
        if let SwarmEvent::ConnectionEstablished { connection_id, .. } = &event {
            self.most = self.most.max(self.connections());
            self.idle_timeout
                .record_activity(*connection_id, Instant::now());
        }
        if let SwarmEvent::ConnectionClosed {
            peer_id,
            connection_id,
            num_established,
            ..
        } = &event
        {
            self.idle_timeout.remove(*connection_id);
            if *num_established == 0 {
                self.rendezvous.on_disconnected(peer_id);
            }
        }
        let SwarmEvent::Behaviour(event) = event else {
            return;
        };
        if let BehaviourEvent::Ping(ping::Event {
            connection,
            result: Ok(_),
            ..
        }) = &event
        {
            self.idle_timeout
                .record_activity(*connection, Instant::now());
        }
        if let BehaviourEvent::Relay(event) = &event {
            self.on_circuit(event);
        }
        if let BehaviourEvent::Rendezvous(request_response::Event::Message {
            peer,
            message: Message::Request {
                request, channel, ..
            },
            ..
        }) = event
        {
            // The peer may have disconnected since. Its request would add an entry that nothing removes.
            if !self.swarm.is_connected(&peer) {
                return;
            }
            let network = self.swarm.behaviour().connection_limits.network_of(&peer);
            match self
                .rendezvous
                .handle_request((peer, network), request, Instant::now())
            {
                Ok(Some(response)) => {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    // Fails if the peer has disconnected since, which does no harm.
                    let _ = rendezvous.send_response(channel, response);
                }
                Ok(None) => {}
                Err(exceeded) => {
                    tracing::info!(%peer, %exceeded, "disconnecting a peer");
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }

    fn set_limits(&mut self, limits: &Limits) {
        self.rendezvous.set_limits(limits);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.connection_limits.set_limits(limits);
    }

    fn on_circuit(&self, event: &relay::Event) {
        if let relay::Event::CircuitReqAccepted {
            src_peer_id,
            dst_peer_id,
        } = event
        {
            let connections = &self.swarm.behaviour().connection_limits;
            let network = connections.network_of(src_peer_id);
            self.parts
                .hop_limits
                .on_circuit_opened((*src_peer_id, *dst_peer_id), network);
        }
        if let relay::Event::CircuitClosed {
            src_peer_id,
            dst_peer_id,
            ..
        } = event
        {
            self.parts
                .hop_limits
                .on_circuit_closed((*src_peer_id, *dst_peer_id));
        }
    }

    /// Connections that are established, or about to be.
    fn connections(&self) -> usize {
        let info = self.swarm.network_info();
        usize::try_from(info.connection_counters().num_connections()).unwrap_or(usize::MAX)
    }

    /// Whether the tables of libp2p are empty, and larger than small ones.
    fn is_deserted(&self) -> bool {
        self.connections() == 0 && self.most > max_capacity(0)
    }

    /// Builds the swarm again after a crowd has left it, because the tables of libp2p never shrink. Not as long as it has
    /// something to say: then this returns what.
    fn rebuild_if_deserted(&mut self, endpoints: &Endpoints) -> Option<SwarmEvent<BehaviourEvent>> {
        if !self.is_deserted() {
            return None;
        }
        let event = self.swarm.select_next_some().now_or_never();
        if event.is_some() || !self.is_deserted() {
            return event;
        }
        let mut old = std::mem::replace(&mut self.swarm, self.parts.build());
        // Its tables are ours, and its limits may have changed.
        std::mem::swap(
            &mut self.swarm.behaviour_mut().connection_limits,
            &mut old.behaviour_mut().connection_limits,
        );
        self.most = 0;
        self.refresh_addresses(endpoints);
        tracing::debug!("the swarm was built again");
        None
    }

    /// Makes the relay's current addresses the external ones, because libp2p announces those in reservations.
    fn refresh_addresses(&mut self, endpoints: &Endpoints) {
        let mut current = endpoints.multiaddrs();
        for address in &mut current {
            if let Some(Protocol::P2p(_)) = address.iter().last() {
                address.pop();
            }
        }
        let known: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for address in known.iter().filter(|known| !current.contains(known)) {
            self.swarm.remove_external_address(address);
        }
        for address in current {
            if !known.contains(&address) {
                self.swarm.add_external_address(address);
            }
        }
    }

    /// Closes idle connections. Otherwise the reservation of a peer that is gone would stay, and other peers would dial
    /// it in vain.
    fn close_idle(&mut self) {
        for connection in self.idle_timeout.take_idle(Instant::now()) {
            tracing::debug!(%connection, "closing an idle connection");
            self.swarm.close_connection(connection);
        }
    }

    /// Closes all connections, so tabs notice the shutdown without waiting for a timeout.
    async fn disconnect_all(&mut self) {
        let deadline = TokioInstant::now() + DISCONNECT_TIMEOUT;
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        while self.swarm.connected_peers().next().is_some() {
            if timeout_at(deadline, self.swarm.select_next_some())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Closes the sockets of WebRTC. Dropping the swarm would do so as well, but at a time that no one is told.
    async fn close_listeners(&mut self) {
        let deadline = TokioInstant::now() + CLOSE_TIMEOUT;
        let mut open = std::mem::take(&mut self.webrtc_listeners);
        open.retain(|listener| self.swarm.remove_listener(*listener));
        while !open.is_empty() {
            let Ok(event) = timeout_at(deadline, self.swarm.select_next_some()).await else {
                tracing::warn!("the port of WebRTC was not freed in time");
                return;
            };
            if let SwarmEvent::ListenerClosed { listener_id, .. } = event {
                open.retain(|listener| *listener != listener_id);
            }
        }
    }
}

impl Parts {
    /// A swarm with the listeners of the one before.
    fn build(&self) -> Swarm<BoxedHandlers<Behaviour>> {
        let behaviour = Behaviour::new(&self.key, &self.limits, &self.hop_limits, &self.metrics);
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(self.limits.idle_connection);
        Swarm::new(
            self.transport.lease().boxed(),
            BoxedHandlers(behaviour),
            self.key.to_peer_id(),
            config,
        )
    }
}

/// The transport, and what its part for WebRTC counts.
type Transports = (KeptTransport, Arc<Counters>);

fn transport(
    identity: &Identity,
    limits: &Limits,
    (handshakes, metrics): (&FairSlots, &Arc<Metrics>),
    websockets: websocket::Transport,
) -> Result<Transports, Box<dyn Error + Send + Sync>> {
    let mut multiplexer = yamux::Config::default();
    multiplexer.set_max_num_streams(limits.streams_per_connection);
    let websockets = websockets
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(&identity.keypair)?)
        .multiplex(multiplexer)
        .map(limited(limits, metrics.bytes_of(metrics::WEBSOCKET)))
        .boxed();
    let config = Config::new(identity.keypair.clone(), identity.certificate.clone());
    let webrtc = webrtc::Transport::new(config.with_limits(limits.webrtc()));
    let webrtc_counters = webrtc.counters();
    let webrtc = webrtc
        .map(limited(limits, metrics.bytes_of(metrics::WEBRTC)))
        .boxed();
    let both = LimitHandshakes::new(websockets, handshakes)
        .or_transport(LimitHandshakes::new(webrtc, handshakes))
        .map(|connection, _| connection.into_inner());
    let transport = TransportTimeout::new(both, CONNECTION_TIMEOUT).boxed();
    Ok((KeptTransport::new(transport), webrtc_counters))
}

/// Limits the rates of the connections of one transport.
fn limited<M>(
    limits: &Limits,
    bytes: TransportBytes,
) -> impl FnOnce((PeerId, M), ConnectedPoint) -> (PeerId, StreamMuxerBox) + Clone + use<M>
where
    M: StreamMuxer + Unpin + Send + 'static,
    M::Substream: Unpin + Send + 'static,
    M::Error: Send + Sync + 'static,
{
    let limits = limits.clone();
    move |(peer, connection), _| {
        let connection = RateLimitedMuxer::new(connection, &limits, bytes);
        (peer, StreamMuxerBox::new(connection))
    }
}

/// Logs connections and circuits, for operators that ask for it (`--log-filter relay=debug`).
fn log_event(event: &SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::ConnectionEstablished {
        peer_id: peer,
        endpoint,
        ..
    } = event
    {
        let from = endpoint.get_remote_address();
        tracing::debug!(%peer, %from, "a peer connected");
    }
    if let SwarmEvent::ConnectionClosed {
        peer_id: peer,
        cause,
        ..
    } = event
    {
        tracing::debug!(%peer, ?cause, "a peer disconnected");
    }
    if let SwarmEvent::IncomingConnectionError {
        send_back_addr: from,
        error,
        ..
    } = event
    {
        tracing::debug!(%from, %error, "a handshake failed");
    }
    if let SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) = event {
        tracing::debug!(?event, "relay");
    }
}

/// Listens for WebRTC-direct. Returns the port, and waits until the system has chosen one if it is 0.
async fn listen(
    swarm: &mut Swarm<BoxedHandlers<Behaviour>>,
    ip: IpAddr,
    port: u16,
) -> io::Result<(ListenerId, u16)> {
    let address = Multiaddr::from(ip)
        .with(Protocol::Udp(port))
        .with(Protocol::WebRTCDirect);
    let wanted = swarm.listen_on(address).map_err(innermost_io_error)?;
    if port != 0 {
        return Ok((wanted, port));
    }
    let deadline = TokioInstant::now() + LISTEN_TIMEOUT;
    loop {
        let event = timeout_at(deadline, swarm.select_next_some())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        report_listener(&event);
        if let SwarmEvent::NewListenAddr {
            listener_id,
            address,
        } = &event
            && *listener_id == wanted
            && let Some(port) = port_of(address)
        {
            return Ok((wanted, port));
        }
        if let SwarmEvent::ListenerClosed {
            listener_id,
            reason: Err(error),
            ..
        } = event
            && listener_id == wanted
        {
            return Err(error);
        }
    }
}

fn report_listener(event: &SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::ListenerError { error, .. } = event {
        tracing::warn!(%error, "a listener failed to accept");
    }
    if let SwarmEvent::ListenerClosed {
        addresses, reason, ..
    } = event
    {
        tracing::error!(?addresses, ?reason, "a listener closed");
    }
}

fn port_of(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| {
        if let Protocol::Udp(port) = part {
            return Some(port);
        }
        None
    })
}

/// Unwraps the error of the operating system, which libp2p wraps several times.
fn innermost_io_error(error: impl Error + 'static) -> io::Error {
    let mut kind = io::ErrorKind::Other;
    let mut message = error.to_string();
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        message = error.to_string();
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = io.kind();
            // `io::Error::source` skips the error that it wraps.
            next = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
        }
    }
    io::Error::new(kind, message)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use libp2p::{
        identity::Keypair,
        swarm::{ConnectionId, NetworkBehaviour as _, dummy},
    };

    use super::*;
    use crate::{announce::Announced, identity::IdentitySource};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A relay that listens for WebRTC-direct on loopback, and its addresses.
    async fn listening() -> (ListeningSwarm, Endpoints) {
        let identity = IdentitySource::Seed {
            seed: 1,
            folder: None,
        };
        let identity = Identity::load(&identity).expect("it needs no files");
        let (limits, metrics) = (Limits::default(), Arc::new(Metrics::new()));
        let handshakes = FairSlots::new(limits.handshake_share());
        let hop_limits = HopLimits::new(&limits, &metrics);
        let (websockets, _) = websocket::Transport::new(limits.websocket_message_bytes);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let shared = (&handshakes, &hop_limits, &metrics);
        let relay = ListeningSwarm::start(&identity, &limits, shared, websockets, (&[ip], 0))
            .await
            .expect("a free port");
        let endpoints = Endpoints {
            listen_ips: vec![ip],
            http_port: 8080,
            webrtc_port: relay.webrtc_port,
            stun_port: 3478,
            tls: false,
            certified: Vec::new(),
            announced: Announced::default(),
            certificate: identity.certificate.fingerprint(),
            peer_id: identity.keypair.public().to_peer_id(),
        };
        (relay, endpoints)
    }

    /// Lets the swarm say what it has to say.
    fn listen_to(relay: &mut ListeningSwarm) {
        while let Some(event) = relay.swarm.select_next_some().now_or_never() {
            relay.on_event(event);
        }
    }

    fn addresses_of(relay: &ListeningSwarm) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        let mut listening: Vec<_> = relay.swarm.listeners().cloned().collect();
        let mut external: Vec<_> = relay.swarm.external_addresses().cloned().collect();
        listening.sort();
        external.sort();
        (listening, external)
    }

    /// Whether the relay would take a connection.
    fn admits(relay: &mut ListeningSwarm) -> bool {
        let limits = &mut relay.swarm.behaviour_mut().connection_limits;
        let (id, remote) = (ConnectionId::new_unchecked(0), Multiaddr::empty());
        let peer = PeerId::random();
        limits
            .handle_established_inbound_connection(id, peer, &remote, &remote)
            .is_ok()
    }

    /// Connects a client by WebRTC-direct.
    async fn connect(relay: &mut ListeningSwarm, endpoints: &Endpoints) -> Swarm<dummy::Behaviour> {
        let key = Keypair::generate_ed25519();
        let certificate = webrtc::Certificate::generate().expect("a certificate");
        let transport = webrtc::Transport::new(Config::new(key.clone(), certificate));
        let transport =
            transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
        let mut client = Swarm::new(
            transport.boxed(),
            dummy::Behaviour,
            key.public().to_peer_id(),
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE),
        );
        let mut addresses = endpoints.multiaddrs().into_iter();
        let address = addresses.find(|address| {
            let mut parts = address.iter();
            parts.any(|part| part == Protocol::WebRTCDirect)
        });
        client
            .dial(address.expect("it has one"))
            .expect("an address");
        let (mut here, mut there) = (false, false);
        let connected = async {
            while !(here && there) {
                tokio::select! {
                    event = client.select_next_some() => {
                        there |= matches!(event, SwarmEvent::ConnectionEstablished { .. });
                    }
                    event = relay.swarm.select_next_some() => {
                        here |= matches!(event, SwarmEvent::ConnectionEstablished { .. });
                        relay.on_event(event);
                    }
                }
            }
        };
        let connected = timeout_at(TokioInstant::now() + PATIENCE, connected);
        connected.await.expect("they connect");
        client
    }

    #[tokio::test]
    async fn swarm_is_built_again_behind_a_crowd() {
        let (mut relay, endpoints) = listening().await;
        listen_to(&mut relay);
        relay.refresh_addresses(&endpoints);
        listen_to(&mut relay);
        let before = addresses_of(&relay);
        assert!(!before.0.is_empty() && !before.1.is_empty());
        relay.most = max_capacity(0);
        assert!(relay.rebuild_if_deserted(&endpoints).is_none());
        assert_eq!(relay.most, max_capacity(0), "few change nothing");
        let none = Limits {
            connections: 0,
            ..Limits::default()
        };
        relay.set_limits(&none);

        relay.most = max_capacity(0) + 1;
        assert!(relay.rebuild_if_deserted(&endpoints).is_none());
        assert_eq!(relay.most, 0);
        listen_to(&mut relay);
        assert_eq!(addresses_of(&relay), before);
        assert!(!admits(&mut relay), "the limits have changed");
    }

    #[tokio::test]
    async fn listener_outlasts_the_swarm() {
        let (mut relay, endpoints) = listening().await;
        for _ in 0..2 {
            listen_to(&mut relay);
            relay.most = max_capacity(0) + 1;
            assert!(relay.rebuild_if_deserted(&endpoints).is_none());
            assert_eq!(relay.most, 0);
            let client = connect(&mut relay, &endpoints).await;
            assert_eq!(relay.most, 1);
            relay.most = max_capacity(0) + 1;
            assert!(relay.rebuild_if_deserted(&endpoints).is_none());
            assert_eq!(relay.most, max_capacity(0) + 1, "one is still there");
            drop(client);
            let gone = async {
                while relay.connections() > 0 {
                    let event = relay.swarm.select_next_some().await;
                    // As the loop of the relay would find it.
                    relay.on_event(event);
                }
            };
            let gone = timeout_at(TokioInstant::now() + PATIENCE, gone);
            gone.await.expect("the client has left");
        }
    }

    #[tokio::test]
    async fn what_the_swarm_has_to_say_is_not_lost() {
        let (mut relay, endpoints) = listening().await;
        listen_to(&mut relay);
        relay.refresh_addresses(&endpoints);
        relay.most = max_capacity(0) + 1;
        // The first external address.
        assert!(relay.rebuild_if_deserted(&endpoints).is_some());
        assert_eq!(relay.most, max_capacity(0) + 1);
        listen_to(&mut relay);
        assert!(relay.rebuild_if_deserted(&endpoints).is_none());
        assert_eq!(relay.most, 0);
    }
}
