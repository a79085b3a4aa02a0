//! A relay as a child process, and what the system says about it.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Which relay is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayKind {
    Ours,
    Js,
}

/// A running relay, killed when dropped.
#[derive(Debug)]
pub(crate) struct RelayProcess {
    child: Child,
    pub(crate) address: Multiaddr,
    /// `host:port` of the page; js-libp2p's relay has none.
    pub(crate) page: Option<String>,
}

impl RelayProcess {
    /// Starts a relay for this number of tabs on free ports of loopback.
    pub(crate) async fn start(program: &Path, kind: RelayKind, tabs: u32) -> Result<Self> {
        let tabs = tabs.to_string();
        let mut command = match kind {
            RelayKind::Ours => {
                let mut command = Command::new(program);
                let ports = ["--http-port=0", "--webrtc-port=0", "--stun-port=0"];
                command.args(ports).args(["--seed=1", "--max-tabs", &tabs]);
                command
            }
            RelayKind::Js => {
                let mut command = Command::new("node");
                command.arg(program).arg(&tabs);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let addresses = async {
            let mut page = None;
            while let Some(line) = lines.next_line().await? {
                let line = line.trim();
                if let Some(rest) = line.strip_prefix("Open http://") {
                    page = rest.split('/').next().map(str::to_owned).or(page);
                }
                if line.starts_with("/ip4/127.0.0.1/") && line.contains("/ws/p2p/") {
                    return Ok((line.parse()?, page));
                }
            }
            bail!("the relay ended without printing an address")
        };
        let (address, page) = timeout(START_TIMEOUT, addresses)
            .await
            .context("the relay printed no address")??;
        // The pipe must stay open for later output.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            address,
            page,
        })
    }

    /// The TCP port of the relay.
    pub(crate) fn port(&self) -> Option<u16> {
        self.address.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        })
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        let id = self.child.id().context("the relay has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.context("the system does not report its memory")?;
        Ok(words.trim().trim_end_matches(" kB").parse()?)
    }

    /// Open files and sockets.
    pub(crate) fn files(&self) -> Result<usize> {
        let id = self.child.id().context("the relay has ended")?;
        Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
    }
}

/// The load average of the computer, as text.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
