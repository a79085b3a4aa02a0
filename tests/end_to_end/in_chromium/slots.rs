//! What a tab has recorded and not shared is shared by the next tab of the same browser.

use anyhow::{Result, ensure};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

#[tokio::test]
async fn unshared_readings_are_shared_by_the_next_tab() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let [first, second] = isolated_pair(stage).await?;
        record_three(&second).await?;
        let context = first.context();
        let keeper = second.peer_id().await?;
        // One page after the other: the last one keeps the context.
        second.close_alone().await?;
        let held = stage
            .browser
            .open_in(context.clone(), &format!("{page}relay.json"), "")
            .await?;
        first.close_alone().await?;
        let witness = stage.another_browser().await?.open(&page).await?;
        let again = stage.browser.open_in(context, &page, "").await?;
        ensure!(again.peer_id().await? == keeper, "it took another slot");
        agreement(&[&again, &witness], 3).await?;
        expect_bpms(&witness, &[81, 82, 83]).await?;
        held.close_alone().await
    })
    .await
}

#[tokio::test]
async fn unshared_readings_are_shared_by_an_open_tab() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let [first, second] = isolated_pair(stage).await?;
        record_three(&second).await?;
        second.close_alone().await?;
        first.evaluate("heartchain.isolate(false)").await?;
        let witness = stage.another_browser().await?.open(&page).await?;
        first
            .until_shows(
                "page-notices",
                "Readings of another tab on this computer were taken over: 3.",
            )
            .await?;
        agreement(&[&first, &witness], 3).await?;
        expect_bpms(&witness, &[81, 82, 83]).await
    })
    .await
}

/// Two tabs of one browser, each cut off from everybody.
async fn isolated_pair(stage: &mut Stage) -> Result<[Tab; 2]> {
    let page = stage.relay.page().to_owned();
    let first = stage.tab().await?;
    first
        .until("the node", "node => node.status().storage.slot === 0")
        .await?;
    let second = stage.browser.open_in(first.context(), &page, "").await?;
    second
        .until("the node", "node => node.status().storage.slot === 1")
        .await?;
    for tab in [&first, &second] {
        tab.evaluate("heartchain.isolate(true)").await?;
        tab.until("no peer", "node => node.status().peers === 0")
            .await?;
    }
    Ok([first, second])
}

async fn record_three(tab: &Tab) -> Result<()> {
    tab.evaluate("heartchain.limitMining(1)").await?;
    tab.evaluate(
        "(async () => { for (const bpm of [81, 82, 83]) await heartchain.record(bpm); })()",
    )
    .await?;
    Ok(())
}
