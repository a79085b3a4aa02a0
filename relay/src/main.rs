//! The relay's binary: reads the flags, starts the relay, says where it is, and waits for the end. Everything
//! else is in the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use relay::{Config, Relay, cli::Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, the cause included; there is nothing to be done about a closed stderr.
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

    // Before the start: a signal that comes early must count, too.
    let end = end_signal().context("cannot listen for signals")?;
    let mut relay = Relay::start(Config::try_from(cli)?).await?;
    // Somebody who closed our output still wants a relay.
    let _ = introduce(&relay, &mut io::stdout().lock());

    tokio::select! {
        () = end => {}
        () = relay.failed() => anyhow::bail!("the relay stopped by itself; RUST_LOG=debug shows more"),
    }
    relay.shutdown().await;
    Ok(())
}

/// Says where the page is, then where the relay is. The lines that begin with `Open http` are relied upon by
/// tests: one a page address, this computer's own first, the address up to the next space.
fn introduce(relay: &Relay, out: &mut impl io::Write) -> io::Result<()> {
    for (number, url) in relay.page_urls().iter().enumerate() {
        match number {
            0 => writeln!(out, "Open {url} in several tabs")?,
            _ => writeln!(out, "Open {url} from another device on the same network")?,
        }
    }
    writeln!(out)?;
    writeln!(out, "Relay {} listens on", relay.peer_id())?;
    for address in relay.addresses() {
        writeln!(out, "  {address}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "Now open the page in a second tab. To meet tabs of another relay, run that on a different terminal\n\
         (cargo run -p relay -- --http-port 0 --ws-port 0 --webrtc-port 0 --stun-port 0 --data-dir another-relay) and\n\
         open its page with ?relay= and one of the addresses above. Ctrl-C stops this one."
    )?;
    out.flush()
}

/// Ready when the process is asked to end.
#[cfg(unix)]
fn end_signal() -> io::Result<impl Future<Output = ()>> {
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

/// Ready when the process is asked to end.
#[cfg(not(unix))]
fn end_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a way to hear Ctrl-C the system's own handling of it ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
