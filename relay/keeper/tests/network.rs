//! Keepers among themselves: the binary, at each of its transports, without a relay; and without the relay that it expects.

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use heartchain_chain::room_key::RoomKey;
use keeper::room_link::open_room;
use serde_json::Value;
use support::Folder;

/// A keeper that prints JSON, killed when dropped.
struct Keeper {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    seen: Vec<Value>,
}

impl Keeper {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keeper"))
            .args(["--json", "--data-dir"])
            .arg(folder.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take().expect("its input");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            input,
            lines,
            seen: Vec::new(),
        }
    }

    fn record(&mut self, bpm: u64) {
        writeln!(self.input, "{bpm}").expect("it reads");
    }

    /// The first event for which this holds, whether it was printed already or is still to come.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.seen.iter().find(|found| wanted(found)) {
            return found.clone();
        }
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("text");
            assert!(!line.is_empty(), "it ended; it printed {:?}", self.seen);
            let found: Value = serde_json::from_str(&line).expect("an object");
            self.seen.push(found.clone());
            if wanted(&found) {
                return found;
            }
        }
    }

    fn until_bpm(&mut self, bpm: u64) {
        self.until(|event| {
            let readings = event["readings"].as_array();
            readings.is_some_and(|readings| readings.iter().any(|one| one["bpm"] == bpm))
        });
    }

    /// The address at which it listens by this transport.
    fn address(&mut self, is_wanted: impl Fn(&str) -> bool) -> String {
        let found = self.until(|event| event["address"].as_str().is_some_and(&is_wanted));
        found["address"].as_str().expect("text").to_owned()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lobby() -> Folder {
    Folder::of(open_room("lobby").expect("a name"))
}

fn is_tcp(address: &str) -> bool {
    address.contains("/tcp/") && !address.contains("/ws")
}

#[test]
fn keepers_agree_over_each_transport() {
    let transports: [fn(&str) -> bool; 3] = [
        |address| address.contains("/ws/"),
        |address| address.contains("/webrtc-direct/"),
        is_tcp,
    ];
    for is_wanted in transports {
        let (one, other) = (lobby(), lobby());
        let mut first = Keeper::start(&one, &["--no-relay"]);
        let address = first.address(is_wanted);
        let mut second = Keeper::start(&other, &["--no-relay", "--peer", &address]);
        second.until(|event| event["connected"] == 1);
        first.record(61);
        second.record(62);
        for keeper in [&mut first, &mut second] {
            keeper.until_bpm(61);
            keeper.until_bpm(62);
        }
    }
}

#[test]
fn restarted_keeper_is_found_at_its_address() {
    let (one, other) = (lobby(), lobby());
    let mut first = Keeper::start(&one, &["--no-relay"]);
    let address = first.address(is_tcp);
    let mut second = Keeper::start(&other, &["--no-relay", "--peer", &address]);
    second.until(|event| event["connected"] == 1);
    drop(first);
    second.until(|event| event["connected"] == 0);
    second.record(73);
    let listen = address.split("/p2p/").next().expect("an address");
    let mut first = Keeper::start(&one, &["--no-relay", "--listen", listen]);
    assert_eq!(first.address(is_tcp), address, "its peer ID is the same");
    first.until_bpm(73);
}

#[test]
fn keeper_without_the_key_keeps_ciphertext() {
    let key = RoomKey::new([9; 32]);
    let commitment = key.commitment().to_string();
    let link = format!("#private={}", key.to_token());
    let (one, other, third) = (lobby(), lobby(), lobby());
    let mut sealed = Keeper::start(&one, &["--no-relay", "--commitment", &commitment]);
    let address = sealed.address(is_tcp);
    let with_key = ["--no-relay", "--link", &link, "--peer", &address];
    let mut member = Keeper::start(&other, &with_key);
    member.record(74);
    member.until_bpm(74);
    let block = sealed.until(|event| event["event"] == "block");
    assert!(block["readings"][0]["bpm"].is_null(), "{block}");
    drop(member);
    // A member that comes when no other member is there gets all.
    Keeper::start(&third, &with_key).until_bpm(74);
}

#[test]
fn missing_relay_is_said_and_waited_for() {
    let folder = lobby();
    let mut keeper = Keeper::start(&folder, &["--relay", "http://127.0.0.1:9/"]);
    let said = keeper.until(|event| event["event"] == "error");
    let said = said["message"].as_str().expect("text");
    assert!(
        said.contains("no relay answers at http://127.0.0.1:9/"),
        "{said}"
    );
    keeper.record(75);
    keeper.until_bpm(75);
}

#[test]
fn address_in_use_ends_the_keeper_with_a_sentence() {
    let (one, other) = (lobby(), lobby());
    let mut first = Keeper::start(&one, &["--no-relay"]);
    let address = first.address(is_tcp);
    let listen = address.split("/p2p/").next().expect("an address");
    let second = Command::new(env!("CARGO_BIN_EXE_keeper"))
        .arg("--data-dir")
        .arg(other.path())
        .args(["--no-relay", "--listen", listen])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8(second.stderr).expect("text");
    assert!(!second.status.success());
    assert!(said.contains("cannot listen on"), "{said}");
    assert!(!said.contains("Custom"), "{said}");
}
