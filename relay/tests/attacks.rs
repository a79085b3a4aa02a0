//! Attacks from one and from several addresses: clients of other addresses get the page, a connection, a reservation and
//! the other peers of their room in time.
#![cfg(target_os = "linux")] // Only Linux routes all of 127.0.0.0/8 to the loopback interface.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
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
    http::{UPGRADE, get, request_text, socket_of},
    peer_of, websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long an honest client may wait, on a machine that runs other tests at the same time. Alone it takes 50 ms.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// Honest clients that must all be served.
const HONEST: usize = 20;
/// Pause of an attacker that cannot connect.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// Time without a STUN response after which none will come.
const STUN_SILENCE: Duration = Duration::from_secs(1);
/// Addresses that attack together.
const ATTACKERS: u8 = 8;

/// The socket that serves the page.
fn page_of(relay: &Relay) -> SocketAddr {
    socket_of(&relay.page_url())
}

/// The addresses of the attackers. Honest clients come from 127.0.0.1.
fn attackers(count: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|number| Ipv4Addr::new(127, 0, 1, number + 1))
}

async fn connect(source: Ipv4Addr, page: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((source, 0).into()).ok()?;
    let connecting = socket.connect(page);
    timeout(SERVED_WITHIN, connecting).await.ok()?.ok()
}

/// Opens `count` connections from every attacker, and sends the same incomplete request on all. Opens another one for each
/// that the relay closes, until the result is dropped.
async fn hold(page: SocketAddr, addresses: u8, count: usize, request: &[u8]) -> JoinSet<()> {
    let mut attack = JoinSet::new();
    for source in attackers(addresses) {
        for _ in 0..count {
            let request = request.to_vec();
            let mut held = connect(source, page).await;
            attack.spawn(async move {
                loop {
                    match &mut held {
                        Some(stream) => {
                            // Fails if the relay closed the connection already.
                            let _ = stream.write_all(&request).await;
                            let _ = stream.read_to_end(&mut Vec::new()).await;
                        }
                        None => sleep(REOPEN_PAUSE).await,
                    }
                    held = connect(source, page).await;
                }
            });
        }
    }
    attack
}

/// Whether the page arrives in time.
async fn gets_page(page: SocketAddr) -> bool {
    let response = timeout(SERVED_WITHIN, get(page, "/", &[])).await;
    response.is_ok_and(|response| response.status == 200)
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
    let (address, page) = (websocket_of(relay), page_of(relay));
    for number in 0..HONEST {
        assert!(gets_page(page).await, "client {number} got no page");
        let took = join_room(&address).await;
        assert!(took < SERVED_WITHIN, "client {number} waited {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_handshakes_leave_others_served() {
    for addresses in [1, ATTACKERS] {
        let relay = Relay::start(Config::for_tests(1))
            .await
            .expect("free ports");
        let page = page_of(&relay);
        let upgrade = request_text("GET /", &page.to_string(), &UPGRADE);
        let held = hold(page, addresses, 80, upgrade.as_bytes()).await;
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
            page_of(&relay),
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
    let document = get(page_of(&relay), "/relay.json", &[]).await.json();
    assert_eq!(document["full"], false, "{document}");
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
    let document = get(page_of(&relay), "/relay.json", &[]).await.json();
    let server = document["stun"][0].as_str().expect("a STUN server");
    let server = server.trim_start_matches("stun:").parse();
    let server = server.expect("a socket address");
    let flood = send_stun(Ipv4Addr::new(127, 0, 0, 2), server, 100).await;
    let honest = send_stun(Ipv4Addr::new(127, 0, 0, 3), server, 5).await;
    assert_eq!(stun_answers(&honest).await, 5);
    assert_eq!(stun_answers(&flood).await, 10);
    relay.shutdown().await;
}

/// Sends this number of binding requests at once.
async fn send_stun(source: Ipv4Addr, server: SocketAddr, requests: usize) -> UdpSocket {
    let socket = UdpSocket::bind((source, 0)).await.expect("a free port");
    socket.connect(server).await.expect("connects");
    // A binding request: type, length, magic cookie, transaction ID (RFC 8489, 5).
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    for _ in 0..requests {
        socket.send(&request).await.expect("sends");
    }
    socket
}

/// Counts the responses, until none has come for a while.
async fn stun_answers(socket: &UdpSocket) -> usize {
    let mut answers = 0;
    let mut buffer = [0; 100];
    while let Ok(received) = timeout(STUN_SILENCE, socket.recv(&mut buffer)).await {
        received.expect("a response");
        answers += 1;
    }
    answers
}
