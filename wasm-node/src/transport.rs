//! The transports of a tab: WebRTC between tabs, circuits through relays, and WebSocket or WebRTC-direct to a relay. It
//! never decides what to dial. Specified in docs/protocols.md, "Connections".

use std::{io, task::Context, time::Duration};

use heartchain_peer::net::{
    DirectTransport, IceServer, MAX_STREAMS_PER_CONNECTION, TaskTurns, Transports, peer_id_of,
    with_time_limits,
};
use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::timeout::TransportTimeout, upgrade},
    identify,
    identity::Keypair,
    noise, relay,
    swarm::{self, NetworkBehaviour},
    websocket_websys, yamux,
};
use libp2p_webrtc_browser::{ConnectionError, direct, peer, workarounds::HideObservedAddr};

use crate::{next_task::NextTask, workarounds::NoDelayFlush};

/// An inbound circuit fails after this time. It is shorter than that of dials, because its peer speaks first: it knows that this
/// tab is there.
const INBOUND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a direct connection is kept after the browser reports it as disconnected, which is 6 s after the last
/// packet.
const DISCONNECTED_GRACE: Duration = Duration::from_millis(400);
/// How long a direct connection is kept without any incoming data. A killed tab is found as soon as a browser reports
/// it, in browsers that report it late or never as well. With pings every 4 s in both directions, even a busy tab rarely
/// reaches it: its packets are counted for 3 s before, and its browser sends a STUN check every 2.5 s.
const DIRECT_LIVENESS_TIMEOUT: Duration = Duration::from_millis(7_500);

/// Why the transports could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TransportError {
    /// The Noise handshake could not be set up.
    #[error("the encryption could not be set up: {0}")]
    Noise(#[from] noise::Error),
    /// The browser has no message channels.
    #[error("this browser cannot pass messages")]
    NoChannels,
}

/// WebRTC between tabs, as the direct transport of a peer.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "peer::Event")]
pub(crate) struct TabWebrtc {
    webrtc: peer::Behaviour,
}

impl DirectTransport for TabWebrtc {
    type Identify = HideObservedAddr<identify::Behaviour>;

    fn identify(behaviour: identify::Behaviour) -> Self::Identify {
        HideObservedAddr::new(behaviour)
    }

    fn set_ice_servers(&mut self, servers: &[IceServer]) {
        let servers = servers.iter().map(|server| peer::IceServer {
            url: server.url().to_owned(),
            credentials: server.credentials().cloned(),
        });
        self.webrtc.set_ice_servers(servers.collect());
    }

    fn retry_soon(&mut self) {
        self.webrtc.retry_soon();
    }

    fn silent_peer(event: &peer::Event) -> Option<PeerId> {
        // The swarm reports established connections, and failed ones are retried.
        if let peer::Event::Doubtful { peer } = event {
            Some(*peer)
        } else {
            None
        }
    }

    fn is_flood(error: &io::Error) -> bool {
        ConnectionError::find_in(error) == Some(&ConnectionError::UnreadOverflow)
    }
}

impl TaskTurns for NextTask {
    fn request(&self) {
        Self::request(self);
    }

    fn has_begun(&self) -> bool {
        Self::has_begun(self)
    }

    fn wake(&self, context: &Context<'_>) {
        Self::wake(self, context);
    }
}

/// Sets up all transports. Without `direct`, other tabs are reached through circuits only: direct connections reveal this
/// computer's addresses to them.
///
/// # Errors
/// If the key cannot be used for the Noise handshake, or the browser has no message channels.
pub(crate) fn all_transports(
    key: &Keypair,
    direct: bool,
) -> Result<Transports<TabWebrtc>, TransportError> {
    let (circuits, relay) = relay::client::new(peer_id_of(key));
    let webrtc_config = peer::Config::new(peer_id_of(key))
        .with_grace(DISCONNECTED_GRACE)
        .with_silence_limit(DIRECT_LIVENESS_TIMEOUT)
        .with_automatic_upgrades(direct)
        .with_policy(move |_| direct);
    let (tabs, webrtc) = peer::new(webrtc_config);
    let noise = noise::Config::new(key)?;

    // Combined before the upgrade, because handshake and muxer are compiled once per stream type.
    let streams = circuits
        .or_transport(
            websocket_websys::Transport::default().map(|socket, _| NoDelayFlush::new(socket)),
        )
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer());
    let streams = TransportTimeout::with_ingoing_timeout(streams, INBOUND_TIMEOUT);
    let servers = direct::Transport::new(direct::Config::new(key))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));

    // WebRTC between tabs comes first: the circuit transport would accept its addresses, too.
    let all = tabs
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(streams.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .or_transport(servers)
        .map(|either, _| either.into_inner());
    Ok(Transports {
        transport: with_time_limits(all),
        swarm: swarm::Config::with_wasm_executor(),
        relay,
        direct: TabWebrtc { webrtc },
        turns: Box::new(NextTask::new().ok_or(TransportError::NoChannels)?),
    })
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS_PER_CONNECTION);
    config
}
