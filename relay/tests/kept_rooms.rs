//! Rooms that a relay keeps, with the real programs: at the limit of the disk the relay says so and loses nothing, and with a larger
//! limit it goes on.
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use support::{
    PATIENCE, end_with,
    http::{get, socket_of},
    test_folder::TestFolder,
    text_of,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{sleep, timeout},
};

/// How long a room may take to reach its limit, or to catch up.
const LONG: Duration = Duration::from_secs(240);
/// The least limit of the disk.
const LIMIT: u64 = 2 * 1_024 * 1_024;
/// What the limit does not count: the first page of each store.
const FIRST_PAGE: u64 = 4_096;
/// What another store in the folder has, so that the limit is reached soon: a new store needs the least limit for a moment.
const OTHER_LEN: u64 = 1_024 * 1_024;
/// The name of the other store.
const OTHER: &str = "other.redb";

/// Builds the keeper, so that it is beside the relay and is no older one.
async fn build_keeper() {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        // Build scripts that read them would run again, and with them everything that depends on their crates.
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    // The features are those of `cargo test --workspace`, so that nothing is built twice.
    let what = "build --workspace --bin relay --bin keeper --test kept_rooms";
    let built = cargo.args(what.split(' ')).status().await;
    assert!(built.expect("cargo runs").success(), "the keeper builds");
}

fn keeper() -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_relay")).with_file_name("keeper");
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdout(Stdio::piped());
    command
}

/// A relay that keeps the lobby.
struct Relay {
    child: Child,
    page: String,
    /// Its lines are read at once: a full pipe would stop the relay.
    log: UnboundedReceiver<String>,
}

impl Relay {
    async fn start(data: &Path, port: u16, max_disk: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_relay"))
            .args(["--http-port", &port.to_string()])
            .args("--webrtc-port 0 --stun-port 0 --keep lobby --log-filter relay=debug".split(' '))
            .args(["--data-dir", text_of(data), "--max-disk", max_disk])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (sender, log) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await
                && sender.send(line).is_ok()
            {}
        });
        let page = loop {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("in time").expect("text").expect("a page");
            if let Some(rest) = line.strip_prefix("Open ") {
                break rest.split(' ').next().expect("a URL").to_owned();
            }
        };
        // The pipe stays open for later output.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, page, log }
    }

    fn port(&self) -> u16 {
        socket_of(&self.page).port()
    }

    /// Reads the log up to a line for which this returns something.
    async fn logged<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> T {
        let reading = async {
            loop {
                let line = self.log.recv().await.expect("the relay runs");
                if let Some(found) = found(&line) {
                    return found;
                }
            }
        };
        timeout(LONG, reading).await.expect("in time")
    }

    async fn stop(mut self) {
        // Its keeper writes what it has.
        assert!(end_with("-TERM", &mut self.child).await.success());
    }
}

/// What a keeper has said that records on another computer.
#[derive(Debug, Default)]
struct Said {
    recorded: BTreeSet<String>,
    /// The numbers of its readings that are in blocks.
    in_blocks: BTreeSet<u64>,
    tip: u64,
}

/// A keeper with a folder of its own, into which someone types as fast as it takes it.
struct Recorder {
    child: Child,
    said: Arc<Mutex<Said>>,
    is_typing: Arc<AtomicBool>,
}

