//! Hostile connections from several loopback addresses: some send nothing, others malformed packets.
#![cfg(target_os = "linux")] // Only Linux routes all of 127.0.0.0/8 to the loopback interface.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use libp2p_webrtc_direct::stun::binding_request;
use relay::{Config, Relay};
use support::{
    Client,
    http::{UPGRADE, request_text, socket_of},
    port_of, webrtc_of, websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// A connection that is still open after this time counts as accepted.
const MOMENT: Duration = Duration::from_millis(500);

/// The socket of the page and of WebSockets.
fn page_of(relay: &Relay) -> SocketAddr {
    socket_of(&relay.page_url())
}

/// Opens a connection from `source` and sends nothing.
async fn connect_silently(source: Ipv4Addr, page: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(page).await
}

/// Opens a WebSocket from `source` and sends nothing over it.
async fn open_websocket(source: Ipv4Addr, page: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect_silently(source, page).await?;
    let request = request_text("GET /", &page.to_string(), &UPGRADE);
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    Ok(stream)
}

/// Whether the relay closes this connection within [`MOMENT`]. Its first message may come before.
async fn closes(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(MOMENT, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Whether the relay closes this connection within [`MOMENT`].
async fn is_refused(stream: &mut TcpStream) -> bool {
    timeout(MOMENT, stream.read(&mut [0])).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_handshake_slots() {
    let mut config = Config::for_tests(1);
    config.limits.pending_connections = 4;
    config.limits.pending_connections_per_network = 3;
    let relay = Relay::start(config).await.expect("free ports");
    let page = page_of(&relay);
    let (attacker, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));

    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = open_websocket(attacker, page).await.expect("upgrades");
        assert!(!closes(&mut stream).await);
        held.push(stream);
    }
    let mut one_too_many = open_websocket(attacker, page).await.expect("upgrades");
    assert!(!closes(&mut one_too_many).await);
    assert!(closes(&mut held[0]).await, "the oldest of the network");
    held.push(one_too_many);
    let mut other_client = open_websocket(other, page).await.expect("upgrades");
    assert!(!closes(&mut other_client).await);
    // All slots are taken: the largest taker loses its oldest.
    Client::connected_to(&websocket_of(&relay)).await;
    assert!(closes(&mut held[1]).await, "the oldest of the largest");
    assert!(!closes(&mut other_client).await);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_http_connections() {
    let mut config = Config::for_tests(1);
    config.limits.http_connections_per_network = 1;
    let relay = Relay::start(config).await.expect("free ports");
    let page = page_of(&relay);
    let attacker = Ipv4Addr::new(127, 0, 0, 2);

    let mut held = connect_silently(attacker, page).await.expect("listens");
    assert!(!is_refused(&mut held).await);
    let mut one_too_many = connect_silently(attacker, page).await.expect("listens");
    assert!(is_refused(&mut held).await, "the oldest is evicted");
    assert!(!is_refused(&mut one_too_many).await);
    let mut other_client = connect_silently(Ipv4Addr::new(127, 0, 0, 3), page)
        .await
        .expect("listens");
    assert!(!is_refused(&mut other_client).await);
    relay.shutdown().await;
}

/// A packet without a valid name and code is dropped before anything is set aside for it. Otherwise a single host could
/// push all handshakes out.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_webrtc_packets_take_no_slots() {
    let mut config = Config::for_tests(1);
    config.limits.pending_connections = 1;
    let relay = Relay::start(config).await.expect("free ports");
    let webrtc = webrtc_of(&relay);
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&webrtc)));
    let mut held = open_websocket(Ipv4Addr::LOCALHOST, page_of(&relay))
        .await
        .expect("upgrades");
    for number in 0..8 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = socket.expect("a free port");
        // A line break in the name would make an SDP offer malformed. The code of the packet is right.
        let name = format!("libp2p+webrtc+v1/{number}\nq");
        let packet = binding_request([7; 12], &format!("{name}:{name}"), &name, 1);
        socket.send_to(&packet, server).await.expect("sends");
        let answer = timeout(MOMENT / 10, socket.recv(&mut [0; 256])).await;
        assert!(answer.is_err(), "the relay answers {name:?}");
    }
    assert!(!closes(&mut held).await, "it lost its slot");
    // A handshake takes the only slot.
    Client::connected_to(&webrtc).await;
    assert!(closes(&mut held).await, "it has the slot");
    relay.shutdown().await;
}
