//! Two networks at home and a server, each a network namespace:
//!
//! ```text
//! left 192.168.1.2 - left-home 10.77.1.2 - router - 10.77.2.2 right-home - 192.168.2.2 right
//!                                             |
//!                                      10.77.3.2 server
//! ```
//!
//! Multicast, and with it the names by which browsers hide addresses, crosses no router. Dropped, all of it is gone.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::harness::{Browser, Failure, Host, Outcome, Relay, Stage, play};

/// What the names of all namespaces begin with; the process's id follows.
const PREFIX: &str = "heartchain-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// See the module.
#[derive(Debug)]
pub(crate) struct Networks {
    name: String,
}

/// A place in one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Left,
    Right,
    Server,
}

impl Place {
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

    /// Its address. Namespaces share none with anybody, so these are always the same.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Left | Self::Right => Ipv4Addr::new(192, 168, self.number(), 2).into(),
            Self::Server => self.on_the_way(2),
        }
    }

    /// An address between it and the router: 1 is the router's.
    fn on_the_way(self, last: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, self.number(), last).into()
    }
}

/// All namespaces.
const NAMES: [&str; 6] = [
    "router",
    "left-home",
    "right-home",
    "left",
    "right",
    "server",
];

impl Networks {
    /// Makes them, under names that nothing else has.
    pub(crate) fn new() -> Result<Self> {
        remove_what_others_left();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let networks = Self {
            name: format!("{PREFIX}{}-{number}", process::id()),
        };
        networks.build().context(
            "no network namespaces: that takes root (or its rights) and the programs ip and nft; leave these tests out with \
             `--skip in_namespaces`",
        )?;
        Ok(networks)
    }

    /// The computer at a place.
    pub(crate) fn host(&self, place: Place) -> Host {
        Host::namespace(&self.namespace(place.name()))
    }

    /// Both homes show one address to the outside, as they mostly do, and let nothing in but what answers.
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

    /// From now on no UDP crosses between the two networks.
    pub(crate) fn block_udp(&self) -> Result<()> {
        self.firewall(
            "router",
            "add rule inet heartchain forward iifname to-left oifname to-right meta l4proto udp drop
             add rule inet heartchain forward iifname to-right oifname to-left meta l4proto udp drop",
        )
    }

    /// From now on nothing crosses that comes from this UDP port or goes to it.
    pub(crate) fn block_udp_port(&self, port: u64) -> Result<()> {
        let orders = format!(
            "add rule inet heartchain forward udp sport {port} drop
             add rule inet heartchain forward udp dport {port} drop"
        );
        self.firewall("router", &orders)
    }

    /// Everything crosses again.
    pub(crate) fn unblock(&self) -> Result<()> {
        self.firewall("router", "flush chain inet heartchain forward")
    }

    fn build(&self) -> Result<()> {
        for name in NAMES {
            ip(&["netns", "add", &self.namespace(name)])?;
            self.leave_out_ipv6(name)?;
            self.ip(name, &["link", "set", "lo", "up"])?;
        }
        for place in Place::ALL {
            let (name, to) = (place.name(), format!("to-{}", place.name()));
            let (near, far) = (place.on_the_way(1), place.on_the_way(2));
            let address = place.address();
            if address == far {
                self.join(("router", &to, near), (name, "eth0", address))?;
                continue;
            }
            let (home, inside) = (
                format!("{name}-home"),
                Ipv4Addr::new(192, 168, place.number(), 1),
            );
            self.join(("router", &to, near), (&home, "outside", far))?;
            self.join((&home, "inside", inside.into()), (name, "eth0", address))?;
            let network = format!("192.168.{}.0/24", place.number());
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

    /// An IPv6 address counts as new for some seconds, and when it does no more Chromium takes that for another network
    /// and drops what it is loading.
    fn leave_out_ipv6(&self, name: &str) -> Result<()> {
        let leave_out = "for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $all ] || echo 1 > $all; done";
        ip(&[
            "netns",
            "exec",
            &self.namespace(name),
            "sh",
            "-c",
            leave_out,
        ])
    }

    /// Joins two namespaces by a cable with two plugs; the first is the second's way to everywhere else.
    fn join(&self, near: (&str, &str, IpAddr), far: (&str, &str, IpAddr)) -> Result<()> {
        let there = self.namespace(far.0);
        let cable = [
            "link", "add", near.1, "type", "veth", "peer", "name", far.1, "netns", &there,
        ];
        self.ip(near.0, &cable)?;
        for (name, plug, address) in [near, far] {
            self.ip(
                name,
                &["addr", "add", &format!("{address}/24"), "dev", plug],
            )?;
            self.ip(name, &["link", "set", plug, "up"])?;
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

    /// Gives a router's firewall these orders, all or none of them.
    fn firewall(&self, name: &str, orders: &str) -> Result<()> {
        let lines = orders.lines().map(str::trim).collect::<Vec<_>>().join("\n");
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
            // One that was never made cannot be removed.
            let _ = ip(&["netns", "delete", &self.namespace(name)]);
        }
    }
}

/// Removes the namespaces of processes that were killed before they could.
fn remove_what_others_left() {
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
    test: impl AsyncFnOnce(&mut Stage, &Networks) -> Result<()>,
) -> Outcome {
    let played = async {
        let networks = Networks::new()?;
        let set_up = async || {
            let server = networks.host(Place::Server);
            Ok(Stage {
                relay: Relay::start_on(server, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await?,
                more_relays: Vec::new(),
                browser: Browser::launch_on(&networks.host(Place::Left), &[]).await?,
                others: vec![Browser::launch_on(&networks.host(Place::Right), &[]).await?],
                expected: Vec::new(),
            })
        };
        play(set_up, async |stage: &mut Stage| {
            test(stage, &networks).await
        })
        .await
    };
    played.await.map_err(|error| Failure(format!("{error:#}")))
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
