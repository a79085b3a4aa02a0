//! The flags for those who run a relay for others: its size, its metrics, its log, and where all flags may be written down.
#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "the documentation of a flag is its help text"
)]

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, value_parser};

use crate::{capacity, limits::Limits, logging::LogFormat};

/// The flags. Each is also a key of the file given with `--config`, and a variable such as `HEARTCHAIN_MAX_TABS`.
#[derive(Debug, Args)]
pub struct OperationFlags {
    /// Tabs that the relay serves at the same time. All other limits follow from this number.
    ///
    /// The default follows from the memory of the computer and from the number of files that the system allows, and is at
    /// least 1000.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(Limits::MAX_TABS)))]
    pub max_tabs: Option<u32>,

    /// Serve metrics for Prometheus at http://<IP>:<PORT>/metrics. Anyone who reaches this address can read them.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Format of the log on stderr.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What is logged: warn, info, debug, or levels of modules such as relay=debug. The default is warn, or RUST_LOG.
    ///
    /// At the level debug every connection is logged, with its address.
    #[arg(long, value_name = "FILTER")]
    pub log_filter: Option<String>,

    /// Read flags from this TOML file: max-tabs = 2000.
    ///
    /// A flag on the command line counts before its environment variable (HEARTCHAIN_MAX_TABS), and that before the file.
    /// On SIGHUP the relay reads the file again and applies max-tabs and log-filter.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl OperationFlags {
    /// The limits for the number of tabs that was given, or that fits this computer.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::for_tabs(self.max_tabs.unwrap_or_else(capacity::default_max_tabs))
    }
}
