//! Registering in a room and discovering the peers there, with native clients.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    rendezvous::{ErrorCode, Namespace, client::Event},
    swarm::SwarmEvent,
};
use relay::{Config, Limits, Relay};
use support::{Client, ClientBehaviourEvent, websocket_of};

const ROOM: &str = "heartchain/2/00";

async fn relay_with(change: impl FnOnce(&mut Limits)) -> Relay {
    let mut config = Config::for_tests(1);
    change(&mut config.limits);
    Relay::start(config).await.expect("free ports")
}

async fn connected(relay: &Relay) -> Client {
    Client::connected_to(&websocket_of(relay)).await
}

fn room(name: &str) -> Namespace {
    Namespace::new(name.to_owned()).expect("a short name")
}

/// Registers the client and returns the granted time to live.
async fn register(
    client: &mut Client,
    relay: &Relay,
    ttl: Option<Duration>,
) -> Result<Duration, ErrorCode> {
    let address = "/ip4/192.0.2.1/tcp/1/ws".parse().expect("an address");
    client.swarm.add_external_address(address);
    client
        .swarm
        .behaviour_mut()
        .rendezvous
        .register(room(ROOM), relay.peer_id(), ttl.map(|ttl| ttl.as_secs()))
        .expect("it has an address");
    client
        .until("response to a registration", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Rendezvous(event)) => match event {
                Event::Registered { ttl, .. } => Some(Ok(Duration::from_secs(*ttl))),
                Event::RegisterFailed { error, .. } => Some(Err(*error)),
                _ => None,
            },
            _ => None,
        })
        .await
}

async fn discover(client: &mut Client, relay: &Relay, name: &str) -> Vec<PeerId> {
    client
        .swarm
        .behaviour_mut()
        .rendezvous
        .discover(Some(room(name)), None, None, relay.peer_id());
    client
        .until("discovery", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Rendezvous(Event::Discovered {
                registrations,
                ..
            })) => Some(
                registrations
                    .iter()
                    .map(|registration| registration.record.peer_id())
                    .collect(),
            ),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_peer_is_discovered_until_expiry() {
    let ttl = Duration::from_secs(2);
    let relay = relay_with(|limits| limits.registration_min_ttl = ttl).await;
    let (mut first, mut second) = (connected(&relay).await, connected(&relay).await);

    assert_eq!(register(&mut first, &relay, Some(ttl)).await, Ok(ttl));
    assert_eq!(discover(&mut second, &relay, ROOM).await, [first.peer_id()]);
    assert_eq!(discover(&mut second, &relay, "another room").await, []);

    second
        .until("end of the registration", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Rendezvous(Event::Expired { peer })) => {
                Some(*peer)
            }
            _ => None,
        })
        .await;
    // The relay's registration may expire some milliseconds after the client's.
    for _ in 0..100 {
        if discover(&mut second, &relay, ROOM).await.is_empty() {
            relay.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn ttl_is_kept_within_the_limits() {
    let limits = Limits::default();
    let relay = relay_with(|_| ()).await;
    let mut client = connected(&relay).await;
    let second = Duration::from_secs(1);
    let (min, max) = (limits.registration_min_ttl, limits.registration_max_ttl);

    for (requested, granted) in [
        (Some(min - second), Err(ErrorCode::InvalidTtl)),
        (Some(min), Ok(min)),
        (Some(max), Ok(max)),
        (Some(max + second), Ok(max)),
        // The default in the protocol is two hours, which the relay shortens.
        (None, Ok(max)),
    ] {
        let response = register(&mut client, &relay, requested).await;
        assert_eq!(response, granted, "{requested:?}");
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnected_peer_is_not_discovered() {
    let relay = relay_with(|_| ()).await;
    let (mut leaving, mut staying) = (connected(&relay).await, connected(&relay).await);
    let ttl = Some(Duration::from_secs(120));
    for client in [&mut leaving, &mut staying] {
        register(client, &relay, ttl)
            .await
            .expect("within the limits");
    }
    let both = [leaving.peer_id(), staying.peer_id()];
    assert_eq!(discover(&mut staying, &relay, ROOM).await, both);

    drop(leaving);
    // The operating system determines how soon the relay notices.
    for _ in 0..100 {
        if discover(&mut staying, &relay, ROOM).await == [staying.peer_id()] {
            relay.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_record_is_rejected() {
    let relay = relay_with(|_| ()).await;
    let (mut honest, mut attacker) = (connected(&relay).await, connected(&relay).await);
    // A record of half a megabyte would make each response too long for a tab.
    for letter in 'a'..='p' {
        let name = letter.to_string().repeat(32 * 1024);
        let address = Multiaddr::empty().with(Protocol::Dns(name.into()));
        attacker.swarm.add_external_address(address);
    }
    let ttl = Some(Duration::from_secs(120));
    let refused = register(&mut attacker, &relay, ttl).await;
    assert!(refused.is_err(), "{refused:?}");
    register(&mut honest, &relay, ttl)
        .await
        .expect("a short record");
    let room = discover(&mut honest, &relay, ROOM).await;
    assert_eq!(room, [honest.peer_id()]);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_floods_requests_is_disconnected() {
    let relay = relay_with(|limits| limits.rendezvous_requests_per_window = 3).await;
    let mut client = connected(&relay).await;
    for _ in 0..3 {
        discover(&mut client, &relay, ROOM).await;
    }
    client
        .swarm
        .behaviour_mut()
        .rendezvous
        .discover(Some(room(ROOM)), None, None, relay.peer_id());
    client
        .until("end of the connection", |event| {
            matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
        })
        .await;
    relay.shutdown().await;
}
