//! The binary as people and programs use it: what is typed, what is printed, and how it ends.

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use keeper::{archive, commands, room_link::open_room};
use serde_json::Value;
use support::{Folder, place};

/// How often the test that kills a keeper does so. More with `HEARTCHAIN_KILLS`.
const KILLS: u32 = 5;
/// How long a keeper may say nothing that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

fn lobby() -> Folder {
    Folder::of(open_room("lobby").expect("a name"))
}

/// A keeper of the folder with these flags.
fn command(folder: &Folder, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keeper"));
    command
        .args(args)
        .arg("--data-dir")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A keeper that prints JSON. It ends with its test.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let child = command(folder, args).arg("--no-relay").spawn();
        let mut child = child.expect("it starts");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|len| len > 0)
                && sender.send(core::mem::take(&mut line)).is_ok()
            {}
        });
        Self {
            child,
            input,
            lines,
        }
    }

    fn type_line(&mut self, line: &str) -> std::io::Result<()> {
        let input = self.input.as_mut().expect("it is not closed");
        input.write_all(format!("{line}\n").as_bytes())
    }

    /// The next line; `None` at the end. A line that a kill cut off counts as the end.
    fn next(&self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(line.strip_suffix('\n')?).ok(),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing more"),
        }
    }

    /// Reads until an event of this kind.
    fn wait_for(&self, event: &str) -> Value {
        loop {
            let found = self
                .next()
                .unwrap_or_else(|| panic!("it ended before {event}"));
            if found["event"] == event {
                return found;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Types a line and ends the input. A keeper that reads nothing runs on.
    fn expect_no_reader(&mut self) {
        self.type_line("72").expect("typed");
        self.input = None;
        std::thread::sleep(Duration::from_millis(500));
        let ended = self.child.try_wait().expect("its state");
        assert_eq!(ended, None, "it runs");
    }

    /// Waits for the end. Returns whether it succeeded, and its errors.
    fn end(mut self) -> (bool, String) {
        self.input = None;
        while self.next().is_some() {}
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().expect("its errors");
        stderr.read_to_string(&mut errors).expect("text");
        (self.child.wait().expect("it ends").success(), errors)
    }
}

/// Runs a keeper with all of its input.
fn run_with(folder: &Folder, args: &[&str], input: &str) -> Output {
    let mut command = command(folder, args);
    let is_keeper = args.first().is_none_or(|first| first.starts_with('-'));
    if is_keeper && !args.contains(&"--relay") {
        command.arg("--no-relay");
    }
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input");
    // One that refuses to start reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn killed_keeper_has_every_reported_reading() {
    let folder = lobby();
    let kills = std::env::var("HEARTCHAIN_KILLS").ok();
    let kills = kills.and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut reported: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut random = 0x9e37_79b9_u64;
    for kill in 0..kills {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let patience = Duration::from_millis(20 + (random >> 33) % 400);
        let mut keeper = Running::start(&folder, &["--json", "--mining-share", "60"]);
        keeper.wait_for("started");
        let mut input = keeper.input.take().expect("its input");
        let typist = std::thread::spawn(move || {
            for number in (20..=400).cycle() {
                if writeln!(input, "{number}").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let killer = {
            let pid = keeper.child.id().to_string();
            std::thread::spawn(move || {
                std::thread::sleep(patience);
                let killed = Command::new("kill").args(["-KILL", &pid]).status();
                assert!(killed.expect("kill runs").success());
            })
        };
        while let Some(event) = keeper.next() {
            if event["event"] == "recorded" {
                let id = event["id"].as_str().expect("an ID").to_owned();
                let (seq, bpm) = (event["seq"].as_u64(), event["bpm"].as_u64());
                let value = (seq.expect("a number"), bpm.expect("a number"));
                assert_eq!(reported.insert(id, value), None, "kill {kill}: an ID twice");
            }
        }
        killer.join().expect("it killed");
        keeper.child.wait().expect("it ended");
        typist.join().expect("it typed");
    }
    assert!(!reported.is_empty(), "something was recorded");

    let file = folder.path().join("all.json");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let place = place(&folder);
    let exported = commands::export(&file, &place);
    runtime
        .expect("a runtime")
        .block_on(exported)
        .expect("exported");
    archive::verify(&file).expect("valid");
    let export: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    let blocks = export["blocks"].as_array().expect("blocks").iter();
    let readings = blocks
        .flat_map(|block| block["readings"].as_array().expect("readings"))
        .chain(export["waiting"].as_array().expect("waiting"));
    let mut found = 0;
    for reading in readings {
        let id = reading["id"].as_str().expect("an ID");
        if let Some((seq, bpm)) = reported.get(id) {
            let expected = (reading["seq"].as_u64(), reading["bpm"].as_u64());
            assert_eq!(expected, (Some(*seq), Some(*bpm)));
            found += 1;
        }
    }
    println!(
        "{kills} kills, {found} of {} reported readings are there",
        reported.len()
    );
    assert_eq!(found, reported.len(), "every reported reading is there");
}

#[test]
fn wrong_lines_are_answered_and_nothing_is_lost() {
    let folder = lobby();
    let output = run_with(&folder, &[], "abc\n19\n401\n\n72\n-5\n80");
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let range = "a heart rate is a whole number from 20 to 400";
    assert_eq!(errors.matches(range).count(), 4, "{errors}");
    for expected in [
        "\"abc\" is not a number",
        "19 was not recorded",
        "401 was not recorded",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    assert!(
        out.starts_with("room lobby: 0 blocks, 0 readings wait; you are "),
        "{out}"
    );
    assert!(out.contains("recorded 72 as your reading 0\n"), "{out}");
    assert!(out.contains("recorded 80 as your reading 1\n"), "{out}");
    assert!(out.ends_with("Everything is on disk.\n"), "{out}");

    let output = run_with(&folder, &["--json", "--no-mine"], "x\n400\n");
    assert!(output.status.success());
    let out = text(&output.stdout);
    let lines = out.lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("one object a line"));
    // Where it listens is said at any time.
    let lines: Vec<Value> = lines
        .filter(|line: &Value| line["event"] != "listening")
        .collect();
    let events: Vec<_> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(events, ["started", "error", "recorded", "stopped"]);
    assert_eq!(lines[2]["seq"], 2, "the numbers go on");
    assert!(output.stderr.is_empty());
}

#[test]
fn many_lines_at_once_are_all_recorded() {
    let folder = lobby();
    let input: String = (0..1_000)
        .map(|at| format!("{}\n", 20 + at % 381))
        .collect();
    let output = run_with(&folder, &["--json", "--no-mine"], &input);
    assert!(output.status.success());
    let out = text(&output.stdout);
    let recorded: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .filter(|line: &Value| line["event"] == "recorded")
        .collect();
    assert_eq!(recorded.len(), 1_000);
    for (at, line) in (0_u64..).zip(&recorded) {
        let expected = (Some(at), Some(20 + at % 381));
        assert_eq!((line["seq"].as_u64(), line["bpm"].as_u64()), expected);
    }
}

#[test]
fn blocks_are_printed_as_lines() {
    let folder = lobby();
    let mut keeper = Running::start(&folder, &["--json", "--seed", "7"]);
    let started = keeper.wait_for("started");
    assert_eq!(
        (&started["room"], &started["tip"]["index"]),
        (&"lobby".into(), &0.into())
    );
    keeper.type_line("72").expect("typed");
    let recorded = keeper.wait_for("recorded");
    let block = keeper.wait_for("block");
    let reading = &block["readings"][0];
    assert_eq!((&block["index"], &reading["bpm"]), (&1.into(), &72.into()));
    assert_eq!(reading["author"], started["author"]);
    assert_eq!(reading["seq"], recorded["seq"]);
    assert_eq!(keeper.end(), (true, String::new()));
}

#[test]
fn signals_end_a_keeper_cleanly() {
    for signal in ["-INT", "-TERM"] {
        let folder = lobby();
        let mut keeper = Running::start(&folder, &["--json", "--no-mine"]);
        keeper.wait_for("started");
        keeper.type_line("72").expect("typed");
        keeper.wait_for("recorded");
        keeper.signal(signal);
        keeper.wait_for("stopped");
        assert_eq!(keeper.end(), (true, String::new()), "{signal}");
        let output = run_with(&folder, &["--json", "--no-mine"], "");
        assert!(text(&output.stdout).contains("\"waiting\":1"), "{signal}");
    }
}

#[test]
fn quiet_keeper_reads_nothing_and_runs_on() {
    let folder = lobby();
    let mut keeper = Running::start(&folder, &["--quiet"]);
    keeper.expect_no_reader();
    keeper.signal("-TERM");
    let said = keeper.lines.recv_timeout(PATIENCE);
    assert_eq!(said, Err(RecvTimeoutError::Disconnected));
    assert_eq!(keeper.end(), (true, String::new()));
}

#[test]
fn several_rooms_are_kept_by_one_process() {
    let folder = lobby();
    let first = Running::start(&folder, &["--json", "--no-mine"]);
    first.wait_for("started");
    let rooms = ["--json", "--room=lobby", "--room=a", "--room=b"];
    let mut keeper = Running::start(&folder, &rooms);
    let id = |name| open_room(name).expect("a name").id().to_string();
    let mut said = Vec::new();
    for _ in 0..3 {
        // The addresses of a room come after its start.
        let line = loop {
            let line = keeper.next().expect("it runs");
            if line["event"] != "listening" {
                break line;
            }
        };
        said.push([&line["roomId"], &line["event"]].map(|part| part.as_str().map(str::to_owned)));
    }
    said.sort_unstable();
    let mut expected = [("lobby", "error"), ("a", "started"), ("b", "started")]
        .map(|(name, event)| [Some(id(name)), Some(event.to_owned())]);
    expected.sort_unstable();
    assert_eq!(said, expected, "the room in use does not end the others");
    // A line does not say for which room it is.
    keeper.expect_no_reader();
    keeper.signal("-TERM");
    let mut stopped = [keeper.wait_for("stopped"), keeper.wait_for("stopped")]
        .map(|line| line["roomId"].as_str().map(str::to_owned));
    stopped.sort_unstable();
    let mut both = ["a", "b"].map(|name| Some(id(name)));
    both.sort_unstable();
    assert_eq!(stopped, both);
    assert!(!keeper.end().0, "one room was not kept");
    assert!(first.end().0);
}

#[test]
fn keeper_that_cannot_start_says_why() {
    let folder = lobby();
    let keeper = Running::start(&folder, &["--json"]);
    keeper.wait_for("started");
    let second = run_with(&folder, &[], "72\n");
    assert_eq!(second.status.code(), Some(1));
    let errors = text(&second.stderr);
    assert!(
        errors.contains("another keeper keeps this room"),
        "{errors}"
    );
    let json = run_with(&folder, &["--json"], "");
    let error: Value = serde_json::from_slice(&json.stdout).expect("one object");
    assert_eq!(
        (json.status.code(), &error["event"]),
        (Some(1), &"error".into())
    );
    assert!(keeper.end().0);

    for (args, expected) in [
        (&["--link", "#private=abc"][..], "copy the whole link again"),
        (&["--room", " "], "at least one character"),
        (&["--commitment", "12"], "64 hexadecimal digits"),
        (&["--colour"], "unexpected argument"),
    ] {
        let output = run_with(&folder, args, "");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
    std::fs::write(folder.file("redb"), "a text").expect("written");
    let output = run_with(&folder, &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("restore it from a backup"));
}

#[test]
fn import_says_what_it_found() {
    let [first, second] = [lobby(), lobby()];
    run_with(&first, &["--json", "--no-mine"], "72\n80\n");
    let file = first.path().join("all.json");
    let file = file.to_str().expect("text");
    assert!(run_with(&first, &["export", file], "").status.success());
    let output = run_with(&second, &["import", file, "--json"], "");
    let found: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(found["event"], "imported");
    assert_eq!(
        (&found["readings"], &found["newReadings"]),
        (&2.into(), &2.into())
    );
    assert_eq!(found["notStored"]["ownKey"], 0);
    let output = run_with(&second, &["import", file], "");
    let out = text(&output.stdout);
    assert!(
        out.contains("2 readings (0 new, 2 already here, 0 not stored)"),
        "{out}"
    );
    // A keeper with the same key and nothing else.
    let third = lobby();
    std::fs::copy(first.file("key"), third.file("key")).expect("copied");
    let output = run_with(&third, &["import", file], "");
    let out = text(&output.stdout);
    assert!(
        out.contains("(0 new, 0 already here, 2 not stored)"),
        "{out}"
    );
    assert!(
        out.contains("\nNot stored: 2 waiting readings have this keeper's own key"),
        "{out}"
    );
    let output = run_with(&third, &["import", "/nothing", "--json"], "");
    let error: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        (output.status.code(), &error["event"]),
        (Some(1), &"error".into())
    );
}

#[test]
fn keeper_without_the_key_shows_counts_only() {
    let key = heartchain_chain::room_key::RoomKey::new([7; 32]);
    let folder = Folder::of(heartchain_chain::room::Room::private(key.clone()));
    let link = format!(
        "http://127.0.0.1:8080/#private={}&label=Family",
        key.to_token()
    );
    let output = run_with(&folder, &["--link", &link], "72\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let commitment = key.commitment().to_string();
    let output = run_with(&folder, &["--commitment", &commitment], "80\n");
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(out.contains("its readings stay sealed"), "{out}");
    assert!(errors.contains("start it with --link"), "{errors}");
    // Ports, keys and hashes may contain the digits, too.
    let is_shown = |text: &str| text.split([' ', ',', '\n']).any(|word| word == "72");
    assert!(!is_shown(&out) && !is_shown(&errors), "{out}");
    assert!(is_shown("block 1 \u{2026}9f: 8a88e3f0 72, 9f3b0012 61"));
    // The key is in no file.
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("its bytes");
        let secret = key.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}
