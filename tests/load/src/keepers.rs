//! Keepers with a long chain, and with many rooms.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use heartchain_chain::{
    block::MAX_AUTHOR_READINGS, bpm::Bpm, reading::Reading, room::Room, time::UnixMillis,
};
use heartchain_sync::io::ImportPiece;
use heartchain_test_support::{Branch, START, key};
use keeper::{
    author_key::KeySource,
    network::Offline,
    opening::{KeeperOptions, Opened, open},
    room_link::open_room,
    store::DiskLimit,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

use crate::process::{RelayProcess, load_average, memory, processor_time};

/// The room of the long chain.
const ROOM: &str = "long";
/// Authors of each block of the long chain, each with as many readings as a block may have of one.
const AUTHORS: u64 = 7;
/// Blocks that are imported at once.
const PIECE: usize = 8;
/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How long the rooms settle before their processor time is measured, and for how long it is.
const IDLE: Duration = Duration::from_secs(60);

/// A running keeper that prints JSON, killed when dropped.
struct Keeper {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    began: Instant,
}

impl Keeper {
    fn start(program: &Path, folder: &Path, args: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["--json", "--no-mine", "--data-dir"])
            .arg(folder)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            began: Instant::now(),
        })
    }

    /// Reads until a line is wanted.
    async fn until(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                let line: Value = serde_json::from_str(&line)?;
                if line["event"] == "error" {
                    println!("  {}", line["message"]);
                }
                if is_wanted(&line) {
                    return Ok(line);
                }
            }
            bail!("the keeper ended")
        };
        timeout(PATIENCE, found).await.context("it took too long")?
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("the keeper has ended")
    }

    /// What it needs of memory, now and at most.
    fn memory(&self) -> Result<String> {
        let id = self.id()?;
        let [now, most] = [memory(id, "VmRSS:")?, memory(id, "VmHWM:")?];
        Ok(format!("{} MiB, at most {}", now / 1024, most / 1024))
    }
}

fn is(event: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == event
}

/// Fills the store of a room with a chain of this many readings.
async fn fill(folder: &Path, room: &Room, readings: u64) -> Result<u64> {
    let Opened {
        session,
        handle,
        events,
    } = open(
        KeeperOptions {
            room: room.clone(),
            data_folder: folder.to_owned(),
            key: KeySource::File,
            mining: None,
            max_disk: DiskLimit::DEFAULT,
        },
        Offline,
    )?;
    drop(events);
    let work = async {
        let mut branch = Branch::in_room(room);
        let mut done = 0;
        while done < readings {
            let from = branch.blocks.len();
            for _ in 0..PIECE {
                let height = branch.next_index();
                let body = body(room, height);
                done += body.len() as u64;
                // Two intervals apart, so that the work stays the least.
                branch.push_at(body, START + 2_000 * height);
            }
            let piece = ImportPiece {
                blocks: branch.blocks.get(from..).unwrap_or_default().to_vec(),
                ..ImportPiece::default()
            };
            handle.import(piece).await??;
        }
        let last = ImportPiece {
            is_last: true,
            ..ImportPiece::default()
        };
        handle.import(last).await??;
        handle.stop().await;
        Ok(branch.next_index() - 1)
    };
    let (ended, height): (_, Result<u64>) = tokio::join!(session.run(), work);
    ended?;
    height
}

/// The readings of a block at this height.
fn body(room: &Room, height: u64) -> Vec<Reading> {
    let each = MAX_AUTHOR_READINGS as u64;
    let readings = (0..AUTHORS).flat_map(|author| {
        let key = key(author);
        (0..each).map(move |at| {
            let seq = (height - 1) * each + at;
            let bpm = Bpm::new(60 + u16::try_from(seq % 60).unwrap_or_default());
            let time = UnixMillis::new(START + 2_000 * height + at);
            (key.clone(), seq, time, bpm)
        })
    });
    let readings = readings
        .filter_map(|(key, seq, time, bpm)| Some(key.sign(room.id(), seq, time, bpm.ok()?)));
    readings.collect()
}

/// Files of a folder, in MiB.
fn disk(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes / 1024 / 1024)
}

/// A keeper imports a long chain, starts with it, and serves it to another one.
pub(crate) async fn long_chain(program: &Path, readings: u64) -> Result<()> {
    let room = open_room(ROOM)?;
    let [first, second] = [tempfile::tempdir()?, tempfile::tempdir()?];
    println!(
        "keeper, {readings} readings, load average {}",
        load_average()
    );
    let began = Instant::now();
    let height = fill(first.path(), &room, readings).await?;
    println!(
        "  signed, mined and imported in {:.1?}: {height} blocks, {} MiB on disk",
        began.elapsed(),
        disk(first.path())?
    );

    let args = |more: &[&str]| -> Vec<String> {
        let all = [
            "--room",
            ROOM,
            "--no-relay",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ];
        all.iter().chain(more).map(|&arg| arg.to_owned()).collect()
    };
    let mut source = Keeper::start(program, first.path(), &args(&[]))?;
    let started = source.until(is("started")).await?;
    println!(
        "  start: {:.1?} at block {}",
        source.began.elapsed(),
        started["tip"]["index"]
    );
    let listening = source.until(is("listening")).await?;
    let address = listening["address"].as_str().context("an address")?;
    println!("  memory: {}", source.memory()?);

    let mut newcomer = Keeper::start(program, second.path(), &args(&["--peer", address]))?;
    newcomer.until(is("peers")).await?;
    let began = Instant::now();
    newcomer
        .until(|line| {
            let reached = |field: &str| line[field].as_u64().is_some_and(|at| at >= height);
            line["event"] == "block" && reached("index")
                || line["event"] == "blocks" && reached("to")
        })
        .await?;
    println!("  catch-up of a second keeper: {:.1?}", began.elapsed());
    println!(
        "  memory: {}; of the first one {}",
        newcomer.memory()?,
        source.memory()?
    );
    println!("  disk of the second one: {} MiB", disk(second.path())?);
    Ok(())
}

/// A keeper keeps many rooms in which nothing happens.
pub(crate) async fn many_rooms(program: &Path, relay: &RelayProcess, rooms: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    println!(
        "keeper of {rooms} empty rooms, load average {}",
        load_average()
    );
    let page = relay.page.as_deref().context("the relay has a page")?;
    let mut args = vec!["--relay".to_owned(), format!("http://{page}/")];
    args.extend((0..rooms).map(|room| format!("--room=room {room}")));
    let mut keeper = Keeper::start(program, folder.path(), &args)?;
    for _ in 0..rooms {
        keeper.until(is("started")).await?;
    }
    println!("  all started after {:.1?}", keeper.began.elapsed());
    // The pipe must not fill.
    let settle = keeper.until(|_| false);
    if timeout(IDLE, settle).await.is_ok() {
        bail!("the keeper ended");
    }
    let before = processor_time(keeper.id()?)?;
    sleep(IDLE).await;
    let used = processor_time(keeper.id()?)? - before;
    println!(
        "  memory: {}; processor: {} ms in {} s; the relay has {} files open",
        keeper.memory()?,
        used * 10,
        IDLE.as_secs(),
        relay.files()?
    );
    println!("  disk: {} MiB", disk(folder.path())?);
    Ok(())
}
