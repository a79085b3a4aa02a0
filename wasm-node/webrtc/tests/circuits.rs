//! Dials of circuits for direct connections, with the relay client of rust-libp2p and a relay in the same page.
#![cfg(target_arch = "wasm32")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "patterns of bytes, in the shared module"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the tests need no other events"
)]

mod pair;

use futures::StreamExt;
use futures::future::select;
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, Transport, identity, noise, relay, swarm, yamux};
use libp2p_webrtc_browser::peer::{self, Config, address};
use pair::{assert_no_uncaught_errors, record_uncaught_errors, timeout};
use wasm_bindgen_futures::spawn_local;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peer::Behaviour,
}

fn settings() -> swarm::Config {
    swarm::Config::with_wasm_executor()
        .with_idle_connection_timeout(std::time::Duration::from_secs(60))
}

/// Starts a relay, and returns its address with its peer ID.
async fn start_relay() -> Multiaddr {
    record_uncaught_errors();
    let key = identity::Keypair::generate_ed25519();
    let us = key.public().to_peer_id();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).expect("ed25519"))
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = relay::Behaviour::new(us, relay::Config::default());
    let mut swarm = Swarm::new(transport, behaviour, us, settings());
    let listen = "/memory/0".parse().expect("valid multiaddr");
    swarm.listen_on(listen).expect("memory has room");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.add_external_address(address.clone());
    spawn_local(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    address.with(Protocol::P2p(us))
}

/// A peer that only reaches relays and, through them, other peers.
fn new_peer() -> Swarm<Behaviour> {
    let key = identity::Keypair::generate_ed25519();
    let us = key.public().to_peer_id();
    let (relayed, relay) = relay::client::new(us);
    let (webrtc, upgrades) = peer::new(Config::new(us));
    let relayed = relayed
        .or_transport(MemoryTransport::default())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).expect("ed25519"))
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let transport = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(relayed)
        .map(|either, _| either.into_inner())
        .boxed();
    let webrtc = upgrades;
    Swarm::new(transport, Behaviour { relay, webrtc }, us, settings())
}

/// Starts a peer that others can reach through the relay.
async fn start_reachable_peer(relay: &Multiaddr) -> PeerId {
    let mut swarm = new_peer();
    let us = *swarm.local_peer_id();
    let circuit = relay.clone().with(Protocol::P2pCircuit);
    swarm.listen_on(circuit).expect("listens");
    let reserved = async {
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::NewListenAddr { .. }
        ) {}
    };
    timeout("reservation", Box::pin(reserved)).await;
    spawn_local(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    us
}

/// Dials the direct connection to `peer` over a circuit, or returns why that failed.
async fn dial(swarm: &mut Swarm<Behaviour>, relay: &Multiaddr, peer: PeerId) -> Result<(), String> {
    let target = relay
        .clone()
        .with(Protocol::P2pCircuit)
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer));
    let opts = DialOpts::peer_id(peer)
        .condition(PeerCondition::Always)
        .addresses(vec![target])
        .build();
    let id = opts.connection_id();
    swarm.dial(opts).expect("dial begins");
    let outcome = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { endpoint, .. }
                    if address::is_direct(&endpoint) =>
                {
                    return Ok(());
                }
                SwarmEvent::OutgoingConnectionError {
                    connection_id,
                    error,
                    ..
                } if connection_id == id => return Err(error.to_string()),
                _ => {}
            }
        }
    };
    timeout("dial", Box::pin(outcome)).await
}

#[wasm_bindgen_test]
async fn dial_waits_for_a_reservation_at_its_relay() {
    let relay = start_relay().await;
    let other = start_reachable_peer(&relay).await;
    let mut swarm = new_peer();
    swarm
        .listen_on(relay.clone().with(Protocol::P2pCircuit))
        .expect("listens");
    // The relay client begins to dial the relay.
    let _ = select(swarm.next(), Delay::new(std::time::Duration::ZERO)).await;
    dial(&mut swarm, &relay, other)
        .await
        .expect("connects directly");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn failed_circuit_names_its_cause() {
    let relay = start_relay().await;
    let mut swarm = new_peer();
    let stranger = identity::Keypair::generate_ed25519().public().to_peer_id();
    let refused = dial(&mut swarm, &relay, stranger).await;
    let error = refused.expect_err("the stranger has no reservation");
    assert!(error.contains("no circuit to"), "{error}");
    assert!(
        error.to_lowercase().contains("reservation"),
        "the relay's answer is not in {error}"
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn failed_circuit_names_the_unreachable_relay() {
    record_uncaught_errors();
    let random = || identity::Keypair::generate_ed25519().public().to_peer_id();
    let nowhere = "/memory/1".parse::<Multiaddr>().expect("valid multiaddr");
    let nowhere = nowhere.with(Protocol::P2p(random()));
    let refused = dial(&mut new_peer(), &nowhere, random()).await;
    let error = refused.expect_err("no relay listens there");
    assert!(
        error.contains("the relay could not be dialled"),
        "the relay's failure is not in {error}"
    );
    assert_no_uncaught_errors();
}
