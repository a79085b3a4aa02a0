//! The network that processes run in: this computer's own, or a network namespace, which acts as a separate computer.
//! Does not create namespaces.

use std::{io, net::SocketAddr, thread};

use anyhow::{Context as _, Result, anyhow};
use tokio::{net::TcpStream, process::Command};

/// A network environment for processes and connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    namespace: Option<String>,
}

impl Host {
    /// A host in the namespace of this name, as `ip netns` lists it.
    #[allow(dead_code, reason = "for the tests in namespaces")]
    pub(crate) fn namespace(name: &str) -> Self {
        Self {
            namespace: Some(name.to_owned()),
        }
    }

    /// A command that runs on this host. `ip netns exec` replaces itself with the program, so signals reach it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(name) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }

    /// Connects to an address as seen from this host.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let Some(name) = self.namespace.clone() else {
            return Ok(TcpStream::connect(address).await?);
        };
        let connecting = thread::spawn(move || connect_in(&name, address));
        let joined = tokio::task::spawn_blocking(move || connecting.join()).await?;
        let stream = joined.map_err(|_| anyhow!("the connecting thread panicked"))?;
        let stream =
            stream.with_context(|| format!("cannot connect to {address} in the namespace"))?;
        Ok(TcpStream::from_std(stream)?)
    }
}

/// Must run on a separate thread, because it moves the thread into the namespace. A socket stays in the namespace in
/// which it was created.
#[cfg(target_os = "linux")]
fn connect_in(name: &str, address: SocketAddr) -> io::Result<std::net::TcpStream> {
    use rustix::{
        fd::AsFd as _,
        thread::{LinkNameSpaceType, move_into_link_name_space},
    };
    let namespace = std::fs::File::open(format!("/run/netns/{name}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(not(target_os = "linux"))]
fn connect_in(_: &str, _: SocketAddr) -> io::Result<std::net::TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}
