//! The transports of a keeper: TCP, WebSocket and WebRTC-direct, for dialing and for listening, and circuits through relays
//! and neighbours. It never decides what to dial. As in docs/protocols.md, "Connections".

use std::{io, task::Context};

use heartchain_peer::net::{
    MAX_STREAMS_PER_CONNECTION, TaskTurns, Transports, peer_id_of, with_time_limits,
};
use libp2p::{
    Transport as _,
    core::{muxing::StreamMuxerBox, upgrade},
    dns,
    identity::Keypair,
    noise, relay,
    swarm::{self, dummy},
    tcp, websocket, yamux,
};
use libp2p_webrtc_direct::{Certificate, Config, Transport as WebRtcDirect};

/// Why the transports could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The Noise handshake could not be set up.
    #[error("the encryption could not be set up: {0}")]
    Noise(#[from] noise::Error),
    /// The system's configuration of DNS cannot be read.
    #[error("the names of computers cannot be looked up: {0}")]
    Dns(#[from] io::Error),
}

/// tokio interrupts a task that handles one event after the other, so a network need not.
#[derive(Debug)]
struct TokioTurns;

impl TaskTurns for TokioTurns {
    fn request(&self) {}

    fn has_begun(&self) -> bool {
        true
    }

    fn wake(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }
}

/// Sets up all transports.
///
/// # Errors
/// If the key cannot be used for the Noise handshake, or the system's configuration of DNS cannot be read.
pub(super) fn all_transports(
    key: &Keypair,
    certificate: Certificate,
) -> Result<Transports<dummy::Behaviour>, TransportError> {
    let (circuits, relay) = relay::client::new(peer_id_of(key));
    let tcp = || {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        dns::tokio::Transport::system(tcp)
    };
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MAX_STREAMS_PER_CONNECTION);
    // WebSocket comes before TCP, which would accept its addresses, too.
    let sockets = websocket::Config::new(tcp()?).or_transport(tcp()?);
    let streams = circuits
        .or_transport(sockets)
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(muxer);
    let webrtc = WebRtcDirect::new(Config::new(key.clone(), certificate));
    let all = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(streams.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner());
    Ok(Transports {
        transport: with_time_limits(all),
        swarm: swarm::Config::with_tokio_executor(),
        relay,
        direct: dummy::Behaviour,
        turns: Box::new(TokioTurns),
    })
}
