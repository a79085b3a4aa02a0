//! Hostile connections from several loopback addresses: some send nothing, others malformed packets.
#![cfg(target_os = "linux")] // Only Linux routes all of 127.0.0.0/8 to the loopback interface.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{io, net::Ipv4Addr, time::Duration};

use libp2p::{Multiaddr, multiaddr::Protocol};
use relay::{Config, Relay};
use stun::{
    agent::TransactionId,
    attributes::ATTR_USERNAME,
    message::{BINDING_REQUEST, Message, Setter},
    textattrs::TextAttribute,
};
use support::{
    Client,
    http::{UPGRADE, request_text},
    webrtc_of, websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// A connection that is still open after this time counts as accepted.
const MOMENT: Duration = Duration::from_millis(500);

fn port_of(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    port.expect("a port")
}

/// Opens a connection from `source` and sends nothing.
async fn connect_silently(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

/// Opens a WebSocket from `source` and sends nothing over it.
async fn open_websocket(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let mut stream = connect_silently(source, port).await?;
    let host = format!("127.0.0.1:{port}");
    let request = request_text("GET /", &host, &UPGRADE);
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
    let address = websocket_of(&relay);
    let port = port_of(&address);
    let (attacker, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));

    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = open_websocket(attacker, port).await.expect("upgrades");
        assert!(!closes(&mut stream).await);
        held.push(stream);
    }
    let mut one_too_many = open_websocket(attacker, port).await.expect("upgrades");
    assert!(!closes(&mut one_too_many).await);
    assert!(closes(&mut held[0]).await, "the oldest of the network");
    held.push(one_too_many);
    let mut other_client = open_websocket(other, port).await.expect("upgrades");
    assert!(!closes(&mut other_client).await);
    // All slots are taken: the largest taker loses its oldest.
    Client::connected_to(&address).await;
    assert!(closes(&mut held[1]).await, "the oldest of the largest");
    assert!(!closes(&mut other_client).await);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_http_connections() {
    let mut config = Config::for_tests(1);
    config.limits.http_connections_per_network = 1;
    let relay = Relay::start(config).await.expect("free ports");
    let address = relay.page_url().to_string();
    let port = address.trim_end_matches('/').rsplit(':').next();
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
    let attacker = Ipv4Addr::new(127, 0, 0, 2);

    let mut held = connect_silently(attacker, port).await.expect("listens");
    assert!(!is_refused(&mut held).await);
    let mut one_too_many = connect_silently(attacker, port).await.expect("listens");
    assert!(is_refused(&mut held).await, "the oldest is evicted");
    assert!(!is_refused(&mut one_too_many).await);
    let mut other_client = connect_silently(Ipv4Addr::new(127, 0, 0, 3), port)
        .await
        .expect("listens");
    assert!(!is_refused(&mut other_client).await);
    relay.shutdown().await;
}

/// The first STUN packet of a WebRTC-direct connection, with this user name.
fn first_webrtc_packet(name: &str) -> Vec<u8> {
    let mut packet = Message::new();
    let name = format!("libp2p+webrtc+v1/{name}");
    let user = TextAttribute::new(ATTR_USERNAME, format!("{name}:{name}"));
    let parts: [Box<dyn Setter>; 3] = [
        Box::new(TransactionId([7; 12])),
        Box::new(BINDING_REQUEST),
        Box::new(user),
    ];
    packet.build(&parts).expect("fits");
    packet.raw
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_webrtc_packets_free_their_slots() {
    let mut config = Config::for_tests(1);
    config.limits.pending_connections = 4;
    let relay = Relay::start(config).await.expect("free ports");
    let port = port_of(&webrtc_of(&relay));
    for number in 0..8 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = socket.expect("a free port");
        // A line break in the user name makes the SDP offer malformed.
        let packet = first_webrtc_packet(&format!("{number}\nq"));
        let sent = socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port)).await;
        sent.expect("sends");
        tokio::time::sleep(MOMENT / 10).await;
    }
    tokio::time::sleep(MOMENT).await;
    let address = websocket_of(&relay);
    let mut stream = open_websocket(Ipv4Addr::LOCALHOST, port_of(&address))
        .await
        .expect("upgrades");
    assert!(!closes(&mut stream).await);
    relay.shutdown().await;
}
