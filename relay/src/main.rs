//! The `relay` binary: parses the flags, starts the relay, prints its addresses, and runs until SIGINT or SIGTERM. On
//! SIGHUP it reads its configuration again. Everything else is in the library.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use relay::{
    Config, Hangup, Relay, capacity, check_health,
    cli::Cli,
    config_file::{self, ConfigError},
    keepers::Keepers,
    logging::{self, LogFilter, LogFormat, LogHandle},
};

/// Returns memory to the system when many tabs have left. glibc's allocator keeps it.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match config_file::parse::<Cli>(env::args_os()) {
        Ok(cli) => cli,
        Err(ConfigError::Information(text)) => {
            // If stdout is closed, there is nothing left to do.
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return failure(&error.into()),
    };
    if let Some(url) = &cli.check_health {
        return match check_health(url) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error.into()),
        };
    }
    let operations = &cli.operations;
    let log = LogFilter::parse(operations.log_filter.as_deref())
        .and_then(|filter| logging::init(filter, operations.log_format));
    let log = match log {
        Ok(log) => log,
        Err(error) => return failure(&error.into()),
    };
    match (run(cli, &log), log.format()) {
        (Ok(()), _) => ExitCode::SUCCESS,
        (Err(error), LogFormat::Text) => failure(&error),
        (Err(error), LogFormat::Json) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the error in one line, with its causes.
fn failure(error: &anyhow::Error) -> ExitCode {
    // If stderr is closed, there is nothing left to do.
    let _ = writeln!(io::stderr(), "relay: {error:#}");
    ExitCode::FAILURE
}

#[tokio::main]
async fn run(cli: Cli, log: &LogHandle) -> anyhow::Result<()> {
    // Registered before the start, so a signal during the start is not lost.
    let shutdown = shutdown_signal().context("cannot listen for signals")?;
    let mut hangup = Hangup::listen();
    let mut config = Config::try_from(cli)?;
    if let Err(error) = capacity::raise_file_limit(&config.limits) {
        tracing::warn!("{error}");
    }
    let mut relay = Relay::start(config.clone()).await?;
    let keepers = Keepers::start(&config, &relay.addresses())?;
    // The relay keeps running if stdout is closed.
    let _ = print_addresses(&relay, &mut io::stdout().lock());

    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = hangup.recv() => config = reload(&relay, config, log),
            () = relay.failed() => {
                keepers.shutdown().await;
                anyhow::bail!(
                    "the relay stopped unexpectedly; run it with --log-filter debug for details"
                )
            }
        }
    }
    keepers.shutdown().await;
    relay.shutdown().await;
    Ok(())
}

/// Reads the configuration again, and applies what can change while the relay runs. Returns the configuration that is in
/// force. One with an error changes nothing.
fn reload(relay: &Relay, old: Config, log: &LogHandle) -> Config {
    let read = config_file::parse::<Cli>(env::args_os())
        .map_err(anyhow::Error::from)
        .and_then(|cli| {
            let filter = LogFilter::parse(cli.operations.log_filter.as_deref())?;
            let format = cli.operations.log_format;
            Ok((Config::try_from(cli)?, filter, format))
        });
    let (new, filter, format) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::error!("the configuration stays as it is: {error:#}");
            return old;
        }
    };
    if let Err(error) = log.set_filter(filter) {
        tracing::error!("the log stays as it is: {error:#}");
    }
    if new.limits != old.limits {
        if let Err(error) = capacity::raise_file_limit(&new.limits) {
            tracing::warn!("{error}");
        }
        relay.set_limits(new.limits.clone());
    }
    let applied = Config {
        limits: new.limits.clone(),
        ..old
    };
    if applied != new || format != log.format() {
        tracing::warn!(
            "some settings changed that need a restart: only max-tabs and log-filter are applied"
        );
    }
    tracing::info!(
        max_tabs = applied.limits.reservations,
        "the configuration was read again"
    );
    applied
}

/// Prints the page's URLs, then the relay's multiaddrs.
///
/// Tests parse this output: each line that begins with `Open http` has one URL of the page, loopback first, followed by
/// a space. Each multiaddr is on an indented line of its own, and an empty line follows the last one.
fn print_addresses(relay: &Relay, out: &mut impl io::Write) -> io::Result<()> {
    for (number, url) in relay.page_urls().iter().enumerate() {
        match number {
            0 => writeln!(out, "Open {url} in several tabs")?,
            _ if is_loopback(url) => writeln!(out, "Open {url} on this computer")?,
            _ => writeln!(out, "Open {url} from another device on the same network")?,
        }
    }
    if let Some(url) = relay.install_urls().last() {
        writeln!(
            out,
            "Each device needs the relay's certificate. It gets that, and instructions, at"
        )?;
        writeln!(out, "  {url}")?;
    }
    writeln!(out)?;
    writeln!(out, "Relay {} listens on", relay.peer_id())?;
    for address in relay.addresses() {
        writeln!(out, "  {address}")?;
    }
    writeln!(out)?;
    if let Some(url) = relay.metrics_url() {
        writeln!(out, "Metrics are at {url}")?;
        writeln!(out)?;
    }
    writeln!(
        out,
        "To connect tabs of two relays, start a second relay in another terminal:\n  \
         cargo run -p relay -- --http-port 0 --webrtc-port 0 --stun-port 0 --data-dir another-relay\n\
         Then open its page with ?relay=<address> at the end of the URL, with one of the addresses above.\n\
         \n\
         Press Ctrl-C to stop this relay."
    )?;
    out.flush()
}

fn is_loopback(url: &str) -> bool {
    ["://127.", "://[::1]"]
        .iter()
        .any(|host| url.contains(host))
}

/// Resolves when the process receives SIGINT or SIGTERM.
#[cfg(unix)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves on Ctrl-C.
#[cfg(not(unix))]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // If Ctrl-C cannot be caught, the system's default handler ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