impl Recorder {
    async fn start(data: &Path, page: &str) -> Self {
        let mut child = keeper()
            .args([
                "--json",
                "--mining-share",
                "50",
                "--relay",
                page,
                "--data-dir",
            ])
            .arg(data)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = Arc::<Mutex<Said>>::default();
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let started = timeout(PATIENCE, lines.next_line()).await;
        let started = started.expect("in time").expect("text").expect("a line");
        let started: Value = serde_json::from_str(&started).expect("JSON");
        assert_eq!(started["event"], "started");
        let listener = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).expect("JSON");
                listener
                    .lock()
                    .expect("no panic")
                    .hear(&line, &started["author"]);
            }
        });
        let mut input = child.stdin.take().expect("it is piped");
        let is_typing = Arc::new(AtomicBool::new(true));
        let types = Arc::clone(&is_typing);
        tokio::spawn(async move {
            for bpm in (20..=400).cycle() {
                if types.load(Ordering::Relaxed) {
                    let line = format!("{bpm}\n");
                    input.write_all(line.as_bytes()).await.expect("it reads");
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        Self {
            child,
            said,
            is_typing,
        }
    }

    /// Ends the typing, and waits until everything that was recorded is in blocks. Returns what was recorded, and the height.
    async fn rest(&self) -> (BTreeSet<String>, u64) {
        self.is_typing.store(false, Ordering::Relaxed);
        let mut before = usize::MAX;
        for _ in 0..LONG.as_secs() {
            sleep(Duration::from_secs(1)).await;
            let said = self.said.lock().expect("no panic");
            let recorded = said.recorded.len();
            if recorded == before && said.in_blocks.len() == recorded {
                return (said.recorded.clone(), said.tip);
            }
            before = recorded;
        }
        panic!(
            "not all is in blocks: {:?}",
            self.said.lock().map(|said| said.tip)
        );
    }

    async fn stop(mut self) {
        assert!(end_with("-TERM", &mut self.child).await.success());
    }
}

impl Said {
    fn hear(&mut self, line: &Value, author: &Value) {
        match line["event"].as_str() {
            Some("recorded") => {
                let id = line["id"].as_str().expect("an ID");
                self.recorded.insert(id.to_owned());
            }
            Some("block") => {
                self.tip = self.tip.max(line["index"].as_u64().expect("a height"));
                let readings = line["readings"].as_array().expect("readings");
                let own = readings.iter().filter(|one| one["author"] == *author);
                self.in_blocks
                    .extend(own.filter_map(|one| one["seq"].as_u64()));
            }
            _ => {}
        }
    }
}

/// The IDs of all readings that a folder has of the lobby, and how many are in blocks.
async fn exported(folder: &Path, max_disk: &str) -> (BTreeSet<String>, usize) {
    let file = folder.with_extension("json");
    let output = keeper()
        .arg("export")
        .arg(&file)
        .args(["--room", "lobby", "--max-disk", max_disk, "--data-dir"])
        .arg(folder)
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("valid"), "{said}");
    let export: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    let ids = |readings: &Value| -> Vec<String> {
        let readings = readings.as_array().expect("readings").iter();
        readings
            .map(|reading| reading["id"].as_str().expect("an ID").to_owned())
            .collect()
    };
    let blocks = export["blocks"].as_array().expect("blocks").iter();
    let mut found: Vec<String> = blocks.flat_map(|block| ids(&block["readings"])).collect();
    let in_blocks = found.len();
    found.extend(ids(&export["waiting"]));
    (found.into_iter().collect(), in_blocks)
}

/// The bytes of the store of the kept room; `None` before it is there.
fn store_len(folder: &Path) -> Option<u64> {
    let files = fs::read_dir(folder).ok()?;
    let paths = files.map(|file| file.expect("a file").path());
    let stores: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "redb"))
        .filter(|path| !path.ends_with(OTHER))
        .collect();
    assert!(stores.len() < 2, "one room is kept");
    Some(fs::metadata(stores.first()?).expect("a store").len())
}

/// Puts a store of another room beside that of the kept one, once that is there.
async fn add_other_store(folder: &Path) {
    let created = async {
        while store_len(folder).is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, created).await.expect("in time");
    let other = File::create(folder.join(OTHER)).expect("a file");
    other.set_len(OTHER_LEN + FIRST_PAGE).expect("it grows");
}

#[tokio::test]
async fn kept_room_at_its_limit_goes_on_with_a_larger_one() {
    build_keeper().await;
    let (data, other) = (TestFolder::new(), TestFolder::new());
    let kept = data.path().join("keeper");
    let mut relay = Relay::start(data.path(), 0, "2M").await;
    add_other_store(&kept).await;
    let recorder = Recorder::start(other.path(), &relay.page).await;
    let warning = relay
        .logged(|line| line.contains("--max-disk allows").then(|| line.to_owned()))
        .await;
    let start = "the keeper of --keep 1: the stores in this folder have 2M of the 2M that --max-disk allows, and need ";
    assert!(warning.contains(start), "{warning}");
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains("the keeper goes on"), "{warning}");
    // The relay itself is well, and the keeper keeps running.
    let health = get(socket_of(&relay.page), "/healthz", &[]).await;
    assert_eq!(health.status, 200);
    let (recorded, _) = recorder.rest().await;
    let port = relay.port();
    relay.stop().await;
    let len = store_len(&kept).expect("a store");
    assert!(len + OTHER_LEN <= LIMIT + FIRST_PAGE, "{len} bytes");
    let (at_the_limit, in_blocks) = exported(&kept, "2M").await;
    assert!(in_blocks > 1_000, "{in_blocks} readings in {len} bytes");
    assert!(at_the_limit.is_subset(&recorded));
    assert!(at_the_limit.len() < recorded.len(), "not all had room");

    // With a larger limit it fetches what it had no room for.
    let mut relay = Relay::start(data.path(), port, "64M").await;
    recorder.is_typing.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(1)).await;
    let (recorded, tip) = recorder.rest().await;
    let height_of = |line: &str| {
        let (_, event) = line.split_once("the keeper of --keep 1: ")?;
        let event: Value = serde_json::from_str(event).ok()?;
        let height = event["index"].as_u64().or(event["to"].as_u64());
        height.or_else(|| event["tip"]["index"].as_u64())
    };
    relay
        .logged(|line| height_of(line).filter(|height| *height >= tip))
        .await;
    relay.stop().await;
    recorder.stop().await;
    let (kept, in_blocks) = exported(&kept, "64M").await;
    println!(
        "{} of {} readings fitted into {len} bytes, {in_blocks} are in blocks now",
        at_the_limit.len(),
        recorded.len()
    );
    assert!(at_the_limit.is_subset(&kept), "nothing is lost");
    assert!(recorded.is_subset(&kept), "everything is kept");
}
