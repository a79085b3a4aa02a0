//! The `relay` binary: parses the flags, starts the relay, prints its addresses, and runs until SIGINT or SIGTERM.
//! Everything else is in the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use relay::{Config, Relay, check_health, cli::Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.check_health {
        Some(url) => check_health(url).map_err(Into::into),
        None => run(cli),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line that includes the causes. If stderr is closed, there is nothing left to do.
            let _ = writeln!(io::stderr(), "relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();

    // Registered before the start, so a signal during the start is not lost.
    let shutdown = shutdown_signal().context("cannot listen for signals")?;
    let mut relay = Relay::start(Config::try_from(cli)?).await?;
    // The relay keeps running if stdout is closed.
    let _ = print_addresses(&relay, &mut io::stdout().lock());

    tokio::select! {
        () = shutdown => {}
        () = relay.failed() => anyhow::bail!("the relay stopped unexpectedly; run it with RUST_LOG=debug for details"),
    }
    relay.shutdown().await;
    Ok(())
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
