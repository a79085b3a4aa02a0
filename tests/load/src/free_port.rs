//! A port for a program that cannot choose one itself.

use std::{
    io::Result,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

/// A port of 127.0.0.1 that the system gives to no one else for a minute.
///
/// A port that is only bound and released again is the next program's as soon as that asks for any port. So the port is left
/// in TIME-WAIT (RFC 9293, section 3.6.1) by a connection that its server closes first. Then only programs that name it can
/// bind it, if they set `SO_REUSEADDR`, as servers do.
pub(crate) fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?;
    let client = TcpStream::connect(port)?;
    let (server, _) = listener.accept()?;
    drop(server);
    drop(client);
    Ok(port)
}
