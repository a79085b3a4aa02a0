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

/// Starts to log, as `filter` says: a level such as `info`, or levels of modules such as `relay=debug`.
///
/// # Errors
/// Fails if the filter is wrong, or if the process has a log already.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
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
    /// Fails if the filter is wrong. Then the former one stays.
    pub fn set_filter(&self, filter: Option<&str>) -> Result<(), LogError> {
        Ok(self.filter.reload(parse(filter)?)?)
    }

    /// The format of the log, which stays as it is.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }
}

fn parse(filter: Option<&str>) -> Result<EnvFilter, LogError> {
    match filter {
        Some(filter) => EnvFilter::try_new(filter).map_err(|_| LogError::Filter {
            filter: filter.to_owned(),
        }),
        None => {
            let from_environment = EnvFilter::try_from_default_env();
            Ok(from_environment.unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_filter_is_reported() {
        assert!(parse(Some("info")).is_ok() && parse(Some("relay=debug,warn")).is_ok());
        let error = parse(Some("relay=loud")).expect_err("no such level");
        assert!(error.to_string().contains("relay=loud"), "{error}");
    }
}
