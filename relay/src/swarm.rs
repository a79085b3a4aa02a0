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

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _,
    core::{
        ConnectedPoint,
        muxing::{StreamMuxer, StreamMuxerBox},
        transport::ListenerId,
        upgrade,
    },
    multiaddr::Protocol,
    ping, relay,
    request_response::{self, Message},
    swarm::SwarmEvent,
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
    limits::Limits,
    listeners,
    metrics::{self, Metrics, TransportBytes},
    noise,
    rate_limited_muxer::RateLimitedMuxer,
    rendezvous::Rendezvous,
    websocket,
    workarounds::IdleTimeout,
};

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
    rendezvous: Rendezvous,
    idle_timeout: IdleTimeout,
    hop_limits: HopLimits,
    webrtc_listeners: Vec<ListenerId>,
    pub(crate) webrtc_port: u16,
    /// What the listeners for WebRTC-direct have done.
    pub(crate) webrtc_counters: Arc<Counters>,
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
        let shared = (handshakes, hop_limits, metrics);
        let (mut swarm, webrtc_counters) =
            build(identity, limits, shared, websockets).map_err(ListenError::Setup)?;
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
            rendezvous: Rendezvous::new(limits, metrics),
            idle_timeout: IdleTimeout::new(limits.idle_timeout),
            hop_limits: hop_limits.clone(),
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
            tokio::select! {
                _ = stop.changed() => break,
                _ = address_check.tick() => self.refresh_addresses(&endpoints),
                _ = idle_check.tick() => {
                    heartbeat.beat();
                    self.close_idle();
                }
                Ok(()) = limits.changed() => self.set_limits(&limits.borrow_and_update()),
                event = self.swarm.select_next_some() => {
                    let listener_closed = matches!(event, SwarmEvent::ListenerClosed { .. });
                    self.on_event(event);
                    // Ends the task, which reports the failure. Otherwise the relay would run on, unreachable.
                    if listener_closed {
                        break;
                    }
                }
            }
        }
        self.disconnect_all().await;
        self.close_listeners().await;
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        report_listener(&event);
        log_event(&event);
        if let SwarmEvent::ConnectionEstablished { connection_id, .. } = &event {
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
            self.hop_limits
                .on_circuit_opened((*src_peer_id, *dst_peer_id), network);
        }
        if let relay::Event::CircuitClosed {
            src_peer_id,
            dst_peer_id,
            ..
        } = event
        {
            self.hop_limits
                .on_circuit_closed((*src_peer_id, *dst_peer_id));
        }
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

/// The swarm, and what its WebRTC transport counts.
type Built = (Swarm<BoxedHandlers<Behaviour>>, Arc<Counters>);

fn build(
    identity: &Identity,
    limits: &Limits,
    (handshakes, hop_limits, metrics): (&FairSlots, &HopLimits, &Arc<Metrics>),
    websockets: websocket::Transport,
) -> Result<Built, Box<dyn Error + Send + Sync>> {
    let config = Config::new(identity.keypair.clone(), identity.certificate.clone());
    let webrtc = webrtc::Transport::new(config.with_limits(limits.webrtc()));
    let webrtc_counters = webrtc.counters();
    let swarm = SwarmBuilder::with_existing_identity(identity.keypair.clone())
        .with_tokio()
        .with_other_transport(|key| {
            let mut multiplexer = yamux::Config::default();
            multiplexer.set_max_num_streams(limits.streams_per_connection);
            let transport = websockets
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise::Config::new(key)?)
                .multiplex(multiplexer)
                .map(limited(limits, metrics.bytes_of(metrics::WEBSOCKET)))
                .boxed();
            Ok(LimitHandshakes::new(transport, handshakes))
        })?
        .with_other_transport(|_| {
            let transport = webrtc
                .map(limited(limits, metrics.bytes_of(metrics::WEBRTC)))
                .boxed();
            LimitHandshakes::new(transport, handshakes)
        })?
        .with_behaviour(|key| BoxedHandlers(Behaviour::new(key, limits, hop_limits, metrics)))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(limits.idle_connection))
        .build();
    Ok((swarm, webrtc_counters))
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
