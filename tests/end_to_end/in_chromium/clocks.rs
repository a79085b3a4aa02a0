//! A start with a clock that is a year behind loses nothing: blocks that lie in the future by that clock wait on disk.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Puts the page's clock a year behind.
const YEAR_SLOW: &str = r"
    const Right = Date;
    const now = () => Right.now() - 365 * 24 * 3_600_000;
    globalThis.Date = class extends Right {
        constructor(...given) { super(...(given.length === 0 ? [now()] : given)); }
        static now() { return now(); }
    };
";

#[tokio::test]
async fn one_start_with_a_slow_clock_loses_nothing() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [author, tab] = env.tabs().await?;
        for bpm in 60..100 {
            author.enter(bpm).await?;
            let chained = format!(
                "async node => (await heartchainTest.readings()).length === {}",
                bpm - 59
            );
            author.until("a block for it", &chained).await?;
        }
        agreement(&[&author, &tab], 40).await?;
        let before = tip_and_readings(&tab).await?;
        author.close().await?;

        // The tab stays open to keep the context alive.
        let context = tab.context();
        tab.go(&format!("{page}relay.json")).await?;
        let slow = env
            .browser
            .open_in(context.clone(), &page, YEAR_SLOW)
            .await?;
        let held = slow
            .until(
                "blocks that wait",
                "node => node.status().heldBack?.blocks > 0 && node.status().heldBack",
            )
            .await?;
        ensure!(held["blocks"] == 40, "{held} of 40 wait");
        slow.until_shows("page-notices", "40 newer blocks are waiting")
            .await?;
        slow.close_keeping_storage().await?;

        let right = env.browser.open_in(context, &page, "").await?;
        right
            .until("the node", "node => node.status().tip.index > 0")
            .await?;
        let after = tip_and_readings(&right).await?;
        ensure!(after == before, "it was {before}, and is {after}");
        Ok(())
    })
    .await
}

/// The tip, and the IDs of the chain's readings.
async fn tip_and_readings(tab: &Tab) -> Result<Value> {
    tab.evaluate("heartchainTest.readings().then(readings => [heartchain.status().tip, readings.map(({ id }) => id)])")
        .await
}
