use libp2p::core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Transport, noise, relay, websocket_websys, yamux};
use libp2p_webrtc_browser::peer::{self, Config, IceServer};

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peer::Behaviour,
}

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn new_peer(keypair: &Keypair) -> Result<(Connections, Behaviour), noise::Error> {
    let us = keypair.public().to_peer_id();
    let (circuits, relay) = relay::client::new(us);
    let relays_and_circuits = websocket_websys::Transport::default()
        .or_transport(circuits)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let config = Config::new(us).with_ice_servers(vec![IceServer::stun("stun:192.0.2.1:3478")]);
    let (direct, webrtc) = peer::new(config);
    // WebRTC first: otherwise the relay client dials `/p2p-circuit/webrtc/…`, and returns a relayed connection.
    let transport = direct
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(relays_and_circuits)
        .map(|either, _| either.into_inner())
        .boxed();
    Ok((transport, Behaviour { relay, webrtc }))
}
