//! Sends UDP datagrams whose source addresses are forged. Needs the right to open raw sockets. The figures of
//! `tests/load/webrtc` use this file, too.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The protocol of sockets whose user writes the header of IP. The system adds length and checksum.
const RAW: i32 = 255;
const UDP: u8 = 17;
const IP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// Sends to one target, from any address.
#[derive(Debug)]
pub(crate) struct Forger {
    socket: Socket,
    target: SocketAddrV4,
}

impl Forger {
    /// Needs root, or the capability `CAP_NET_RAW`.
    pub(crate) fn new(target: SocketAddr) -> io::Result<Self> {
        let SocketAddr::V4(target) = target else {
            return Err(io::Error::other("only IPv4 headers are written"));
        };
        Ok(Self {
            socket: Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?,
            target,
        })
    }

    /// Sends a datagram that seems to come from `from`.
    pub(crate) fn send(&self, from: SocketAddrV4, data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("the datagram is too long");
        let length = u16::try_from(UDP_HEADER_LEN + data.len()).map_err(too_long)?;
        let mut packet = vec![0; IP_HEADER_LEN];
        let (version_and_words, time_to_live) = (0x45, 64);
        (packet[0], packet[8], packet[9]) = (version_and_words, time_to_live, UDP);
        packet[12..16].copy_from_slice(&from.ip().octets());
        packet[16..20].copy_from_slice(&self.target.ip().octets());
        // With checksum 0 the receiver checks none.
        for number in [from.port(), self.target.port(), length, 0] {
            packet.extend(number.to_be_bytes());
        }
        packet.extend(data);
        self.socket.send_to(&packet, &SockAddr::from(self.target))?;
        Ok(())
    }
}
