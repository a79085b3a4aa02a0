//! Circuits and reservations, and their limits, with native clients. The end-to-end tests use browsers.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, swarm::SwarmEvent};
use relay::{Config, Limits, Relay};
use support::{
    Client, PATIENCE,
    http::{get, socket_of},
    reserved_clients, webrtc_of, websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

const MIB: usize = 1024 * 1024;
/// More clients than the smallest tables of the relay have room for.
const CROWD: usize = 130;

async fn relay_with(change: impl FnOnce(&mut Limits)) -> Relay {
    let mut config = Config::for_tests(1);
    change(&mut config.limits);
    Relay::start(config).await.expect("free ports")
}

/// `size` bytes without repetition, so lost or reordered parts are noticed.
fn data(size: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect()
}

/// A client dials another one through `relay`, and each sends `bytes` bytes that the other one echoes.
async fn exchange(relay: &Multiaddr, bytes: usize) {
    let [mut caller, mut callee] = two_clients(relay).await;
    let callee_id = callee.peer_id();
    let caller_id = caller.peer_id();
    let sent = data(bytes);

    let there = async {
        caller.dial(relay, callee_id).await?;
        caller.request_echo(callee_id, sent.clone()).await
    };
    let echo = tokio::select! {
        echo = there => echo,
        () = callee.serve() => unreachable!("the server loop never ends"),
    };
    assert!(echo.expect("an echo") == sent, "the echo differs");

    // The other direction, over the same circuit.
    let echo = tokio::select! {
        echo = callee.request_echo(caller_id, sent.clone()) => echo,
        () = caller.serve() => unreachable!("the server loop never ends"),
    };
    assert!(echo.expect("an echo") == sent, "the echo differs");
}

async fn two_clients(relay: &Multiaddr) -> [Client; 2] {
    let clients = reserved_clients(2, relay).await;
    let Ok(clients) = <[Client; 2]>::try_from(clients) else {
        unreachable!("two were requested")
    };
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_clients_behind_one_address_all_reserve() {
    let relay = relay_with(|_| ()).await;
    let clients = reserved_clients(30, &websocket_of(&relay)).await;
    assert_eq!(clients.len(), 30);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_works_on_after_a_crowd_has_left() {
    let mut config = Config::for_tests(1);
    config.metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let relay = Relay::start(config).await.expect("free ports");
    let address = websocket_of(&relay);
    for _ in 0..2 {
        let mut crowd = Vec::new();
        while crowd.len() < CROWD {
            crowd.extend(reserved_clients(26, &address).await);
        }
        drop(crowd);
        let metrics = socket_of(&relay.metrics_url().expect("it serves metrics"));
        timeout(PATIENCE, async {
            let none = "heartchain_relay_connections{transport=\"websocket\"} 0";
            let is_deserted = async || get(metrics, "/metrics", &[]).await.text().contains(none);
            while !is_deserted().await {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("all have left");
        exchange(&address, 10_000).await;
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_circuit_exceeds_default_byte_limit() {
    let relay = relay_with(|_| ()).await;
    exchange(&websocket_of(&relay), MIB + MIB / 4).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_direct_circuit_carries_a_mebibyte_each_way() {
    let relay = relay_with(|_| ()).await;
    exchange(&webrtc_of(&relay), MIB).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn circuit_ends_at_its_byte_limit() {
    let relay = relay_with(|limits| limits.circuit_bytes = 64 * 1024).await;
    let address = websocket_of(&relay);
    let [mut caller, mut callee] = two_clients(&address).await;
    let callee_id = callee.peer_id();
    let too_much = async {
        caller.dial(&address, callee_id).await?;
        caller.request_echo(callee_id, data(MIB)).await
    };
    let echo = tokio::select! {
        echo = too_much => echo,
        () = callee.serve() => unreachable!("the server loop never ends"),
    };
    assert!(echo.is_err());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn circuit_ends_at_its_time_limit() {
    let duration = Duration::from_secs(1);
    let relay = relay_with(|limits| limits.circuit_duration = duration).await;
    let address = websocket_of(&relay);
    let [mut caller, mut callee] = two_clients(&address).await;
    let callee_id = callee.peer_id();
    let closed = async {
        caller.dial(&address, callee_id).await.expect("a circuit");
        caller
            .until("end of the circuit", |event| match event {
                SwarmEvent::ConnectionClosed { peer_id, .. } => {
                    (*peer_id == callee_id).then_some(())
                }
                _ => None,
            })
            .await;
    };
    tokio::select! {
        () = closed => {}
        () = callee.serve() => unreachable!("the server loop never ends"),
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reservation_over_the_limit_is_refused() {
    let relay = relay_with(|limits| limits.reservations = 2).await;
    let address = websocket_of(&relay);
    let held = reserved_clients(2, &address).await;

    let mut third = Client::connected_to(&address).await;
    let refused = third.reserve(&address).await.expect_err("no slot is free");
    assert!(refused.contains("ResourceLimitExceeded"), "{refused}");
    drop(held);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_are_limited_per_peer() {
    let relay = relay_with(|limits| limits.circuits_per_peer = 2).await;
    let address = websocket_of(&relay);
    let mut clients = reserved_clients(4, &address).await;
    let mut caller = clients.pop().expect("four were requested");
    let callees: Vec<_> = clients.iter().map(Client::peer_id).collect();

    let dials = async {
        let mut results = Vec::new();
        for callee in callees {
            results.push(caller.dial(&address, callee).await);
        }
        results
    };
    let serving = futures::future::join_all(clients.iter_mut().map(Client::serve));
    let results = tokio::select! {
        results = dials => results,
        _ = serving => unreachable!("the server loops never end"),
    };
    let [Ok(()), Ok(()), Err(refused)] = &results[..] else {
        panic!("{results:?}");
    };
    assert!(refused.contains("ResourceLimitExceeded"), "{refused}");
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_over_the_limit_is_refused() {
    let relay = relay_with(|limits| limits.connections = 1).await;
    let address = websocket_of(&relay);
    let held = reserved_clients(1, &address).await;

    let mut second = Client::new();
    second.swarm.dial(address).expect("a good address");
    // The client may see the connection established first, because the relay counts it after the handshake.
    second
        .until("refusal", |event| {
            matches!(
                event,
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }
            )
            .then_some(())
        })
        .await;
    drop(held);
    relay.shutdown().await;
}

/// A client that makes a reservation and then stops responding while its sockets stay open: its runtime is no longer
/// driven. A phone with an empty battery looks like this.
fn unresponsive_client(relay: Multiaddr) -> PeerId {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let clients = runtime.block_on(reserved_clients(1, &relay));
        let id = clients.first().expect("one was requested").peer_id();
        std::mem::forget((clients, runtime));
        id
    });
    thread.join().expect("it reserves")
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_peer_loses_its_reservation() {
    for address_of in [websocket_of, webrtc_of] {
        let relay = relay_with(|limits| {
            limits.ping_interval = Duration::from_millis(200);
            limits.idle_timeout = Duration::from_secs(1);
        })
        .await;
        let address = address_of(&relay);
        let mut caller = Client::connected_to(&address).await;
        let unresponsive_id = unresponsive_client(address.clone());

        let refused = loop {
            let outcome = timeout(
                Duration::from_secs(2),
                caller.dial(&address, unresponsive_id),
            )
            .await;
            if let Ok(Err(refused)) = outcome
                && refused.contains("NoReservation")
            {
                break refused;
            }
        };
        assert!(refused.contains("NoReservation"));
        relay.shutdown().await;
    }
}

fn port_of(address: &Multiaddr) -> u16 {
    let text = address.to_string();
    let part = text.split('/').nth(4).expect("a port");
    part.parse().expect("a port")
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_disconnects_peers_and_frees_ports() {
    let mut config = Config::for_tests(1);
    let relay = Relay::start(config.clone()).await.expect("free ports");
    let websocket = websocket_of(&relay);
    (config.http_port, config.webrtc_port) = (port_of(&websocket), port_of(&webrtc_of(&relay)));
    let mut clients = reserved_clients(1, &websocket).await;
    clients.extend(reserved_clients(1, &webrtc_of(&relay)).await);
    let relay_id = relay.peer_id();

    let start = Instant::now();
    relay.shutdown().await;
    for client in &mut clients {
        client
            .until("end of the connection", |event| match event {
                SwarmEvent::ConnectionClosed { peer_id, .. } => {
                    (*peer_id == relay_id).then_some(())
                }
                _ => None,
            })
            .await;
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    let again = Relay::start(config).await.expect("the same ports are free");
    assert_eq!(websocket_of(&again), websocket);
    again.shutdown().await;
}

/// The number of established TCP connections of this computer whose own end is this port of 127.0.0.1.
#[cfg(target_os = "linux")]
fn established(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("readable");
    // Other addresses of this computer may have connections with the same port.
    let own = format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let connections = table.lines().filter(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local == own) && fields.nth(1) == Some("01")
    });
    connections.count()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_http_connections() {
    const CONNECTIONS: usize = 50;
    let relay = relay_with(|_| ()).await;
    let port = port_of(&websocket_of(&relay));
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("open");
        let request = format!("GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        stream.read_u8().await.expect("a response");
        open.push(stream);
    }
    assert_eq!(established(port), CONNECTIONS);
    relay.shutdown().await;
    assert_eq!(established(port), 0);
}
