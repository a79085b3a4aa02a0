//! A load client for relays. It starts a relay, lets many native tabs arrive, or attacks it, and prints what it measured.
//!
//! `tests/load/run.sh` runs it against the release relay, and against js-libp2p's. It is no test: the figures depend on
//! the computer, so it prints the load of the computer with them.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a client waits for one of libp2p's many events"
)]

mod arrivals;
mod attacks;
mod circuits;
mod dial_from;
mod free_port;
mod keepers;
mod nginx;
mod process;
mod restart;
mod tab;
mod target;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use process::{RelayKind, RelayProcess, Start};
use target::Transport;

/// Measures a relay with thousands of tabs, and under attack.
#[derive(Debug, Parser)]
struct Cli {
    /// The relay's program. With --js, the script that Node runs.
    #[arg(long, value_name = "FILE")]
    relay: PathBuf,
    /// The relay is a script for Node that prints its multiaddr.
    #[arg(long)]
    js: bool,
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Tabs arrive at a constant rate, stay, and leave.
    Arrivals {
        /// Number of tabs in total.
        #[arg(long, default_value_t = 2_000)]
        tabs: u32,
        /// Arrivals in a second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// Seconds that all tabs stay.
        #[arg(long, default_value_t = 15)]
        stay: u64,
        /// Seconds from their leaving to the last look at the relay's memory.
        #[arg(long, default_value_t = 60)]
        after: u64,
        /// How the tabs connect.
        #[arg(long, value_enum, default_value_t = Transport::WebSocket)]
        transport: Transport,
        /// The loopback address that all tabs dial from. The relay counts each as a network, except 127.0.0.1.
        #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
        from: Ipv4Addr,
        /// Connect through nginx and TLS, with relay/packaging/nginx.conf.
        #[arg(long)]
        nginx: bool,
    },
    /// The relay is killed while it serves tabs, and started again.
    Restart {
        /// Number of tabs in total.
        #[arg(long, default_value_t = 500)]
        tabs: u32,
        /// Arrivals in a second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
    },
    /// A keeper gets a long chain, serves it to another one, and keeps many rooms. The relay's program is that of our relay.
    Keepers {
        /// The keeper's program.
        #[arg(long, value_name = "FILE")]
        keeper: PathBuf,
        /// Readings of the long chain.
        #[arg(long, default_value_t = 1_000_000)]
        readings: u64,
        /// Rooms that one keeper keeps.
        #[arg(long, default_value_t = 100)]
        rooms: usize,
    },
    /// One tab sends bytes to another through the relay.
    Circuits {
        /// MiB of each round. The relay slows down a connection that carries more than some 64 at once.
        #[arg(long, default_value_t = 32)]
        mib: usize,
        /// Rounds, each with a new circuit.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How the tabs connect.
        #[arg(long, value_enum, default_value_t = Transport::WebSocket)]
        transport: Transport,
    },
    /// Twenty tabs use the relay while others attack it.
    Attacks {
        /// Addresses that attack together.
        #[arg(long, default_values_t = [1, 8])]
        addresses: Vec<u8>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit on open files")?;
    let kind = if cli.js {
        RelayKind::Js
    } else {
        RelayKind::Ours
    };
    let start = |tabs| Start {
        program: &cli.relay,
        kind,
        tabs,
        port: 0,
        transport: Transport::WebSocket,
        announce: None,
    };
    match cli.measurement {
        Measurement::Arrivals {
            tabs,
            rate,
            stay,
            after,
            transport,
            from,
            nginx,
        } => {
            let mut start = start(tabs);
            start.transport = transport;
            let plan = arrivals::Plan {
                tabs,
                rate,
                from,
                stay,
                after,
            };
            if nginx {
                let (relay, nginx) = nginx::start(start).await?;
                return arrivals::measure(&relay, &nginx.target, &plan).await;
            }
            let relay = RelayProcess::start(start).await?;
            arrivals::measure(&relay, &relay.target, &plan).await
        }
        Measurement::Keepers {
            keeper,
            readings,
            rooms,
        } => {
            keepers::long_chain(&keeper, readings).await?;
            let relay = RelayProcess::start(start(1_000)).await?;
            keepers::many_rooms(&keeper, &relay, rooms).await
        }
        Measurement::Circuits {
            mib,
            rounds,
            transport,
        } => {
            let mut start = start(30);
            start.transport = transport;
            let relay = RelayProcess::start(start).await?;
            circuits::measure(&relay, mib, rounds).await
        }
        Measurement::Restart { tabs, rate } => restart::measure(start(tabs), rate).await,
        Measurement::Attacks { addresses } => {
            for count in addresses {
                attacks::measure(&cli.relay, kind, count).await?;
            }
            Ok(())
        }
    }
}
