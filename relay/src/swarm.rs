//! The libp2p side of the relay: transports, listening, and the loop that drives them. It dials nobody, and
//! nothing that a peer sends ends the loop.

use std::{
    error::Error,
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, Transport as _,
    core::{transport::ListenerId, upgrade},
    multiaddr::Protocol,
    noise, ping,
    request_response::{self, Message},
    swarm::SwarmEvent,
    tcp, websocket, yamux,
};
use tokio::{
    sync::oneshot,
    time::{Instant as TokioInstant, interval, timeout_at},
};

use crate::{
    Limits,
    behaviour::{Behaviour, BehaviourEvent},
    frame_cap::CappedMuxer,
    identity::Identity,
    rendezvous::Rendezvous,
    silence::SilenceWatch,
    unpanicked::Unpanicked,
};

/// How long the system may take to say what we listen on.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between looks for connections that have been silent for too long.
const SILENCE_CHECK: Duration = Duration::from_millis(500);
/// How long peers are given to learn that the relay stops.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// A swarm that listens.
pub(crate) struct Listening {
    swarm: Swarm<Behaviour>,
    rendezvous: Rendezvous,
    silence: SilenceWatch,
    pub(crate) ws_port: u16,
    pub(crate) webrtc_port: u16,
}

/// Why the swarm does not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(transparent)]
    Setup(Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    WebSocket(io::Error),
    #[error(transparent)]
    WebRtc(io::Error),
}

impl Listening {
    /// Builds the swarm and binds its ports; 0 means a free one.
    pub(crate) async fn start(
        identity: &Identity,
        limits: &Limits,
        (ip, ws_port, webrtc_port): (IpAddr, u16, u16),
    ) -> Result<Self, ListenError> {
        let mut swarm = build(identity, limits).map_err(ListenError::Setup)?;

        let websocket = Multiaddr::from(ip)
            .with(Protocol::Tcp(ws_port))
            .with(Protocol::Ws("/".into()));
        let websocket = swarm
            .listen_on(websocket)
            .map_err(|error| ListenError::WebSocket(innermost_io_error(error)))?;
        let webrtc = Multiaddr::from(ip)
            .with(Protocol::Udp(webrtc_port))
            .with(Protocol::WebRTCDirect);
        let webrtc = swarm
            .listen_on(webrtc)
            .map_err(|error| ListenError::WebRtc(innermost_io_error(error)))?;

        let deadline = TokioInstant::now() + LISTEN_TIMEOUT;
        let (mut ws_port, mut webrtc_port) = (None, None);
        loop {
            match (ws_port, webrtc_port) {
                (Some(ws_port), Some(webrtc_port)) => {
                    return Ok(Self {
                        swarm,
                        rendezvous: Rendezvous::new(limits),
                        silence: SilenceWatch::new(limits.silence),
                        ws_port,
                        webrtc_port,
                    });
                }
                (None, _) => {
                    ws_port = next_port(&mut swarm, websocket, &mut webrtc_port, deadline)
                        .await
                        .map_err(ListenError::WebSocket)?;
                }
                (Some(_), None) => {
                    webrtc_port = next_port(&mut swarm, webrtc, &mut ws_port, deadline)
                        .await
                        .map_err(ListenError::WebRtc)?;
                }
            }
        }
    }

