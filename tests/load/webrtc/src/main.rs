//! Figures of WebRTC-direct: this repository's `libp2p-webrtc-direct` ("new") beside `libp2p-webrtc` 0.10 ("old"). The
//! server is a process of its own, so that its memory and files can be read. Prints figures; fails only if something
//! cannot run.
//!
//! ```sh
//! cd tests/load/webrtc
//! cargo run --release -- throughput [MIB [ROUNDS]]     # a stream of that many MiB up, then one down, in turns
//! cargo run --release -- lossy [MIB [ROUNDS]]          # the same with 1 % loss and a round trip of 50 ms
//! cargo run --release -- idle [CONNECTIONS [ROUNDS]]   # memory for each connection
//! cargo run --release -- failed [HANDSHAKES]           # what handshakes leave behind whose client vanishes
//! cargo run --release -- churn [CONNECTIONS]           # connections made and dropped, new only
//! cargo run --release -- flood malformed|requests|hellos [DATAGRAMS]   # honest clients during a flood, new only
//! ./forged.sh malformed|requests|hellos [DATAGRAMS]    # the same, from forged addresses; needs root
//! ```

mod floods;
#[path = "../../../../relay/webrtc-direct/tests/support/forger.rs"]
mod forger;
mod kind;
mod network;
mod peers;
mod process;
mod server;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::stream::{self, StreamExt as _};
use tokio::time::{sleep, timeout};

use crate::floods::{Flood, Source};
use crate::kind::Kind;
use crate::network::{Network, Quality};
use crate::peers::Dialer;
use crate::process::{Server, load_average};

/// Connections that are open before memory is measured, so that what is allocated once does not count.
const WARM_UP: usize = 50;
/// Time for a server to become quiet.
const SETTLE: Duration = Duration::from_secs(5);
/// Time after which failed handshakes must have left nothing.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Rounds of failed handshakes and of floods.
const ROUNDS: usize = 3;
/// Honest clients during each round of a flood.
const HONEST: usize = 20;
/// How long an honest client may wait.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
/// The network of `lossy`, for each direction.
const LOSSY: Quality = Quality {
    delay: Duration::from_millis(25),
    lost: 10,
};
/// Connections that are made at the same time.
const CONCURRENT: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server", kind, ip] => server::run(Kind::parse(kind)?, ip.parse()?).await,
        ["throughput", rest @ ..] => {
            throughput(number(rest, 0, 64)?, number(rest, 1, 5)?, None).await
        }
        ["lossy", rest @ ..] => {
            throughput(number(rest, 0, 4)?, number(rest, 1, 5)?, Some(LOSSY)).await
        }
        ["idle", rest @ ..] => idle(number(rest, 0, 200)?, number(rest, 1, 3)?).await,
        ["failed", rest @ ..] => failed(number(rest, 0, 300)?).await,
        ["churn", rest @ ..] => churn(number(rest, 0, 100_000)?).await,
        ["flood", kind, rest @ ..] => {
            let flood = Flood::parse(kind)?;
            let count = number(rest, 0, flood.usual_count())?;
            flooded(flood, Source::Loopback, count).await
        }
        ["forged", ip, kind, rest @ ..] => {
            let flood = Flood::parse(kind)?;
            let count = number(rest, 0, flood.usual_count())?;
            flooded(flood, Source::Forged(ip.parse()?), count).await
        }
        _ => bail!("usage: webrtc-figures throughput | lossy | idle | failed | churn | flood KIND"),
    }
}

fn number(arguments: &[&str], at: usize, usual: usize) -> Result<usize> {
    match arguments.get(at) {
        Some(text) => text
            .parse()
            .with_context(|| format!("{text} is not a number")),
        None => Ok(usual),
    }
}

async fn throughput(mib: usize, rounds: usize, quality: Option<Quality>) -> Result<()> {
    println!("{mib} MiB on one stream, MiB/s, {rounds} rounds in turns, {quality:?}");
    let pairs = [
        ("new client, new server", Kind::New, Kind::New),
        ("new client, old server", Kind::New, Kind::Old),
        ("old client, old server", Kind::Old, Kind::Old),
    ];
    let mut up = vec![Vec::new(); pairs.len()];
    let mut down = vec![Vec::new(); pairs.len()];
    for _ in 0..rounds {
        for (at, (_, client, server)) in pairs.iter().enumerate() {
            let mut server = Server::start(*server).await?;
            let network = match quality {
                Some(quality) => Some(Network::before(server.socket, quality).await?),
                None => None,
            };
            if let Some(network) = &network {
                server.move_to(network.address);
            }
            let mut connection = Dialer::new(*client)?.dial(&server).await?;
            let since = Instant::now();
            connection.upload(mib << 20).await?;
            up[at].push(rate(mib, since.elapsed()));
            let since = Instant::now();
            connection.download(mib << 20).await?;
            down[at].push(rate(mib, since.elapsed()));
        }
    }
    for (at, (name, ..)) in pairs.iter().enumerate() {
        println!(
            "{name}: up {}, down {}",
            spread(&mut up[at]),
            spread(&mut down[at])
        );
    }
    println!("load average {}", load_average());
    Ok(())
}

fn rate(mib: usize, time: Duration) -> f64 {
    mib as f64 / time.as_secs_f64()
}

