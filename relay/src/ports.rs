//! Which of the ports that the relay needs are taken. All are reported at once, so that the operator has to look only once.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortKind {
    Tcp,
    Udp,
}

/// A port that was requested with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WantedPort {
    pub(crate) kind: PortKind,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// The command-line flag for this port.
    pub(crate) flag: &'static str,
}

/// Ports that other programs use.
#[derive(Debug, PartialEq, Eq)]
pub struct TakenPorts(Vec<WantedPort>);

impl TakenPorts {
    /// The ports that cannot be bound because they are in use; `None` if there is no such port. Port 0 is free.
    pub(crate) fn among(wanted: &[WantedPort]) -> Option<Self> {
        let taken: Vec<_> = wanted
            .iter()
            .copied()
            .filter(WantedPort::is_taken)
            .collect();
        (!taken.is_empty()).then_some(Self(taken))
    }
}

impl WantedPort {
    fn is_taken(&self) -> bool {
        let address = SocketAddr::new(self.ip, self.port);
        let bound = match self.kind {
            PortKind::Tcp => TcpListener::bind(address).map(drop),
            PortKind::Udp => UdpSocket::bind(address).map(drop),
        };
        self.port != 0 && bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    }
}

impl fmt::Display for WantedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PortKind::Tcp => "TCP",
            PortKind::Udp => "UDP",
        };
        write!(f, "{kind} port {} on {}", self.port, self.ip)
    }
}

impl fmt::Display for TakenPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [port] = self.0.as_slice() {
            let flag = port.flag;
            return write!(
                f,
                "{port} is already in use: choose another port with {flag}, or a free one with {flag} 0"
            );
        }
        for (number, port) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{port} ({})", port.flag)?;
        }
        f.write_str(" are already in use: choose other ports with these flags, or free ones with 0")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn wanted(kind: PortKind, port: u16, flag: &'static str) -> WantedPort {
        WantedPort {
            kind,
            ip: IP,
            port,
            flag,
        }
    }

    #[test]
    fn all_taken_ports_are_named() {
        let tcp_socket = TcpListener::bind((IP, 0)).expect("a free port");
        let udp_socket = UdpSocket::bind((IP, 0)).expect("a free port");
        let tcp = tcp_socket.local_addr().expect("bound").port();
        let udp = udp_socket.local_addr().expect("bound").port();
        let ports = [
            wanted(PortKind::Tcp, 0, "--free"),
            wanted(PortKind::Tcp, tcp, "--a"),
            wanted(PortKind::Udp, udp, "--b"),
        ];
        assert_eq!(TakenPorts::among(&ports[..1]), None);
        let taken = TakenPorts::among(&ports).expect("two are taken");
        assert_eq!(
            taken.to_string(),
            format!(
                "TCP port {tcp} on 127.0.0.1 (--a), UDP port {udp} on 127.0.0.1 (--b) are already in use: \
                 choose other ports with these flags, or free ones with 0"
            )
        );
        let one = TakenPorts::among(&ports[..2]).expect("one is taken");
        assert_eq!(
            one.to_string(),
            format!(
                "TCP port {tcp} on 127.0.0.1 is already in use: choose another port with --a, or a free one with --a 0"
            )
        );
    }
}
