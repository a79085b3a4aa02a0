//! A relay as a child process, and what the system says about it.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use libp2p::multiaddr::Protocol;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::target::{Target, Transport};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Which relay is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayKind {
    Ours,
    Js,
}

/// How a relay is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) kind: RelayKind,
    pub(crate) tabs: u32,
    /// The TCP port of our relay; 0 picks a free one.
    pub(crate) port: u16,
    /// Decides which of the relay's addresses tabs dial.
    pub(crate) transport: Transport,
    /// Where a proxy on this computer serves the relay.
    pub(crate) announce: Option<&'a str>,
}

/// A running relay, killed when dropped.
#[derive(Debug)]
pub(crate) struct RelayProcess {
    child: Child,
    pub(crate) target: Target,
    /// `host:port` of the page; js-libp2p's relay has none.
    pub(crate) page: Option<String>,
}

impl RelayProcess {
    /// Starts a relay on loopback.
    pub(crate) async fn start(start: Start<'_>) -> Result<Self> {
        let tabs = start.tabs.to_string();
        let mut command = match start.kind {
            RelayKind::Ours => {
                let mut command = Command::new(start.program);
                command.args(["--webrtc-port=0", "--stun-port=0", "--seed=1"]);
                command.args(["--max-tabs", &tabs]);
                command.args(["--http-port", &start.port.to_string()]);
                if let Some(url) = start.announce {
                    command.args(["--announce", url, "--trusted-proxy", "127.0.0.1/32"]);
                }
                command
            }
            RelayKind::Js => {
                let mut command = Command::new("node");
                command.arg(start.program).arg(&tabs);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", start.program.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let addresses = async {
            let mut page = None;
            while let Some(line) = lines.next_line().await? {
                let line = line.trim();
                if let Some(rest) = line.strip_prefix("Open http://") {
                    page = rest.split('/').next().map(str::to_owned).or(page);
                }
                if line.starts_with("/ip4/127.0.0.1/") && line.contains(start.transport.part()) {
                    let target = Target {
                        address: line.parse()?,
                        certificate: None,
                    };
                    return Ok((target, page));
                }
            }
            bail!("the relay ended without printing an address")
        };
        let (target, page) = timeout(START_TIMEOUT, addresses)
            .await
            .context("the relay printed no address")??;
        // The pipe must stay open for later output.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            target,
            page,
        })
    }

    /// The TCP port of the relay.
    pub(crate) fn port(&self) -> Option<u16> {
        self.target.address.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        })
    }

    /// Ends the relay as a crash would.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("the relay has ended")
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        memory(self.id()?, "VmRSS:")
    }

    /// The part of it that is no copy of the program's file, in KiB.
    pub(crate) fn allocated(&self) -> Result<u64> {
        memory(self.id()?, "RssAnon:")
    }

    /// Open files and sockets.
    pub(crate) fn files(&self) -> Result<usize> {
        let id = self.id()?;
        Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
    }
}

/// Memory of a process in KiB: `VmRSS:` is what it has now, `VmHWM:` the most that it had, and
/// `RssAnon:` what it has now without the pages of its program.
pub(crate) fn memory(id: u32, which: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let words = line.context("the system does not report its memory")?;
    Ok(words.trim().trim_end_matches(" kB").parse()?)
}

/// Processor time that a process has used, in hundredths of a second.
pub(crate) fn processor_time(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name of the program is in parentheses, and may contain spaces.
    let fields = stat
        .rsplit_once(')')
        .context("the system does not report its time")?
        .1;
    let mut times = fields.split_whitespace().skip(11);
    let [user, system] = [times.next(), times.next()];
    let user: u64 = user.context("no time")?.parse()?;
    let system: u64 = system.context("no time")?.parse()?;
    Ok(user + system)
}

/// The load average of the computer, as text.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
