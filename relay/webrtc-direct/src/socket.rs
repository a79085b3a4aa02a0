//! Binds the sockets of listeners and dialled connections.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Bytes of the buffer for a datagram. Longer ones are cut, and then do not decrypt; no path of the Internet carries them.
pub(crate) const MAX_DATAGRAM: usize = 2_048;
/// Bytes that the system keeps for the socket, if it allows as many: what arrives in 0.2 s at 20 MiB/s.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Binds a socket. One for IPv6 does not accept IPv4, so that both can be bound to the same port. Must be called within a
/// tokio runtime.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A smaller buffer only loses more datagrams under load.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer of a socket keeps its size");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
