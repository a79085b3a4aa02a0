//! Attacks from one and from several addresses: clients of other addresses get the page, a connection, a reservation and
//! the other peers of their room in time.
#![cfg(target_os = "linux")] // Only Linux routes all of 127.0.0.0/8 to the loopback interface.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr,
    rendezvous::{self, Namespace},
    swarm::SwarmEvent,
};
use relay::{Config, Limits, Relay};
use support::{
    Client, ClientBehaviourEvent,
    http::{UPGRADE, request_text},
    peer_of, websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// How long an honest client may wait, on a machine that runs other tests at the same time. Alone it takes 50 ms.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// Honest clients that must all be served.
const HONEST: usize = 20;
/// Addresses that attack together.
const ATTACKERS: u8 = 8;

fn page_port(relay: &Relay) -> u16 {
    let url = relay.page_url();
    let port = url.trim_end_matches('/').rsplit(':').next();
    port.and_then(|port| port.parse().ok()).expect("a port")
}

/// The addresses of the attackers. Honest clients come from 127.0.0.1.
fn attackers(count: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|number| Ipv4Addr::new(127, 0, 1, number + 1))
}

async fn connect(source: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((source, 0).into()).ok()?;
    let connecting = socket.connect((Ipv4Addr::LOCALHOST, port).into());
    timeout(SERVED_WITHIN, connecting).await.ok()?.ok()
}

/// Opens `count` connections from every attacker, and sends the same incomplete request on all.
async fn hold(port: u16, addresses: u8, count: usize, request: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for source in attackers(addresses) {
        for _ in 0..count {
            if let Some(mut stream) = connect(source, port).await {
                // Fails if the relay closed the connection already.
                let _ = stream.write_all(request).await;
                held.push(stream);
            }
        }
    }
    held
}

/// Whether the page arrives in time.
async fn gets_page(port: u16) -> bool {
    let page = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request =
            format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        std::io::Result::Ok(response.starts_with(b"HTTP/1.1 200 OK"))
    };
    matches!(timeout(SERVED_WITHIN, page).await, Ok(Ok(true)))
}

/// Connects, reserves, registers and discovers. Returns how long that took.
async fn join_room(address: &Multiaddr) -> Duration {
    let start = Instant::now();
    let mut client = Client::connected_to(address).await;
    client.reserve(address).await.expect("a reservation");
    let relay = peer_of(address);
    let room = Namespace::from_static("room");
    let own = "/ip4/192.0.2.1/tcp/1/ws".parse().expect("an address");
    client.swarm.add_external_address(own);
    let rendezvous = &mut client.swarm.behaviour_mut().rendezvous;
    rendezvous
        .register(room.clone(), relay, Some(60))
        .expect("an external address");
    client
        .until("registration", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Rendezvous(
                rendezvous::client::Event::Registered { .. },
            )) => Some(()),
            _ => None,
        })
        .await;
    let rendezvous = &mut client.swarm.behaviour_mut().rendezvous;
    rendezvous.discover(Some(room), None, None, relay);
    client
        .until("discovery", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Rendezvous(
                rendezvous::client::Event::Discovered { .. },
            )) => Some(()),
            _ => None,
        })
        .await;
    start.elapsed()
}

/// Checks that all honest clients are served in time.
async fn serves_honest_clients(relay: &Relay) {
    let (address, port) = (websocket_of(relay), page_port(relay));
    for number in 0..HONEST {
        assert!(gets_page(port).await, "client {number} got no page");
        let took = join_room(&address).await;
        assert!(took < SERVED_WITHIN, "client {number} waited {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_handshakes_shut_nobody_out() {
    for addresses in [1, ATTACKERS] {
        let relay = Relay::start(Config::for_tests(1))
            .await
            .expect("free ports");
        let port = page_port(&relay);
        let host = format!("127.0.0.1:{port}");
        let upgrade = request_text("GET /", &host, &UPGRADE);
        let held = hold(port, addresses, 80, upgrade.as_bytes()).await;
        serves_honest_clients(&relay).await;
        drop(held);
        relay.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_request_heads_do_not_stall_the_page() {
    for (addresses, count) in [(1, 600), (ATTACKERS, 300)] {
        let relay = Relay::start(Config::for_tests(1))
            .await
            .expect("free ports");
        let held = hold(
            page_port(&relay),
            addresses,
            count,
            b"GET / HTTP/1.1\r\nhost: ",
        )
        .await;
        serves_honest_clients(&relay).await;
        drop(held);
        relay.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_few_addresses_leave_reservations() {
    let mut config = Config::for_tests(1);
    config.limits = Limits::for_tabs(1_000);
    config.limits.reservations = 24;
    config.limits.reservations_per_network = 6;
    let relay = Relay::start(config).await.expect("free ports");
    let address = websocket_of(&relay);
    let (mut greedy, mut refused) = (Vec::new(), 0);
    for source in attackers(4) {
        for _ in 0..8 {
            let mut client = Client::from_address(source, &address).await;
            match client.reserve(&address).await {
                Ok(()) => greedy.push(client),
                Err(reason) => {
                    assert!(reason.contains("ResourceLimitExceeded"), "{reason}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((greedy.len(), refused), (24, 8));
    let document = relay_document(page_port(&relay)).await;
    assert!(document.contains("\"full\":false"), "{document}");
    let attack = tokio::spawn(futures::future::join_all(
        greedy
            .into_iter()
            .map(|mut client| async move { client.serve().await }),
    ));
    let mut honest = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connected_to(&address).await;
        client.reserve(&address).await.expect("a reservation");
        honest.push(client);
    }
    attack.abort();
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stun_flood_from_one_address_leaves_others_served() {
    let mut config = Config::for_tests(1);
    // On loopback alone, the relay offers no STUN.
    config.listen_ips = vec![Ipv4Addr::UNSPECIFIED.into()];
    config.limits.stun_burst = 40;
    config.limits.stun_burst_per_network = 10;
    let hour = Duration::from_secs(3_600);
    (
        config.limits.stun_refill,
        config.limits.stun_refill_per_network,
    ) = (hour, hour);
    let relay = Relay::start(config).await.expect("free ports");
    let document = relay_document(page_port(&relay)).await;
    let port = document
        .split("stun:127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split('"').next()?.parse().ok())
        .expect("a STUN port");
    let [flood, honest] = [2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
    assert_eq!(stun_answers(flood, port, 100).await, 10);
    assert_eq!(stun_answers(honest, port, 5).await, 5);
    relay.shutdown().await;
}

async fn relay_document(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("listens");
    let request =
        format!("GET /relay.json HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("text");
    response
}

/// Sends this number of binding requests, and counts the responses.
async fn stun_answers(source: Ipv4Addr, port: u16, requests: usize) -> usize {
    let socket = UdpSocket::bind((source, 0)).await.expect("a free port");
    let server = (Ipv4Addr::LOCALHOST, port);
    socket.connect(server).await.expect("connects");
    // A binding request: type, length, magic cookie, transaction ID (RFC 8489, 5).
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let mut answers = 0;
    for _ in 0..requests {
        socket.send(&request).await.expect("sends");
        let received = timeout(Duration::from_millis(300), socket.recv(&mut [0; 100])).await;
        match received {
            Ok(received) => {
                received.expect("a response");
                answers += 1;
            }
            // From here on the bucket stays empty.
            Err(_) => break,
        }
    }
    answers
}
