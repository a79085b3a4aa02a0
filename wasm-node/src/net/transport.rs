//! The transports of a tab: WebRTC between tabs, circuits through relays, and WebSocket or WebRTC-direct to a relay. It
//! never decides what to dial.

use std::io;

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
    NetworkError,
    behaviour::peer_id_of,
    workarounds::{CloseTimeout, NoDelayFlush},
};
use crate::config;

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
        .with_grace(config::DISCONNECTED_GRACE)
        .with_silence_limit(config::DIRECT_LIVENESS_TIMEOUT)
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
            let muxer = CloseTimeout::new(muxer, config::CLOSE_TIMEOUT);
            (peer, StreamMuxerBox::new(muxer))
        });
    let transport = TransportTimeout::new(all, config::DIAL_TIMEOUT)
        .map_err(io::Error::other)
        .boxed();
    Ok(Transports {
        transport,
        relay,
        webrtc,
    })
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(config::MAX_STREAMS_PER_CONNECTION);
    config
}