/// The median, the least and the most.
fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied();
    match (values.first(), median, values.last()) {
        (Some(least), Some(median), Some(most)) => {
            format!("{median:.1} ({least:.1} to {most:.1})")
        }
        _ => "none".to_owned(),
    }
}

async fn idle(count: usize, rounds: usize) -> Result<()> {
    println!(
        "memory of a server for each of {count} idle connections, kB, {rounds} rounds in turns"
    );
    let mut figures = [(Kind::New, Vec::new()), (Kind::Old, Vec::new())];
    for _ in 0..rounds {
        for (kind, figures) in &mut figures {
            let server = Server::start(*kind).await?;
            let dialer = Dialer::new(Kind::New)?;
            let mut held = dialer.dial_many(&server, WARM_UP, CONCURRENT).await?;
            sleep(SETTLE).await;
            let before = server.usage()?;
            held.extend(dialer.dial_many(&server, count, CONCURRENT).await?);
            sleep(SETTLE).await;
            let after = server.usage()?;
            figures.push(after.kib.saturating_sub(before.kib) as f64 * 1.024 / count as f64);
        }
    }
    for (kind, figures) in &mut figures {
        println!("{}: {}", kind.name(), spread(figures));
    }
    println!("load average {}", load_average());
    Ok(())
}

/// Three times, because an allocator keeps what it has freed: only what grows each time is lost.
async fn failed(count: usize) -> Result<()> {
    println!("{count} handshakes whose client vanishes after its ClientHello, {ROUNDS} times");
    for kind in [Kind::New, Kind::Old] {
        let server = Server::start(kind).await?;
        let dialer = Dialer::new(Kind::New)?;
        drop(dialer.dial_many(&server, WARM_UP, CONCURRENT).await?);
        sleep(SETTLE).await;
        println!("{}: before {}", kind.name(), server.usage()?);
        for round in 0..ROUNDS {
            let answered = floods::vanish(&server, round * count..(round + 1) * count)?;
            sleep(FORGOTTEN).await;
            let usage = server.usage()?;
            println!("  {answered} requests answered; after {FORGOTTEN:?} {usage}");
        }
        let dial = timeout(FORGOTTEN, dialer.dial(&server)).await;
        let connects = matches!(dial, Ok(Ok(_)));
        println!("  and then a client connects: {connects}");
    }
    println!("load average {}", load_average());
    Ok(())
}

async fn churn(count: usize) -> Result<()> {
    println!("{count} connections made and dropped, {CONCURRENT} at a time");
    let server = Server::start(Kind::New).await?;
    let dialer = Dialer::new(Kind::New)?;
    println!("at the start: {}", server.usage()?);
    let since = Instant::now();
    let (mut done, mut failures) = (0, 0);
    let step = count.div_ceil(10).max(1);
    let mut dials = stream::iter(0..count)
        .map(|_| dialer.dial(&server))
        .buffer_unordered(CONCURRENT);
    while let Some(outcome) = dials.next().await {
        done += 1;
        if let Err(error) = outcome {
            failures += 1;
            println!("a dial failed: {error:#}");
        }
        if done % step == 0 {
            let seconds = since.elapsed().as_secs();
            println!(
                "after {done} connections and {seconds} s: {}",
                server.usage()?
            );
        }
    }
    sleep(FORGOTTEN).await;
    println!(
        "{FORGOTTEN:?} later: {}; {failures} dials failed",
        server.usage()?
    );
    println!("load average {}", load_average());
    Ok(())
}

/// Honest clients connect one after the other while the flood lasts; it goes on until they are done.
async fn flooded(flood: Flood, source: Source, count: usize) -> Result<()> {
    let server = Server::start_on(Kind::New, source.server_ip()).await?;
    let dialer = Dialer::new(Kind::New)?;
    drop(dialer.dial_many(&server, WARM_UP, CONCURRENT).await?);
    sleep(SETTLE).await;
    println!(
        "{flood:?}, {source:?}, {ROUNDS} times: before {}",
        server.usage()?
    );
    for round in 0..ROUNDS {
        let running = flood.start(source, server.socket, round * count, count)?;
        let mut most = server.usage()?;
        let (mut slowest, mut connected, mut honest) = (Duration::ZERO, 0, 0);
        while honest < HONEST || !running.is_done() {
            if honest < HONEST {
                honest += 1;
                let since = Instant::now();
                let outcome = dialer.dial(&server).await;
                let taken = since.elapsed();
                slowest = slowest.max(taken);
                match outcome {
                    Ok(_) if taken < SERVED_WITHIN => connected += 1,
                    Ok(_) => println!("an honest client waited {taken:?}"),
                    Err(error) => println!("an honest client failed: {error:#}"),
                }
            }
            let usage = server.usage()?;
            most.kib = most.kib.max(usage.kib);
            most.files = most.files.max(usage.files);
            sleep(Duration::from_millis(20)).await;
        }
        let sent = running.stop()?;
        println!(
            "  {sent} sent, {connected} of {HONEST} honest clients in time, the slowest in {slowest:?}; most {most}"
        );
        sleep(FORGOTTEN).await;
        println!("  after {FORGOTTEN:?} {}", server.usage()?);
    }
    println!("load average {}", load_average());
    Ok(())
}
