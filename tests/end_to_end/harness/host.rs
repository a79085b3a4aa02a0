//! Where processes run and what they reach: this computer as it is, or a network namespace, which is a computer of its
//! own as far as the network goes. Never makes a namespace.

use std::{io, net::SocketAddr, thread};

use anyhow::{Context as _, Result, anyhow};
use tokio::{net::TcpStream, process::Command};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    namespace: Option<String>,
}

impl Host {
    /// The namespace of this name, as `ip netns` has it.
    #[allow(dead_code, reason = "for the tests in namespaces")]
    pub(crate) fn namespace(name: &str) -> Self {
        Self {
            namespace: Some(name.to_owned()),
        }
    }

    /// A command that runs there. `ip netns exec` becomes the program, so that signals reach it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(name) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }

    /// Connects to an address there.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let Some(name) = self.namespace.clone() else {
            return Ok(TcpStream::connect(address).await?);
        };
        let connecting = thread::spawn(move || connect_in(&name, address));
        let joined = tokio::task::spawn_blocking(move || connecting.join()).await?;
        let stream = joined.map_err(|_| anyhow!("the connecting thread broke"))?;
        let stream = stream.with_context(|| format!("cannot connect to {address} there"))?;
        Ok(TcpStream::from_std(stream)?)
    }
}

/// To be called on a thread of its own: a thread is in one namespace, and a socket stays in the one that it was made in.
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
