//! The transports of a tab: WebRTC between tabs, circuits through relays, and WebSocket or WebRTC-direct to a relay. It
//! never decides what to dial. Specified in docs/protocols.md, "Connections".

use std::{io, time::Duration};

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox, transport::Boxed, transport::timeout::TransportTimeout, upgrade,
    },
    identity::Keypair,
    noise, relay, websocket_websys, yamux,
};
use libp2p_webrtc_browser::{direct, peer};

use super::{
    error::NetworkError,
    ice::IceServer,
    identity::peer_id_of,
    workarounds::{CloseTimeout, NoDelayFlush},
};

/// A dial fails after this time, which covers the socket and all handshakes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for an inbound circuit: its peer speaks first, so it knows that this tab is there.
const INBOUND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long closing a connection may wait for the remote to agree. A dead one never does.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a direct connection is kept after the browser reports it as disconnected, which is 6 s after the last
/// packet.
const DISCONNECTED_GRACE: Duration = Duration::from_millis(400);
/// How long a direct connection is kept without any incoming data. This finds a killed tab a little sooner than the
/// browser reports it. With pings every 2 s in both directions, even a busy tab rarely reaches it.
const DIRECT_LIVENESS_TIMEOUT: Duration = Duration::from_millis(5_250);
/// Streams of one WebSocket or circuit at one time: 24 circuits, gossip, pings, and 4 requests in each direction.
const MAX_STREAMS_PER_CONNECTION: usize = 256;

/// The combined transport, and the behaviours that belong to its parts.
pub(crate) struct Transports {
    pub(crate) transport: Boxed<(PeerId, StreamMuxerBox)>,
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) webrtc: peer::Behaviour,
}

/// Sets up all transports. Without `direct`, other tabs are reached through circuits only.
///
/// # Errors
/// If the key cannot be used for the Noise handshake.
pub(crate) fn all_transports(key: &Keypair, direct: bool) -> Result<Transports, NetworkError> {
    let (circuits, relay) = relay::client::new(peer_id_of(key));
    let webrtc_config = peer::Config::new(peer_id_of(key))
        .with_grace(DISCONNECTED_GRACE)
        .with_silence_limit(DIRECT_LIVENESS_TIMEOUT)
        .with_automatic_upgrades(direct)
        .with_policy(move |_| direct);
    let (tabs, webrtc) = peer::new(webrtc_config);
    let noise = noise::Config::new(key).map_err(|error| NetworkError::Noise(error.to_string()))?;

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
        .map(|either, _| either.into_inner())
        .map(|(peer, muxer), _| {
            let muxer = CloseTimeout::new(muxer, CLOSE_TIMEOUT);
            (peer, StreamMuxerBox::new(muxer))
        });
    let transport = TransportTimeout::new(all, DIAL_TIMEOUT)
        .map_err(io::Error::other)
        .boxed();
    Ok(Transports {
        transport,
        relay,
        webrtc,
    })
}

/// Sets the STUN and TURN servers for connections between tabs.
pub(crate) fn use_ice_servers(webrtc: &mut peer::Behaviour, servers: &[IceServer]) {
    let servers = servers.iter().map(|server| peer::IceServer {
        url: server.url().to_owned(),
        credentials: server.credentials().cloned(),
    });
    webrtc.set_ice_servers(servers.collect());
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS_PER_CONNECTION);
    config
}
