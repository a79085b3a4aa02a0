//! Binds the relay's own sockets: one for each address, all with the same port. Sockets for IPv6 take no IPv4 packets, so
//! that clients have the same address on every system; `::` is therefore two sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// Connections that may wait to be accepted. The system may allow fewer.
const BACKLOG: i32 = 1024;
/// How often a free port is chosen, if it is not free for every address.
const FREE_PORT_ATTEMPTS: usize = 8;

/// An address that cannot be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) ip: IpAddr,
    pub(crate) source: io::Error,
}

/// The addresses to bind: `::` stands for IPv4, too.
pub(crate) fn expand(listen_ips: &[IpAddr]) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in listen_ips {
        let implied = *ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let implied = implied.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        for ip in [*ip].into_iter().chain(implied) {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
    }
    ips
}

/// Listens on every address. Returns the listeners and their port.
pub(crate) fn bind_tcp(ips: &[IpAddr], port: u16) -> Result<(Vec<TcpListener>, u16), BindError> {
    bind_all(ips, port, |address| {
        let socket = bind(address, Type::STREAM, Protocol::TCP)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })
}

/// Binds a UDP socket for every address. Returns the sockets and their port.
pub(crate) fn bind_udp(ips: &[IpAddr], port: u16) -> Result<(Vec<UdpSocket>, u16), BindError> {
    bind_all(ips, port, |address| {
        let socket = bind(address, Type::DGRAM, Protocol::UDP)?;
        UdpSocket::from_std(socket.into())
    })
}

/// What has an address of its own.
trait Bound {
    fn address(&self) -> io::Result<SocketAddr>;
}

impl Bound for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Bound for UdpSocket {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

fn bind_all<S: Bound>(
    ips: &[IpAddr],
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<(Vec<S>, u16), BindError> {
    let mut attempt = 1;
    loop {
        match bind_once(ips, port, &bind) {
            // The system chose a port that is taken for another address.
            Err(error)
                if port == 0
                    && attempt < FREE_PORT_ATTEMPTS
                    && error.source.kind() == io::ErrorKind::AddrInUse =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn bind_once<S: Bound>(
    ips: &[IpAddr],
    mut port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<(Vec<S>, u16), BindError> {
    let mut sockets = Vec::new();
    let mut unsupported = None;
    for ip in ips {
        let failed = |source| BindError { ip: *ip, source };
        match bind(SocketAddr::new(*ip, port)) {
            Ok(socket) => {
                port = socket.address().map_err(failed)?.port();
                sockets.push(socket);
            }
            // A computer need not have both versions of IP.
            Err(source) if ip.is_unspecified() && is_unsupported(&source) => {
                unsupported = Some(failed(source));
            }
            Err(source) => return Err(failed(source)),
        }
    }
    match unsupported {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok((sockets, port)),
    }
}

/// Whether the error means that this computer lacks a version of IP. The error for that differs between systems.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Unix, connections from before must not keep the port in use after a restart. On Windows this option would let
    // two programs use one port.
    if cfg!(unix) && kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        let ips = texts.iter().map(|text| text.parse().expect("an address"));
        ips.collect()
    }

    #[test]
    fn unspecified_ipv6_stands_for_both() {
        for (given, expected) in [
            (vec!["127.0.0.1"], vec!["127.0.0.1"]),
            (vec!["::"], vec!["::", "0.0.0.0"]),
            (vec!["0.0.0.0", "::"], vec!["0.0.0.0", "::"]),
            (vec!["::1", "::1"], vec!["::1"]),
        ] {
            assert_eq!(expand(&ips(&given)), ips(&expected));
        }
    }

    #[tokio::test]
    async fn all_addresses_have_one_port() {
        let (listeners, port) = bind_tcp(&ips(&["::", "0.0.0.0"]), 0).expect("free ports");
        assert_eq!(listeners.len(), 2);
        for listener in &listeners {
            assert_eq!(listener.local_addr().expect("bound").port(), port);
        }
        let taken = bind_tcp(&ips(&["127.0.0.1"]), port).expect_err("it is taken");
        assert_eq!(taken.source.kind(), io::ErrorKind::AddrInUse);
        let (sockets, port) = bind_udp(&ips(&["127.0.0.1", "::1"]), 0).expect("free ports");
        for socket in &sockets {
            assert_eq!(socket.local_addr().expect("bound").port(), port);
        }
    }
}
