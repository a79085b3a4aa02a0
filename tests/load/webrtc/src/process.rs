//! A server as a child process, and what the system says about it. Linux only.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::kind::Kind;

/// A running server, killed when dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: Multiaddr,
    pub(crate) socket: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it on loopback.
    pub(crate) async fn start(kind: Kind) -> Result<Self> {
        Self::start_on(kind, Ipv4Addr::LOCALHOST).await
    }

    pub(crate) async fn start_on(kind: Kind, ip: Ipv4Addr) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", kind.name(), &ip.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let address: Multiaddr = line.context("the server ended")?.parse()?;
        let port = address.iter().find_map(|part| match part {
            Protocol::Udp(port) => Some(port),
            _ => None,
        });
        let socket = SocketAddr::from((ip, port.context("no port")?));
        Ok(Self {
            kind,
            address,
            socket,
            child,
        })
    }

    /// Lets clients dial another port, which leads to the server.
    pub(crate) fn move_to(&mut self, to: SocketAddr) {
        self.socket = to;
        self.address = self
            .address
            .iter()
            .map(|part| match part {
                Protocol::Udp(_) => Protocol::Udp(to.port()),
                part => part,
            })
            .collect();
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let id = self.child.id().context("the server ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        Ok(Usage {
            kib: kib.context("no VmRSS")?.parse()?,
            files: std::fs::read_dir(format!("/proc/{id}/fd"))?.count(),
        })
    }
}

/// Resident memory in KiB, and open files.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) kib: usize,
    pub(crate) files: usize,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} MB and {} files",
            self.kib as f64 * 1.024 / 1_000.0,
            self.files
        )
    }
}

/// The load of the computer, without which figures say little.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
