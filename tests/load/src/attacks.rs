//! Attacks from one or several loopback addresses, while twenty honest tabs of another address use the relay.

use std::{
    fmt,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::AsyncWriteExt;
use libp2p::{StreamProtocol, rendezvous::Namespace};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    arrivals::print_times,
    process::{RelayKind, RelayProcess, Start, load_average},
    tab::Tab,
    target::Transport,
};

const HONEST: usize = 20;
/// How long an honest tab may wait for everything.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
/// How long one is watched, so that a slow one is told from one that is never served.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tabs that the attacked relay is made for.
const TABS: u32 = 1_000;
/// Connections of one attacker that send nothing, or half a request.
const HELD: usize = 300;
/// Keys of one attacker.
const KEYS: usize = 256;
/// Connections of one attacker that push identify as fast as they can.
const PUSHING: usize = 20;
const PUSH: StreamProtocol = StreamProtocol::new("/ipfs/id/push/1.0.0");

/// Pause of an attacker before it tries again to connect.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// The handshake of a WebSocket. Nothing follows it.
const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What the attackers do.
#[derive(Debug, Clone, Copy)]
enum Attack {
    None,
    SilentHandshakes,
    SlowHeads,
    Keys,
    Pushes,
}

/// Runs each attack from `count` addresses, and prints how the honest tabs fared.
pub(crate) async fn measure(program: &Path, kind: RelayKind, count: u8) -> Result<()> {
    for attack in [
        Attack::None,
        Attack::SilentHandshakes,
        Attack::SlowHeads,
        Attack::Keys,
        Attack::Pushes,
    ] {
        let relay = RelayProcess::start(Start {
            program,
            kind,
            tabs: TABS,
            port: 0,
            transport: Transport::WebSocket,
            announce: None,
        })
        .await?;
        let mut attackers = JoinSet::new();
        for number in 0..count {
            let from = Ipv4Addr::new(127, 0, 1, number.saturating_add(1));
            start(attack, from, &relay, &mut attackers).await;
        }
        let mut times = Vec::new();
        for _ in 0..HONEST {
            let mut steps = Steps::begin();
            let served = timeout(PATIENCE, serve(&relay, &mut steps)).await;
            let elapsed = steps.start.elapsed();
            match served {
                Ok(Ok(())) if elapsed <= SERVED_WITHIN => times.push(elapsed),
                Ok(Ok(())) => println!("an honest tab waited {elapsed:?}: {steps}"),
                Ok(Err(error)) => println!("an honest tab failed: {error:#}; until then {steps}"),
                Err(_) => println!("an honest tab waited more than {PATIENCE:?}: {steps}"),
            }
        }
        let served = times.len();
        println!(
            "{attack:?} from {count} addresses: {served} of {HONEST} honest tabs served (load average {})",
            load_average()
        );
        print_times("  page, reservation and discovery", times);
        attackers.shutdown().await;
    }
    Ok(())
}

/// How long each step of an honest tab took.
struct Steps {
    start: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn begin() -> Self {
        Self {
            start: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Records how long the step took that has just ended.
    fn done(&mut self, step: &'static str) {
        let before = self.done.iter().map(|(_, took)| *took).sum();
        let took = self.start.elapsed().saturating_sub(before);
        self.done.push((step, took));
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (step, took) in &self.done {
            write!(f, "{separator}{step} {} ms", took.as_millis())?;
            separator = ", ";
        }
        Ok(())
    }
}

/// What an honest tab does.
async fn serve(relay: &RelayProcess, steps: &mut Steps) -> Result<()> {
    if let Some(page) = &relay.page {
        let mut stream = TcpStream::connect(page).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        ensure!(response.starts_with(b"HTTP/1.1 200"), "no page");
        steps.done("page");
    }
    let mut tab = Tab::new(&relay.target, Ipv4Addr::LOCALHOST)?;
    tab.connect().await?;
    steps.done("connection");
    tab.reserve().await?;
    steps.done("reservation");
    tab.meet(&Namespace::from_static("room")).await?;
    steps.done("discovery");
    Ok(())
}

/// Starts an attack from one address. It goes on until the tasks are aborted.
async fn start(attack: Attack, from: Ipv4Addr, relay: &RelayProcess, tasks: &mut JoinSet<()>) {
    match attack {
        Attack::None => {}
        Attack::SilentHandshakes => hold(from, relay, UPGRADE, tasks).await,
        Attack::SlowHeads => hold(from, relay, "GET / HTTP/1.1\r\nhost: ", tasks).await,
        Attack::Keys => {
            for _ in 0..KEYS {
                if let Ok(mut tab) = connected(from, relay).await {
                    let _ = tab.reserve().await;
                    tasks.spawn(async move { tab.stay().await });
                }
            }
        }
        Attack::Pushes => {
            for _ in 0..PUSHING {
                if let Ok(tab) = connected(from, relay).await {
                    push(tab, tasks);
                }
            }
        }
    }
}

async fn connected(from: Ipv4Addr, relay: &RelayProcess) -> Result<Tab> {
    let mut tab = Tab::new(&relay.target, from)?;
    tab.connect().await?;
    Ok(tab)
}

/// Opens one stream after the other for a push, each with an empty message.
fn push(mut tab: Tab, tasks: &mut JoinSet<()>) {
    let mut control = tab.swarm.behaviour().streams.new_control();
    let relay = tab.relay_peer();
    tasks.spawn(async move { tab.stay().await });
    tasks.spawn(async move {
        while let Ok(mut stream) = control.open_stream(relay, PUSH).await {
            // An empty message changes nothing at the relay, but costs it a stream.
            let _ = AsyncWriteExt::write_all(&mut stream, &[0]).await;
            let _ = AsyncWriteExt::close(&mut stream).await;
        }
    });
}

/// Holds connections, and opens another one for each that the relay closes.
async fn hold(
    from: Ipv4Addr,
    relay: &RelayProcess,
    request: &'static str,
    tasks: &mut JoinSet<()>,
) {
    let Some(port) = relay.port() else { return };
    for _ in 0..HELD {
        let mut held = open(from, port, request.as_bytes()).await;
        tasks.spawn(async move {
            loop {
                match &mut held {
                    // Until the relay closes it.
                    Ok(stream) => {
                        let mut rest = Vec::new();
                        let _ = stream.read_to_end(&mut rest).await;
                    }
                    Err(_) => sleep(REOPEN_PAUSE).await,
                }
                held = open(from, port, request.as_bytes()).await;
            }
        });
    }
}

async fn open(from: Ipv4Addr, port: u16, request: &[u8]) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let connecting = socket.connect((Ipv4Addr::LOCALHOST, port).into());
    let mut stream = timeout(SERVED_WITHIN, connecting)
        .await
        .context("the relay does not accept")??;
    stream.write_all(request).await?;
    Ok(stream)
}
