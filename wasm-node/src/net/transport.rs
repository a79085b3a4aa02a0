//! How bytes reach a peer: straight from tab to tab, through a relay's circuit, or to a relay by WebSocket or
//! WebRTC-direct. Never chooses whom to reach.

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

use super::{NetworkError, behaviour::name_of, goodbye::BriefGoodbye, prompt::Prompt};
use crate::config;

/// All ways together, and what belongs to them among the protocols.
pub(crate) struct Ways {
    pub(crate) transport: Boxed<(PeerId, StreamMuxerBox)>,
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) webrtc: peer::Behaviour,
}

/// Sets all ways up; with `direct`, tabs are reached straight, and otherwise through circuits only.
///
/// # Errors
/// If the key cannot be used for the Noise handshake.
pub(crate) fn all_ways(key: &Keypair, direct: bool) -> Result<Ways, NetworkError> {
    let (circuits, relay) = relay::client::new(name_of(key));
    let straight = peer::Config::new(name_of(key))
        .with_grace(config::DISCONNECTED_GRACE)
        .with_silence_limit(config::SILENCE_LIMIT)
        .with_automatic_upgrades(direct)
        .with_policy(move |_| direct);
    let (tabs, webrtc) = peer::new(straight);
    let noise = noise::Config::new(key).map_err(|error| NetworkError::Noise(error.to_string()))?;

    // One stream for both, as the handshake and the muxer would be compiled for each.
    let streams = circuits
        .or_transport(websocket_websys::Transport::default().map(|socket, _| Prompt::new(socket)))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer());
    let servers = direct::Transport::new(direct::Config::new(key))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));

    // Tab to tab comes first: circuits would take its addresses for theirs.
    let all = tabs
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(streams.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .or_transport(servers)
        .map(|either, _| either.into_inner())
        .map(|(peer, muxer), _| {
            let muxer = BriefGoodbye::new(muxer, config::GOODBYE_TIMEOUT);
            (peer, StreamMuxerBox::new(muxer))
        });
    let transport = TransportTimeout::new(all, config::DIAL_TIMEOUT)
        .map_err(io::Error::other)
        .boxed();
    Ok(Ways {
        transport,
        relay,
        webrtc,
    })
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(config::MAX_STREAMS_A_CONNECTION);
    config
}
