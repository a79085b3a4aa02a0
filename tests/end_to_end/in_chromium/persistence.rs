//! A tab keeps its identity and data across reloads. Each tab of a browser has its own storage slot.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

#[tokio::test]
async fn reloaded_tab_is_the_same_peer() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        let before = identity_and_tip(&a).await?;
        b.close().await?;

        // There is no other peer from which it could fetch anything.
        a.reload().await?;
        expect_unchanged(&a, &before).await?;
        expect_bpms(&a, &[70]).await?;
        a.enter(71).await?;
        agreement(&[&a], 2).await?;

        let before = identity_and_tip(&a).await?;
        let context = a.context();
        a.close_keeping_storage().await?;
        let page = env.relay.page().to_owned();
        let again = env.browser.open_in(context, &page, "").await?;
        expect_unchanged(&again, &before).await?;
        expect_bpms(&again, &[70, 71]).await?;
        let late = env.tab().await?;
        again.enter(72).await?;
        agreement(&[&again, &late], 3).await?;
        let seqs: Vec<Value> = late
            .readings()
            .await?
            .iter()
            .map(|r| r["seq"].clone())
            .collect();
        ensure!(seqs == [0, 1, 2], "its sequence numbers are {seqs:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn waiting_readings_survive_a_reload() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        a.until("the node", "() => true").await?;
        // The page reloads before the readings are in blocks.
        let count = a
            .evaluate(
                "(async () => { let kept = 0; for (let i = 0; i < 20; i++) { await heartchain.record(60 + i); kept += 1; } return kept; })()",
            )
            .await?;
        ensure!(count == 20, "kept {count}");
        a.reload().await?;
        let b = env.browser.open(&page).await?;
        agreement(&[&a, &b], 20).await?;
        expect_bpms(&b, &(60..80).collect::<Vec<u16>>()).await
    })
    .await
}

#[tokio::test]
async fn tabs_of_one_browser_keep_their_slots() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let first = env.tab().await?;
        let context = first.context();
        let mut tabs = vec![first];
        for _ in 1..5 {
            // One after the other, so that the order of the slots is known.
            let last = tabs.last().context("a tab")?;
            last.until(
                "a storage slot",
                "node => node.status().storage.kind === 'disk'",
            )
            .await?;
            tabs.push(env.browser.open_in(context.clone(), &page, "").await?);
        }
        let mut names = Vec::new();
        for (slot, tab) in tabs.iter().enumerate() {
            tab.until_peers(4).await?;
            expect_slot(tab, slot).await?;
            names.push(tab.peer_id().await?);
        }
        let mut different = names.clone();
        different.sort();
        different.dedup();
        ensure!(different.len() == 5, "five tabs are {names:?}");
        for (tab, bpm) in tabs.iter().zip(70..) {
            tab.enter(bpm).await?;
        }
        agreement(&tabs.iter().collect::<Vec<_>>(), 5).await?;

        // All reload at once: no tab may take another's slot meanwhile.
        futures::future::try_join_all(tabs.iter().map(Tab::reload)).await?;
        for ((slot, tab), name) in tabs.iter().enumerate().zip(&names) {
            tab.until_peers(4).await?;
            expect_slot(tab, slot).await?;
            ensure!(
                tab.peer_id().await? == *name,
                "{} is another peer",
                tab.name()
            );
        }

        // The next tab takes over a free slot with everything in it.
        tabs.remove(2).close_keeping_storage().await?;
        let next = env.browser.open_in(context, &page, "").await?;
        expect_slot(&next, 2).await?;
        ensure!(
            next.peer_id().await? == names[2],
            "the slot is another peer's"
        );
        tabs.push(next);
        agreement(&tabs.iter().collect::<Vec<_>>(), 5).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn duplicated_tab_is_a_separate_peer() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        // Browsers copy a tab's session storage when they duplicate it.
        let session = a.evaluate("JSON.stringify(sessionStorage)").await?;
        let copy = format!(
            "Object.assign(sessionStorage, JSON.parse({}));",
            json!(session.as_str().context("text")?)
        );
        let b = env.browser.open_in(a.context(), &page, &copy).await?;
        expect_slot(&b, 1).await?;
        ensure!(a.peer_id().await? != b.peer_id().await?, "one peer twice");
        b.enter(71).await?;
        agreement(&[&a, &b], 2).await?;
        Ok(())
    })
    .await
}

/// The tab's peer ID, tip and total work.
async fn identity_and_tip(tab: &Tab) -> Result<Value> {
    tab.until("the node", "() => true").await?;
    tab.evaluate(
        "(({ peerId, tip, totalWork }) => ({ peerId, tip, totalWork }))(heartchain.status())",
    )
    .await
}

async fn expect_unchanged(tab: &Tab, before: &Value) -> Result<()> {
    let now = identity_and_tip(tab).await?;
    ensure!(now == *before, "{} was {before}, and is {now}", tab.name());
    Ok(())
}

async fn expect_slot(tab: &Tab, slot: usize) -> Result<()> {
    tab.until("the node", "() => true").await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(
        storage["kind"] == "disk" && storage["slot"] == slot && storage["reason"].is_null(),
        "{} does not have slot {slot}: {storage}",
        tab.name()
    );
    ensure!(
        storage["failing"] == false && storage["repaired"] == 0,
        "its storage has a problem: {storage}"
    );
    Ok(())
}

/// A word that promises more than a private window keeps.
const PROMISES: &str = r"() => /promised|even when the disk is full|will be kept|permanent/i.exec(document.querySelector('main').innerText)?.[0] ?? 'none'";

/// Each context is a private window of Chromium, and the page cannot notice it.
#[tokio::test]
async fn private_window_forgets_as_it_says() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let private = env.tab().await?;
        private.enter(70).await?;
        agreement(&[&private], 1).await?;
        private.until_shows("own-readings", "In block 1").await?;
        private
            .until_shows(
                "storage-line",
                "A private window forgets everything when it closes.",
            )
            .await?;
        let promise = private.until_page("its words", PROMISES).await?;
        ensure!(promise == "none", "a private window says {promise}");
        let before = identity_and_tip(&private).await?;
        let status = private.status().await?;
        ensure!(
            status["storage"]["persisted"] != true,
            "the browser promises to keep it: {}",
            status["storage"]
        );
        private.close().await?;

        // Neither the next private window nor an ordinary one has it, and none says that something was kept or lost.
        let next = env.tab().await?;
        let ordinary = env.browser.open_as_person(&page, "").await?;
        for tab in [&next, &ordinary] {
            tab.until("the node", "() => true").await?;
            let after = identity_and_tip(tab).await?;
            ensure!(
                after["peerId"] != before["peerId"] && after["tip"] != before["tip"],
                "{} has {after}",
                tab.name()
            );
            let own = tab.evaluate("heartchain.ownReadings(10).length").await?;
            ensure!(own == 0, "{} has {own} readings", tab.name());
            tab.until_hides("page-notices", "lost").await?;
        }
        Ok(())
    })
    .await
}
