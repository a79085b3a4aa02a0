//! Connections that say nothing, from two addresses of this machine.
#![cfg(target_os = "linux")] // Only there is every 127.x.y.z an address of this machine.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{io, net::Ipv4Addr, time::Duration};

use libp2p::multiaddr::Protocol;
use relay::{Config, Relay};
use support::{Client, websocket_of};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Silence for so long is taken for a handshake that goes on.
const MOMENT: Duration = Duration::from_millis(500);

/// Opens a connection from `source` and says nothing.
async fn silent(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

/// Whether the relay has closed this connection, or does so at once.
async fn is_refused(stream: &mut TcpStream) -> bool {
    timeout(MOMENT, stream.read(&mut [0])).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_places_for_handshakes() {
    let mut config = Config::for_tests(1);
    config.limits.pending_connections = 4;
    config.limits.pending_connections_per_network = 3;
    let relay = Relay::start(config).await.expect("free ports");
    let address = websocket_of(&relay);
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let port = port.expect("a port");
    let (greedy, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));

    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = silent(greedy, port).await.expect("listens");
        assert!(!is_refused(&mut stream).await);
        held.push(stream);
    }
    let mut one_too_many = silent(greedy, port).await.expect("listens");
    assert!(is_refused(&mut one_too_many).await);
    let mut stranger = silent(other, port).await.expect("listens");
    assert!(!is_refused(&mut stranger).await);

    drop((held, stranger));
    Client::connected_to(&address).await;
    relay.shutdown().await;
}
