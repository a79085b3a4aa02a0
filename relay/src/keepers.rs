//! Keepers beside the relay (`--keep`): one process of the program `keeper` for each room. Processes, because the relay must not
//! know how rooms work: it passes on a name or a link, and reads lines. A keeper ends when its input is closed, so none outlives
//! its relay, however that ends.

use std::{
    env, io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use disk_limit::DiskLimit;
use libp2p::{Multiaddr, multiaddr::Protocol};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{config::Config, kept_room::KeptRoom};

/// Waits before a keeper that ended is started again: the last one repeats.
const RESTART: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(300),
];
/// A keeper that ran for this long has recovered.
const RECOVERED: Duration = Duration::from_secs(60);
/// How long the last lines of a keeper that ended may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a keeper may take to write everything to disk before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// The program that is started, beside the relay's own.
const PROGRAM: &str = "keeper";

/// Why keepers could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The program is not there.
    #[error(
        "--keep needs the program {} beside the relay: build it with `cargo build -p keeper`, or copy it there",
        path.display()
    )]
    NoProgram {
        /// Where it is expected.
        path: PathBuf,
    },
    /// The relay's own path is not known.
    #[error("--keep: the program {PROGRAM} was not found: {0}")]
    NoPath(#[from] io::Error),
    /// There is no folder for the rooms.
    #[error("--keep needs a folder for the rooms: choose one with --data-dir")]
    NoFolder,
    /// Every address of the relay needs TLS.
    #[error(
        "--keep needs an address without TLS, and the relay has none: start keepers on their own, with --relay"
    )]
    NoAddress,
}

/// The running keepers of all rooms, until [`Self::shutdown`].
#[derive(Debug)]
pub struct Keepers {
    tasks: JoinSet<()>,
    stop: watch::Sender<()>,
}

impl Keepers {
    /// Starts a keeper for each room of the configuration. `addresses` are the relay's.
    ///
    /// # Errors
    /// If there is no folder, the program is missing, or the relay has no address for keepers.
    pub fn start(config: &Config, addresses: &[Multiaddr]) -> Result<Self, KeepError> {
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        if !config.keep.is_empty() {
            let program = program()?;
            let folder = config.identity.folder().ok_or(KeepError::NoFolder)?;
            let relay = address_for_keepers(addresses).ok_or(KeepError::NoAddress)?;
            for (number, room) in config.keep.iter().enumerate() {
                let keeper = Keeper {
                    number: number + 1,
                    room: room.clone(),
                    program: program.clone(),
                    folder: folder.join("keeper"),
                    max_disk: config.max_disk,
                    relay: relay.to_string(),
                    scope: scope_of(config),
                };
                tasks.spawn(keeper.keep(stopped.clone()));
            }
        }
        Ok(Self { tasks, stop })
    }

