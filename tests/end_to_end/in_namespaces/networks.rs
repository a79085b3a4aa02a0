//! Two home networks and a server, each in its own network namespaces:
//!
//! ```text
//! left 192.168.1.2 - left-home 10.77.1.2 - router - 10.77.2.2 right-home - 192.168.2.2 right
//!                                             |
//!                                      10.77.3.2 server
//! ```
//!
//! Multicast crosses no router, so the mDNS names by which browsers hide addresses do not resolve across them. Dropping
//! the value removes all namespaces.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::harness::{Browser, Failure, Host, Outcome, Relay, TestEnv, run_in};

/// Prefix of all namespace names; the process ID follows.
const PREFIX: &str = "heartchain-";

static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces of one test.
#[derive(Debug)]
pub(crate) struct Networks {
    name: String,
}

/// A computer in one of the networks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    Left,
    Right,
    Server,
}

impl Site {
    const ALL: [Self; 3] = [Self::Left, Self::Right, Self::Server];

    fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Server => "server",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 2,
            Self::Server => 3,
        }
    }

    /// The computer's address. Namespaces have separate address spaces, so the addresses are constants.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Left | Self::Right => Ipv4Addr::new(192, 168, self.number(), 2).into(),
            Self::Server => self.link_address(2),
        }
    }

    /// An address on the link between the site and the router; 1 is the router's.
    fn link_address(self, last: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, self.number(), last).into()
    }
}

/// Names of all namespaces.
const NAMES: [&str; 6] = [
    "router",
    "left-home",
    "right-home",
    "left",
    "right",
    "server",
];

impl Networks {
    /// Creates all namespaces under unique names.
    pub(crate) fn new() -> Result<Self> {
        remove_stale_namespaces();
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let networks = Self {
            name: format!("{PREFIX}{}-{number}", process::id()),
        };
        networks.build().context(
            "cannot create network namespaces: this needs root or its capabilities, and the programs ip and nft; skip these \
             tests with `--skip in_namespaces`",
        )?;
        Ok(networks)
    }

    /// The host at a site.
    pub(crate) fn host(&self, site: Site) -> Host {
        Host::namespace(&self.namespace(site.name()))
    }

    /// Enables NAT in both home routers: one public address each, and only replies come in.
    pub(crate) fn hide_addresses(&self) -> Result<()> {
        for home in ["left-home", "right-home"] {
            self.firewall(
                home,
                "add table inet heartchain
                 add chain inet heartchain hide { type nat hook postrouting priority srcnat; }
                 add rule inet heartchain hide oifname outside masquerade
                 add chain inet heartchain forward { type filter hook forward priority filter; }
                 add rule inet heartchain forward iifname outside ct state new drop
                 add chain inet heartchain input { type filter hook input priority filter; }
                 add rule inet heartchain input iifname outside ct state new drop",
            )?;
        }
        Ok(())
    }

    /// Blocks all UDP between the two networks.
    pub(crate) fn block_udp(&self) -> Result<()> {
        self.firewall(
            "router",
            "add rule inet heartchain forward iifname to-left oifname to-right meta l4proto udp drop
             add rule inet heartchain forward iifname to-right oifname to-left meta l4proto udp drop",
        )
    }

    /// Blocks all traffic from and to this UDP port.
    pub(crate) fn block_udp_port(&self, port: u64) -> Result<()> {
        let commands = format!(
            "add rule inet heartchain forward udp sport {port} drop
             add rule inet heartchain forward udp dport {port} drop"
        );
        self.firewall("router", &commands)
    }

    /// Removes all blocks.
    pub(crate) fn unblock(&self) -> Result<()> {
        self.firewall("router", "flush chain inet heartchain forward")
    }

