//! The log on stderr: as text for people, or as JSON for machines. What is logged can be changed while the relay runs.

use std::io;

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

/// What is logged if neither `--log-filter` nor `RUST_LOG` says it.
const DEFAULT_FILTER: &str = "warn";

/// The format of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines of text for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What is logged: a level such as `info`, or levels of modules such as `relay=debug`.
#[derive(Debug)]
pub struct LogFilter(EnvFilter);

/// Changes what is logged.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    format: LogFormat,
}

/// Why the log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("--log-filter {filter:?} is not a filter, such as info or relay=debug")]
    Filter {
        /// The filter as given.
        filter: String,
    },
    /// The process has a log already.
    #[error("cannot set up the log")]
    Init(#[from] TryInitError),
    /// The log has ended already.
    #[error("cannot change the log")]
    Reload(#[from] reload::Error),
}

impl LogFilter {
    /// The filter of `--log-filter`, or what `RUST_LOG` says if that is not given.
    ///
    /// # Errors
    /// Fails if the filter is wrong.
    pub fn parse(flag: Option<&str>) -> Result<Self, LogError> {
        let filter = match flag {
            Some(filter) => EnvFilter::try_new(filter).map_err(|_| LogError::Filter {
                filter: filter.to_owned(),
            })?,
            None => {
                let from_environment = EnvFilter::try_from_default_env();
                from_environment.unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER))
            }
        };
        Ok(Self(filter))
    }
}

/// Starts to log.
///
/// # Errors
/// Fails if the process has a log already.
pub fn init(filter: LogFilter, format: LogFormat) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(filter.0);
    let output = match format {
        LogFormat::Text => fmt::layer().with_writer(io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .try_init()?;
    Ok(LogHandle {
        filter: handle,
        format,
    })
}

impl LogHandle {
    /// Logs from now on as `filter` says.
    ///
    /// # Errors
    /// Fails if the log has ended.
    pub fn set_filter(&self, filter: LogFilter) -> Result<(), LogError> {
        Ok(self.filter.reload(filter.0)?)
    }

    /// The format of the log, which stays as it is.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_filter_is_reported() {
        for good in ["info", "relay=debug,warn"] {
            assert!(LogFilter::parse(Some(good)).is_ok(), "{good}");
        }
        let error = LogFilter::parse(Some("relay=loud")).expect_err("no such level");
        assert!(error.to_string().contains("relay=loud"), "{error}");
    }
}
