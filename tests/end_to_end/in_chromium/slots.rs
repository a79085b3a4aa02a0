//! Readings that a closed tab did not share are shared by another tab of the same browser.

use anyhow::{Result, ensure};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

#[tokio::test]
async fn unshared_readings_are_shared_by_the_next_tab() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [first, second] = isolated_pair(env).await?;
        record_three(&second).await?;
        let context = first.context();
        let keeper = second.peer_id().await?;
        // The pages close one after the other, and an open one keeps the context alive.
        second.close_keeping_storage().await?;
        let held = env
            .browser
            .open_in(context.clone(), &format!("{page}relay.json"), "")
            .await?;
        first.close_keeping_storage().await?;
        let witness = env.another_browser().await?.open(&page).await?;
        let again = env.browser.open_in(context, &page, "").await?;
        ensure!(again.peer_id().await? == keeper, "it took another slot");
        agreement(&[&again, &witness], 3).await?;
        expect_bpms(&witness, &[81, 82, 83]).await?;
        held.close_keeping_storage().await
    })
    .await
}

#[tokio::test]
async fn unshared_readings_are_shared_by_an_open_tab() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [first, second] = isolated_pair(env).await?;
        record_three(&second).await?;
        second.close_keeping_storage().await?;
        first.evaluate("heartchain.isolate(false)").await?;
        let witness = env.another_browser().await?.open(&page).await?;
        first
            .until_shows(
                "page-notices",
                "Took over 3 readings from another tab on this device.",
            )
            .await?;
        agreement(&[&first, &witness], 3).await?;
        expect_bpms(&witness, &[81, 82, 83]).await
    })
    .await
}

/// Opens two tabs of one browser, both isolated from all peers.
pub(super) async fn isolated_pair(env: &mut TestEnv) -> Result<[Tab; 2]> {
    let page = env.relay.page().to_owned();
    let first = env.tab().await?;
    first
        .until("the node", "node => node.status().storage.slot === 0")
        .await?;
    let second = env.browser.open_in(first.context(), &page, "").await?;
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
