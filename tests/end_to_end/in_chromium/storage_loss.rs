//! Storage that is lost, damaged, stuck or too new, while a tab runs or between two starts: the tab stays the same peer,
//! keeps every reading that it had accepted, and the page says what happened.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// The longest time until Chromium writes `localStorage` to disk; no event announces it.
const LOCAL_STORAGE_WRITTEN: Duration = Duration::from_secs(8);

/// Records the node's `notice` events.
const RECORD_NOTICES: &str = r#"
    globalThis.noticed = [];
    const noting = setInterval(() => {
        if (globalThis.heartchain === undefined) return;
        clearInterval(noting);
        heartchain.addEventListener("notice", ({ detail }) => noticed.push(detail));
    }, 0);
"#;

#[tokio::test]
async fn database_deleted_while_open_is_rewritten() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let deletions = [
            ("by a script", None),
            ("by the browser", Some("indexeddb")),
            ("with all site data", Some("indexeddb,local_storage")),
        ];
        let witness = env.tab().await?;
        let a = env.browser.open_with(&page, RECORD_NOTICES).await?;
        for tab in [&a, &witness] {
            tab.until_peers(1).await?;
        }
        let name = a.peer_id().await?;
        let mut count = 0;
        for (description, data) in deletions {
            a.enter(70).await?;
            count += 1;
            agreement(&[&a, &witness], count).await?;
            match data {
                Some(data) => {
                    let all = json!({ "origin": page.trim_end_matches('/'), "storageTypes": data });
                    a.call("Storage.clearDataForOrigin", all).await?;
                }
                None => {
                    a.evaluate("indexedDB.databases().then(all => void indexedDB.deleteDatabase(all.find(({ name }) => name.startsWith('heartchain/')).name))")
                        .await?;
                }
            }
            let noticed = "() => noticed.find(({ kind }) => kind === 'storage-reopened')";
            let notice = a.until("its database again", noticed).await.context(description)?;
            ensure!(notice["readings"] == count, "{description}: {notice}");
            a.until_shows("page-notices", "were saved again").await?;
            a.until("a store that works", "node => !node.status().storage.failing")
                .await?;
            a.evaluate("noticed.length = 0").await?;
            a.enter(71).await?;
            count += 1;
            agreement(&[&a, &witness], count).await.context(description)?;
            a.reload().await?;
            a.until_peers(1).await?;
            agreement(&[&a, &witness], count).await.context(description)?;
            ensure!(a.peer_id().await? == name, "{description}: it is another peer");
            expect_own(&a, count).await.context(description)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn newer_database_version_is_reported() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let a = env.tab().await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        a.evaluate(
            "(async () => { const { name, version } = (await indexedDB.databases()).find(({ name }) => name.startsWith('heartchain/')); indexedDB.open(name, version + 1); })()",
        )
        .await?;
        a.until(
            "a request to reload",
            "node => node.status().storage.reason === 'newer-version'",
        )
        .await?;
        a.until_shows("storage-line", "newer version of this page").await?;
        Ok(())
    })
    .await
}

/// Prevents write transactions from committing while `stuck` is set.
const STUCK_DISK: &str = include_str!("../../browsers/stuck_disk.js");

#[tokio::test]
async fn unresponsive_disk_is_reported() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.browser.open_with(&page, STUCK_DISK).await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        a.evaluate("globalThis.stuck = true").await?;
        a.enter(71).await?;
        a.until("a reading that is being saved", "node => node.status().storage.saving === 1")
            .await?;
        a.until_shows("record-form", "Saving 71 BPM").await?;
        a.enter(72).await?;
        a.until(
            "a disk that does not answer",
            "node => node.status().storage.reason === 'stuck'",
        )
        .await?;
        a.until_shows("storage-line", "isn't responding").await?;
        a.evaluate("globalThis.stuck = false").await?;
        a.until(
            "a disk that answers",
            "node => { const { failing, saving, reason } = node.status().storage; return !failing && saving === 0 && reason === null; }",
        )
        .await?;
        agreement(&[&a], 3).await?;
        expect_bpms(&a, &[70, 71, 72]).await?;
        a.until_shows("record-form", "72 BPM recorded").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn damaged_profile_keeps_waiting_readings() -> Outcome {
    let damages: [(&str, Damage); 3] = [
        ("one bit of the log is flipped", flip_one_bit),
        ("the log is cut in half", cut_in_half),
        ("the folder is deleted", |folder| {
            Ok(fs::remove_dir_all(folder)?)
        }),
    ];
    for (description, damage) in damages {
        run_test(async |env: &mut TestEnv| {
            damage_between_two_starts(env, damage)
                .await
                .context(description)
        })
        .await?;
    }
    Ok(())
}

/// Damages the folder of the browser's databases.
type Damage = fn(&Path) -> Result<()>;

async fn damage_between_two_starts(env: &mut TestEnv, damage: Damage) -> Result<()> {
    let page = env.relay.page().to_owned();
    let a = env.browser.open_as_person(&page, "").await?;
    let name = a.peer_id().await?;
    // Mines so slowly that none of the readings gets into a block.
    a.evaluate("heartchain.limitMining(1)").await?;
    a.evaluate("(async () => { for (let i = 0; i < 20; i++) await heartchain.record(60 + i); })()")
        .await?;
    sleep(LOCAL_STORAGE_WRITTEN).await;
    env.browser.crash_and_damage(damage).await?;
    let a = env.browser.open_as_person(&page, RECORD_NOTICES).await?;
    ensure!(a.peer_id().await? == name, "it is another peer");
    expect_own(&a, 20).await?;
    let storage = a.status().await?["storage"].take();
    ensure!(
        storage["lost"].is_null() || storage["lost"] == 0,
        "it reports lost readings: {storage}"
    );
    a.evaluate("heartchain.record(99)").await?;
    agreement(&[&a], 21).await?;
    expect_own(&a, 21).await
}

/// The tab has this many own readings, with consecutive sequence numbers.
async fn expect_own(tab: &Tab, count: usize) -> Result<()> {
    let seqs = "heartchain.ownReadings(1_000).map(({ seq }) => seq).sort((a, b) => a - b)";
    let seqs = tab.evaluate(seqs).await?;
    let expected: Vec<Value> = (0..count).map(Value::from).collect();
    ensure!(seqs == Value::from(expected), "its own readings are {seqs}");
    Ok(())
}

/// The largest log file of a LevelDB database.
fn largest_log(folder: &Path) -> Result<std::path::PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let logs = entries.into_iter().map(|entry| entry.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let largest = logs.max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len()));
    largest.context("the database has no log file")
}

fn flip_one_bit(folder: &Path) -> Result<()> {
    let log = largest_log(folder)?;
    let mut bytes = fs::read(&log)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("it is not empty")? ^= 1;
    Ok(fs::write(log, bytes)?)
}

fn cut_in_half(folder: &Path) -> Result<()> {
    let log = largest_log(folder)?;
    let bytes = fs::read(&log)?;
    Ok(fs::write(log, bytes.split_at(bytes.len() / 2).0)?)
}
