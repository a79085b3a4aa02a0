//! A tab is a peer, and stays the same one: what it knows outlives the page. Each tab of a browser has a place of its own.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

#[tokio::test]
async fn a_tab_that_is_loaded_again_is_the_same_peer_with_the_same_chain() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        let before = known(&a).await?;
        b.close().await?;

        // Nobody else is there to give it anything.
        a.reload().await?;
        expect_known(&a, &before).await?;
        expect_bpms(&a, &[70]).await?;
        a.enter(71).await?;
        agreement(&[&a], 2).await?;

        let before = known(&a).await?;
        let context = a.context();
        a.close_alone().await?;
        let page = stage.relay.page().to_owned();
        let again = stage.browser.open_in(context, &page, "").await?;
        expect_known(&again, &before).await?;
        expect_bpms(&again, &[70, 71]).await?;
        let late = stage.tab().await?;
        again.enter(72).await?;
        agreement(&[&again, &late], 3).await?;
        let seqs: Vec<Value> = late
            .readings()
            .await?
            .iter()
            .map(|r| r["seq"].clone())
            .collect();
        ensure!(seqs == [0, 1, 2], "its count goes on: {seqs:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn readings_that_waited_are_there_after_a_reload() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let a = stage.tab().await?;
        a.until("the node", "() => true").await?;
        // The page goes in the middle of it.
        let count = a
            .evaluate(
                "(async () => { let kept = 0; for (let i = 0; i < 20; i++) { await heartchain.record(60 + i); kept += 1; } return kept; })()",
            )
            .await?;
        ensure!(count == 20, "kept {count}");
        a.reload().await?;
        let b = stage.browser.open(&page).await?;
        agreement(&[&a, &b], 20).await?;
        expect_bpms(&b, &(60..80).collect::<Vec<u16>>()).await
    })
    .await
}

#[tokio::test]
async fn five_tabs_of_one_browser_are_five_peers_and_stay_so() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let first = stage.tab().await?;
        let context = first.context();
        let mut tabs = vec![first];
        for _ in 1..5 {
            // One after the other, so that it is known who gets which slot.
            let last = tabs.last().context("a tab")?;
            last.until(
                "a place on disk",
                "node => node.status().storage.kind === 'disk'",
            )
            .await?;
            tabs.push(stage.browser.open_in(context.clone(), &page, "").await?);
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

        // All at once: none may take another's slot meanwhile.
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

        // A slot that is free is the next tab's, with all that is in it.
        tabs.remove(2).close_alone().await?;
        let next = stage.browser.open_in(context, &page, "").await?;
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
async fn a_duplicated_tab_is_a_peer_of_its_own() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let a = stage.tab().await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        // Browsers copy a tab's session storage when they duplicate it.
        let session = a.evaluate("JSON.stringify(sessionStorage)").await?;
        let copy = format!(
            "Object.assign(sessionStorage, JSON.parse({}));",
            json!(session.as_str().context("text")?)
        );
        let b = stage.browser.open_in(a.context(), &page, &copy).await?;
        expect_slot(&b, 1).await?;
        ensure!(a.peer_id().await? != b.peer_id().await?, "one peer twice");
        b.enter(71).await?;
        agreement(&[&a, &b], 2).await?;
        Ok(())
    })
    .await
}

/// Which peer a tab is, and what it has.
async fn known(tab: &Tab) -> Result<Value> {
    tab.until("the node", "() => true").await?;
    tab.evaluate(
        "(({ peerId, tip, totalWork }) => ({ peerId, tip, totalWork }))(heartchain.status())",
    )
    .await
}

async fn expect_known(tab: &Tab, before: &Value) -> Result<()> {
    let now = known(tab).await?;
    ensure!(now == *before, "{} was {before}, and is {now}", tab.name());
    Ok(())
}

async fn expect_slot(tab: &Tab, slot: usize) -> Result<()> {
    tab.until("the node", "() => true").await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(
        storage["kind"] == "disk" && storage["slot"] == slot && storage["reason"].is_null(),
        "{} is to have slot {slot}: {storage}",
        tab.name()
    );
    ensure!(
        storage["failing"] == false && storage["healed"] == 0,
        "all is well: {storage}"
    );
    Ok(())
}
