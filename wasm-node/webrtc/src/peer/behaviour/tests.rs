//! What the behaviour keeps, gives up and tries again, as the swarm would report it; and two swarms in one page, connected
//! in memory as if through a relay.

use futures::future::{Either, pending, select};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::{Transport as _, upgrade};
use libp2p::{identity, noise, swarm, yamux};
use libp2p_swarm::behaviour::DialFailure;
use libp2p_swarm::{DialError as SwarmDialError, Swarm, SwarmEvent};
use send_wrapper::SendWrapper;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{RtcPeerConnection, RtcPeerConnectionState};

use super::*;
use crate::config::StreamConfig;
use crate::peer::RETRY_AFTER;

wasm_bindgen_test_configure!(run_in_browser);

/// How long two swarms in one page may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[wasm_bindgen_test]
fn negotiations_without_a_carrier_are_bounded() {
    let peer = PeerId::random();
    let (_transport, mut behaviour) = crate::peer::new(Config::new(peer));
    let mut context = Context::from_waker(std::task::Waker::noop());
    // Answers that hang leave room for what this side offered.
    for (offered, others) in [(false, 0), (true, MAX_NEGOTIATIONS)] {
        for number in 0..2 * MAX_NEGOTIATIONS {
            let orphan = Orphan {
                peer,
                carrier: ConnectionId::new_unchecked(number),
                offered,
                negotiation: SendWrapper::new(pending().boxed_local()),
            };
            behaviour.orphaned.try_send(orphan).expect("it has a place");
            behaviour.poll_surviving(&mut context);
            let surviving = behaviour.surviving.len();
            assert_eq!(surviving, others + (number + 1).min(MAX_NEGOTIATIONS));
        }
    }
}

#[wasm_bindgen_test]
fn a_connection_that_the_swarm_has_no_room_for_is_closed_and_offered_again() {
    let (us, peer) = (PeerId::random(), PeerId::random());
    let (_transport, mut behaviour) = crate::peer::new(Config::new(us));
    let carrier = ConnectionId::new_unchecked(1);
    behaviour.upgrades.carrier_opened(peer, carrier, Caller::Us);
    let began = monotonic_now();
    behaviour.begin_offers(began);
    assert!(
        matches!(
            behaviour.actions.pop_front(),
            Some(ToSwarm::NotifyHandler {
                event: Order::Offer(_),
                ..
            })
        ),
        "it is offered"
    );

    let peer_connection = RtcPeerConnection::new().expect("a peer connection");
    let connection = Connection::from_peer_connection(peer_connection.clone(), StreamConfig::SPEC);
    behaviour.on_offered(peer, carrier, connection);
    let Some(ToSwarm::Dial { opts }) = behaviour.actions.pop_front() else {
        panic!("the swarm is asked to take it");
    };
    let error = SwarmDialError::Aborted;
    behaviour.on_swarm_event(FromSwarm::DialFailure(DialFailure {
        peer_id: Some(peer),
        error: &error,
        connection_id: opts.connection_id(),
    }));
    let state = peer_connection.connection_state();
    assert_eq!(state, RtcPeerConnectionState::Closed);
    behaviour.begin_offers(began);
    assert!(behaviour.actions.is_empty(), "not at once");
    let due = behaviour.upgrades.due().expect("another is due");
    assert!(due >= began.saturating_add(RETRY_AFTER[0]));
    behaviour.begin_offers(due);
    assert_eq!(behaviour.actions.len(), 1, "offered again");
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a swarm tells more than this test asks"
)]
#[wasm_bindgen_test]
async fn a_stream_that_comes_too_late_leaves_the_offer_that_runs_alone() {
    let (mut ours, mut theirs) = (node(), node());
    theirs
        .listen_on("/memory/0".parse().expect("valid multiaddr"))
        .expect("memory has room");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = theirs.select_next_some().await {
            break address;
        }
    };
    ours.dial(address).expect("a dial");

    let patience = Delay::new(PATIENCE);
    let met = Box::pin(async {
        loop {
            let next = select(ours.select_next_some(), theirs.select_next_some()).await;
            let Either::Left((event, _)) = next else {
                continue;
            };
            match event {
                SwarmEvent::ConnectionEstablished {
                    peer_id,
                    connection_id,
                    endpoint,
                    ..
                } if !is_direct(&endpoint) => {
                    // The stream of the first offer serves the second one, whose own stream is the late one.
                    let behaviour = ours.behaviour_mut();
                    for order in [
                        Order::Offer(Vec::new()),
                        Order::GiveUp,
                        Order::Offer(Vec::new()),
                    ] {
                        behaviour.order(peer_id, connection_id, order);
                    }
                }
                SwarmEvent::Behaviour(Event::Failed { error, .. }) => return Err(error),
                SwarmEvent::Behaviour(Event::Connected { .. }) => return Ok(()),
                _ => {}
            }
        }
    });
    match select(met, patience).await {
        Either::Left((met, _)) => met.expect("the offer runs on"),
        Either::Right(_) => panic!("no direct connection"),
    }
}

/// A swarm that takes its connections in memory for relayed ones, and offers only what it is told.
fn node() -> Swarm<Behaviour> {
    let key = identity::Keypair::generate_ed25519();
    let us = key.public().to_peer_id();
    let config = Config::new(us)
        .with_automatic_upgrades(false)
        .with_offers_on(|endpoint| !is_direct(endpoint));
    let (webrtc, behaviour) = crate::peer::new(config);
    let memory = MemoryTransport::default()
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(&key).expect("ed25519"))
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let transport = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(memory)
        .map(|either, _| either.into_inner())
        .boxed();
    let settings = swarm::Config::with_wasm_executor().with_idle_connection_timeout(PATIENCE);
    Swarm::new(transport, behaviour, us, settings)
}
