//! How bytes reach a peer: through a relay's circuit, by WebSocket, or by WebRTC-direct. Never chooses whom
//! to reach.

use std::io;

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox, transport::Boxed, transport::timeout::TransportTimeout, upgrade,
    },
    identity::Keypair,
    noise, relay, websocket_websys, yamux,
};
use libp2p_webrtc_browser::direct;

use super::{NetworkError, behaviour::name_of, goodbye::BriefGoodbye};
use crate::config;

/// All ways together, and the half of the relay client that is a behaviour.
///
/// # Errors
/// If the key cannot be used for the Noise handshake.
pub(crate) fn all_ways(
    key: &Keypair,
) -> Result<(Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour), NetworkError> {
    let (circuits, behaviour) = relay::client::new(name_of(key));
    let noise = noise::Config::new(key).map_err(|error| NetworkError::Noise(error.to_string()))?;

    let circuits = circuits
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxer());
    let sockets = websocket_websys::Transport::default()
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer());
    let direct = direct::Transport::new(direct::Config::new(key))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));

    let all = circuits
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .or_transport(sockets.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .or_transport(direct)
        .map(|either, _| either.into_inner())
        .map(|(peer, muxer), _| {
            let muxer = BriefGoodbye::new(muxer, config::GOODBYE_TIMEOUT);
            (peer, StreamMuxerBox::new(muxer))
        });
    let all = TransportTimeout::new(all, config::DIAL_TIMEOUT)
        .map_err(io::Error::other)
        .boxed();
    Ok((all, behaviour))
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(config::MAX_STREAMS_A_CONNECTION);
    config
}