    /// Serves peers until told to stop (or until the other end of `stop` is gone), then says goodbye.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut silence_check = interval(SILENCE_CHECK);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                _ = silence_check.tick() => self.close_silent(),
                event = self.swarm.select_next_some() => {
                    let is_deaf = matches!(event, SwarmEvent::ListenerClosed { .. });
                    self.on_event(event);
                    // Whoever started the relay is told, rather than nobody reaching it.
                    if is_deaf {
                        break;
                    }
                }
            }
        }
        self.say_goodbye().await;
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        on_listen_event(&mut self.swarm, &event);
        if let SwarmEvent::ConnectionEstablished { connection_id, .. } = &event {
            self.silence.heard(*connection_id, Instant::now());
        }
        if let SwarmEvent::ConnectionClosed {
            peer_id,
            connection_id,
            num_established,
            ..
        } = &event
        {
            self.silence.forget(*connection_id);
            if *num_established == 0 {
                self.rendezvous.forget(peer_id);
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
            self.silence.heard(*connection, Instant::now());
        }
        if let BehaviourEvent::Rendezvous(request_response::Event::Message {
            peer,
            message: Message::Request {
                request, channel, ..
            },
            ..
        }) = event
        {
            // What was asked by somebody who has left meanwhile would be remembered for ever.
            if !self.swarm.is_connected(&peer) {
                return;
            }
            match self.rendezvous.answer(peer, request, Instant::now()) {
                Ok(Some(answer)) => {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    // Whoever left meanwhile needs none.
                    let _ = rendezvous.send_response(channel, answer);
                }
                Ok(None) => {}
                Err(excess) => {
                    tracing::info!(%peer, %excess, "disconnecting");
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }

    /// The reservation of a peer that is gone would stay, and others would call it in vain.
    fn close_silent(&mut self) {
        for connection in self.silence.take_silent(Instant::now()) {
            tracing::debug!(%connection, "silent for too long");
            self.swarm.close_connection(connection);
        }
    }

    /// Closes every connection, so that tabs need not find out by themselves.
    async fn say_goodbye(mut self) {
        let deadline = TokioInstant::now() + GOODBYE_TIMEOUT;
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
}

fn build(
    identity: &Identity,
    limits: &Limits,
) -> Result<Swarm<Behaviour>, Box<dyn Error + Send + Sync>> {
    let swarm = SwarmBuilder::with_existing_identity(identity.keypair.clone())
        .with_tokio()
        .with_other_transport(|key| {
            let mut transport =
                websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
            transport.set_max_data_size(limits.websocket_message_bytes);
            let mut multiplexer = yamux::Config::default();
            multiplexer.set_max_num_streams(limits.streams_per_connection);
            Ok(transport
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise::Config::new(key)?)
                .multiplex(multiplexer))
        })?
        .with_other_transport(|key| {
            let certificate = identity.certificate.clone();
            let transport = libp2p_webrtc::tokio::Transport::new(key.clone(), certificate);
            Unpanicked(transport).map(|(peer, connection), _| (peer, CappedMuxer::new(connection)))
        })?
        .with_behaviour(|key| Behaviour::new(key, limits))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(limits.idle_connection))
        .build();
    Ok(swarm)
}

/// The port that `wanted` listens on. An address of the other listener that turns up first goes to `other`.
async fn next_port(
    swarm: &mut Swarm<Behaviour>,
    wanted: ListenerId,
    other: &mut Option<u16>,
    deadline: TokioInstant,
) -> io::Result<Option<u16>> {
    loop {
        let event = timeout_at(deadline, swarm.select_next_some())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        on_listen_event(swarm, &event);
        if let SwarmEvent::NewListenAddr {
            listener_id,
            address,
        } = &event
        {
            if *listener_id == wanted {
                return Ok(port(address));
            }
            *other = port(address);
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

/// Reservations name the addresses that are confirmed as external: all that we listen on.
fn on_listen_event(swarm: &mut Swarm<Behaviour>, event: &SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::NewListenAddr { address, .. } = event {
        swarm.add_external_address(address.clone());
    }
    if let SwarmEvent::ExpiredListenAddr { address, .. } = event {
        swarm.remove_external_address(address);
    }
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

fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| {
        if let Protocol::Tcp(port) | Protocol::Udp(port) = part {
            return Some(port);
        }
        None
    })
}

/// The system's own error, which libp2p wraps several times.
fn innermost_io_error(error: impl Error + 'static) -> io::Error {
    let mut kind = io::ErrorKind::Other;
    let mut words = error.to_string();
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        words = error.to_string();
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = io.kind();
            // `source` skips the error that an `io::Error` wraps.
            next = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
        }
    }
    io::Error::new(kind, words)
}
