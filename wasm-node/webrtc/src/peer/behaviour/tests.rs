//! Tests of the behaviour, either alone with simulated swarm events, or in two swarms of one page. An in-memory
//! connection between the swarms is the carrier, in place of a relayed connection.

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
use crate::StreamConfig;
use crate::peer::RETRY_AFTER;

wasm_bindgen_test_configure!(run_in_browser);

/// Time limit of a test with two swarms.
const TIME_LIMIT: Duration = Duration::from_secs(30);

#[wasm_bindgen_test]
fn negotiations_without_a_carrier_are_bounded() {
    let peer = PeerId::random();
    let (_transport, mut behaviour) = crate::peer::new(Config::new(peer));
    let mut context = Context::from_waker(std::task::Waker::noop());
    // Offers and answers are limited separately, so hanging answers leave room for this side's offers.
    for (offered, others) in [(false, 0), (true, MAX_NEGOTIATIONS)] {
        for number in 0..2 * MAX_NEGOTIATIONS {
            let orphan = Orphan {
                peer,
                carrier: ConnectionId::new_unchecked(number),
                offered,
                negotiation: SendWrapper::new(pending().boxed_local()),
            };
            behaviour
                .orphan_sender
                .try_send(orphan)
                .expect("the channel has room");
            behaviour.poll_orphans(&mut context);
            let orphans = behaviour.orphans.len();
            assert_eq!(orphans, others + (number + 1).min(MAX_NEGOTIATIONS));
        }
    }
}

#[wasm_bindgen_test]
fn denied_connection_is_closed_and_retried() {
    let (us, peer) = (PeerId::random(), PeerId::random());
    let (_transport, mut behaviour) = crate::peer::new(Config::new(us));
    let carrier = ConnectionId::new_unchecked(1);
    behaviour
        .upgrades
        .carrier_opened(peer, carrier, Initiator::Us);
    let start = monotonic_now();
    behaviour.start_offers(start);
    assert!(
        matches!(
            behaviour.actions.pop_front(),
            Some(ToSwarm::NotifyHandler {
                event: Command::Offer(_),
                ..
            })
        ),
        "an offer is sent"
    );

    let peer_connection = RtcPeerConnection::new().expect("a peer connection");
    let connection = Connection::from_peer_connection(peer_connection.clone(), StreamConfig::SPEC);
    behaviour.on_offer_succeeded(peer, carrier, connection);
    let Some(ToSwarm::Dial { opts }) = behaviour.actions.pop_front() else {
        panic!("no dial to pick up the connection");
    };
    let error = SwarmDialError::Aborted;
    behaviour.on_swarm_event(FromSwarm::DialFailure(DialFailure {
        peer_id: Some(peer),
        error: &error,
        connection_id: opts.connection_id(),
    }));
    let state = peer_connection.connection_state();
    assert_eq!(state, RtcPeerConnectionState::Closed);
    behaviour.start_offers(start);
    assert!(behaviour.actions.is_empty(), "not at once");
    let due = behaviour.upgrades.next_due().expect("a retry is scheduled");
    assert!(due >= start.saturating_add(RETRY_AFTER[0]));
    behaviour.start_offers(due);
    assert_eq!(behaviour.actions.len(), 1, "the offer is repeated");
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other events do not matter here"
)]
#[wasm_bindgen_test]
async fn late_stream_does_not_disturb_a_running_offer() {
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

    let time_limit = Delay::new(TIME_LIMIT);
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
                    // The first stream to open serves the second offer, and the other stream arrives late.
                    let behaviour = ours.behaviour_mut();
                    for command in [
                        Command::Offer(Vec::new()),
                        Command::CancelOffer,
                        Command::Offer(Vec::new()),
                    ] {
                        behaviour.send_command(peer_id, connection_id, command);
                    }
                }
                SwarmEvent::Behaviour(Event::Failed { error, .. }) => return Err(error),
                SwarmEvent::Behaviour(Event::Connected { .. }) => return Ok(()),
                _ => {}
            }
        }
    });
    match select(met, time_limit).await {
        Either::Left((met, _)) => met.expect("the running offer succeeds"),
        Either::Right(_) => panic!("no direct connection"),
    }
}

/// A swarm that treats in-memory connections as relayed ones, and sends offers only on command.
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
    let settings = swarm::Config::with_wasm_executor().with_idle_connection_timeout(TIME_LIMIT);
    Swarm::new(transport, behaviour, us, settings)
}
