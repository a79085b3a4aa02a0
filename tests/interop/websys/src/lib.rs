//! A page that dials servers of WebRTC-direct by `libp2p-webrtc-websys` of rust-libp2p, which speaks version 1.

#![cfg(target_arch = "wasm32")]

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, identity, ping, webrtc_websys};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// Pings of one connection.
const PINGS: usize = 3;

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Connects with new keys, pings, and closes the connection. Returns the agent that the server has named.
///
/// # Errors
/// If the dial or a protocol fails.
#[wasm_bindgen]
pub async fn visit(address: String) -> Result<String, JsError> {
    let address: Multiaddr = address.parse()?;
    let mut swarm = swarm()?;
    swarm.dial(address)?;
    let (mut agent, mut pings) = (None, 0);
    while agent.is_none() || pings < PINGS {
        match swarm.select_next_some().await {
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            SwarmEvent::ConnectionClosed { cause, .. } => {
                return Err(JsError::new(&format!("the connection closed: {cause:?}")));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                info,
                ..
            })) => agent = Some(info.agent_version),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => {
                event.result?;
                pings += 1;
            }
            _ => {}
        }
    }
    Ok(agent.unwrap_or_default())
}

fn swarm() -> Result<Swarm<Behaviour>, JsError> {
    let keypair = identity::Keypair::generate_ed25519();
    let identify = identify::Config::new("/interop/1".to_owned(), keypair.public());
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_wasm_bindgen()
        .with_other_transport(|keypair| {
            webrtc_websys::Transport::new(webrtc_websys::Config::new(keypair)).boxed()
        })?
        .with_behaviour(|_| Behaviour {
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(Duration::from_millis(100)),
            ),
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(10)))
        .build();
    Ok(swarm)
}
