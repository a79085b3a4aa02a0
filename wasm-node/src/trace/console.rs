//! Prints traces on the browser's console.

use tracing_subscriber::{
    Layer as _,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use tracing_web::MakeWebConsoleWriter;

/// Prints what the filter lets through, such as `debug` or `heartchain=debug,libp2p=info`, from now on. If traces are
/// printed already, the earlier filter stays.
///
/// # Errors
/// If the text is not a filter.
pub(crate) fn print_on_console(filter: &str) -> Result<(), ParseError> {
    let targets: Targets = filter.parse()?;
    let lines = fmt::layer()
        .with_ansi(false)
        // The browser has no clock that the standard library knows; its console shows the time.
        .without_time()
        .with_writer(MakeWebConsoleWriter::new());
    // This fails if traces are printed already.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init();
    Ok(())
}