    /// Ends all keepers, once what they have is on disk.
    pub async fn shutdown(mut self) {
        drop(self.stop);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The address at which keepers dial the relay: by WebSocket without TLS, because a keeper does not know the relay's own authority,
/// or else by WebRTC-direct. Of several, one of loopback: what an operator announces may lead back to this computer or not.
fn address_for_keepers(addresses: &[Multiaddr]) -> Option<&Multiaddr> {
    let ranked = addresses.iter().filter_map(|address| {
        let has = |name: &str| address.protocol_stack().any(|part| part == name);
        let is_plain = has("ws") && !has("tls");
        let host = address.iter().next()?;
        let is_here = matches!(host, Protocol::Ip4(ip) if ip.is_loopback())
            || matches!(host, Protocol::Ip6(ip) if ip.is_loopback());
        (is_plain || has("webrtc-direct")).then_some(((!is_plain, !is_here), address))
    });
    let best = ranked.min_by_key(|(rank, _)| *rank);
    best.map(|(_, address)| address)
}

/// How close an address may be that strangers register with this relay, as keepers take it.
fn scope_of(config: &Config) -> &'static str {
    match config.announce.is_empty() && config.listen_ips.iter().all(IpAddr::is_loopback) {
        true => "loopback",
        false => "public",
    }
}

/// The path of the program: in the folder of the relay's own, with a name that differs as `keeper` differs from `relay`.
fn program() -> Result<PathBuf, KeepError> {
    let own = env::current_exe()?;
    let path = own.with_file_name(program_beside(&own));
    match path.is_file() {
        true => Ok(path),
        false => Err(KeepError::NoProgram { path }),
    }
}

/// The name of the program beside a relay with this path: `heartchain-keeper` beside `heartchain-relay`.
fn program_beside(relay: &Path) -> String {
    let stem = relay.file_stem().unwrap_or_default().to_string_lossy();
    let name = match stem.contains("relay") {
        true => stem.replace("relay", PROGRAM),
        false => PROGRAM.to_owned(),
    };
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

#[derive(Debug)]
struct Keeper {
    /// Which of the rooms it is, from 1: logs must not contain the link of a private room.
    number: usize,
    room: KeptRoom,
    program: PathBuf,
    folder: PathBuf,
    /// Of all rooms in the folder together: each keeper counts what the others have.
    max_disk: Option<DiskLimit>,
    relay: String,
    /// How close an address may be that strangers register.
    scope: &'static str,
}

impl Keeper {
    /// Runs the keeper again and again, until the relay stops.
    async fn keep(self, mut stopped: watch::Receiver<()>) {
        let number = self.number;
        let mut waits = RESTART.iter();
        let mut wait = RESTART[0];
        loop {
            let since = Instant::now();
            let reason = match self.command().spawn() {
                Ok(child) => match self.watch(child, &mut stopped).await {
                    Some(Ok(status)) => status.to_string(),
                    Some(Err(error)) => error.to_string(),
                    None => return,
                },
                Err(error) => error.to_string(),
            };
            if since.elapsed() >= RECOVERED {
                waits = RESTART.iter();
            }
            wait = waits.next().copied().unwrap_or(wait);
            let seconds = wait.as_secs();
            tracing::error!(
                "the keeper of --keep {number} ended ({reason}); it starts again in {seconds} s"
            );
            tokio::select! {
                // The sender is dropped.
                _ = stopped.changed() => return,
                () = sleep(wait) => {}
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--json")
            .args(["--relay", &self.relay, "--scope", self.scope])
            .arg("--data-dir")
            .arg(&self.folder)
            .env_remove("HEARTCHAIN_LINK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Signals of the terminal are the relay's to pass on.
        #[cfg(unix)]
        command.process_group(0);
        if let Some(limit) = self.max_disk {
            command.args(["--max-disk", &limit.to_string()]);
        }
        self.room.name(&mut command);
        command
    }

    /// Passes what the keeper says to the log, until it ends: `None` if it ended because the relay stops.
    async fn watch(
        &self,
        mut child: Child,
        stopped: &mut watch::Receiver<()>,
    ) -> Option<io::Result<ExitStatus>> {
        let input = child.stdin.take();
        let reading = child.stdout.take().map(|stdout| {
            let number = self.number;
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    log(number, &line);
                }
            })
        });
        let ended = tokio::select! {
            biased;
            // The sender is dropped.
            _ = stopped.changed() => None,
            ended = child.wait() => Some(ended),
        };
        if ended.is_none() {
            // It writes what it has, and ends.
            drop(input);
            if timeout(STOP_PATIENCE, child.wait()).await.is_err() {
                tracing::warn!("the keeper of --keep {} did not end in time", self.number);
            }
        }
        if let Some(mut reading) = reading {
            // Its last line says why it ended.
            if timeout(LAST_WORDS, &mut reading).await.is_err() {
                reading.abort();
            }
        }
        ended
    }
}

/// Logs a line of a keeper: its errors as such, and the rest for those who look.
fn log(number: usize, line: &str) {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    match event["message"].as_str() {
        Some(message) if event["event"] == "error" => {
            tracing::warn!("the keeper of --keep {number}: {message}");
        }
        _ => tracing::debug!("the keeper of --keep {number}: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_named_like_the_relay() {
        let suffix = env::consts::EXE_SUFFIX;
        for (relay, keeper) in [
            ("/usr/local/bin/heartchain-relay", "heartchain-keeper"),
            ("target/debug/relay", "keeper"),
            ("other", "keeper"),
        ] {
            let relay = format!("{relay}{suffix}");
            let found = program_beside(Path::new(&relay));
            assert_eq!(found, format!("{keeper}{suffix}"));
        }
    }

    #[tokio::test]
    async fn keepers_need_a_folder_and_the_program() {
        let mut config = Config::for_tests(7);
        let none = Keepers::start(&config, &[]).expect("no rooms");
        none.shutdown().await;
        config.keep = vec!["lobby".parse().expect("a room")];
        // The program of a test is in `deps`, where there is no keeper.
        let missing = Keepers::start(&config, &[]);
        assert!(matches!(missing, Err(KeepError::NoProgram { .. })));
    }

    #[test]
    fn keepers_share_one_limit_of_the_disk() {
        let mut keeper = Keeper {
            number: 1,
            room: "lobby".parse().expect("a room"),
            program: PathBuf::from("keeper"),
            folder: PathBuf::from("/data/keeper"),
            max_disk: Some("4G".parse().expect("a size")),
            relay: "/ip4/127.0.0.1/tcp/8080/ws".to_owned(),
            scope: "loopback",
        };
        let args = |keeper: &Keeper| -> Vec<String> {
            let command = keeper.command();
            let args = command.as_std().get_args();
            args.map(|arg| arg.to_string_lossy().into_owned()).collect()
        };
        let given = args(&keeper).join(" ");
        assert!(given.contains("--data-dir /data/keeper"), "{given}");
        assert!(given.contains("--max-disk 4G --room=lobby"), "{given}");
        keeper.max_disk = None;
        assert!(!args(&keeper).contains(&"--max-disk".to_owned()));
    }

    #[test]
    fn keepers_dial_without_tls_and_on_loopback() {
        let websocket = "/ip4/127.0.0.1/tcp/8080/ws";
        let secure = "/ip4/127.0.0.1/tcp/8080/tls/ws";
        let lan = "/ip4/192.168.1.5/tcp/8080/ws";
        let webrtc = "/ip4/192.168.1.5/udp/8082/webrtc-direct";
        let webrtc_here = "/ip6/::1/udp/8082/webrtc-direct";
        let announced = "/ip4/203.0.113.7/udp/8082/webrtc-direct";
        for (addresses, expected) in [
            (&[announced, webrtc, lan, websocket][..], Some(websocket)),
            (&[webrtc_here, lan], Some(lan)),
            (&[secure, announced, webrtc, webrtc_here], Some(webrtc_here)),
            (&[secure, announced], Some(announced)),
            (&[secure], None),
            (&[], None),
        ] {
            let addresses: Vec<Multiaddr> = addresses
                .iter()
                .map(|address| address.parse().expect("a multiaddr"))
                .collect();
            let found = address_for_keepers(&addresses).map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn relay_that_others_reach_knows_strangers() {
        let mut config = Config::for_tests(7);
        assert_eq!(scope_of(&config), "loopback");
        config.announce = vec!["https://hearts.example".parse().expect("a URL")];
        assert_eq!(scope_of(&config), "public");
        config.announce.clear();
        config.listen_ips.push([0, 0, 0, 0].into());
        assert_eq!(scope_of(&config), "public");
    }
}
