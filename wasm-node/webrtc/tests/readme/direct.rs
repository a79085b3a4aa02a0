use std::error::Error;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::swarm::{Swarm, dummy};
use libp2p::{Multiaddr, SwarmBuilder, Transport as _};
use libp2p_webrtc_browser::direct::{Config, Transport};

fn dial(server: Multiaddr) -> Result<Swarm<dummy::Behaviour>, Box<dyn Error>> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_wasm_bindgen()
        .with_other_transport(|keypair| {
            Transport::new(Config::new(keypair))
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        })?
        .with_behaviour(|_| dummy::Behaviour)?
        .build();
    swarm.dial(server)?;
    Ok(swarm)
}
