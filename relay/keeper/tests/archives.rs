//! Exports and imports: what one keeper writes, another one reads, and anyone can verify.

mod support;

use std::{fs, path::Path, process::Command};

use heartchain_chain::{room::Room, room_key::RoomKey};
use keeper::{
    archive::{self, VerifyError},
    cli::{FilesArgs, PlaceArgs},
    commands::{self, CommandError},
    miner::MiningShare,
    opening::KeeperOptions,
};
use support::{Folder, bpm, place, run, wait_for_blocks};

/// Records these readings, each in a block of its own, and then some that wait. Returns the export.
async fn recorded(options: &KeeperOptions, mined: u16, waiting: u16) -> String {
    let mut options = options.clone();
    options.mining = Some(MiningShare::new(100).expect("a share"));
    let (handle, mut events, session) = run(&options);
    let work = async {
        for number in 0..mined {
            handle
                .record(bpm(60 + number))
                .await
                .expect("it runs")
                .expect("recorded");
            wait_for_blocks(&mut events, 1).await;
        }
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
    options.mining = None;
    let (handle, events, session) = run(&options);
    drop(events);
    let file = options.data_folder.join("recorded.json");
    let work = async {
        for number in 0..waiting {
            handle
                .record(bpm(200 + number))
                .await
                .expect("it runs")
                .expect("recorded");
        }
        let verified = archive::export(&handle, &file)
            .await
            .expect("exported")
            .found;
        assert_eq!(verified.readings, u64::from(mined));
        assert_eq!(verified.waiting, usize::from(waiting));
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
    fs::read_to_string(file).expect("the export")
}

/// An export without the time at which it was made.
fn timeless(text: &str) -> String {
    let (before, after) = text.split_once("\"exportedAt\":").expect("a time");
    let (_, after) = after.split_once(',').expect("more fields");
    format!("{before}{after}")
}

fn private_room() -> Room {
    Room::private(RoomKey::new([7; 32]))
}

#[tokio::test]
async fn export_of_an_import_is_the_same() {
    for room in [heartchain_test_support::room(), private_room()] {
        let [first, second] = [Folder::of(room.clone()), Folder::of(room)];
        let text = recorded(&first.options(), 5, 3).await;
        let file = first.path().join("recorded.json");

        // The room of the second keeper is that of the file; it does not have the key of the private one.
        let place = PlaceArgs {
            files: FilesArgs {
                max_disk: None,
                data_dir: Some(second.path().to_owned()),
                seed: None,
            },
            ..PlaceArgs::default()
        };
        let found = commands::import(&file, &place).await.expect("imported");
        assert_eq!((found.new_blocks, found.new_readings), (5, 8));
        assert_eq!(found.not_stored.total(), 0);
        let again = commands::import(&file, &place).await.expect("imported");
        assert_eq!((again.new_blocks, again.new_readings), (0, 0));

        let copy = second.path().join("copy.json");
        let mut options = second.options();
        options.room = Room::new(options.room.params().clone());
        let (handle, events, session) = run(&options_without_mining(&options));
        drop(events);
        let work = async {
            archive::export(&handle, &copy).await.expect("exported");
            handle.stop().await;
        };
        let (ended, ()) = tokio::join!(session, work);
        ended.expect("it ends well");
        let copied = fs::read_to_string(&copy).expect("the copy");
        assert_eq!(timeless(&copied), timeless(&text));
    }
}

fn options_without_mining(options: &KeeperOptions) -> KeeperOptions {
    KeeperOptions {
        mining: None,
        ..options.clone()
    }
}

/// Records more readings than the mempool has room for of one author. Returns the export.
async fn recorded_many(options: &KeeperOptions, many: u64) -> std::path::PathBuf {
    let (handle, events, session) = run(&options_without_mining(options));
    drop(events);
    let file = options.data_folder.join("many.json");
    let work = async {
        for number in 0..many {
            let number = u16::try_from(number % 300).expect("small");
            let recorded = handle.record(bpm(60 + number)).await.expect("it runs");
            recorded.expect("recorded");
        }
        let exported = archive::export(&handle, &file).await.expect("exported");
        assert_eq!(exported.found.waiting as u64, many);
        assert_eq!(exported.warning(), None);
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
    file
}

#[tokio::test]
async fn export_has_all_own_readings_and_imports_keep_them() {
    const MANY: u64 = 1_024 + 300;
    let [first, second] = [
        Folder::of(keeper::room_link::open_room("lobby").expect("a name")),
        Folder::of(keeper::room_link::open_room("lobby").expect("a name")),
    ];
    let file = recorded_many(&first.options(), MANY).await;
    let text = fs::read_to_string(&file).expect("the export");
    for seq in 0..MANY {
        assert!(text.contains(&format!("\"seq\":{seq},")), "{seq}");
    }

    let found = commands::import(&file, &place(&second))
        .await
        .expect("imported");
    assert_eq!(found.new_readings as u64, MANY);
    assert_eq!(found.not_stored.total(), 0);
    let again = commands::import(&file, &place(&second))
        .await
        .expect("imported");
    assert_eq!(again.new_readings, 0);
    let copy = second.path().join("copy.json");
    let exported = commands::export(&copy, &place(&second))
        .await
        .expect("exported");
    assert_eq!(exported.found.waiting as u64, MANY);

    // The keeper that recorded them knows them.
    let own = commands::import(&file, &place(&first))
        .await
        .expect("imported");
    assert_eq!((own.not_stored.total(), own.new_readings), (0, 0));
    assert_eq!(own.known_readings() as u64, MANY);

    // One with the same key and nothing else says that it stores none of them.
    let third = Folder::of(first.room.clone());
    fs::copy(first.file("key"), third.file("key")).expect("copied");
    let found = commands::import(&file, &place(&third))
        .await
        .expect("imported");
    assert_eq!(found.not_stored.own_key as u64, MANY);
    assert_eq!((found.readings as u64, found.new_readings), (MANY, 0));
}

/// A copy of the key recorded other readings with the same numbers, which are in blocks.
#[tokio::test]
async fn export_says_what_it_had_to_leave_out() {
    let lobby = || Folder::of(keeper::room_link::open_room("lobby").expect("a name"));
    let [first, second] = [lobby(), lobby()];
    recorded_many(&first.options(), 3).await;
    fs::copy(first.file("key"), second.file("key")).expect("copied");
    recorded(&second.options(), 2, 0).await;
    let file = second.path().join("recorded.json");
    let found = commands::import(&file, &place(&first)).await;
    let found = found.expect("imported");
    assert_eq!((found.new_blocks, found.new_readings), (2, 2));

    let file = first.path().join("contested.json");
    let exported = commands::export(&file, &place(&first)).await;
    let exported = exported.expect("exported");
    assert_eq!((exported.found.readings, exported.found.waiting), (2, 1));
    assert_eq!(exported.contested, 2);
    let warning = exported.warning().expect("a warning");
    let start = "2 readings that were recorded here are not in the file";
    assert!(warning.starts_with(start), "{warning}");
    let text = fs::read_to_string(&file).expect("the export");
    assert!(text.contains("\"seq\":2,"), "the third one waits");
}

#[tokio::test]
async fn export_command_writes_what_is_stored() {
    let folder = Folder::of(keeper::room_link::open_room("lobby").expect("a name"));
    let text = recorded(&folder.options(), 2, 1).await;
    let file = folder.path().join("command.json");
    let found = commands::export(&file, &place(&folder))
        .await
        .expect("exported")
        .found;
    assert_eq!((found.blocks, found.readings, found.waiting), (2, 2, 1));
    assert_eq!(
        timeless(&fs::read_to_string(&file).expect("a file")),
        timeless(&text)
    );
    assert_eq!(commands::verify(&file).expect("valid"), found);

    let other = PlaceArgs {
        room: Some("never opened".to_owned()),
        ..place(&folder)
    };
    let before = fs::read_dir(folder.path()).expect("a folder").count();
    let error = commands::export(&file, &other).await.expect_err("no store");
    assert!(matches!(error, CommandError::NoStore { .. }), "{error}");
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        before
    );
}

#[tokio::test]
async fn independent_verifier_accepts_an_export() {
    let folder = Folder::new();
    recorded(&folder.options(), 3, 2).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("python3")
        .arg(root.join("tests/verify_export/verify.py"))
        .arg(folder.path().join("recorded.json"))
        .output();
    let Ok(output) = output else {
        println!("left out: there is no python3");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("3 blocks, 3 readings, 2 waiting, 0 names: valid"),
        "{text}"
    );
}

#[tokio::test]
async fn every_change_of_an_export_is_found() {
    let folder = Folder::new();
    let text = recorded(&folder.options(), 3, 2).await;
    let file = folder.path().join("altered.json");
    let verify = |text: &str| {
        fs::write(&file, text).expect("written");
        archive::verify(&file)
    };
    let blocks = verify(&text).expect("valid").blocks;
    assert_eq!(blocks, 3);
    let lines: Vec<&str> = text.lines().collect();
    let without = |at: usize| {
        let mut left = lines.clone();
        left.remove(at);
        left.join("\n")
    };
    let swapped = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let waiting = lines
        .iter()
        .position(|line| line.starts_with("{\"id\""))
        .expect("one");
    let twice = text.replace(lines[waiting + 1], lines[waiting].trim_end_matches(','));
    let cases = [
        (
            swapped("\"bpm\":60", "\"bpm\":160"),
            "its id does not match",
        ),
        (
            swapped("\"index\":1,", "\"index\":2,"),
            "its hash does not match",
        ),
        (
            swapped("\"index\":1,\"time\":", "\"index\":1,\"time\":1"),
            "its hash does not match",
        ),
        (swapped("\"nonce\":\"", "\"nonce\":\"x"), "decimal digits"),
        (
            swapped("\"totalWork\":\"", "\"totalWork\":\"1"),
            "its work is",
        ),
        (
            swapped("\"tip\":{\"index\":3", "\"tip\":{\"index\":2"),
            "its tip is another",
        ),
        (
            swapped("\"floorBits\":8", "\"floorBits\":9"),
            "genesis does not match",
        ),
        (swapped("\"floorBits\":8", "\"floorBits\":7"), "not within"),
        (swapped("export/2", "export/3"), "use the newest version"),
        (swapped("\"waiting\":[", "\"other\":["), "it has no waiting"),
        (
            swapped("\"waiting\":[", "\"blocks\":["),
            "it has blocks twice",
        ),
        (
            swapped("\"signature\":\"", "\"signature\":\"x"),
            "signature is not valid",
        ),
        (
            swapped("\"seq\":0,", "\"seq\":-1,"),
            "no file that Heartchain exported",
        ),
        (without(1 + 1), "breaks the rules"),
        (twice, "in the file twice"),
        (
            text[..text.len() - 4].to_owned(),
            "no file that Heartchain exported",
        ),
        (format!("{text}x"), "no file that Heartchain exported"),
        (String::new(), "no file that Heartchain exported"),
        ("[]".to_owned(), "no file that Heartchain exported"),
        (
            "{\"format\":\"heartchain/export/2\"}".to_owned(),
            "no file that Heartchain exported",
        ),
    ];
    for (altered, expected) in cases {
        let error = verify(&altered).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // A signature is not covered by the id, but by the root.
    let at = text.find("\"signature\":\"").expect("a signature") + 20;
    let mut altered = text.clone().into_bytes();
    altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
    let error = verify(&String::from_utf8(altered).expect("text")).expect_err("a signature");
    assert!(
        matches!(error, VerifyError::Body { index: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn layout_and_order_of_a_file_do_not_matter() {
    let folder = Folder::new();
    let text = recorded(&folder.options(), 3, 2).await;
    let file = folder.path().join("relaid.json");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // The fields come in alphabetical order: blocks, …, profiles, room, tip, totalWork, waiting.
    let pretty = serde_json::to_string_pretty(&value).expect("JSON");
    let extra = pretty.replacen('{', "{ \"added\": [[1, {\"a\": null}]],", 1);
    for relaid in [pretty, extra] {
        fs::write(&file, relaid).expect("written");
        let found = archive::verify(&file).expect("valid");
        assert_eq!((found.blocks, found.waiting), (3, 2));
    }
}

#[tokio::test]
async fn row_without_end_is_refused() {
    let folder = Folder::new();
    let text = recorded(&folder.options(), 1, 0).await;
    let file = folder.path().join("endless.json");
    let name = "x".repeat(3 * 1024 * 1024);
    for endless in [
        text.replacen("\"id\":\"", &format!("\"id\":\"{name}"), 1),
        text.replacen('{', &format!("{{\"added\":\"{name}\","), 1),
    ] {
        fs::write(&file, endless).expect("written");
        let error = archive::verify(&file).expect_err("too long").to_string();
        assert!(error.contains("a row has more than"), "{error}");
    }
}

#[tokio::test]
async fn import_keeps_what_precedes_an_error() {
    let [first, second] = [Folder::new(), Folder::new()];
    let text = recorded(&first.options(), 3, 0).await;
    let file = second.path().join("altered.json");
    fs::write(&file, text.replacen("\"bpm\":62", "\"bpm\":162", 1)).expect("written");
    let place = PlaceArgs {
        room: None,
        ..place(&second)
    };
    let error = commands::import(&file, &place).await.expect_err("altered");
    assert!(error.to_string().contains("block number 3"), "{error}");
    let (handle, events, session) = run(&options_without_mining(&second.options()));
    drop(events);
    let work = async {
        let status = handle.status().await.expect("it runs");
        handle.stop().await;
        status.machine.index
    };
    let (ended, index) = tokio::join!(session, work);
    ended.expect("it ends well");
    assert_eq!(index, 2);
    let other = PlaceArgs {
        room: Some("another".to_owned()),
        ..place
    };
    let error = commands::import(&file, &other)
        .await
        .expect_err("another room");
    assert!(error.to_string().contains("another room"), "{error}");
}