    fn build(&self) -> Result<()> {
        for name in NAMES {
            ip(&["netns", "add", &self.namespace(name)])?;
            self.disable_ipv6(name)?;
            self.ip(name, &["link", "set", "lo", "up"])?;
        }
        for site in Site::ALL {
            let (name, to) = (site.name(), format!("to-{}", site.name()));
            let (near, far) = (site.link_address(1), site.link_address(2));
            let address = site.address();
            if address == far {
                self.connect(("router", &to, near), (name, "eth0", address))?;
                continue;
            }
            let (home, inside) = (
                format!("{name}-home"),
                Ipv4Addr::new(192, 168, site.number(), 1),
            );
            self.connect(("router", &to, near), (&home, "outside", far))?;
            self.connect((&home, "inside", inside.into()), (name, "eth0", address))?;
            let network = format!("192.168.{}.0/24", site.number());
            self.ip(
                "router",
                &["route", "add", &network, "via", &far.to_string()],
            )?;
        }
        self.firewall(
            "router",
            "add table inet heartchain
             add chain inet heartchain forward { type filter hook forward priority filter; }",
        )
    }

    /// Disables IPv6. A new IPv6 address stays tentative for some seconds; when it becomes valid, Chromium treats that
    /// as a network change and aborts what it is loading.
    fn disable_ipv6(&self, name: &str) -> Result<()> {
        let disable = "for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $all ] || echo 1 > $all; done";
        ip(&["netns", "exec", &self.namespace(name), "sh", "-c", disable])
    }

    /// Connects two namespaces by a veth pair. The first becomes the second's default route.
    fn connect(&self, near: (&str, &str, IpAddr), far: (&str, &str, IpAddr)) -> Result<()> {
        let there = self.namespace(far.0);
        let veth = [
            "link", "add", near.1, "type", "veth", "peer", "name", far.1, "netns", &there,
        ];
        self.ip(near.0, &veth)?;
        for (name, interface, address) in [near, far] {
            self.ip(
                name,
                &["addr", "add", &format!("{address}/24"), "dev", interface],
            )?;
            self.ip(name, &["link", "set", interface, "up"])?;
        }
        self.ip(
            far.0,
            &["route", "add", "default", "via", &near.2.to_string()],
        )?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        ip(&[
            "netns",
            "exec",
            &self.namespace(near.0),
            "sh",
            "-c",
            forward,
        ])
    }

    /// Applies nftables commands in a namespace, all or none of them.
    fn firewall(&self, name: &str, commands: &str) -> Result<()> {
        let lines = commands
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n");
        ip(&["netns", "exec", &self.namespace(name), "nft", &lines])
    }

    fn ip(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let namespace = self.namespace(name);
        ip(&[&["-n", &namespace], arguments].concat())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in NAMES {
            // A namespace that was never created cannot be removed.
            let _ = ip(&["netns", "delete", &self.namespace(name)]);
        }
    }
}

/// Removes namespaces of earlier test processes that were killed before they could.
fn remove_stale_namespaces() {
    let Ok(names) = fs::read_dir("/run/netns") else {
        return;
    };
    for name in names
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !fs::exists(format!("/proc/{process}")).unwrap_or(true)) {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

/// Runs a test with two browsers in two networks and a relay in a third.
pub(crate) async fn on_two_networks(
    test: impl AsyncFnOnce(&mut TestEnv, &Networks) -> Result<()>,
) -> Outcome {
    let result = async {
        let networks = Networks::new()?;
        let set_up = async || {
            let server = networks.host(Site::Server);
            Ok(TestEnv {
                relay: Relay::start_on(server, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await?,
                more_relays: Vec::new(),
                browser: Browser::launch_on(&networks.host(Site::Left), &[]).await?,
                others: vec![Browser::launch_on(&networks.host(Site::Right), &[]).await?],
                expected_messages: Vec::new(),
            })
        };
        run_in(set_up, async |env: &mut TestEnv| test(env, &networks).await).await
    };
    result.await.map_err(|error| Failure(format!("{error:#}")))
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    if !output.stderr.is_empty() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
