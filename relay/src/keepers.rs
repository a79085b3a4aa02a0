//! Keepers beside the relay (`--keep`): one process of the program `keeper` for each room. Processes, because the relay must not
//! know how rooms work: it passes on a name or a link, and reads lines. A keeper ends when its input is closed, so none outlives
//! its relay, however that ends.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    str::FromStr,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Rooms that one relay keeps: each is a process with some 20 MB.
pub(crate) const MAX_KEPT_ROOMS: usize = 32;
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

/// A room to keep, as an operator names it. It may contain a key, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub enum KeptRoom {
    /// The name of an open room.
    Name(String),
    /// The link of a room, which has the key of a private one.
    Link(String),
    /// The commitment of a private room, which is kept without its key.
    Commitment(String),
}

impl fmt::Debug for KeptRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(_) => "Name",
            Self::Link(_) => "Link",
            Self::Commitment(_) => "Commitment",
        })
    }
}

impl FromStr for KeptRoom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.trim().is_empty() {
            Err("name a room, or give its link".to_owned())
        } else if text.contains('#') {
            Ok(Self::Link(text.to_owned()))
        } else if is_digest {
            Ok(Self::Commitment(text.to_owned()))
        } else {
            Ok(Self::Name(text.to_owned()))
        }
    }
}

impl KeptRoom {
    /// Adds the flag that names the room. A link goes into the environment, which other users cannot see.
    fn name(&self, command: &mut Command) {
        match self {
            // In one word, because a name may begin with a dash.
            Self::Name(name) => command.arg(format!("--room={name}")),
            Self::Link(link) => command.env("HEARTCHAIN_LINK", link),
            Self::Commitment(commitment) => command.args(["--commitment", commitment]),
        };
    }
}

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
}

/// The running keepers of all rooms, until [`Self::shutdown`].
#[derive(Debug)]
pub struct Keepers {
    tasks: JoinSet<()>,
    stop: watch::Sender<()>,
}

impl Keepers {
    /// Starts a keeper for each room. `folder` gets their files, `relay` is a multiaddr of this relay, and `is_local` is whether
    /// only this computer reaches it.
    ///
    /// # Errors
    /// If there is no folder, or the program is missing.
    pub fn start(
        rooms: &[KeptRoom],
        folder: Option<&Path>,
        relay: &str,
        is_local: bool,
    ) -> Result<Self, KeepError> {
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        if !rooms.is_empty() {
            let program = program()?;
            let folder = folder.ok_or(KeepError::NoFolder)?.join("keeper");
            for (number, room) in rooms.iter().enumerate() {
                let keeper = Keeper {
                    number: number + 1,
                    room: room.clone(),
                    program: program.clone(),
                    folder: folder.clone(),
                    relay: relay.to_owned(),
                    scope: if is_local { "loopback" } else { "public" },
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
            let reason = match self.spawn() {
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

    fn spawn(&self) -> io::Result<Child> {
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
        self.room.name(&mut command);
        command.spawn()
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
    fn room_is_a_name_a_link_or_a_commitment() {
        let digest = "9b".repeat(32);
        for (text, room) in [
            ("lobby", KeptRoom::Name("lobby".to_owned())),
            (
                "http://x/#room=a",
                KeptRoom::Link("http://x/#room=a".to_owned()),
            ),
            ("#private=abc", KeptRoom::Link("#private=abc".to_owned())),
            (&digest, KeptRoom::Commitment(digest.clone())),
        ] {
            assert_eq!(text.parse(), Ok(room), "{text}");
        }
        assert!(" ".parse::<KeptRoom>().is_err());
        let link: KeptRoom = "#private=secret".parse().expect("a link");
        assert!(!format!("{link:?}").contains("secret"));
    }

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
        let rooms = ["lobby".parse().expect("a room")];
        // The program of a test is in `deps`, where there is no keeper.
        let missing = Keepers::start(&rooms, None, "/ip4/127.0.0.1/tcp/1/ws", true);
        assert!(matches!(missing, Err(KeepError::NoProgram { .. })));
        let none = Keepers::start(&[], None, "", true).expect("no rooms");
        none.shutdown().await;
    }
}
