//! The command-line flags, their help texts, and their conversion into a [`Config`].

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use clap::Parser;
use directories::ProjectDirs;

use crate::{config::Config, identity::IdentitySource, operations::OperationFlags};

/// Connects Heartchain tabs with each other and serves the page. It never sees a reading.
///
/// Start the relay, open the printed address in several tabs, and record a heart rate in one of them.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 100)]
pub struct Cli {
    /// IP address to listen on.
    ///
    /// Use 127.0.0.1 for tabs on this computer only. Use 0.0.0.0 to also let in phones and computers on the same
    /// network. For those the page is not a secure context, so some browser features (such as storage) are missing.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen_ip: IpAddr,

    /// TCP port of the page (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::HTTP_PORT)]
    pub http_port: u16,

    /// TCP port for libp2p over WebSocket (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::WS_PORT)]
    pub ws_port: u16,

    /// UDP port for libp2p over WebRTC-direct (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::WEBRTC_PORT)]
    pub webrtc_port: u16,

    /// UDP port for STUN, which tells tabs their public address (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::STUN_PORT)]
    pub stun_port: u16,

    /// Serve the page from this folder, for work on it.
    ///
    /// A change of its scripts and style sheets needs only a reload. The wasm still is the one that was built into the
    /// relay.
    #[arg(long, value_name = "FOLDER")]
    pub page: Option<PathBuf>,

    /// Folder for the relay's key and certificate.
    ///
    /// Both are created on the first run, and keep the relay's addresses the same after a restart. The default is the
    /// platform's folder for application data, such as ~/.local/share/heartchain.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Derive the key from this number. For tests only: anyone who knows the number can impersonate the relay.
    ///
    /// The certificate is stored in --data-dir if given. Otherwise every start generates a new one.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// The flags for operators.
    #[command(flatten)]
    pub operations: OperationFlags,
}

/// Why the flags do not result in a valid configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The platform has no folder for application data, for example because there is no home folder.
    #[error("this system has no folder for application data: choose one with --data-dir")]
    NoDataFolder,
}

impl TryFrom<Cli> for Config {
    type Error = CliError;

    fn try_from(cli: Cli) -> Result<Self, CliError> {
        let identity = match (cli.seed, cli.data_dir) {
            (Some(seed), folder) => IdentitySource::Seed { seed, folder },
            (None, Some(folder)) => IdentitySource::Folder(folder),
            (None, None) => {
                let folders =
                    ProjectDirs::from("", "", "heartchain").ok_or(CliError::NoDataFolder)?;
                IdentitySource::Folder(folders.data_dir().to_owned())
            }
        };
        Ok(Self {
            listen_ip: cli.listen_ip,
            http_port: cli.http_port,
            ws_port: cli.ws_port,
            webrtc_port: cli.webrtc_port,
            stun_port: cli.stun_port,
            page: cli.page,
            limits: cli.operations.limits(),
            metrics_listen: cli.operations.metrics_listen,
            ..Self::new(identity)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::limits::Limits;

    fn config(flags: &[&str]) -> Config {
        let flags = ["relay"].iter().chain(flags);
        let cli = Cli::try_parse_from(flags).expect("good flags");
        Config::try_from(cli).expect("a data folder")
    }

    #[test]
    fn flags_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_reaches_the_config() {
        let flags = "--listen-ip 0.0.0.0 --http-port 1 --ws-port 2 --webrtc-port 3 --stun-port 4 --page /p --data-dir /d";
        let flags: Vec<&str> = flags.split(' ').collect();
        let given = config(&flags);
        assert_eq!(given.listen_ip, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            (
                given.http_port,
                given.ws_port,
                given.webrtc_port,
                given.stun_port
            ),
            (1, 2, 3, 4)
        );
        assert_eq!(given.page, Some("/p".into()));
        assert_eq!(given.identity, IdentitySource::Folder("/d".into()));

        let flags = ["--max-tabs", "40", "--metrics-listen", "[::1]:9090"];
        let given = config(&flags);
        assert_eq!(given.limits, Limits::for_tabs(40));
        assert_eq!(
            given.metrics_listen,
            Some(([0, 0, 0, 0, 0, 0, 0, 1], 9090).into())
        );

        let seeded = config(&["--seed", "7", "--data-dir", "/d"]);
        let folder = Some("/d".into());
        assert_eq!(seeded.identity, IdentitySource::Seed { seed: 7, folder });
    }

    #[test]
    fn defaults_are_loopback_and_fixed_ports() {
        let seeded = config(&["--seed", "7"]);
        assert!(seeded.listen_ip.is_loopback());
        assert!(seeded.limits.reservations >= 1_000);
        assert_eq!(seeded.metrics_listen, None);
        assert_eq!(
            (
                seeded.http_port,
                seeded.ws_port,
                seeded.webrtc_port,
                seeded.stun_port
            ),
            (8080, 8081, 8082, 3478)
        );
    }

    #[test]
    fn invalid_values_are_rejected() {
        for flags in [
            ["--listen-ip", "localhost"],
            ["--http-port", "65536"],
            ["--ws-port", "-1"],
            ["--seed", "x"],
            ["--max-tabs", "0"],
            ["--max-tabs", "100001"],
            ["--metrics-listen", "9090"],
            ["--log-format", "xml"],
            ["--no-such-flag", "1"],
        ] {
            assert!(Cli::try_parse_from([&["relay"], &flags[..]].concat()).is_err());
        }
    }
}
